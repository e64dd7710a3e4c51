"""The constrained policy against a competent manager's rules and the oracle, on simulated portfolios with known truth.

    python experiments/bench_strategy.py --decisions 100000 --accounts 20000 --seeds 20

Each seed trains the default learner on the randomised log of one portfolio and decides another one under every
limit and condition of experiments/card_early_stage.yaml. The rules (experiments/manager_rules.yaml) and the oracle, which knows the
truth, are held to the same limits, conditions and one contact per customer. Worth is the true net: recovered, less true costs, less
true complaints at the strategy's price, of all accounts, those who pay unasked too. Prints a row a seed, then means with 95 %
intervals over seeds (Student's t): gain of policy and oracle over the rules, regret of the policy against the oracle, the share of
the oracle's gain that is captured, and what the policy promised beyond what it brought (the optimiser's curse). The same
with caution, from the model's own standard errors: promised over real, and the gain over the rules beyond that without caution.
"slope" is what a true effect differs by, from account to account of an action, where its estimate differs by 1: below 1 estimates
stray too far and want shrinking, at 1 they have been drawn in already.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from bench_learners import fitted
from scipy import stats

from collectml.data import DecisionLog
from collectml.policy import PricedActions, TreatmentPolicy, price_actions
from collectml.simulation import Portfolio, make_portfolio
from collectml.strategy import Caution, Rules, Strategy
from collectml.uplift import UpliftModel

STRATEGY = "experiments/card_early_stage.yaml"
RULES = "experiments/manager_rules.yaml"
CAUTION = {"shrink": Caution(method="shrink"), "lower bound": Caution(method="lower_bound", errors=1.0)}


def net_truth(p: Portfolio, spec: Strategy) -> pd.DataFrame:
    """Return the true net value of every action."""
    worth = p.truth * spec.objective.value_of_recovered - p.truth_cost
    return (worth - spec.objective.cost_of_complaint * p.truth_complaints)[list(spec.action_names)]


def learnt(p: Portfolio, seed: int, learner: str) -> tuple[UpliftModel, list[str]]:
    """Train on the log of one portfolio; return the model and its features."""
    log = DecisionLog(p.decisions, actions=p.actions, customer_id="customer_id")
    return fitted(log, learner=learner, seed=seed, threads=1), list(log.X.columns)


def compare(seed: int, decisions: int, accounts: int, learner: str) -> dict[str, float]:
    """Return what rules, policy and oracle are truly worth on one portfolio."""
    spec = Strategy.from_yaml(STRATEGY).without_randomisation()
    past, fresh = make_portfolio(decisions, random_state=seed), make_portfolio(accounts, random_state=10_000 + seed)
    book = fresh.accounts
    truth, row = net_truth(fresh, spec), np.arange(accounts)
    start = time.perf_counter()
    model, features = learnt(past, seed, learner)
    X = book[features].set_axis(pd.Index(book["account_id"]))
    expected = model.predict(X)
    seconds = time.perf_counter() - start
    priced = price_actions(spec, expected)
    quantities = {k: f.to_numpy(dtype=float) for k, f in priced.quantities().items()}
    rules = Rules.from_yaml(RULES).assign(spec, book, quantities=quantities)
    # the oracle's values are the truth; its usage is counted as everybody's
    known = type(priced)(truth, fresh.truth, priced.cost, priced.minutes, priced.complaints)
    oracle = TreatmentPolicy(spec).assign(known, book, as_of=fresh.as_of).planned()

    def worth(actions: pd.Series) -> float:
        return float(truth.to_numpy()[row, pd.Index(truth.columns).get_indexer(pd.Index(actions))].sum())

    def kept(prices: PricedActions, actions: pd.Series) -> float:
        """Return what actions are expected to recover beyond none, over what they do."""
        at = pd.Index(truth.columns).get_indexer(pd.Index(actions))
        promised, real = (f.to_numpy()[row, at] - f.to_numpy()[:, 0] for f in (prices.recovered, fresh.truth))
        return float(promised.sum() / real.sum())

    def slope(prices: PricedActions) -> float:
        """Return the slope of true effects on those expected, within actions."""
        told, true = (
            f.sub(f["no_action"], axis=0).to_numpy() for f in (prices.recovered, fresh.truth[list(spec.action_names)])
        )
        told, true = told - told.mean(axis=0), true - true.mean(axis=0)
        return float((told * true).sum() / (told**2).sum())

    assignment = TreatmentPolicy(spec).assign(priced, book, as_of=fresh.as_of)
    planned = assignment.planned()
    base, ours, best, nothing = worth(rules), worth(planned), worth(oracle), float(truth["no_action"].sum())
    found = {
        "seed": seed,
        "nothing %": 100 * (nothing / base - 1),
        "gain %": 100 * (ours / base - 1),
        "oracle %": 100 * (best / base - 1),
        "regret %": 100 * (best - ours) / best,
        "captured": (ours - base) / (best - base),
        "gain per account": (ours - base) / accounts,
        "promised/real": kept(priced, planned),
        "slope": slope(priced),
        "gap": assignment.plan.solution.gap,
        "seconds": seconds,
    }
    errors = model.predict_error(X) if learner in ("hurdle", "ensemble") else None
    for name, caution in CAUTION.items() if errors is not None else ():
        careful = spec.model_copy(update={"objective": spec.objective.model_copy(update={"caution": caution})})
        prices = price_actions(careful, expected, standard_errors=errors)
        actions = TreatmentPolicy(careful).assign(prices, book, as_of=fresh.as_of).planned()
        more = 100 * (worth(actions) - ours) / base
        found |= {f"{name}: promised/real": kept(prices, actions), f"{name}: slope": slope(prices), f"{name}: more %": more}
    return found


def intervals(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean and 95 % interval over seeds of each column."""
    columns = table.columns.drop("seed")
    mean, half = table[columns].mean(), table[columns].sem() * stats.t.ppf(0.975, len(table) - 1)
    return pd.DataFrame({"mean": mean, "low": mean - half, "high": mean + half, "least": table[columns].min()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", type=int, default=100_000, help="logged decisions to train on")
    parser.add_argument("--accounts", type=int, default=20_000, help="accounts to decide")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--learner", default="hurdle")
    asked = parser.parse_args()
    rows = []
    for seed in range(asked.first, asked.first + asked.seeds):
        rows.append(compare(seed, asked.decisions, asked.accounts, asked.learner))
        print("  ".join(f"{k} {v:.3g}" for k, v in rows[-1].items()), flush=True)
    if len(rows) > 1:
        print(intervals(pd.DataFrame(rows)).to_string(float_format="{:.2f}".format))


if __name__ == "__main__":
    main()
