"""Are predicted effects as large as they say? Predicted against realised effects, in bins and by a line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ._clustered import estimate
from ._contrasts import Contrast, contrasts
from ._linear import fit_line
from ._ranking import Floats
from .scores import DoublyRobustScores

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["UpliftCalibration", "quantile_groups", "uplift_calibration"]


@dataclass(frozen=True)
class UpliftCalibration:
    """Predicted against realised effects.

    Attributes
    ----------
    bins : DataFrame
        What :meth:`frame` returns.
    summary : DataFrame, one row per contrast
        ``slope`` and ``intercept`` of the realised effect on the predicted one (1 and 0 where calibrated), each with
        ``_low``, ``_high``; ``calibration_error``: mean absolute distance between bins' predicted and realised effects, which
        chance alone makes positive; ``squared_error``: mean squared distance less what chance alone would make of it (zero on
        average, and often negative, where calibrated).
    confidence : float
    """

    bins: pd.DataFrame
    summary: pd.DataFrame
    confidence: float

    def frame(self) -> pd.DataFrame:
        """Return one row per contrast and bin.

        Returns
        -------
        DataFrame
            ``contrast``, ``bin`` (0 holds the lowest predictions), ``n``, ``predicted``, ``realised``, ``low``, ``high``,
            ``se``; in the outcome's unit per decision. Equal predictions are never in two bins.
        """
        return self.bins.copy()

    def plot(self) -> Figure:
        """Draw realised against predicted effects, bin by bin; calibrated ones lie on the dashed line.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from ._charts import curve_chart

        return curve_chart(
            self.bins,
            by="contrast",
            x="predicted",
            y="realised",
            reference="predicted",
            x_label="predicted effect per decision",
            y_label=f"realised effect per decision ({self.confidence:.0%} interval)",
            points=True,
        )


def uplift_calibration(
    effects: pd.DataFrame,
    scores: DoublyRobustScores,
    *,
    bins: int = 10,
    actions: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> UpliftCalibration:
    """Compare predicted effects with realised ones.

    Parameters
    ----------
    effects : DataFrame, decisions x actions
        Effects predicted by a model that has not seen these decisions' outcomes, indexed like the scores.
    scores : DoublyRobustScores
    bins : int, default 10
        Of about equal size.
    actions : sequence of str, optional
        Which; all but the control where not given.
    confidence : float, default 0.95

    Returns
    -------
    UpliftCalibration

    References
    ----------
    Xu and Yadlowsky (2022), Calibration error for heterogeneous treatment effects, AISTATS (errors);
    Chernozhukov, Demirer, Duflo and Fernandez-Val (2025), Econometrica 93 (the line: best linear predictor).

    Examples
    --------
    >>> from collectml.uplift import randomised_scores
    >>> scores = randomised_scores(action=[0, 1, 0, 1], outcome=[0.0, 1.0, 0.0, 0.0])
    >>> effects = pd.DataFrame({"1": [0.9, 0.9, 0.1, 0.1]})
    >>> uplift_calibration(effects, scores, bins=2).frame()[["predicted", "realised"]].to_numpy().tolist()
    [[0.1, 0.0], [0.9, 1.0]]
    """
    clusters = int(scores.customer.max(initial=-1)) + 1
    lines, summaries = [], []
    for contrast in contrasts(effects, scores, actions):
        own, error, squared = _bins(contrast, bins, scores, clusters, confidence)
        lines += own
        line = fit_line(contrast.predicted, contrast.score)
        summary: dict[str, object] = {"contrast": contrast.name}
        for name, part in (("slope", line.slope), ("intercept", line.intercept)):
            result = estimate(part.value, part.influence, scores.customer, clusters, confidence)
            summary |= {name: result.value, f"{name}_low": result.low, f"{name}_high": result.high}
        summaries.append(summary | {"calibration_error": error, "squared_error": squared})
    return UpliftCalibration(pd.DataFrame(lines), pd.DataFrame(summaries), confidence)


def _bins(
    contrast: Contrast, bins: int, scores: DoublyRobustScores, clusters: int, confidence: float
) -> tuple[list[dict[str, object]], float, float]:
    """Return a contrast's bins, its mean absolute and its squared calibration error."""
    group = quantile_groups(contrast.predicted, bins)
    n = len(group)
    lines, error, squared = [], 0.0, 0.0
    for b in np.unique(group):
        inside = group == b
        share = float(inside.mean())
        predicted, realised = float(contrast.predicted[inside].mean()), float(contrast.score[inside].mean())
        values = np.where(inside, contrast.score - realised, 0.0) / share
        result = estimate(realised, values, scores.customer, clusters, confidence)
        lines.append(
            {"contrast": contrast.name, "bin": int(b), "n": round(share * n), "predicted": predicted, "realised": realised}
            | {"low": result.low, "high": result.high, "se": result.se}
        )
        gap = np.where(inside, contrast.score - contrast.predicted - (realised - predicted), 0.0) / share
        noise = estimate(0.0, gap, scores.customer, clusters, confidence).se
        error += share * abs(realised - predicted)
        squared += share * ((realised - predicted) ** 2 - noise**2)
    return lines, error, squared


def quantile_groups(values: Floats, groups: int) -> NDArray[np.intp]:
    """Cut rows into groups of about equal size by value, lowest first; equal values stay together, so groups may be empty.

    Parameters
    ----------
    values : ndarray, shape (n,)
    groups : int

    Returns
    -------
    ndarray of int, shape (n,)
        0 to ``groups - 1``.

    Examples
    --------
    >>> quantile_groups(np.array([3.0, 1.0, 1.0, 2.0]), 2).tolist()
    [1, 0, 0, 1]
    """
    if groups < 1:
        raise ValueError(f"there must be at least one group, not {groups}")
    _, code, count = np.unique(values, return_inverse=True, return_counts=True)
    middle = (np.cumsum(count) - count / 2) / max(len(values), 1)
    return np.minimum((middle * groups).astype(np.intp), groups - 1)[code]
