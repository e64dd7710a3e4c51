"""Conditions that boosters split on: found where they are, worth having, and learnt without the fold."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest
from scipy.special import expit

from collectml.uplift.cross_fit import decision_folds
from collectml.uplift.decisions import Decisions
from collectml.uplift.hurdle import HurdleLearner
from collectml.uplift.likelihood import POISSON, Response
from collectml.uplift.rules import Condition, Rules, cross_fit_rules, possible_cuts
from collectml.uplift.shared_action import SINGLY, train_shared

PARAMS = {"objective": "binary", "num_leaves": 15, "learning_rate": 0.05, "min_data_in_leaf": 50, **SINGLY, "num_threads": 1}


def outcomes(n, seed):
    """Whom a call helps hangs on x1 and x2 together, whom a letter helps on x3 within one region; the rest is baseline."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(size=(n, 4)), rng.integers(5, size=n)])
    action = rng.integers(3, size=n)
    called = 1.5 * ((X[:, 1] > 0) & (X[:, 2] > 0.3))
    written = 1.5 * ((X[:, 3] > -0.2) & (X[:, 4] == 2))
    effect = np.column_stack([np.zeros(n), called, written])
    offset = -0.5 + 1.5 * X[:, 0]
    y = (rng.random(n) < expit(offset + effect[np.arange(n), action])).astype(float)
    return X, Response(action, y, offset, 3)


def rules_of(booster, X, categorical=(4,)):
    return Rules.of(booster, X, possible_cuts(X, categorical))


def test_conditions_that_tell_actions_apart_are_found():
    X, response = outcomes(20_000, 0)
    booster = train_shared(
        X, response.action, response.y, categorical=[4], params=PARAMS, trees=80, seed=0, offset=response.offset
    )
    rules = rules_of(booster, X)
    first = {}
    for pair in rules.pairs[:5]:
        first.setdefault(tuple((c.column, c.rank < 0) for c in pair), [c.value for c in pair])
    assert first[(1, False), (2, False)] == pytest.approx([0.0, 0.3], abs=0.1)
    assert first[(3, False), (4, True)] == pytest.approx([-0.2, 2.0], abs=0.15)
    assert {c.column for c in rules.single[:3]} == {1, 2, 3}


