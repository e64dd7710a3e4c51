"""Which features drive what the chosen action changes, on a sample of accounts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from collectml.data import DecisionLog
from collectml.errors import ConfigurationError
from collectml.explain import Contributions, effect_contributions, flip_rate_at, global_drivers, reasons_for
from collectml.uplift import UpliftModel
from collectml.uplift.hurdle import HurdleLearner
from collectml.uplift.shared_action import with_action

__all__ = ["account_reasons", "effect_drivers", "explain_effects"]

SAMPLE = 500


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
    parts, start = _effect_parts(model, X, action)
    moved = Contributions(parts.values, start).in_probability()
    effect = 100 * (expit(start + parts.values.to_numpy().sum(axis=1)) - expit(start))
    points = 100 * moved.values
    if len(points) and float(np.abs(points.sum(axis="columns") - effect).max()) > 1e-6:
        raise ArithmeticError("contributions in percentage points do not add up to the effect")
    return points


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
    known = None if flips is None else partial(flip_rate_at, flips)
    return reasons_for(parts, texts, forbidden=forbidden, flip_rate=known)


def _effect_parts(
    model: UpliftModel, X: pd.DataFrame, action: pd.Series | None
) -> tuple[Contributions, NDArray[np.float64]]:
    """Return the contributions to the effect on the log-odds of payment, and the log-odds without the action."""
    learner = model.learner_
    if not isinstance(learner, HurdleLearner):
        raise ConfigurationError(f"learner {model.learner!r} has no shared booster of payment to explain; use 'hurdle'")
    encoded = model.encoder_.transform(X)
    if action is None:
        chosen = model.predict(X).drop(columns=model.control_).to_numpy().argmax(axis=1) + 1
    else:
        chosen = pd.Index(model.actions_).get_indexer(pd.Index(action))
        if (chosen < 0).any():
            unknown = sorted(set(action) - set(model.actions_))
            raise ConfigurationError(f"the model knows no effect of {', '.join(unknown)}")
    parts = effect_contributions(
        learner.boosters_["pay_effect"],
        with_action(encoded, chosen.astype(np.intp)),
        with_action(encoded, 0),
        model.encoder_.columns_,
        index=X.index,
    )
    return parts, learner.pay_margin(encoded, len(model.actions_))[:, 0]


def effect_drivers(model: UpliftModel, log: DecisionLog, *, seed: int) -> pd.DataFrame:
    """Rank the features that move the effect of each account's most valuable action.

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
    DataFrame
        As :func:`~collectml.explain.global_drivers`.
    """
    if not isinstance(model.learner_, HurdleLearner):
        return pd.DataFrame(columns=["feature", "mean_abs_pp", "direction"])
    rows = np.sort(np.random.default_rng(seed).permutation(len(log))[:SAMPLE])
    X = log.X.iloc[rows]
    return global_drivers(explain_effects(model, X), model.encoder_.transform(X), list(model.encoder_.levels_))
