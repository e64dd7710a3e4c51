"""The worst outcomes an unobserved confounder of a stated strength can hide behind a log, in closed form."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["WorstCase", "strata_by_action"]

Floats = NDArray[np.float64]

MOST_STRATA = 20
FEWEST_ROWS = 100


def strata_by_action(predicted: Floats, action: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return a cell for each decision, (n,): its action, and within the action the rank of its predicted outcome.

    Parameters
    ----------
    predicted : ndarray, shape (n,)
        Predicted outcome of the logged action, by a model that has not seen the row.
    action : ndarray of int, shape (n,)

    Returns
    -------
    ndarray of int, shape (n,)
        At most 20 equal cells an action, at least 100 rows in each where the action has as many.
    """
    cell = np.zeros(len(action), dtype=np.intp)
    for a in np.unique(action):
        rows = np.flatnonzero(action == a)
        count = int(np.clip(len(rows) // FEWEST_ROWS, 1, MOST_STRATA))
        cuts = np.unique(np.quantile(predicted[rows], np.linspace(0, 1, count + 1)[1:-1]))
        cell[rows] = a * MOST_STRATA + np.searchsorted(cuts, predicted[rows], side="right")
    return cell


class WorstCase:
    """Largest and smallest value of ``sum(coefficient * y)`` when the true propensities may differ from the logged ones.

    Parameters
    ----------
    y : ndarray, shape (n,)
        Outcomes.
    propensity : ndarray, shape (n,)
        Logging propensity of each logged action.
    coefficient : ndarray, shape (n,)
        What each outcome counts under the logged propensities: ``policy / propensity``, or a difference of two such.
    cell : ndarray of int, shape (n,)
        Cells in which the weights keep their sum: the logged action, or finer.

    Notes
    -----
    The weight of a row is ``1 + (1 / p - 1) r`` with ``1 / strength <= r <= strength``, and ``r`` averages 1 in each cell and
    sign of the coefficient, as true weights do (with loads ``|coefficient| (1 - p)``). The optimum of this linear programme
    puts ``r`` at one limit above a quantile of the cell's outcomes and at the other below it: its dual is a quantile
    regression on the cells. With that quantile q every outcome is replaced by
    ``p y + (1 - p) (y / s + (1 - 1 / s) (q + (1 + s) max(y - q, 0)))``, and the bound is the plain estimate from these.
    Any q whatever gives a valid bound, the true conditional quantile the sharp one; the bounds can only widen with the
    strength. As the quantile minimises the bound, its own sampling error does not enter the bound's to first order.

    References
    ----------
    Dorn and Guo (2023), Sharp sensitivity analysis for inverse propensity weighting via quantile balancing, JASA 118.
    Dorn, Guo and Kallus (2024), Doubly-valid/doubly-sharp sensitivity analysis, JASA 119.
    """

    def __init__(self, y: Floats, propensity: Floats, coefficient: Floats, cell: NDArray[np.intp]) -> None:
        self._y = y
        self._spare = 1.0 - propensity
        self._load = np.abs(coefficient) * self._spare
        self._sign = np.where(coefficient < 0, -1.0, 1.0)
        keys = np.unique(2 * cell.astype(np.int64) + (self._sign > 0), return_inverse=True)[1]
        self._cell = keys.astype(np.intp)
        self._count = int(self._cell.max(initial=-1)) + 1
        self._order = {side: np.lexsort((self._towards(side), self._cell)) for side in (1.0, -1.0)}

    def outcomes(self, strength: float, *, upper: bool, times: Floats | None = None) -> Floats:
        """Return the outcomes that, weighted as logged, give the bound.

        Parameters
        ----------
        strength : float
            At least 1: the largest factor by which the unobserved changes the odds of an action.
        upper : bool
            Whether the upper bound is wanted.
        times : ndarray, shape (n,), optional
            How often each row counts (resampling).

        Returns
        -------
        ndarray, shape (n,)
        """
        if strength == 1:
            return self._y
        side = 1.0 if upper else -1.0
        z = self._towards(side)
        q = self._quantiles(side, z, strength / (1 + strength), times)[self._cell]
        gain = (1 - 1 / strength) * (q - z + (1 + strength) * np.maximum(z - q, 0.0))
        return self._y + side * self._sign * self._spare * np.where(self._load > 0, gain, 0.0)

    def _towards(self, side: float) -> Floats:
        """Return the outcomes turned so that larger ones push the bound outward."""
        return side * self._sign * self._y

    def _quantiles(self, side: float, z: Floats, level: float, times: Floats | None) -> Floats:
        """Return each cell's weighted quantile."""
        order = self._order[side]
        load = self._load if times is None else self._load * times
        running = np.cumsum(load[order])
        ends = np.cumsum(np.bincount(self._cell, minlength=self._count))
        upto = running[ends - 1]
        before = np.concatenate([[0.0], upto[:-1]])
        at = np.searchsorted(running, before + level * (upto - before), side="left")
        starts = np.concatenate([[0], ends[:-1]])
        return z[order[np.clip(at, starts, ends - 1)]]
