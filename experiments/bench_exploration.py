"""Are exploration's logged probabilities the frequencies, and does evaluation from them cover the truth? 200 cycles.

    python experiments/bench_exploration.py --cycles 200 --accounts 4000

Each cycle decides fresh accounts of the card world under the limits of the shipped strategy, with hold-out and exploration, from
values that are wrong by some noise. Outcomes are drawn from the known truth. Then the plan of the *next* cycle, made from other values
under the log's conditions, is valued on the log of this one, and held against what it is truly worth. Prints, by band of
probability, how often an action was done against how often it should have been, with its standard score (by customer); the share of
cycles whose 95 % interval covers the truth (the mean worth of all cycles' plans, for accounts like these), with the chance of that
share if coverage were 95 %; and limits broken, exploration drawn again.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats

from collectml.data import DecisionLog
from collectml.evaluation import evaluate_policy
from collectml.policy import Assignment, TreatmentPolicy, plan, price_actions, solve_assignment
from collectml.simulation import make_portfolio
from collectml.strategy import Strategy

# what is tested are probabilities and intervals; a plan within a thousandth of the best does as well, and faster
plan.solve_assignment = partial(solve_assignment, gap=1e-3, time_limit=120.0)

BANDS = (0.0, 0.005, 0.01, 0.02, 0.05, 0.2, 0.8, 0.95, 1.0)
CHUNK = 20
NOISE = 0.3


def strategy(weighting: str) -> Strategy:
    """Return the shipped card strategy with ten per cent held out and thirty explored."""
    shipped = Strategy.from_yaml("experiments/card_early_stage.yaml")
    return Strategy.model_validate(
        shipped.model_dump()
        | {
            "holdout": {"share": 0.1},
            "exploration": {"share": 0.3, "usage_share": 0.5, "weighting": weighting},
        }
    )


def cycles(many: int, accounts: int):
    """Yield (accounts, truth, truth_paid) of so many cycles, nobody in two of them."""
    for chunk in range(-(-many // CHUNK)):
        portfolio = make_portfolio(CHUNK * accounts, random_state=chunk)
        book = portfolio.accounts.assign(
            account_id=portfolio.accounts["account_id"] + chunk * 100_000_000,
            customer_id=portfolio.accounts["customer_id"] + chunk * 100_000_000,
        )
        for k in range(min(CHUNK, many - chunk * CHUNK)):
            part = slice(k * accounts, (k + 1) * accounts)
            own = book[part].reset_index(drop=True)
            index = pd.Index(own["account_id"])
            yield own, portfolio.truth[part].set_axis(index), portfolio.truth_paid[part].set_axis(index)


def assigned(spec: Strategy, book: pd.DataFrame, truth: pd.DataFrame, day: pd.Timestamp, rng) -> Assignment:
    """Assign from values that are the truth times some noise."""
    believed = truth * np.exp(NOISE * rng.normal(size=truth.shape))
    return TreatmentPolicy(spec).assign(price_actions(spec, believed), book, as_of=day)


def run(many: int, accounts: int, weighting: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return one row a cycle of evaluation, and residuals of actions by band of probability."""
    spec, rng = strategy(weighting), np.random.default_rng(0)
    names = list(spec.action_names)
    rows, bands = [], []
    for cycle, (book, truth, paid) in enumerate(cycles(many, accounts)):
        day = pd.Timestamp("2026-01-01") + pd.Timedelta(days=30 * cycle)
        done = assigned(spec, book, truth, day, rng)
        p = done.probabilities().to_numpy()
        at = pd.Index(names).get_indexer(pd.Index(done.frame()["action"]))
        row = np.arange(len(book))
        hit = np.zeros_like(p)
        hit[row, at] = 1.0
        band = np.digitize(p, BANDS[1:-1])
        for b in range(len(BANDS) - 1):
            inside = (band == b) & (p > 0)
            residual = pd.Series(((hit - p) * inside).sum(axis=1)).groupby(book["customer_id"]).sum()
            bands.append((b, int(inside.sum()), p[inside].sum(), hit[inside].sum(), residual.sum(), (residual**2).sum()))
        q, amount = paid.to_numpy()[row, at], truth.to_numpy()[row, at]
        came = rng.random(len(book)) < q
        frame = book.assign(
            decided_at=day, action=done.frame()["action"].to_numpy(), paid=came.astype(int),
            recovered=np.where(came, amount / np.maximum(q, 1e-9), 0.0), logging_propensity=p[row, at],
        )  # fmt: skip
        log = DecisionLog(frame, actions=names, customer_id="customer_id", features=["balance", "days_past_due"])
        # on the log's own day: conditions that have changed since would permit what the log never could do
        following = assigned(spec, book, truth, day, rng).probabilities()
        target = following.set_axis(log.X.index)
        believed = (truth * np.exp(NOISE * rng.normal(size=truth.shape))).set_axis(log.X.index)
        value = evaluate_policy(log, target, estimators=("ips", "dr"), outcome_model=believed).frame()
        worth = float((following.to_numpy() * truth.to_numpy()).sum(axis=1).mean())
        used = done.limits()
        broken = int((used["used"] > used["upper"] + 1e-9 * used["upper"].clip(lower=1)).sum())
        rows += [
            {
                "cycle": cycle,
                "estimator": v.estimator,
                "low": v.low,
                "high": v.high,
                "value": v.value,
                "se": v.se,
                "worth": worth,
                "broken": broken,
                "redrawn": done.counter,
                "breach bound": done.plan.breach_bound,
            }
            for v in value.itertuples()
        ]
        if (cycle + 1) % CHUNK == 0:  # a run of hours is not lost with its last cycle
            print(coverage(pd.DataFrame(rows)).to_string(float_format="{:.3f}".format), file=sys.stderr, flush=True)
    columns = ["band", "pairs", "expected", "observed", "residual", "variance"]
    return pd.DataFrame(rows), pd.DataFrame(bands, columns=columns)


