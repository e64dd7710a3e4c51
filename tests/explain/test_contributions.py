"""Contributions add up, agree with independent oracles, and have the values a hand-made model must have."""

from __future__ import annotations

import warnings
from functools import partial

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

import collectml as cm
from collectml.errors import CollectMLError, ConfigurationError
from collectml.explain import Contributions, _leaves, contributions, effect_contributions, global_drivers
from collectml.models._lightgbm import train_booster
from collectml.uplift.shared_action import with_action

NAMES = ["score", "dpd", "balance", "kept"]


@pytest.fixture(scope="module")
def rows():
    return np.random.default_rng(1).normal(size=(1_500, 4))


@pytest.fixture(scope="module")
def payers(rows):
    margin = 1.2 * rows[:, 0] - 0.8 * rows[:, 1] + 0.5 * rows[:, 0] * rows[:, 2]
    return np.random.default_rng(2).random(len(rows)) < expit(margin)


@pytest.fixture(scope="module")
def booster(rows, payers):
    return train_booster(rows, payers, params={"objective": "binary", "num_leaves": 15}, num_boost_round=60, seed=3)


@pytest.fixture(scope="module")
def stumps(rows, payers):
    """Trees of one split each: an additive model, whose contributions can be read off its splits."""
    return train_booster(rows, payers, params={"objective": "binary", "num_leaves": 2}, num_boost_round=80, seed=3)


@pytest.fixture(scope="module")
def strategy_model(trained):
    return cm.load(trained.model)


@pytest.fixture(scope="module")
def real(strategy_model, trained):
    """The shared booster of a trained strategy's effects, and rows with missing values and categories."""
    uplift = strategy_model.uplift
    encoded = uplift.encoder_.transform(pd.read_parquet(trained.accounts).head(500))
    assert np.isnan(encoded).any()
    assert uplift.encoder_.categorical_indices_
    return uplift, uplift.learner_, encoded


@pytest.fixture(scope="module")
def shap_explainer():
    """shap's explainer of a booster; what shap and what it imports warn of on their own is left to them."""
    with warnings.catch_warnings():
        # shap colours maps by functions of matplotlib that are going away
        warnings.filterwarnings("ignore", message="The set_(bad|over|under) function", category=PendingDeprecationWarning)
        import shap

    return partial(shap.TreeExplainer, feature_perturbation="tree_path_dependent")


def shap_values(explainer, X):
    with warnings.catch_warnings():
        # a note of shap that its output for LightGBM's binary objective changed its type
        warnings.filterwarnings("ignore", message="LightGBM binary classifier", category=UserWarning)
        return explainer.shap_values(X)


def raw(model, X):
    return model.predict(X, raw_score=True, num_threads=2)


def test_they_add_up_to_the_margin_and_to_the_probability(booster, rows):
    explained = contributions(booster, rows, NAMES, index=pd.Index(range(7, 7 + len(rows)), name="account_id"))
    np.testing.assert_allclose(explained.margin, raw(booster, rows), rtol=1e-9, atol=1e-12)
    in_probability = explained.in_probability()
    np.testing.assert_allclose(in_probability.margin, booster.predict(rows, num_threads=2), rtol=1e-9)
    # what a payment of 250 is worth: money adds up wherever probability does
    money = 250 * in_probability.values.sum(axis="columns") + 250 * in_probability.base
    np.testing.assert_allclose(money, 250 * booster.predict(rows, num_threads=2), rtol=1e-9)
    assert list(explained.values.columns) == NAMES
    assert explained.values.index[0] == 7
    assert explained.values.index.name == "account_id"


