"""A straight line through scores, its influence values those of leaving rows out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._ranking import Floats, Statistic

__all__ = ["Line", "fit_line"]


class Line(NamedTuple):
    """Slope; intercept at zero; height where the regressor has its mean (within each fold)."""

    slope: Statistic
    intercept: Statistic
    height: Statistic


def fit_line(x: Floats, y: Floats, fold: NDArray[np.intp] | None = None) -> Line:
    """Regress y on x by least squares, x taken from its mean within each fold.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
    fold : ndarray of int, shape (n,), optional
        Rows whose x comes from one model; all of one where not given.

    Returns
    -------
    Line
        Missing slope and intercept where x does not vary. Residuals are divided by one less their leverage, which makes the
        standard errors those of the jackknife (HC3): they hold in small samples with few far-off predictions.
    """
    n = len(x)
    codes = np.zeros(n, dtype=np.intp) if fold is None else fold
    count = np.bincount(codes)
    centre = np.bincount(codes, weights=x) / np.maximum(count, 1)
    # a mean of equal numbers may miss them by rounding: what then remains is no spread
    spread = x - centre[codes]
    spread[np.abs(spread) <= 1e-12 * np.maximum(np.abs(x), np.abs(centre[codes]))] = 0.0
    squares = float(np.sum(spread**2))
    height = float(y.mean())
    if squares == 0:
        nothing = Statistic(np.nan, np.full(n, np.nan))
        return Line(nothing, nothing, Statistic(height, y - height))
    # a fold's own level is not the slope's business
    level = (np.bincount(codes, weights=y) / np.maximum(count, 1))[codes] if fold is not None else np.full(n, height)
    slope = float(np.sum(spread * (y - level))) / squares
    leverage = 1 / count[codes] + spread**2 / squares
    residual = (y - level - slope * spread) / np.maximum(1 - leverage, 1e-6)
    slope_part = n * spread * residual / squares
    level_part = y - height
    mean_x = float(x.mean())
    intercept_part = residual - mean_x * slope_part
    return Line(
        Statistic(slope, slope_part),
        Statistic(height - slope * mean_x, intercept_part),
        Statistic(height, level_part),
    )