def frequencies(bands: pd.DataFrame) -> pd.DataFrame:
    """Sum residuals over cycles by band: expected and observed counts, and the standard score of their difference."""
    table = bands.groupby("band").sum()
    table["probability"] = [f"{BANDS[b]:g}-{BANDS[b + 1]:g}" for b in table.index]
    # the spread is that of the draws themselves, which a handful does not tell
    enough = np.minimum(table["expected"], table["pairs"] - table["expected"]) >= 5
    table["z"] = (table["residual"] / np.sqrt(table["variance"].clip(lower=1e-12))).where(enough)
    return table[table["pairs"] > 0][["probability", "pairs", "expected", "observed", "z"]]


def coverage(table: pd.DataFrame) -> pd.DataFrame:
    """Return, by estimator, how often intervals covered the worth for accounts like these and for these very accounts.

    An interval is made for the first: it allows for other accounts having come. The mean over all cycles stands for it, and
    the p-value says how likely so many or so few would be covered if 95 % were. These very accounts are covered more often.
    """
    if table["se"].isna().all():
        return table.groupby("estimator").size().rename("refused").to_frame()
    told = table[table["se"].notna()]  # where an action has too little support the evaluation refuses, and says so
    like = told.drop_duplicates("cycle")["worth"].mean()
    told = told.assign(
        like=(told["low"] <= like) & (like <= told["high"]),
        these=(told["low"] <= told["worth"]) & (told["worth"] <= told["high"]),
        z=(told["value"] - told["worth"]) / told["se"],
        relative=told["se"] / told["worth"],
    )
    by = told.groupby("estimator")
    out = by.agg(cycles=("like", "size"), covered=("like", "mean"), these=("these", "mean"), mean_z=("z", "mean"))
    out["refused"] = table["se"].isna().groupby(table["estimator"]).sum()
    out["p of 95 %"] = [
        stats.binomtest(round(c * n), int(n), 0.95).pvalue for c, n in zip(out["covered"], out["cycles"], strict=True)
    ]
    out["se / value"] = by["relative"].mean()
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--accounts", type=int, default=2000)
    parser.add_argument("--weighting", nargs="+", default=["uniform", "value"])
    asked = parser.parse_args()
    for weighting in asked.weighting:
        table, bands = run(asked.cycles, asked.accounts, weighting)
        print(f"\n{weighting}")
        print(frequencies(bands).to_string(index=False, float_format="{:.2f}".format, na_rep=""))
        print(coverage(table).to_string(float_format="{:.3f}".format))
        print(
            f"limits broken {table['broken'].sum()}, exploration drawn again {table['redrawn'].sum()}, "
            f"largest breach bound {table['breach bound'].max():.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
