"""Support: what a log cannot say is refused, with reasons, and what it can say is not; no weight is ever clipped."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from collectml.evaluation import constant_policy, evaluate_policy
from collectml.evaluation.overlap import effective_sample_size, little_support_share, support_by_action

from .worlds import ACTIONS, Log, World, frame_of

WEIGHTED = ("ips", "snips", "dr")


class FirmCallsOnlyBelow(World):
    """No firm call where x > 0.5; the probability it had there goes to SMS."""

    def logging(self, x: np.ndarray) -> np.ndarray:
        moved = super().logging(x)
        closed = x > 0.5
        moved[closed, 1] += moved[closed, 3]
        moved[closed, 3] = 0.0
        return moved


class ForcedAbove(World):
    """Nothing but no_action where x > 1: a rule that left no choice, and says so by a propensity of one."""

    def logging(self, x: np.ndarray) -> np.ndarray:
        moved = super().logging(x)
        moved[x > 1] = np.eye(4)[0]
        return moved


def x_of(log: Log) -> np.ndarray:
    return log.X["x"].to_numpy()


def flat(log: Log) -> pd.DataFrame:
    """Predictions for DM and DR that are all the same."""
    return frame_of(np.full((len(log), 4), 50.0), log)


# --- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["constant", "only_there"])
def test_an_action_never_logged_in_a_segment_is_refused_with_reasons(policy):
    log = FirmCallsOnlyBelow(clustered=False).log(800, 1)
    chosen = np.full(len(log), 3) if policy == "constant" else np.where(x_of(log) > 0.5, 3, 1)
    found = evaluate_policy(log, frame_of(np.eye(4)[chosen], log), baseline="logged", outcome_model=flat(log))
    rows = found.frame().set_index("estimator")
    assert rows.loc[list(WEIGHTED), ["value", "low", "high", "se", "difference", "difference_low"]].isna().all(axis=None)
    assert rows.loc[list(WEIGHTED), "note"].str.contains(r"refused \(policy\): action 'firm_call'.*no chance").all()
    [refusal] = found.refusals
    assert refusal.action == "firm_call"
    assert refusal.rows == (log.action == "firm_call").sum()
    assert refusal.decisions == pytest.approx((x_of(log) > 0.5).sum(), rel=0.25)
    assert "explore" in refusal.message
    assert rows.loc["dm", "value"] == 50  # the model still has an opinion, and is called what it is
    assert "extrapolated: action 'firm_call'" in rows.loc["dm", "note"]


def test_the_same_log_supports_a_policy_that_keeps_to_its_rule():
    log = FirmCallsOnlyBelow(clustered=False).log(800, 1)
    chosen = np.where(x_of(log) > 0.5, 1, 3)
    found = evaluate_policy(log, frame_of(np.eye(4)[chosen], log), estimators=("ips", "snips"))
    assert found.refusals == ()
    assert np.isfinite(found.frame()["value"]).all()


def test_decisions_without_a_choice_are_counted_exactly():
    log = ForcedAbove().log(500, 2)
    closed = x_of(log) > 1
    found = evaluate_policy(log, constant_policy(log, "sms"), estimators="ips")
    [refusal] = found.refusals
    assert (refusal.action, refusal.decisions) == ("sms", closed.sum())
    assert f"no chance in {closed.sum()} logged decisions (another action was certain)" in refusal.message
    chosen = np.where(closed, 0, 1)
    assert evaluate_policy(log, frame_of(np.eye(4)[chosen], log), estimators="ips").refusals == ()


def test_a_single_decision_without_a_choice_is_enough():
    log = World().log(500, 3)
    log.frame.loc[5, ["action", "logging_propensity"]] = ["no_action", 1.0]
    [refusal] = evaluate_policy(log, constant_policy(log, "sms"), estimators="ips").refusals
    assert refusal.decisions == 1


def test_an_action_without_a_row_is_refused_for_every_estimator_but_a_foreign_models_dm():
    log = World().log(300, 4)
    log = Log(log.frame[log.action != "firm_call"])
    policy = frame_of(World.policy(x_of(log)), log)
    found = evaluate_policy(log, policy, outcome_model=flat(log))
    assert found.frame().set_index("estimator")["value"].isna().to_dict() == {"dm": False} | dict.fromkeys(WEIGHTED, True)
    assert [(r.action, r.rows) for r in found.refusals] == [("firm_call", 0)]
    assert "0 logged rows for the" in found.refusals[0].message
    moved = policy.assign(sms=policy["sms"] + policy["firm_call"], firm_call=0.0)
    assert "firm_call" not in [r.action for r in evaluate_policy(log, moved, estimators="ips").refusals]


def test_a_baseline_without_support_costs_the_difference_and_not_the_value():
    log = ForcedAbove().log(500, 5)
    chosen = np.where(x_of(log) > 1, 0, 2)
    found = evaluate_policy(
        log, frame_of(np.eye(4)[chosen], log), baseline=constant_policy(log, "sms"), estimators=("ips", "snips")
    )
    rows = found.frame()
    assert np.isfinite(rows["value"]).all()
    assert rows[["baseline_value", "difference", "difference_low", "difference_high", "difference_se"]].isna().all(axis=None)
    assert rows["note"].str.contains(r"refused \(baseline\): action 'sms'").all()
    assert [r.action for r in found.refusals] == ["sms"]


@pytest.mark.parametrize(
    ("factor", "says"), [(0.6, "are lower than the probabilities"), (1 / 0.6, "or the logging propensities are too high")]
)
def test_propensities_that_cannot_have_made_the_log_are_refused(factor, says):
    log = World(confounded=False).log(1_000, 6)
    log.frame["logging_propensity"] *= factor
    found = evaluate_policy(log, frame_of(World.policy(x_of(log)), log), estimators=("ips", "snips"))
    assert found.frame()["value"].isna().all()
    assert says in found.frame()["note"].iloc[0]


def test_a_policy_read_off_the_log_is_refused_wholly_or_in_part():
    log = World().log(500, 7)
    copied = np.eye(4)[pd.Index(ACTIONS).get_indexer(log.action)]
    with pytest.raises(ValueError, match=r'policy: .*read off the log.*baseline="logged"'):
        evaluate_policy(log, frame_of(copied, log), estimators="ips")
    with pytest.raises(ValueError, match=r"baseline: .*read off the log"):
        evaluate_policy(log, constant_policy(log, "sms"), baseline=frame_of(copied, log), estimators="ips")
    half = evaluate_policy(log, frame_of(0.5 * copied + 0.125, log), estimators="ips")
    assert half.frame()["value"].isna().all()
    assert "the policy was made from the logged actions" in half.refusals[0].message


def test_support_that_is_there_is_not_refused_by_bad_luck():
    """Seven hundred and fifty small logs, four audits each."""
    refused = 0
    for seed in range(750):
        log = World().log(120, seed)
        policy = World.policy(x_of(log))
        taken = pd.Index(ACTIONS).get_indexer(log.action)
        _, refusals = support_by_action(
            policy, ACTIONS, taken, log.logging_propensity.to_numpy(), log.customer.to_numpy(), 120
        )
        refused += len(refusals)
    assert refused == 0


# --- weights -----------------------------------------------------------------------------------------------------------


def test_no_weight_is_clipped_however_large():
    log = World().log(200, 8)
    log.frame.loc[0, ["action", "logging_propensity", "recovered"]] = ["sms", 1e-7, 3.0]
    found = evaluate_policy(log, frame_of(World.policy(x_of(log)), log), estimators=("ips", "snips")).frame()
    policy, taken = World.policy(x_of(log)), pd.Index(ACTIONS).get_indexer(log.action)
    w = policy[np.arange(len(log)), taken] / log.logging_propensity.to_numpy()
    assert w[0] >= 5e5
    assert (found["max_weight"] == w.max()).all()
    exact = [(w * log.recovered).mean(), (w * log.recovered).sum() / w.sum()]
    np.testing.assert_allclose(found["value"], exact, rtol=1e-12)
    assert (found["ess"] < 1.001).all()
    assert found["note"].str.contains("one customer holds").all()


def test_one_rare_decision_keeps_its_full_weight_in_the_value():
    log = World(confounded=False).log(200, 8)
    log.frame.loc[0, ["action", "logging_propensity", "recovered"]] = ["sms", 0.001, 500.0]
    policy = frame_of(np.full((len(log), 4), 0.25), log)
    found = evaluate_policy(log, policy, estimators="ips").frame().iloc[0]
    rest = log.recovered.iloc[1:].sum()
    assert found["value"] == pytest.approx((250 * 500 + rest) / len(log), rel=1e-12)
    assert found["max_weight"] == 250
    assert found["little_support"] == pytest.approx(250 / (250 + len(log) - 1), rel=1e-12)
    assert "one customer holds" in found["note"]


def test_the_effective_sample_size_is_kishs():
    w = np.random.default_rng(0).lognormal(size=100)
    assert effective_sample_size(w) == pytest.approx(w.sum() ** 2 / (w**2).sum(), rel=1e-12)
    assert effective_sample_size(w * 1e200) == pytest.approx(effective_sample_size(w), rel=1e-12)
    assert effective_sample_size(np.full(7, 0.3)) == pytest.approx(7, rel=1e-12)
    assert effective_sample_size(np.zeros(3)) == 0


def test_little_support_is_a_share_of_the_weight_not_of_the_rows():
    assert little_support_share(np.array([60.0, 1.0, 1.0, 1.0]), np.array([0.01, 0.02, 0.5, 0.5])) == 60 / 63
    assert little_support_share(np.zeros(2), np.array([0.01, 0.5])) == 0


def test_the_support_frame_adds_up():
    log = World().log(400, 9)
    support = evaluate_policy(log, frame_of(World.policy(x_of(log)), log), estimators="ips").support
    assert support.index.tolist() == list(ACTIONS)
    assert support["rows"].to_dict() == log.action.value_counts().to_dict()
    assert support["policy_mass"].sum() == pytest.approx(len(log), rel=1e-12)
    assert support["covered"].between(support["covered_low"], support["covered_high"]).all()
    assert (support["covered_low"] < 1).all()
    assert (support["covered_high"] > 1).all()
    assert (support[["forced_rows", "forced_mass"]] == 0).all(axis=None)
    by_hand = (log.action == "sms") * World.policy(x_of(log))[:, 1] / log.logging_propensity
    assert support.loc["sms", "covered"] == pytest.approx(by_hand.sum() / support.loc["sms", "policy_mass"], rel=1e-12)
    assert support.loc["sms", "ess"] == pytest.approx(by_hand.sum() ** 2 / (by_hand**2).sum(), rel=1e-12)
