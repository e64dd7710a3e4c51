"""Relative errors of our estimators on Open Bandit Pipeline's synthetic set, beside those OBP publishes, in one run.

    python experiments/bench_obp.py --runs 20

The set as OBP defines it (its README's example: 10,000 rounds, 30 actions, 5 features, beta -3): binary rewards of logistic mean in
context, action and their product, standardised; logged by a softmax of the expected reward times beta, so that good actions are
rare. The evaluation policy is a softmax of a logistic regression learnt from another such log with weights reward / propensity; the outcome
model is a logistic regression of context and action, cross-fitted in three folds. Re-created from the published definition: draws
differ, so the figures are to be held against OBP's within their spread over runs (its standard deviations stand beside). Relative error is
``|estimate - truth| / truth``, the truth being the policy's expected reward on the same contexts.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression

from collectml.data import DecisionLog
from collectml.evaluation import evaluate_policy
from collectml.evaluation.outcome_models import customer_folds

PUBLISHED = {  # mean and standard deviation over 20 runs
    "dm": (0.074390, 0.024525),
    "ips": (0.009481, 0.006899),
    "snips": (0.006665, 0.004541),
    "dr": (0.006175, 0.004245),
    "sndr": (0.006118, 0.003997),
    "switch_dr": (0.006175, 0.004245),
    "dr_os": (0.021951, 0.013337),
}


def softmax(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


class Bandit:
    """The set: coefficients are drawn once, logs as often as asked."""

    def __init__(self, actions: int, features: int, beta: float, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.actions, self.beta = actions, beta
        self.of_context = self.rng.uniform(-1, 1, features)
        self.of_action = self.rng.uniform(-1, 1, actions)
        self.of_both = self.rng.uniform(-1, 1, (features, actions))
        self.features = features

    def log(self, rounds: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return context, expected reward (rounds, actions), action, reward, propensity."""
        x = self.rng.normal(size=(rounds, self.features))
        score = (x @ self.of_context)[:, None] + self.of_action + x @ self.of_both
        expected = 1 / (1 + np.exp(-(score - score.mean()) / score.std()))
        p = softmax(self.beta * expected)
        action = (self.rng.random(rounds)[:, None] > p.cumsum(axis=1)[:, :-1]).sum(axis=1)
        each = np.arange(rounds)
        reward = (self.rng.random(rounds) < expected[each, action]).astype(float)
        return x, expected, action, reward, p[each, action]


def one_run(seed: int, rounds: int, actions: int, features: int, beta: float) -> dict[str, float]:
    bandit = Bandit(actions, features, beta, seed)
    x, _, action, reward, p = bandit.log(rounds)
    policy_model = LogisticRegression(max_iter=1000).fit(x, action, sample_weight=reward / p)
    x, expected, action, reward, p = bandit.log(rounds)
    policy = np.zeros((rounds, actions))
    policy[:, policy_model.classes_] = softmax(policy_model.predict_proba(x))
    names = [f"a{i:02d}" for i in range(actions)]
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(features)]).assign(
        account_id=np.arange(rounds), decided_at=pd.Timestamp("2026-01-01"), recovered=reward,
        action=np.array(names, dtype=object)[action], logging_propensity=p,
    )  # fmt: skip
    log = DecisionLog(frame, actions=names, features=[f"x{i}" for i in range(features)], paid=None)
    fold, predicted = customer_folds(log, 3), np.empty((rounds, actions))
    eye = np.eye(actions)
    for k in range(3):
        train, test = fold != k, fold == k
        model = LogisticRegression(max_iter=1000).fit(np.hstack([x, eye[action]])[train], reward[train])
        base = x[test] @ model.coef_[0, :features] + model.intercept_[0]
        predicted[test] = 1 / (1 + np.exp(-(base[:, None] + model.coef_[0, features:])))
    as_frame = {"index": log.X.index, "columns": names}
    found = evaluate_policy(
        log, pd.DataFrame(policy, **as_frame), outcome_model=pd.DataFrame(predicted, **as_frame), estimators=tuple(PUBLISHED)
    ).frame()
    truth = float((policy * expected).sum(axis=1).mean())
    return dict(zip(found["estimator"], (found["value"] - truth).abs() / truth, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=10_000)
    parser.add_argument("--actions", type=int, default=30)
    parser.add_argument("--features", type=int, default=5)
    parser.add_argument("--beta", type=float, default=-3.0)
    asked = parser.parse_args()
    runs = [one_run(s, asked.rounds, asked.actions, asked.features, asked.beta) for s in range(asked.runs)]
    ours = pd.DataFrame(runs)
    table = pd.DataFrame(
        {
            "ours": ours.mean(),
            "ours sd": ours.std(),
            "OBP published": {e: m for e, (m, _) in PUBLISHED.items()},
            "OBP sd": {e: s for e, (_, s) in PUBLISHED.items()},
        }
    )
    table["ours / OBP"] = table["ours"] / table["OBP published"]
    print(f"relative error over {asked.runs} runs, {asked.rounds:,} rounds, {asked.actions} actions")
    print(table.loc[list(PUBLISHED)].to_string(float_format="{:.4f}".format))


if __name__ == "__main__":
    main()
