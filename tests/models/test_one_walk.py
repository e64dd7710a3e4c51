"""One walk for all settings is `Booster.predict` asked setting by setting, to the last bit."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest

from collectml.models import _one_walk
from collectml.models._forest import UnsupportedForestError, goes_right, parse_forest
from collectml.models._lightgbm import booster_from_text, booster_to_text, train_booster
from collectml.models._one_walk import predict_settings

N, P, ACTIONS = 3_000, 7, 6
WALKED = np.arange(float(ACTIONS))[:, None]


def _rows(seed: int, n: int = N) -> np.ndarray:
    """Numbers, counts with many zeros, flags, levels, and everything missing now and then."""
    rng = np.random.default_rng(seed)
    X = np.column_stack(
        [
            rng.normal(size=n),
            rng.lognormal(5, 2, n),
            rng.poisson(0.7, n),
            rng.random(n) < 0.3,
            rng.integers(0, 4, n),
            rng.integers(0, 45, n),
            np.round(rng.normal(size=n), 1),
        ]
    ).astype(float)
    X[rng.random(X.shape) < 0.05] = np.nan
    return X


def _hard_rows(booster: lgb.Booster, seed: int) -> np.ndarray:
    """Rows that sit on the thresholds, one step beside them, and on every odd value a column may hold."""
    rng = np.random.default_rng(seed)
    X = _rows(seed + 1)
    forest = parse_forest(booster)
    for column in range(P):
        cuts = {float(t.threshold[j]) for t in forest.trees for j in np.flatnonzero(t.feature == column)} or {0.0}
        on = rng.choice(sorted(cuts), N)
        odd = [
            np.nan,
            np.inf,
            -np.inf,
            0.0,
            -0.0,
            1e-35,
            -1e-35,
            9e-36,
            1.1e-35,
            -0.5,
            -1.0,
            -3.0,
            2.7,
            44.0,
            45.0,
            1e3,
            3e9,
            -3e9,
            1e300,
        ]
        kind = rng.integers(0, 5, N)
        X[:, column] = np.select(
            [kind == 0, kind == 1, kind == 2, kind == 3],
            [on, np.nextafter(on, np.inf), np.nextafter(on, -np.inf), rng.choice(odd, N)],
            X[:, column],
        )
    return X


def _train(objective: str = "regression", *, numerical_action: bool = False, **params: object) -> lgb.Booster:
    X, rng = _rows(0), np.random.default_rng(1)
    action = rng.integers(0, ACTIONS, N)
    signal = np.nan_to_num(X[:, 0]) * (action % 3) + np.nan_to_num(X[:, 2]) * (action == 2) + np.nan_to_num(X[:, 5]) % 7
    y = signal + rng.normal(size=N)
    design = np.column_stack([X, action])
    columns = [4, 5] if numerical_action else [4, 5, P]
    settings = {"objective": objective, "num_threads": 1, "min_data_in_leaf": 5, "num_leaves": 31, **params}
    y = (y > 2).astype(float) if objective == "binary" else np.abs(y) if objective == "gamma" else y
    return train_booster(design, y, params=settings, categorical=columns, num_boost_round=40, seed=2)


def _asked_one_by_one(booster: lgb.Booster, X: np.ndarray, settings: np.ndarray, **options: object) -> np.ndarray:
    columns = [np.column_stack([X, np.tile(s, (len(X), 1))]) for s in settings]
    return np.column_stack([booster.predict(c, num_threads=1, **options) for c in columns])


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"objective": "binary"},
        {"objective": "binary", "sigmoid": 1.7},
        {"zero_as_missing": True},
        {"use_missing": False},
        {"numerical_action": True},
        {"num_leaves": 60},
        {"num_leaves": 2},
        {"max_bin": 1_500, "min_data_in_bin": 1, "num_leaves": 50},
        {"max_cat_to_onehot": 64},
        {"min_gain_to_split": 1e9},
    ],
    ids=str,
)
@pytest.mark.parametrize("raw", [False, True])
def test_equals_predict_to_the_last_bit(params: dict[str, object], raw: bool) -> None:
    booster = _train(**params)  # type: ignore[arg-type]
    assert _one_walk._prepared(booster, P, WALKED) is not None, "this booster is meant to be walked"
    for X in (_rows(5), _hard_rows(booster, 6)):
        walked = predict_settings(booster, X, WALKED, raw=raw, threads=2)
        np.testing.assert_array_equal(walked, _asked_one_by_one(booster, X, WALKED, raw_score=raw))


@pytest.mark.parametrize("trees", [1, 7, 40, 99, -1])
def test_asks_as_many_trees_as_wanted(trees: int) -> None:
    booster, X = _train(), _rows(7)
    walked = predict_settings(booster, X, WALKED, trees=trees, threads=1)
    np.testing.assert_array_equal(walked, _asked_one_by_one(booster, X, WALKED, num_iteration=trees))


def test_several_columns_of_settings_with_missing_ones() -> None:
    """Channel and hour: the hour may be missing."""
    booster, X = _train(), _rows(8)
    settings = np.array([(f, a) for f in (np.nan, -1.3, 0.0, 0.4) for a in (0.0, 2.0, 9.0, np.nan)])
    walked = predict_settings(booster, X[:, :-1], settings, threads=1)
    np.testing.assert_array_equal(walked, _asked_one_by_one(booster, X[:, :-1], settings))


def test_stops_where_early_stopping_chose_and_follows_a_booster_that_grows() -> None:
    booster, X = _train(), _rows(9)
    predict_settings(booster, X, WALKED)
    booster.best_iteration = 11
    np.testing.assert_array_equal(predict_settings(booster, X, WALKED), _asked_one_by_one(booster, X, WALKED))
    again = booster_from_text(booster_to_text(booster))
    np.testing.assert_array_equal(predict_settings(again, X, WALKED), _asked_one_by_one(booster, X, WALKED))
    grown = lgb.train(
        {"objective": "regression", "verbosity": -1, "num_threads": 1},
        lgb.Dataset(np.column_stack([X, X[:, 0] > 0]), np.nan_to_num(X[:, 0])),
        num_boost_round=3,
        init_model=again,
    )
    np.testing.assert_array_equal(predict_settings(grown, X, WALKED), _asked_one_by_one(grown, X, WALKED))


@pytest.mark.parametrize(
    "params",
    [
        {"linear_tree": True},
        {"objective": "gamma"},
        {"num_leaves": 100},
        {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
    ],
)
def test_what_it_does_not_know_is_asked_one_by_one(params: dict[str, object]) -> None:
    booster, X = _train(**params), _rows(10)  # type: ignore[arg-type]
    assert _one_walk._prepared(booster, P, WALKED) is None
    np.testing.assert_array_equal(predict_settings(booster, X, WALKED), _asked_one_by_one(booster, X, WALKED))


def test_no_column_of_settings_is_a_plain_prediction() -> None:
    booster, X = _train("binary"), np.column_stack([_rows(15), np.arange(N) % ACTIONS])
    walked = predict_settings(booster, X, np.empty((1, 0)), threads=2)
    np.testing.assert_array_equal(walked[:, 0], booster.predict(X, num_threads=1))


def test_without_numba_and_with_few_rows_the_result_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    booster, X = _train(), _rows(11)
    walked = predict_settings(booster, X, WALKED)
    np.testing.assert_array_equal(predict_settings(booster, X[:100], WALKED), walked[:100])
    monkeypatch.setattr(_one_walk, "_kernel", lambda: None)
    np.testing.assert_array_equal(predict_settings(booster, X, WALKED), walked)


def test_rows_are_independent_of_their_neighbours_and_of_threads() -> None:
    booster, X = _train(), _rows(12)
    walked = predict_settings(booster, X, WALKED, threads=1)
    order = np.random.default_rng(0).permutation(N)[: N - 77]
    np.testing.assert_array_equal(predict_settings(booster, X[order], WALKED, threads=3), walked[order])


def test_the_parsed_tree_decides_as_lightgbm_does() -> None:
    """The one rule in plain Python, walked node by node, against LightGBM."""
    booster = _train(zero_as_missing=True)
    X = _hard_rows(booster, 13)[:200]
    design = np.column_stack([X, np.arange(200) % ACTIONS])
    sums = np.zeros(200)
    for tree in parse_forest(booster).trees:
        for i, row in enumerate(design):
            at = 0
            while at >= 0:
                at = int(tree.right[at] if goes_right(tree, at, float(row[tree.feature[at]])) else tree.left[at])
            sums[i] += tree.leaf[-at - 1]
    np.testing.assert_array_equal(sums, booster.predict(design, num_threads=1))


def test_several_classes_are_not_read() -> None:
    X = _rows(14)
    booster = train_booster(
        X, np.arange(N) % 3, params={"objective": "multiclass", "num_class": 3, "num_threads": 1}, num_boost_round=2, seed=0
    )
    with pytest.raises(UnsupportedForestError, match="several outputs"):
        parse_forest(booster)
