"""Learners to compare with: one booster for all actions, or one for each, fitted straight to the outcome."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from collectml.models._lightgbm import train_booster

from .decisions import Decisions
from .learner import Learner
from .shared_action import cross_fit_shared, predict_actions, train_shared

__all__ = ["SLearner", "TLearner"]

Floats = NDArray[np.float64]

DIRECT = {"num_leaves": 31, "learning_rate": 0.05, "min_data_in_leaf": 30}
FEWEST_ROWS = 40


class _DirectLearner(Learner):
    """What both learners share: the outcome is the target."""

    def _settings(self, d: Decisions) -> dict[str, object]:
        objective = "binary" if d.binary else "regression"
        return {**DIRECT, **self.params, "num_threads": self.threads, "objective": objective}


class SLearner(_DirectLearner):
    """One booster of the outcome, the action a feature like any other.

    References
    ----------
    Kunzel, Sekhon, Bickel & Yu (2019), Metalearners for estimating heterogeneous treatment effects, PNAS (S-learner).
    """

    def fit(self, d: Decisions) -> Floats:
        """Learn, and return cross-fitted outcomes of the training rows."""
        settings = self._settings(d)
        out, trees = cross_fit_shared(
            d.X,
            d.action,
            d.y,
            d.fold,
            n_actions=d.n_actions,
            categorical=d.categorical,
            params=settings,
            trees=self.trees,
            seed=self.seed,
        )
        self.boosters_["outcome"] = train_shared(
            d.X, d.action, d.y, categorical=d.categorical, params=settings, trees=trees, seed=self.seed
        )
        return out

    def predict(self, X: Floats, n_actions: int) -> Floats:
        """Predict the expected outcome under every action."""
        return predict_actions(self.boosters_["outcome"], X, n_actions, threads=self.threads)


class TLearner(_DirectLearner):
    """One booster of the outcome for each action, each from its own rows alone; a mean where they are too few.

    References
    ----------
    Kunzel, Sekhon, Bickel & Yu (2019), Metalearners for estimating heterogeneous treatment effects, PNAS (T-learner).
    """

    means_: list[float]

    def state(self) -> dict[str, object]:
        """Return the arms' means beside the diagnostics."""
        return {**super().state(), "means": self.means_}

    def restore(self, state: Mapping[str, object]) -> None:
        """Take in what :meth:`state` returned."""
        super().restore(state)
        self.means_ = cast("list[float]", state["means"])

    def fit(self, d: Decisions) -> Floats:
        """Learn, and return cross-fitted outcomes of the training rows."""
        settings = self._settings(d)
        out, self.means_ = np.empty((len(d.y), d.n_actions)), []
        for a in range(d.n_actions):
            own = d.action == a
            self.means_.append(float(d.y[own].mean()) if own.any() else float(d.y.mean()))
            out[:, a] = self.means_[a]
            by_fold: dict[int, lgb.Booster] = {}
            for k in np.unique(d.fold):
                held = d.fold == k
                train, valid = own & ~held, own & held
                if min(train.sum(), valid.sum()) >= FEWEST_ROWS:
                    by_fold[int(k)] = train_booster(
                        d.X[train],
                        d.y[train],
                        params=settings,
                        categorical=d.categorical,
                        num_boost_round=self.trees,
                        valid=(d.X[valid], d.y[valid]),
                        early_stopping=50,
                        seed=self.seed,
                    )
            if not by_fold:
                continue
            trees = max(1, round(float(np.mean([b.best_iteration for b in by_fold.values()]))))
            for k, booster in by_fold.items():
                held = d.fold == k
                out[held, a] = cast("Floats", booster.predict(d.X[held], num_threads=self.threads, num_iteration=trees))
            self.boosters_[str(a)] = train_booster(
                d.X[own], d.y[own], params=settings, categorical=d.categorical, num_boost_round=trees, seed=self.seed
            )
        return out

    def predict(self, X: Floats, n_actions: int) -> Floats:
        """Predict the expected outcome under every action."""
        out = np.tile(self.means_, (len(X), 1))
        for a, booster in self.boosters_.items():
            out[:, int(a)] = booster.predict(X, num_threads=self.threads)
        return out
