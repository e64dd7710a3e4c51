"""The overlap audit: for which actions, and for whom, a log holds no evidence, and what exploration would mend it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.evaluation._rows import EvaluationLog, action_codes, align, customer_codes, propensities
from collectml.evaluation.overlap import (
    EXPLORATION_ROWS,
    LITTLE_SUPPORT,
    OverlapRefusal,
    effective_sample_size,
    support_by_action,
)
from collectml.evaluation.segments import Segment, marked_segment, untried_segment

__all__ = ["OverlapAudit", "audit_overlap", "locate", "support_by_segment", "untried"]

Floats = NDArray[np.float64]

LEAST_EXPECTED = 12.0
"""No row where so many are to be expected is chance in six of a million, before the looking around for it."""

_SEARCHED_ROWS = 5_000


@dataclass(frozen=True)
class OverlapAudit:
    """What a log could be asked about.

    Attributes
    ----------
    refusals : tuple of OverlapRefusal
        Actions that cannot be valued for everybody, with the segment that lacks them.
    support : DataFrame
        One row per action, as :func:`support_by_action` gives it for a policy of that action for all.
    segments : DataFrame or None
        One row per segment and action, where segments were asked for (:func:`support_by_segment`).
    """

    refusals: tuple[OverlapRefusal, ...]
    support: pd.DataFrame
    segments: pd.DataFrame | None

    def frame(self) -> pd.DataFrame:
        """Give the refusals as a table.

        Returns
        -------
        DataFrame
            ``action, segment, segment_decisions, decisions, rows, exploration_share, message``.
        """
        columns = ["action", "segment", "segment_decisions", "decisions", "rows", "exploration_share", "message"]
        return pd.DataFrame([[getattr(r, c) for c in columns] for r in self.refusals], columns=columns)


def audit_overlap(
    log: EvaluationLog, *, segments: str | pd.Series | None = None, actions: Sequence[str] | None = None
) -> OverlapAudit:
    """Ask of every action whether the log could value it for everybody, and name the segment where it cannot.

    Parameters
    ----------
    log : DecisionLog
        Without logging propensities, segments in which an action was never taken are still looked for.
    segments : str or Series, optional
        A column of the log, or a Series indexed like it: support is then also counted segment by segment.
    actions : sequence of str, optional
        All by default.

    Returns
    -------
    OverlapAudit
        No refusal is less than proof of support: see :func:`support_by_action`.

    Examples
    --------
    >>> import collectml as cm
    >>> portfolio = cm.make_portfolio(3_000, random_state=1)
    >>> late = portfolio.decisions["days_past_due"] >= 60  # a rule: nobody past 60 days is left alone
    >>> ruled = portfolio.decisions[~(late & (portfolio.decisions["action"] == "no_action"))]
    >>> log = cm.DecisionLog(ruled, actions=portfolio.actions)
    >>> [refusal] = audit_overlap(log, actions=["no_action"]).refusals
    >>> refusal.action, refusal.segment
    ('no_action', 'days_past_due >= 60')
    """
    names, logged = log.actions, action_codes(log)
    codes, n_customers = customer_codes(log)
    propensity = propensities(log)[0]
    rows: list[pd.DataFrame] = []
    refusals: list[OverlapRefusal] = []
    for name in names if actions is None else actions:
        a = names.index(name)
        matrix = np.zeros((len(log), len(names)))
        matrix[:, a] = 1.0
        support, found = support_by_action(matrix, names, logged, propensity, codes, n_customers)
        rows.append(support.loc[[name]])
        if propensity is None and not found:
            found = _never_taken(log.X, name, logged == a)
        refusals += locate(found, log.X, matrix, names, logged, propensity)
        refusals += untried([r.action for r in found], log.X, matrix, names, logged, propensity)
    table = None
    if segments is not None:
        each = np.eye(len(names))[logged]
        table = support_by_segment(each, names, logged, propensity, _segments(log, segments))
    return OverlapAudit(tuple(refusals), pd.concat(rows), table)


def _segments(log: EvaluationLog, segments: str | pd.Series) -> pd.Series:
    if not isinstance(segments, str):
        return align(segments, log, "segments")
    if segments not in log.frame.columns:
        raise ValueError(f"segments {segments!r} is no column of the log; it has {list(log.frame.columns)}")
    return log.frame[segments]


def _never_taken(X: pd.DataFrame, action: str, taken: NDArray[np.bool_]) -> tuple[OverlapRefusal, ...]:
    """Refuse an action that was never taken in a segment, by what was done alone."""
    found = untried_segment(X, taken)
    # a rate may differ between segments: three times what would do where probabilities are known
    if found is None or found.rows.sum() * taken.mean() < 3 * LEAST_EXPECTED:
        return ()
    count = int(found.rows.sum())
    text = f"action {action!r} has {int(taken.sum()):,} logged rows, and none among {count:,} decisions: no evidence there"
    return (OverlapRefusal(action, float(count), int(taken.sum()), text),)


def untried(
    known: Sequence[str],
    X: pd.DataFrame | None,
    probabilities: Floats,
    names: tuple[str, ...],
    logged: NDArray[np.intp],
    propensity: Floats | None,
) -> tuple[OverlapRefusal, ...]:
    """Refuse what a policy does in a segment where the log never did it, though nothing in its propensities says so.

    Parameters
    ----------
    known : sequence of str
        Actions already refused.
    X, probabilities, names, logged, propensity
        As in :func:`locate`.

    Returns
    -------
    tuple of OverlapRefusal
        Only where twelve rows were to be expected even at the lowest probability with which the action was ever chosen.
    """
    if X is None or propensity is None:
        return ()
    found = []
    some = np.arange(0, len(X), max(1, len(X) // _SEARCHED_ROWS))
    for a, name in enumerate(names):
        taken, mass = logged == a, probabilities[:, a]
        least = float(propensity[taken].min(initial=1.0))
        if name in known or not taken.any() or not mass.any() or len(X) * least < LEAST_EXPECTED:
            continue
        where = untried_segment(X.iloc[some], taken[some], everywhere=X)
        # the audit of sums, too, lets pass what concerns less than a twentieth of what the policy gives the action
        if where is None or (where.rows & taken).any() or mass[where.rows].sum() <= 0.05 * mass.sum():
            continue
        count = int(where.rows.sum())
        if count * least < LEAST_EXPECTED:
            continue
        text = (
            f"action {name!r} was never taken in {count:,} decisions that hold {mass[where.rows].sum():,.1f} of the "
            f"{mass.sum():,.1f} the policy gives it, though even at its lowest probability elsewhere, {least:.2g}, some "
            f"{count * least:,.0f} rows were to be expected: a rule, and no evidence; give the policy the log's eligibility, "
            "or explore"
        )
        refusal = OverlapRefusal(name, float(mass[where.rows].sum()), int(taken.sum()), text)
        found.append(_mended(refusal, where))
    return tuple(found)


def support_by_segment(
    probabilities: Floats,
    names: tuple[str, ...],
    logged: NDArray[np.intp],
    propensity: Floats | None,
    segments: pd.Series,
) -> pd.DataFrame:
    """Count, segment by segment, what the log can say about the decisions a policy gives to each action.

    Parameters
    ----------
    probabilities : ndarray, shape (n, A)
        The policy.
    names : tuple of str, length A
    logged : ndarray of int, shape (n,)
    propensity : ndarray, shape (n,), or None
    segments : Series, length n
        Missing values are a segment of their own.

    Returns
    -------
    DataFrame
        ``segment, action, decisions`` in the segment, ``policy_mass`` given to the action there, ``rows`` logged of it there,
        ``ess`` and ``max_weight`` of its weights, ``little_support``: mass without a single row, or with weights above 50.
    """
    keys, values = pd.factorize(segments, use_na_sentinel=False)
    lines = []
    for k, value in enumerate(values):
        inside = keys == k
        for a, name in enumerate(names):
            taken = inside & (logged == a)
            mass = float(probabilities[inside, a].sum())
            weights = np.zeros(0) if propensity is None else probabilities[taken, a] / propensity[taken]
            largest = float(weights.max(initial=0.0))
            lines.append(
                {
                    "segment": value,
                    "action": name,
                    "decisions": int(inside.sum()),
                    "policy_mass": mass,
                    "rows": int(taken.sum()),
                    "ess": np.nan if propensity is None else effective_sample_size(weights),
                    "max_weight": np.nan if propensity is None else largest,
                    "little_support": mass > 0 and (not taken.any() or largest > 1 / LITTLE_SUPPORT),
                }
            )
    return pd.DataFrame(lines)


def locate(
    refusals: Sequence[OverlapRefusal],
    X: pd.DataFrame | None,
    probabilities: Floats,
    names: tuple[str, ...],
    logged: NDArray[np.intp],
    propensity: Floats | None,
) -> tuple[OverlapRefusal, ...]:
    """Name the segment of each refusal, and the exploration that would mend it.

    Parameters
    ----------
    refusals : sequence of OverlapRefusal
    X : DataFrame, shape (n, p), or None
        Features as of the decision.
    probabilities, names, logged, propensity
        As in :func:`support_by_action`.

    Returns
    -------
    tuple of OverlapRefusal
    """
    if X is None:
        return tuple(refusals)
    found = []
    for refusal in refusals:
        a = names.index(refusal.action)
        taken = logged == a
        where: Segment | None = None
        if not taken.any():
            where = Segment("", probabilities[:, a] > 0)
        elif propensity is not None and ((propensity >= 1 - 1e-12) & ~taken & (probabilities[:, a] > 0)).any():
            where = marked_segment(X, (propensity >= 1 - 1e-12) & ~taken)
        elif refusal.decisions < probabilities[:, a].sum() * (1 - 1e-9) or propensity is None:
            where = untried_segment(X, taken)
        found.append(refusal if where is None else _mended(refusal, where))
    return tuple(found)


def _mended(refusal: OverlapRefusal, where: Segment) -> OverlapRefusal:
    """Add the segment, and the share of it that would have to get the action at random."""
    count = int(where.rows.sum())
    share = max(LITTLE_SUPPORT, EXPLORATION_ROWS / count)
    place = f"where {where.condition}" if where.condition else "everywhere"
    if share <= 0.5:
        rows = max(EXPLORATION_ROWS, round(share * count))
        mend = f"exploring it in {share:.1%} of those {count:,} decisions, at random, brings {rows:,} rows"
    else:
        cycles = int(np.ceil(EXPLORATION_ROWS / (0.5 * count)))
        mend = (
            f"exploring it in half of those {count:,} decisions, at random, takes {cycles:,} such logs to bring "
            f"{EXPLORATION_ROWS} rows"
        )
    return replace(
        refusal,
        message=f"{refusal.message}; {place}: {mend}",
        segment=where.condition,
        segment_decisions=count,
        exploration_share=float(share),
    )
