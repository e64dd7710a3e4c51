"""Assessment on customers kept out: scores a report can recompute from, weak slices, fields, and uplift by tenth of its prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.data import DecisionLog
from collectml.evaluation.groups import suppressed, wilson

if TYPE_CHECKING:
    from .strategy_model import StrategyModel

__all__ = ["assess"]

Floats = NDArray[np.float64]
FEWEST = 100


GROUPS = ("age_band", "region", "hardship", "vulnerable")


def assess(
    held_out: DecisionLog, model: StrategyModel, decisions: pd.DataFrame, champion: StrategyModel | None = None
) -> tuple[dict[str, pd.DataFrame], dict[str, object]]:
    """Assess a model on decisions of customers it has not seen.

    Parameters
    ----------
    held_out : DecisionLog
        Those decisions.
    model : StrategyModel
        Trained on the others.
    decisions : DataFrame, n rows
        The same decisions with every field that is known of their accounts, groups among them.
    champion : StrategyModel, optional
        Held against on the same decisions.

    Returns
    -------
    tables, facts
        ``scores`` (predicted chance and outcome of every decision, its stage; no id), ``slices`` (observed over expected
        payments by stage, product and month), ``fields`` (share missing of each feature), ``groups`` (observed over expected,
        gain and complaints by fairness group), ``uplift_tenths`` (predicted against estimated gain, where propensities are
        known); Kolmogorov and Smirnov's distance, and the area under the curve of the behaviour score and of the champion.
    """
    from sklearn.metrics import brier_score_loss, roc_auc_score, roc_curve

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
    if champion is not None:
        theirs = champion.propensity_to_pay.predict_proba(decisions[champion.features])[:, 1]
        facts["champion"] = {"auc": float(roc_auc_score(paid, theirs)), "brier": float(brier_score_loss(paid, theirs))}
    gain = None
    if held_out.logging_propensity is not None:
        predicted, gain = _gains(held_out, model)
        tables["uplift_tenths"], facts["ranking"] = _tenths(predicted, gain, _codes(held_out))
    tables["groups"] = _groups(held_out, decisions, p, paid, gain)
    return tables, facts


def _groups(held_out: DecisionLog, decisions: pd.DataFrame, p: Floats, paid: Floats, gain: Floats | None) -> pd.DataFrame:
    """Hold predictions, gain and complaints against what came of them, group by group; small groups are not shown.

    The gain of a group is that of its decisions' most valuable action, by the same score as the tenths.
    """
    codes, rows = _codes(held_out), []
    complained = None if held_out.complained is None else held_out.complained.to_numpy(dtype=float)
    for kind in (g for g in GROUPS if g in decisions):
        labels = decisions[kind].astype(object).where(decisions[kind].notna(), "unknown").astype(str).to_numpy(dtype=object)
        sizes = pd.Series(labels).value_counts().sort_index()
        hidden = suppressed(sizes)
        for name in sizes.index:
            row: dict[str, object] = {"kind": kind, "group": str(name)}
            i = np.flatnonzero(labels == name)
            if name not in hidden:
                row |= {"decisions": len(i), **_ratio(p[i], paid[i])}
                if gain is not None:
                    mean, se = _mean(gain[i], codes[i])
                    row |= {"gain": mean, "gain_low": mean - 1.96 * se, "gain_high": mean + 1.96 * se}
                if complained is not None:
                    low, high = wilson(float(complained[i].mean()), len(i))
                    row |= {"complaints": 1000 * float(complained[i].mean())}
                    row |= {"complaints_low": 1000 * low, "complaints_high": 1000 * high}
            rows.append(row)
        together = [int(n) for name, n in sizes.items() if name in hidden]
        if together:
            rows.append({"kind": kind, "group": "not shown, together", "decisions": sum(together)})
    columns = ["kind", "group", "decisions", "expected", "observed", "ratio", "low", "high", "gain", "gain_low", "gain_high"]
    return pd.DataFrame(rows, columns=[*columns, "complaints", "complaints_low", "complaints_high"])


def _ratio(p: Floats, paid: Floats) -> dict[str, float]:
    """Observed over expected payers, with the interval that chance alone would give."""
    expected, observed = float(p.sum()), float(paid.sum())
    if expected <= 0:
        return {"expected": expected, "observed": observed}
    ratio, spread = observed / expected, 1.96 * float(np.sqrt(np.sum(p * (1 - p)))) / expected
    return {"expected": expected, "observed": observed, "ratio": ratio, "low": ratio - spread, "high": ratio + spread}


def _codes(held_out: DecisionLog) -> NDArray[np.intp]:
    return np.asarray(pd.factorize(pd.Index(held_out.customer))[0], dtype=np.intp)


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
            if len(i) >= FEWEST and float(p[i].sum()) > 0:
                rows.append({"kind": kind, "slice": str(name), "decisions": len(i), **_ratio(p[i], paid[i])})
    columns = ["kind", "slice", "decisions", "expected", "observed", "ratio", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _gains(held_out: DecisionLog, model: StrategyModel) -> tuple[Floats, Floats]:
    """Gain of the most valuable action over the control, predicted, and its doubly robust score.

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
    return predicted, predicted + residual * (taken == best) - residual * (taken == 0)


def _tenths(predicted: Floats, score: Floats, codes: NDArray[np.intp]) -> tuple[pd.DataFrame, dict[str, float]]:
    """Predicted and estimated gain by tenth of the prediction, and the area between the curve and a random order."""
    order = np.argsort(-predicted, kind="stable")
    n = len(score)
    tenth = np.empty(n, dtype=int)
    tenth[order] = np.arange(n) * 10 // max(1, n)
    table = []
    for k in range(10):
        i = np.flatnonzero(tenth == k)
        mean, se = _mean(score[i], codes[i])
        table.append((k + 1, len(i), float(predicted[i].mean()), mean, mean - 1.96 * se, mean + 1.96 * se))
    place = np.empty(n)
    place[order] = (np.arange(n) + 0.5) / n
    area, se = _mean(score * (0.5 - place), codes)
    frame = pd.DataFrame(table, columns=["tenth", "n", "predicted", "estimated", "low", "high"])
    return frame, {"qini": area, "low": area - 1.96 * se, "high": area + 1.96 * se}


def _mean(values: Floats, customer: NDArray[np.intp]) -> tuple[float, float]:
    """Mean and its standard error, rows of a customer together."""
    mean = float(values.mean())
    sums = pd.Series(values - mean).groupby(customer).sum().to_numpy()
    return mean, float(np.sqrt(np.sum(sums**2))) / len(values)
