"""Group effects and tests of heterogeneity: known truths, false alarms, power."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.base import BaseEstimator

from collectml.errors import SchemaError
from collectml.uplift import (
    best_linear_predictor,
    doubly_robust_scores,
    heterogeneity_test,
    median_over_splits,
    randomised_scores,
    sequential_test,
    sorted_group_effects,
)


class LinearArms(BaseEstimator):
    """A line for each action: quick to fit hundreds of times, and sure to find something in noise."""

    def fit(self, X, y, *, action, **_):
        order = sorted(set(action), key=lambda a: (a != "no_action", a))
        design = np.column_stack([np.ones(len(X)), X.to_numpy()])
        self.lines_ = {a: np.linalg.lstsq(design[action == a], y[action == a], rcond=None)[0] for a in order}
        return self

    def predict(self, X):
        design = np.column_stack([np.ones(len(X)), X.to_numpy()])
        return pd.DataFrame({a: design @ line for a, line in self.lines_.items()}, index=X.index)


def decisions(seed, *, n=400, effect=0.0, actions=("no_action", "call"), constant=0.0):
    """Heavy-tailed money: a third pay, what they pay is skewed; the effect follows the first feature."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=list("abc"))
    action = rng.choice(actions, size=n)
    gain = (constant + effect * X["a"].to_numpy()) * (action != "no_action")
    y = (rng.random(n) < 0.3) * rng.exponential(size=n) + gain
    return {"X": X, "y": y, "action": action, "logging_propensity": np.full(n, 1 / len(actions))}


def experiment(n, seed, effect=lambda x: x):
    rng = np.random.default_rng(seed)
    x, treated = rng.normal(size=n), rng.integers(2, size=n)
    y = effect(x) * treated + rng.normal(size=n)
    return x, randomised_scores(action=treated, outcome=y)


def one(x):
    return pd.DataFrame({"1": x})


def test_sorted_groups_recover_their_effects():
    x, scores = experiment(40_000, 0)
    result = sorted_group_effects(one(x), scores, groups=4)
    table = result.frame()
    truth = pd.Series(x).groupby(pd.qcut(x, 4, labels=False)).mean()
    assert table["n"].tolist() == [10_000] * 4
    assert (abs(table["effect"] - truth) < 4 * table["se"]).all()
    assert result.difference["difference"][0] == pytest.approx(truth[3] - truth[0], abs=0.15)
    assert result.difference["p_value"][0] < 1e-6
    assert isinstance(result.plot(), Figure)
    assert sorted_group_effects(one(-x), scores).difference["p_value"][0] > 0.999  # backwards is no evidence


def test_intervals_of_group_effects_and_slope_hold():
    held, slopes = [], []
    for seed in range(200):
        x, scores = experiment(500, seed)
        table = sorted_group_effects(one(x), scores, groups=5).frame()
        # the groups' effects, as these customers are
        truth = table["predicted"]
        held += ((table["low"] <= truth) & (truth <= table["high"])).tolist()
        line = best_linear_predictor(one(x), scores).frame().iloc[0]
        slopes.append(line["low"] <= 1 <= line["high"])
    assert 0.93 <= np.mean(held) <= 0.97  # 1,000 intervals
    assert 0.90 <= np.mean(slopes) <= 0.985


def test_constant_predictions_are_one_group_and_no_evidence():
    x, scores = experiment(500, 1)
    groups = sorted_group_effects(one(0 * x + 0.1), scores)
    assert groups.frame()["n"].tolist() == [500]
    assert groups.difference["p_value"].tolist() == [1.0]
    line = best_linear_predictor(one(0 * x + 0.1), scores).frame()
    assert line[["slope", "p_value"]].to_numpy().tolist() == [[0.0, 1.0]]
    assert line["average_effect"][0] == pytest.approx(scores.effects()["1"].mean())
    assert not sequential_test(one(0 * x + 0.1), scores, fold=np.zeros(500)).evidence


def test_folds_are_compared_within_themselves_only():
    """Two folds whose predictions differ in level: pooled, the level looks like evidence; within folds it is none."""
    x, scores = experiment(4000, 2, effect=lambda x: 1.0 + 0 * x)
    fold = np.arange(4000) % 2
    shifted = scores.effects()["1"].groupby(fold).transform("mean").to_numpy() * 10
    line = best_linear_predictor(one(shifted + 0.0), scores, fold=fold).frame()
    assert line["p_value"][0] == 1.0
    groups = sorted_group_effects(one(shifted + 0.01 * x), scores, fold=fold, groups=2)
    assert groups.frame()["n"].tolist() == [2000, 2000]


def test_clusters_widen_what_copies_narrow():
    x, scores = experiment(400, 3)
    copied = randomised_scores(action=[0, 1], outcome=[0.0, 1.0])
    rows = np.repeat(np.arange(400), 3)
    copied = type(scores)(scores.scores.iloc[rows].reset_index(drop=True), scores.support, "0", rows.astype(np.intp), 0.02)
    plain, wide = best_linear_predictor(one(x), scores).frame(), best_linear_predictor(one(x[rows]), copied).frame()
    assert wide["slope"][0] == pytest.approx(plain["slope"][0])
    assert wide["se"][0] == pytest.approx(plain["se"][0], rel=0.02)


