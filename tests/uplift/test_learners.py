"""Learners beside the hurdle, known and estimated propensities, ordered offers and intervals: against known truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import expit, softmax

from collectml.errors import ConfigurationError
from collectml.uplift import UpliftModel
from collectml.uplift.basis import Interactions
from collectml.uplift.cross_fit import decision_folds
from collectml.uplift.decisions import Decisions
from collectml.uplift.ensemble import _weights
from collectml.uplift.ordered import never_falling
from collectml.uplift.propensities import logging_propensities

ACTIONS = np.array(["no_action", "call", "letter"])


def binary_world(n, seed=0, confounded=False):
    """Call helps where x1 > 0 and harms elsewhere, the letter helps everybody a little; who is called may depend on x0."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 4)), columns=[f"x{i}" for i in range(4)])
    shift = 0.7 * np.tanh(X["x1"].to_numpy())
    margin = 0.8 * X["x0"].to_numpy()[:, None] - 0.4 + np.column_stack([np.zeros(n), shift, np.full(n, 0.2)])
    truth = expit(margin)
    tilt = np.column_stack([np.zeros(n), X["x0"], -X["x0"]]) if confounded else np.zeros((n, 3))
    p = softmax(tilt, axis=1)
    taken = (rng.random(n)[:, None] > np.cumsum(p, axis=1)).sum(axis=1)
    rows = np.arange(n)
    y = (rng.random(n) < truth[rows, taken]).astype(float)
    return X, ACTIONS[taken], y, p[rows, taken], pd.DataFrame(truth, columns=ACTIONS)


@pytest.mark.parametrize("learner", ["hurdle", "s", "t", "x", "dr", "ensemble"])
def test_every_learner_finds_a_strong_effect_in_a_confounded_log(learner):
    X, action, y, p, _ = binary_world(12_000, confounded=True)
    model = UpliftModel(learner, random_state=0, folds=3, n_estimators=150).fit(X, y, action=action, logging_propensity=p)
    fresh, _, _, _, truth = binary_world(4_000, seed=1)
    effect, true_effect = model.predict_effect(fresh), truth.sub(truth["no_action"], axis="index")
    assert np.corrcoef(effect["call"], true_effect["call"])[0, 1] > 0.6
    assert effect["letter"].mean() == pytest.approx(true_effect["letter"].mean(), abs=0.05)
    assert model.oof_outcomes_.shape == (12_000, 3)


def test_the_t_learner_on_a_negative_outcome_and_the_ensemble_refuses_it():
    X, action, y, _, _ = binary_world(600)
    UpliftModel("dr", random_state=0, folds=2).fit(X, y - 0.5, action=action)
    with pytest.raises(Exception, match="ensemble is for money"):
        UpliftModel("ensemble").fit(X, y - 0.5, action=action)


def decisions(n, seed, confounded, known):
    X, action, y, p, _ = binary_world(n, seed, confounded)
    codes = pd.Index(ACTIONS).get_indexer(pd.Index(action)).astype(np.intp)
    fold = decision_folds(codes, y > 0, None, folds=3, seed=0)
    d = Decisions(X.to_numpy(), list(X), [], codes, 3, y, y > 0, True, fold, p if known else None)
    return d, p


def test_known_propensities_are_used_as_given():
    d, p = decisions(500, 0, confounded=True, known=True)
    found = logging_propensities(d, params={}, seed=0)
    assert found.of_taken is d.propensity
    assert not found.estimated
    assert found.facts["little_support_rows"] == (p < 0.02).sum()


def test_estimated_propensities_are_calibrated_and_counted():
    d, p = decisions(20_000, 0, confounded=True, known=False)
    found = logging_propensities(d, params={"num_threads": 1}, seed=0)
    assert found.estimated
    assert np.corrcoef(found.of_taken, p)[0, 1] > 0.97
    # 1/p weighs every action's rows as the whole log
    for a in range(3):
        assert (1 / found.of_taken[d.action == a]).sum() / 20_000 == pytest.approx(1, abs=0.05)
    assert found.facts["floored_rows"] == (found.of_taken <= 0.005).sum()
    assert found.facts["log_loss_gain"] > 0.05


def test_an_even_log_gives_its_shares():
    d, _ = decisions(4_000, 0, confounded=False, known=False)
    found = logging_propensities(d, params={"num_threads": 1}, seed=0)
    assert np.abs(found.of_taken - np.bincount(d.action)[d.action] / 4_000).max() < 0.05


