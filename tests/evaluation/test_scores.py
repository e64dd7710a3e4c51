"""One policy's scores: what is flagged as unreliable, and what a caller's outcome model must have."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from collectml.evaluation import constant_policy, evaluate_policy

from .worlds import Log, World, frame_of


def small(actions: list[str], recovered: list[float], propensity: float | list[float] = 0.25) -> Log:
    n = len(actions)
    return Log(
        pd.DataFrame(
            {
                "account_id": np.arange(n) + 100,
                "customer_id": np.arange(n),
                "x": 0.0,
                "action": actions,
                "paid": (np.array(recovered) > 0).astype(int),
                "recovered": recovered,
                "logging_propensity": propensity,
            }
        )
    )


def test_no_agreeing_decision_leaves_snips_without_a_value():
    log = small(["no_action", "sms"] * 4, [5.0, 1.0] * 4)
    chosen = np.where(log.action == "sms", 0, 1)
    found = (
        evaluate_policy(log, frame_of(np.eye(4)[chosen], log), estimators=("ips", "snips")).frame().set_index("estimator")
    )
    assert np.isnan(found.loc["snips", "value"])
    assert "no logged decision agrees with it" in found.loc["snips", "note"]
    assert found.loc["ips", "value"] == 0
    assert found.loc["ips", "note"].startswith("unreliable interval: the weighted outcomes do not vary")
    assert (found["ess"] == 0).all()


def test_an_interval_without_width_is_not_passed_off_as_certainty():
    """Three texts, none of them paid: zero with a standard error of zero says how little is known, not how sure it is."""
    log = small(["sms"] * 3 + ["no_action"] * 5, [0.0] * 3 + [4.0, 0.0, 7.0, 1.0, 2.0])
    found = evaluate_policy(log, constant_policy(log, "sms"), estimators=("ips", "snips")).frame()
    assert (found[["value", "se"]] == 0).all(axis=None)
    assert found["note"].str.startswith("unreliable interval: the weighted outcomes do not vary").all()
    varied = evaluate_policy(log, constant_policy(log, "no_action"), estimators="snips").frame()
    assert "do not vary" not in varied["note"].item()


def test_an_interval_that_is_one_customers_is_flagged_with_its_share():
    log = small(["no_action", "sms"] * 20, [1_000.0, 3.0, 1.0, 2.0] + [1.0, 3.0, 1.0, 2.0] * 9, 0.5)
    found = evaluate_policy(log, constant_policy(log, "no_action"), baseline="logged", estimators="ips").frame()
    note = found["note"].item()
    assert "unreliable interval: one customer holds" in note
    assert "unreliable difference: one customer holds" in note
    other = evaluate_policy(log, constant_policy(log, "sms"), estimators="snips").frame()
    assert other["note"].item() == ""


def test_a_policy_certain_of_every_logged_action_is_no_copy_where_the_log_had_no_choice():
    """A one-armed log valued at its own arm: the mean, whatever the method."""
    log = small(["sms"] * 6, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 1.0)
    found = evaluate_policy(log, constant_policy(log, "sms"), estimators=("ips", "snips")).frame()
    assert found["value"].tolist() == [3.5, 3.5]


def test_a_model_of_ones_own_must_predict_what_the_policy_uses_and_nothing_else():
    log = World().log(200, 1)
    policy = constant_policy(log, "sms")
    model = frame_of(np.full((len(log), 4), 40.0), log)
    unused = evaluate_policy(log, policy, outcome_model=model[["sms"]], estimators=("dm", "dr")).frame()
    pd.testing.assert_frame_equal(unused, evaluate_policy(log, policy, outcome_model=model, estimators=("dm", "dr")).frame())
    model.iloc[:3, 1] = np.nan
    with pytest.raises(ValueError, match=r"no finite prediction for decisions the policy gives to: \{'sms': 3\}"):
        evaluate_policy(log, policy, outcome_model=model, estimators="dr")
    with pytest.raises(ValueError, match=r"decisions the baseline gives to: \{'sms': 3\}"):
        evaluate_policy(log, constant_policy(log, "no_action"), baseline=policy, outcome_model=model, estimators="dr")
