"""What a nominal 95 % interval covers, over thousands of simulated logs, for fixed and for constrained policies.

    python experiments/bench_coverage.py --logs 2000 --customers 400

Worlds: light and heavy amounts (lognormal, sigma 0.5 and 1.5), customers of one to three accounts that share their dice and
their luck, and a world in which no action changes anything. The log is confounded with known propensities. The fixed policy is
judged against its mirror image by `evaluate_policy` with an outcome model that is wrong (predictions two thirds of the truth, and
a curve that is not there). The constrained policy is the price rule on equally wrong values under two binding limits, judged by
`evaluate_strategy`, prices solved again on each log; its true value is that of the same price rule on 1,000,000 fresh accounts.

Prints for each estimator the share of logs whose interval holds the true value, and the true difference (from the mirror image;
from what was done); the share of intervals flagged as unreliable, coverage of the rest; under no effect the share of logs in
which a difference is claimed. With `--half-samples N` the constrained policies' errors come from half-samples.
One thread, one to two minutes a world at 2,000 logs of 400 customers.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd

from collectml.data import DecisionLog
from collectml.evaluation import evaluate_policy, evaluate_strategy
from collectml.evaluation._lines import estimate_line, with_difference
from collectml.evaluation._price_policy import PricePolicy
from collectml.evaluation._scores import LogRows, PolicyScores
from collectml.evaluation.intervals import Ratio
from collectml.policy import solve_assignment
from collectml.strategy import Strategy

ACTIONS = ["no_action", "sms", "soft_call", "firm_call"]
ESTIMATORS = ("ips", "snips", "dr", "sndr")
CALLS, TEXTS = 250.0, 300.0  # per 1,000 decisions
FRESH = 1_000_000


@dataclass(frozen=True)
class World:
    """Accounts with one feature; calls work in the middle, texts where x is high."""

    sigma: float = 0.5
    effects: bool = True
    clustered: bool = False

    def accounts(self, customers: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return customer, feature and a customer's luck."""
        sizes = rng.integers(1, 4, customers) if self.clustered else np.ones(customers, dtype=int)
        customer = np.repeat(np.arange(customers), sizes)
        shared = 0.7 if self.clustered else 0.0
        x = shared * rng.normal(size=customers)[customer] + np.sqrt(1 - shared**2) * rng.normal(size=len(customer))
        return customer, x, shared * rng.normal(size=customers)[customer]

    def expected(self, x: np.ndarray, luck: np.ndarray) -> np.ndarray:
        """Return the expected money of every action, (n, 4)."""
        lift = np.array([0.0, 0.4, 0.9, 0.8]) + np.outer(x, [0.0, 0.5, -0.5, 0.3])
        pay = 1 / (1 + np.exp(-(-1.2 + 0.6 * x + luck)[:, None] - self.effects * lift))
        return pay * (100 * np.exp(0.3 * x + self.sigma**2 / 2))[:, None]

    def believed(self, x: np.ndarray) -> np.ndarray:
        """Return what an imperfect model would say: two thirds of the truth, and a curve that is not there."""
        truth = World(self.sigma).expected(x, np.zeros(len(x)))  # it believes in effects where there are none, too
        return 0.67 * truth + np.outer(6 * np.cos(2 * x), [0.5, -1.0, 1.0, 0.0])

    def draw(self, customers: int, seed: int) -> pd.DataFrame:
        """Draw a log."""
        rng = np.random.default_rng(seed)
        customer, x, luck = self.accounts(customers, rng)
        n, each = len(x), np.arange(len(x))
        p = self.logging(x)
        dice = customer if self.clustered else each
        action = (rng.random(n)[dice, None] > p.cumsum(axis=1)[:, :-1]).sum(axis=1)
        amount = 100 * np.exp(0.3 * x + self.sigma * rng.normal(size=n)[dice])
        chance = self.expected(x, luck)[each, action] / (100 * np.exp(0.3 * x + self.sigma**2 / 2))
        recovered = np.where(rng.random(n)[dice] < chance, amount, 0.0)
        return pd.DataFrame(
            {
                "customer_id": customer,
                "x": x,
                "action": action,
                "recovered": recovered,
                "logging_propensity": p[each, action],
            }
        )

    def logging(self, x: np.ndarray) -> np.ndarray:
        """Return the logging probabilities."""
        score = np.exp(np.outer(x, [-0.6, 0.3, 0.6, -0.3]))
        return 0.7 * score / score.sum(axis=1, keepdims=True) + 0.075


