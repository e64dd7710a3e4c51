"""Effects from two kinds of models, weighted by held-out outcomes: against known truth and scikit-learn's Poisson regression."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import PoissonRegressor

from collectml.models._cross_fit import BoostingPlan, cross_fit_margin
from collectml.uplift import UpliftModel
from collectml.uplift.amount_effects import with_regressed_effects
from collectml.uplift.cross_fit import decision_folds
from collectml.uplift.decisions import Decisions
from collectml.uplift.effects import EffectRegression, cross_fitted_effects, curvatures
from collectml.uplift.hurdle import HurdleLearner
from collectml.uplift.likelihood import BINOMIAL, POISSON, Response
from collectml.uplift.stacking import Stack
from collectml.uplift.uncertainty import standard_errors


def outcomes(n, seed, effects):
    """Draw payments of three actions beside a baseline; `effects` maps features to log-odds, (n, 3)."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    action = rng.integers(3, size=n)
    offset = -0.5 + 0.8 * X[:, 0]
    truth = offset[:, None] + effects(X)
    y = (rng.random(n) < expit(truth[np.arange(n), action])).astype(float)
    return X, Response(action, y, offset, 3), truth


def crossed(X):
    """Effects that hang on two signs together: nothing of them shows along one feature."""
    sign = np.sign(X[:, 1] * X[:, 2])
    return np.column_stack([np.zeros(len(X)), 0.8 * sign, -0.8 * sign])


def test_the_model_that_is_right_gets_the_weight():
    X, response, _ = outcomes(20_000, 0, crossed)
    wrong = np.random.default_rng(1).normal(scale=0.5, size=(20_000, 3))
    stack = Stack.fit(response, [wrong, 0.8 * crossed(X)])  # as if shrunk
    assert stack.gain > 100
    assert stack.weights[0] < 0.1
    assert stack.weights[1] == pytest.approx(1.25, abs=0.1)
    assert np.corrcoef(stack.combine([wrong, crossed(X)]).ravel(), crossed(X).ravel())[0, 1] > 0.98


def test_what_mends_the_baseline_is_no_effect():
    def common(X):
        return np.tile(np.sign(X[:, [3]]), (1, 3)) + np.array([0.0, 0.3, 0.1])

    X, response, _ = outcomes(20_000, 0, common)
    level_only = np.zeros((20_000, 3))
    stack = Stack.fit(response, [level_only, np.tile(np.sign(X[:, [3]]), (1, 3))])
    assert stack.gain < 1
    assert stack.weights == pytest.approx([1.0, 0.0])
    assert stack.common[1] == pytest.approx(1.0, abs=0.1)
    mended = stack.combine([level_only, common(X)])
    assert (mended == mended[:, :1]).all()  # the first model said that nobody gains, and was not contradicted
    assert np.corrcoef(mended[:, 0], np.sign(X[:, 3]))[0, 1] > 0.999


def test_weights_are_where_the_likelihood_is_highest():
    X, response, _ = outcomes(5_000, 2, crossed)
    models = [np.random.default_rng(3).normal(scale=0.3, size=(5_000, 3)) + 0.3 * crossed(X), 0.5 * crossed(X)]
    stack = Stack.fit(response, models)
    best = response.log_likelihood(stack.combine(models)) - 2 * float(stack.levels @ stack.levels)
    for step in np.random.default_rng(4).normal(scale=0.05, size=(50, 7)):
        weights = np.clip(stack.weights + step[3:5], 0, 1.5)
        common = np.clip(stack.common + step[5:], 0, 1.5)
        moved = Stack(stack.frequency, stack.levels + step[:3], weights, common, 0.0)
        assert response.log_likelihood(moved.combine(models)) - 2 * float(moved.levels @ moved.levels) <= best + 1e-4


