"""A bandit with known truth for the tests: zero-inflated lognormal money, customers with several accounts, known logging."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from collectml.evaluation import evaluate_policy

ACTIONS = ("no_action", "sms", "soft_call", "firm_call")


@dataclass
class Log:
    """A decision log reduced to what evaluation reads."""

    frame: pd.DataFrame
    features: tuple[str, ...] = ("x",)
    actions: tuple[str, ...] = ACTIONS

    def __len__(self):
        return len(self.frame)

    @property
    def X(self):  # noqa: N802 - as in DecisionLog
        return self.frame[list(self.features)]

    @property
    def logging_propensity(self):
        return self.frame.get("logging_propensity")

    @property
    def action(self):
        return self.frame["action"]

    @property
    def paid(self):
        return self.frame["paid"]

    @property
    def recovered(self):
        return self.frame["recovered"]

    @property
    def customer(self):
        return self.frame["customer_id"]

    @property
    def account(self):
        return self.frame["account_id"]


@dataclass
class World:
    """Accounts with one feature; calls work in the middle, and repel where x is high (not in the world without effects)."""

    confounded: bool = True
    clustered: bool = True
    effects: bool = True
    sigma: float = 0.8
    base_logit: float = -1.2
    together: bool = False
    """A customer's accounts share the dice: treated alike, as exploration does it, and paid together or not at all."""

    def features(self, n_customers: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        sizes = rng.integers(1, 4, n_customers) if self.clustered else np.ones(n_customers, int)
        customer = np.repeat(np.arange(n_customers), sizes)
        shared = 0.7 if self.clustered else 0.0
        x = shared * rng.normal(size=n_customers)[customer] + np.sqrt(1 - shared**2) * rng.normal(size=len(customer))
        frailty = (0.7 if self.clustered else 0.0) * rng.normal(size=n_customers)[customer]
        return customer, x, frailty

    def pay(self, x: np.ndarray, frailty: np.ndarray | float = 0.0) -> np.ndarray:
        lift = np.array([0.0, 0.3, 0.6, 0.5]) + np.outer(x, [0.0, 0.4, -0.4, 0.2])
        return 1 / (1 + np.exp(-(self.base_logit + 0.6 * x + frailty)[:, None] - self.effects * lift))

    def amount(self, x: np.ndarray) -> np.ndarray:
        return 100 * np.exp(0.3 * x)

    def expected(self, x: np.ndarray, frailty: np.ndarray | float = 0.0) -> np.ndarray:
        """Return the expected money of every action, (n, 4)."""
        return self.pay(x, frailty) * (self.amount(x) * np.exp(self.sigma**2 / 2))[:, None]

    def logging(self, x: np.ndarray) -> np.ndarray:
        if not self.confounded:
            return np.full((len(x), 4), 0.25)
        score = np.exp(np.outer(x, [-0.8, 0.4, 0.8, -0.4]))
        return 0.8 * score / score.sum(axis=1, keepdims=True) + 0.05

    @staticmethod
    def policy(x: np.ndarray) -> np.ndarray:
        """SMS where x is high, soft calls elsewhere, and a fifth spread evenly: depends on features alone."""
        chosen = np.where(x > 0, 1, 2)
        return 0.8 * (chosen[:, None] == np.arange(4)) + 0.05

    @staticmethod
    def baseline(x: np.ndarray) -> np.ndarray:
        """The mirror image of `policy`: as generous, differently aimed."""
        return World.policy(-x)

    def log(self, n_customers: int, seed: int) -> Log:
        rng = np.random.default_rng(seed)
        customer, x, frailty = self.features(n_customers, rng)
        n, each = len(x), np.arange(len(x))
        logging = self.logging(x)
        dice = customer if self.together else each
        action = (rng.random(n)[dice, None] > logging.cumsum(axis=1)[:, :-1]).sum(axis=1)
        paid = rng.random(n)[dice] < self.pay(x, frailty)[each, action]
        recovered = paid * self.amount(x) * np.exp(self.sigma * rng.normal(size=n)[dice])
        return Log(
            pd.DataFrame(
                {
                    "account_id": rng.permutation(n) + 1000,
                    "customer_id": customer,
                    "x": x,
                    "action": pd.Series(np.array(ACTIONS)[action], dtype="str"),
                    "paid": paid.astype(np.int8),
                    "recovered": recovered,
                    "logging_propensity": logging[each, action],
                }
            )
        )


def frame_of(probabilities: np.ndarray, log: Log) -> pd.DataFrame:
    return pd.DataFrame(probabilities, index=log.X.index, columns=list(ACTIONS))


def constant(action: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return the policy that gives everybody the same action."""
    return lambda x: np.tile(np.eye(4)[ACTIONS.index(action)], (len(x), 1))


def replications(
    world: World,
    n_customers: int,
    repeats: int,
    *,
    policy: Callable[[np.ndarray], np.ndarray] = World.policy,
    baseline: Callable[[np.ndarray], np.ndarray] = World.baseline,
    estimators: tuple[str, ...] = ("ips", "snips", "dr"),
    model: Callable[[np.ndarray], np.ndarray] | None = None,
    by_row: bool = False,
) -> pd.DataFrame:
    """Judge the two policies on many fresh logs; one row per log and estimator, beside the truth.

    `model` predicts the outcomes for DM and DR, by default from the truth at frailty zero; `by_row` mistakes every decision
    for a customer.
    """
    _, x, frailty = world.features(1_000_000, np.random.default_rng(12345))
    gap = ((policy(x) - baseline(x)) * world.expected(x, frailty)).sum(axis=1).mean()
    true_value = (policy(x) * world.expected(x, frailty)).sum(axis=1).mean()
    frames = []
    for seed in range(repeats):
        log = world.log(n_customers, seed)
        x = log.X["x"].to_numpy()
        if by_row:
            log.frame["customer_id"] = np.arange(len(log))
        value = evaluate_policy(
            log,
            frame_of(policy(x), log),
            baseline=frame_of(baseline(x), log),
            outcome_model=frame_of((model or world.expected)(x), log),
            estimators=estimators,
        )
        frames.append(value.frame())
    found = pd.concat(frames, ignore_index=True)
    found["truth"], found["true_difference"] = true_value, gap
    found["covered"] = found["truth"].between(found["low"], found["high"])
    found["difference_covered"] = found["true_difference"].between(found["difference_low"], found["difference_high"])
    return found
