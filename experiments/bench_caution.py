"""What caution brings: promised against real gains, and money, when effects are estimated with errors of known size.

    python experiments/bench_caution.py --accounts 5000 --seeds 20

Each seed decides a simulated card portfolio under the limits of experiments/card_early_stage.yaml. Estimated effects are the true
ones plus normal errors; standard errors are given, a multiple of the spread of the action's true effects over accounts, equal
for all or (second block) unequal between accounts. Prints, over seeds with 95 % intervals: promised over real gain (1: promises
are kept), and the real gain over the control in money per account, less that of acting on the estimates as they are. The
simulated effects are far from normal, which is what the shrinkage assumes.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from collectml.policy import TreatmentPolicy, plan, price_actions, solve_assignment
from collectml.simulation import make_portfolio
from collectml.strategy import Strategy

plan.solve_assignment = partial(solve_assignment, gap=1e-4)

METHODS = {
    "as estimated": None,
    "lower bound, 0.5 errors": {"method": "lower_bound", "errors": 0.5},
    "lower bound, 1 error": {"method": "lower_bound", "errors": 1.0},
    "shrink": {"method": "shrink"},
}


def one(seed: int, accounts: int, size: float, unequal: float) -> dict[tuple[str, str], float]:
    """Return promised over real gain, and real gain per account, of each method on one portfolio."""
    portfolio, rng = make_portfolio(accounts, random_state=seed), np.random.default_rng(seed)
    shipped = Strategy.from_yaml("experiments/card_early_stage.yaml").without_randomisation()
    truth = portfolio.truth
    effects = truth.sub(truth["no_action"], axis="index")
    errors = size * effects.std().to_numpy() * rng.lognormal(-(unequal**2) / 2, unequal, (accounts, 1))
    errors = pd.DataFrame(np.broadcast_to(errors, effects.shape), effects.index, effects.columns)
    errors["no_action"] = 0.0
    estimate = truth + errors * rng.normal(size=truth.shape)
    out = {}
    for name, caution in METHODS.items():
        objective = shipped.objective.model_dump() | {"caution": caution}
        spec = Strategy.model_validate(shipped.model_dump() | {"objective": objective})
        priced = price_actions(spec, estimate, standard_errors=errors)
        planned = TreatmentPolicy(spec).assign(priced, portfolio.accounts, as_of=portfolio.as_of).planned()
        at, row = pd.Index(truth.columns).get_indexer(pd.Index(planned)), np.arange(accounts)
        costs = (priced.net - priced.recovered).to_numpy()
        charged = (costs[row, at] - costs[:, 0]).sum()
        promised = (priced.recovered.to_numpy()[row, at] - priced.recovered.to_numpy()[:, 0]).sum() + charged
        real = effects.to_numpy()[row, at].sum() + charged
        out[name, "promised / real"] = promised / real
        out[name, "real gain"] = real / accounts
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=5_000)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--size", type=float, default=1.0, help="standard error over the spread of true effects")
    asked = parser.parse_args()
    for unequal in (0.0, 0.8):
        table = pd.DataFrame([one(s, asked.accounts, asked.size, unequal) for s in range(1, asked.seeds + 1)])
        t = stats.t.ppf(0.975, len(table) - 1) if len(table) > 1 else np.nan
        rows = []
        for name in METHODS:
            ratio, gain = table[name, "promised / real"], table[name, "real gain"]
            more = gain - table["as estimated", "real gain"]
            rows.append(
                {
                    "method": name,
                    "promised/real": ratio.mean(),
                    "+-": t * ratio.sem(),
                    "real gain": gain.mean(),
                    "more money": more.mean(),
                    "+- ": t * more.sem(),
                    "more %": 100 * more.mean() / table["as estimated", "real gain"].mean(),
                }
            )
        print(f"\nstandard errors {asked.size:g} x spread, {'unequal' if unequal else 'equal'} between accounts")
        print(pd.DataFrame(rows).to_string(index=False, float_format="{:.3f}".format), flush=True)


if __name__ == "__main__":
    main()
