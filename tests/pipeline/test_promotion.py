"""Gates of a promotion: each passes for what is sound, and fails for one thing that is not."""

from __future__ import annotations

import json

import pandas as pd
import pytest

import collectml as cm
from collectml.errors import SchemaError
from collectml.pipeline import GateRules, promotion_gates, read_data, read_experiment, unseen
from collectml.pipeline.promotion import _calibration, _fairness, _report, _rules


@pytest.fixture(scope="module")
def model(trained):
    return cm.load(trained.model)


@pytest.fixture(scope="module")
def data(trained, model):
    return read_data(read_experiment(trained.config), model.strategy)


@pytest.fixture(scope="module")
def assignment(data, model):
    return model.assign(data.accounts, capacity=data.capacity)


@pytest.fixture(scope="module")
def payload(trained):
    return json.loads((trained.model.parent / "report.json").read_text(encoding="utf-8"))


def _idle(model):
    """The same model under a strategy that contacts nobody."""
    content = model.strategy.model_dump(mode="json")
    content["conditions"].append({"name": "nobody", "contact": True, "allow": "hardship and not hardship"})
    parts = {f: getattr(model, f) for f in model.__dataclass_fields__}
    return cm.pipeline.StrategyModel(**{**parts, "strategy": cm.Strategy.model_validate(content)})


def test_all_gates_against_a_champion(data, model, payload):
    gates = promotion_gates(
        model, model, data.log, accounts=data.accounts, capacity=data.capacity, report=payload, approved_by="A. Person"
    )
    assert [g.name for g in gates] == ["calibration", "policy value", "fairness", "rules", "report", "approval"]
    assert [g.name for g in gates if not g.passed] == []
    assert "+0.00 (+0.00 to +0.00) USD per decision against the champion" in gates[1].found


def test_what_is_worth_less_than_the_champion_is_refused_and_every_fault_is_told(data, model):
    gates = {
        g.name: g for g in promotion_gates(_idle(model), model, data.log, accounts=data.accounts, capacity=data.capacity)
    }
    assert {n for n, g in gates.items() if not g.passed} == {"policy value", "report", "approval"}
    assert gates["policy value"].found.startswith("-")


def test_seen_decisions_are_left_out_of_any_log(data, model, trained):
    experiment = read_experiment(trained.config)
    held_out = data.log.split_by_customer(experiment.test_share, random_state=experiment.seed)[1]
    assert unseen(data.log, model).digest() == held_out.digest()
    half = data.log.select(data.log.account.to_numpy() % 2 == 0)  # another log: other customers, the same held out
    wanted = set(held_out.customer) & set(half.customer)
    assert set(unseen(half, model).customer) == wanted
    later = model.evidence.facts["log"] | {"last_decision": "2025-12-31"}
    model_of_last_year = _with_facts(model, {"log": later})
    assert len(unseen(data.log, model_of_last_year)) == len(data.log)
    with pytest.raises(SchemaError, match="seen by neither"):
        unseen(data.log.select(~data.log.customer.isin(held_out.customer).to_numpy()), model)


def _with_facts(model, facts):
    parts = {f: getattr(model, f) for f in model.__dataclass_fields__}
    evidence = cm.pipeline.Evidence(model.evidence.facts | facts, model.evidence.tables)
    return cm.pipeline.StrategyModel(**{**parts, "evidence": evidence})


def test_calibration_outside_its_bounds(data, model):
    kept = unseen(data.log, model)
    assert _calibration(model, kept, GateRules()).passed
    for rules in (GateRules(slope=(0.99, 1.01)), GateRules(observed_over_expected=(1.2, 1.3))):
        assert not _calibration(model, kept, rules).passed


def test_a_group_that_gets_the_firm_tone_more_often(assignment, data, model):
    assert _fairness(model, assignment, data.accounts, GateRules()).passed
    firm = assignment.frame().set_index("account_id")["action"].eq("firm_call").reindex(data.accounts["account_id"])
    unequal = data.accounts.assign(region=[("north" if f else "south") for f in firm])
    gate = _fairness(model, assignment, unequal, GateRules())
    assert not gate.passed
    assert gate.found.startswith("region north: 100.0%")
    assert "no region" in _fairness(model, assignment, data.accounts.drop(columns="region"), GateRules()).found
    assert _fairness(model, assignment, data.accounts.drop(columns=["region", "age_band"]), GateRules(groups=())).passed
    assert "balance is a feature" in _fairness(model, assignment, data.accounts, GateRules(groups=("balance",))).found


def test_a_condition_that_cannot_be_read(data, model, assignment):
    assert _rules(model, assignment).passed
    blind = model.assign(data.accounts.drop(columns="attorney"), capacity=data.capacity)
    assert _rules(model, blind).found == "conditions read attorney, which the accounts do not hold"


def _changed(payload, path, value):
    copy = json.loads(json.dumps(payload))
    at = copy
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return copy


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        (["decision", "headline", "value"], 1.0, "the payload was altered"),
        (["identities", 0, "holds"], False, "do not agree"),
        (["digest_of_log"], "0" * 64, "another log"),
        (["assignment_digest"], "0" * 64, "assigns these accounts otherwise"),
    ],
)
def test_a_report_that_does_not_follow(assignment, model, payload, path, value, fault):
    gate = _report(model, assignment, _changed(payload, path, value), None)
    assert not gate.passed
    assert fault in gate.found


def test_a_report_other_than_the_one_anchored_with_the_run(assignment, model, payload):
    assert _report(model, assignment, payload, None).passed
    assert not _report(model, assignment, payload, "0" * 64).passed


def test_the_figures_are_those_of_training(data, model):
    """Without a champion the gate values what training valued: the same decisions, plan and baseline."""
    gates = promotion_gates(model, None, data.log, accounts=data.accounts, capacity=data.capacity)
    facts = model.evidence.facts["policy_value"]
    low, high = facts["gain_over_logged_low"], facts["gain_over_logged_high"]
    assert f"{facts['gain_over_logged']:+,.2f} ({low:+,.2f} to {high:+,.2f})" in gates[1].found
    assert gates[1].passed == (low >= 0)
    assert isinstance(pd.Timestamp(model.evidence.facts["log"]["last_decision"]), pd.Timestamp)
