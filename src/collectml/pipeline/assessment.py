"""Assessment on customers kept out: scores a report can recompute from, weak slices, fields, and uplift by tenth of its prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.data import DecisionLog

if TYPE_CHECKING:
    from .strategy_model import StrategyModel

__all__ = ["assess"]

Floats = NDArray[np.float64]
FEWEST = 100


def assess(held_out: DecisionLog, model: StrategyModel) -> tuple[dict[str, pd.DataFrame], dict[str, object]]:
    """Assess a model on decisions of customers it has not seen.

    Parameters
    ----------
    held_out : DecisionLog
        Those decisions.
    model : StrategyModel
        Trained on the others.

    Returns
    -------
    tables, facts
        ``scores`` (predicted chance and outcome of every decision, its stage; no id), ``slices`` (observed over expected
        payments by stage, product and month), ``fields`` (share missing of each feature), ``uplift_tenths`` (predicted
        against estimated gain, where propensities are known); Kolmogorov and Smirnov's distance and the behaviour score's
        own area under the curve.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    p = model.propensity_to_pay.predict_proba(held_out.X)[:, 1]
    paid = held_out.paid.to_numpy(dtype=float)
    stage = _stage(held_out.X)
    false, true, _ = roc_curve(paid, p)
    facts: dict[str, object] = {"ks": float(np.max(true - false)), "decisions": len(paid)}
    if "behaviour_score" in held_out.X:
        score = held_out.X["behaviour_score"].astype(float)
        facts["scorecard_auc"] = float(roc_auc_score(paid, score.fillna(score.median())))
    tables = {
        "scores": pd.DataFrame({"predicted": p, "paid": paid, "stage": stage}),
        "slices": _slices(held_out, p, paid, stage),
        "fields": pd.DataFrame({"field": held_out.X.columns, "missing": held_out.X.isna().mean().to_numpy(dtype=float)}),
    }
    if held_out.logging_propensity is not None:
        tables["uplift_tenths"], ranking = _tenths(held_out, model)
        facts["ranking"] = ranking
    return tables, facts


def _stage(X: pd.DataFrame) -> Floats:
    if "days_past_due" not in X:
        return np.full(len(X), np.nan)
    return np.asarray(np.ceil(X["days_past_due"].to_numpy(dtype=float, na_value=np.nan) / 30), dtype=np.float64)


def _slices(held_out: DecisionLog, p: Floats, paid: Floats, stage: Floats) -> pd.DataFrame:
    by = {"stage": pd.Series(stage).map("{:.0f}".format), "month": held_out.decided_at.dt.strftime("%Y-%m")}
    if "product" in held_out.X:
        by["product"] = held_out.X["product"].astype(str)
    rows = []
    for kind, values in by.items():
        for name, at in pd.Series(np.arange(len(p))).groupby(np.asarray(values.to_numpy(), dtype=object)):
            i = at.to_numpy()
            expected, observed = float(p[i].sum()), float(paid[i].sum())
            if len(i) < FEWEST or expected <= 0:
                continue
            spread = 1.96 * float(np.sqrt(np.sum(p[i] * (1 - p[i])))) / expected
            ratio = observed / expected
            rows.append((kind, str(name), len(i), expected, observed, ratio, ratio - spread, ratio + spread))
    columns = ["kind", "slice", "decisions", "expected", "observed", "ratio", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _tenths(held_out: DecisionLog, model: StrategyModel) -> tuple[pd.DataFrame, dict[str, float]]:
    """Doubly robust gain of the most valuable action over the control, by tenth of what was predicted.

    The score of a row is ``mu(a) - mu(control) + [A = a](y - mu(a))/p - [A = control](y - mu(control))/p``.
    """
    mu = model.uplift.predict(held_out.X)
    columns = list(mu.columns)
    values, y = mu.to_numpy(), held_out.recovered.to_numpy(dtype=float)
    rows = np.arange(len(y))
    taken = pd.Index(columns).get_indexer(pd.Index(held_out.action))
    best = values[:, 1:].argmax(axis=1) + 1
    predicted = values[rows, best] - values[:, 0]
    p = held_out.logging_propensity.to_numpy(dtype=float)  # type: ignore[union-attr]
    residual = np.where(taken >= 0, y - values[rows, np.maximum(taken, 0)], 0.0) / p
    score = predicted + residual * (taken == best) - residual * (taken == 0)
    order = np.argsort(-predicted, kind="stable")
    tenth = np.empty(len(y), dtype=int)
    tenth[order] = np.arange(len(y)) * 10 // max(1, len(y))
    codes = pd.factorize(pd.Index(held_out.customer))[0]
    table = []
    for k in range(10):
        i = np.flatnonzero(tenth == k)
        mean, se = _mean(score[i], codes[i])
        table.append((k + 1, len(i), float(predicted[i].mean()), mean, mean - 1.96 * se, mean + 1.96 * se))
    place = np.empty(len(y))
    place[order] = (np.arange(len(y)) + 0.5) / len(y)
    area, se = _mean(score * (0.5 - place), codes)
    frame = pd.DataFrame(table, columns=["tenth", "n", "predicted", "estimated", "low", "high"])
    return frame, {"qini": area, "low": area - 1.96 * se, "high": area + 1.96 * se}


def _mean(values: Floats, customer: NDArray[np.intp]) -> tuple[float, float]:
    """Mean and its standard error, rows of a customer together."""
    mean = float(values.mean())
    sums = pd.Series(values - mean).groupby(customer).sum().to_numpy()
    return mean, float(np.sqrt(np.sum(sums**2))) / len(values)