def test_profile_says_who_gains():
    x, scores = experiment(2000, 4)
    features = pd.DataFrame(
        {"x": np.where(np.arange(2000) % 9, x, np.nan), "noise": np.random.default_rng(0).normal(size=2000)}
    )
    table = sorted_group_effects(one(x), scores).profile(features).set_index("feature")
    assert table.loc["x", "low"] > 2
    assert table.loc["noise", "low"] < 0 < table.loc["noise", "high"]
    with pytest.raises(SchemaError, match="2,000 decisions"):
        sorted_group_effects(one(x), scores).profile(features[:5])


def test_medians_over_splits_double_the_error():
    results = [best_linear_predictor(one(x), s, confidence=0.975) for x, s in (experiment(300, k) for k in range(5))]
    together = median_over_splits(results)
    assert together.confidence == pytest.approx(0.95)
    assert together.table["slope"][0] == np.median([r.table["slope"][0] for r in results])
    assert together.table["p_value"][0] == min(1, 2 * np.median([r.table["p_value"][0] for r in results]))
    groups = median_over_splits([sorted_group_effects(one(x), s) for x, s in (experiment(300, k) for k in range(3))])
    assert groups.frame()["group"].tolist() == [1, 2, 3, 4, 5]
    assert groups.difference["difference"][0] > 1
    with pytest.raises(ValueError, match="at least one"):
        median_over_splits([])


def test_false_alarms_without_effects_and_with_equal_ones():
    """120 small logs, half without effects, half with the same for all: five in a hundred raise an alarm."""
    alarms = [
        heterogeneity_test(**decisions(s, constant=float(s % 2)), model=LinearArms(), folds=4).table["p_value"][0] < 0.05
        for s in range(120)
    ]
    assert 0.005 <= np.mean(alarms) <= 0.11  # within three standard errors


def test_false_alarms_over_all_actions_together():
    actions = ("no_action", "sms", "call")
    alarms = [heterogeneity_test(**decisions(s, actions=actions), model=LinearArms(), folds=3).evidence for s in range(80)]
    assert np.mean(alarms) <= 0.12


def test_effects_that_differ_are_found():
    found = [heterogeneity_test(**decisions(s, n=1500, effect=0.4), model=LinearArms()).evidence for s in range(20)]
    assert np.mean(found) >= 0.9


def test_the_default_model_finds_a_difference_and_says_so():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"score": rng.normal(size=4000), "noise": rng.normal(size=4000)}, index=range(10, 4010))
    action = rng.choice(["no_action", "call"], size=4000)
    y = 50.0 * (rng.random(4000) < 0.2 + 0.4 * ((action == "call") & (X["score"] > 0)))
    test = heterogeneity_test(X, y, action=action, logging_propensity=np.full(4000, 0.5), folds=3)
    assert test.verdict == "effects differ between accounts: call at an error rate of 5%"
    row = test.frame().iloc[0]
    assert 0.5 < row["slope"] < 1.5
    assert row["difference"] > 10
    assert test.effects.index.isin(X.index).all()
    assert isinstance(test.plot(), Figure)
    assert isinstance(test.linear.plot(), Figure)
    assert set(test.fold.tolist()) == {0, 1}


def test_an_action_too_rare_to_learn_is_left_out_and_named():
    given = decisions(0, n=300)
    given["action"][7] = "visit"
    test = heterogeneity_test(**given, model=LinearArms(), folds=3)
    assert test.left_out == ("visit",)
    assert test.frame()["contrast"].tolist() == ["call"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"folds": 2}, "three folds"),
        ({"error_rate": 0.0}, "error_rate"),
        ({"y": np.zeros(3)}, "one entry for each"),
        ({"groups": 1}, "at least two groups"),
    ],
)
def test_bad_arguments_are_refused(change, says):
    with pytest.raises((ValueError, SchemaError), match=says):
        heterogeneity_test(**{**decisions(0), "model": LinearArms(), **change})


def test_fold_must_fit_the_rows():
    x, scores = experiment(10, 0)
    with pytest.raises(SchemaError, match="fold must have one entry"):
        best_linear_predictor(one(x), scores, fold=[1, 2])


@pytest.mark.slow
def test_pooled_cross_fitting_raises_more_alarms_than_it_says():
    """Why folds are tested in sequence: each half's model has learnt from the other half, and the halves agree by chance."""
    alarms = []
    for seed in range(600):
        given = decisions(seed)
        fold = np.random.default_rng(seed).permutation(len(given["y"])) % 2
        predicted = pd.DataFrame(0.0, index=given["X"].index, columns=["no_action", "call"])
        for k in (0, 1):
            model = LinearArms().fit(given["X"][fold != k], given["y"][fold != k], action=given["action"][fold != k])
            predicted.loc[fold == k] = model.predict(given["X"][fold == k]).to_numpy()
        scores = doubly_robust_scores(
            predicted, action=given["action"], outcome=given["y"], logging_propensity=given["logging_propensity"]
        )
        effects = predicted.sub(predicted["no_action"], axis="index")
        alarms.append(best_linear_predictor(effects, scores, fold=fold).table["p_value"][0] < 0.05)
    assert np.mean(alarms) > 0.065
