"""One policy against the log: its weights, its support, and the estimators as ratios of sums over decisions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.evaluation.audit import locate, untried
from collectml.evaluation.intervals import Ratio, ratio_of_sums
from collectml.evaluation.overlap import OverlapRefusal, effective_sample_size, little_support_share, support_by_action
from collectml.evaluation.weights import choose_shrinkage, choose_switch, pareto_k, shrink, switch

__all__ = ["BIASED", "ESTIMATORS", "MODEL_BASED", "NORMALISED", "LogRows", "PolicyScores", "point_estimate"]

ESTIMATORS = ("dm", "ips", "snips", "dr", "sndr", "switch_dr", "dr_os")
MODEL_BASED = ("dm", "dr", "sndr", "switch_dr", "dr_os")
NORMALISED = ("snips", "sndr")
BIASED = ("dm", "switch_dr", "dr_os")
"""Estimators that trade bias for variance: their intervals hold the variance only."""

# A policy that agrees with every logged action by chance with a smaller probability than this was read off the log.
_COINCIDENCE = 1e-9


@dataclass(frozen=True)
class LogRows:
    """What every policy is judged against, in the log's order; all arrays have one entry per decision."""

    y: NDArray[np.float64]
    logged: NDArray[np.intp]
    propensity: NDArray[np.float64] | None
    customer: NDArray[np.intp]
    n_customers: int
    recovered: NDArray[np.float64] | None = None
    """Money recovered, where the outcome is net of costs."""
    features: pd.DataFrame | None = None
    """What a segment without support is named by."""

    @property
    def amounts(self) -> NDArray[np.float64]:
        """What tells how heavy the tail of amounts is: the outcome, or the money recovered where that is net of costs."""
        return self.y if self.recovered is None else self.recovered

    def mean(self, numerator: NDArray[np.float64], denominator: NDArray[np.float64] | None = None) -> Ratio:
        """Return a mean over decisions, or a ratio of two, with its influence values by customer."""
        bottom = np.ones(len(self.y)) if denominator is None else denominator
        return ratio_of_sums(numerator, bottom, self.customer, self.n_customers)

    def variance(self, numerator: NDArray[np.float64]) -> float:
        """Return the variance of a mean over decisions, customers being the unit."""
        influence = self.mean(numerator).influence
        return float(influence @ influence)


