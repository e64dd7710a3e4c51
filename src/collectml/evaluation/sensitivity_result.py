"""The result of a sensitivity analysis: bounds by strength, the strength that overturns, and a sentence for a committee."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Sensitivity"]

_BLUE, _VERMILION, _GREY = "#0072B2", "#D55E00", "#666666"


@dataclass(frozen=True)
class Sensitivity:
    """What the estimate becomes if the logged actions also followed something that nobody recorded.

    Attributes
    ----------
    bounds : DataFrame
        What :meth:`frame` returns.
    overturned_at : float
        Least strength (Lambda) at which the interval of the difference includes 0; 1 where it does without any confounding,
        infinite where it does not up to 64, missing without a baseline.
    point_overturned_at : float
        The same for the difference itself, sampling error left aside.
    outcome, estimator : str
    confidence : float
    refusals : tuple of str
        Why the numbers are missing, where they are.
    benchmark : DataFrame or None
        How strong the observed features are (:func:`collectml.evaluation.omitted_feature_odds`).
    """

    bounds: pd.DataFrame
    overturned_at: float
    point_overturned_at: float
    outcome: str
    estimator: str
    confidence: float
    refusals: tuple[str, ...] = ()
    benchmark: pd.DataFrame | None = None

    def frame(self) -> pd.DataFrame:
        """Return one row per strength.

        Returns
        -------
        DataFrame
            ``strength`` (Lambda); ``lower`` and ``upper``, the bounds on the policy's value per decision; ``low`` and ``high``,
            the interval around both; with a baseline the same of the paired difference, ``difference_lower`` and so on.
        """
        return self.bounds.copy()

    def sentence(self) -> str:
        """Say in words what it takes to overturn the choice, and how that compares with the observed features.

        Returns
        -------
        str
        """
        if self.refusals:
            return f"Nothing can be said about hidden confounding: {'; '.join(self.refusals)}"
        if "difference_lower" not in self.bounds:
            widest = self.bounds.iloc[-1]
            return (
                f"If something unobserved changed the odds of the logged actions by a factor of {widest['strength']:.3g}, the "
                f"policy's {self.outcome} per decision would lie between {widest['lower']:,.2f} and {widest['upper']:,.2f} "
                f"({widest['low']:,.2f} to {widest['high']:,.2f} with sampling error)."
            )
        better = "better" if self.bounds["difference_lower"].iloc[0] >= 0 else "worse"
        if self.overturned_at <= 1:
            text = "Sampling error alone leaves open whether the policy is better than the baseline"
            if np.isfinite(self.point_overturned_at) and self.point_overturned_at > 1:
                text += f" (the point estimate would change its sign at a factor of {self.point_overturned_at:.2f})"
            return text + "; hidden confounding need not be strong to matter."
        if not np.isfinite(self.overturned_at):
            return f"The policy stays {better} than the baseline whatever the confounder's strength up to a factor of 64."
        point = self.point_overturned_at
        without = f"{point:.2f}" if np.isfinite(point) else "more than 64"
        text = (
            f"The policy stays {better} than the baseline unless something unobserved changed the odds of the logged actions "
            f"by a factor of {self.overturned_at:.2f} or more ({without} without sampling error)."
        )
        return text + self._beside_features()

    def _beside_features(self) -> str:
        if self.benchmark is None or self.benchmark.empty:
            return ""
        p95 = self.benchmark["p95"].sort_values(ascending=False, kind="stable")
        noise = self.benchmark.get("noise_p95", pd.Series(1.0, self.benchmark.index)).reindex(p95.index)
        stronger = int(((p95 >= self.overturned_at) & (p95 > noise)).sum())
        count = "None" if stronger == 0 else f"{stronger}"
        return (
            f" The strongest observed feature, {p95.index[0]}, left out, changes them by {p95.iloc[0]:.2f} or more in one decision "
            f"of twenty; {count} of the {len(p95)} observed features would be strong enough."
        )

    def plot(self) -> Figure:
        """Draw the bounds (dark) and the interval around them (light) over the strength; of the difference, where there is one.

        Returns
        -------
        matplotlib.figure.Figure
            The numbers are those of :meth:`frame`.
        """
        from matplotlib.figure import Figure  # heavy, and most analyses are only read

        paired = "difference_lower" in self.bounds
        prefix, colour = ("difference_", _VERMILION) if paired else ("", _BLUE)
        shown = self.bounds
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        ax = figure.subplots()
        strength = shown["strength"].to_numpy()
        if self.refusals:
            ax.text(0.5, 0.5, "refused", color=_GREY, ha="center", va="center", transform=ax.transAxes)
        else:
            ax.fill_between(strength, shown[f"{prefix}low"], shown[f"{prefix}high"], color=colour, alpha=0.15, linewidth=0)
            ax.fill_between(
                strength, shown[f"{prefix}lower"], shown[f"{prefix}upper"], color=colour, alpha=0.35, linewidth=0
            )
            for end in ("lower", "upper"):
                ax.plot(strength, shown[f"{prefix}{end}"], color=colour, marker="o", markersize=3)
        if paired:
            ax.axhline(0.0, color=_GREY, linewidth=0.8, linestyle="--")
            if np.isfinite(self.overturned_at) and self.overturned_at > 1:
                ax.axvline(self.overturned_at, color=_GREY, linewidth=0.8, linestyle=":")
        ax.set_xlabel("factor by which something unobserved changes the odds of an action")
        what = "difference from the baseline" if paired else self.outcome
        ax.set_ylabel(f"{what}, per decision")
        ax.spines[["top", "right"]].set_visible(False)
        return figure