def test_models_that_differ_are_less_sure():
    rng = np.random.default_rng(0)
    one, two = (m - m.mean(axis=0) for m in rng.normal(size=(2, 500, 3)))
    even = np.full(3, 1 / 3)
    both = Stack(even, np.zeros(3), np.array([0.6, 0.6]), np.zeros(2), 9.0)
    contrast = (one - one[:, :1]) - (two - two[:, :1])
    half = contrast / 2  # two equally credible values, half their distance either way
    assert both.between([one, two]) == pytest.approx(half**2)
    assert Stack(even, np.zeros(3), np.array([1.0, 0.0]), np.zeros(2), 0.0).between([one, two]).max() == 0


def test_what_says_nothing_of_differences_weighs_nothing_but_is_a_reason_to_doubt():
    X, response, _ = outcomes(20_000, 0, crossed)
    silent = np.full((20_000, 3), 0.1) + 0.4 * X[:, [3]]  # of the account, whatever the action
    stack = Stack.fit(response, [silent, 0.8 * crossed(X)])
    assert stack.gain > 100
    assert stack.weights[0] < 1e-6
    contrast = crossed(X) - crossed(X)[:, :1]
    contrast = contrast - contrast.mean(axis=0)
    share = stack.weights[1] / (stack.weights[1] + 0.5)
    assert stack.between([silent, crossed(X)]) == pytest.approx(share * (1 - share) * contrast**2, abs=1e-9)


def test_without_evidence_effects_differ_far_less_than_is_known_of_them_and_not_by_fold():
    X, response, _ = outcomes(4_000, 0, lambda X: np.zeros((len(X), 3)) + np.array([0.0, 0.3, 0.1]))
    fold = (np.arange(4_000) % 4).astype(np.int8)
    fitted = cross_fitted_effects(np.column_stack([np.ones(4_000), X]), response, fold)
    assert fitted.evidence_gain <= 0
    for said in (fitted.effects, fitted.out_of_fold):
        effects = said - said[:, :1]
        assert (effects[:, 1:].std(axis=0) < 0.5 * standard_errors(fitted, np.arange(4_000))[:, 1:].mean(axis=0)).all()
        assert effects.mean(axis=0) == pytest.approx([0.0, 0.3, 0.1], abs=0.25)
        assert np.ptp([said[fold == k].mean(axis=0) for k in range(4)], axis=0).max() < 0.01


def test_an_action_whose_effect_differs_more_is_shrunk_less():
    def effects(X):
        by_sms, by_call = 0.05 * X[:, 1:4].sum(axis=1), 0.5 * X[:, 1:4].sum(axis=1)
        return np.column_stack([np.zeros(len(X)), by_sms, by_call])

    inside, ratios = [], []
    for seed in range(5):
        X, response, truth = outcomes(6_000, seed, effects)
        Z = np.column_stack([np.ones(6_000), X])
        fitted = cross_fitted_effects(Z, response, (np.arange(6_000) % 4).astype(np.int8))
        strength = fitted.own.scales_[:, 1:].max(axis=1)
        ratios.append(strength[2] / strength[1])
        deviation = truth - response.offset[:, None]
        error = standard_errors(fitted, np.arange(6_000))
        wrong = fitted.effects - fitted.effects[:, :1] - (deviation - deviation[:, :1])
        inside.append((np.abs(wrong) <= 1.96 * error)[:, 1:].mean(axis=0))
    assert min(ratios) > 1.3
    assert np.mean(inside) == pytest.approx(0.95, abs=0.05)
    assert np.mean(inside, axis=0).min() > 0.88


