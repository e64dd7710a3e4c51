"""One problem at many bounds of one limit: rows whose choice no price within reach can change are settled once.

Between two solved bounds the prices hardly move, and most rows keep their action at every price in a box around them. Those
are fixed, the few others are solved again against what the fixed ones leave. Where the new prices lie in the box, the fixed
rows are where the prices want them, so that the bound certifies the whole; where not, the box grows, at last to all rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from collectml.errors import InfeasibleStrategyError

from .solver import solve_assignment

__all__ = ["SweepPoint", "SweepProblem", "solve_along"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# of the difference between the neighbours' prices, and of the prices themselves: how far the price in between may lie
# from the middle, first for a quick try, then for a safe one
TIGHT, WIDE = (0.15, 0.001), (0.8, 0.02)
LEAST = 1_500  # rows left open at least: with fewer the solver finds too little to exchange, and searches long
NEIGHBOURS = 8  # steps between two bounds up to which the quick try pays
MOST = 0.3  # share of the rows up to which solving a part is worth the try


@dataclass(frozen=True)
class SweepProblem:
    """What :func:`~collectml.policy.solve_assignment` is given, with the limit that is swept.

    Parameters
    ----------
    values : ndarray, shape (n, A)
        Money.
    usage : sequence of ndarray, length K
        Columns, (A,) or (n, A).
    lower, upper : ndarray, shape (K,)
        The limits.
    eligible : ndarray of bool, shape (n, A)
        Permitted actions.
    customer : ndarray of int, shape (n,), or None
        Codes of customers who get at most one contact.
    contact : ndarray of bool, shape (A,)
        Which actions are contacts.
    tie : ndarray, shape (n,)
        Keys that settle ties.
    names : tuple of str
        What the limits are called.
    swept : int
        Position of the limit that is swept.
    gap : float
        Target of the certified relative gap.
    """

    values: Floats
    usage: Sequence[Floats]
    lower: Floats
    upper: Floats
    eligible: NDArray[np.bool_]
    customer: Ints | None
    contact: NDArray[np.bool_]
    tie: NDArray[np.generic]
    names: tuple[str, ...]
    swept: int
    gap: float


@dataclass(frozen=True)
class SweepPoint:
    """The solution at one bound.

    Parameters
    ----------
    bound_of_limit : float
        The upper bound that the limit had.
    action : ndarray of int, shape (n,)
        The action of every row.
    value, upper_bound : float
        What the assignment is worth, and what none can exceed.
    price, usage : ndarray, shape (K,)
        Shadow prices, and what is used of each limit.
    """

    bound_of_limit: float
    action: NDArray[np.integer]
    value: float
    upper_bound: float
    price: Floats
    usage: Floats


@dataclass(frozen=True)
class _Part:
    """Rows still open and which actions (m, A) they may take, the action of all others, and the prices this is right for.

    `price` (K,) is near; from `least` to `most` no price makes another action best.
    """

    rows: Ints
    open: NDArray[np.bool_]
    action: NDArray[np.integer]
    price: Floats
    least: Floats
    most: Floats

    @classmethod
    def whole(cls, problem: SweepProblem, price: Floats | None = None) -> _Part:
        """Leave all rows open."""
        n, actions = problem.values.shape
        anything = np.full(len(problem.upper), np.inf)
        nothing: NDArray[np.integer] = np.zeros(n, dtype=np.int8 if actions <= 127 else np.int16)
        return cls(
            np.arange(n), problem.eligible, nothing, np.zeros(len(anything)) if price is None else price, -anything, anything
        )


def solve_along(
    problem: SweepProblem, bounds: Sequence[float], known: Mapping[int, SweepPoint] | None = None
) -> list[SweepPoint | None]:
    """Solve a problem at rising upper bounds of one limit.

    Parameters
    ----------
    problem : SweepProblem
        The problem.
    bounds : sequence of float
        Upper bounds, rising.
    known : mapping of int to SweepPoint, optional
        Solutions that are already there, by position.

    Returns
    -------
    list of SweepPoint or None
        None where no assignment can satisfy the limits; that is so below the first bound that is possible.

    Raises
    ------
    InfeasibleStrategyError
        Where not even the greatest bound is possible.
    """
    points: list[SweepPoint | None] = [None] * len(bounds)
    for position, point in (known or {}).items():
        points[position] = point
    everybody = _Part.whole(problem)
    last = len(bounds) - 1
    points[last] = points[last] or _solve(problem, bounds[last], everybody)
    first = _first_possible(problem, bounds, points, everybody)
    solved = [i for i in range(first, len(bounds)) if points[i] is not None]
    for low, high in itertools.pairwise(solved):
        _between(problem, bounds, points, low, high, everybody)
    return points


def _first_possible(
    problem: SweepProblem, bounds: Sequence[float], points: list[SweepPoint | None], everybody: _Part
) -> int:
    """Solve the smallest bound that is possible, found by halving, and return its position."""
    impossible, possible = -1, min(i for i, p in enumerate(points) if p is not None)
    trial = 0
    while possible - impossible > 1:
        try:
            points[trial] = _solve(problem, bounds[trial], everybody)
            possible = trial
        except InfeasibleStrategyError:
            impossible = trial
        trial = (impossible + possible) // 2
    return possible


def _between(
    problem: SweepProblem, bounds: Sequence[float], points: list[SweepPoint | None], low: int, high: int, part: _Part
) -> None:
    """Solve the bounds between two solved ones, the middle one first."""
    if high - low < 2:
        return
    below, above = points[low], points[high]
    assert below is not None  # noqa: S101  (both ends are solved before their middle)
    assert above is not None  # noqa: S101
    middle = (low + high) // 2
    centre = (below.price + above.price) / 2
    wide = _narrowed(problem, part, centre, _reach(below, above, WIDE))
    points[middle] = _reused(problem, bounds[middle], below, above)
    if points[middle] is None:
        # far apart, prices seldom lie near the middle
        tight = _narrowed(problem, wide, centre, _reach(below, above, TIGHT)) if high - low <= NEIGHBOURS else wide
        points[middle] = _solve_within(problem, bounds[middle], (tight, wide))
    _between(problem, bounds, points, low, middle, wide)
    _between(problem, bounds, points, middle, high, wide)


def _solve_within(problem: SweepProblem, bound: float, parts: Sequence[_Part]) -> SweepPoint:
    """Solve few rows, then more, then all, until the prices lie where the fixed rows are right."""
    tried = 0
    for part in parts:
        if len(part.rows) > MOST * len(problem.values) or len(part.rows) == tried:
            continue
        tried = len(part.rows)
        try:
            point = _solve(problem, bound, part)
        except InfeasibleStrategyError:  # the fixed rows may have taken what the others need
            continue
        if (point.price >= part.least).all() and (point.price <= part.most).all():
            return point
    return _solve(problem, bound, _Part.whole(problem, parts[-1].price))


def _reach(below: SweepPoint, above: SweepPoint, share: tuple[float, float]) -> Floats:
    """Say how far prices between two bounds may lie from the middle of theirs."""
    size = np.maximum(np.abs(below.price), np.abs(above.price))
    return share[0] * np.abs(below.price - above.price) + share[1] * size


def _reused(problem: SweepProblem, bound: float, below: SweepPoint, above: SweepPoint) -> SweepPoint | None:
    """Take a neighbour's assignment where it is good enough: that of a smaller bound always holds."""
    k = problem.swept
    dual = [p.upper_bound + p.price[k] * (bound - p.bound_of_limit) for p in (below, above)]
    best = above if above.usage[k] <= bound and above.value > below.value else below
    if min(dual) - best.value > problem.gap * max(1.0, abs(best.value)):
        return None
    price = (below if dual[0] <= dual[1] else above).price
    return replace(best, bound_of_limit=bound, upper_bound=max(min(dual), best.value), price=price)


