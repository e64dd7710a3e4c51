"""scikit-learn's own checks on every estimator; what cannot hold is listed with its reason.

Four models need keyword data that the checks do not pass (balance, channel, action, propensity): thin subclasses make them
up from X and y, deterministically and row by row, so that every other promise of an estimator is still checked.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.base import RegressorMixin
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

from collectml.models import (
    ChannelResponseModel,
    ComplaintModel,
    PropensityToPayModel,
    RecoveryModel,
    RiskGrader,
)

# the checks fit some 20 to 300 rows, where leaves of 40 rows would allow no split at all
TINY = {"n_estimators": 40, "min_child_samples": 2, "early_stopping_rounds": None, "folds": 2, "n_jobs": 1}

WEIGHTS_ARE_NOT_ROWS = "folds and leaf sizes count rows: a row of weight 2 is not two rows"
TARGET_HAS_A_NAME = "the target is called recovered, not y, and so the message calls it"


def above_median(y):
    """Turn whatever target a check brings along into outcomes of both kinds."""
    values = np.unique(np.asarray(y), return_inverse=True)[1]
    if not values.any():
        return np.arange(len(values)) % 2 == 0
    return values > min(np.median(values), values.max() - 1)


class Recovery(RegressorMixin, RecoveryModel):
    """Every account owes the same; the target is money above its own minimum."""

    def fit(self, X, y):
        money = np.asarray(y)
        readable = money.dtype.kind in "iuf" and np.isfinite(money).all()
        self.low_ = float(np.min(money, initial=0.0)) if readable else 0.0
        self.owed_ = 2.0 * float(np.max(np.abs(money), initial=1.0)) if readable else 1.0
        recovered = money - self.low_ if readable else y
        return super().fit(X, recovered, balance=np.full(np.size(money), self.owed_))

    def predict(self, X):
        check_is_fitted(self)
        return super().predict(X, balance=np.full(np.asarray(X).shape[0], self.owed_)) + self.low_


class Channel(ChannelResponseModel):
    def fit(self, X, y):
        return super().fit(X, above_median(y), channel=np.where(np.arange(len(y)) % 2, "sms", "call"))


class Complaint(ComplaintModel):
    def fit(self, X, y):
        return super().fit(X, above_median(y), action=np.where(np.arange(len(y)) % 2, "sms", "call"))


class Grader(RiskGrader):
    """The first column, squeezed into (0, 1), is the propensity; its size is the balance."""

    def fit(self, X, y=None):
        X = validate_data(self, X, dtype=float)
        return super().fit(pd.DataFrame(X), propensity_to_pay=expit(X[:, 0]), balance=np.abs(X[:, 0]))

    def predict(self, X):
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=float)
        grades = super().predict(pd.DataFrame(X), propensity_to_pay=expit(X[:, 0]), balance=np.abs(X[:, 0]))
        return grades.map({"A": 0, "B": 1, "C": 2, "D": 3}).to_numpy()  # the checks subtract predictions


def expected_failures(estimator):
    if isinstance(estimator, PropensityToPayModel):
        return {"check_sample_weight_equivalence_on_dense_data": WEIGHTS_ARE_NOT_ROWS}
    if isinstance(estimator, RecoveryModel):
        return {"check_requires_y_none": TARGET_HAS_A_NAME}
    return {}


@parametrize_with_checks(
    [PropensityToPayModel(**TINY), Recovery(**TINY), Channel(**TINY), Complaint(**TINY), Grader()],
    expected_failed_checks=expected_failures,
    xfail_strict=True,
)
def test_estimator_keeps_the_rules_of_scikit_learn(estimator, check):
    check(estimator)
