"""Learners to compare with: the outcome by boosters that all actions share, or by one for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from collectml.models._lightgbm import train_booster

from .amounts import AMOUNT, Exposure
from .decisions import Decisions
from .learner import Learner
from .levels import FEWEST_PAID
from .shared_action import cross_fit_shared, predict_actions, train_shared

__all__ = ["SLearner", "TLearner"]

Floats = NDArray[np.float64]

DIRECT = {"num_leaves": 31, "learning_rate": 0.05, "min_data_in_leaf": 30}
PAYMENT = {"num_leaves": 15, "learning_rate": 0.1, "min_data_in_leaf": 30, "lambda_l2": 20.0}
TREES = {"pay": 100, "amount": 50}
FEWEST_ROWS = 40


def _settings(learner: Learner, own: Mapping[str, object], *, binary: bool) -> dict[str, object]:
    objective = "binary" if binary else "regression"
    return {**own, **learner.params, "num_threads": learner.threads, "objective": objective}


class SLearner(Learner):
    """The outcome by boosters that take the action for one more feature; the plain model that the others are measured by.

    Notes
    -----
    Money that some pay and some do not (50 at least of either) is modelled in two parts, P(pay | x, action) times the amount given
    payment (its share of the balance, where the features hold that), each with a fixed number of trees: stopped where held-out
    outcomes are predicted best, trees have found who pays, and not yet what actions change. Any other outcome is modelled by one
    booster that stops early.

    References
    ----------
    Kunzel, Sekhon, Bickel & Yu (2019), Metalearners for estimating heterogeneous treatment effects, PNAS (S-learner); Mullahy
    (1986), Specification and testing of some modified count data models, Journal of Econometrics 33 (two parts); Nie & Wager
    (2021), Quasi-oracle estimation of heterogeneous treatment effects, Biometrika 108 (fitting outcomes is not fitting effects).
    """

    exposure_: Exposure = Exposure()

    def state(self) -> dict[str, object]:
        """Return which column caps what is paid, beside the diagnostics."""
        return {**super().state(), **self.exposure_.state()}

    def restore(self, state: Mapping[str, object]) -> None:
        """Take in what :meth:`state` returned."""
        super().restore(state)
        self.exposure_ = Exposure.restored(state)

    def fit(self, d: Decisions) -> Floats:
        """Learn, and return cross-fitted outcomes of the training rows."""
        paid = d.y > 0
        outside = min(int((paid & (d.fold != k)).sum()) for k in np.unique(d.fold))
        if d.binary or (d.y < 0).any() or min(outside, int((~paid).sum())) < FEWEST_PAID:
            return self._part("outcome", d, d.y, _settings(self, DIRECT, binary=d.binary))
        self.exposure_ = Exposure.of(d.X, d.names, d.y, paid)
        owed = self.exposure_.owed(d.X)
        weight = np.sqrt(owed / owed[paid].mean())
        chance = self._part("pay", d, paid.astype(float), _settings(self, PAYMENT, binary=True))
        share = self._part("amount", d, d.y / owed, _settings(self, AMOUNT, binary=False), rows=paid, weight=weight)
        return chance * np.maximum(share, 0.0) * owed[:, None]

    def predict(self, X: Floats, n_actions: int) -> Floats:
        """Predict the expected outcome under every action."""
        if "outcome" in self.boosters_:
            return predict_actions(self.boosters_["outcome"], X, n_actions, threads=self.threads)
        chance, share = (
            predict_actions(self.boosters_[part], X, n_actions, threads=self.threads) for part in ("pay", "amount")
        )
        return chance * np.maximum(share, 0.0) * self.exposure_.owed(X)[:, None]

    def _part(
        self,
        name: str,
        d: Decisions,
        target: Floats,
        settings: Mapping[str, object],
        *,
        rows: NDArray[np.bool_] | None = None,
        weight: Floats | None = None,
    ) -> Floats:
        """Keep a booster of the target fitted to all rows, and return cross-fitted predictions."""
        fixed = TREES.get(name)
        fit = cross_fit_shared(
            d.X,
            d.action,
            target,
            d.fold,
            n_actions=d.n_actions,
            categorical=d.categorical,
            params=settings,
            trees=self.trees if fixed is None else min(self.trees, fixed),
            seed=self.seed,
            rows=rows,
            weight=weight,
            early_stopping=50 if fixed is None else None,
        )
        self.boosters_[name] = train_shared(
            d.X,
            d.action,
            target,
            categorical=d.categorical,
            params=settings,
            trees=fit.trees,
            seed=self.seed,
            rows=rows,
            weight=weight,
        )
        return fit.predictions


class TLearner(Learner):
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
        settings = _settings(self, DIRECT, binary=d.binary)
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
