"""Propensity to pay: the probability that an account pays within the horizon, calibrated so that it can be priced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self, cast

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from collectml.errors import ConfigurationError, NotFittedError, SchemaError
from collectml.models._base import BoosterModel, Floats, check_rows
from collectml.models._calibration import Calibrator, calibration_line
from collectml.models._cross_fit import CalibratedBooster

__all__ = ["PropensityToPayModel"]


class PropensityToPayModel(ClassifierMixin, BoosterModel):  # type: ignore[misc]  # scikit-learn ships no types
    """P(pays | account): one LightGBM booster with a cross-fitted calibration map.

    Text, categories and missing values are used as they are. Probabilities are calibrated on rows the booster did
    not see; the out-of-fold probabilities are calibrated by maps that did not see them either.

    Parameters
    ----------
    calibration : {"auto", "isotonic", "platt"} or None, default "auto"
        ``"auto"`` is isotonic from 1,000 rows of the rarer outcome on, Platt below.
    monotone : mapping of str to {1, -1}, optional
        Columns along which the probability may only rise (1) or fall (-1), all else equal. Columns of a plain
        array are named ``x0, x1, ...``.
    n_estimators, learning_rate, num_leaves, min_child_samples, early_stopping_rounds
        Size and speed of boosting; early stopping inside the folds chooses the number of trees.
    reg_lambda : float
        L2 penalty on leaves.
    subsample, colsample_bytree : float in (0, 1]
        Shares of rows and of columns each tree sees.
    folds : int, default 5
        Folds of cross-fitting, fewer where the rarer outcome has fewer rows; a customer is never in two of them.
    random_state : int, RandomState or None
    n_jobs : int or None
        Threads: None means 2, -1 all. The result does not depend on it.
    **params
        Any further LightGBM parameter (``min_split_gain=0.1``); part of ``get_params`` and ``clone``.

    Attributes
    ----------
    classes_ : ndarray, shape (2,)
        Labels; the second is the one whose probability is meant (paid).
    booster_ : lightgbm.Booster
        On the margin scale before calibration, trained on all rows.
    oof_proba_ : ndarray, shape (n, 2)
        Cross-fitted calibrated probabilities of the training rows (not stored with the model).
    calibration_intercept_, calibration_slope_ : float
        Cox's line through the out-of-fold probabilities: 0 and 1 where they are calibrated.
    n_features_in_, feature_names_in_
        As scikit-learn has them.

    References
    ----------
    Ke et al. (2017), LightGBM. Niculescu-Mizil and Caruana (2005), Predicting good probabilities with supervised
    learning.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"days_past_due": rng.integers(1, 90, 600), "product": rng.choice(["card", "loan"], 600)})
    >>> paid = rng.random(600) < 0.8 - 0.007 * X["days_past_due"]
    >>> model = PropensityToPayModel(monotone={"days_past_due": -1}, random_state=0).fit(X, paid)
    >>> p = model.predict_proba(pd.DataFrame({"product": ["card", "card"], "days_past_due": [5, 80]}))[:, 1]
    >>> bool(p[0] > p[1])
    True
    """

    kind: ClassVar[str] = "propensity_to_pay"

    def __init__(
        self,
        *,
        calibration: str | None = "auto",
        monotone: Mapping[str, int] | None = None,
        n_estimators: int = 600,
        learning_rate: float = 0.04,
        num_leaves: int = 15,
        min_child_samples: int = 40,
        reg_lambda: float = 5.0,
        subsample: float = 0.8,
        colsample_bytree: float = 0.6,
        early_stopping_rounds: int | None = 40,
        folds: int = 5,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        **params: object,
    ) -> None:
        super().__init__(
            n_estimators=n_estimators,
            learning_rate=learning_rate,
            num_leaves=num_leaves,
            min_child_samples=min_child_samples,
            early_stopping_rounds=early_stopping_rounds,
            folds=folds,
            random_state=random_state,
            n_jobs=n_jobs,
            **params,
        )
        self.calibration = calibration
        self.monotone = monotone
        self.reg_lambda = reg_lambda
        self.subsample = subsample
        self.colsample_bytree = colsample_bytree

    def fit(
        self,
        X: pd.DataFrame | ArrayLike,
        y: ArrayLike,
        *,
        customer: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn who pays.

        Parameters
        ----------
        X : DataFrame or array-like, shape (n, p)
            Account features as of the decision.
        y : array-like, shape (n,)
            Two labels, the larger one meaning paid (1, True).
        customer : array-like, shape (n,), optional
            Whose accounts they are; rows of one customer share a fold.
        sample_weight : array-like, shape (n,), optional

        Returns
        -------
        self

        Raises
        ------
        SchemaError
            Where y holds one class only or more than two, or X cannot be read.
        """
        encoded = self._encode_fit(X)
        rows = check_rows(encoded, y=y, customer=customer, sample_weight=sample_weight)
        labels = rows["y"]
        check_classification_targets(labels)
        self.classes_ = np.unique(labels)
        if len(self.classes_) == 1:
            raise SchemaError(
                f"{type(self).__name__} cannot learn from one class: all {len(labels)} rows of y are "
                f"{self.classes_.tolist()[0]!r}; take a period in which some accounts paid and some did not."
            )
        if len(self.classes_) > 2:
            raise SchemaError(
                f"Only binary classification is supported. The type of the target is {type_of_target(labels)}."
            )
        paid = (labels == self.classes_[1]).astype(np.float64)
        weight = rows["sample_weight"].astype(np.float64) if "sample_weight" in rows else None
        rarer = int(min(paid.sum(), len(paid) - paid.sum()))
        folds = self._folds(paid, rows.get("customer"), at_most=rarer)
        plan = self._plan(
            objective="binary",
            defaults={
                "lambda_l2": self.reg_lambda,
                "bagging_fraction": self.subsample,
                "bagging_freq": 1,
                "feature_fraction": self.colsample_bytree,
                "monotone_constraints": self._constraints(),
            },
        )
        fitted, oof = CalibratedBooster.fit(encoded, paid, folds, plan, calibration=self.calibration, weight=weight)
        self.booster_, self.calibrator_ = cast("lgb.Booster", fitted.booster), fitted.calibrator
        self.oof_proba_ = np.column_stack([1.0 - oof, oof])
        self.calibration_intercept_, self.calibration_slope_ = calibration_line(logit(oof), paid, weight)
        self._oof_paid = paid
        return self

    def predict_proba(self, X: pd.DataFrame | ArrayLike) -> Floats:
        """Predict calibrated probabilities.

        Parameters
        ----------
        X : DataFrame or array-like, shape (n, p)
            Columns in any order; additional ones are ignored, missing ones refused by name.

        Returns
        -------
        ndarray, shape (n, 2)
            P(not paid), P(paid).
        """
        encoded = self._encode(X)
        paid = CalibratedBooster(self.booster_, self.calibrator_).predict(encoded)
        return np.column_stack([1.0 - paid, paid])

    def predict(self, X: pd.DataFrame | ArrayLike) -> NDArray[np.generic]:
        """Predict the likelier label of each account, shape (n,)."""
        paid = self.predict_proba(X)[:, 1]
        return cast("NDArray[np.generic]", self.classes_[(paid > 0.5).astype(np.intp)])

    def calibration_frame(
        self, X: pd.DataFrame | ArrayLike | None = None, y: ArrayLike | None = None, *, bins: int = 10
    ) -> pd.DataFrame:
        """Compare predicted and observed shares of payers, tenth by tenth.

        Parameters
        ----------
        X, y : optional
            Held-out accounts and outcomes; without them the out-of-fold probabilities of the training rows.
        bins : int, default 10
            Bins of equal size, by predicted probability.

        Returns
        -------
        DataFrame
            Index ``bin`` from 1 (least likely to pay); columns n, predicted, observed, low, high: the 95 % Wilson
            interval of the observed share.
        """
        if (X is None) != (y is None):
            raise ConfigurationError("calibration_frame needs X and y together, or neither.")
        if bins < 1:
            raise ConfigurationError(f"bins must be 1 or more, not {bins}.")
        self._check_fitted()
        if X is None or y is None:
            if not hasattr(self, "oof_proba_"):
                raise NotFittedError("a loaded model holds no out-of-fold probabilities; give X and y of held-out accounts.")
            return reliability(self.oof_proba_[:, 1], self._oof_paid, bins)
        labels = check_rows(X, y=y)["y"]
        if not np.isin(labels, self.classes_).all():
            raise SchemaError(f"y holds labels other than those seen at fit: {self.classes_.tolist()}.")
        paid = (labels == self.classes_[1]).astype(np.float64)
        return reliability(self.predict_proba(X)[:, 1], paid, bins)

    def _constraints(self) -> list[int] | None:
        if not self.monotone:
            return None
        known = {name: i for i, name in enumerate(self.encoder_.columns_)}
        faults = [f"{name} is not a column of X" for name in self.monotone if name not in known]
        faults += [f"{name} is categorical" for name in self.monotone if name in self.encoder_.levels_]
        faults += [f"{name} must be 1 or -1, not {sign!r}" for name, sign in self.monotone.items() if sign not in (1, -1)]
        if faults:
            raise ConfigurationError(f"monotone: {'; '.join(faults)}.")
        signs = [0] * len(known)
        for name, sign in self.monotone.items():
            signs[known[name]] = int(sign)
        return signs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    def _state(self) -> tuple[dict[str, object], dict[str, lgb.Booster]]:
        state: dict[str, object] = {
            "classes": self.classes_,
            "calibrator": self.calibrator_.to_json(),
            "calibration_intercept": self.calibration_intercept_,
            "calibration_slope": self.calibration_slope_,
        }
        return state, {"paid": self.booster_}

    def _restore(self, state: Mapping[str, object], boosters: Mapping[str, lgb.Booster]) -> None:
        self.classes_ = np.asarray(state["classes"])
        self.calibrator_ = Calibrator.from_json(cast("Mapping[str, object]", state["calibrator"]))
        self.calibration_intercept_ = float(cast("float", state["calibration_intercept"]))
        self.calibration_slope_ = float(cast("float", state["calibration_slope"]))
        self.booster_ = boosters["paid"]


def reliability(predicted: Floats, observed: Floats, bins: int) -> pd.DataFrame:
    """Group rows by predicted probability and set the observed share beside the predicted mean.

    Examples
    --------
    >>> frame = reliability(np.array([0.1, 0.2, 0.8, 0.9]), np.array([0.0, 0.0, 1.0, 1.0]), bins=2)
    >>> frame[["n", "observed"]].to_numpy().tolist()
    [[2.0, 0.0], [2.0, 1.0]]
    """
    rank = np.argsort(np.argsort(predicted, kind="stable"), kind="stable")
    bin_of = rank * bins // len(predicted) + 1
    frame = pd.DataFrame({"bin": bin_of, "predicted": predicted, "observed": observed}).groupby("bin").mean()
    n = np.bincount(bin_of, minlength=1)[frame.index]
    z2 = 1.959963984540054**2
    share = frame["observed"].to_numpy()
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = np.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    frame.insert(0, "n", n)
    return frame.assign(low=centre - half, high=centre + half)
