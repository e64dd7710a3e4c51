"""Estimated logging propensities, for logs that do not record them: calibrated, diagnosed, never clipped in silence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from collectml.models._lightgbm import train_booster

from .decisions import Decisions

__all__ = ["LoggingPropensities", "logging_propensities"]

Floats = NDArray[np.float64]

PROPENSITY = {"num_leaves": 7, "learning_rate": 0.1, "min_data_in_leaf": 100, "objective": "multiclass"}
TREES = 120
FLOOR = 0.005
LITTLE = 0.02


@dataclass(frozen=True)
class LoggingPropensities:
    """With which probability each row's action was chosen, and how far that can be relied on.

    Attributes
    ----------
    of_taken : ndarray, shape (n,)
        Probability of the action taken: as logged, or estimated from rows of other customers.
    estimated : bool
        Whether they had to be estimated.
    facts : dict of str to float
        ``little_support_rows`` and ``little_support_weight``: rows with a probability below 0.02, and their share of the total
        weight 1/p. For estimates also ``floored_rows`` and ``floored_weight`` (rows raised to 0.005, and the share of the weight
        that took away), ``temperature`` (1 where the booster was calibrated as it came) and ``log_loss_gain`` per row over the
        actions' overall shares.
    """

    of_taken: Floats
    estimated: bool
    facts: dict[str, float]


def logging_propensities(d: Decisions, *, params: Mapping[str, object], seed: int) -> LoggingPropensities:
    """Take the logged propensities as they are; estimate them where the log has none.

    Parameters
    ----------
    d : Decisions
        Encoded features, actions, folds, and the propensities where known.
    params : mapping
        Further LightGBM parameters.
    seed : int
        Seed.

    Returns
    -------
    LoggingPropensities

    Notes
    -----
    Estimates come from a multi-class booster, each row's from a fit without its fold, calibrated by one temperature on those
    out-of-fold margins. They are shrunk towards the actions' shares as far as the log loss asks, so that a log that was
    randomised evenly gives its shares.

    References
    ----------
    Guo, Pleiss, Sun & Weinberger (2017), On calibration of modern neural networks, ICML (temperature scaling).
    """
    if d.propensity is not None:
        return LoggingPropensities(d.propensity, False, _support(d.propensity))
    share = np.bincount(d.action, minlength=d.n_actions) / len(d.y)
    base = np.log(np.maximum(share, 1e-12))
    deviation = _deviations(d, base, params, seed)
    rows = np.arange(len(d.y))

    def loss(temperature: float) -> float:
        return -float(log_softmax(base + temperature * deviation, axis=1)[rows, d.action].mean())

    found = minimize_scalar(loss, bounds=(0.0, 2.0), method="bounded", options={"xatol": 1e-3})
    temperature = float(found.x) if found.fun < loss(0.0) else 0.0
    p = softmax(base + temperature * deviation, axis=1)[rows, d.action]
    low = p < FLOOR
    facts = {
        "floored_rows": float(low.sum()),
        "floored_weight": float((1 / p[low] - 1 / FLOOR).sum() / (1 / p).sum()),
        "temperature": temperature,
        "log_loss_gain": loss(0.0) - loss(temperature),
    }
    p = np.maximum(p, FLOOR)
    return LoggingPropensities(p, True, facts | _support(p))


def _support(p: Floats) -> dict[str, float]:
    little = p < LITTLE
    return {
        "little_support_rows": float(little.sum()),
        "little_support_weight": float((1 / p[little]).sum() / (1 / p).sum()),
    }


def _deviations(d: Decisions, base: Floats, params: Mapping[str, object], seed: int) -> Floats:
    """Log-odds of each action beyond its share, each row's from a booster trained without its fold, shape (n, A)."""
    settings = {**params, **PROPENSITY, "num_class": d.n_actions, "boost_from_average": False}
    out = np.empty((len(d.y), d.n_actions))
    for k in np.unique(d.fold):
        held = d.fold == k
        booster: lgb.Booster = train_booster(
            d.X[~held],
            d.action[~held].astype(float),
            params=settings,
            categorical=d.categorical,
            num_boost_round=TREES,
            valid=(d.X[held], d.action[held].astype(float), None, np.tile(base, (int(held.sum()), 1)).ravel(order="F")),
            early_stopping=10,
            seed=seed,
            init_score=np.tile(base, (int((~held).sum()), 1)).ravel(order="F"),
        )
        out[held] = cast("Floats", booster.predict(d.X[held], raw_score=True))
    return out - out.mean(axis=1, keepdims=True)
