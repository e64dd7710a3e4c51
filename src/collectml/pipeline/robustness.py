"""How far explanations and effects move when the model is learnt again: cheap refits of the effects on resampled customers."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.data import DecisionLog
from collectml.explain import Contributions, approved_dictionary, effect_contributions, flip_rates
from collectml.explain.reasons import lead_of
from collectml.models._lightgbm import train_booster
from collectml.uplift import UpliftModel
from collectml.uplift.basis import MAX_FEATURES, EffectBasis
from collectml.uplift.effects import EffectRegression, curvatures
from collectml.uplift.hurdle import HurdleLearner
from collectml.uplift.shared_action import with_action

__all__ = ["refit_evidence"]

Floats = NDArray[np.float64]
REFITS = 20
ROWS = 20_000
TAUGHT = 4_000
EXPLAINED = 300
TREES = 60


def refit_evidence(
    model: UpliftModel, log: DecisionLog, *, seed: int, refits: int = REFITS
) -> tuple[dict[str, pd.DataFrame], dict[str, object]]:
    """Learn the effects again on resampled customers, and count whose first reason changes.

    Parameters
    ----------
    model : UpliftModel
        With the hurdle learner; of others nothing is learnt.
    log : DecisionLog
        Decisions it was trained on.
    seed : int
        Seed of the resampling.
    refits : int, default 20
        How often.

    Returns
    -------
    tables, facts
        ``flip_rates`` (by lead), ``refit_drivers`` (by group: mean and range over refits), and their summary.

    Notes
    -----
    Each refit draws customers with replacement (at most 20,000 decisions of them), estimates the effects beside the same
    baseline and under the same shrinkage, and teaches them to a small booster, which is explained as the model's own is. The
    first refit is the reference the others are held against: all have the same size, so what differs is chance in the
    customers. A model learnt on more decisions moves less, so the flip rates are cautious.
    """
    learner = model.learner_
    if not isinstance(learner, HurdleLearner):
        return {}, {"refused": "the learner has no shared booster of effects"}
    rng = np.random.default_rng(seed)
    known = np.flatnonzero(pd.Index(model.actions_).get_indexer(pd.Index(log.action)) >= 0)
    X = model.encoder_.transform(log.X.iloc[known])
    action = pd.Index(model.actions_).get_indexer(pd.Index(log.action.iloc[known])).astype(np.intp)
    paid = log.paid.to_numpy(dtype=float)[known]
    customer = pd.factorize(pd.Index(log.customer.iloc[known]))[0]
    baseline = np.asarray(learner.boosters_["pay"].predict(X, raw_score=True))
    shown = np.sort(rng.permutation(len(X))[:EXPLAINED])
    best = model.predict(log.X.iloc[known[shown]]).drop(columns=model.control_).to_numpy().argmax(axis=1) + 1
    basis = _basis(model, learner, X, baseline)
    groups = approved_dictionary().group_names("en")
    texts = approved_dictionary().texts("en")
    firsts, leads, means, scales = [], [], [], None
    for _ in range(refits + 1):
        rows = _resampled(customer, rng)
        booster, scales = _refit(model, learner, basis, X[rows], action[rows], paid[rows], baseline[rows], scales, rng)
        parts = effect_contributions(
            booster, with_action(X[shown], best.astype(np.intp)), with_action(X[shown], 0), model.encoder_.columns_
        )
        totals = _by_reason(parts, texts)
        firsts.append(np.abs(totals).argmax(axis=1))
        leads.append(lead_of(totals))
        means.append(parts.grouped(groups).values.abs().mean())
    flipped = np.mean([f != firsts[0] for f in firsts[1:]], axis=0)
    table = pd.DataFrame(means[1:])
    drivers = pd.DataFrame(
        {
            "group": table.columns,
            "mean_abs_log_odds": table.mean().to_numpy(),
            "low": table.quantile(0.025).to_numpy(),
            "high": table.quantile(0.975).to_numpy(),
        }
    ).sort_values("mean_abs_log_odds", ascending=False, ignore_index=True)
    facts: dict[str, object] = {
        "refits": refits,
        "accounts": len(shown),
        "decisions_each": min(ROWS, len(X)),
        "first_reason_flips": float(flipped.mean()),
    }
    return {"flip_rates": flip_rates(leads[0], flipped), "refit_drivers": drivers}, facts


def _resampled(customer: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw customers with replacement, and take all their decisions, up to a number of rows."""
    times = rng.poisson(min(1.0, ROWS / len(customer)), size=int(customer.max()) + 1)[customer]
    rows = np.repeat(np.arange(len(customer)), times)
    return rows if len(rows) else np.arange(len(customer))


def _basis(model: UpliftModel, learner: HurdleLearner, X: Floats, baseline: Floats) -> EffectBasis:
    """Fit the functions of the features once, on all rows: refits differ in what they learn, not in what they look at."""
    gain = learner.boosters_["pay"].feature_importance("gain")
    chosen = np.sort(np.argsort(-gain, kind="stable")[:MAX_FEATURES])
    levels = set(model.encoder_.categorical_indices_)
    basis = EffectBasis([int(j) for j in chosen if j not in levels], [int(j) for j in chosen if j in levels])
    return basis.fit(X, [baseline])


def _refit(
    model: UpliftModel,
    learner: HurdleLearner,
    basis: EffectBasis,
    X: Floats,
    action: NDArray[np.intp],
    paid: Floats,
    baseline: Floats,
    scales: Floats | None,
    rng: np.random.Generator,
) -> tuple[lgb.Booster, Floats]:
    Z = basis.transform(X, [baseline])
    n_actions = len(model.actions_)
    by_fold = curvatures(Z, action, baseline, np.zeros(len(X), dtype=np.int8), n_actions).sum(axis=0)
    regression = EffectRegression(n_actions).fit(Z, action, paid, baseline, by_fold, scales)
    effects = regression.effects(Z)
    shown = np.repeat(rng.permutation(len(X))[:TAUGHT], n_actions)
    flat = np.tile(np.arange(n_actions), len(shown) // n_actions)
    booster = train_booster(
        with_action(X[shown], flat),
        effects[shown, flat],
        params={"objective": "regression", "num_leaves": 15, "learning_rate": 0.15, "num_threads": learner.threads},
        categorical=[*model.encoder_.categorical_indices_, X.shape[1]],
        num_boost_round=TREES,
        seed=int(rng.integers(2**31 - 1)),
    )
    return booster, regression.scales_


def _by_reason(parts: Contributions, texts: dict[str, str]) -> Floats:
    named = {f: t for f, t in texts.items() if f in parts.values.columns}
    if not named:  # features outside the dictionary: each is its own reason
        return np.asarray(parts.values.iloc[:, :-1].to_numpy(), dtype=np.float64)
    frame = parts.values[list(named)]
    return np.asarray(frame.T.groupby(list(named.values()), sort=False).sum().T.to_numpy(), dtype=np.float64)
