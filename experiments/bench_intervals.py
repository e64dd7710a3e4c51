"""How many true effects of single accounts lie within their limits, and how many of what the features tell of them.

    python experiments/bench_intervals.py --decisions 50000 --worlds card charged_off --seeds 1 2 3

The simulator's accounts have traits that no feature shows: of two accounts alike in all that is known one is easier to reach. No
limits learnt from features can hold what such traits change; theirs is the mean effect over accounts that look alike. That mean is
a booster of the true effect, over the balance, trained on 200,000 other accounts. Prints, for each action, the share of 20,000
fresh accounts whose 95 % limits (``predict_interval``) hold the true effect, the share whose limits hold that mean, and how much
of the true effect's variance the mean leaves. Confounded logs; the default learner.
"""

from __future__ import annotations

import argparse

import pandas as pd
from bench_learners import decisions

from collectml.models._encoding import FeatureEncoder
from collectml.models._lightgbm import train_booster
from collectml.simulation import make_portfolio
from collectml.uplift import UpliftModel

FRESH, OTHERS = 20_000, 200_000
PARAMS = {"objective": "regression", "learning_rate": 0.05, "num_leaves": 63, "min_data_in_leaf": 50, "num_threads": 2}


def measure(n: int, *, world: str, seed: int) -> pd.DataFrame:
    """Return one row an action."""
    log, fresh, others = (
        decisions(make_portfolio(rows, world=world, logging="confounded", random_state=seed + shift))
        for rows, shift in ((n, 0), (FRESH, 100), (OTHERS, 500))
    )
    model = UpliftModel(random_state=seed, n_jobs=2).fit(
        log[0].X, log[0].recovered, action=log[0].action, paid=log[0].paid,
        logging_propensity=log[0].logging_propensity, customer=log[0].customer,
    )  # fmt: skip
    low, high = model.predict_interval(fresh[0].X)
    encoder = FeatureEncoder().fit(others[0].X)
    X, asked, owed = encoder.transform(others[0].X), encoder.transform(fresh[0].X), fresh[0].X["balance"].to_numpy()
    effects = [truth.sub(truth[model.control_], axis="index") for _, truth in (fresh, others)]
    rows = []
    for action in model.actions_:
        if action == model.control_:
            continue
        of_fresh, of_others = (effect[action].to_numpy() for effect in effects)
        booster = train_booster(
            X, of_others / others[0].X["balance"].to_numpy(), params=PARAMS, categorical=encoder.categorical_indices_,
            num_boost_round=400, seed=seed,
        )  # fmt: skip
        told = booster.predict(asked, num_threads=2) * owed
        within = [
            ((effect >= low[action].to_numpy()) & (effect <= high[action].to_numpy())).mean() for effect in (of_fresh, told)
        ]
        left = ((of_fresh - told) / owed).var() / (of_fresh / owed).var()
        rows.append(
            {"world": world, "seed": seed, "action": action, "holds truth": within[0], "holds what features tell": within[1],
             "variance left": left}
        )  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", type=int, default=50_000)
    parser.add_argument("--worlds", nargs="+", choices=["card", "charged_off"], default=["card", "charged_off"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    asked = parser.parse_args()
    frames = []
    for world in asked.worlds:
        for seed in asked.seeds:
            frames.append(measure(asked.decisions, world=world, seed=seed))
            print(frames[-1].to_string(index=False, float_format="{:.3f}".format), flush=True)
    mean = pd.concat(frames).groupby(["world", "seed"])[["holds truth", "holds what features tell", "variance left"]].mean()
    print(mean.to_string(float_format="{:.3f}".format))
    print(mean.groupby("world").mean().to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
