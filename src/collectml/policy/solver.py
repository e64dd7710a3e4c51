"""Give every account its best permitted action so that the portfolio is worth the most within every limit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ._instance import Matrix, Usage
from ._read import read, start_of
from ._search import Search
from ._usage import Floats

__all__ = ["AssignmentSolution", "solve_assignment"]


@dataclass(frozen=True)
class AssignmentSolution:
    """An assignment within every limit, and a proof of how good it is.

    Attributes
    ----------
    action : ndarray of int, shape (n,)
        The position of every row's action.
    value : float
        What the assignment is worth.
    upper_bound : float
        What no assignment within the limits can exceed: the dual at `shadow_prices`.
    gap : float
        ``(upper_bound - value) / max(1, |value|)``.
    status : str
        ``"optimal"``: the gap is within its target, or the integer optimum is proven. ``"gap_not_reached"``:
        neither, in the time allowed.
    shadow_prices : ndarray, shape (K,)
        What one more unit of each limit is worth: positive where an upper limit binds, negative where a lower limit
        does.
    usage : ndarray, shape (K,)
        What the assignment uses of each limit.
    """

    action: NDArray[np.intp]
    value: float
    upper_bound: float
    gap: float
    status: str
    shadow_prices: Floats
    usage: Floats


def solve_assignment(
    values: Matrix,
    *,
    usage: Usage,
    upper: ArrayLike,
    lower: ArrayLike | None = None,
    eligible: ArrayLike | pd.DataFrame | None = None,
    customer: ArrayLike | None = None,
    contact: ArrayLike | None = None,
    tie_key: ArrayLike | None = None,
    gap: float = 1e-6,
    time_limit: float = 10.0,
    names: Sequence[str] | None = None,
    warm_start: ArrayLike | None = None,
) -> AssignmentSolution:
    """Assign one eligible action to every row so that the total value is greatest within all limits.

    Parameters
    ----------
    values : ndarray or DataFrame, shape (n, A)
        Money each action is worth for each row; may be negative. Not read where not eligible.
    usage : ndarray, DataFrame or list, length K
        What each action uses of each limit: (A, K), (n, A, K), or a list of K columns, each (A,), (n, A), or a pair
        of a table (S, A) and segment codes (n,). Prefer columns to a cube: they are never blown up.
    upper : array-like, shape (K,)
        The most that may be used in all; inf where there is no such limit. A limit holds when usage <= upper + 1e-9
        * max(1, |upper|).
    lower : array-like, shape (K,), optional
        The least that must be used; -inf where there is no such limit.
    eligible : ndarray or DataFrame of bool, shape (n, A), optional
        Permitted actions; all by default. Every row needs one.
    customer : array-like, shape (n,), optional
        Which rows belong to the same person, who gets at most one `contact` action.
    contact : array-like of bool, shape (A,), optional
        Which actions are contacts; together with `customer`.
    tie_key : array-like of numbers, shape (n,), optional
        Decides ties: of rows with the same options the smaller key is served first. By default a hash of the row's
        values; the order of the rows never matters.
    gap : float, default 1e-6
        Target of the certified relative gap.
    time_limit : float, default 10
        Seconds after which the best assignment found is returned; up to a minute more where there is none yet (the first call
        on a machine compiles). Only problems that are small and hard (hundreds of accounts under many tight limits) come near it: the
        search ends by the work it may do, and what ends by work is the same every time, on a busy machine too.
    names : sequence of str, length K, optional
        What the limits are called in errors; "limit 0" and so on by default.
    warm_start : array-like, shape (K,), optional
        Prices of a similar problem, `shadow_prices` of yesterday or of the point before in a sweep. They save the search from
        samples, change nothing about what is certified, and are set aside where they are of no use.

    Returns
    -------
    AssignmentSolution
        Integral and within all limits, always.

    Raises
    ------
    ValueError
        Arguments of wrong shape or content, all faults at once.
    InfeasibleStrategyError
        No assignment satisfies the limits; names a smallest set that cannot hold together, and by how much each must
        give if the others of the set stay.

    References
    ----------
    Zhang et al. (2020), Solving billion-scale knapsack problems, WWW: prices for grouped knapsacks. Bertsekas
    (1982), Projected Newton methods. Huangfu and Hall (2018), Parallelizing the dual revised simplex method (HiGHS).

    Examples
    --------
    Three accounts, one call to give: it goes where it adds most, and one more would be worth 20.

    >>> values = np.array([[0.0, 30.0], [0.0, 50.0], [0.0, 20.0]])
    >>> solution = solve_assignment(values, usage=[[0, 1]], upper=[1])
    >>> solution.action.tolist(), solution.value, solution.status
    ([0, 1, 0], 50.0, 'optimal')
    """
    if not 0 <= gap < np.inf or not time_limit > 0:
        raise ValueError(f"gap must be >= 0 and time_limit > 0, not {gap} and {time_limit}")
    deadline = time.monotonic() + time_limit
    instance = read(values, usage, upper, lower, eligible, customer, contact, tie_key, names)
    return solution_of(Search(instance, gap, deadline, start_of(instance, warm_start)))


def solution_of(search: Search) -> AssignmentSolution:
    """Run a search to its end and state what it found.

    Parameters
    ----------
    search : Search
        A problem, and where to start.

    Returns
    -------
    AssignmentSolution

    Raises
    ------
    InfeasibleStrategyError
        No assignment satisfies the limits.
    """
    met = search.run()
    if not search.found:
        raise search.failure()
    return stated(search, met)


def stated(search: Search, met: bool) -> AssignmentSolution:
    """State what a search has found.

    Parameters
    ----------
    search : Search
        With an assignment.
    met : bool
        Whether it ran to its end.

    Returns
    -------
    AssignmentSolution
    """
    instance = search.instance
    value = instance.worth(search.action)  # summed once more over all rows: the search adds up changes
    bound = max(search.best.bound, value)
    return AssignmentSolution(
        action=search.action.astype(np.intp),
        value=value,
        upper_bound=bound,
        gap=(bound - value) / max(1.0, abs(value)),
        status="optimal" if met else "gap_not_reached",
        shadow_prices=search.best.price + 0.0,
        usage=instance.usage(search.action),
    )
