"""The result of an evaluation: a frame of estimates, what supports them, and what was refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from collectml.evaluation.overlap import OverlapRefusal

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["BASE_COLUMNS", "DIFFERENCE_COLUMNS", "PolicyValue"]

BASE_COLUMNS = [
    *("estimator", "value", "low", "high", "se"),
    *("ess", "max_weight", "pareto_k", "little_support", "n", "clusters", "reliable", "note"),
]
DIFFERENCE_COLUMNS = ["baseline_value", "difference", "difference_low", "difference_high", "difference_se"]

# Okabe and Ito's palette: told apart in every common form of colour blindness
_BLUE, _VERMILION, _GREY = "#0072B2", "#D55E00", "#666666"


@dataclass(frozen=True)
class PolicyValue:
    """What a policy is worth per decision, by each estimator asked for.

    Attributes
    ----------
    estimates : DataFrame
        What :meth:`frame` returns.
    support : DataFrame
        One row per action: what the log can say about the decisions the policy gives it
        (:func:`collectml.evaluation.support_by_action`).
    baseline_support : DataFrame or None
        The same for a baseline frame.
    refusals : tuple of OverlapRefusal
        Why estimates are missing, the policy's before the baseline's.
    outcome : str
        Name of the outcome.
    confidence : float
        Of the intervals.
    """

    estimates: pd.DataFrame
    support: pd.DataFrame
    baseline_support: pd.DataFrame | None
    refusals: tuple[OverlapRefusal, ...]
    outcome: str
    confidence: float

    def frame(self) -> pd.DataFrame:
        """Return one row per estimator.

        Returns
        -------
        DataFrame
            ``estimator``; ``value`` (mean outcome per decision, in the outcome's unit), ``low``, ``high``, ``se``; ``ess``,
            ``max_weight`` and ``pareto_k`` (:func:`collectml.evaluation.pareto_k`) of the importance weights;
            ``little_support``: share of the total weight on decisions logged with a probability below 0.02; ``n`` decisions;
            ``clusters`` customers; ``reliable``: False where the note calls the interval unreliable, or there is none;
            ``note``. With a baseline ``baseline_value``, ``difference`` (policy less baseline), ``difference_low``, ``difference_high``,
            ``difference_se``. A refused estimator's numbers are missing, and its note says why.
        """
        return self.estimates.copy()

    def plot(self) -> Figure:
        """Draw the estimates with their intervals; with a baseline, the paired differences beside them.

        Returns
        -------
        matplotlib.figure.Figure
            The numbers are those of :meth:`frame`; a refused estimator is written as such, not left out.
        """
        from matplotlib.figure import Figure  # heavy, and most evaluations are only read

        paired = "difference" in self.estimates
        figure = Figure(figsize=(9 if paired else 5, 1.2 + 0.45 * len(self.estimates)), layout="constrained")
        panels = [("value", "low", "high", _BLUE, f"{self.outcome} per decision")]
        if paired:
            title = "difference from the baseline, per decision"
            panels.append(("difference", "difference_low", "difference_high", _VERMILION, title))
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        heights = np.arange(len(self.estimates))[::-1]
        for ax, (centre, low, high, colour, title) in zip(axes, panels, strict=True):
            values = self.estimates[centre].to_numpy()
            limits = self.estimates[[low, high]].to_numpy()
            drawn = np.isfinite(limits).all(axis=1)
            ax.hlines(heights[drawn], limits[drawn, 0], limits[drawn, 1], color=colour)
            ax.plot(values[drawn], heights[drawn], "o", color=colour)
            for height in heights[~drawn]:
                ax.text(0.5, height, "refused", color=_GREY, ha="center", va="center", transform=ax.get_yaxis_transform())
            if centre == "difference":
                ax.axvline(0.0, color=_GREY, linewidth=0.8, linestyle="--")
            ax.set_yticks(heights, [e.upper() for e in self.estimates["estimator"]])
            ax.set_ylim(-0.6, len(heights) - 0.4)
            ax.set_xlabel(f"{title}\n({self.confidence:.0%} interval)")
            ax.spines[["top", "right"]].set_visible(False)
        return figure
