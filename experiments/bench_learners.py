"""How much of the oracle's gain each learner's greedy policy captures, beside what the same features allow, in one run.

    python experiments/bench_learners.py --decisions 100000 --logging randomised --seeds 1 2

The oracle gives every account its truly best action; its gain is counted over the best single action for all. A policy is worth
the true outcome of the action it ranks first, on 50,000 fresh accounts. "Features allow" is the same booster trained on the truth
itself: what cannot be told from the features, no learner can capture. Prints shares and seconds; two threads.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping

import numpy as np
import pandas as pd

from collectml.data import DecisionLog
from collectml.models._encoding import FeatureEncoder
from collectml.models._lightgbm import train_booster
from collectml.simulation import Portfolio, make_portfolio
from collectml.uplift import UpliftModel

FRESH = 50_000
TOLD = {"objective": "regression", "learning_rate": 0.05, "num_leaves": 31, "min_child_samples": 30, "num_threads": 2}


def captured(values: pd.DataFrame, truth: pd.DataFrame) -> float:
    """Return the share of the oracle's gain over the best single action that acting on `values` captures."""
    at = values[truth.columns].to_numpy().argmax(axis=1)
    single = truth.mean().max()
    worth = truth.to_numpy()[np.arange(len(truth)), at].mean()
    return float((worth - single) / (truth.to_numpy().max(axis=1).mean() - single))


def allowed(
    train: DecisionLog,
    truth: pd.DataFrame,
    fresh: DecisionLog,
    *,
    seed: int,
    params: Mapping[str, object] = TOLD,
    trees: int = 300,
) -> pd.DataFrame:
    """Return true values as far as the features tell them: a booster a column, fitted to the truth over the balance."""
    encoder = FeatureEncoder().fit(train.X)
    X, X_fresh = encoder.transform(train.X), encoder.transform(fresh.X)
    owed, owed_fresh = train.X["balance"].to_numpy(), fresh.X["balance"].to_numpy()
    columns = {}
    for action in truth.columns:
        booster = train_booster(
            X, truth[action].to_numpy() / owed, params=params, categorical=encoder.categorical_indices_,
            num_boost_round=trees, seed=seed,
        )  # fmt: skip
        columns[action] = booster.predict(X_fresh, num_threads=2) * owed_fresh
    return pd.DataFrame(columns)


def decisions(portfolio: Portfolio) -> tuple[DecisionLog, pd.DataFrame]:
    """Return the log of a portfolio, and the truth of each of its decisions."""
    log = DecisionLog(portfolio.decisions, actions=list(portfolio.truth.columns))
    return log, portfolio.truth.loc[log.account].reset_index(drop=True)


def fitted(log: DecisionLog, *, learner: str, seed: int, threads: int = 2) -> UpliftModel:
    """Return a learner fitted to a log."""
    return UpliftModel(learner, random_state=seed, n_jobs=threads).fit(
        log.X, log.recovered, action=log.action, paid=log.paid, logging_propensity=log.logging_propensity,
        customer=log.customer,
    )  # fmt: skip


def measure(n: int, *, world: str, logging: str, seed: int, learners: list[str]) -> pd.DataFrame:
    """Return one row a learner: share captured, share of what the features allow, seconds to fit."""
    log, truth = decisions(make_portfolio(n, world=world, logging=logging, random_state=seed))
    fresh, fresh_truth = decisions(make_portfolio(FRESH, world=world, logging=logging, random_state=seed + 100))
    most = captured(allowed(log, truth, fresh, seed=seed), fresh_truth)
    rows = []
    for learner in learners:
        start = time.perf_counter()
        model = fitted(log, learner=learner, seed=seed)
        seconds = time.perf_counter() - start
        share = captured(model.predict(fresh.X), fresh_truth)
        rows.append(
            {"seed": seed, "learner": learner, "captured": share, "features allow": most, "of allowed": share / most,
             "fit seconds": seconds}
        )  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", type=int, default=100_000)
    parser.add_argument("--world", choices=["card", "charged_off"], default="card")
    parser.add_argument("--logging", choices=["randomised", "confounded"], default="randomised")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--learners", nargs="+", default=["hurdle", "s", "t"])
    asked = parser.parse_args()
    frames = []
    for seed in asked.seeds:
        table = measure(asked.decisions, world=asked.world, logging=asked.logging, seed=seed, learners=asked.learners)
        print(table.to_string(index=False, float_format="{:.3f}".format), flush=True)
        frames.append(table)
    if len(frames) > 1:
        mean = pd.concat(frames).groupby("learner", sort=False)[["captured", "of allowed", "fit seconds"]].mean()
        print(mean.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
