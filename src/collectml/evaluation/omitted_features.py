"""A yardstick for hidden confounding: how much each observed feature, left out, would have changed the odds of the actions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.evaluation._rows import EvaluationLog, action_codes
from collectml.evaluation.outcome_models import customer_folds

__all__ = ["omitted_feature_odds"]

TREES = 30
_RANDOM = "\0random"
_PARAMS = {"objective": "multiclass", "num_leaves": 5, "learning_rate": 0.1, "min_data_in_leaf": 100, "num_threads": 1}


def omitted_feature_odds(
    log: EvaluationLog,
    *,
    features: Sequence[str] | None = None,
    max_rows: int = 20_000,
    random_state: int = 0,
) -> pd.DataFrame:
    """Measure how far the odds of the logged action move when one observed feature is left out.

    Parameters
    ----------
    log : DecisionLog
    features : sequence of str, optional
        Those to leave out one at a time; all of the log's where not given.
    max_rows : int, default 20_000
        Whole customers are drawn up to about so many decisions: each feature costs two fits.
    random_state : int, default 0

    Returns
    -------
    DataFrame, one row per feature (index ``feature``), the strongest first
        ``median``, ``p95``: quantiles over decisions of the factor (at least 1) between the odds of the logged action with
        and without the feature, by cross-fitted models of the action. An unobserved factor about as strong as the
        feature, given the others, has a strength near ``p95``. ``noise_p95``: the same for a column of random numbers that
        the models were given too: what the noise of the fits alone looks like, the same for all features.

    References
    ----------
    Hsu and Small (2013), Calibrating sensitivity analyses to observed covariates in observational studies, Biometrics 69.

    Examples
    --------
    >>> from collectml.simulation import make_portfolio
    >>> from collectml.data import DecisionLog
    >>> portfolio = make_portfolio(1_500, logging="confounded", random_state=1)
    >>> log = DecisionLog(portfolio.decisions, actions=portfolio.actions)
    >>> odds = omitted_feature_odds(log, features=["days_past_due", "balance"])
    >>> bool((odds["p95"] >= odds["median"]).all()), bool((odds["median"] >= 1).all())
    (True, True)
    """
    from collectml.models._encoding import FeatureEncoder

    wanted = list(log.X.columns) if features is None else list(features)
    if strangers := [f for f in wanted if f not in log.X.columns]:
        raise ValueError(f"no features of the log: {strangers}; it has {list(log.X.columns)}")
    share = min(1.0, max_rows / max(len(log), 1))
    # 64 parts of the customers by a hash, whole parts kept: the same rows whatever the order of the log
    parts = customer_folds(log, 64)
    rows = np.flatnonzero(parts < max(2, round(64 * share)))
    action = action_codes(log)[rows]
    fold = parts[rows] % 2
    encoder = FeatureEncoder()
    X = encoder.fit_transform(log.X.iloc[rows])
    categorical = list(encoder.categorical_indices_)
    X = np.column_stack([X, np.random.default_rng(random_state).random(len(X))])
    full = _log_odds(X, action, fold, categorical, random_state)
    found = []
    for name in [*wanted, _RANDOM]:
        without = X.copy()
        at = X.shape[1] - 1 if name == _RANDOM else encoder.columns_.index(name)
        without[:, at] = np.nan  # a constant column is never split on; all else stays as it was
        factor = np.exp(np.abs(_log_odds(without, action, fold, categorical, random_state) - full))
        found.append((name, float(np.median(factor)), float(np.quantile(factor, 0.95))))
    frame = pd.DataFrame(found, columns=["feature", "median", "p95"]).set_index("feature")
    frame["noise_p95"] = found[-1][2]
    return frame.drop(index=_RANDOM).sort_values("p95", ascending=False, kind="stable")


def _log_odds(
    X: NDArray[np.float64], action: NDArray[np.intp], fold: NDArray[np.intp], categorical: list[int], seed: int
) -> NDArray[np.float64]:
    """Return the cross-fitted log-odds of each logged action against all others."""
    from collectml.models._lightgbm import train_booster

    known, codes = np.unique(action, return_inverse=True)
    out = np.empty(len(action))
    for k in (0, 1):
        train, test = fold != k, fold == k
        params = {**_PARAMS, "num_class": len(known)}
        usable = [j for j in categorical if np.isfinite(X[:, j]).any()]
        booster = train_booster(X[train], codes[train], params=params, categorical=usable, num_boost_round=TREES, seed=seed)
        p = np.asarray(booster.predict(X[test]))[np.arange(int(test.sum())), codes[test]]
        p = np.clip(p, 1e-6, 1 - 1e-6)
        out[test] = np.log(p / (1 - p))
    return out
