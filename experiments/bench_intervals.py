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
from bench_learners import allowed, decisions, fitted

from collectml.simulation import make_portfolio

FRESH, OTHERS = 20_000, 200_000
PARAMS = {"objective": "regression", "learning_rate": 0.05, "num_leaves": 63, "min_data_in_leaf": 50, "num_threads": 2}


def measure(n: int, *, world: str, seed: int) -> pd.DataFrame:
    """Return one row an action."""
    (log, _), (fresh, fresh_truth), (others, truth) = (
        decisions(make_portfolio(rows, world=world, logging="confounded", random_state=seed + shift))
        for rows, shift in ((n, 0), (FRESH, 100), (OTHERS, 500))
    )
    model = fitted(log, learner="hurdle", seed=seed)
    low, high = model.predict_interval(fresh.X)
    true, effects = (t.sub(t[model.control_], axis="index").drop(columns=model.control_) for t in (fresh_truth, truth))
    told = allowed(others, effects, fresh, seed=seed, params=PARAMS, trees=400)
    owed = fresh.X["balance"].to_numpy()
    rows = []
    for action in true.columns:
        of_truth, of_told = ((e[action].between(low[action], high[action])).mean() for e in (true, told))
        left = ((true[action] - told[action]) / owed).var() / (true[action] / owed).var()
        rows.append(
            {"world": world, "seed": seed, "action": action, "holds truth": of_truth, "holds what features tell": of_told,
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