class PolicyScores:
    """One policy (the one judged, or its baseline).

    Parameters
    ----------
    what : str
        ``"policy"`` or ``"baseline"``, for messages.
    matrix : ndarray, shape (n, A)
        Its probabilities over `names`.
    names : tuple of str, length A
        The log's actions, then any that only this policy knows.
    rows : LogRows
    predicted : ndarray, shape (n, A), or None
        Predicted outcomes; missing where the model has none.
    own_model : bool
        Whether the predictions were cross-fitted here: then a missing one is a refusal; in a caller's it is an error.
    """

    def __init__(
        self,
        what: str,
        matrix: NDArray[np.float64],
        names: tuple[str, ...],
        rows: LogRows,
        predicted: NDArray[np.float64] | None,
        *,
        own_model: bool,
    ) -> None:
        self.what, self.rows = what, rows
        each = np.arange(len(rows.y))
        agreement = matrix[each, rows.logged]
        self._refuse_copies(agreement)
        self.support, refusals = support_by_action(
            matrix, names, rows.logged, rows.propensity, rows.customer, rows.n_customers
        )
        where = (rows.features, matrix, names, rows.logged, rows.propensity)
        self.refusals = locate(refusals, *where) + untried([r.action for r in refusals], *where)
        self.weights = None if rows.propensity is None else agreement / rows.propensity
        self.unpredicted: tuple[OverlapRefusal, ...] = ()
        self.tuned: dict[str, float] = {}
        self.direct = self.fitted = np.zeros(len(each))
        if predicted is not None:
            self.unpredicted = self._gaps(matrix, names, predicted, own_model=own_model)
            # an unpredicted action in use is refused above; one not in use has probability, and weight, zero
            filled = np.where(np.isfinite(predicted), predicted, 0.0)
            self.direct, self.fitted = (matrix * filled).sum(axis=1), filled[each, rows.logged]

    def _refuse_copies(self, agreement: NDArray[np.float64]) -> None:
        """Raise for a frame with 1 at each logged action: weights 1/p do not average one, and the estimate means nothing."""
        p = self.rows.propensity
        if p is not None and (agreement > 1 - 1e-9).all() and np.log(p).sum() < np.log(_COINCIDENCE):
            raise ValueError(
                f"{self.what}: it has probability 1 at every logged action, so it was read off the log and cannot be "
                'weighted; for what was done use baseline="logged", for the rule behind the log give its probabilities'
            )

    def _gaps(
        self, matrix: NDArray[np.float64], names: tuple[str, ...], predicted: NDArray[np.float64], *, own_model: bool
    ) -> tuple[OverlapRefusal, ...]:
        """Find the actions in use for which the outcome model has no prediction."""
        missing = (matrix > 0) & ~np.isfinite(predicted)
        columns = np.flatnonzero(missing.any(axis=0))
        if len(columns) and not own_model:
            counts = {names[a]: int(missing[:, a].sum()) for a in columns}
            raise ValueError(f"outcome_model has no finite prediction for decisions the {self.what} gives to: {counts}")
        taken = np.bincount(self.rows.logged, minlength=len(names))
        return tuple(
            OverlapRefusal(
                names[a],
                float(matrix[missing[:, a], a].sum()),
                int(taken[a]),
                f"action {names[a]!r} has {int(taken[a])} logged rows, too few to predict {int(missing[:, a].sum())} "
                "decisions by a model that has not seen them: no evidence; block it, or explore it",
            )
            for a in columns
        )

    def refusal(self, estimator: str) -> str:
        """Say why the log cannot support this estimator; empty where it can."""
        reasons = () if estimator == "dm" else self.refusals
        if estimator in MODEL_BASED:
            known = {r.action for r in reasons}
            reasons = reasons + tuple(r for r in self.unpredicted if r.action not in known)
        text = "; ".join(r.message for r in reasons)
        if not text and estimator in NORMALISED and self.weights is not None and not self.weights.any():
            text = "no logged decision agrees with it: the weights sum to 0"
        return f"refused ({self.what}): {text}" if text else ""

    def ratio(self, estimator: str) -> Ratio | str:
        """Return the estimate and its influence values, or the reason why there is none."""
        if reason := self.refusal(estimator):
            return reason
        rows, w = self.rows, self.weights
        if estimator == "dm" or w is None:  # without propensities only dm gets this far
            return rows.mean(self.direct)
        if estimator == "ips":
            return rows.mean(w * rows.y)
        if estimator == "snips":
            return rows.mean(w * rows.y, w)
        residual = rows.y - self.fitted
        if estimator == "sndr":
            direct, correction = rows.mean(self.direct), rows.mean(w * residual, w)
            return Ratio(direct.value + correction.value, direct.influence + correction.influence)
        return rows.mean(self.direct + self._kept(estimator, residual) * residual)

    def _kept(self, estimator: str, residual: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weights an estimator of the doubly robust family keeps."""
        w = self.weights
        assert w is not None  # noqa: S101 - ratio() has seen to it
        if estimator == "switch_dr":
            self.tuned[estimator] = choose_switch(w, residual, self.direct, self.rows.variance)
            return switch(w, self.tuned[estimator])
        if estimator == "dr_os":
            self.tuned[estimator] = choose_shrinkage(w, residual, self.direct, self.rows.variance)
            return shrink(w, self.tuned[estimator])
        return w

    def weight_facts(self) -> dict[str, float]:
        """Return what the size of the weights says of the evidence; nothing where there are no propensities."""
        if self.weights is None or self.rows.propensity is None:
            return {}
        return {
            "ess": effective_sample_size(self.weights),
            "max_weight": float(self.weights.max(initial=0.0)),
            "pareto_k": pareto_k(self.weights),
            "little_support": little_support_share(self.weights, self.rows.propensity),
        }


def point_estimate(
    estimator: str,
    rows: LogRows,
    predicted: NDArray[np.float64],
    action: NDArray[np.intp],
    keep: NDArray[np.intp],
) -> float:
    """Return an estimate of one action for each decision from some rows alone: no support, no error, no refusal.

    SWITCH and shrinkage are taken as DR, whose variance is the larger.
    """
    assert rows.propensity is not None  # noqa: S101 - callers have seen to it
    y, direct = rows.y[keep], predicted[keep, action[keep]]
    if estimator == "dm":
        return float(direct.mean())
    w = (rows.logged[keep] == action[keep]) / rows.propensity[keep]
    if estimator in NORMALISED and not w.any():
        return float("nan")
    residual = y if estimator in ("ips", "snips") else y - predicted[keep, rows.logged[keep]]
    scale = float(w.mean()) if estimator in NORMALISED else 1.0
    correction = float(np.mean(w * residual)) / scale
    return correction if estimator in ("ips", "snips") else float(direct.mean()) + correction
