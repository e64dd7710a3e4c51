"""Averages over ranked decisions: what all curves and areas are made of.

Decisions with the same priority form a group that is never split: a curve runs straight through it, so that no result depends
on the order of rows, and a constant priority ranks nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["AREAS", "RankedScores", "Statistic"]

Floats = NDArray[np.float64]

# how far to either side of a cut-off, in shares of the decisions, the effect of those at the cut-off is averaged
_CUTOFF_REACH = 0.05


class Statistic(NamedTuple):
    """A value and its influence values, (n,): what each row adds to it, times n."""

    value: float
    influence: Floats


@dataclass(frozen=True)
class Area:
    """An area under a curve: ``sum over groups of mean effect x (integral(end) - integral(begin))``.

    Parameters
    ----------
    integral : callable
        Antiderivative of the weight that the decision at share u of the ranking has in the area.
    weight : callable
        That weight.
    """

    integral: Callable[[Floats], Floats]
    weight: Callable[[Floats], Floats]


def _x_log_x(u: Floats) -> Floats:
    return u * np.log(np.where(u > 0, u, 1.0))


AREAS = {
    # under the uplift curve: the decision at share u is among the treated at every share above u
    "auuc": Area(lambda u: u - u**2 / 2, lambda u: 1 - u),
    # between that curve and its chord, which is also u TOC(u) integrated
    "qini": Area(lambda u: (u - u**2) / 2, lambda u: 0.5 - u),
    # under the TOC: at each share v above u it counts 1/v, less one for the average effect
    "autoc": Area(lambda u: -_x_log_x(u), lambda u: -np.log(np.where(u > 0, u, 1.0)) - 1),
}


class RankedScores:
    """Scores of effects in the order of a priority, highest first.

    Parameters
    ----------
    priority : ndarray, shape (n,)
        Finite; who comes first.
    score : ndarray, shape (n,)
        Score of the effect of treating each decision.
    """

    def __init__(self, priority: Floats, score: Floats) -> None:
        _, group, count = np.unique(-priority, return_inverse=True, return_counts=True)
        n = len(score)
        self.n, self.group, self.score = n, group, score
        self.end = np.cumsum(count) / n
        self.begin = np.r_[0.0, self.end[:-1]]
        self.total = np.bincount(group, weights=score, minlength=len(count)) / n
        self.group_mean = self.total * n / count
        self.mean = float(score.mean())

    def area(self, area: Area) -> Statistic:
        """Return an area with its influence values.

        The weights' estimated positions in the ranking take part in the influence: the decision above moves all below.
        """
        centre = float(self.mean) if abs(float(area.integral(np.ones(1))[0])) < 1e-12 else 0.0
        effect = self.group_mean - centre
        height = area.integral(self.end) - area.integral(self.begin)
        value = float(np.sum(effect * height))
        own = height[self.group] / (self.end - self.begin)[self.group] * (self.score - self.group_mean[self.group])
        at_end, at_begin = effect * area.weight(self.end), effect * area.weight(self.begin)
        at_begin[0] = 0.0  # the ranking begins at zero, whoever is in it
        from_here = np.cumsum(at_end[::-1])[::-1]
        below = np.r_[np.cumsum(at_begin[::-1])[::-1][1:], 0.0]
        moved = from_here - below - float(np.sum(at_end * self.end - at_begin * self.begin))
        return Statistic(value, own + moved[self.group])

    def gains(self, shares: Floats) -> Floats:
        """Return the uplift curve at each share: what treating that share of the decisions adds, per decision of all."""
        return np.interp(shares, np.r_[0.0, self.end], np.r_[0.0, np.cumsum(self.total)])

    def gain(self, share: float) -> Statistic:
        """Return one point of the uplift curve with its influence values.

        The effect of those at the cut-off, which decides how much the estimated cut-off matters, is the curve's slope there.
        """
        value = float(self.gains(np.array([share]))[0])
        if share >= 1:
            return Statistic(value, self.score - self.mean)
        near = np.clip([share - _CUTOFF_REACH, share + _CUTOFF_REACH], 0.0, 1.0)
        slope = float(np.diff(self.gains(near))[0] / (near[1] - near[0]))
        # a group on the cut-off is treated in part
        treated = np.clip((share - self.begin) / (self.end - self.begin), 0.0, 1.0)[self.group]
        return Statistic(value, treated * (self.score - slope) + share * slope - value)