def _solve(problem: SweepProblem, bound: float, part: _Part) -> SweepPoint:
    """Solve the open rows against what the others leave, and add up the whole."""
    rows, upper = part.rows, problem.upper.copy()
    upper[problem.swept] = bound
    whole = len(rows) == len(problem.values)
    used, value = np.zeros(len(upper)), 0.0
    if not whole:
        others = np.ones(len(problem.values), dtype=bool)
        others[rows] = False
        value, used = _totals(problem, np.flatnonzero(others), part.action[others])
    customer = problem.customer if problem.customer is None else problem.customer[rows]
    gap = problem.gap
    if not whole:  # in money what it is for the whole
        own = float(problem.values[rows, part.action[rows]].sum())
        gap *= max(1.0, abs(value + own)) / max(1.0, abs(own))
    solution = solve_assignment(
        problem.values[rows],
        usage=[c if c.ndim == 1 else c[rows] for c in problem.usage],
        upper=upper - used,
        lower=problem.lower - used,
        eligible=part.open,
        customer=customer,
        contact=None if customer is None else problem.contact,
        tie_key=problem.tie[rows],
        gap=gap,
        warm_start=part.price if part.price.any() else None,
        names=problem.names,
    )
    action = part.action.copy()
    action[rows] = solution.action
    total, usage = _totals(problem, np.arange(len(action)), action)
    return SweepPoint(bound, action, total, max(solution.upper_bound + value, total), solution.shadow_prices, usage)


def _totals(problem: SweepProblem, rows: Ints, action: NDArray[np.integer]) -> tuple[float, Floats]:
    """Sum value and usage of some rows."""
    counts = np.bincount(action, minlength=problem.values.shape[1])
    usage = [counts @ c if c.ndim == 1 else c[rows, action].sum() for c in problem.usage]
    return float(problem.values[rows, action].sum()), np.array(usage, dtype=float)