def test_never_falling_is_isotonic_regression():
    rng = np.random.default_rng(0)
    margin = rng.normal(size=(40, 5))
    done = never_falling(margin, [[1, 3, 4]])
    assert (done[:, [0, 2]] == margin[:, [0, 2]]).all()
    assert (np.diff(done[:, [1, 3, 4]], axis=1) >= -1e-12).all()
    for row in range(5):
        target = margin[row, [1, 3, 4]]
        best = minimize(
            lambda x, t=target: ((x - t) ** 2).sum(),
            np.sort(target),
            constraints=[{"type": "ineq", "fun": lambda x: np.diff(x)}],
            tol=1e-12,
        )
        assert done[row, [1, 3, 4]] == pytest.approx(best.x, abs=1e-4)


def test_ordered_offers_never_pay_less():
    rng = np.random.default_rng(3)
    n = 4_000
    X = pd.DataFrame(rng.normal(size=(n, 3)), columns=list("abc"))
    names = np.array(["no_action", "off_20", "off_40"])
    taken = rng.integers(3, size=n)
    y = (rng.random(n) < expit(X["a"] - 0.5 + np.array([0, 0.3, 0.35])[taken])).astype(float)
    fit = {"action": names[taken]}
    model = UpliftModel(ordered_offers=[["off_20", "off_40", "off_60"]], random_state=0, folds=2, n_estimators=60)
    outcome = model.fit(X, y, **fit).predict(X)
    assert (outcome["off_40"] >= outcome["off_20"] - 1e-12).all()
    assert (model.oof_outcomes_["off_40"] >= model.oof_outcomes_["off_20"] - 1e-12).all()
    read_back = UpliftModel.from_parts(model.to_parts())
    pd.testing.assert_frame_equal(read_back.predict(X), outcome, check_exact=True)


def coverage(seeds):
    """Average coverage over logs and accounts; the truth depends on features alone, so the interval is about that very number."""
    fresh, _, _, _, truth = binary_world(2_000, seed=999)
    true_effect = truth.sub(truth["no_action"], axis="index")
    shares = []
    for seed in seeds:
        X, action, y, _, _ = binary_world(12_000, seed=10 + seed)
        model = UpliftModel(random_state=0, folds=3, n_estimators=150).fit(X, y, action=action)
        low, high = model.predict_interval(fresh)
        shares.append(((true_effect >= low) & (true_effect <= high))[["call", "letter"]].to_numpy().mean())
    return np.array(shares), model, (high - low)["call"].mean()


def test_intervals_cover_the_effects_that_the_features_tell():
    shares, model, width = coverage([0])
    assert shares.mean() > 0.8  # one log: a slope that is off is off for every account
    assert width < 0.2  # and they are no excuse: the effects span some 0.3
    assert (model.predict_error(binary_world(10)[0])["no_action"] == 0).all()
    assert model.diagnostics_["posterior_misfit"] >= 1


@pytest.mark.slow
def test_intervals_cover_on_average_over_logs():
    assert 0.88 < coverage(range(20))[0].mean() < 0.99


def test_who_does_not_know_its_errors_says_so():
    X, action, y, _, _ = binary_world(600)
    model = UpliftModel("s", random_state=0, folds=2, n_estimators=10).fit(X, y, action=action)
    with pytest.raises(ConfigurationError, match="does not know how sure"):
        model.predict_interval(X)


def test_ensemble_weights_find_the_member_that_is_right():
    rng = np.random.default_rng(0)
    right, wrong = rng.normal(size=(2, 30_000, 3))
    target = right + rng.normal(scale=3, size=right.shape)
    level = np.ones((30_000, 1))
    weight = _weights(target, [wrong, right], level, 0.75)
    assert weight[1] > 0.9
    assert weight[0] < 0.15
    assert weight.sum() <= 1 + 1e-9
    few = target[:20], [wrong[:20], right[:20]], level[:20]
    assert _weights(*few, 0.75)[0] > 0.8  # with little to go by, the first
    assert _weights(*few, 0.0)[0] < 0.8  # where everybody paid, nothing speaks for it


def test_interactions_are_standardised_products():
    rng = np.random.default_rng(0)
    Z = np.column_stack([np.ones(500), rng.normal(size=(500, 3))])
    wider = Interactions([1, 3]).fit_transform(Z)
    assert wider.shape == (500, 4 + 3)
    assert wider[:, 4:].mean(axis=0) == pytest.approx(0, abs=1e-12)
    assert wider[:, 4:].std(axis=0) == pytest.approx(1)
    assert np.corrcoef(wider[:, 5], Z[:, 1] * Z[:, 3])[0, 1] == pytest.approx(1)