def test_they_add_up_on_a_trained_strategy(real):
    uplift, learner, encoded = real
    names = uplift.encoder_.columns_
    pay = contributions(learner.boosters_["pay"], encoded, names)
    np.testing.assert_allclose(pay.margin, raw(learner.boosters_["pay"], encoded), rtol=1e-9, atol=1e-12)
    effect = learner.boosters_["pay_effect"]
    for position in (1, len(uplift.actions_) - 1):
        there, here = with_action(encoded, position), with_action(encoded, 0)
        explained = effect_contributions(effect, encoded, position, 0, names)
        np.testing.assert_allclose(explained.margin, raw(effect, there) - raw(effect, here), rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(explained.base, 0)
        assert list(explained.values.columns) == [*names, "(the action itself)"]
    # the probabilities of a whole strategy, from its own common margin on
    start = learner.pay_margin(encoded, len(uplift.actions_))
    moved = Contributions(explained.values, start[:, 0]).in_probability()
    np.testing.assert_allclose(moved.margin, expit(start[:, len(uplift.actions_) - 1]), rtol=1e-9)


def test_of_the_control_against_itself_nothing_is_to_be_explained(real):
    uplift, learner, encoded = real
    explained = effect_contributions(learner.boosters_["pay_effect"], encoded[:50], 0, 0, uplift.encoder_.columns_)
    assert (explained.values.to_numpy() == 0).all()
    assert (explained.margin == 0).all()


def test_shap_says_the_same(booster, rows, shap_explainer):
    few = rows[:60]
    ours = contributions(booster, few, NAMES)
    explainer = shap_explainer(booster)
    np.testing.assert_allclose(shap_values(explainer, few), ours.values, rtol=1e-9, atol=1e-12)
    # shap asks LightGBM for those; interactions it computes itself, in C++ of its own, and their rows add up to contributions
    independent = explainer.shap_interaction_values(few)
    assert np.abs(independent).sum() > 1
    np.testing.assert_allclose(np.sum(independent, axis=2), ours.values, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(explainer.expected_value, ours.base, rtol=1e-9)


def test_shap_says_the_same_on_a_trained_strategy_with_categories(real, shap_explainer):
    uplift, learner, encoded = real
    theirs = shap_values(shap_explainer(learner.boosters_["pay"]), encoded[:50])
    ours = contributions(learner.boosters_["pay"], encoded[:50], uplift.encoder_.columns_)
    np.testing.assert_allclose(theirs, ours.values, rtol=1e-9, atol=1e-12)


def test_of_an_additive_model_they_are_its_parts(stumps, rows):
    """Of one split a feature's contribution is the leaf it reaches less the mean leaf of the training rows."""
    expected = np.zeros((len(rows), len(NAMES)))
    base = 0.0
    for _, tree in stumps.trees_to_dataframe().groupby("tree_index"):
        split, left, right = (tree.iloc[i] for i in range(3))
        feature = int(split["split_feature"].removeprefix("Column_"))
        share = left["count"] / (left["count"] + right["count"])
        mean = share * left["value"] + (1 - share) * right["value"]
        leaf = np.where(rows[:, feature] <= split["threshold"], left["value"], right["value"])
        expected[:, feature] += leaf - mean
        base += mean
    explained = contributions(stumps, rows, NAMES)
    np.testing.assert_allclose(explained.values, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(explained.base, base, rtol=1e-9, atol=1e-9)


def test_one_feature_that_decides_gets_it_all_and_with_the_right_sign():
    X = np.column_stack([np.tile([-1.0, 1.0], 200), np.random.default_rng(0).normal(size=400)])
    model = train_booster(X, 10 * X[:, 0] + 50, params={"objective": "l2", "num_leaves": 4}, num_boost_round=400, seed=0)
    explained = contributions(model, X, ["sign", "noise"])
    np.testing.assert_allclose(explained.base, 50, rtol=1e-9)
    np.testing.assert_allclose(explained.values["sign"], 10 * X[:, 0], rtol=1e-6)
    assert explained.values["noise"].abs().max() < 1e-6


def test_a_model_without_a_split_has_a_base_and_no_contributions():
    X = np.ones((60, 2))
    model = train_booster(X, np.tile([0.0, 1.0], 30), params={"objective": "binary"}, num_boost_round=3, seed=0)
    explained = contributions(model, X, ["a", "b"])
    assert (explained.values.to_numpy() == 0).all()
    np.testing.assert_allclose(explained.margin, raw(model, X), atol=1e-12)


def test_the_order_of_columns_changes_no_name_s_contribution(rows, payers, booster):
    order = [2, 0, 3, 1]
    permuted = train_booster(
        rows[:, order], payers, params={"objective": "binary", "num_leaves": 15}, num_boost_round=60, seed=3
    )
    theirs = contributions(permuted, rows[:, order], [NAMES[i] for i in order]).values[NAMES]
    pd.testing.assert_frame_equal(contributions(booster, rows, NAMES).values, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("plain", [False, True])
def test_blocks_threads_and_row_order_change_nothing(plain, booster, rows, monkeypatch):
    if plain:  # the package's function hides the module of its name
        monkeypatch.setitem(contributions.__globals__, "leaf_paths", lambda booster, setting: None)
    whole = contributions(booster, rows, NAMES, threads=1)
    monkeypatch.setitem(contributions.__globals__, "BATCH_ROWS", 7)
    monkeypatch.setattr(_leaves, "BLOCK", 7)
    parts = contributions(booster, rows, NAMES, threads=2)
    pd.testing.assert_frame_equal(whole.values, parts.values, check_exact=True)
    backwards = contributions(booster, rows[::-1].copy(), NAMES)
    np.testing.assert_array_equal(backwards.values.to_numpy()[::-1], whole.values)


def test_no_rows_give_no_contributions(booster):
    explained = contributions(booster, np.empty((0, 4)), NAMES)
    assert explained.values.shape == (0, 4)
    assert explained.in_probability().margin.shape == (0,)


def test_groups_are_the_sums_of_their_members(booster, rows):
    explained = contributions(booster, rows, NAMES)
    grouped = explained.grouped({"score": "standing", "kept": "standing"})
    assert list(grouped.values.columns) == ["standing", "dpd", "balance"]
    np.testing.assert_allclose(
        grouped.values["standing"], explained.values["score"] + explained.values["kept"], rtol=1e-12, atol=1e-15
    )
    np.testing.assert_allclose(grouped.margin, explained.margin, rtol=1e-12)


@pytest.mark.parametrize("gap", [0.0, 1e-13, 1e-8, 1e-3, 3.0, -40.0])
def test_probability_adds_up_however_near_or_far_the_margin_is(gap):
    explained = Contributions(pd.DataFrame({"a": [2.0 + gap], "b": [-2.0]}), np.array([0.4])).in_probability()
    np.testing.assert_allclose(explained.margin, expit(0.4 + ((2.0 + gap) - 2.0)), rtol=1e-9, atol=1e-16)
    assert np.sign(explained.values["a"].iloc[0]) == np.sign(2.0 + gap)
    assert explained.values["b"].iloc[0] < 0


def with_settings(rows, **params):
    settings = {"verbosity": -1, "num_threads": 2, "deterministic": True, "force_row_wise": True, **params}
    y = (rows[:, 0] > 0).astype(float) + (rows[:, 1] > 1) * (params.get("num_class", 1) > 1)
    return lgb.train(settings, lgb.Dataset(rows, y, params=settings), num_boost_round=5)


REFUSED = {
    "linear trees": (partial(with_settings, objective="l2", linear_tree=True), "linear trees"),
    "a random forest": (
        partial(with_settings, objective="l2", boosting="rf", bagging_freq=1, bagging_fraction=0.6),
        "random forest",
    ),
    "several classes": (partial(with_settings, objective="multiclass", num_class=3), "several margins"),
}


@pytest.mark.parametrize("which", REFUSED)
@pytest.mark.parametrize("reread", [False, True], ids=["trained", "read back"])
def test_boosters_that_do_not_add_up_are_refused(which, reread, rows):
    make, words = REFUSED[which]
    model = make(rows)
    model = lgb.Booster(model_str=model.model_to_string()) if reread else model
    with pytest.raises(ConfigurationError, match=words):
        contributions(model, rows, NAMES)


@pytest.mark.parametrize(
    ("columns", "names", "words"),
    [
        (slice(0, 3), NAMES[:3], "trained on 4 columns"),
        (0, NAMES, "trained on 4 columns"),
        (slice(None), NAMES[:3], "4 different names, not 3 among 3"),
        (slice(None), ["a", "a", "b", "c"], "4 different names, not 3 among 4"),
    ],
)
def test_rows_and_names_that_do_not_fit_are_refused(columns, names, words, booster, rows):
    with pytest.raises(ConfigurationError, match=words):
        contributions(booster, rows[:, columns], names)


def test_a_sum_that_misses_is_an_error_and_not_an_explanation(booster, rows):
    class Distorted:
        def __getattr__(self, name):
            return getattr(booster, name)

        def predict(self, X, **kwargs):
            out = booster.predict(X, **kwargs)
            out[-1] += 1e-5
            return out

    with pytest.raises(CollectMLError, match="miss the prediction by 1e-05"):
        contributions(Distorted(), rows, NAMES)


def test_drivers_are_ranked_with_the_direction_they_have():
    x = np.random.default_rng(4).normal(size=(400, 4))
    x[:, 3] = 5.0
    x[:200, 1] = np.nan  # what is missing has no direction and takes none away
    points = pd.DataFrame({"up": 2 * x[:, 0], "down": np.nan_to_num(-x[:, 1]), "bow": x[:, 2] ** 2, "flat": 0.5, "own": 7.0})
    table = global_drivers(points, x)
    assert table["feature"].tolist() == points.abs().mean().sort_values(ascending=False).index.tolist()
    assert dict(zip(table["feature"], table["direction"], strict=True)) == {
        "up": "raises",
        "down": "lowers",
        "bow": "mixed",
        "flat": "mixed",
        "own": "mixed",
    }
    np.testing.assert_allclose(table.set_index("feature")["mean_abs_pp"]["up"], 2 * np.abs(x[:, 0]).mean())
    # a level's code has no order to rise in
    levels = global_drivers(points, x, levels=["up"]).set_index("feature")["direction"]
    assert levels["up"] == "mixed"
    assert levels["down"] == "lowers"


def test_drivers_of_equal_weight_keep_the_order_of_the_columns():
    points = pd.DataFrame({name: [1.0, -1.0] * 20 for name in "dacb"})
    assert global_drivers(points, np.zeros((40, 4)))["feature"].tolist() == list("dacb")
