"""Cross-fitting: every training row is scored by a booster, and calibrated by a map, that never saw its customer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from collectml.errors import SchemaError
from collectml.models._calibration import Calibrator, Floats, cross_fit_calibration, resolve_method
from collectml.models._lightgbm import rows_of, side_by_side, thread_count, train_booster
from collectml.models._one_walk import predict_rows

__all__ = ["BoostingPlan", "CalibratedBooster", "CrossFit", "cross_fit_margin"]


@dataclass(frozen=True)
class BoostingPlan:
    """How boosters are trained: LightGBM parameters, the limit on trees and when to stop before it."""

    params: Mapping[str, object]
    n_estimators: int
    early_stopping_rounds: int | None
    seed: int
    categorical: Sequence[int] = ()

    def with_categorical(self, position: int) -> BoostingPlan:
        """Return the same plan with one more categorical column."""
        return replace(self, categorical=[*self.categorical, position])


@dataclass(frozen=True)
class CrossFit:
    """One booster trained on all rows, and one for each fold trained without it, all with the same number of trees.

    Attributes
    ----------
    booster : lightgbm.Booster
        Trained on all rows.
    margin : ndarray, shape (n,)
        Out-of-fold margins, offset included.
    without : list of lightgbm.Booster
        Trained without each fold, in the folds' order.
    trees : int
        How many of their trees count.
    """

    booster: lgb.Booster
    margin: Floats
    without: Sequence[lgb.Booster]
    trees: int


def cross_fit_margin(
    X: Floats,
    y: Floats,
    folds: NDArray[np.int8],
    plan: BoostingPlan,
    *,
    weight: Floats | None = None,
    offset: Floats | None = None,
) -> CrossFit:
    """Train one booster per fold and one on all rows.

    Each fold stops early on its own held-out rows; all boosters then use the mean of the best numbers of trees, so
    that no fold's score rests on a number of trees chosen for that fold.

    Returns
    -------
    CrossFit

    Raises
    ------
    SchemaError
        Where all rows are in one fold.
    """
    if len(np.unique(folds)) < 2:
        raise SchemaError("all rows belong to one customer: cross-fitting by customer needs two or more.")
    numbers = np.unique(folds).tolist()

    def without(fold: int, params: Mapping[str, object]) -> lgb.Booster:
        held = folds == fold
        valid = (X[held], y[held], rows_of(weight, held), rows_of(offset, held))
        return train_booster(
            X[~held],
            y[~held],
            params=params,
            categorical=plan.categorical,
            weight=rows_of(weight, ~held),
            init_score=rows_of(offset, ~held),
            num_boost_round=plan.n_estimators,
            valid=valid if plan.early_stopping_rounds is not None else None,
            early_stopping=plan.early_stopping_rounds,
            seed=plan.seed,
        )

    boosters = side_by_side(without, numbers, plan.params)
    best = [b.best_iteration if b.best_iteration > 0 else plan.n_estimators for b in boosters]
    n_trees = max(1, round(float(np.mean(best))))
    margin = np.empty(len(y))
    for fold, booster in zip(numbers, boosters, strict=True):
        held = folds == fold
        margin[held] = booster.predict(X[held], raw_score=True, num_iteration=n_trees)
    final = train_booster(
        X,
        y,
        params=plan.params,
        categorical=plan.categorical,
        weight=weight,
        init_score=offset,
        num_boost_round=n_trees,
        seed=plan.seed,
    )
    return CrossFit(final, margin if offset is None else margin + offset, boosters, n_trees)


class CalibratedBooster:
    """A booster for an outcome in [0, 1] and the map that turns its margin into a calibrated mean.

    Parameters
    ----------
    booster : lightgbm.Booster or None
        None where there was too little to learn: the mean is then a constant.
    calibrator : Calibrator
    """

    def __init__(self, booster: lgb.Booster | None, calibrator: Calibrator) -> None:
        self.booster = booster
        self.calibrator = calibrator

    @classmethod
    def fit(
        cls,
        X: Floats,
        y: Floats,
        folds: NDArray[np.int8],
        plan: BoostingPlan,
        *,
        calibration: str | None,
        weight: Floats | None = None,
    ) -> tuple[Self, Floats]:
        """Cross-fit booster and calibrator.

        Returns
        -------
        CalibratedBooster
        ndarray, shape (n,)
            Honest means of the training rows: booster and calibrator both from other folds.
        """
        method = resolve_method(calibration, y)
        fit = cross_fit_margin(X, y, folds, plan, weight=weight)
        calibrator, oof = cross_fit_calibration(fit.margin, y, folds, method, weight)
        return cls(fit.booster, calibrator), oof

    @classmethod
    def constant(cls, y: Floats) -> tuple[Self, Floats]:
        """Settle for the mean, pulled a little towards one half so that it is never 0 or 1."""
        rate = (float(y.sum()) + 0.5) / (len(y) + 1.0)
        return cls(None, Calibrator.constant(rate)), np.full(len(y), rate)

    def predict(self, X: Floats) -> Floats:
        """Predict calibrated means, shape (n,)."""
        if self.booster is None:
            return self.calibrator.predict(np.zeros(len(X)))
        return self.calibrator.predict(predict_rows(self.booster, X, raw=True, threads=thread_count(None)))
