"""The audit names the rule that left no choice, and is silent where there was none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from collectml.evaluation import audit_overlap, constant_policy, evaluate_policy
from collectml.evaluation.segments import marked_segment

from .worlds import Log, World


def ruled(n: int, seed: int, *, certain: bool) -> Log:
    """Firm calls at random, but none from 90 days past due on in the late stage; `certain`: what is done there is recorded as 1."""
    rng = np.random.default_rng(seed)
    days, stage = rng.integers(1, 120, n), rng.choice(["early", "late", "legal"], n)
    closed = (days >= 90) & (stage == "late")
    call = (rng.random(n) < 0.4) & ~closed
    p = np.where(closed & certain, 1.0, np.where(call, 0.4, 0.6))
    frame = pd.DataFrame(
        {
            "account_id": np.arange(n),
            "customer_id": np.arange(n),
            "days_past_due": days,
            "stage": stage,
            "noise": rng.normal(size=n),
            "action": np.where(call, "firm_call", "no_action"),
            "paid": 1,
            "recovered": rng.exponential(size=n),
            "logging_propensity": p,
        }
    )
    return Log(frame, features=("noise", "days_past_due", "stage"), actions=("no_action", "firm_call"))


@pytest.mark.parametrize("certain", [True, False], ids=["recorded", "hidden"])
def test_a_rule_is_named_with_what_would_mend_it(certain):
    log = ruled(6_000, 1, certain=certain)
    found = evaluate_policy(log, constant_policy(log, "firm_call"), estimators="ips")
    assert found.frame()["value"].isna().all()
    [refusal] = found.refusals
    assert set(refusal.segment.split(" and ")) == {"days_past_due >= 90", "stage == 'late'"}
    inside = ((log.X["days_past_due"] >= 90) & (log.X["stage"] == "late")).sum()
    assert refusal.segment_decisions == inside
    assert refusal.exploration_share == pytest.approx(200 / inside)
    assert refusal.segment in refusal.message
    assert "brings 200 rows" in refusal.message


def test_the_audit_finds_it_without_a_policy_and_without_propensities():
    log = ruled(6_000, 2, certain=False)
    log = Log(log.frame.drop(columns="logging_propensity"), features=log.features, actions=log.actions)
    audit = audit_overlap(log, segments="stage")
    [refusal] = audit.refusals
    assert (refusal.action, refusal.rows) == ("firm_call", (log.action == "firm_call").sum())
    assert "days_past_due >= 90" in refusal.segment
    assert audit.frame().loc[0, "segment"] == refusal.segment
    assert audit.segments.groupby("segment")["rows"].sum().to_dict() == log.X["stage"].value_counts().to_dict()


def test_a_log_without_rules_is_not_accused_of_one():
    for seed in range(30):
        log = World().log(300, seed)
        assert audit_overlap(log).refusals == ()
        blind = Log(log.frame.drop(columns="logging_propensity"))
        assert audit_overlap(blind).refusals == ()


def test_support_is_counted_by_segment():
    log = ruled(2_000, 3, certain=False)
    table = audit_overlap(log, segments=(log.X["days_past_due"] >= 90).rename("late")).segments
    calls = table[table["action"] == "firm_call"].set_index("segment")
    assert calls["rows"].sum() == (log.action == "firm_call").sum()
    assert calls.loc[True, "decisions"] == (log.X["days_past_due"] >= 90).sum()
    with pytest.raises(ValueError, match=r"segments 'nothing' is no column"):
        audit_overlap(log, segments="nothing")


@pytest.mark.parametrize(
    ("mark", "condition"),
    [
        (lambda f: f["balance"] < 50, "balance < 50"),
        (lambda f: f["stage"].isin(["a", "c"]), "stage in ['a', 'c']"),
        (lambda f: ~f["consent"], "not consent"),
        (lambda f: f["score"].isna(), "score is missing"),
    ],
)
def test_conditions_read_as_rules_are_written(mark, condition):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "balance": rng.uniform(0, 1_000, 3_000).round(2),
            "stage": rng.choice(list("abcd"), 3_000),
            "consent": rng.random(3_000) < 0.7,
            "score": np.where(rng.random(3_000) < 0.2, np.nan, rng.normal(size=3_000)),
        }
    )
    assert marked_segment(frame, mark(frame).to_numpy()).condition == condition


def test_marks_without_a_rule_have_no_segment():
    rng = np.random.default_rng(0)
    assert marked_segment(pd.DataFrame({"x": rng.normal(size=1_000)}), rng.random(1_000) < 0.1) is None
