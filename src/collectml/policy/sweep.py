"""One problem at many bounds of one limit, from the loosest to the tightest: each solution starts from those before it.

Along the bounds prices move steadily, so that the next are foreseen on the line through the last two. From there the search is the usual
one, and so is its proof.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from collectml.errors import InfeasibleStrategyError

from ._instance import Instance
from ._search import WHOLE, Search, patience
from ._usage import Floats
from .solver import AssignmentSolution, solution_of

__all__ = ["solve_along"]


@dataclass(frozen=True)
class _Solved:
    """A bound and the solution there."""

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
    before: list[_Solved] = []  # the last two
    near = [_Solved(bounds[i], solution) for i, solution in (known or {}).items()][:1]
    for i in reversed(range(len(bounds))):
        if known and i in known:
            points[i] = known[i]
            before = [*before[-1:], _Solved(bounds[i], known[i])]
            continue
        program = instance.at_most(swept, bounds[i])
        if before and (again := _still_good(before[-1], swept, bounds[i], gap)) is not None:
            points[i] = again
            continue
        try:
            solution = solution_of(_search(program, bounds[i], gap, before or near))
        except InfeasibleStrategyError:
            if not before:
                raise
            break
        points[i] = solution
        before = [*before[-1:], _Solved(bounds[i], solution)]
    return points


def _search(program: Instance, bound: float, gap: float, before: Sequence[_Solved]) -> Search:
    """Search from the prices that the last bounds lead to."""
    deadline = time.monotonic() + patience(len(program.values))
    if not before or len(program.values) <= WHOLE:
        return Search(program, gap, deadline)
    return Search(program, gap, deadline, _foreseen(bound, before))


def _foreseen(bound: float, before: Sequence[_Solved]) -> Floats:
    """Follow the prices along the line through the last two bounds; none changes its sign."""
    last = before[-1]
    price = last.solution.shadow_prices
    if len(before) < 2:
        return price
    step = (bound - last.bound) / (last.bound - before[0].bound)
    ahead = price + step * (price - before[0].solution.shadow_prices)
    return np.where(ahead * price > 0, ahead, price)


def _still_good(last: _Solved, swept: int, bound: float, gap: float) -> AssignmentSolution | None:
    """Keep the last solution where it holds the tighter bound too and is good enough for it: a limit that is not scarce."""
    s = last.solution
    ceiling = s.upper_bound + s.shadow_prices[swept] * (bound - last.bound)
    room = max(0.0, ceiling - s.value) / max(1.0, abs(s.value))
    if s.usage[swept] > bound or room > gap:
        return None
    return replace(s, upper_bound=max(ceiling, s.value), gap=room)
