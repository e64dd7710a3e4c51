"""Limits: what compiles equals a count by hand, assignments hold it, what cannot hold is named, sentences read well."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from collectml.errors import ConfigurationError, InfeasibleStrategyError, SchemaError
from collectml.policy import TreatmentPolicy, price_actions
from collectml.policy._search import Search
from collectml.strategy import Strategy

FILE = Path(__file__).parents[1] / "fixtures" / "every_limit.yaml"
STRATEGY = Strategy.from_yaml(FILE)
NAMES = list(STRATEGY.action_names)
FIRM, CALLS = ("firm_call", "agency_a", "agency_b"), ("soft_call", "firm_call", "plan")


@pytest.fixture(autouse=True)
def near_enough(monkeypatch):
    """Thirteen limits on few accounts take long to prove optimal; here it matters that they hold."""
    monkeypatch.setattr("collectml.policy.plan.Search", lambda instance, gap, deadline: Search(instance, 1e-3, deadline))
    monkeypatch.setattr("collectml.policy.plan.patience", lambda accounts: 4.0)


def accounts_of(n=900, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "account_id": np.arange(n) + 1,
            "customer_id": np.arange(n) - (np.arange(n) % 9 == 1),
            "region": rng.choice(["north", "south", "east"], n),
            "age_band": rng.choice(["18-59", "60+"], n, p=[0.75, 0.25]),
            "income": np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(7.5, 0.5, n)),
            "days_past_due": rng.integers(1, 120, n),
            "balance": rng.lognormal(6.5, 0.8, n).round(2),
            "dispute": rng.random(n) < 0.05,
        }
    )


def priced_of(accounts, strategy=STRATEGY, seed=0):
    rng = np.random.default_rng(seed)
    lift = rng.normal([0, 1, 7, 11, 9, 14, 13], [0.01, 1, 5, 8, 6, 12, 12], (len(accounts), 7))
    # the old answer most to a firm tone: without a limit they would get more of it
    lift[:, [3, 5, 6]] += 6.0 * (accounts["age_band"] == "60+").to_numpy()[:, None]
    recovered = pd.DataFrame(20 + lift, index=accounts["account_id"], columns=NAMES)
    reach = pd.DataFrame({"call": rng.uniform(0.1, 0.8, len(accounts))}, index=recovered.index)
    return price_actions(strategy, recovered, reach=reach)


def by_hand(name, accounts, priced, actions):
    """What an assignment uses of a limit: counted account by account, in plain Python."""
    n = len(accounts)
    total, rows = 0.0, zip(accounts.to_dict("records"), actions, range(n), strict=True)
    old = sum(r == "60+" for r in accounts["age_band"])
    poor, rich = sum(accounts["income"] < 1500), sum(accounts["income"] >= 1500)
    for account, action, i in rows:
        j = NAMES.index(action)
        total += {
            "money": priced.cost.iloc[i, j] if action != "no_action" else 0,
            "minutes": priced.minutes.iloc[i, j] if action in CALLS else 0,
            "negotiators": action == "plan",
            "calls_north": action in CALLS and account["region"] == "north",
            "team_b": priced.minutes.iloc[i, j] if action == "soft_call" else 0,
            "sms_share": action == "sms",
            "late_firm": action in FIRM and account["days_past_due"] >= 60,
            "complaints": priced.complaints.iloc[i, j],
            "firm_on_the_old": (action in FIRM) * ((account["age_band"] == "60+") - 1.1 * old / n),
            "plans_for_the_poor": (action == "plan")
            * ((account["income"] < 1500) - 0.8 * poor / rich * (account["income"] >= 1500)),
            "quota_a": action == "agency_a",
            "balance_b": account["balance"] * (action == "agency_b"),
            "mix": account["balance"] * ((action == "agency_a") - 0.6 * (action in ("agency_a", "agency_b"))),
        }[name]
    return total


def bounds_by_hand(name, accounts):
    n, north, late = len(accounts), sum(accounts["region"] == "north"), sum(accounts["days_past_due"] >= 60)
    return {
        "money": (-np.inf, 1.5 * n), "minutes": (-np.inf, 1.5 * n), "negotiators": (-np.inf, 0.06 * n),
        "calls_north": (-np.inf, 0.15 * north), "team_b": (-np.inf, 0.8 * n), "sms_share": (0.1 * n, 0.5 * n),
        "late_firm": (0.05 * late, 0.4 * late), "complaints": (-np.inf, 0.009 * n), "firm_on_the_old": (-np.inf, 0),
        "plans_for_the_poor": (0, np.inf), "quota_a": (0.02 * n, 0.12 * n), "balance_b": (20 * n, 300 * n),
        "mix": (-np.inf, 0),
    }[name]  # fmt: skip


@pytest.mark.parametrize("limit", STRATEGY.limits, ids=lambda x: x.name)
def test_compiled_usage_and_bounds_equal_a_count_by_hand(limit):
    accounts = accounts_of(200, seed=3)
    priced = priced_of(accounts)
    quantities = {k: f.to_numpy() for k, f in priced.quantities().items()}
    compiled = limit.compile(actions=STRATEGY.actions, quantities=quantities, accounts=accounts)
    assert (compiled.lower, compiled.upper) == pytest.approx(bounds_by_hand(limit.name, accounts))
    usage = np.broadcast_to(compiled.usage, (200, 7))
    rng = np.random.default_rng(1)
    for _ in range(20):
        at = rng.integers(0, 7, 200)
        used = usage[np.arange(200), at].sum()
        assert used == pytest.approx(by_hand(limit.name, accounts, priced, np.array(NAMES)[at]), rel=1e-9, abs=1e-8)


@pytest.mark.parametrize("randomised", [False, True])
def test_one_assignment_holds_every_kind_at_once(randomised):
    spec = STRATEGY
    if randomised:
        spec = Strategy.model_validate(STRATEGY.model_dump() | {"holdout": {"share": 0.05}, "exploration": {"share": 0.05}})
    accounts = accounts_of(6000, seed=4)
    priced = priced_of(accounts)
    assignment = TreatmentPolicy(spec).assign(priced, accounts, as_of="2026-03-01")
    actions = assignment.frame()["action"].to_numpy()
    table = assignment.limits().set_index("limit")
    for limit in STRATEGY.limits:
        used = by_hand(limit.name, accounts, priced, actions)
        low, high = bounds_by_hand(limit.name, accounts)
        assert low - 1e-6 <= used <= high + 1e-6, limit.name
        assert table.loc[limit.name, "used"] == pytest.approx(used, rel=1e-7, abs=1e-6)
    assert not accounts.loc[actions != "no_action", "customer_id"].duplicated().any()
    assert assignment.plan.breach_bound <= 1e-6


def rate(accounts, actions, names, group):
    return float(np.isin(actions, names)[group.to_numpy()].mean())


def test_fairness_binds_and_its_ratio_is_told():
    accounts = accounts_of(3000, seed=5)
    priced = priced_of(accounts)
    without = STRATEGY.model_copy(update={"limits": tuple(x for x in STRATEGY.limits if x.kind != "fairness")})
    old, everybody = accounts["age_band"] == "60+", pd.Series(True, index=accounts.index)
    free = TreatmentPolicy(without).assign(priced, accounts, as_of="2026-03-01").frame()["action"]
    assert rate(accounts, free, FIRM, old) > 1.3 * rate(accounts, free, FIRM, everybody)
    assignment = TreatmentPolicy(STRATEGY).assign(priced, accounts, as_of="2026-03-01")
    bound = assignment.frame()["action"]
    ratio = rate(accounts, bound, FIRM, old) / rate(accounts, bound, FIRM, everybody)
    assert 1.08 < ratio <= 1.1
    told = assignment.ratios().set_index("limit")
    assert told.loc["firm_on_the_old", "ratio"] == pytest.approx(ratio)
    assert told.loc["plans_for_the_poor", "ratio"] >= 0.8
    assert told.loc["mix", "ratio"] <= 0.6
    assert told.loc["mix", "at_most"] == 0.6
    assert np.isnan(told.loc["mix", "at_least"])
    assert assignment.shadow_prices["firm_on_the_old"] > 0


IMPOSSIBLE = [
    ({"name": "x", "kind": "budget", "lower": 1e6}, "x"),
    ({"name": "x", "kind": "capacity", "skills": ["negotiation"], "lower": 5000}, "x"),
    ({"name": "x", "kind": "share", "actions": ["sms"], "where": "dispute", "lower": 0.2}, "x"),
    ({"name": "x", "kind": "complaints", "lower": 900}, "x"),
    ({"name": "x", "kind": "placement", "actions": ["agency_a"], "lower": 950, "per": "1000_accounts"}, "x"),
    ({"name": "x", "kind": "placement", "actions": ["agency_a"], "measure": "balance", "lower": 1e9}, "x"),
]


@pytest.mark.parametrize(("limit", "name"), IMPOSSIBLE)
def test_a_limit_that_cannot_hold_is_named(limit, name):
    spec = Strategy.model_validate(STRATEGY.model_dump() | {"limits": [limit]})
    accounts = accounts_of(300)
    with pytest.raises(InfeasibleStrategyError, match="cannot hold") as error:
        TreatmentPolicy(spec).assign(priced_of(accounts), accounts, as_of="2026-03-01")
    assert error.value.limits == (name,)


def test_comparisons_that_cannot_hold_with_a_minimum_are_named_together():
    """The old must be called firmly often, and no more often than others, who may hardly be."""
    limits = [
        {"name": "parity", "kind": "fairness", "actions": ["firm_call"], "group": "age_band == '60+'", "upper": 1.0},
        {"name": "old", "kind": "share", "actions": ["firm_call"], "where": "age_band == '60+'", "lower": 0.4},
        {"name": "others", "kind": "share", "actions": ["firm_call"], "where": "age_band != '60+'", "upper": 0.1},
    ]
    spec = Strategy.model_validate(STRATEGY.model_dump() | {"limits": limits})
    accounts = accounts_of(300)
    with pytest.raises(InfeasibleStrategyError) as error:
        TreatmentPolicy(spec).assign(priced_of(accounts), accounts, as_of="2026-03-01")
    assert set(error.value.limits) == {"parity", "old", "others"}
    for name in ("parity", "old", "others"):
        assert name in str(error.value)


def test_chance_that_leaves_no_margin_says_so():
    limits = [
        {"name": "parity", "kind": "fairness", "actions": ["firm_call"], "group": "age_band == '60+'", "upper": 1.0},
        {"name": "many", "kind": "share", "actions": ["firm_call"], "where": "age_band == '60+'", "lower": 0.6},
        {"name": "all", "kind": "share", "actions": ["firm_call"], "upper": 0.66},
    ]
    content = STRATEGY.model_dump() | {"limits": limits, "one_contact_per_customer": False, "conditions": []}
    accounts = accounts_of(300)
    TreatmentPolicy(Strategy.model_validate(content)).assign(priced_of(accounts), accounts, as_of="2026-03-01")
    held = Strategy.model_validate(content | {"holdout": {"share": 0.1}})
    with pytest.raises(InfeasibleStrategyError, match="hold-out of 10%"):
        TreatmentPolicy(held).assign(priced_of(accounts), accounts, as_of="2026-03-01")


def test_a_group_of_nobody_holds_and_has_no_ratio():
    limits = [{"name": "x", "kind": "fairness", "tones": ["firm"], "group": "age_band == 'none'", "lower": 0.5}]
    spec = Strategy.model_validate(STRATEGY.model_dump() | {"limits": limits})
    accounts = accounts_of(200)
    assignment = TreatmentPolicy(spec).assign(priced_of(accounts), accounts, as_of="2026-03-01")
    assert np.isnan(assignment.ratios()["ratio"].iloc[0])
    assert (assignment.frame()["action"] == "agency_a").any()


@pytest.mark.parametrize("column", ["region", "age_band", "income", "days_past_due", "balance"])
def test_a_field_that_is_not_there_is_no_limit_that_holds(column):
    accounts = accounts_of(100)
    with pytest.raises(SchemaError, match=f"{column}, which the accounts do not have"):
        TreatmentPolicy(STRATEGY).assign(priced_of(accounts), accounts.drop(columns=column), as_of="2026-03-01")


def test_a_balance_that_is_not_known_cannot_be_measured():
    accounts = accounts_of(100)
    accounts.loc[3, "balance"] = np.nan
    with pytest.raises(SchemaError, match="missing for 1 accounts"):
        TreatmentPolicy(STRATEGY).assign(priced_of(accounts), accounts, as_of="2026-03-01")


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ({"kind": "fairness", "group": "a", "upper": 1, "lower": 0.5}, "one bound"),
        ({"kind": "fairness", "upper": 1}, "group"),
        ({"kind": "fairness", "group": "a ==", "upper": 1}, "cannot be read"),
        ({"kind": "fairness", "group": "a", "refernce": "b", "upper": 1}, "did you mean 'reference'"),
        ({"kind": "fairness", "group": "a", "tones": ["frim"], "upper": 1}, "none of the tones.*did you mean 'firm'"),
        ({"kind": "capacity", "skills": ["negotation"], "upper": 1}, "did you mean 'negotiation'"),
        ({"kind": "placement", "upper": 1}, "actions"),
        ({"kind": "placement", "actions": [], "upper": 1}, "at least 1 item"),
        ({"kind": "placement", "actions": ["agency_a"], "upper": 0.5, "per": "placements"}, "go together"),
        ({"kind": "placement", "actions": ["agency_a"], "upper": 5, "among": ["agency_a"]}, "go together"),
        (
            {"kind": "placement", "actions": ["agency_a"], "upper": 0.5, "per": "placements", "among": ["agency_b"]},
            "these actions too",
        ),
        (
            {"kind": "placement", "actions": ["agency_a"], "upper": 2, "per": "placements", "among": ["agency_a"]},
            "between 0 and 1",
        ),
        ({"kind": "placement", "actions": ["agency_a"], "mesure": "balance", "upper": 2}, "did you mean 'measure'"),
        ({"kind": "placement", "actions": ["agency_c"], "upper": 2}, "did you mean 'agency_"),
    ],
)
def test_faults_of_limits_name_their_place_and_the_nearest_key(limit, message, tmp_path):
    content = yaml.safe_load(FILE.read_text(encoding="utf-8")) | {"limits": [{"name": "x"} | limit]}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=message) as error:
        Strategy.from_yaml(tmp_path / "s.yaml")
    assert "limits.0.fairness." not in str(error.value)


def test_sentences_are_for_people():
    sentences = {x.name: x.sentence for x in STRATEGY.limits}
    assert sentences["minutes"] == "at most 1,500 minutes in the cycle per 1,000 accounts for call"
    assert sentences["calls_north"].endswith("for call where region == 'north'")
    assert sentences["firm_on_the_old"] == "rate of firm tone where age_band == '60+': at most 1.1 times the rate of all"
    assert sentences["plans_for_the_poor"].endswith("at least 0.8 times the rate where income >= 1500")
    assert sentences["mix"] == "at most 0.6 of the balance placed with agency_a and agency_b to agency_a"
    assert sentences["balance_b"].startswith("at least 20,000 and at most 300,000 of balance per 1,000 accounts placed")


def test_the_file_reads_back_equal_and_rates_do_not_scale(tmp_path):
    STRATEGY.to_yaml(tmp_path / "again.yaml")
    assert Strategy.from_yaml(tmp_path / "again.yaml") == STRATEGY
    assert STRATEGY.scaled(0.1) == STRATEGY
    total = Strategy.model_validate(
        STRATEGY.model_dump() | {"limits": [{"name": "x", "kind": "placement", "actions": ["agency_a"], "lower": 50}]}
    )
    assert total.scaled(0.1).limits[0].lower == 5


def test_the_calendar_gives_a_team_its_own_and_a_part_of_the_accounts_nothing():
    days = pd.date_range("2026-01-01", periods=30)
    calendar = pd.concat(
        [
            pd.DataFrame({"date": days, "channel": "call", "team": team, "capacity": c, "unit": unit})
            for team, c, unit in (("team_a", 100.0, "minutes"), ("team_b", 30.0, "minutes"), ("team_c", 2.0, "items"))
        ]
    )
    limits = {x.name: x for x in STRATEGY.with_capacity(calendar, as_of=pd.Timestamp("2026-01-01")).limits}
    assert limits["minutes"].upper == 130 * 30
    assert limits["team_b"].upper == 30 * 30
    assert limits["negotiators"].upper == 2 * 30
    assert limits["calls_north"].upper == 150
    with pytest.raises(ConfigurationError, match="no limit of quantity"):
        STRATEGY.with_capacity({"sms_share": 0.2}, as_of=pd.Timestamp("2026-01-01"))
