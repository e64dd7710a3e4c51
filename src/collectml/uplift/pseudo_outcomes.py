"""Learners that regress effects themselves: on imputed outcomes (X), or on doubly robust scores (DR)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from collectml.models._lightgbm import train_booster

from .decisions import Decisions
from .learner import Learner
from .learners import SLearner, TLearner
from .propensities import logging_propensities
from .scores import score_arrays

__all__ = ["DRLearner", "XLearner"]

Floats = NDArray[np.float64]

EFFECT = {"num_leaves": 7, "learning_rate": 0.05, "min_data_in_leaf": 200}
FEWEST_ROWS = 100


class _EffectLearner(Learner):
    """What both have in common: outcomes under the control, and a booster of the effect for each other action."""

    constant_: list[float]

    def state(self) -> dict[str, object]:
        """Return mean effects beside the diagnostics."""
        return {**super().state(), "constant": self.constant_}

    def restore(self, state: Mapping[str, object]) -> None:
        """Take in what :meth:`state` returned."""
        super().restore(state)
        self.constant_ = cast("list[float]", state["constant"])

    def _settings(self, own: Mapping[str, object]) -> dict[str, object]:
        return {**own, **self.params, "num_threads": self.threads, "objective": "regression"}

    def _effect(self, name: str, d: Decisions, target: Floats, rows: NDArray[np.bool_]) -> tuple[Floats, float]:
        """Regress an effect, keep the booster fitted to all rows, and return cross-fitted effects and the mean."""
        mean = float(target[rows].mean()) if rows.any() else 0.0
        out = np.full(len(d.y), mean)
        by_fold: dict[int, lgb.Booster] = {}
        settings = self._settings(EFFECT)
        for k in np.unique(d.fold):
            held = d.fold == k
            train, valid = rows & ~held, rows & held
            if min(train.sum(), valid.sum()) >= FEWEST_ROWS:
                by_fold[int(k)] = train_booster(
                    d.X[train], target[train], params=settings, categorical=d.categorical, num_boost_round=self.trees,
                    valid=(d.X[valid], target[valid]), early_stopping=30, seed=self.seed,
                )  # fmt: skip
        # a fold that stops at its first tree has found nothing that holds beyond its own rows
        trees = round(float(np.mean([b.best_iteration for b in by_fold.values()]))) if by_fold else 0
        if trees <= 1:
            return out, mean
        for k, booster in by_fold.items():
            held = d.fold == k
            out[held] = cast("Floats", booster.predict(d.X[held], num_threads=self.threads, num_iteration=trees))
        self.boosters_[name] = train_booster(
            d.X[rows], target[rows], params=settings, categorical=d.categorical, num_boost_round=trees, seed=self.seed
        )
        return out, mean

    def _ask(self, name: str, X: Floats, constant: float) -> Floats:
        booster = self.boosters_.get(name)
        if booster is None:
            return np.full(len(X), constant)
        return cast("Floats", booster.predict(X, num_threads=self.threads))


@dataclass
class DRLearner(_EffectLearner):
    """Effects regressed on doubly robust scores, each action against the control.

    Notes
    -----
    Outcomes are predicted by an :class:`~collectml.uplift.learners.SLearner`, cross-fitted; the score of action a is its
    prediction plus, where a was taken, the error over the logging propensity. Where the log gives no propensities they are estimated (see
    :class:`~collectml.uplift.propensities.LoggingPropensities`, whose facts are among the model's ``diagnostics_``).

    References
    ----------
    Kennedy (2023), Towards optimal doubly robust estimation of heterogeneous causal effects, Electronic Journal of
    Statistics 17(2), algorithm 1.
    """

    outcome_: SLearner = field(init=False)

    def __post_init__(self) -> None:
        self.outcome_ = SLearner(self.trees, self.params, self.seed, self.threads)

    def state(self) -> dict[str, object]:
        """Return the outcome model's state beside what every effect learner keeps."""
        return {**super().state(), "outcome": self.outcome_.state()}

    def restore(self, state: Mapping[str, object]) -> None:
        """Take in what :meth:`state` returned."""
        super().restore(state)
        self.outcome_.restore(cast("Mapping[str, object]", state.get("outcome", {})))
        self.outcome_.boosters_ = self.boosters_

    def fit(self, d: Decisions) -> Floats:
        """Learn, and return cross-fitted outcomes of the training rows."""
        propensities = logging_propensities(d, params=self._settings({}), seed=self.seed)
        self.diagnostics_ = dict(propensities.facts)
        outcome = self.outcome_.fit(d)
        self.boosters_ |= self.outcome_.boosters_
        scores = score_arrays(outcome, d.action, d.y, propensities.of_taken)
        out = np.tile(outcome[:, :1], (1, d.n_actions))
        self.constant_ = [0.0]
        everyone = np.ones(len(d.y), dtype=bool)
        for a in range(1, d.n_actions):
            effect, mean = self._effect(f"effect_{a}", d, scores[:, a] - scores[:, 0], everyone)
            self.constant_.append(mean)
            out[:, a] += effect
        return out

    def predict(self, X: Floats, n_actions: int) -> Floats:
        """Predict the expected outcome under every action."""
        control = self.outcome_.predict(X, 1)
        out = np.tile(control, (1, n_actions))
        for a in range(1, n_actions):
            out[:, a] += self._ask(f"effect_{a}", X, self.constant_[a])
        return out


class XLearner(_EffectLearner):
    """Effects regressed on imputed effects: treated rows against the control's model, control rows against the action's.

    References
    ----------
    Kunzel, Sekhon, Bickel & Yu (2019), Metalearners for estimating heterogeneous treatment effects, PNAS (X-learner).
    """

    share_: list[float]

    def state(self) -> dict[str, object]:
        """Return the arms' weights beside what every effect learner keeps."""
        return {**super().state(), "share": self.share_}

    def restore(self, state: Mapping[str, object]) -> None:
        """Take in what :meth:`state` returned."""
        super().restore(state)
        self.share_ = cast("list[float]", state["share"])

    def fit(self, d: Decisions) -> Floats:
        """Learn, and return cross-fitted outcomes of the training rows."""
        first = TLearner(self.trees, self.params, self.seed, self.threads)
        outcome = first.fit(d)
        if "0" in first.boosters_:
            self.boosters_["control"] = first.boosters_["0"]
        control = d.action == 0
        count = np.bincount(d.action, minlength=d.n_actions).astype(float)
        out = np.tile(outcome[:, :1], (1, d.n_actions))
        self.constant_, self.share_ = [first.means_[0]], [0.0]
        for a in range(1, d.n_actions):
            taken = d.action == a
            # Kunzel et al., section 2: weight the two estimates by the chance of treatment among the two arms
            e = float(count[a] / max(1.0, count[a] + count[0]))
            imputed = np.where(taken, d.y - outcome[:, 0], outcome[:, a] - d.y)
            treated, mean_treated = self._effect(f"treated_{a}", d, imputed, taken)
            untreated, mean_untreated = self._effect(f"untreated_{a}", d, imputed, control)
            self.constant_ += [mean_treated, mean_untreated]
            self.share_.append(e)
            out[:, a] += e * untreated + (1 - e) * treated
        return out

    def predict(self, X: Floats, n_actions: int) -> Floats:
        """Predict the expected outcome under every action."""
        out = np.tile(self._ask("control", X, self.constant_[0])[:, None], (1, n_actions))
        for a in range(1, n_actions):
            treated = self._ask(f"treated_{a}", X, self.constant_[2 * a - 1])
            untreated = self._ask(f"untreated_{a}", X, self.constant_[2 * a])
            out[:, a] += self.share_[a] * untreated + (1 - self.share_[a]) * treated
        return out
