"""The plan: what every account would get if nobody were held out or explored, solved under limits that leave room."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from collectml.errors import InfeasibleStrategyError
from collectml.strategy import CompiledLimit

from ._search import patience
from ._usage import TOLERANCE, blocks, exact_sum, looked_up, total
from .exploration import BREACH_PROBABILITY, bernstein_margin, bernstein_tail, exploration_moments
from .problem import AssignmentProblem
from .solver import AssignmentSolution, solve_assignment

__all__ = ["Plan", "make_plan"]

Floats = NDArray[np.float64]
MAX_ROUNDS = 6


@dataclass(frozen=True)
class Plan:
    """A solved plan.

    Parameters
    ----------
    action : ndarray of int, shape (n,)
        The plan's action of every account, fixed ones included.
    lower, upper : ndarray, shape (K,)
        The limits it was solved under.
    expected : ndarray, shape (K,)
        Expected usage of what will be assigned: plan, exploration, fixed accounts.
    solution : AssignmentSolution
        Prices, bound, gap and status, for the accounts that are free.
    breach_bound : float
        Bound on the probability that chance pushes usage past any limit.
    """

    action: NDArray[np.signedinteger]
    lower: Floats
    upper: Floats
    expected: Floats
    solution: AssignmentSolution
    breach_bound: float


@dataclass(frozen=True)
class _Chance:
    """What fixed accounts, the control and exploration use of one limit, and the spread of exploration's use.

    `control` is what it would be if all accounts, fixed ones included, got the control.
    """

    control: float
    fixed: float
    mean: float
    variance: float
    largest: float
    saves: bool

    def cautious_upper(self, upper: float, probability: float) -> float:
        """Bound the plan for exploration's chance alone; of no use where leaving out part of the plan may use more."""
        if self.saves:
            return -np.inf
        margin = bernstein_margin(self.variance, self.largest, probability) if self.mean else 0.0
        return upper - self.fixed - self.mean - margin


def make_plan(problem: AssignmentProblem, *, gap: float = 1e-6) -> Plan:
    """Solve the plan, leaving room in each limit for exploration, fixed accounts and chance.

    Parameters
    ----------
    problem : AssignmentProblem
        The problem of the cycle.
    gap : float, default 1e-6
        Target of the certified relative gap.

    Returns
    -------
    Plan

    Raises
    ------
    InfeasibleStrategyError
        Where no assignment can satisfy the limits.

    Notes
    -----
    Usage is counted beyond the control's, since held-out accounts get the control. Of the plan's usage only
    ``keep = (1 - h)(1 - e)`` is expected to be carried out; which part is chance, by customer. With ``L`` a limit, ``F`` the
    usage of fixed accounts and of the control, ``E`` exploration's expected usage and ``m`` the margin, the plan may use
    ``(L - F - E - m) / keep``, ``m`` from a Bernstein bound on both kinds of chance; or, where that is more and no action
    uses less than the control, ``L - F - E - m_E`` with exploration's chance alone, because carrying out less than the plan
    never uses more. The margin needs the plan's own spread, so plan and margin are found in turn until the bound holds.
    """
    strategy = problem.strategy
    keep = (1 - strategy.holdout.share) * (1 - strategy.exploration.share)
    free = problem.free
    chance = [_chance(problem, x) for x in problem.limits]
    lower, upper = (np.array([getattr(x, b) for x in problem.limits], dtype=float) for b in ("lower", "upper"))
    elsewhere = np.array([c.fixed + c.mean for c in chance])
    share = BREACH_PROBABILITY / max(1, 2 * len(chance))
    cautious = np.array([c.cautious_upper(float(u), share) for u, c in zip(upper, chance, strict=True)])
    # a comparison of two sums is no less in danger when its plan uses nothing: it needs the margin all the same
    sums = np.array([x.ratio is None for x in problem.limits], dtype=bool)
    possible = sums & (upper >= np.array([c.fixed for c in chance]))
    margin = np.zeros(len(chance))
    for _ in range(MAX_ROUNDS if keep < 1 else 1):
        plan_upper = np.maximum((upper - elsewhere - margin) / keep, cautious)
        # chance alone never makes a limit impossible that could be kept by doing nothing
        plan_upper = np.where(possible, np.maximum(plan_upper, 0.0), plan_upper)
        plan_lower = (lower - elsewhere + margin) / keep
        try:
            solution = _solve(problem, chance, plan_lower, plan_upper, gap)
        except InfeasibleStrategyError as error:
            raise _too_much_chance(problem, error, margin) from None
        needed, tail = _spread(problem, solution.action, chance, keep, share, cautious)
        if (needed <= margin).all() or tail <= BREACH_PROBABILITY:
            break
        margin = np.maximum(margin, 1.02 * needed)
    action = np.where(free, solution.action, problem.fixed).astype(np.int16)
    solution = replace(solution, action=solution.action[free])
    return Plan(action, plan_lower, plan_upper, elsewhere + keep * solution.usage, solution, tail)


