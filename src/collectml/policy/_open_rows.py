"""Along a line of prices most rows never change their action: the others are a problem of their own.

A row's worth under each action is linear in the prices. So what is best at both ends of a line is best all along it, and leads
there by no less than at the worse end. Prices beside the line can move any lead by no more than `largest_moves` allows.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ._instance import Instance
from ._scan import COUPLED, choices, largest_moves, scan
from ._search import Search, patience
from ._usage import Floats, Ints
from .solver import AssignmentSolution, stated

LEAST = 10_000  # rows, below which nothing is saved
SHARE = 1 / 8  # of the rows, whose lead says how far prices may lie beside the line
MOST = 1 / 2  # of the rows may be open: with more, nothing is saved
MARKS = np.linspace(0.0, 1.0, 17)  # points of the line from which prices are reached


@dataclass(frozen=True)
class OpenRows:
    """The rows that may change their action along a line of prices, and what the others do.

    Parameters
    ----------
    whole : Instance
        The problem.
    line : ndarray, shape (m, K)
        Prices along the line; one where it is a point.
    rows : ndarray of int
        The open rows.
    part : Instance
        Their problem.
    action : ndarray of int, shape (n,)
        The actions of the others, in their places.
    used : ndarray, shape (K,)
        What they use.
    lead : float
        By how much each of the others leads, at least.
    """

    whole: Instance
    line: Floats
    rows: Ints
    part: Instance
    action: NDArray[np.intp]
    used: Floats
    lead: float

    @classmethod
    def along(cls, instance: Instance, path: Floats) -> OpenRows | None:
        """Find the rows open along a path of prices (P, K), as far as a line comes near it; None where that saves nothing."""
        n = len(instance.values)
        rank = max(LEAST, int(SHARE * n))
        if rank > n // 4:
            return None
        at = scan(instance, path[0])
        lead = float(np.partition(at.margin, rank)[rank])
        line = _line(instance, path, lead / 2)
        action, margin = (at.action, at.margin) if len(line) == 1 else choices(instance, line[-1])[:2]
        taken = (at.action != action) | (at.margin <= lead) | (margin <= lead)
        if np.count_nonzero(taken) > MOST * n:
            return None
        rows, part = instance.only(taken)
        some = at.action[rows]
        part = replace(part, apart=at.value - part.worth(some))
        return cls(instance, line, rows, part, at.action.astype(np.intp), at.usage - part.usage(some), lead)

    def cover(self, price: Floats) -> bool:
        """Say whether all rows but the open ones surely do at these prices what they do along the line."""
        return _beside(self.whole, self.line, price) <= self.lead

    def under(self, program: Instance) -> Instance:
        """Return the problem of the open rows at other limits."""
        return replace(self.part, lower=program.lower - self.used, upper=program.upper - self.used)

    def solve(self, program: Instance, gap: float, price: Floats) -> AssignmentSolution | None:
        """Solve the problem at other limits, from prices near the line; None where the open rows alone cannot hold them.

        The bound is that of the whole problem: what the others do is known along the line, elsewhere they are looked at.
        """
        search = Search(self.under(program), gap, time.monotonic() + patience(len(self.rows)), price)
        met = search.run()
        if not search.found:
            return None
        found = stated(search, met)
        action = self.action.copy()
        action[self.rows] = found.action
        bound = found.upper_bound if self.cover(found.shadow_prices) else scan(program, found.shadow_prices).bound
        bound = max(bound, found.value)
        return replace(
            found,
            action=action,
            usage=found.usage + self.used,
            upper_bound=bound,
            gap=(bound - found.value) / max(1.0, abs(found.value)),
        )


def _line(instance: Instance, path: Floats, beside: float) -> Floats:
    """Return the longest line from the first price of a path to another, from which none between them lies far."""
    for last in range(len(path) - 1, 0, -1):
        line = path[0] + MARKS[:, None] * (path[last] - path[0])
        if all(_beside(instance, line, price) <= beside for price in path[1:last]):
            return line
    return path[:1]


def _beside(instance: Instance, line: Floats, price: Floats) -> float:
    """Return the most that an action may gain on another from the nearest point of a line to prices beside it."""
    most = min(float(largest_moves(instance, price - at).max()) for at in line)
    return COUPLED * most if len(instance.shared) else most