def test_the_poisson_regression_is_scikit_learns_where_nothing_is_shrunk():
    rng = np.random.default_rng(0)
    n = 4_000
    Z = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    action, weight = rng.integers(2, size=n), rng.uniform(0.2, 2.0, n)
    weight[::7] = 0.0  # not observed
    truth = (Z @ np.array([[0.1, 0.4, 0.0], [-0.2, 0.0, 0.3]]).T)[np.arange(n), action]
    y, offset = rng.gamma(2.0, np.exp(truth) / 2.0), 0.3 * Z[:, 1]
    response = Response(action, y, offset, 2, family=POISSON, weight=weight)
    curvature = curvatures(Z, response, np.zeros(n, dtype=np.int8))[0]
    found = EffectRegression(2).fit(Z, response, curvature, np.full((2, 3), 1e3)).weights_
    for a in range(2):
        i = action == a
        oracle = PoissonRegressor(alpha=0.0, tol=1e-10, max_iter=1000).fit(Z[i, 1:], y[i], sample_weight=weight[i])
        beside = np.array([oracle.intercept_, *oracle.coef_]) - [0.0, 0.3, 0.0]
        assert found[a] == pytest.approx(beside, abs=1e-4)


def test_likelihoods_have_the_slope_and_curvature_of_their_sums():
    rng = np.random.default_rng(0)
    for family, y in ((BINOMIAL, np.array([0.0, 1.0, 1.0])), (POISSON, np.array([0.0, 0.7, 3.0]))):
        offset, step = rng.normal(size=3), 1e-4
        response = Response(np.zeros(3, dtype=np.intp), y, offset, 1, family=family, weight=np.array([1.0, 2.0, 0.5]))
        for j in range(3):
            nudge = step * np.eye(3)[j]
            up, middle, down = (response.slope(s * nudge)[0] for s in (1, 0, -1))
            assert response.slope(np.zeros(3))[1][j] == pytest.approx((up - down) / (2 * step), abs=1e-6)
            assert response.curvature()[j] == pytest.approx(-(up - 2 * middle + down) / step**2, abs=1e-4)


def conditional_world(n, seed, strength=1.0):
    """Whom a call helps takes two features together: names as a user would have them."""

    def effects(X):
        called = np.where((X[:, 1] > 0) & (X[:, 2] > 0.3), 1.5, -0.3)
        return strength * np.column_stack([np.zeros(n), called, -called]) + np.array([0.0, 0.2, 0.2])

    X, response, truth = outcomes(n, seed, effects)
    names = np.array(["no_action", "call", "letter"])
    frame = pd.DataFrame(X, columns=[f"x{i}" for i in range(5)])
    return frame, response.y, names[response.action], pd.DataFrame(expit(truth), columns=names)


def test_effects_on_conditions_are_found_and_weighted_in():
    X, y, action, _ = conditional_world(10_000, 0)
    model = UpliftModel(random_state=0, folds=3).fit(X, y, action=action)
    fresh, _, _, truth = conditional_world(5_000, 1)
    effect = truth.sub(truth["no_action"], axis="index")
    assert model.diagnostics_["weight_boosters"] > 0.5
    assert model.diagnostics_["evidence_of_heterogeneity"] > 20
    assert np.corrcoef(model.predict_effect(fresh)["call"], effect["call"])[0, 1] > 0.9
    low, high = model.predict_interval(fresh)
    treated = ["call", "letter"]
    assert ((effect >= low) & (effect <= high))[treated].to_numpy().mean() > 0.8  # one log


def test_boosters_start_from_nothing_that_saw_the_fold_held_out():
    X, response, _ = outcomes(3_000, 0, crossed)
    fold = (np.arange(3_000) % 3).astype(np.int8)

    def boosted(y):
        names = [f"x{i}" for i in range(5)]
        d = Decisions(X, names, [], response.action, 3, y, y > 0, True, fold)
        plan = BoostingPlan({"objective": "binary", "num_leaves": 15, "learning_rate": 0.05}, 5, 30, 0)
        fit = cross_fit_margin(X, y, fold, plan)
        assert fit.trees == 5  # stopped by the limit, so that no number of trees hangs on the outcomes changed below
        return [b.predictions for b in HurdleLearner(5, {}, 0, 1)._boosted(d, y, fit)]

    changed = np.where((fold == 0) & (np.arange(3_000) % 10 == 0), 1 - response.y, response.y)
    one, other = boosted(response.y), boosted(changed)
    for before, after in zip(one, other, strict=True):
        assert np.array_equal(before[fold == 0], after[fold == 0])
        assert not np.array_equal(before[fold == 1], after[fold == 1])


