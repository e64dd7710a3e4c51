"""Boosters: the same bits for a seed, on any number of threads, from memory or from text."""

from __future__ import annotations

import os

import numpy as np
import pytest
from scipy.special import expit

from collectml.models._lightgbm import booster_from_text, booster_to_text, seed_from, thread_count, train_booster

BINARY = {"objective": "binary", "bagging_fraction": 0.7, "bagging_freq": 1, "feature_fraction": 0.6, "num_leaves": 15}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=(4_000, 4)), rng.integers(0, 6, 4_000).astype(float)])
    X[rng.random(X.shape) < 0.05] = np.nan
    z = np.nan_to_num(X[:, 0]) + np.array([0, 2, -1, 0, 1, -2.0])[np.nan_to_num(X[:, 4]).astype(int)]
    return X, (rng.random(4_000) < expit(z)).astype(float)


def text(data, seed=0, **params):
    X, y = data
    booster = train_booster(X, y, params={**BINARY, **params}, categorical=[4], num_boost_round=40, seed=seed)
    return booster_to_text(booster).split("\nparameters:")[0]  # which hold the number of threads


def test_a_seed_gives_the_same_booster_on_any_number_of_threads(data):
    one = text(data, num_threads=1)
    assert text(data, num_threads=1) == one
    assert text(data, num_threads=2) == one
    assert text(data, num_threads=2, seed=1) != one


def test_a_booster_read_back_predicts_the_same_bits(data):
    X, y = data
    booster = train_booster(X, y, params=BINARY, categorical=[4], num_boost_round=40, seed=0)
    loaded = booster_from_text(booster_to_text(booster))
    for raw in (True, False):
        np.testing.assert_array_equal(loaded.predict(X, raw_score=raw), booster.predict(X, raw_score=raw))


def test_the_best_iteration_is_what_is_written(data):
    X, y = data
    booster = train_booster(
        X[:500],
        y[:500],
        params={"objective": "binary", "learning_rate": 0.5},
        num_boost_round=200,
        valid=(X[500:], y[500:]),
        early_stopping=5,
        seed=0,
    )
    assert 0 < booster.best_iteration < 100
    loaded = booster_from_text(booster_to_text(booster))
    assert loaded.num_trees() == booster.best_iteration
    np.testing.assert_array_equal(loaded.predict(X), booster.predict(X))


def test_level_codes_are_split_as_sets_not_as_numbers(data):
    X, y = data
    booster = train_booster(X, y, params=BINARY, categorical=[4], num_boost_round=10, seed=0)
    table = booster.trees_to_dataframe()
    assert set(table.loc[table["split_feature"] == "Column_4", "decision_type"]) == {"=="}


def test_offsets_are_started_from_and_not_part_of_the_booster(data):
    X, y = data
    offset = np.where(np.isnan(X[:, 0]), 0.0, X[:, 0])
    fitted = train_booster(X, y, params=BINARY, categorical=[4], num_boost_round=60, init_score=offset, seed=0)
    rest = fitted.predict(X, raw_score=True)
    plain = train_booster(X, y, params=BINARY, categorical=[4], num_boost_round=60, seed=0).predict(X, raw_score=True)
    assert abs(np.corrcoef(rest, offset)[0, 1]) < 0.15 < np.corrcoef(plain, offset)[0, 1]


def test_weights_count_as_copies_in_the_mean(data):
    X, y = data
    one_leaf = {"objective": "binary", "min_data_in_leaf": 4_000}
    booster = train_booster(X, y, params=one_leaf, weight=np.where(y == 1, 3.0, 1.0), num_boost_round=1, seed=0)
    assert booster.predict(X[:1])[0] == pytest.approx(3 * y.sum() / (3 * y.sum() + (1 - y).sum()), abs=1e-6)


def test_threads_are_two_unless_asked_for():
    assert [thread_count(n) for n in (None, 1, 3, 0)] == [2, 1, 3, 1]
    assert thread_count(-1) == os.cpu_count()
    assert thread_count(-10_000) == 1


def test_a_random_state_object_moves_on():
    state = np.random.RandomState(3)
    assert seed_from(state) != seed_from(state)
    assert seed_from(np.random.RandomState(3)) == seed_from(3)
    assert 0 <= seed_from(None) < 2**31


def test_trees_are_added_to_what_was_begun():
    X, y = np.linspace(0, 1, 400)[:, None], np.linspace(0, 3, 400)
    begun = train_booster(X, y, params={"objective": "regression"}, num_boost_round=5, seed=0)
    whole = train_booster(X, y, params={"objective": "regression"}, num_boost_round=40, seed=0, begun=begun)
    assert whole.num_trees() == 45
    assert np.abs(whole.predict(X) - y).max() < 0.5 * np.abs(begun.predict(X) - y).max()
    with pytest.raises(TypeError, match="beside begun"):
        train_booster(X, y, params={"objective": "regression"}, num_boost_round=5, seed=0, begun=begun, init_score=y)
