"""Complaints: little evidence is pulled to the pool, much speaks for itself, and difficult accounts are not the action's fault."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from collectml.errors import ConfigurationError, SchemaError
from collectml.models import ComplaintModel

COUNTS = {"no_action": 15_000, "sms": 50_000, "call": 15_000, "letter": 8_000, "visit": 5}
PROVOKES = {"no_action": -6.2, "sms": -5.2, "call": -3.6, "letter": -4.4, "visit": -2.0}


def true_risk(X, action):
    return expit(np.asarray(pd.Series(action).map(PROVOKES), dtype=float) + 0.8 * X["prone"].to_numpy())


@pytest.fixture(scope="module")
def log():
    rng = np.random.default_rng(0)
    action = rng.permutation(np.repeat(list(COUNTS), list(COUNTS.values())))
    X = pd.DataFrame(
        {"prone": rng.normal(size=len(action)), "days_past_due": rng.integers(0, 120, len(action))},
        index=pd.RangeIndex(10, 10 + len(action), name="account_id"),
    )
    complained = rng.random(len(action)) < true_risk(X, action)
    # all five visits provoked one: taken at its word, the rate would be 1
    return X, np.where(action == "visit", True, complained), action


@pytest.fixture(scope="module")
def model(log):
    X, complained, action = log
    return ComplaintModel(random_state=0).fit(X, complained, action=action, control="no_action")


@pytest.fixture(scope="module")
def predicted(model, log):
    return model.predict(log[0])


def test_risks_of_well_tried_actions_are_the_true_ones(predicted, log):
    X, _, _ = log
    assert predicted.columns.tolist() == ["no_action", "call", "letter", "sms", "visit"]
    assert predicted.index.equals(X.index)
    for name in ("no_action", "call", "letter", "sms"):
        truth = true_risk(X, [name] * len(X))
        assert predicted[name].mean() == pytest.approx(truth.mean(), rel=0.25 if name == "no_action" else 0.1)
        assert np.corrcoef(predicted[name], truth)[0, 1] > 0.9
        decile = pd.qcut(predicted[name], 5, labels=False)
        ratio = predicted[name].groupby(decile).mean() / pd.Series(truth, index=X.index).groupby(decile).mean()
        assert ratio.between(0.6, 1.6).all()


def test_fifty_thousand_rows_speak_for_themselves(predicted, log):
    _, complained, action = log
    own = action == "sms"
    assert predicted.loc[own, "sms"].mean() == pytest.approx(complained[own].mean(), rel=0.02)


def test_five_rows_are_pulled_to_the_pool_of_contacts(model, predicted, log):
    _, complained, action = log
    pool = complained[action != "no_action"].mean()
    visit = predicted["visit"].mean()
    assert pool < visit < 0.1  # its own record says 1
    assert predicted["call"].mean() < visit < 8 * pool
    evidence = model.evidence_.loc["visit"]
    assert (evidence["decisions"], evidence["complaints"]) == (5, 5)
    assert evidence["complaints"] / evidence["expected"] > 40 > evidence["ratio"]


def test_five_quiet_rows_do_not_make_an_action_harmless(log):
    X, complained, action = log
    quiet = np.where(action == "visit", False, complained)
    model = ComplaintModel(random_state=0).fit(X, quiet, action=action, control="no_action")
    pool = quiet[action != "no_action"].mean()
    assert 0.5 * pool < model.predict(X)["visit"].mean() < 1.5 * pool


def test_the_control_is_no_part_of_the_pool(log):
    """Five rows of a new contact: with the control in the pool of contacts it would look safer than it is."""
    X, complained, action = log
    few = np.isin(action, ["no_action", "call", "visit"])
    X, complained, action = X[few], np.where(action == "visit", False, complained)[few], action[few]
    apart = ComplaintModel(random_state=0).fit(X, complained, action=action, control="no_action").predict(X)["visit"]
    together = ComplaintModel(random_state=0).fit(X, complained, action=action).predict(X)["visit"]
    assert apart.mean() > 1.3 * together.mean()


def test_evidence_reconciles_with_the_log(model, log):
    _, complained, action = log
    counted = pd.Series(complained).groupby(action).agg(["size", "sum"])
    for name in model.actions_:
        assert model.evidence_.loc[name, "decisions"] == counted.loc[name, "size"]
        assert model.evidence_.loc[name, "complaints"] == counted.loc[name, "sum"]
    assert model.evidence_["expected"].sum() == pytest.approx(complained.sum(), rel=0.001)


def test_an_action_given_to_difficult_accounts_is_not_blamed_for_them():
    rng = np.random.default_rng(7)
    n = 30_000
    X = pd.DataFrame({"prone": rng.normal(size=n)})
    action = np.where(rng.random(n) < expit(2 * X["prone"]), "call", "letter")  # equally provoking, unequally given
    complained = rng.random(n) < expit(-4 + 1.2 * X["prone"])
    rate = pd.Series(complained).groupby(action).mean()
    p = ComplaintModel(random_state=0).fit(X, complained, action=action).predict(X).mean()
    assert rate["call"] > 3 * rate["letter"]
    assert 0.75 < p["call"] / p["letter"] < 1.5


def test_with_few_complaints_only_the_action_counts():
    rng = np.random.default_rng(8)
    X = pd.DataFrame({"prone": rng.normal(size=4_000)})
    action = np.where(np.arange(4_000) % 2, "call", "sms")
    complained = np.isin(np.arange(4_000), [1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 2])  # twelve calls, one message
    model = ComplaintModel(random_state=0).fit(X, complained, action=action)
    p = model.predict(X)
    assert model.booster_ is None
    assert (p == p.iloc[0]).all(axis=None)
    assert 1 / 2_000 < p["sms"].iloc[0] < 13 / 4_000 < p["call"].iloc[0] < 12 / 2_000
    loaded = ComplaintModel.from_parts(json.loads(json.dumps(model.to_parts())))
    assert loaded.predict(X).equals(p)


@pytest.mark.parametrize("complained", [np.zeros(200), np.ones(200)], ids=["nobody", "everybody"])
def test_even_a_log_of_one_kind_gives_probabilities(complained):
    X = pd.DataFrame({"prone": np.linspace(0, 1, 200)})
    p = ComplaintModel(random_state=0).fit(X, complained, action=["sms", "call"] * 100).predict(X).to_numpy()
    assert ((p > 0) & (p < 1)).all()
    assert p.max() < 0.01 or complained.all()


def test_pure_noise_teaches_nothing_about_accounts():
    rng = np.random.default_rng(9)
    X = pd.DataFrame(rng.normal(size=(12_000, 5)), columns=list("abcde"))
    complained = rng.random(12_000) < 0.02
    p = ComplaintModel(random_state=0).fit(X, complained, action=["sms"] * 12_000).predict(X)["sms"]
    assert p.mean() == pytest.approx(complained.mean(), rel=0.01)
    assert p.std() < 0.2 * p.mean()


def test_a_spread_that_held_out_rows_do_not_confirm_is_taken_back():
    rng = np.random.default_rng(10)
    X = pd.DataFrame(rng.normal(size=(4_000, 5)), columns=list("abcde"))
    complained = rng.random(4_000) < expit(-2 + 0.3 * X["a"])
    bold = {"num_leaves": 31, "min_child_samples": 5, "learning_rate": 0.1, "early_stopping_rounds": None}
    model = ComplaintModel(n_estimators=100, random_state=0, **bold).fit(X, complained, action=["sms"] * 4_000)
    assert 0 <= model.spread_ < 0.4
    claimed = model.booster_.predict(X.to_numpy(), raw_score=True)
    p = model.predict(X)["sms"]
    assert np.std(np.log(p / (1 - p))) == pytest.approx(model.spread_ * claimed.std())


def test_what_was_learnt_survives_json(model, predicted, log):
    loaded = ComplaintModel.from_parts(json.loads(json.dumps(model.to_parts())))
    assert loaded.predict(log[0]).equals(predicted)
    pd.testing.assert_frame_equal(loaded.evidence_, model.evidence_)
    assert loaded.prior_complaints_ == model.prior_complaints_


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"complained": np.full(100, 2)}, "complained must hold 0 and 1 only"),
        ({"complained": np.full(100, -1)}, "complained must hold 0 and 1 only"),
        ({"complained": np.full(100, np.nan)}, "complained contains NaN"),
        ({"complained": np.zeros(99)}, "complained has 99 entries, X has 100 rows"),
        ({"action": ["sms"] * 99}, "action has 99 entries, X has 100 rows"),
        ({"action": ["sms"] * 99 + [None]}, "action contains NaN: 1 of its values"),
        ({"action": None}, "requires action to be passed"),
        ({"customer": [1, 2]}, "customer has 2 entries, X has 100 rows"),
    ],
)
def test_a_log_it_cannot_learn_from_is_refused(log, wrong, message):
    rows = dict(zip(("X", "complained", "action"), (part[:100] for part in log), strict=True)) | wrong
    with pytest.raises(SchemaError, match=message) as refusal:
        ComplaintModel(n_estimators=5).fit(**rows)
    assert "\n" not in str(refusal.value)


def test_a_control_nobody_was_given_is_refused(log):
    X, complained, action = (part[:100] for part in log)
    with pytest.raises(ConfigurationError, match="control 'none' is not among the actions: "):
        ComplaintModel(n_estimators=5).fit(X, complained, action=action, control="none")
