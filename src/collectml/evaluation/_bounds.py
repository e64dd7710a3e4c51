"""Bounds on one estimate under hidden confounding, their limits, and the strength at which a difference is overturned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from collectml.evaluation._scores import LogRows, PolicyScores
from collectml.evaluation._worst_case import WorstCase
from collectml.evaluation.intervals import Ratio, interval

__all__ = ["COLUMNS", "STRONGEST", "Bounds", "Limits"]

Floats = NDArray[np.float64]

COLUMNS = ("lower", "upper", "low", "high")
STRONGEST = 64.0
_STEP = 1.2
_HALVINGS, _HALVINGS_RESAMPLED = 14, 7


@dataclass(frozen=True)
class Limits:
    """How sampling error is added to a bound: from influence values, or by resampled customers."""

    confidence: float
    resamples: int | None
    seed: int


@dataclass
class Bounds:
    """One policy's value, or its difference from a baseline, as the strength of a confounder grows.

    Parameters
    ----------
    rows : LogRows
    policy : PolicyScores
    baseline : PolicyScores, "logged" or None
        ``"logged"`` is the mean outcome, which nothing confounds.
    estimator : {"ips", "snips", "dr"}
    cells : ndarray of int, shape (n,)
        In which the true weights keep their sum.
    limits : Limits
    """

    rows: LogRows
    policy: PolicyScores
    baseline: PolicyScores | Literal["logged"] | None
    estimator: str
    cells: NDArray[np.intp]
    limits: Limits
    _worst: WorstCase = field(init=False)

    def __post_init__(self) -> None:
        coefficient = self._weight(self.policy)
        if isinstance(self.baseline, PolicyScores):
            coefficient = coefficient - self._weight(self.baseline)
        propensity = np.ones(len(self.rows.y)) if self.rows.propensity is None else self.rows.propensity
        self._worst = WorstCase(self.rows.y, propensity, coefficient, self.cells)

    def line(self, strength: float) -> dict[str, float]:
        """Return both bounds at a strength and the interval around them."""
        ends = [self._estimate(strength, upper=upper).value for upper in (False, True)]
        return dict(zip(COLUMNS, (*ends, *(self._limit(strength, upper=upper) for upper in (False, True))), strict=True))

    def overturned(self) -> tuple[float, float]:
        """Return the least strength at which the interval of the difference includes 0, and at which its bound does."""
        side = -1.0 if self._estimate(1.0, upper=False).value < 0 else 1.0
        upper = side < 0  # the bound that faces zero
        halvings = _HALVINGS if self.limits.resamples is None else _HALVINGS_RESAMPLED
        return (
            _first_crossing(lambda s: side * self._limit(s, upper=upper), halvings),
            _first_crossing(lambda s: side * self._estimate(s, upper=upper).value, _HALVINGS),
        )

    def _weight(self, side: PolicyScores) -> Floats:
        weight = np.zeros(len(self.rows.y)) if side.weights is None else side.weights
        total = float(weight.sum())
        return weight * (len(weight) / total) if self.estimator == "snips" and total > 0 else weight

    def _estimate(self, strength: float, *, upper: bool, times: Floats | None = None) -> Ratio:
        """Return a bound and its influence values: the plain estimate from the worst outcomes."""
        y = self._worst.outcomes(strength, upper=upper, times=times)
        own = self._ratio(self.policy, y, times)
        if self.baseline is None:
            return own
        other = self._mean(self.rows.y, None, times) if self.baseline == "logged" else self._ratio(self.baseline, y, times)
        return Ratio(own.value - other.value, own.influence - other.influence)

    def _ratio(self, side: PolicyScores, y: Floats, times: Floats | None) -> Ratio:
        weight = np.zeros(len(y)) if side.weights is None else side.weights
        if self.estimator == "dr":
            return self._mean(side.direct + weight * (y - side.fitted), None, times)
        return self._mean(weight * y, weight if self.estimator == "snips" else None, times)

    def _mean(self, top: Floats, bottom: Floats | None, times: Floats | None) -> Ratio:
        if times is None:
            return self.rows.mean(top, bottom)
        total = float(times @ (np.ones(len(top)) if bottom is None else bottom))
        return Ratio(float(times @ top) / total if total > 0 else np.nan, np.empty(0))

    def _limit(self, strength: float, *, upper: bool) -> float:
        limits = self.limits
        if limits.resamples is None:
            bound = self._estimate(strength, upper=upper)
            found = interval(bound.value, bound.influence, limits.confidence, one_sided_tail=self.baseline is None)
            return found.high if upper else found.low
        rng = np.random.default_rng(limits.seed)  # the same draws at every strength
        customers = self.rows.n_customers
        values = []
        for _ in range(limits.resamples):
            times = np.bincount(rng.integers(customers, size=customers), minlength=customers).astype(np.float64)
            values.append(self._estimate(strength, upper=upper, times=times[self.rows.customer]).value)
        level = (1 + limits.confidence) / 2
        return float(np.nanquantile(values, level if upper else 1 - level))


def _first_crossing(height: Callable[[float], float], halvings: int) -> float:
    """Return the first strength at which `height` is no longer above 0; infinite where it still is at the strongest."""
    if height(1.0) <= 0:
        return 1.0
    low = high = 1.0
    while height(high) > 0:
        if high >= STRONGEST:
            return np.inf
        low, high = high, min(high * _STEP, STRONGEST)
    for _ in range(halvings):
        middle = (low + high) / 2
        low, high = (middle, high) if height(middle) > 0 else (low, middle)
    return high
