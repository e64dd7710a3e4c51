"""Doubly robust scores against arithmetic by hand, the simulator's truth, and either model being wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from collectml.errors import ConfigurationError, SchemaError
from collectml.simulation import make_portfolio
from collectml.uplift import doubly_robust_scores, randomised_scores, score_arrays


@pytest.fixture(scope="module")
def portfolio():
    return make_portfolio(20_000, logging="confounded", random_state=3)


def confounded(n=40_000, seed=0):
    """Two actions; the sicker are called more often; the call adds 2."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    p_call = 1 / (1 + np.exp(-1.5 * x))
    called = rng.random(n) < p_call
    y = -3 * x + 2 * called + rng.normal(size=n)
    names = np.where(called, "call", "no_action")
    return x, names, y, np.where(called, p_call, 1 - p_call)


def test_scores_by_hand_and_in_any_row_order():
    predicted = pd.DataFrame({"no_action": [1.0, 1.0, 2.0], "call": [2.0, 0.0, 5.0]}, index=["a", "b", "c"])
    given = {"action": np.array(["call", "no_action", "call"]), "outcome": np.array([3.0, 1.0, 0.0])}
    p = np.array([0.5, 0.25, 0.1])
    scores = doubly_robust_scores(predicted, **given, logging_propensity=p)
    assert scores.frame().to_numpy().ravel() == pytest.approx([1, 4, 1, 0, 2, -45])
    assert scores.effects()["call"].tolist() == pytest.approx([3, -1, -47])
    back = doubly_robust_scores(predicted[::-1], **{k: v[::-1] for k, v in given.items()}, logging_propensity=p[::-1])
    pd.testing.assert_frame_equal(back.frame()[::-1], scores.frame())
    assert scores.support.loc["call", ["rows", "max_weight", "little_support_rows"]].tolist() == [2, 10, 0]


def test_either_model_may_be_wrong():
    x, action, y, p = confounded()
    right = pd.DataFrame({"no_action": -3 * x, "call": -3 * x + 2})
    wrong = pd.DataFrame({"no_action": x, "call": 0.0 * x})
    for predicted, propensity in ((right, np.full(len(x), 0.5)), (wrong, p), (right * 0, p)):
        scores = doubly_robust_scores(predicted, action=action, outcome=y, logging_propensity=propensity)
        effect = scores.effects()["call"]
        assert effect.mean() == pytest.approx(2, abs=4 * effect.std() / len(x) ** 0.5)
    assert abs(y[action == "call"].mean() - y[action != "call"].mean() - 2) > 1  # what the naive comparison says


def test_means_recover_the_simulators_truth_under_confounding(portfolio):
    """With nothing but the recorded probabilities (predictions of arm means), every action's mean is covered."""
    decisions = portfolio.decisions
    means = decisions.groupby("action")["recovered"].mean()
    predicted = pd.DataFrame({a: means[a] for a in portfolio.actions}, index=decisions.index)
    scores = doubly_robust_scores(
        predicted,
        action=decisions["action"],
        outcome=decisions["recovered"],
        logging_propensity=decisions["logging_propensity"],
        customer=decisions["customer_id"],
    )
    truth = portfolio.truth.loc[decisions["account_id"]].mean()
    table = scores.means(confidence=0.999).set_index("action")
    assert ((table["low"] < truth[table.index]) & (truth[table.index] < table["high"])).all()
    assert (abs(scores.support["covered"] - 1) < 0.1).all()
    assert isinstance(scores.plot(), Figure)


def test_policy_scores_leave_unused_actions_alone():
    predicted = pd.DataFrame({"no_action": [1.0, 1.0], "call": [np.nan, 3.0]})
    scores = doubly_robust_scores(predicted, action=["no_action"] * 2, outcome=[1, 1], logging_propensity=[0.5, 1.0])
    policy = pd.DataFrame({"no_action": [1.0, 0.5], "call": [0.0, 0.5]})
    assert scores.policy(policy).tolist() == [1.0, 2.0]
    assert scores.support.loc["call", ["no_chance_rows", "unpredicted_rows", "rows"]].tolist() == [1, 1, 0]
    with pytest.raises(ValueError, match="visit"):
        scores.policy(policy.rename(columns={"call": "visit"}))


def test_little_support_is_reported_and_never_clipped():
    predicted = pd.DataFrame({"no_action": np.zeros(4), "call": np.zeros(4)})
    scores = doubly_robust_scores(
        predicted, action=["call"] * 3 + ["no_action"], outcome=[1.0] * 4, logging_propensity=[1e-4, 0.5, 0.5, 0.5]
    )
    assert scores.frame().loc[0, "call"] == pytest.approx(1e4)
    assert scores.support.loc["call", "little_support_rows"] == 1
    assert scores.support.loc["call", "little_support_weight"] == pytest.approx(1e4 / (1e4 + 4))


def test_randomised_scores_average_to_differences_of_means():
    rng = np.random.default_rng(0)
    arm, y = rng.integers(3, size=500), rng.exponential(size=500)
    effects = randomised_scores(action=arm, outcome=y).effects().mean()
    for a in (1, 2):
        assert effects[str(a)] == pytest.approx(y[arm == a].mean() - y[arm == 0].mean(), abs=1e-12)


def test_all_faults_at_once():
    predicted = pd.DataFrame({"no_action": [0.0, 0.0], "call": [0.0, np.inf]})
    with pytest.raises(SchemaError, match=r"1 rows have an action.*1 outcomes.*2 logging propensities.*1 predictions"):
        doubly_robust_scores(predicted, action=["call", "visit"], outcome=[1, np.nan], logging_propensity=[0, 1.2])
    with pytest.raises(SchemaError, match="not shape"):
        doubly_robust_scores(predicted, action=["call"], outcome=[1, 2], logging_propensity=[1, 1])
    with pytest.raises(ConfigurationError, match="sms"):
        doubly_robust_scores(
            predicted.fillna(0).replace(np.inf, 0),
            action=["call"] * 2,
            outcome=[1, 2],
            logging_propensity=[1, 1],
            control="sms",
        )
    with pytest.raises(SchemaError, match="every action must have rows"):
        randomised_scores(action=[1, 1], outcome=[0.0, 1.0])


def test_array_scores_do_not_touch_their_input():
    q = np.zeros((2, 2))
    score_arrays(q, np.array([0, 1]), np.ones(2), np.full(2, 0.5))
    assert not q.any()