def _too_much_chance(problem: AssignmentProblem, error: InfeasibleStrategyError, margin: Floats) -> InfeasibleStrategyError:
    """Say so where the limits could hold but for the margin that hold-out and exploration ask for."""
    asked = {x.name: m for x, m in zip(problem.limits, margin, strict=True) if x.name in error.limits and m > 0}
    if not asked:
        return error
    named = ", ".join(f"{name} (margin {m:,.4g})" for name, m in asked.items())
    strategy = problem.strategy
    return InfeasibleStrategyError(
        f"with a hold-out of {strategy.holdout.share:.0%} and exploration of {strategy.exploration.share:.0%} the plan must "
        f"leave a margin for chance, {named}: loosen the limit, or lower the shares; {error}",
        error.limits,
    )


def _chance(problem: AssignmentProblem, limit: CompiledLimit) -> _Chance:
    control = total(limit.usage, np.zeros(len(problem.ids), dtype=np.int16))
    fixed = total(limit.usage, np.maximum(problem.fixed, 0))
    saves = any((part < part[..., :1]).any() for part in _parts(problem, limit))
    if problem.strategy.exploration.share == 0:
        return _Chance(control, fixed, 0.0, 0.0, 0.0, saves)
    return _Chance(control, fixed, *exploration_moments(problem, limit, problem.weights), saves)


def _parts(problem: AssignmentProblem, limit: CompiledLimit) -> list[Floats]:
    return [limit.usage] if limit.usage.ndim == 1 else [limit.usage[rows] for rows in blocks(len(problem.ids))]


def _solve(
    problem: AssignmentProblem, chance: list[_Chance], lower: Floats, upper: Floats, gap: float
) -> AssignmentSolution:
    """Solve for all accounts, of which fixed ones may only get the control; bounds and solution count what is used beyond it.

    The solver counts the control's usage as well, so bounds move by it: no column is copied.
    """
    free, names = problem.free, [x.name for x in problem.limits]
    if not free.any():  # nobody is decided: commitments and notices alone must fit
        over = [x for x, low, high in zip(names, lower, upper, strict=True) if high < 0 or low > 0]
        if over:
            raise InfeasibleStrategyError(f"commitments and mandatory notices alone break {', '.join(over)}", over)
        nothing = np.zeros(len(names))
        return AssignmentSolution(np.zeros(len(free), dtype=np.intp), 0.0, 0.0, 0.0, "optimal", nothing, nothing)
    eligible = problem.eligible
    if not free.all():
        eligible = eligible & free[:, None]
        eligible[:, 0] = True
    control = np.array([c.control for c in chance], dtype=float)
    shared = problem.strategy.one_contact_per_customer and bool((problem.household > 1).any())
    solution = solve_assignment(
        problem.net,
        usage=[x.usage for x in problem.limits],
        upper=_moved(upper, control, 1.0),
        lower=_moved(lower, control, -1.0),
        eligible=eligible,
        customer=problem.customer_code if shared else None,
        contact=problem.strategy.contact_mask if shared else None,
        tie_key=problem.tie,
        gap=gap,
        names=names,
        time_limit=patience(len(free)),
    )
    fixed = exact_sum(np.asarray(problem.net[~free, 0], dtype=np.float64))
    value, bound = solution.value - fixed, solution.upper_bound - fixed
    return replace(
        solution,
        value=value,
        upper_bound=bound,
        gap=(bound - value) / max(1.0, abs(value)),
        usage=solution.usage - control,
    )


def _moved(bounds: Floats, by: Floats, sign: float) -> Floats:
    """Move bounds, and no more than the tolerance of the bound itself may be used on top of it."""
    moved = bounds + by
    known = np.isfinite(bounds)
    size, now = (np.maximum(1.0, np.abs(np.where(known, x, 0.0))) for x in (bounds, moved))
    return moved - sign * TOLERANCE * np.maximum(0.0, now - size)


def _spread(
    problem: AssignmentProblem,
    action: NDArray[np.integer],
    chance: list[_Chance],
    keep: float,
    share: float,
    cautious: Floats,
) -> tuple[Floats, float]:
    """Margins that the plan's own spread asks for, and the bound on the chance of a breach under its limits."""
    if keep == 1:
        return np.zeros(len(chance)), 0.0
    control = np.zeros(len(action), dtype=np.int16)
    margins, tail = np.zeros(len(chance)), 0.0
    for k, (limit, c) in enumerate(zip(problem.limits, chance, strict=True)):
        own = limit.usage[action] - limit.usage[0] if limit.usage.ndim == 1 else looked_up(limit.usage, action)
        if limit.usage.ndim == 2:
            own -= looked_up(limit.usage, control)
        by_customer = np.bincount(problem.customer_code, own)
        used = exact_sum(own)
        variance = keep * (1 - keep) * float(by_customer @ by_customer) + c.variance
        largest = max(float(np.abs(by_customer).max(initial=0.0)), c.largest)
        margins[k] = bernstein_margin(variance, largest, share)
        mean = c.fixed + c.mean + keep * used
        above = bernstein_tail(limit.upper - mean, variance, largest)
        if used <= cautious[k]:
            above = min(above, share)
        tail += above + bernstein_tail(mean - limit.lower, variance, largest)
    return margins, tail
