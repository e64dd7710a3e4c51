"""Rows of a result: an estimate with its interval, its paired difference, and what must be said of either."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collectml.evaluation._scores import BIASED, PolicyScores
from collectml.evaluation.intervals import Ratio, amounts_too_heavy, interval
from collectml.evaluation.policy_value import DIFFERENCE_COLUMNS

__all__ = ["estimate_line", "with_difference"]

# An interval whose variance is one customer's to this share has no large sample behind it, however many rows there are.
_TOP_SHARE_FLAG = 0.5

_BIAS_NOTES = {
    "dm": "the interval holds the sampling variance only, not the outcome model's bias",
    "switch_dr": "the interval holds the sampling variance only, not the bias of weights above {:.4g} given up",
    "dr_os": "the interval holds the sampling variance only, not the bias of weights shrunk (lambda {:.4g})",
}


def estimate_line(
    side: PolicyScores, estimator: str, estimate: Ratio | str, confidence: float, *, se: float | None = None
) -> dict[str, object]:
    """Return one estimator's row of the frame; a refused one has no numbers, and its note says why.

    A standard error measured otherwise (`se`) rescales the influence values: their shape still says how heavy the tails are.
    """
    line: dict[str, object] = {"estimator": estimator, "value": np.nan, "low": np.nan, "high": np.nan, "se": np.nan}
    line |= side.weight_facts() | {"n": len(side.rows.y), "clusters": side.rows.n_customers}
    if isinstance(estimate, str):
        return line | {"reliable": False, "note": estimate}
    limits = interval(estimate.value, _rescaled(estimate.influence, se), confidence, one_sided_tail=True)
    notes = []
    if estimator in BIASED:
        notes.append(_BIAS_NOTES[estimator].format(side.tuned.get(estimator, np.nan)))
    if estimator == "dm":
        notes += [f"extrapolated: {r.message}" for r in side.refusals]
    elif limits.se == 0:
        notes.append("unreliable interval: the weighted outcomes do not vary, so nothing is known of the sampling error")
    if estimator != "dm" and side.weights is not None and (few := amounts_too_heavy(side.rows.amounts, side.weights)):
        notes.append(
            f"unreliable interval: amounts of this spread need some {few[1]:,.0f} effective paying decisions, "
            f"and the policy has {few[0]:,.0f}; its value is likely understated"
        )
    if limits.top_share > _TOP_SHARE_FLAG:
        notes.append(f"unreliable interval: one customer holds {limits.top_share:.0%} of the variance")
    numbers = {"value": estimate.value, "low": limits.low, "high": limits.high, "se": limits.se}
    reliable = not any(note.startswith("unreliable interval") for note in notes)
    return line | numbers | {"reliable": reliable, "note": "; ".join(notes)}


def with_difference(
    line: dict[str, object], estimate: Ratio | str, beside: Ratio | str, confidence: float, *, se: float | None = None
) -> dict[str, object]:
    """Add the paired difference to a row; where either side is refused it is missing, and the note says why."""
    notes = [str(line["note"])]
    numbers = dict.fromkeys(DIFFERENCE_COLUMNS, np.nan)
    if isinstance(beside, str):
        notes.append(beside)
    else:
        numbers["baseline_value"] = beside.value
        if not isinstance(estimate, str):
            difference = estimate.value - beside.value
            influence = _rescaled(estimate.influence - beside.influence, se)
            limits = interval(difference, influence, confidence, one_sided_tail=False)
            numbers |= dict(zip(DIFFERENCE_COLUMNS[1:], (difference, limits.low, limits.high, limits.se), strict=True))
            if limits.top_share > _TOP_SHARE_FLAG:
                notes.append(f"unreliable difference: one customer holds {limits.top_share:.0%} of its variance")
    return line | numbers | {"note": "; ".join(filter(None, notes))}


def _rescaled(influence: NDArray[np.float64], se: float | None) -> NDArray[np.float64]:
    """Give influence values another standard error."""
    groups, size = len(influence), float(np.sqrt(np.sum(influence**2)))
    if se is None or not np.isfinite(se) or size == 0:
        return influence
    return influence * (se / (size * np.sqrt((groups - 1) / groups)))
