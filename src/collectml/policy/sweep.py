"""One problem at many bounds of one limit, from the loosest to the tightest: each solution starts from those before it.

Prices are foreseen on the curve through the last solutions, or as a sample of the rows has them. In a large portfolio most rows do
the same at all prices foreseen for some bounds: the search, the usual one with the usual proof, runs over the others.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from collectml.errors import InfeasibleStrategyError

from ._core import core_of
from ._instance import Instance
from ._newton import newton
from ._open_rows import OpenRows
from ._search import WHOLE, Search, median_loss, patience
from ._usage import Floats
from .solver import AssignmentSolution, solution_of

__all__ = ["solve_along"]

SAMPLE = 4_000  # rows from which prices are foreseen, or a hundredth of all
AHEAD = 4  # bounds for which open rows are sought together
ASTRAY = 100.0  # target gaps, beyond which a solution over open rows does not say where to look


@dataclass(frozen=True)
class _Solved:
    """A bound, its place and the solution there."""

    place: int
    bound: float
    solution: AssignmentSolution


def solve_along(
    instance: Instance,
    swept: int,
    bounds: Sequence[float],
    gap: float,
    known: Mapping[int, AssignmentSolution] | None = None,
) -> list[AssignmentSolution | None]:
    """Solve a problem at rising upper bounds of one limit.

    Parameters
    ----------
    instance : Instance
        The problem.
    swept : int
        Position of the limit.
    bounds : sequence of float
        Upper bounds, rising.
    gap : float
        Target of the certified relative gap.
    known : mapping of int to AssignmentSolution, optional
        Solutions that are already there, by position; the search begins at the first one's prices.

    Returns
    -------
    list of AssignmentSolution or None
        None where no assignment can satisfy the limits; that is so below the first bound that is possible.

    Raises
    ------
    InfeasibleStrategyError
        Where not even the greatest bound is possible.
    """
    points: list[AssignmentSolution | None] = [None] * len(bounds)
    walk = _Walk(instance, swept, bounds, gap)
    for i, solution in list((known or {}).items())[:1]:
        walk.before = [_Solved(i, bounds[i], solution)]
    passed: _Solved | None = None
    for i in reversed(range(len(bounds))):
        if passed and i not in (known or {}) and (again := _still_good(passed, swept, bounds[i], gap)) is not None:
            points[i] = again
            continue
        try:
            solution = known[i] if known and i in known else walk.to(i)
        except InfeasibleStrategyError:
            if not passed:
                raise
            break
        points[i], passed = solution, _Solved(i, bounds[i], solution)
        walk.before = [*(x for x in walk.before if x.place != i), passed][-3:]
    return points


class _Walk:
    """Where a sweep stands: what was solved last, at most three, and the rows that are open on the way ahead."""

    def __init__(self, instance: Instance, swept: int, bounds: Sequence[float], gap: float) -> None:
        self.instance, self.swept, self.bounds, self.gap = instance, swept, bounds, gap
        self.before: list[_Solved] = []
        self.open: OpenRows | None = None
        self.stale = False  # whether they were too few the last time

    @cached_property
    def sampled(self) -> Floats:
        """Prices at every bound, shape (P, K), from a sample of the rows."""
        instance, n = self.instance, len(self.instance.values)
        rows = instance.draw(max(SAMPLE, n // 100))
        share = len(rows) / n
        core = core_of(instance, rows, share=share)
        prices = np.zeros((len(self.bounds), len(instance.upper)))
        price = prices[-1]
        scale = median_loss(core, price)
        heat: tuple[float, ...] = (1.0, 0.3, 0.1, 0.03, 0.01)
        for i in reversed(range(len(prices))):
            upper = share * instance.at_most(self.swept, self.bounds[i]).upper
            price = newton(replace(core, upper=upper), instance.units, price, [scale * x for x in heat])
            prices[i], heat = price, (0.02,)
        return prices

    def along_sample(self, i: int) -> Floats:
        """Foresee prices at a bound as the sample has them, as far off as the sample was at the last solution."""
        last = self.before[-1]
        there = last.solution.shadow_prices
        ahead = there + self.sampled[i] - self.sampled[last.place]
        return np.where(ahead * np.sign(self.sampled[i] + there) > 0, ahead, 0.0)

    def along_curve(self, i: int) -> Floats:
        """Foresee prices at a bound on the curve through the last solutions; one that would change its sign is zero."""
        there = self.before[-1].solution.shadow_prices
        ahead = np.zeros(len(there))
        for x in self.before:
            others = [y.bound for y in self.before if y is not x]
            ahead += np.prod([(self.bounds[i] - y) / (x.bound - y) for y in others]) * x.solution.shadow_prices
        return np.where(ahead * there > 0, ahead, 0.0)

    def path(self, i: int) -> Floats:
        """Foresee prices at a bound and some ahead, shape (P, K).

        The curve is closer than the sample, but for where a limit begins or ceases to bind.
        """
        steady = np.ptp(np.sign(self.sampled[[i, *(x.place for x in self.before)]]), axis=0).max(initial=0.0) == 0
        foresee = self.along_curve if steady and len(self.before) > 1 else self.along_sample
        return np.array([foresee(j) for j in range(i, max(-1, i - 1 - AHEAD), -1)])

    def to(self, i: int) -> AssignmentSolution:
        """Solve at a bound: over the open rows, if need be again over those beside the prices that led to, or over all."""
        program = self.instance.at_most(self.swept, self.bounds[i])
        deadline = time.monotonic() + patience(len(program.values))
        if not self.before or len(program.values) <= WHOLE:
            return solution_of(Search(program, self.gap, deadline))
        path = self.path(i)
        for _ in range(2):
            if self.open is None or self.stale or not self.open.cover(path[0]):
                self.open, self.stale = OpenRows.along(self.instance, path), False
            found = self.open.solve(program, self.gap, path[0]) if self.open else None
            if found is not None and found.gap <= self.gap:
                return found
            self.stale = True
            if found is None or found.gap > ASTRAY * self.gap:
                break
            path = found.shadow_prices[None]
        return solution_of(Search(program, self.gap, deadline, path[0]))


def _still_good(last: _Solved, swept: int, bound: float, gap: float) -> AssignmentSolution | None:
    """Keep the last solution where it holds the tighter bound too and is good enough for it: a limit that is not scarce."""
    s = last.solution
    ceiling = s.upper_bound + s.shadow_prices[swept] * (bound - last.bound)
    room = max(0.0, ceiling - s.value) / max(1.0, abs(s.value))
    if s.usage[swept] > bound or room > gap:
        return None
    return replace(s, upper_bound=max(ceiling, s.value), gap=room)