def test_what_models_disagree_on_is_added_to_what_the_regression_does_not_know():
    X, response, _ = outcomes(2_000, 0, crossed)
    Z = np.column_stack([np.ones(2_000), X])
    fitted = cross_fitted_effects(Z, response, (np.arange(2_000) % 2).astype(np.int8))
    between = np.random.default_rng(1).random((2_000, 3))
    rows = np.arange(5, 500)
    alone, both = standard_errors(fitted, rows), standard_errors(replace(fitted, between=between), rows)
    assert both**2 - alone**2 == pytest.approx(between[rows])


def test_without_differences_boosters_get_no_say():
    claims = 0
    for seed in range(3):
        X, y, action, _ = conditional_world(4_000, seed, strength=0.0)
        model = UpliftModel(random_state=seed, folds=3).fit(X, y, action=action)
        claims += model.diagnostics_["weight_boosters"] > 0 or model.diagnostics_["evidence_of_heterogeneity"] > 0
    assert claims == 0


def amounts(n, seed, strength):
    """Everybody's share of what is owed, given payment, multiplied by each action's own function of the features."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    owed = rng.lognormal(6, 0.5, n)
    action = rng.integers(4, size=n)
    slope = strength * np.array([[0, 0, 0], [0.35, 0, 0.2], [-0.35, 0.2, 0], [0, -0.3, 0.3]]).T
    share = np.clip(0.25 * np.exp(0.3 * X[:, [0]] + X[:, 1:4] @ slope), 0.02, 0.95)
    paid = rng.random(n) < 0.6
    mean = share[np.arange(n), action]
    y = paid * rng.beta(2 * mean, 2 * (1 - mean)) * owed
    fold = decision_folds(action, paid, None, folds=3, seed=0)
    return Decisions(X, [f"x{i}" for i in range(5)], [], action, 4, y, paid, False, fold), owed, share


def regressed_effects(d, share, owed):
    rules = partial(HurdleLearner(200, {}, 0, 1)._amount_rules, d)
    return with_regressed_effects(d, share, owed, np.zeros(len(d.y)), range(5), [], rules=rules)


def test_amounts_that_actions_change_differently_are_regressed():
    d, owed, truth = amounts(8_000, 0, strength=1.0)
    known = np.tile(truth.mean(axis=1, keepdims=True), (1, 4))  # boosters that see the account and no action
    found, _ = regressed_effects(d, known, owed)

    def off(share):
        return float(np.sqrt(np.mean(np.log(share / truth) ** 2)))

    assert off(found) < 0.4 * off(known)


def test_intervals_allow_for_what_the_regression_of_amounts_does_not_know():
    d, owed, _ = amounts(8_000, 0, strength=1.0)
    names = np.array(["no_action", "call", "letter", "visit"])
    X = pd.DataFrame(d.X, columns=d.names).assign(owed=owed)
    model = UpliftModel(random_state=0, folds=3, n_estimators=80).fit(X, d.y, action=names[d.action], paid=d.paid)
    fresh, owed, share = amounts(2_000, 1, strength=1.0)
    truth = pd.DataFrame(0.6 * share * owed[:, None], columns=names)
    low, high = model.predict_interval(pd.DataFrame(fresh.X, columns=d.names).assign(owed=owed))
    effect = truth.sub(truth["no_action"], axis="index")
    assert "amount_spread" in model.learner_.boosters_
    assert 0.8 < ((effect >= low) & (effect <= high))[list(names[1:])].to_numpy().mean() < 1


def test_amounts_without_differences_stay_alike():
    for seed in range(4):
        d, owed, truth = amounts(4_000, seed, strength=0.0)
        known = np.tile(truth.mean(axis=1, keepdims=True), (1, 4))
        found, _ = regressed_effects(d, known, owed)
        assert found / found[:, :1] == pytest.approx(np.ones((4_000, 4)))


def test_what_boosters_say_of_differences_counts_only_where_payments_agree():
    for seed in range(4):
        d, owed, truth = amounts(3_000, seed, strength=0.0)
        noisy = truth * np.exp(np.random.default_rng(100 + seed).normal(scale=0.15, size=truth.shape)) * [1.0, 1.2, 0.9, 1.0]
        found, _ = regressed_effects(d, noisy, owed)
        levels = np.median(found / found[:, :1], axis=0)
        assert np.isclose(found / found[:, :1], levels).all(axis=1).mean() > 0.99  # but for what exceeds any amount seen
        assert levels == pytest.approx([1.0, 1.2, 0.9, 1.0], rel=0.03)
        d, owed, truth = amounts(3_000, seed, strength=1.0)
        kept, regressed = regressed_effects(d, truth, owed)
        assert regressed is None
        assert np.corrcoef(np.log(kept / kept[:, :1])[:, 1], np.log(truth / truth[:, :1])[:, 1])[0, 1] > 0.99


def test_what_boosters_miss_of_everybodys_amount_is_mended_without_touching_differences():
    d, owed, truth = amounts(8_000, 0, strength=0.0)
    apart = np.array([1.0, 1.2, 0.9, 1.0])
    blurred = np.exp(np.log(truth).mean()) * apart * np.ones((len(d.y), 1))  # knows the offer, not the account
    found, _ = regressed_effects(d, blurred, owed)
    assert found / found[:, :1] == pytest.approx(np.tile(apart, (len(d.y), 1)))
    assert np.corrcoef(np.log(found[:, 0]), np.log(truth[:, 0]))[0, 1] > 0.95


def test_nobody_paid():
    d, owed, truth = amounts(300, 0, strength=0.0)
    nobody = Decisions(d.X, d.names, [], d.action, 4, 0 * d.y, np.zeros(300, dtype=bool), False, d.fold)
    assert regressed_effects(nobody, truth, owed)[0] is truth


def boosted_kinds(seed, effects):
    """How close both kinds of boosters come to twelve actions' effects; `effects` maps features and actions' numbers to log-odds."""
    rng = np.random.default_rng(seed)
    n, actions = 8_000, 12
    X, action, rows = rng.normal(size=(n, 5)), rng.integers(actions, size=n), np.arange(n)
    truth = effects(X, np.arange(actions))
    y = (rng.random(n) < expit(-0.5 + 0.8 * X[:, 0] + truth[rows, action])).astype(float)
    fold = (rows % 3).astype(np.int8)
    d = Decisions(X, [f"x{i}" for i in range(5)], [], action, actions, y, y > 0, True, fold)
    fit = cross_fit_margin(
        X, y, fold, BoostingPlan({"objective": "binary", "num_leaves": 15, "learning_rate": 0.05}, 100, 30, 0)
    )

    def own(effect):
        return (effect - effect.mean(axis=1, keepdims=True) - effect.mean(axis=0)).ravel()

    boosted = HurdleLearner(200, {}, 0, 1)._boosted(d, y, fit)
    return [float(np.corrcoef(own(b.predictions), own(truth))[0, 1]) for b in boosted]


def test_one_kind_of_boosters_finds_what_actions_do_alike_the_other_what_one_does_alone():
    def alone(X, k):
        way = np.random.default_rng(9).choice([-1.0, 1.0], size=len(k))
        return way * np.sign(X[:, 1 + k % 4] - (k - 6) / 30)

    def alike(X, k):
        return 0.5 * np.where(k % 2, 1.0, -1.0) * np.sign(X[:, [1]])

    for seed in range(2):
        groups, single = boosted_kinds(seed, alone)
        assert single > groups + 0.01
        groups, single = boosted_kinds(seed, alike)
        assert groups > single + 0.01
