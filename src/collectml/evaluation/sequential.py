"""Looking at an experiment while it runs, without paying for every look: a confidence sequence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from collectml.evaluation._arms import Arms, anytime_half_width
from collectml.evaluation.intervals import interval
from collectml.evaluation.readout import FEWEST_CUSTOMERS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ConfidenceSequence", "confidence_sequence"]

_BLUE, _GREY = "#0072B2", "#666666"


@dataclass(frozen=True)
class ConfidenceSequence:
    """A difference and its limits at every look; all limits hold together.

    Attributes
    ----------
    looks : DataFrame
        What :meth:`frame` returns.
    control, arm : str
    confidence : float
    """

    looks: pd.DataFrame
    control: str
    arm: str
    confidence: float

    def frame(self) -> pd.DataFrame:
        """Return one row per look.

        Returns
        -------
        DataFrame
            ``look``; ``customers`` and ``accounts`` so far; ``difference``, ``low``, ``high`` (missing until both arms have
            100 customers); ``decided``: whether 0 lies outside at this look or did at an earlier one.
        """
        return self.looks.copy()

    @property
    def decided_at(self) -> object:
        """The first look whose limits exclude 0; None where none does."""
        decided = self.looks.loc[self.looks["decided"], "look"]
        return None if decided.empty else decided.iloc[0]

    def plot(self) -> Figure:
        """Draw the difference and its limits over the looks.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from matplotlib.figure import Figure  # heavy, and most sequences are only read

        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        ax = figure.subplots()
        shown = self.looks.dropna(subset=["low", "high"])
        ax.fill_between(shown["customers"], shown["low"], shown["high"], color=_BLUE, alpha=0.2, linewidth=0)
        ax.plot(shown["customers"], shown["difference"], color=_BLUE, marker="o", markersize=3)
        ax.axhline(0.0, color=_GREY, linewidth=0.8, linestyle="--")
        ax.set_xlabel("customers so far")
        ax.set_ylabel(f"{self.arm} less {self.control}\n({self.confidence:.0%}, over all looks)")
        ax.spines[["top", "right"]].set_visible(False)
        return figure


def confidence_sequence(
    outcome: ArrayLike,
    arm: ArrayLike,
    at: ArrayLike,
    *,
    control: str,
    customer: ArrayLike | None = None,
    covariate: ArrayLike | None = None,
    looks: Sequence[object] | None = None,
    confidence: float = 0.95,
    planned_customers: int = 20_000,
) -> ConfidenceSequence:
    """Estimate a difference at every look so that all intervals together hold with the stated confidence.

    Stop at any look, for any reason: the chance that any interval ever misses the true difference is at most
    ``1 - confidence``, but for what is asymptotic in it. An interval for one planned look (:func:`read_out`) read again and again
    is wrong far more often.

    Parameters
    ----------
    outcome, arm, customer, covariate
        As in :func:`read_out`; exactly two arms.
    at : array-like, shape (n,)
        When each outcome became known: dates or numbers.
    control : str
    looks : sequence, optional
        Moments to look at, increasing; every distinct value of `at` where not given.
    confidence : float, default 0.95
    planned_customers : int, default 20_000
        Where the limits shall be narrowest; to be chosen before the first look and kept.

    Returns
    -------
    ConfidenceSequence

    Notes
    -----
    Asymptotic confidence sequences (a Gaussian mixture's boundary around the running estimate), applied to the difference
    in means by customers, covariates taken out if given. They need no bound on the amounts; the first limits are
    given at 100 customers in each arm. At the planned size they are about half as wide again as an interval for one look.

    References
    ----------
    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), Time-uniform central limit theory and asymptotic confidence
    sequences, Ann. Statist. 52. Howard, Ramdas, McAuliffe and Sekhon (2021), Ann. Statist. 49 (the boundary).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> arm = rng.choice(["champion", "challenger"], 4_000)
    >>> paid = rng.random(4_000) < np.where(arm == "challenger", 0.3, 0.2)
    >>> week = np.arange(4_000) // 500
    >>> sequence = confidence_sequence(paid, arm, week, control="champion")
    >>> sequence.frame()[["look", "customers", "low", "high"]].round(3).iloc[[0, -1]].to_numpy().tolist()
    [[0.0, 500.0, -0.144, 0.33], [7.0, 4000.0, 0.047, 0.139]]
    """
    rows = Arms.of(outcome, arm, control, customer, covariate)
    if len(rows.names) != 2:
        raise ValueError(f"a sequence compares two arms, not {list(rows.names)}; select the rows of one arm and the control")
    known = pd.Series(np.asarray(at))
    if len(known) != len(rows.y) or known.isna().any():
        raise ValueError("at must say for each outcome when it became known")
    moments = pd.Series(known.unique() if looks is None else list(looks)).sort_values(kind="stable")
    lines = []
    for moment in moments:
        so_far = rows.take((known <= moment).to_numpy())
        lines.append({"look": moment} | _look(so_far, confidence, planned_customers))
    frame = pd.DataFrame(lines)
    frame["decided"] = ((frame["low"] > 0) | (frame["high"] < 0)).cummax()
    return ConfidenceSequence(frame, control, rows.names[1], confidence)


def _look(rows: Arms, confidence: float, planned: int) -> dict[str, float]:
    """Return the estimate and its limits from the rows so far."""
    found = {
        "customers": rows.n_customers,
        "accounts": len(rows.y),
        "difference": math.nan,
        "low": math.nan,
        "high": math.nan,
    }
    if min(rows.customers().values()) < FEWEST_CUSTOMERS:
        return found
    estimate = rows.adjusted().difference()
    se = interval(estimate.value, estimate.influence, confidence, one_sided_tail=False).se
    half = anytime_half_width(se, rows.n_customers, 1 - confidence, planned)
    return found | {"difference": estimate.value, "low": estimate.value - half, "high": estimate.value + half}
