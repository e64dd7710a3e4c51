"""Each limit a little tighter and a little looser, solved anew: what the change is worth, beside what the shadow price foresaw."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .frontier import program_of
from .plan import Plan
from .problem import AssignmentProblem
from .sweep import solve_along

__all__ = ["shifted_limits"]


def shifted_limits(problem: AssignmentProblem, plan: Plan, *, share: float = 0.1) -> pd.DataFrame:
    """Solve the plan again with each upper bound a share tighter, and the same share looser.

    Parameters
    ----------
    problem : AssignmentProblem
        What was solved.
    plan : Plan
        The best plan, with its prices: from there the search begins.
    share : float, default 0.1
        Of each bound.

    Returns
    -------
    DataFrame
        A row a limit with an upper bound above 0: ``limit``; ``less`` and ``more``, what the portfolio's expected net value changes by
        where the bound is that much tighter or looser (money; ``less`` is missing where the limits could not hold together);
        ``foreseen``, the shadow price times the step: ``more`` is at most that and ``-less`` at least, but for ``proven``, the
        money by which the plan may be below the best; ``less_proven`` and ``more_proven``, the same for the two others.

    Notes
    -----
    As for :func:`~collectml.policy.frontier.trace`, hold-out, exploration and margins for chance stay as they are. A limit that is
    not scarce is worth nothing more; whether a tenth less of it would bind, no price can say.
    """
    limits = [k for k, x in enumerate(problem.limits) if np.isfinite(x.upper) and x.upper > 0]
    columns = ["limit", "less", "more", "foreseen", "proven", "less_proven", "more_proven"]
    if not problem.free.any() or not limits:
        return pd.DataFrame(columns=columns)
    strategy, solution = problem.strategy, plan.solution
    keep = (1 - strategy.holdout.share) * (1 - strategy.exploration.share)
    program, gap = program_of(problem, plan)
    rows = []
    for k in limits:
        step, price = share * problem.limits[k].upper, float(solution.shadow_prices[k])
        bounds = [plan.upper[k] - step / keep, plan.upper[k], plan.upper[k] + step / keep]
        scarce = price > 0
        solved = solve_along(program, k, bounds if scarce else bounds[:2], gap, {1: solution})
        less, more = solved[0], solved[2] if scarce else solution
        rows.append(
            (
                problem.limits[k].name,
                np.nan if less is None else keep * (less.value - solution.value),
                np.nan if more is None else keep * (more.value - solution.value),
                max(0.0, price) * step,
                *(np.nan if s is None else keep * max(0.0, s.upper_bound - s.value) for s in (solution, less, more)),
            )
        )
    return pd.DataFrame(rows, columns=columns)
