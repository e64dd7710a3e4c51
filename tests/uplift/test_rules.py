"""Conditions that boosters split on: found where they are, weighed better by a regression, and learnt without the fold."""

from __future__ import annotations

import lightgbm as lgb
import numpy as np
import pytest
from scipy.special import expit

from collectml.uplift.basis import EffectBasis
from collectml.uplift.effects import cross_fitted_effects
from collectml.uplift.likelihood import Response
from collectml.uplift.rules import Condition, Rules, cross_fit_rules
from collectml.uplift.shared_action import SINGLY, cross_fit_shared, train_shared

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
    return X, Response(action, y, offset, 3), effect


def test_what_tells_actions_apart_is_found_and_what_everybody_pays_by_is_not():
    X, response, _ = outcomes(20_000, 0)
    booster = train_shared(
        X, response.action, response.y, categorical=[4], params=PARAMS, trees=80, seed=0, offset=response.offset
    )
    rules = Rules.of(booster, X, categorical=[4], trees=80)
    first = {}
    for pair in rules.pairs[:5]:
        first.setdefault(tuple((c.column, c.nth < 0) for c in pair), [c.value for c in pair])
    assert first[(1, False), (2, False)] == pytest.approx([0.0, 0.3], abs=0.1)
    assert first[(3, False), (4, True)] == pytest.approx([-0.2, 2.0], abs=0.15)
    assert {c.column for c in rules.single[:3]} == {1, 2, 3}
    fewer = Rules.of(booster, X, categorical=[4], trees=1)
    assert len(fewer.single) + len(fewer.pairs) < len(rules.single) + len(rules.pairs)


def test_without_splits_of_the_action_there_are_no_rules():
    X, response, _ = outcomes(2_000, 0)
    alike = train_shared(X, np.zeros(2_000, np.intp), response.y, categorical=[4], params=PARAMS, trees=20, seed=0)
    rules = Rules.of(alike, X, categorical=[4], trees=20)
    assert alike.feature_importance("gain").sum() > 0
    assert (rules.single, rules.pairs) == ([], [])
    assert rules.transform(X).shape == (2_000, 0)


def test_rules_are_functions_of_the_features():
    X = np.array([[0.0, 1.0], [2.0, 1.0], [2.0, 3.0], [np.nan, 1.0]])
    above, level = Condition(0, 1.0, 4), Condition(1, 1.0, -1)
    assert above.holds(X).tolist() == [0, 1, 1, 0]
    assert level.holds(X).tolist() == [1, 1, 0, 1]
    Z = Rules([above, Condition(0, 9.0, 30)], [(above, level)]).transform(X)
    assert Z.shape == (4, 2)  # nobody is above 9
    assert Z.mean(axis=0) == pytest.approx(0.0)
    assert Z.std(axis=0) == pytest.approx(1.0)
    product = (above.holds(X) - 0.5) * (level.holds(X) - 0.75)
    assert np.corrcoef(Z[:, 1], product)[0, 1] == pytest.approx(1.0)


def test_a_regression_weighs_rules_better_than_the_booster_that_found_them():
    ratios = []
    for seed in range(3):
        X, response, truth = outcomes(20_000, seed)
        fold = (np.arange(20_000) % 3).astype(np.int8)
        fit = cross_fit_shared(
            X, response.action, response.y, fold, n_actions=3, categorical=[4], params=PARAMS, trees=400, seed=0,
            offsets=[response.offset] * 3, early_stopping=30,
        )  # fmt: skip
        Z = EffectBasis(range(4), [4]).fit(X, [response.offset]).transform(X, [response.offset])
        found = [Rules.of(b, X, categorical=[4], trees=fit.trees) for b in fit.boosters]
        said = [
            cross_fit_rules(X, Z, response, fold, found), fit.predictions, cross_fitted_effects(Z, response, fold).out_of_fold,
        ]  # fmt: skip
        off = [float(np.sqrt(np.mean((one - one[:, :1] - truth) ** 2))) for one in said]
        assert off[0] < min(off[1:])
        ratios.append(off[0] / min(off[1:]))
    assert np.mean(ratios) < 0.95


def test_a_fold_is_predicted_without_its_outcomes():
    X, response, _ = outcomes(3_000, 0)
    fold = (np.arange(3_000) % 3).astype(np.int8)
    Z = np.column_stack([np.ones(3_000), X[:, :4]])
    found = [Rules([Condition(1, 0.0, 16)], [(Condition(1, 0.0, 16), Condition(2, 0.3, 20))])] * 3
    changed = np.where(fold == 0, 1 - response.y, response.y)
    before = cross_fit_rules(X, Z, response, fold, found)
    after = cross_fit_rules(X, Z, Response(response.action, changed, response.offset, 3), fold, found)
    assert np.array_equal(before[fold == 0], after[fold == 0])
    assert not np.array_equal(before[fold == 1], after[fold == 1])


def test_a_booster_that_learnt_nothing_has_no_rules():
    X, response, _ = outcomes(500, 0)
    nothing = train_shared(X, response.action, np.ones(500), categorical=[4], params=PARAMS, trees=3, seed=0)
    assert isinstance(nothing, lgb.Booster)
    assert Rules.of(nothing, X, categorical=[4], trees=3) == Rules([], [])
