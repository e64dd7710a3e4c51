"""Cross-fitting: no row is scored by a booster, or mapped by a calibrator, that saw its fold."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from collectml.errors import SchemaError
from collectml.models._cross_fit import BoostingPlan, CalibratedBooster, cross_fit_margin

PLAN = BoostingPlan({"objective": "binary", "num_leaves": 7, "min_data_in_leaf": 20, "num_threads": 2}, 60, None, seed=0)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3_000, 4))
    return X, (rng.random(3_000) < expit(X[:, 0])).astype(float), (np.arange(3_000) % 3).astype(np.int8)


def test_the_outcomes_of_a_fold_do_not_reach_its_own_scores(data):
    X, y, folds = data
    held = folds == 0
    turned = np.where(held, 1 - y, y)
    margin, other = (cross_fit_margin(X, target, folds, PLAN).margin for target in (y, turned))
    np.testing.assert_array_equal(margin[held], other[held])
    assert np.abs(margin - other)[~held].mean() > 0.1
    honest = CalibratedBooster.fit(X, y, folds, PLAN, calibration="platt")[1]
    assert np.corrcoef(honest, y)[0, 1] > 0.35


def test_early_stopping_uses_one_number_of_trees_for_all(data):
    X, y, folds = data
    plan = BoostingPlan({**PLAN.params, "learning_rate": 0.3}, 300, 10, seed=0)
    fit = cross_fit_margin(X, y, folds, plan)
    booster, margin = fit.booster, fit.margin
    n_trees = booster.num_trees()
    assert n_trees < 100
    for fold in range(3):
        held = folds == fold
        again = cross_fit_margin(X[~held], y[~held], folds[~held], BoostingPlan(plan.params, n_trees, None, seed=0)).booster
        np.testing.assert_array_equal(again.predict(X[held], raw_score=True), margin[held])


def test_offsets_are_part_of_the_margin(data):
    X, y, folds = data
    offset = X[:, 0]
    fit = cross_fit_margin(X, y, folds, PLAN, offset=offset)
    booster, margin = fit.booster, fit.margin
    own = margin - offset
    assert abs(np.corrcoef(own, offset)[0, 1]) < 0.3
    assert np.corrcoef(margin, offset)[0, 1] > 0.8
    assert abs(np.corrcoef(booster.predict(X, raw_score=True), offset)[0, 1]) < 0.3


def test_a_constant_is_never_sure():
    for y, rate in ((np.zeros(9), 0.05), (np.ones(9), 0.95), (np.array([1.0, 0, 0, 0]), 0.3)):
        part, oof = CalibratedBooster.constant(y)
        np.testing.assert_allclose(oof, rate)
        np.testing.assert_allclose(part.predict(np.zeros((5, 2))), rate)


def test_one_fold_cannot_be_cross_fitted(data):
    X, y, _ = data
    with pytest.raises(SchemaError, match="all rows belong to one customer: cross-fitting by customer needs two or more"):
        cross_fit_margin(X, y, np.zeros(len(y), dtype=np.int8), PLAN)


def test_a_categorical_column_more_leaves_the_plan_as_it_was():
    more = PLAN.with_categorical(4)
    assert (list(PLAN.categorical), more.categorical, more.seed, more.params) == ([], [4], PLAN.seed, PLAN.params)
