"""Outcome models for DM and DR: whole customers per fold, and no prediction by a model that has seen its row."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from collectml.evaluation import constant_policy, cross_fitted_outcomes, evaluate_policy
from collectml.evaluation.outcome_models import customer_folds, predicted_outcomes

from .worlds import ACTIONS, Log, World, frame_of


@pytest.fixture(scope="module")
def log() -> Log:
    return World().log(250, 1)


@pytest.fixture(scope="module")
def predicted(log: Log) -> pd.DataFrame:
    return cross_fitted_outcomes(log)


def test_no_customer_is_in_two_folds(log):
    pairs = pd.DataFrame({"customer": log.customer.to_numpy(), "fold": customer_folds(log, 5)}).drop_duplicates()
    assert len(pairs) == log.customer.nunique() < len(log)
    assert pairs["fold"].value_counts().to_dict() == dict.fromkeys(range(5), 50)


def test_a_rare_action_is_spread_over_all_folds():
    log = World(clustered=False).log(200, 2)
    log.frame["action"] = "sms"
    log.frame.loc[:4, "action"] = "firm_call"
    assert sorted(customer_folds(log, 5)[:5]) == [0, 1, 2, 3, 4]


def test_folds_do_not_depend_on_the_order_of_rows(log):
    order = np.random.default_rng(0).permutation(len(log))
    np.testing.assert_array_equal(customer_folds(Log(log.frame.iloc[order]), 5), customer_folds(log, 5)[order])


def test_predictions_are_money_for_every_decision_and_action(log, predicted):
    assert predicted.index.equals(log.X.index)
    assert predicted.columns.tolist() == list(ACTIONS)
    assert np.isfinite(predicted.to_numpy()).all()
    assert (predicted >= 0).all(axis=None)
    assert predicted.mean().mean() == pytest.approx(log.recovered.mean(), rel=0.35)


def test_no_prediction_has_seen_its_own_customer(log, predicted):
    """Other outcomes for a fold leave that fold's predictions alone, to the last bit, and change the others'."""
    fold = customer_folds(log, 5) == 0
    changed = Log(log.frame.assign(recovered=log.recovered.mask(fold, 5_000.0), paid=log.paid.mask(fold, 1)))
    again = cross_fitted_outcomes(changed)
    pd.testing.assert_frame_equal(again[fold], predicted[fold], check_exact=True)
    assert (again[~fold] != predicted[~fold]).any(axis=1).mean() > 0.9


def test_cross_fitting_is_what_evaluate_policy_does_without_a_model(log, predicted):
    policy = frame_of(World.policy(log.X["x"].to_numpy()), log)
    own = evaluate_policy(log, policy, estimators=("dm", "dr"))
    given = evaluate_policy(log, policy, estimators=("dm", "dr"), outcome_model=predicted)
    pd.testing.assert_frame_equal(own.frame(), given.frame())


def test_an_action_no_other_fold_has_seen_is_missing_and_refused():
    log = World().log(150, 3)
    keep = (log.action != "firm_call") | (log.customer == log.customer[log.action == "firm_call"].iloc[0])
    log = Log(log.frame[keep])
    fold = customer_folds(log, 5)
    own = fold == fold[(log.action == "firm_call").to_numpy()][0]
    predicted = cross_fitted_outcomes(log)
    assert predicted.loc[own, "firm_call"].isna().all()
    assert predicted.loc[~own].notna().all(axis=None)
    found = evaluate_policy(log, constant_policy(log, "firm_call"), estimators=("dm", "dr"))
    assert found.frame()["value"].isna().all()
    assert any(r.action == "firm_call" and "has not seen them" in r.message for r in found.refusals)


def test_a_net_value_below_zero_is_learnt_too(log):
    net = (log.recovered - 30).rename("net")
    predicted = cross_fitted_outcomes(log, outcome=net, folds=2)
    assert predicted.mean().mean() == pytest.approx(net.mean(), abs=12)


def test_a_model_is_a_frame_or_something_that_predicts_one(log):
    flat = frame_of(np.arange(4.0)[None, :].repeat(len(log), 0), log)

    class Fitted:
        def predict(self, X: pd.DataFrame) -> pd.DataFrame:
            return flat.loc[X.index]

    class Short(Fitted):
        def predict(self, X: pd.DataFrame) -> pd.DataFrame:
            return flat.iloc[:-1]

    names = ("sms", "visit", "no_action")
    for model in (flat, flat.sample(frac=1, random_state=0), Fitted()):
        np.testing.assert_array_equal(predicted_outcomes(model, log, names), np.tile([1.0, np.nan, 0.0], (len(log), 1)))
    with pytest.raises(ValueError, match="one row per decision"):
        predicted_outcomes(Short(), log, names)
    with pytest.raises(TypeError, match="outcome_model must be a frame"):
        predicted_outcomes(3.0, log, names)


@pytest.mark.slow
def test_dr_with_its_own_cross_fitted_model_is_unbiased_and_covers():
    world = World()
    _, x, frailty = world.features(1_000_000, np.random.default_rng(12345))
    truth = (World.policy(x) * world.expected(x, frailty)).sum(axis=1).mean()
    rows = []
    for seed in range(60):
        log = world.log(250, seed)
        policy = frame_of(World.policy(log.X["x"].to_numpy()), log)
        rows.append(evaluate_policy(log, policy, estimators=("dr",)).frame().iloc[0])
    found = pd.DataFrame(rows)
    error = found["value"].astype(float).std() / np.sqrt(len(found))
    assert abs(found["value"].mean() - truth) < 4 * error < 0.1 * truth
    assert found["low"].le(truth).mul(found["high"].ge(truth)).mean() >= 0.87
