"""Does the log hold evidence about what the policy would do? Support by action, and refusals where it does not.

A refusal is a result: it names the action, counts the decisions and says what would mend it. Weights are never clipped and
propensities never floored to make an estimate come out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.evaluation.intervals import interval, ratio_of_sums

__all__ = [
    "EXPLORATION_ROWS",
    "LITTLE_SUPPORT",
    "OverlapRefusal",
    "effective_sample_size",
    "little_support_share",
    "support_by_action",
]

EXPLORATION_ROWS = 200
"""Rows of an action in a segment that exploration should bring: what a strategy asks for by default before it uses an action."""

LITTLE_SUPPORT = 0.02
"""A decision has little support when its action was chosen with a probability below this (a weight of up to 50)."""

_MASS_TOLERANCE = 1e-9
# The audit of coverage is a test at one in ten thousand, of a five per cent departure, once ten logged rows are expected:
# a refusal must not be a matter of luck.
_AUDIT_CONFIDENCE = 0.9998
_AUDIT_MARGIN = 0.05
_AUDIT_EXPECTED_ROWS = 10.0


@dataclass(frozen=True)
class OverlapRefusal:
    """Why an estimate is withheld.

    Attributes
    ----------
    action : str
        The action without evidence.
    decisions : float
        Decisions (probability mass) the policy gives to that action without evidence.
    rows : int
        Logged rows of that action.
    message : str
        What is wrong, and what to do, in one line.
    segment : str
        Where, as a condition on the features; empty where no simple one was found, or it is everywhere.
    segment_decisions : int
        Logged decisions in that segment.
    exploration_share : float
        Share of the segment's decisions that would have to get the action at random, once, to give it `EXPLORATION_ROWS`
        rows; never below `LITTLE_SUPPORT`, and missing where no segment was found. Above one half it takes several cycles.
    """

    action: str
    decisions: float
    rows: int
    message: str
    segment: str = ""
    segment_decisions: int = 0
    exploration_share: float = float("nan")


def effective_sample_size(weights: NDArray[np.float64]) -> float:
    """Return Kish's effective sample size ``(sum w)**2 / sum w**2``; 0 where all weights are 0.

    References
    ----------
    Kish (1965), Survey Sampling, section 11.7.

    Examples
    --------
    >>> effective_sample_size(np.array([1.0, 1.0, 0.0, 0.0]))
    2.0
    """
    largest = float(weights.max(initial=0.0))
    if largest <= 0:
        return 0.0
    scaled = weights / largest
    return float(scaled.sum() ** 2 / np.sum(scaled**2))


def little_support_share(weights: NDArray[np.float64], propensity: NDArray[np.float64]) -> float:
    """Return the share of the total weight that rests on decisions logged with a probability below `LITTLE_SUPPORT`."""
    total = float(weights.sum())
    return float(weights[propensity < LITTLE_SUPPORT].sum()) / total if total > 0 else 0.0


def support_by_action(
    probabilities: NDArray[np.float64],
    names: tuple[str, ...],
    logged: NDArray[np.intp],
    propensity: NDArray[np.float64] | None,
    cluster: NDArray[np.intp],
    n_clusters: int,
) -> tuple[pd.DataFrame, tuple[OverlapRefusal, ...]]:
    """Measure, for each action, what the log can say about the decisions a policy gives to it.

    Parameters
    ----------
    probabilities : ndarray, shape (n, A)
        The policy, rows summing to one.
    names : tuple of str, length A
    logged : ndarray of int, shape (n,)
        Position of the logged action in `names`.
    propensity : ndarray, shape (n,), or None
        Probability with which the logged action was chosen; None leaves all but the counts missing.
    cluster, n_clusters
        Customer codes.

    Returns
    -------
    frame : DataFrame, one row per action (index ``action``)
        ``rows`` logged; ``policy_mass`` decisions the policy gives it; ``ess`` and ``max_weight`` of the weights
        (policy over logging probability) on its rows; ``covered``: the weights' sum over the policy's mass, 1 but for
        chance where the log supports the policy and the propensities are right; ``covered_low``, ``covered_high``: its
        limits at 99.98 % confidence; ``forced_rows``, ``forced_mass``: decisions where the log's rule left no choice
        (propensity 1) and the policy would have taken this action instead.
    refusals : tuple of OverlapRefusal
        Empty where nothing speaks against importance-weighted estimates of this policy, which is less than proof. Decisions
        in which an action had no chance though the log records no certainty are seen only in the sum of its weights, never
        below five per cent of the mass the policy gives the action, and larger ones only with enough rows: of gaps of 31 %
        all were found with 500 logged rows of the action and a third with 120, of gaps of 16 % nearly all with 2,000 rows
        and a fifth with 400. Who made the log must know its rule; no audit replaces that.
    """
    rows = [
        _support_of(name, probabilities[:, a], logged == a, propensity, cluster, n_clusters) for a, name in enumerate(names)
    ]
    refusals = tuple(refusal for row in rows if (refusal := _refusal(row, len(logged))) is not None)
    return pd.DataFrame(rows).set_index("action"), refusals


class _Support(NamedTuple):
    """One row of the support frame; missing numbers are those that need propensities."""

    action: str
    rows: int
    policy_mass: float
    ess: float = np.nan
    max_weight: float = np.nan
    covered: float = np.nan
    covered_low: float = np.nan
    covered_high: float = np.nan
    forced_rows: float = np.nan
    forced_mass: float = np.nan


def _support_of(
    name: str,
    probabilities: NDArray[np.float64],
    taken: NDArray[np.bool_],
    propensity: NDArray[np.float64] | None,
    cluster: NDArray[np.intp],
    n_clusters: int,
) -> _Support:
    """Measure one action's support."""
    counts = _Support(name, int(taken.sum()), float(probabilities.sum()))
    if propensity is None:
        return counts
    weights = np.where(taken, probabilities / propensity, 0.0)
    forced = (propensity >= 1 - 1e-12) & ~taken & (probabilities > _MASS_TOLERANCE)
    measured = counts._replace(
        ess=effective_sample_size(weights),
        max_weight=float(weights.max(initial=0.0)),
        forced_rows=float(forced.sum()),
        forced_mass=float(probabilities[forced].sum()),
    )
    # weights on an action's rows and the mass the policy gives it are equal in expectation
    covered = ratio_of_sums(weights, probabilities, cluster, n_clusters)
    if not np.isfinite(covered.value):
        return measured
    limits = interval(covered.value, covered.influence, _AUDIT_CONFIDENCE, one_sided_tail=True)
    return measured._replace(covered=covered.value, covered_low=limits.low, covered_high=limits.high)


