"""Which features drive what the chosen action changes, on a sample of accounts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from collectml.data import DecisionLog
from collectml.errors import ConfigurationError
from collectml.explain import (
    Contributions,
    approved_dictionary,
    effect_contributions,
    flip_rate_at,
    global_drivers,
    money_contributions,
    reasons_for,
)
from collectml.explain.reasons import SEVERAL, SEVERAL_ZH
from collectml.uplift import UpliftModel
from collectml.uplift.hurdle import HurdleLearner
from collectml.uplift.shared_action import with_action

if TYPE_CHECKING:
    from .strategy_model import StrategyModel

__all__ = [
    "account_reasons",
    "approved_reasons",
    "effect_drivers",
    "explain_effects",
    "explainable",
    "recovered_contributions",
]

SAMPLE = 300


def explain_effects(model: UpliftModel, X: pd.DataFrame, action: pd.Series | None = None) -> pd.DataFrame:
    """Explain what an action changes in each account's probability of payment.

    Parameters
    ----------
    model : UpliftModel
        With the hurdle learner.
    X : DataFrame, n rows
        Features.
    action : Series of str, optional
        Action of each account; its most valuable one besides the control where not given.

    Returns
    -------
    DataFrame, accounts × features
        Percentage points; rows add up to the effect.

    Notes
    -----
    The effect in log-odds is the difference of two margins of one booster, so its contributions are differences of exact
    contributions; they are put into probability along the straight line between the two margins.
    """
    return _in_points(*_effect_parts(model, X, action))


def _in_points(parts: Contributions, start: NDArray[np.float64]) -> pd.DataFrame:
    moved = Contributions(parts.values, start).in_probability()
    effect = 100 * (expit(start + parts.values.to_numpy().sum(axis=1)) - expit(start))
    points = 100 * moved.values
    if len(points) and float(np.abs(points.sum(axis="columns") - effect).max()) > 1e-6:
        raise ArithmeticError("contributions in percentage points do not add up to the effect")
    return points


def recovered_contributions(
    model: UpliftModel,
    X: pd.DataFrame,
    first: NDArray[np.intp],
    second: NDArray[np.intp],
    *,
    pay: Contributions | None = None,
) -> Contributions:
    """Tell what features add to the money recovered under one action beyond that under another.

    Parameters
    ----------
    model : UpliftModel
        With the hurdle learner.
    X : DataFrame, n rows
        Features; its index is the account id.
    first, second : ndarray of int, shape (n,)
        Positions of the two actions among the model's.
    pay : Contributions, optional
        Those to the log-odds of payment, where they are known already.

    Returns
    -------
    Contributions
        In money; base is what is recovered under the second.
    """
    learner = explainable(model)
    encoded, rows, names = model.encoder_.transform(X), np.arange(len(X)), model.encoder_.columns_
    threads = learner.threads
    if pay is None:
        pay = effect_contributions(
            learner.boosters_["pay_effect"], encoded, first, second, names, index=X.index, threads=threads
        )
    start = learner.pay_margin(encoded, len(model.actions_))[rows, second]
    amount, log_amount, owed = None, np.zeros(len(X)), learner.exposure_.owed(encoded)
    if "amount" in learner.boosters_:
        amount = effect_contributions(
            learner.boosters_["amount_effect"], encoded, first, second, names, index=X.index, threads=threads
        )
        log_amount = learner._walk("amount", encoded, len(model.actions_))[rows, second]
    return money_contributions(pay, start, owed=owed, amount=amount, amount_start=log_amount)


def account_reasons(
    model: UpliftModel,
    X: pd.DataFrame,
    action: pd.Series | None = None,
    *,
    dictionary: Mapping[str, str] | None = None,
    forbidden: Collection[str] = (),
    flips: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """Tell why an action changes an account's chance of payment as much as it does.

    Parameters
    ----------
    model : UpliftModel
        With the hurdle learner.
    X : DataFrame, n rows
        Features; its index is the account id.
    action : Series of str, optional
        Action of each account; its most valuable one besides the control where not given.
    dictionary : mapping of str to str, optional
        Approved text of each feature; the feature's own name, in words, where no dictionary is given.
    forbidden : collection of str
        Features never printed.
    flips : DataFrame, optional
        Flip rates by lead, measured over refits.

    Returns
    -------
    DataFrame
        As :func:`~collectml.explain.reasons_for`.
    """
    parts, _ = _effect_parts(model, X, action)
    texts = {c: c.replace("_", " ") for c in parts.values.columns} if dictionary is None else dictionary
    return reasons_for(parts, texts, forbidden=forbidden, flip_rate=_flip_rate(flips))


def approved_reasons(
    model: StrategyModel, encoded: NDArray[np.float64], ids: pd.Index, action: NDArray[np.intp]
) -> pd.DataFrame:
    """Tell the reasons of every account that gets an action, in the approved words of both languages.

    Parameters
    ----------
    model : StrategyModel
        With the hurdle learner.
    encoded : ndarray, shape (n, p)
        Features, encoded.
    ids : Index, length n
        Account ids.
    action : ndarray of int, shape (n,)
        Position of each account's action among the model's; -1 where it knows none. Of the control there is nothing to tell.

    Returns
    -------
    DataFrame
        As :func:`~collectml.explain.reasons_for`, with ``reason_zh`` beside ``reason``; what is protected or not for customers is
        never told.
    """
    learner, words = explainable(model.uplift), approved_dictionary()
    acted = action > 0
    parts = effect_contributions(
        learner.boosters_["pay_effect"],
        encoded[acted],
        action[acted],
        0,
        model.uplift.encoder_.columns_,
        index=ids[acted],
        threads=learner.threads,
    )
    texts = words.texts("en")
    flip_rate = _flip_rate(model.evidence.tables.get("flip_rates"))
    told = reasons_for(parts, texts, forbidden=words.forbidden, flip_rate=flip_rate)
    chinese = {text: words.texts("zh-CN")[feature] for feature, text in texts.items()} | {SEVERAL: SEVERAL_ZH}
    told.insert(3, "reason_zh", told["reason"].map(chinese))
    return told


def explainable(model: UpliftModel) -> HurdleLearner:
    """Give the learner whose boosters can be explained.

    Parameters
    ----------
    model : UpliftModel
        Any.

    Returns
    -------
    HurdleLearner

    Raises
    ------
    ConfigurationError
        For other learners.
    """
    if not isinstance(model.learner_, HurdleLearner):
        raise ConfigurationError(f"learner {model.learner!r} has no shared booster of payment to explain; use 'hurdle'")
    return model.learner_


def _flip_rate(table: pd.DataFrame | None) -> Callable[[NDArray[np.float64]], NDArray[np.float64]] | None:
    return None if table is None else partial(flip_rate_at, table)


def _effect_parts(
    model: UpliftModel, X: pd.DataFrame, action: pd.Series | None
) -> tuple[Contributions, NDArray[np.float64]]:
    """Return the contributions to the effect on the log-odds of payment, and the log-odds without the action."""
    learner, encoded = explainable(model), model.encoder_.transform(X)
    if action is None:
        chosen = model.predict(X).drop(columns=model.control_).to_numpy().argmax(axis=1) + 1
    else:
        chosen = pd.Index(model.actions_).get_indexer(pd.Index(action))
        if (chosen < 0).any():
            unknown = sorted(set(action) - set(model.actions_))
            raise ConfigurationError(f"the model knows no effect of {', '.join(unknown)}")
    parts = effect_contributions(
        learner.boosters_["pay_effect"],
        encoded,
        chosen.astype(np.intp),
        0,
        model.encoder_.columns_,
        index=X.index,
        threads=learner.threads,
    )
    return parts, learner.pay_margin(encoded, len(model.actions_))[:, 0]


def effect_drivers(model: UpliftModel, log: DecisionLog, *, seed: int) -> tuple[dict[str, pd.DataFrame], dict[str, object]]:
    """Rank what moves the effect of each account's most valuable action: features, and groups of them.

    Parameters
    ----------
    model : UpliftModel
        Learners other than the hurdle have no shared booster to explain and give an empty table.
    log : DecisionLog
        Decisions to sample from.
    seed : int
        Seed of the sample.

    Returns
    -------
    tables, facts
        ``drivers`` (by feature: ``group``, mean and mean absolute contribution in percentage points, ``direction``),
        ``driver_groups`` (by group, in percentage points and in money), ``dependence`` (mean contribution by fifth of the two
        weightiest features, with counts); the mean effect and the worst gaps of what has to add up.
    """
    empty = pd.DataFrame(columns=["feature", "mean_abs_pp", "direction", "group", "mean_pp"])
    if not isinstance(model.learner_, HurdleLearner):
        return {"drivers": empty}, {}
    rows = np.sort(np.random.default_rng(seed).permutation(len(log))[:SAMPLE])
    X, groups = log.X.iloc[rows], approved_dictionary().group_names("en")
    best = model.predict(X).drop(columns=model.control_).to_numpy().argmax(axis=1).astype(np.intp) + 1
    action = pd.Series(np.array(model.actions_, dtype=object)[best], index=X.index)
    parts, start = _effect_parts(model, X, action)
    points = _in_points(parts, start)
    encoded = model.encoder_.transform(X)
    drivers = global_drivers(points, encoded, list(model.encoder_.levels_))
    drivers["group"] = drivers["feature"].map(lambda f: groups.get(f, f))
    drivers["mean_pp"] = points.mean().reindex(drivers["feature"]).to_numpy()
    together = Contributions(points, np.zeros(len(points))).grouped(groups).values
    money = recovered_contributions(model, X, best, np.zeros(len(X), dtype=np.intp), pay=parts)
    in_money = money.grouped(groups).values
    by_group = pd.DataFrame(
        {
            "group": together.columns,
            "mean_abs_pp": together.abs().mean().to_numpy(),
            "mean_pp": together.mean().to_numpy(),
            "mean_abs_money": in_money[together.columns].abs().mean().to_numpy(),
            "mean_money": in_money[together.columns].mean().to_numpy(),
        }
    ).sort_values("mean_abs_pp", ascending=False, kind="stable", ignore_index=True)
    effect = 100 * (expit(start + parts.values.to_numpy().sum(axis=1)) - expit(start))
    facts: dict[str, object] = {
        "accounts": len(X),
        "effect_pp": float(effect.mean()),
        "effect_money": float((money.margin - money.base).mean()),
        "worst_gap_pp": float(np.abs(points.to_numpy().sum(axis=1) - effect).max(initial=0.0)),
        "worst_gap_log_odds": _worst_gap(model, encoded, best, parts),
    }
    return {"drivers": drivers, "driver_groups": by_group, "dependence": _dependence(points, X, drivers)}, facts


def _worst_gap(model: UpliftModel, encoded: NDArray[np.float64], best: NDArray[np.intp], parts: Contributions) -> float:
    """Say how far contributions miss what the booster itself says."""
    assert isinstance(model.learner_, HurdleLearner)  # noqa: S101  (the caller looked)
    booster = model.learner_.boosters_["pay_effect"]
    raw = [np.asarray(booster.predict(with_action(encoded, a), raw_score=True)) for a in (best, 0)]
    return float(np.abs(parts.values.to_numpy().sum(axis=1) - (raw[0] - raw[1])).max(initial=0.0))


def _dependence(points: pd.DataFrame, X: pd.DataFrame, drivers: pd.DataFrame) -> pd.DataFrame:
    """Average contributions by fifth of a feature, for the weightiest two that are numbers."""
    numbers = [f for f in drivers["feature"] if f in X and _is_number(X[f])][:2]
    rows = []
    for feature in numbers:
        values = X[feature].astype(float)
        fifth = pd.qcut(values.rank(method="average"), 5, labels=False, duplicates="drop")
        for k, at in points[feature].groupby(fifth.to_numpy()):
            mine = values.to_numpy()[fifth.to_numpy() == k]
            rows.append((feature, float(mine.min()), float(mine.max()), len(at), float(at.mean())))
    return pd.DataFrame(rows, columns=["feature", "from", "to", "accounts", "mean_pp"])


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