def fixed(x: np.ndarray) -> np.ndarray:
    """Text where x is high, call softly elsewhere, and a fifth spread evenly."""
    return 0.8 * (np.where(x > 0, 1, 2)[:, None] == np.arange(4)) + 0.05


def strategy(world: World) -> Strategy:
    calls = {"name": "calls", "kind": "capacity", "channels": ["call"], "upper": CALLS, "per": "1000_accounts"}
    texts = {"name": "texts", "kind": "capacity", "channels": ["sms"], "upper": TEXTS, "per": "1000_accounts"}
    channels = [None, "sms", "call", "call"]
    return Strategy.model_validate(
        {
            "name": "coverage", "currency": "USD", "min_logged": 1, "one_contact_per_customer": world.clustered,
            "actions": [{"name": a, "channel": c} for a, c in zip(ACTIONS, channels, strict=True)],
            "limits": [calls, texts],
        }
    )  # fmt: skip


def truths(world: World) -> dict[str, float]:
    """Return the true values on fresh accounts: the fixed policy, its mirror image, the price rule, what was done."""
    customer, x, luck = world.accounts(FRESH if not world.clustered else FRESH // 2, np.random.default_rng(2026))
    expected, n = world.expected(x, luck), len(x)
    contact = np.array([False, True, True, True])
    rule = solve_assignment(
        world.believed(x), usage=[np.array([0.0, 0, 1, 1]), np.array([0.0, 1, 0, 0])],
        upper=[CALLS / 1000 * n, TEXTS / 1000 * n],
        customer=customer if world.clustered else None, contact=contact if world.clustered else None,
        gap=1e-4, time_limit=300,
    )  # fmt: skip
    return {
        "fixed": float((fixed(x) * expected).sum(axis=1).mean()),
        "mirror": float((fixed(-x) * expected).sum(axis=1).mean()),
        "rule": float(expected[np.arange(n), rule.action].mean()),
        "logged": float((world.logging(x) * expected).sum(axis=1).mean()),
    }


def replicate(world: World, truth: dict[str, float], seeds: range, customers: int, half_samples: int) -> pd.DataFrame:
    """Return one row per log, policy and estimator."""
    lines = []
    for seed in seeds:
        drawn = world.draw(customers, seed)
        if half_samples:
            found = by_the_public_functions(world, drawn, seed, half_samples)
        else:
            found = by_their_parts(world, drawn)
            if seed == seeds[0]:  # the shortcut must be what it is short for
                public = by_the_public_functions(world, drawn, seed, 0)
                for one, other in zip(found, public, strict=True):
                    for column in ("value", "low", "high", "difference_low", "difference_high"):
                        assert np.isclose(one[column], other[column], rtol=1e-9), (one, other)
        lines += found
    table = pd.DataFrame(lines)
    rule = table["policy"] == "constrained"
    table["true"] = np.where(rule, truth["rule"], truth["fixed"])
    table["gap"] = np.where(rule, truth["rule"] - truth["logged"], truth["fixed"] - truth["mirror"])
    return table


def by_their_parts(world: World, drawn: pd.DataFrame) -> list[dict[str, object]]:
    """Judge both policies by what `evaluate_policy` and `evaluate_strategy` are made of, without reading frames each time."""
    x, n = drawn["x"].to_numpy(), len(drawn)
    customer = drawn["customer_id"].to_numpy()
    y = drawn["recovered"].to_numpy()
    rows = LogRows(y, drawn["action"].to_numpy(), drawn["logging_propensity"].to_numpy(), customer, customer.max() + 1)
    believed = world.believed(x)
    calls, texts = np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.0, 1.0, 0.0, 0.0])
    rule = PricePolicy(
        net=believed, eligible=np.ones((n, 4), dtype=bool), usage=(calls, texts),
        upper=np.tile([CALLS / 1000, TEXTS / 1000], (n, 1)), lower=np.full((n, 2), -np.inf), fixed=np.full(n, -1),
        customer=customer, contact=np.array([False, True, True, True]) if world.clustered else None,
        tie=np.arange(n, dtype=np.uint64), limits=("calls", "texts"),
    )  # fmt: skip
    action, prices = rule.solve()
    priced = rows.mean(rule.excess(action, prices))
    matrices = {"fixed": fixed(x), "mirror": fixed(-x), "rule": np.eye(4)[action]}
    sides = {name: PolicyScores(name, m, tuple(ACTIONS), rows, believed, own_model=False) for name, m in matrices.items()}
    lines: list[dict[str, object]] = []
    for estimator in ESTIMATORS:
        estimate = sides["fixed"].ratio(estimator)
        line = estimate_line(sides["fixed"], estimator, estimate, 0.95)
        lines.append(with_difference(line, estimate, sides["mirror"].ratio(estimator), 0.95) | {"policy": "fixed"})
    for estimator in ESTIMATORS:
        score = sides["rule"].ratio(estimator)
        assert not isinstance(score, str)
        estimate = Ratio(score.value - priced.value, score.influence - priced.influence)
        line = estimate_line(sides["rule"], estimator, estimate, 0.95)
        lines.append(with_difference(line, estimate, rows.mean(y), 0.95) | {"policy": "constrained"})
    return lines