def _refusal(row: _Support, n: int) -> OverlapRefusal | None:
    """Say why this action's share of the policy cannot be valued, if it cannot."""
    gives = f"the {row.policy_mass:,.1f} of {n:,} decisions the policy gives it"
    if row.policy_mass <= _MASS_TOLERANCE * n:
        return None
    if row.rows == 0:
        text = f"action {row.action!r} has 0 logged rows for {gives}: no evidence; block it, or explore it"
        return OverlapRefusal(row.action, row.policy_mass, row.rows, text)
    if row.forced_mass > _MASS_TOLERANCE * n:
        text = (
            f"action {row.action!r} had no chance in {row.forced_rows:,.0f} logged decisions (another action was certain) "
            f"that hold {row.forced_mass:,.1f} of {gives}: no evidence; give the policy the log's eligibility, or explore"
        )
        return OverlapRefusal(row.action, row.forced_mass, row.rows, text)
    if row.policy_mass * row.rows / n < _AUDIT_EXPECTED_ROWS:
        return None
    if row.covered_high < 1 - _AUDIT_MARGIN:
        text = (
            f"action {row.action!r}: {row.rows:,} logged rows cover {row.covered:.0%} of {gives}: it had no chance in the "
            "rest, or the logging propensities are too high; give the policy the log's eligibility, or explore"
        )
        return OverlapRefusal(row.action, row.policy_mass * (1 - row.covered), row.rows, text)
    if row.covered_low > 1 + _AUDIT_MARGIN:
        text = (
            f"action {row.action!r}: {row.rows:,} logged rows weigh {row.covered:.0%} of {gives}: the logging propensities "
            "are lower than the probabilities that made the log, or the policy was made from the logged actions"
        )
        return OverlapRefusal(row.action, row.policy_mass, row.rows, text)
    return None
