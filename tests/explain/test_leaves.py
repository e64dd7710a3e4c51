"""Contributions leaf by leaf are those of LightGBM's own TreeSHAP, and their differences are its differences."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import lightgbm as lgb
import numpy as np
import pytest

from collectml.explain import _leaves, contributions, effect_contributions
from collectml.explain._leaves import leaf_paths
from collectml.models._forest import goes_right, parse_forest
from collectml.models._lightgbm import booster_from_text, booster_to_text, train_booster
from collectml.uplift.shared_action import with_action

N, P, ACTIONS = 900, 7, 6
NAMES = list("abcdefg")
ODD = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-35, 9e-36, 1.1e-35, -0.5, -1.0, -3.0, 2.7, 44.0, 45.0, 3e9, -3e9]


def rows(seed: int) -> np.ndarray:
    """Numbers, counts with many zeros, flags, levels, everything missing now and then."""
    rng = np.random.default_rng(seed)
    X = np.column_stack(
        [
            rng.normal(size=N),
            rng.lognormal(5, 2, N),
            rng.poisson(0.7, N),
            rng.random(N) < 0.3,
            rng.integers(0, 4, N),
            rng.integers(0, 45, N),
            np.round(rng.normal(size=N), 1),
        ]
    ).astype(float)
    X[rng.random(X.shape) < 0.05] = np.nan
    return X


def hard_rows(booster: lgb.Booster, seed: int) -> np.ndarray:
    """Values on the thresholds, one step beside them, and every odd one a column may hold."""
    rng, X = np.random.default_rng(seed), rows(seed)
    for column in range(P):
        trees = parse_forest(booster).trees
        cuts = sorted({float(c) for t in trees for c in t.threshold[t.feature == column]} or {0.0})
        on, kind = rng.choice(cuts, N), rng.integers(0, 5, N)
        beside = [on, np.nextafter(on, np.inf), np.nextafter(on, -np.inf), rng.choice(ODD, N)]
        X[:, column] = np.select([kind == k for k in range(4)], beside, X[:, column])
    return X


def trained(objective: str = "regression", **params: object) -> lgb.Booster:
    X, rng = rows(0), np.random.default_rng(1)
    action = rng.integers(0, ACTIONS, N)
    y = np.nan_to_num(X[:, 0]) * (action % 3) + np.nan_to_num(X[:, 2]) * (action == 2) + np.nan_to_num(X[:, 5]) % 7
    y = (y > 2).astype(float) if objective == "binary" else y + rng.normal(size=N)
    settings = {"objective": objective, "num_threads": 1, "min_data_in_leaf": 5, "num_leaves": 40, **params}
    return train_booster(with_action(X, action), y, params=settings, categorical=[4, 5, P], num_boost_round=25, seed=2)


def own(booster: lgb.Booster, X: np.ndarray, action: np.ndarray | int) -> np.ndarray:
    return np.asarray(booster.predict(with_action(X, action), pred_contrib=True, num_threads=1))


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"objective": "binary", "sigmoid": 1.7},
        {"zero_as_missing": True},
        {"use_missing": False},
        {"max_bin": 1_500, "min_data_in_bin": 1, "num_leaves": 90},
        {"max_cat_to_onehot": 64},
        {"num_leaves": 2},
        {"min_gain_to_split": 1e9},
    ],
    ids=str,
)
def test_they_are_those_of_lightgbm(params):
    booster, rng = trained(**params), np.random.default_rng(3)
    assert leaf_paths(booster, setting=False) is not None, "this booster is meant to be laid out"
    for X in (rows(4), hard_rows(booster, 5)):
        first, second = rng.integers(0, ACTIONS, (2, N))
        there, here = own(booster, X, first), own(booster, X, second)
        told = contributions(booster, with_action(X, first), [*NAMES, "action"])
        largest = np.abs(there).max()
        np.testing.assert_allclose(told.values, there[:, :-1], rtol=1e-10, atol=1e-12 * largest)
        np.testing.assert_allclose(told.base, there[:, -1], rtol=1e-10, atol=1e-12)
        effect = effect_contributions(booster, X, first, second, NAMES)
        np.testing.assert_allclose(effect.values, (there - here)[:, :-1], rtol=1e-10, atol=1e-12 * largest)


def test_a_tree_s_contributions_are_shapley_s_values_by_their_definition():
    """All coalitions of a small tree, weighed as Shapley did; what is not in the coalition goes both ways, by training rows."""
    booster = trained(num_leaves=12)
    tree = parse_forest(booster).trees[0]
    X = with_action(rows(6)[:4], 2)

    def expected(row: np.ndarray, known: frozenset[int], node: int = 0) -> float:
        if node < 0:
            return float(tree.leaf[-node - 1])
        sides = {False: int(tree.left[node]), True: int(tree.right[node])}
        if int(tree.feature[node]) in known:
            return expected(row, known, sides[goes_right(tree, node, float(row[tree.feature[node]]))])
        count = {s: int(tree.leaf_rows[-c - 1] if c < 0 else tree.rows[c]) for s, c in sides.items()}
        return sum(count[s] * expected(row, known, c) for s, c in sides.items()) / sum(count.values())

    one = booster_from_text(booster_to_text(booster))
    one.best_iteration = 1
    told = contributions(one, X, [*NAMES, "action"]).values.to_numpy()
    used = sorted(set(tree.feature.tolist()))
    assert 3 <= len(used) <= P + 1
    for i, row in enumerate(X):
        for f in used:
            others = [u for u in used if u != f]
            value = 0.0
            for size in range(len(used)):
                weight = factorial(size) * factorial(len(used) - size - 1) / factorial(len(used))
                for some in combinations(others, size):
                    value += weight * (expected(row, frozenset({*some, f})) - expected(row, frozenset(some)))
            np.testing.assert_allclose(told[i, f], value, rtol=1e-9, atol=1e-12)


def test_rows_do_not_depend_on_their_neighbours_threads_or_blocks(monkeypatch):
    booster, X = trained(), rows(7)
    action = np.arange(N) % ACTIONS
    whole = effect_contributions(booster, X, action, 0, NAMES, threads=1).values.to_numpy()
    order = np.random.default_rng(0).permutation(N)[: N - 77]
    monkeypatch.setattr(_leaves, "BLOCK", 64)
    mixed = effect_contributions(booster, X[order], action[order], 0, NAMES, threads=3).values.to_numpy()
    np.testing.assert_array_equal(mixed, whole[order])


def chain() -> tuple[lgb.Booster, np.ndarray]:
    """A tree that asks for one flag after the other: its longest path has 19 features."""
    X = (np.random.default_rng(8).random((3_000, 19)) < 0.93).astype(float)
    y = np.where(X.all(axis=1), 19, X.argmin(axis=1)).astype(float)
    params = {"objective": "regression", "num_threads": 1, "num_leaves": 40, "min_data_in_leaf": 5}
    return train_booster(X, y, params=params, num_boost_round=2, seed=0), X


def test_what_is_not_laid_out_is_explained_by_lightgbm(monkeypatch):
    counts = train_booster(rows(0), rows(0)[:, 1] > 100, params={"objective": "poisson"}, num_boost_round=5, seed=0)
    for booster, X in ((counts, rows(9)), chain()):
        assert leaf_paths(booster, setting=False) is None
        told = contributions(booster, X, [f"f{j}" for j in range(X.shape[1])])
        np.testing.assert_array_equal(told.values, booster.predict(X, pred_contrib=True)[:, :-1])
    monkeypatch.setattr(_leaves, "_kernel", lambda: None)  # a machine without numba
    booster, X = trained(), rows(9)
    effect = effect_contributions(booster, X, 3, 1, NAMES)
    np.testing.assert_array_equal(effect.values, (own(booster, X, 3) - own(booster, X, 1))[:, :-1])


def test_a_booster_that_stops_earlier_or_grows_is_laid_out_anew():
    booster, X = trained(), rows(10)
    before = effect_contributions(booster, X, 2, 0, NAMES).values.to_numpy()
    booster.best_iteration = 11
    fewer = effect_contributions(booster, X, 2, 0, NAMES).values.to_numpy()
    np.testing.assert_allclose(fewer, (own(booster, X, 2) - own(booster, X, 0))[:, :-1], rtol=1e-10, atol=1e-11)
    assert np.abs(fewer - before).max() > 0.01
