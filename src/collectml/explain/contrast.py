"""Why A, not B: the margin of one action over another, in money, feature group by feature group and limit by limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.errors import CollectMLError

from .contributions import TOLERANCE, Contributions

__all__ = ["COMPLAINTS", "COST", "contrast"]

Floats = NDArray[np.float64]
COST, COMPLAINTS = "(cost)", "(complaints)"


def contrast(
    recovered: Contributions,
    *,
    groups: Mapping[str, str],
    value_of_recovered: float,
    cost: Floats,
    complaints: Floats,
    usage: Floats,
    prices: Floats,
    limits: Sequence[str],
    margin: Floats,
    rounding: Floats | float = 0.0,
) -> pd.DataFrame:
    """Take the margin of action A over action B apart.

    Parameters
    ----------
    recovered : Contributions, accounts × features
        What features add to the money recovered under A beyond that under B.
    groups : mapping of str to str
        Group of a feature; features not named are their own.
    value_of_recovered : float
        Worth of a unit recovered.
    cost : ndarray, shape (n,)
        What A costs more than B, in money.
    complaints : ndarray, shape (n,)
        What A's further complaints cost, in money.
    usage : ndarray, shape (n, K)
        What A uses of each limit more than B.
    prices : ndarray, shape (K,)
        Shadow prices, in money per unit.
    limits : sequence of str, length K
        Names of the limits.
    margin : ndarray, shape (n,)
        Net value less priced usage, A less B, worked out independently.
    rounding : ndarray, shape (n,), or float
        By how much the margin may be off because a batch keeps values and usage with 32 bits, in money.

    Returns
    -------
    DataFrame, accounts × parts
        Money: a column for each group, then ``"(cost)"``, ``"(complaints)"``, one ``"limit: NAME"`` for each limit, and
        ``"margin"``.

    Raises
    ------
    CollectMLError
        Where the parts miss the margin by more than 1e-6 of the money they move, and its rounding.

    Examples
    --------
    >>> recovered = Contributions(pd.DataFrame({"score": [9.0], "late": [-2.0]}, index=[7]), np.array([40.0]))
    >>> contrast(recovered, groups={"score": "history", "late": "history"}, value_of_recovered=1.0, cost=np.array([2.0]),
    ...     complaints=np.array([0.5]), usage=np.array([[1.0]]), prices=np.array([3.0]), limits=["calls"],
    ...     margin=np.array([1.5]))
       history  (cost)  (complaints)  limit: calls  margin
    7      7.0    -2.0          -0.5          -3.0     1.5
    """
    parts = recovered.grouped(groups).values * value_of_recovered
    parts[COST], parts[COMPLAINTS] = -cost, -complaints
    for k, name in enumerate(limits):
        parts[f"limit: {name}"] = -prices[k] * usage[:, k]
    scale = np.maximum(parts.abs().sum(axis="columns").to_numpy(), 1e-9)
    missed = np.maximum(np.abs(parts.sum(axis="columns").to_numpy() - margin) - rounding, 0.0)
    worst = float((missed / scale).max(initial=0.0))
    if worst > TOLERANCE:
        raise CollectMLError(f"the parts of the contrast miss its margin by {worst:.2g} of what they move")
    # what is told adds up to the last digit; the other way of working it out has done its duty
    parts["margin"] = parts.sum(axis="columns")
    return parts