def by_the_public_functions(world: World, drawn: pd.DataFrame, seed: int, half_samples: int) -> list[dict[str, object]]:
    """Judge both policies by `evaluate_policy` and `evaluate_strategy`."""
    x = drawn["x"].to_numpy()
    frame = drawn.assign(
        account_id=np.arange(len(x)),
        decided_at=pd.Timestamp("2026-01-01"),
        action=np.array(ACTIONS, dtype=object)[drawn["action"]],
    )
    log = DecisionLog(frame, actions=ACTIONS, features=["x"], paid=None)
    as_frame = {"index": log.X.index, "columns": ACTIONS}
    values = pd.DataFrame(world.believed(x), **as_frame)
    one = evaluate_policy(
        log, pd.DataFrame(fixed(x), **as_frame), baseline=pd.DataFrame(fixed(-x), **as_frame), outcome_model=values,
        estimators=ESTIMATORS,
    ).frame()  # fmt: skip
    errors = {"errors": "half_samples", "half_samples": half_samples} if half_samples else {}
    two = evaluate_strategy(log, strategy(world), values=values, estimators=ESTIMATORS, random_state=seed, **errors).frame()
    return one.assign(policy="fixed").to_dict("records") + two.assign(policy="constrained").to_dict("records")


def summary(found: pd.DataFrame) -> pd.DataFrame:
    """Return coverage and flags, a row per policy and estimator."""
    found = found.assign(
        covered=found["true"].between(found["low"], found["high"]),
        difference_covered=found["gap"].between(found["difference_low"], found["difference_high"]),
        claimed=(found["difference_low"] > 0) | (found["difference_high"] < 0),
        flagged=~found["reliable"],
        error=found["value"] - found["true"],
    )
    rows = []
    for (policy, estimator), part in found.groupby(["policy", "estimator"], sort=False):
        rest = part[part["reliable"]]
        rows.append(
            {
                "policy": policy,
                "estimator": estimator,
                "value covered": part["covered"].mean(),
                "flagged": part["flagged"].mean(),
                "covered, not flagged": rest["covered"].mean() if len(rest) else np.nan,
                "difference covered": part["difference_covered"].mean(),
                "difference claimed": part["claimed"].mean(),
                "bias / sd": part["error"].mean() / part["error"].std(),
                "se / sd": part["se"].mean() / part["error"].std(),
            }
        )
    return pd.DataFrame(rows)


WORLDS = {
    "light": World(sigma=0.5),
    "heavy": World(sigma=1.5),
    "clustered": World(clustered=True),
    "no effect": World(effects=False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=int, default=2000)
    parser.add_argument("--customers", type=int, default=400)
    parser.add_argument("--worlds", nargs="+", choices=list(WORLDS), default=list(WORLDS))
    parser.add_argument("--half-samples", type=int, default=0)
    asked = parser.parse_args()
    print(f"{asked.logs:,} logs of {asked.customers:,} customers; a Monte Carlo error of 95 % is "
          f"{np.sqrt(0.95 * 0.05 / asked.logs):.2%}")  # fmt: skip
    for name in asked.worlds:
        start = time.perf_counter()
        table = summary(
            replicate(WORLDS[name], truths(WORLDS[name]), range(asked.logs), asked.customers, asked.half_samples)
        )
        print(f"\n{name} ({time.perf_counter() - start:.0f} s)")
        print(table.to_string(index=False, float_format="{:.3f}".format), flush=True)


if __name__ == "__main__":
    main()