def called(n, seed, draw, helps):
    """One feature drawn as told, another that everybody pays by; a call helps where told."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([draw(rng, n), rng.normal(size=n)])
    action = rng.integers(2, size=n)
    y = (rng.random(n) < expit(-0.5 + 0.8 * X[:, 1] + 2.0 * action * helps(X[:, 0]))).astype(float)
    booster = train_shared(X, action, y, categorical=[], params=PARAMS, trees=40, seed=0, offset=-0.5 + 0.8 * X[:, 1])
    return X, rules_of(booster, X, [])


@pytest.mark.parametrize(
    ("draw", "helps"),
    [
        (lambda rng, n: rng.integers(5, size=n).astype(float), lambda x: x >= 2),
        (lambda rng, n: rng.integers(5, size=n).astype(float), lambda x: x == 4),
        (lambda rng, n: rng.integers(-1, 3, size=n).astype(float), lambda x: x >= 0),
        (lambda rng, n: np.where(rng.random(n) < 0.2, -999.0, rng.normal(size=n)), lambda x: x > -999),
        (lambda rng, n: np.where(rng.random(n) < 0.1, np.inf, rng.normal(size=n)), lambda x: x > 0.5),
        (lambda rng, n: np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n)), lambda x: (x > 0.5) | np.isnan(x)),
        (lambda rng, n: np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n)), lambda x: x > 0.5),
    ],
    ids=["counts", "last count", "zero above a sentinel", "a far sentinel", "infinite", "missing above", "missing below"],
)
def test_a_condition_tells_the_accounts_apart_that_the_trees_do(draw, helps):
    X, rules = called(6_000, 0, draw, helps)
    assert np.mean(rules.single[0].holds(X) != helps(X[:, 0])) < 0.03


def test_each_step_of_a_count_can_be_a_condition():
    _, rules = called(
        20_000, 0, lambda rng, n: rng.integers(5, size=n).astype(float), lambda x: np.array([0.0, 0.5, 0.0, 0.5, 0.0])[x.astype(int)]
    )  # fmt: skip
    assert {c.value for c in rules.single if c.column == 0} == {0.0, 1.0, 2.0, 3.0}


def test_without_splits_of_the_action_there_are_no_rules():
    X, response = outcomes(2_000, 0)
    alike = train_shared(X, np.zeros(2_000, np.intp), response.y, categorical=[4], params=PARAMS, trees=20, seed=0)
    rules = rules_of(alike, X)
    assert alike.feature_importance("gain").sum() > 0
    assert len(rules) == 0
    assert np.array_equal(rules.beside(X[:, :2], X), X[:, :2])


def test_rules_are_functions_of_the_features():
    X = np.array([[0.0, 1.0], [2.0, 1.0], [2.0, 3.0], [np.nan, 1.0]])
    above, level = Condition(0, 1.0, 4), Condition(1, 1.0, -1)
    assert above.holds(X).tolist() == [0, 1, 1, 0]
    assert Condition(0, 1.0, 4, or_missing=True).holds(X).tolist() == [0, 1, 1, 1]
    assert level.holds(X).tolist() == [1, 1, 0, 1]
    Z = Rules([above, Condition(0, 9.0, 30)], [(above, level)]).beside(np.ones((4, 1)), X)
    assert Z.shape == (4, 3)  # nobody is above 9
    assert Z[:, 1:].mean(axis=0) == pytest.approx(0.0)
    assert Z[:, 1:].std(axis=0) == pytest.approx(1.0)
    product = (above.holds(X) - 0.5) * (level.holds(X) - 0.75)
    assert np.corrcoef(Z[:, 2], product)[0, 1] == pytest.approx(1.0)


def test_a_fold_is_predicted_without_its_outcomes():
    X, response = outcomes(3_000, 0)
    fold = (np.arange(3_000) % 3).astype(np.int8)
    Z = np.column_stack([np.ones(3_000), X[:, :4]])
    found = [Rules([Condition(1, 0.0, 16)], [(Condition(1, 0.0, 16), Condition(2, 0.3, 20))])] * 3
    changed = np.where(fold == 0, 1 - response.y, response.y)
    before = cross_fit_rules(X, Z, response, fold, found)
    after = cross_fit_rules(X, Z, Response(response.action, changed, response.offset, 3), fold, found)
    assert np.array_equal(before[fold == 0], after[fold == 0])
    assert not np.array_equal(before[fold == 1], after[fold == 1])


def test_a_booster_that_learnt_nothing_has_no_rules():
    X, response = outcomes(500, 0)
    nothing = train_shared(X, response.action, np.ones(500), categorical=[4], params=PARAMS, trees=3, seed=0)
    assert isinstance(nothing, lgb.Booster)
    assert rules_of(nothing, X) == Rules([], [])


def many_conditions(n, seed):
    """Each of five actions helps and earns more where two features of its own lie above their cuts."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 8))
    action = rng.integers(6, size=n)
    effect, times = np.zeros((n, 6)), np.ones((n, 6))
    for a in range(1, 6):
        met = (X[:, a] > 0) & (X[:, a + 1] > -0.4)
        effect[:, a], times[:, a] = 1.5 * met, np.exp(1.2 * (met - 0.3))
    p = expit(-0.5 + X[:, [0]] + effect)
    owed = rng.lognormal(6, 0.5, n)
    share = np.clip(0.2 * times * np.exp(0.3 * X[:, [7]]), 0.02, 0.95)
    taken = np.arange(n), action
    paid = rng.random(n) < p[taken]
    y = paid * rng.beta(3 * share[taken], 3 * (1 - share[taken])) * owed
    fold = decision_folds(action, paid, None, folds=3, seed=0)
    names = [*(f"x{i}" for i in range(8)), "owed"]
    return Decisions(np.column_stack([X, owed]), names, [], action, 6, y, paid, False, fold), p, share


def test_with_rules_the_learner_comes_closer(monkeypatch):
    d, p, share = many_conditions(16_000, 0)

    def off(said, truth):
        error = np.log(said / truth)
        error -= error.mean(axis=1, keepdims=True)  # what tells actions apart
        return float(np.sqrt(np.mean((error - error.mean(axis=0)) ** 2)))

    def fitted():
        learner = HurdleLearner(300, {}, 0, 1)
        outcome = learner.fit(d)
        chance = expit(learner.pay_margin(d.X, 6))
        return off(chance, p), off(outcome / chance / d.X[:, [8]], share)

    of_chance, of_share = fitted()
    monkeypatch.setattr(HurdleLearner, "_rules", lambda self, d, boosters: [Rules([], [])] * len(boosters))
    without_chance, without_share = fitted()
    assert of_chance < 0.95 * without_chance
    assert of_share < 0.95 * without_share


def test_rules_are_found_without_the_fold():
    d, _, _ = many_conditions(3_000, 0)
    learner = HurdleLearner(20, {}, 0, 1)
    usual = np.full(3_000, -1.5)
    observed = np.where(d.paid, d.y / d.X[:, 8], 0.0)
    weight = d.paid.astype(float)

    def found(y):
        response = Response(d.action, y, usual, 6, family=POISSON, weight=weight)
        return learner._amount_rules(d, response)

    before, after = found(observed), found(np.where(d.fold == 0, observed[::-1], observed))
    assert before[0] == after[0]
    assert before[1] != after[1]
