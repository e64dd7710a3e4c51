"""What treating the first of a ranking brings: uplift curve, Qini curve and targeting operator characteristic, with bands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ._clustered import estimate
from ._contrasts import contrasts
from ._ranking import Floats, RankedScores, Statistic
from .scores import DoublyRobustScores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["TargetingCurve", "qini_curve", "toc_curve", "uplift_curve"]


@dataclass(frozen=True)
class TargetingCurve:
    """A curve over the share of decisions treated, by contrast.

    Attributes
    ----------
    table : DataFrame
        What :meth:`frame` returns.
    name : str
        Of the curve.
    confidence : float
        Of the bands, point by point.
    """

    table: pd.DataFrame
    name: str
    confidence: float

    def frame(self) -> pd.DataFrame:
        """Return one row per contrast and share.

        Returns
        -------
        DataFrame
            ``contrast``, ``share`` treated (0 to 1), ``value``, ``low``, ``high``, ``se`` (per decision, in the outcome's
            unit), ``random``: the curve of a ranking at random.
        """
        return self.table.copy()

    def plot(self) -> Figure:
        """Draw the curves with their bands; rankings at random dashed.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from ._charts import curve_chart

        return curve_chart(
            self.table,
            by="contrast",
            x="share",
            y="value",
            reference="random",
            x_label="share of decisions treated, highest predicted effect first",
            y_label=f"{self.name} per decision ({self.confidence:.0%} band)",
        )


def uplift_curve(
    effects: pd.DataFrame,
    scores: DoublyRobustScores,
    *,
    actions: Sequence[str] | None = None,
    shares: Sequence[float] | None = None,
    confidence: float = 0.95,
) -> TargetingCurve:
    """Draw the uplift curve ``G(u)``: what treating the share u with the highest predicted effects adds, per decision of all.

    Parameters
    ----------
    effects : DataFrame, decisions x actions
        Predicted effects, indexed like the scores.
    scores : DoublyRobustScores
    actions : sequence of str, optional
        Which; all but the control where not given. With several, ``best_action`` treats each with its own best.
    shares : sequence of float, optional
        Points in [0, 1]; 0, 0.05, ..., 1 where not given.
    confidence : float, default 0.95

    Returns
    -------
    TargetingCurve
        The area under it is AUUC. ``random`` is the chord ``u G(1)``.

    Notes
    -----
    Radcliffe's Qini curve counts incremental outcomes per treated row; in an experiment with treated share p its expectation
    is ``p n G(u)``. :mod:`collectml.uplift.peers` has it, and other libraries' curves, in their own units.

    References
    ----------
    Rzepakowski and Jaroszewicz (2012), Knowl. Inf. Syst. 32; Gutierrez and Gerardy (2017), PMLR 67.

    Examples
    --------
    >>> from collectml.uplift import randomised_scores
    >>> scores = randomised_scores(action=[0, 1, 0, 1], outcome=[0.0, 1.0, 0.0, 0.0])
    >>> effects = pd.DataFrame({"1": [0.9, 0.9, 0.1, 0.1]})
    >>> uplift_curve(effects, scores, shares=[0, 0.5, 1]).frame()["value"].tolist()
    [0.0, 0.5, 0.5]
    """
    return _curve("uplift curve", _gain, lambda u: u, effects, scores, actions, shares, confidence)


def qini_curve(
    effects: pd.DataFrame,
    scores: DoublyRobustScores,
    *,
    actions: Sequence[str] | None = None,
    shares: Sequence[float] | None = None,
    confidence: float = 0.95,
) -> TargetingCurve:
    """Draw the Qini curve from its chord, ``G(u) - u G(1)``: what the ranking adds to treating the share u at random.

    Parameters
    ----------
    effects, scores, actions, shares, confidence
        As in :func:`uplift_curve`.

    Returns
    -------
    TargetingCurve
        The area under it is the Qini coefficient; it begins and ends at zero.

    References
    ----------
    Radcliffe (2007), Using control groups to target on predicted lift, Direct Marketing Analytics Journal.
    """
    return _curve("Qini curve above its chord", _excess, lambda u: 0 * u, effects, scores, actions, shares, confidence)


def toc_curve(
    effects: pd.DataFrame,
    scores: DoublyRobustScores,
    *,
    actions: Sequence[str] | None = None,
    shares: Sequence[float] | None = None,
    confidence: float = 0.95,
) -> TargetingCurve:
    """Draw the targeting operator characteristic ``TOC(u) = G(u) / u - G(1)``: what the treated gain above the average.

    Parameters
    ----------
    effects, scores, actions, shares, confidence
        As in :func:`uplift_curve`; a share of 0 has no TOC and is left out.

    Returns
    -------
    TargetingCurve
        The area under it is AUTOC.

    References
    ----------
    Yadlowsky, Fleming, Shah, Brunskill and Wager (2025), JASA 120.
    """
    return _curve("TOC", _toc, lambda u: 0 * u, effects, scores, actions, shares, confidence)


def _gain(gain: Statistic, all_: Statistic, share: float) -> Statistic:
    return gain


def _excess(gain: Statistic, all_: Statistic, share: float) -> Statistic:
    return Statistic(gain.value - share * all_.value, gain.influence - share * all_.influence)


def _toc(gain: Statistic, all_: Statistic, share: float) -> Statistic:
    return Statistic(gain.value / share - all_.value, gain.influence / share - all_.influence)


def _curve(
    name: str,
    transform: Callable[[Statistic, Statistic, float], Statistic],
    at_random: Callable[[Floats], Floats],
    effects: pd.DataFrame,
    scores: DoublyRobustScores,
    actions: Sequence[str] | None,
    shares: Sequence[float] | None,
    confidence: float,
) -> TargetingCurve:
    """Compute a curve that is a transformation of the uplift curve's points and its end."""
    points = np.linspace(0, 1, 21) if shares is None else np.asarray(shares, dtype=np.float64)
    if points.ndim != 1 or not len(points) or not ((points >= 0) & (points <= 1)).all():
        raise ValueError("shares must be a list of numbers between 0 and 1")
    if transform is _toc:
        points = points[points > 0]
    clusters = int(scores.customer.max(initial=-1)) + 1
    lines = []
    for contrast in contrasts(effects, scores, actions):
        ranked = RankedScores(contrast.predicted, contrast.score)
        end = ranked.gain(1.0)
        for share in points.tolist():
            point = transform(ranked.gain(share), end, share)
            result = estimate(point.value, point.influence, scores.customer, clusters, confidence)
            reference = float(at_random(np.array(share))) * end.value
            lines.append(
                {"contrast": contrast.name, "share": share, "value": result.value, "low": result.low, "high": result.high}
                | {"se": result.se, "random": reference}
            )
    return TargetingCurve(pd.DataFrame(lines), name, confidence)
