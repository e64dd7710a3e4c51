"""What an experiment has shown: differences from the control, at a fixed horizon or at any look, once the split is sound."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from collectml.evaluation._arms import Arms, anytime_half_width
from collectml.evaluation.intervals import interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FEWEST_CUSTOMERS", "ExperimentReadout", "SampleRatio", "read_out", "sample_ratio"]

SAMPLE_RATIO_LEVEL = 0.001
FEWEST_CUSTOMERS = 100
"""Customers an arm needs before limits that hold at any look are given: they are asymptotic."""

_BLUE, _VERMILION, _GREY = "#0072B2", "#D55E00", "#666666"
_EFFECTS = ("difference", "low", "high", "cuped_difference", "cuped_low", "cuped_high", "anytime_low", "anytime_high")


@dataclass(frozen=True)
class SampleRatio:
    """Whether the arms are as large as they were drawn to be.

    Attributes
    ----------
    counts : DataFrame
        Index arm; ``customers`` and ``expected``.
    p_value : float
        Of Pearson's chi-squared test.
    sound : bool
        False below 0.001: then customers were lost or assigned otherwise than drawn, and no difference can be trusted.
    """

    counts: pd.DataFrame
    p_value: float
    sound: bool


def sample_ratio(counts: Mapping[str, int], shares: Mapping[str, float]) -> SampleRatio:
    """Test the sizes of the arms against the shares they were drawn with.

    Parameters
    ----------
    counts : mapping of arm to int
        Customers (the unit that was drawn) in each arm.
    shares : mapping of arm to float
        Shares drawn with; they are brought to sum 1.

    Returns
    -------
    SampleRatio

    References
    ----------
    Fabijan et al. (2019), Diagnosing sample ratio mismatch in online controlled experiments, KDD.

    Examples
    --------
    >>> sample_ratio({"control": 5_030, "challenger": 4_970}, {"control": 0.5, "challenger": 0.5}).sound
    True
    >>> sample_ratio({"control": 5_300, "challenger": 4_700}, {"control": 0.5, "challenger": 0.5}).sound
    False
    """
    if set(counts) != set(shares) or len(shares) < 2 or min(shares.values()) <= 0:
        raise ValueError(f"shares need a number above 0 for each arm: arms {sorted(counts)}, shares for {sorted(shares)}")
    observed = np.array([counts[a] for a in shares], dtype=np.float64)
    drawn = np.array(list(shares.values()), dtype=np.float64)
    expected = observed.sum() * drawn / drawn.sum()
    p = float(stats.chisquare(observed, expected).pvalue) if observed.sum() > 0 else 1.0
    frame = pd.DataFrame({"customers": observed.astype(np.int64), "expected": expected}, index=pd.Index(shares, name="arm"))
    return SampleRatio(frame, p, p >= SAMPLE_RATIO_LEVEL)


@dataclass(frozen=True)
class ExperimentReadout:
    """Differences of every arm from the control.

    Attributes
    ----------
    arms : DataFrame
        What :meth:`frame` returns.
    ratio : SampleRatio
        The check that comes first.
    control : str
    confidence : float
    """

    arms: pd.DataFrame
    ratio: SampleRatio
    control: str
    confidence: float

    def frame(self) -> pd.DataFrame:
        """Return one row per arm, the control first.

        Returns
        -------
        DataFrame
            ``arm, customers, accounts, mean``; ``difference`` from the control with ``low``, ``high`` (for one look, planned
            beforehand); ``cuped_*`` the same less what the covariates explain; ``anytime_low``, ``anytime_high``: limits that
            hold at every look; ``forgone_recovery``: what the control's accounts did without, controls times the (CUPED)
            difference; ``note``. Where the sample ratio is not sound all differences are missing, and the note says so.
        """
        return self.arms.copy()

    def plot(self) -> Figure:
        """Draw each arm's difference with its intervals: one planned look (thick), any look (thin).

        Returns
        -------
        matplotlib.figure.Figure
        """
        from matplotlib.figure import Figure  # heavy, and most readouts are only read

        shown = self.arms[self.arms["arm"] != self.control]
        figure = Figure(figsize=(6.4, 1.2 + 0.5 * len(shown)), layout="constrained")
        ax = figure.subplots()
        heights = np.arange(len(shown))[::-1]
        for height, (_, arm) in zip(heights, shown.iterrows(), strict=True):
            prefix = "" if math.isnan(arm["cuped_difference"]) else "cuped_"
            if math.isnan(arm["difference"]):
                ax.text(0.5, height, "refused", color=_GREY, ha="center", va="center", transform=ax.get_yaxis_transform())
                continue
            ax.hlines(height, arm["anytime_low"], arm["anytime_high"], color=_BLUE, linewidth=1)
            ax.hlines(height, arm[f"{prefix}low"], arm[f"{prefix}high"], color=_BLUE, linewidth=4)
            ax.plot([arm[f"{prefix}difference"]], [height], "o", color=_VERMILION)
        ax.axvline(0.0, color=_GREY, linewidth=0.8, linestyle="--")
        ax.set_yticks(heights, list(shown["arm"]))
        ax.set_ylim(-0.6, len(shown) - 0.4)
        ax.set_xlabel(f"difference from {self.control} ({self.confidence:.0%}: one planned look thick, any look thin)")
        ax.spines[["top", "right"]].set_visible(False)
        return figure


def read_out(
    outcome: ArrayLike,
    arm: ArrayLike,
    *,
    control: str,
    shares: Mapping[str, float],
    customer: ArrayLike | None = None,
    covariate: ArrayLike | None = None,
    confidence: float = 0.95,
    planned_customers: int = 20_000,
    money_per_unit: float = 1.0,
) -> ExperimentReadout:
    """Read an experiment out: check the split, then estimate each arm's difference from the control.

    Parameters
    ----------
    outcome : array-like, shape (n,)
        Of accounts whose horizon has passed.
    arm : array-like of str, shape (n,)
        Arm assigned (intention to treat).
    control : str
        Arm that others are measured against.
    shares : mapping of arm to float
        Shares customers were drawn with.
    customer : array-like, shape (n,), optional
        Unit that was drawn; each account its own where not given.
    covariate : array-like, shape (n,) or (n, k), optional
        Known before assignment (CUPED).
    confidence : float, default 0.95
    planned_customers : int, default 20_000
        Where the any-look limits shall be narrowest; to be chosen before the first look and kept.
    money_per_unit : float, default 1
        Money a unit of the outcome is worth: prices what the controls did without.

    Returns
    -------
    ExperimentReadout

    Raises
    ------
    SchemaError
        Where customers are in several arms, or values are missing.

    References
    ----------
    Deng et al. (2013), WSDM (CUPED). See :func:`confidence_sequence` for the limits that hold at any look.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> arm = rng.choice(["hold-out", "strategy"], 8_000, p=[0.25, 0.75])
    >>> before = rng.gamma(2, 50, 8_000)
    >>> outcome = before + rng.normal(0, 50, 8_000) + 10 * (arm == "strategy")
    >>> result = read_out(outcome, arm, control="hold-out", shares={"hold-out": 1, "strategy": 3}, covariate=before)
    >>> result.frame().loc[1, ["low", "high", "cuped_low", "cuped_high"]].astype(float).round(1).tolist()
    [5.9, 14.4, 7.2, 12.2]
    """
    rows = Arms.of(outcome, arm, control, customer, covariate)
    counts = rows.customers()
    ratio = sample_ratio({a: counts.get(a, 0) for a in {**counts, **dict.fromkeys(shares, 0)}}, shares)
    note = ""
    if not ratio.sound:
        note = (
            f"refused: the arms' sizes do not fit the shares they were drawn with (p = {ratio.p_value:.1e}); find out who is "
            "missing, and why, before any difference is read"
        )
    lines = []
    for code, name in enumerate(rows.names):
        own = rows.arm == code
        line: dict[str, object] = {"arm": name, "customers": counts[name], "accounts": int(own.sum())}
        line |= {"mean": float(rows.y[own].mean())} | dict.fromkeys([*_EFFECTS, "forgone_recovery"], math.nan)
        if code and ratio.sound:
            effects = _effects(rows.pair(name), confidence, planned_customers)
            best = effects["difference" if covariate is None else "cuped_difference"]
            line |= effects | {"forgone_recovery": int((rows.arm == 0).sum()) * best * money_per_unit}
        lines.append(line | {"note": note})
    return ExperimentReadout(pd.DataFrame(lines), ratio, control, confidence)


def _effects(pair: Arms, confidence: float, planned: int) -> dict[str, float]:
    """Return one arm's difference from the control with all its limits."""
    plain = pair.difference()
    limits = interval(plain.value, plain.influence, confidence, one_sided_tail=False)
    found = {"difference": plain.value, "low": limits.low, "high": limits.high}
    best, se = plain.value, limits.se
    if pair.covariate is not None:
        adjusted = pair.adjusted().difference()
        limits = interval(adjusted.value, adjusted.influence, confidence, one_sided_tail=False)
        best, se = adjusted.value, limits.se
        found |= {"cuped_difference": best, "cuped_low": limits.low, "cuped_high": limits.high}
    if min(pair.customers()[pair.names[a]] for a in np.unique(pair.arm)) >= FEWEST_CUSTOMERS:
        half = anytime_half_width(se, pair.n_customers, 1 - confidence, planned)
        found |= {"anytime_low": best - half, "anytime_high": best + half}
    return found