def _narrowed(problem: SweepProblem, part: _Part, centre: Floats, box: Floats) -> _Part:
    """Keep the rows open whose best action some price in the box may change; fix the others where they are."""
    rows = part.rows
    if not len(rows):
        return part
    charged = np.where(part.open, problem.values[rows], -np.inf)
    columns = [c[None, :] if c.ndim == 1 else c[rows] for c in problem.usage]
    for price, column in zip(centre, columns, strict=True):
        if price:
            charged -= price * column
    place = np.arange(len(rows))
    best = charged.argmax(axis=1)
    room = charged[place, best][:, None] - charged
    for reach, column in zip(box, columns, strict=True):
        if reach:
            own = np.broadcast_to(column, charged.shape)[place, best]
            room -= reach * np.abs(column - own[:, None])
    room[place, best] = np.inf
    nearness = room.min(axis=1)
    first, together = best, np.zeros(len(rows), dtype=bool)
    if problem.customer is not None:
        best, nearness, together = _by_customer(problem, rows, charged, columns, box, best, nearness)
    least = min(len(rows), LEAST)
    edge = max(0.0, float(np.partition(nearness, least - 1)[least - 1]))
    action = part.action.copy()
    action[rows] = best
    least_price, most_price = np.maximum(part.least, centre - box), np.minimum(part.most, centre + box)
    room[place, first] = -np.inf
    stay = nearness <= edge
    # a customer's accounts answer to each other: all their actions stay open
    possible = part.open & ((room <= edge) | together[:, None])
    return _Part(rows[stay], possible[stay], action, centre, least_price, most_price)


def _by_customer(
    problem: SweepProblem,
    rows: Ints,
    charged: Floats,
    columns: Sequence[Floats],
    box: Floats,
    best: Ints,
    nearness: Floats,
) -> tuple[Ints, Floats, NDArray[np.bool_]]:
    """Let customers with several accounts answer together: all quiet, or one contact where it gains most.

    Every worth is known up to what the box may change of it; a customer is fixed where the order of what it compares is
    beyond doubt.
    """
    assert problem.customer is not None  # noqa: S101  (asked only where there are customers)
    _, code, size = np.unique(problem.customer[rows], return_inverse=True, return_counts=True)
    several = np.flatnonzero(size[code] > 1)
    if not len(several):
        return best, nearness, size[code] > 1
    several = several[np.argsort(code[several], kind="stable")]
    starts = np.flatnonzero(np.diff(code[several], prepend=-1))
    length = np.diff(np.append(starts, len(several)))
    worth = charged[several]
    doubt = np.zeros_like(worth)
    for reach, column in zip(box, columns, strict=True):
        if reach:
            doubt += reach * np.abs(column if len(column) == 1 else column[several])
    quiet = _Choice.of(np.where(problem.contact, -np.inf, worth), doubt)
    loud = _Choice.of(np.where(problem.contact, worth, -np.inf), doubt)
    with np.errstate(invalid="ignore"):
        gain, least, most = loud.worth - quiet.worth, loud.least - quiet.most, loud.most - quiet.least
    forced = ~np.isfinite(quiet.worth)  # can only be contacted: left to the solver
    place = np.arange(len(several))
    top = np.maximum.reduceat(np.where(forced, np.inf, gain), starts)
    taker = np.minimum.reduceat(np.where(gain >= np.repeat(top, length), place, len(place)), starts)
    takes = np.zeros(len(several), dtype=bool)
    takes[taker[(top > 0) & (taker < len(place))]] = True
    rivals = np.maximum(0.0, np.maximum.reduceat(np.where(takes, -np.inf, most), starts))
    taken = np.logical_or.reduceat(takes, starts)
    own = np.maximum.reduceat(np.where(takes, least, -np.inf), starts)
    order = np.where(taken, own - rivals, -np.maximum.reduceat(most, starts))
    sure = np.minimum.reduceat(np.where(takes, loud.lead, quiet.lead), starts)
    room = np.where(np.logical_or.reduceat(forced, starts), -np.inf, np.minimum(order, sure))
    best, nearness = best.copy(), nearness.copy()
    best[several] = np.where(takes, loud.action, quiet.action)
    nearness[several] = np.repeat(room, length)
    return best, nearness, size[code] > 1


@dataclass(frozen=True)
class _Choice:
    """The best of some actions, what it is worth at least and at most, and by how much it surely leads the next."""

    action: Ints
    worth: Floats
    least: Floats
    most: Floats
    lead: Floats

    @classmethod
    def of(cls, worth: Floats, doubt: Floats) -> _Choice:
        place = np.arange(len(worth))
        action = worth.argmax(axis=1)
        high = worth + doubt
        most = high.max(axis=1)
        least = worth[place, action] - doubt[place, action]
        high[place, action] = -np.inf
        with np.errstate(invalid="ignore"):
            lead = least - high.max(axis=1)
        return cls(action, worth[place, action], least, most, np.where(np.isnan(lead), np.inf, lead))
