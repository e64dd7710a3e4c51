"""How far explanations and effects move when the model is learnt again: cheap refits of the effects on resampled customers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from collectml.data import DecisionLog
from collectml.explain import Contributions, approved_dictionary, effect_contributions, flip_rates
from collectml.explain.reasons import lead_of
from collectml.models import PropensityToPayModel
from collectml.uplift import UpliftModel
from collectml.uplift.basis import EffectBasis
from collectml.uplift.effects import EffectRegression, curvatures
from collectml.uplift.hurdle import HurdleLearner, effect_columns
from collectml.uplift.likelihood import Response
from collectml.uplift.shared_action import distil, predict_actions

__all__ = ["out_of_time", "refit_evidence"]

Floats = NDArray[np.float64]
REFITS, SEEDS = 20, 5
ROWS = 20_000
TAUGHT = 4_000
EXPLAINED = 300
TREES = 60
LATER = 0.8  # where the last fifth of the decisions begins
FEWEST = 500


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
        ``flip_rates`` (by lead), ``refit_drivers`` (by group: mean and range over refits), ``refit_effects`` (by action: mean
        effect on the probability of payment and its range, over resampled customers and over seeds alone), and their summary.

    Notes
    -----
    Each refit draws customers with replacement (at most 20,000 decisions of them), estimates the effects beside the same
    baseline and under the same shrinkage, and teaches them to a small booster, which is explained as the model's own is. The
    first refit is the reference the others are held against: all have the same size, so what differs is chance in the
    customers. A model learnt on more decisions moves less, so the flip rates are cautious. Where boosters have a say in the effects
    (``diagnostics_["weight_boosters"]``), it is the regression's part that is learnt again.
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
    control = learner.pay_margin(X[shown], len(model.actions_))[:, 0]
    best = model.predict(log.X.iloc[known[shown]]).drop(columns=model.control_).to_numpy().argmax(axis=1) + 1
    # the functions of the features are the same for all: refits differ in what they learn, not in what they look at
    columns = effect_columns(learner.boosters_["pay"], model.encoder_.categorical_indices_)
    basis = EffectBasis(*columns).fit(X, [baseline])
    groups = approved_dictionary().group_names("en")
    texts = approved_dictionary().texts("en")
    firsts, leads, means, scales = [], [], [], None
    effects: dict[str, list[Floats]] = {"customers": [], "seeds": []}
    for _ in range(refits + 1):
        rows = _resampled(customer, rng)
        booster, scales = _refit(model, learner, basis, X[rows], action[rows], paid[rows], baseline[rows], scales, rng)
        effects["customers"].append(_mean_effects(booster, X[shown], control, model))
        parts = effect_contributions(
            booster, X[shown], best.astype(np.intp), 0, model.encoder_.columns_, threads=learner.threads
        )
        totals = _by_reason(parts, texts)
        firsts.append(np.abs(totals).argmax(axis=1))
        leads.append(lead_of(totals))
        means.append(parts.grouped(groups).values.abs().mean())
    for _ in range(SEEDS):  # the same customers, another seed
        booster, _ = _refit(model, learner, basis, X[rows], action[rows], paid[rows], baseline[rows], scales, rng)
        effects["seeds"].append(_mean_effects(booster, X[shown], control, model))
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
        "boosters_share": _boosters_share(learner.diagnostics_),
    }
    tables = {"flip_rates": flip_rates(leads[0], flipped), "refit_drivers": drivers}
    return {**tables, "refit_effects": _ranges(effects, model.actions_)}, facts


def _boosters_share(diagnostics: Mapping[str, object]) -> float:
    """How much of the weight of effects lies with boosters and the rules they found, which refits do not learn again."""
    boosters, regression = (float(cast("float", diagnostics.get(f"weight_{k}", 0.0))) for k in ("boosters", "regression"))
    return boosters / (boosters + regression) if boosters > 0 else 0.0


def out_of_time(
    log: DecisionLog, held_out: DecisionLog, model: PropensityToPayModel, *, seed: int, n_jobs: int | None = None
) -> dict[str, object]:
    """Learn the propensity to pay from the earlier decisions alone, and try it on the last fifth, customers kept out.

    Parameters
    ----------
    log, held_out : DecisionLog
        Decisions trained on, and those of customers kept out.
    model : PropensityToPayModel
        The model itself, for comparison on the same decisions.
    seed : int
        Seed.
    n_jobs : int, optional
        Threads.

    Returns
    -------
    dict
        ``cut`` (first day of the later part), ``decisions``, and of both models the area under the curve and observed over
        expected payers; or ``refused``, why not.
    """
    from sklearn.metrics import roc_auc_score

    cut = pd.Timestamp(np.sort(held_out.decided_at.to_numpy())[int(LATER * len(held_out))]).normalize()
    early = log.split_by_time(cut)[0].known_by(cut)
    late = held_out.split_by_time(cut)[1]
    if min(len(early), len(late)) < FEWEST or min(early.paid.nunique(), late.paid.nunique()) < 2:
        return {"refused": "the log spans too little time"}
    refitted = PropensityToPayModel(random_state=seed, n_jobs=n_jobs).fit(early.X, early.paid, customer=early.customer)
    paid = late.paid.to_numpy(dtype=float)
    found: dict[str, float] = {}
    for name, fitted in (("", model), ("early_", refitted)):
        p = fitted.predict_proba(late.X)[:, 1]
        found |= {f"{name}auc": float(roc_auc_score(paid, p)), f"{name}ratio": float(paid.sum() / p.sum())}
        found |= {f"{name}spread": float(1.96 * np.sqrt(np.sum(p * (1 - p))) / p.sum())}
    return {"cut": f"{cut:%Y-%m-%d}", "decisions": len(late), "learnt_from": len(early), **found}


def _mean_effects(booster: lgb.Booster, X: Floats, control: Floats, model: UpliftModel) -> Floats:
    """Average what each action changes in the probability of payment under the control, in percentage points."""
    margins = predict_actions(booster, X, len(model.actions_), raw=True)
    changed = expit(control[:, None] + margins - margins[:, :1]) - expit(control)[:, None]
    return np.asarray(100 * changed.mean(axis=0))


def _ranges(effects: dict[str, list[Floats]], actions: Sequence[str]) -> pd.DataFrame:
    rows = []
    for kind, drawn in effects.items():
        table = np.array(drawn)
        low, high = np.quantile(table, [0.025, 0.975], axis=0)
        rows += [
            (kind, a, len(table), float(table[:, j].mean()), float(low[j]), float(high[j]))
            for j, a in enumerate(actions)
            if j
        ]
    return pd.DataFrame(rows, columns=["over", "action", "refits", "mean_pp", "low", "high"])


def _resampled(customer: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw customers with replacement, and take all their decisions, up to a number of rows."""
    times = rng.poisson(min(1.0, ROWS / len(customer)), size=int(customer.max()) + 1)[customer]
    rows = np.repeat(np.arange(len(customer)), times)
    return rows if len(rows) else np.arange(len(customer))


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
    response = Response(action, paid, baseline, n_actions)
    curvature = curvatures(Z, response, np.zeros(len(X), dtype=np.int8))[0]
    regression = EffectRegression(n_actions).fit(Z, response, curvature, scales)
    taught = rng.permutation(len(X))[:TAUGHT]
    booster = distil(
        X[taught],
        regression.effects(Z[taught]),
        categorical=model.encoder_.categorical_indices_,
        params={"num_leaves": 15, "learning_rate": 0.15, "num_threads": learner.threads},
        trees=TREES,
        seed=int(rng.integers(2**31 - 1)),
    )
    return booster, regression.scales_


def _by_reason(parts: Contributions, texts: dict[str, str]) -> Floats:
    named = {f: t for f, t in texts.items() if f in parts.values.columns}
    if not named:  # features outside the dictionary: each is its own reason
        return np.asarray(parts.values.iloc[:, :-1].to_numpy(), dtype=np.float64)
    frame = parts.values[list(named)]
    return np.asarray(frame.T.groupby(list(named.values()), sort=False).sum().T.to_numpy(), dtype=np.float64)
