"""The strategy file: round trip, every fault at once, the nearest key, capacity from a calendar."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from collectml.errors import ConfigurationError
from collectml.strategy import Strategy, permissions

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
HONOURED = {
    *("deceased", "bankruptcy", "cease", "attorney", "dispute", "breathing_space", "complaint_open", "vulnerable"),
    *("sms_consent", "email_consent", "letter_consent", "call_consent"),
}
SMALL = {
    "name": "small",
    "currency": "EUR",
    "actions": [{"name": "no_action"}, {"name": "sms", "channel": "sms"}, {"name": "call", "channel": "call"}],
    "limits": [
        {"name": "calls", "kind": "capacity", "unit": "minutes", "channels": ["call"], "upper": 100},
        {"name": "budget", "kind": "budget", "upper": 10, "per": "1000_accounts"},
    ],
}


@pytest.mark.parametrize("file", ["card_early_stage.yaml", "charged_off.yaml"])
def test_shipped_strategies_read_back_equal_and_honour_every_condition(file, tmp_path):
    strategy = Strategy.from_yaml(EXPERIMENTS / file)
    strategy.to_yaml(tmp_path / "again.yaml")
    assert Strategy.from_yaml(tmp_path / "again.yaml") == strategy
    assert {c.name for c in strategy.conditions} >= HONOURED
    # with no field known nobody may be contacted
    allowed = permissions(strategy, pd.DataFrame({"account_id": [1, 2]})).allowed
    assert allowed[:, 0].all()
    assert not allowed[:, strategy.contact_mask].any()


@pytest.mark.parametrize(
    "flag", ["deceased", "bankruptcy", "cease", "attorney", "dispute", "breathing_space", "complaint_open", "vulnerable"]
)
@pytest.mark.parametrize("file", ["card_early_stage.yaml", "charged_off.yaml"])
def test_each_flag_alone_stops_all_contact(file, flag):
    strategy = Strategy.from_yaml(EXPERIMENTS / file)
    fields = {f for c in strategy.conditions for f in c_fields(c.allow)}
    free = {f: (not f.startswith(("has_", "consent_"))) is False for f in fields}
    accounts = pd.DataFrame(
        [free | {"days_past_due": 45, "balance": 500.0}, free | {"days_past_due": 45, "balance": 500.0, flag: True}]
    )
    allowed = permissions(strategy, accounts).allowed
    assert allowed[0, strategy.contact_mask].any()
    assert not allowed[1, strategy.contact_mask].any()


def c_fields(source):
    from collectml.strategy import Expression

    return Expression(source).fields


def test_all_faults_at_once_with_the_nearest_key(tmp_path):
    content = yaml.safe_load(yaml.safe_dump(SMALL)) | {"limts": 1}
    content["actions"][1]["chanel"] = "x"
    content["limits"][0]["uper"] = 3
    content["limits"][1]["kind"] = "bugdet"
    content["objective"] = {"horizon_days": -3}
    (tmp_path / "bad.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigurationError) as error:
        Strategy.from_yaml(tmp_path / "bad.yaml")
    text = str(error.value)
    for part in (
        "did you mean 'limits'",
        "did you mean 'channel'",
        "did you mean 'upper'",
        "'bugdet'",
        "objective.horizon_days",
    ):
        assert part in text
    assert "5" in text.splitlines()[0] or "and 4 more" in text.splitlines()[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": [{"name": "sms", "channel": "sms"}, {"name": "x"}]}, "is the control"),
        ({"actions": [{"name": "a"}, {"name": "a"}]}, "named twice"),
        ({"limits": [{"name": "x", "kind": "share", "actions": ["cal"], "upper": 0.1}]}, "did you mean 'call'"),
        ({"limits": [{"name": "x", "kind": "share", "upper": 1.5}]}, "between 0 and 1"),
        ({"limits": [{"name": "x", "kind": "budget"}]}, "give upper, lower or both"),
        ({"limits": [{"name": "x", "kind": "budget", "upper": 1, "lower": 2}]}, "above upper"),
        ({"conditions": [{"name": "x", "allow": "a >", "contact": True}]}, "cannot be read"),
        ({"conditions": [{"name": "x", "allow": "a"}]}, "say what it covers"),
        ({"conditions": [{"name": "x", "allow": "a", "actions": ["no_action"]}]}, "must stay possible"),
        ({"holdout": {"share": 0.6}, "exploration": {"share": 0.5}}, "leave nobody"),
        ({"grades": {"cuts": [0.2, 0.3, 0.1]}}, "fall strictly"),
        ({"currency": "dollars"}, "currency"),
    ],
)
def test_incoherent_strategies_are_refused(change, message, tmp_path):
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(SMALL | change))
    with pytest.raises(ConfigurationError, match=message):
        Strategy.from_yaml(tmp_path / "s.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nname: b\n", "stands twice"),
        ("a: [1, 2\n", "no valid YAML"),
        ("- 1\n- 2\n", "must be a mapping"),
        ("", "must be a mapping"),
        ("!!python/object/apply:os.system ['true']", "no valid YAML"),
        ("1: 2", "mapping of names"),
    ],
)
def test_files_that_are_no_strategy(text, message, tmp_path):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        Strategy.from_yaml(tmp_path / "s.yaml")


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(ConfigurationError, match="No such file"):
        Strategy.from_yaml(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        Strategy.from_yaml(tmp_path / "b.yaml")


def calendar(days=40, unit="minutes"):
    dates = pd.date_range("2026-01-01", periods=days)
    return pd.concat(
        [
            pd.DataFrame({"date": dates, "channel": "call", "team": team, "capacity": c, "unit": unit})
            for team, c in (("day", 10.0), ("late", 5.0))
        ]
    )


def test_capacity_from_a_calendar_sums_the_cycle_only():
    strategy = Strategy.model_validate(SMALL).with_capacity(calendar(), as_of=pd.Timestamp("2026-01-01"))
    assert [x.upper for x in strategy.limits] == [450.0, 10.0]
    late = Strategy.model_validate(SMALL).with_capacity(calendar(), as_of=pd.Timestamp("2026-01-31"))
    assert late.limits[0].upper == 150.0
    with pytest.raises(ConfigurationError, match="no row between"):
        Strategy.model_validate(SMALL).with_capacity(calendar(), as_of=pd.Timestamp("2027-01-01"))


def test_capacity_by_team_and_by_name():
    content = SMALL | {"limits": [SMALL["limits"][0] | {"team": "late"}]}
    strategy = Strategy.model_validate(content).with_capacity(calendar(), as_of=pd.Timestamp("2026-01-01"))
    assert strategy.limits[0].upper == 150.0
    assert Strategy.model_validate(SMALL).with_capacity({"calls": 7}, as_of=pd.Timestamp("2026-01-01")).limits[0].upper == 7
    with pytest.raises(ConfigurationError, match="did you mean 'calls'"):
        Strategy.model_validate(SMALL).with_capacity({"cals": 7}, as_of=pd.Timestamp("2026-01-01"))


def test_scaled_restates_totals_and_leaves_rates():
    strategy = Strategy.model_validate(SMALL).scaled(0.25)
    assert [x.upper for x in strategy.limits] == [25.0, 10.0]


def test_limits_compile_to_columns_and_bounds():
    strategy = Strategy.model_validate(
        SMALL
        | {
            "limits": [
                *SMALL["limits"],
                {"name": "share", "kind": "share", "channels": ["sms"], "upper": 0.5, "lower": 0.1, "where": "late"},
                {"name": "complaints", "kind": "complaints", "upper": 3},
            ]
        }
    )
    n = 2000
    quantities = {k: np.full((n, 3), v) for k, v in (("cost", 2.0), ("minutes", 4.0), ("complaints", 0.01))}
    accounts = pd.DataFrame({"late": np.arange(n) < 500})
    compiled = [x.compile(actions=strategy.actions, quantities=quantities, accounts=accounts) for x in strategy.limits]
    assert [(c.unit, c.upper) for c in compiled] == [("minutes", 100), ("money", 20), ("accounts", 250), ("complaints", 6)]
    assert compiled[2].lower == 50
    assert compiled[0].usage[0].tolist() == [0, 0, 4]
    assert compiled[1].usage[0].tolist() == [0, 2, 2]
    assert compiled[2].usage[0].tolist() == [0, 1, 0]
    assert compiled[2].usage[-1].tolist() == [0, 0, 0]
    assert compiled[3].usage[0].tolist() == [0.01, 0.01, 0.01]
    for limit in strategy.limits:
        assert limit.sentence


def test_permissions_name_the_condition_and_what_is_missing():
    content = SMALL | {
        "conditions": [
            {"name": "alive", "contact": True, "allow": "not deceased"},
            {"name": "phone", "channels": ["call"], "allow": "consent_call"},
        ]
    }
    accounts = pd.DataFrame({"deceased": [True, False, False], "account_id": [1, 2, 3]})
    result = permissions(Strategy.model_validate(content), accounts, unsupported=["sms"])
    assert result.allowed.tolist() == [[True, False, False]] * 3
    assert result.blocked_by(np.array([2, 2, 1])).tolist() == ["alive", "phone", "no evidence"]
    table = result.frame().set_index("condition")
    assert table.loc["phone", "missing_fields"] == "consent_call"
    assert table.loc["alive", "accounts"] == 1
