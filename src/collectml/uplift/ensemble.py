"""Several learners, weighted by how well they explain doubly robust scores, and taught to shared-action boosters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from .decisions import Decisions
from .hurdle import STUDENT, STUDENT_TREES, HurdleLearner
from .learner import Learner
from .learners import SLearner
from .propensities import logging_propensities
from .pseudo_outcomes import DRLearner
from .scores import score_arrays
from .shared_action import distil, predict_actions

__all__ = ["EnsembleLearner"]

Floats = NDArray[np.float64]

PRIOR_ROWS = 2_000.0
MEMBERS = ("hurdle", "s", "dr", "mean")


@dataclass
class EnsembleLearner(Learner):
    """The hurdle, an S-learner, a DR-learner and mean effects, mixed.

    Notes
    -----
    What is mixed are deviations from an account's mean over actions, as only these decide between actions; the level is the
    hurdle's. Weights, at least 0 and at most 1 in all, minimise the squared distance to doubly robust scores of the
    training rows, from predictions that have not seen them, rows weighted by the inverse square of the expected amount so that
    a few large accounts do not decide. They are drawn towards the hurdle alone as by a prior of 2,000 rows, which matters where
    the log says little; of fewer rows by the share that paid, as where everybody has an outcome nothing speaks for a hurdle. The
    mixture is then taught to one booster that all actions share; ``diagnostics_`` gives the weights and the share of the gain
    that teaching lost.

    References
    ----------
    van der Laan, Polley & Hubbard (2007), Super learner, Statistical Applications in Genetics and Molecular Biology 6; Nie &
    Wager (2021), Quasi-oracle estimation of heterogeneous treatment effects, Biometrika 108 (stacking by a causal loss).
    """

    hurdle_: HurdleLearner = field(init=False)

    def __post_init__(self) -> None:
        self.hurdle_ = HurdleLearner(self.trees, self.params, self.seed, self.threads)

    def state(self) -> dict[str, object]:
        """Return the hurdle's state beside the diagnostics."""
        return {**super().state(), "hurdle": self.hurdle_.state()}

    def restore(self, state: Mapping[str, object]) -> None:
        """Take in what :meth:`state` returned."""
        super().restore(state)
        self.hurdle_.restore(cast("Mapping[str, object]", state["hurdle"]))
        self.hurdle_.boosters_ = self.boosters_

    def fit(self, d: Decisions) -> Floats:
        """Learn, and return cross-fitted outcomes of the training rows."""
        propensities = logging_propensities(d, params=self.params, seed=self.seed)
        settings = (self.trees, self.params, self.seed, self.threads)
        members = [self.hurdle_, SLearner(*settings), DRLearner(*settings)]
        outcomes = [m.fit(d) for m in members]
        level = np.maximum(outcomes[0].mean(axis=1, keepdims=True), 1e-9)
        scores = score_arrays(outcomes[0], d.action, d.y, propensities.of_taken)
        means = scores.mean(axis=0)
        everyone = level / level.mean() * (means - means.mean())
        deviations = [o - o.mean(axis=1, keepdims=True) for o in outcomes] + [everyone]
        weight = _weights(scores - scores.mean(axis=1, keepdims=True), deviations, level, 1.0 - float(d.paid.mean()))
        mixed = np.sum([w * v for w, v in zip(weight, deviations, strict=True)], axis=0)
        self.boosters_ |= self.hurdle_.boosters_
        self.hurdle_.boosters_ = self.boosters_
        self.boosters_["mixed"] = distil(
            d.X,
            mixed / level,
            categorical=d.categorical,
            params={**STUDENT, "objective": "regression", **self.params, "num_threads": self.threads},
            trees=STUDENT_TREES,
            seed=self.seed,
        )
        self.diagnostics_ = {**self.hurdle_.diagnostics_, **propensities.facts}
        self.diagnostics_ |= {f"weight_{name}": float(w) for name, w in zip(MEMBERS, weight, strict=True)}
        self.diagnostics_["value_lost_share_of_gain"] = self._lost(d, level, mixed)
        return np.maximum(level + mixed, 0.0)

    def predict(self, X: Floats, n_actions: int) -> Floats:
        """Predict the expected outcome under every action."""
        level = self.hurdle_.predict(X, n_actions).mean(axis=1, keepdims=True)
        deviation = predict_actions(self.boosters_["mixed"], X, n_actions, threads=self.threads)
        deviation -= deviation.mean(axis=1, keepdims=True)
        return np.maximum(level * (1.0 + deviation), 0.0)

    def _lost(self, d: Decisions, level: Floats, mixed: Floats) -> float:
        """Share of what choosing per account gains that is lost by asking the student, on at most 20,000 rows."""
        rows = np.sort(np.random.default_rng(self.seed).permutation(len(d.y))[:20_000])
        value = level[rows] + mixed[rows]
        asked = self.predict(d.X[rows], d.n_actions).argmax(axis=1)
        gain = float((value.max(axis=1) - value.mean(axis=0).max()).mean())
        lost = float((value.max(axis=1) - value[np.arange(len(rows)), asked]).mean())
        return lost / gain if gain > 0 else 0.0


def _weights(target: Floats, deviations: list[Floats], level: Floats, unpaid: float) -> Floats:
    """Weights of at least 0, at most 1 in all, drawn towards the first member."""
    columns = np.stack([(v / level).ravel() for v in deviations], axis=1)
    gram, pull = columns.T @ columns, columns.T @ (target / level).ravel()
    prior = unpaid * PRIOR_ROWS * np.mean(np.diag(gram)) / len(level)
    first = np.zeros(len(deviations))
    first[0] = 1.0
    gram = gram + prior * np.eye(len(first))
    pull = pull + prior * first
    # non-negative least squares on the normal equations, by their Cholesky factor
    root = np.linalg.cholesky(gram + 1e-12 * np.trace(gram) * np.eye(len(first)))
    weight = nnls(root.T, np.linalg.solve(root, pull))[0]
    return np.asarray(weight / max(1.0, float(weight.sum())), dtype=np.float64)
