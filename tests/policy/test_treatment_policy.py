"""The policy: every limit kept, every probability exact, every reason true."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from collectml.errors import InfeasibleStrategyError, SchemaError
from collectml.policy import PricedActions, TreatmentPolicy, price_actions
from collectml.policy._compiled import kernels
from collectml.policy.exploration import _moments, bernstein_margin, bernstein_tail, randomise
from collectml.strategy import Strategy

ACTIONS = [
    {"name": "no_action"},
    {"name": "sms", "channel": "sms", "unit_cost": 0.1},
    {"name": "call", "channel": "call", "attempts": 2, "attempt_minutes": 1, "talk_minutes": 5, "stated_reach": 0.4},
    {"name": "offer", "channel": "letter", "unit_cost": 1, "commitment_days": 30},
]
LIMITS = [
    {"name": "minutes", "kind": "capacity", "unit": "minutes", "channels": ["call"], "upper": 600, "per": "1000_accounts"},
    {"name": "letters", "kind": "capacity", "channels": ["letter"], "upper": 100, "per": "1000_accounts"},
    {"name": "complaints", "kind": "complaints", "upper": 4.5},
]
CONDITIONS = [
    {"name": "dispute", "contact": True, "allow": "not dispute"},
    {"name": "phone", "channels": ["call"], "allow": "has_phone"},
]


def strategy(**changes):
    content = {"name": "test", "currency": "EUR", "actions": ACTIONS, "limits": LIMITS, "conditions": CONDITIONS}
    content["objective"] = {"cost_of_agent_minute": 0.5, "cost_of_complaint": 50}
    return Strategy.model_validate(content | changes)


def world(n=3000, seed=0, spec=None):
    rng = np.random.default_rng(seed)
    accounts = pd.DataFrame(
        {
            "account_id": np.arange(n) + 5_000_000,
            "customer_id": np.where(np.arange(n) % 10 == 0, np.maximum(np.arange(n) - 1, 0), np.arange(n)) + 9_000_000,
            "dispute": rng.random(n) < 0.05,
            "has_phone": rng.random(n) < 0.9,
        }
    )
    recovered = pd.DataFrame(
        rng.lognormal(3, 1, n)[:, None] * (1 + rng.normal([0, 0.02, 0.2, 0.1], [0.0001, 0.05, 0.2, 0.3], (n, 4))),
        index=accounts["account_id"],
        columns=[a["name"] for a in ACTIONS],
    ).clip(lower=0)
    complaints = pd.DataFrame(
        np.array([0.002, 0.003, 0.008, 0.001]) * rng.lognormal(0, 0.5, (n, 1)),
        index=recovered.index,
        columns=recovered.columns,
    )
    reach = pd.DataFrame({"call": rng.uniform(0.1, 0.7, n)}, index=recovered.index)
    return accounts, price_actions(spec or strategy(), recovered, reach=reach, complaints=complaints)


def limit_usage(assignment, priced, actions):
    """Usage recomputed from scratch."""
    ids, at = assignment.frame()["account_id"], priced.net.columns.get_indexer(actions)
    rows = np.arange(len(ids))
    minutes = priced.minutes.loc[ids].to_numpy()[rows, at] * (at == 2)
    return np.array([minutes.sum(), (at == 3).sum(), priced.complaints.loc[ids].to_numpy()[rows, at].sum()])


@pytest.mark.parametrize("randomised", [False, True])
def test_limits_hold_and_nobody_gets_what_is_not_permitted(randomised):
    spec = strategy(exploration={"share": 0.1}, holdout={"share": 0.1}) if randomised else strategy()
    accounts, priced = world()
    assignment = TreatmentPolicy(spec).assign(priced, accounts, as_of="2026-03-01")
    frame = assignment.frame()
    assert frame["account_id"].tolist() == accounts["account_id"].tolist()
    used = limit_usage(assignment, priced, frame["action"])
    table = assignment.limits()
    np.testing.assert_allclose(table["used"], used, rtol=1e-12)
    assert (used <= table["upper"] * (1 + 1e-9)).all()
    assert (frame.loc[accounts["dispute"], "action"] == "no_action").all()
    assert not ((frame["action"] == "call") & ~accounts["has_phone"]).any()
    contacted = accounts.loc[frame["action"] != "no_action", "customer_id"]
    assert not contacted.duplicated().any()
    probabilities = assignment.probabilities()
    np.testing.assert_allclose(probabilities.sum(axis="columns"), 1, atol=1e-12)
    own = probabilities.to_numpy()[np.arange(len(frame)), probabilities.columns.get_indexer(frame["action"])]
    np.testing.assert_array_equal(own, frame["probability"])
    assert (frame["probability"] > 0).all()


def test_same_inputs_same_bytes_and_row_order_does_not_matter():
    spec = strategy(exploration={"share": 0.1}, holdout={"share": 0.1})
    accounts, priced = world()
    first = TreatmentPolicy(spec).assign(priced, accounts, as_of="2026-03-01").frame()
    again = TreatmentPolicy(spec).assign(priced, accounts, as_of="2026-03-01").frame()
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    shuffled = accounts.sample(frac=1, random_state=3)
    other = TreatmentPolicy(spec).assign(priced, shuffled, as_of="2026-03-01").frame()
    merged = first.merge(other, on="account_id")
    assert (merged["action_x"] == merged["action_y"]).all()


@pytest.mark.slow
def test_frequencies_over_cycles_equal_the_probabilities():
    """200 cycles: the share of cycles with each action matches P, account by account, within chance."""
    spec = strategy(exploration={"share": 0.2, "usage_share": 0.5}, holdout={"share": 0.0})
    accounts, priced = world(n=400)
    expected, counts = np.zeros((400, 4)), np.zeros((400, 4))
    cycles = 200
    for day in pd.date_range("2026-01-01", periods=cycles):
        assignment = TreatmentPolicy(spec).assign(priced, accounts, as_of=day)
        expected += assignment.probabilities().to_numpy()
        at = priced.net.columns.get_indexer(assignment.frame()["action"])
        counts[np.arange(400), at] += 1
    z = (counts - expected) / np.sqrt(np.maximum(expected * (1 - expected / cycles), 1e-9))
    tested = (expected > 5) & (expected < cycles - 5)
    assert tested.sum() > 300
    assert abs(z[tested].mean()) < 0.2
    assert 0.8 < z[tested].std() < 1.2
    assert (counts[expected == 0] == 0).all()
    total = np.abs(counts.sum(axis=0) - expected.sum(axis=0)) / np.sqrt(expected.sum(axis=0))
    assert (total < 5).all()


@pytest.mark.parametrize("weighting", ["uniform", "value"])
def test_no_probability_depends_on_a_draw(weighting):
    """Other salts, another draw: who is held out or explored changes, no probability does."""
    shares = {"exploration": {"share": 0.2, "usage_share": 0.3, "weighting": weighting}, "holdout": {"share": 0.1}}
    accounts, priced = world(n=1500)
    first, second = (
        TreatmentPolicy(strategy(**shares, salts={"holdout": f"h{k}", "explore": f"e{k}"})).assign(
            priced, accounts, as_of="2026-03-01"
        )
        for k in (1, 2)
    )
    assert (first.frame()["reason"] != second.frame()["reason"]).mean() > 0.2
    np.testing.assert_array_equal(first.probabilities(), second.probabilities())
    assert first.probabilities().to_numpy().max() <= 1
    for assignment in (first, second):
        table = assignment.limits()
        assert (table["used"] <= table["upper"] * (1 + 1e-9)).all()


def test_value_weighted_exploration_prefers_what_is_worth_more_and_keeps_a_floor():
    room = [{"name": "room", "kind": "share", "actions": ["sms"], "upper": 1.0}]
    explored = {"share": 0.2, "usage_share": 0.9}
    spec = strategy(limits=room, exploration=explored | {"weighting": "value", "floor": 0.25})
    accounts, priced = world(n=500)
    problem = TreatmentPolicy(spec).assign(priced, accounts, as_of="2026-03-01").problem
    q, rows = problem.exploration, np.arange(500)
    alone = problem.rivals == 1  # of several accounts one is drawn first, whatever its actions are worth
    several = ((q > 0).sum(axis=1) > 1) & (np.ptp(problem.net, axis=1) > 0) & alone
    best = np.where(q > 0, problem.net, -np.inf).argmax(axis=1)
    assert (q[rows, best] == q.max(axis=1))[alone].all()
    least = np.where(q > 0, q, np.inf).min(axis=1)
    np.testing.assert_allclose((least / q.max(axis=1))[several], 0.25)
    uniform = strategy(limits=room, exploration=explored)
    plain = TreatmentPolicy(uniform).assign(priced, accounts, as_of="2026-03-01").problem.exploration
    np.testing.assert_array_equal(plain > 0, q > 0)


@pytest.mark.parametrize("weighting", ["uniform", "value"])
def test_customers_with_several_accounts_are_explored_one_account_each_at_the_stated_chances(weighting):
    room = [{"name": "room", "kind": "share", "actions": ["sms"], "upper": 1.0}]
    spec = strategy(limits=room, exploration={"share": 0.9, "usage_share": 0.9, "weighting": weighting})
    accounts, priced = world(n=300)
    accounts["customer_id"] = np.arange(300) // 3
    accounts.loc[::3, "has_phone"] = False
    problem = TreatmentPolicy(spec).assign(priced, accounts, as_of="2026-03-01").problem
    reached = ~accounts["dispute"].to_numpy()
    np.testing.assert_array_equal(
        problem.rivals, np.maximum(np.bincount(np.arange(300) // 3, reached), 1)[np.arange(300) // 3]
    )
    q = problem.exploration
    np.testing.assert_allclose(q.sum(axis=1), 1)
    np.testing.assert_array_equal(q > 0, problem.explorable)
    counts, draws = np.zeros_like(q), np.zeros((300, 1))
    for counter in range(800):
        outcome = randomise(problem, counter=counter)
        counts[np.flatnonzero(outcome.explored), outcome.drawn[outcome.explored]] += 1
        draws[outcome.explored] += 1
        assert np.bincount(problem.customer_code, problem.strategy.contact_mask[outcome.drawn]).max() <= 1
    inside = (q > 0) & (q < 1)
    z = ((counts - draws * q) / np.sqrt(np.where(inside, draws * q * (1 - q), 1)))[inside]
    assert (counts[~problem.explorable] == 0).all()
    assert abs(z.mean()) < 0.15
    assert 0.9 < z.std() < 1.1
    assert np.abs(z).max() < 5


def test_both_ways_to_expect_what_exploration_uses_agree():
    spec = strategy(exploration={"share": 0.2})
    accounts, priced = world(n=600)
    accounts["customer_id"] = np.arange(600) // 2
    problem = TreatmentPolicy(spec).assign(priced, accounts, as_of="2026-03-01").problem
    weights = np.array([1.0, 0.7, 0.2, 0.4])
    for limit in problem.limits:
        usage = np.atleast_2d(limit.usage)
        of = problem.explorable, weights, usage, problem.household, problem.rivals, problem.strategy.contact_mask
        most, again = np.zeros(600), np.zeros(600)
        np.testing.assert_allclose(_moments(*of, most), kernels().moments(*of, again), rtol=1e-12)
        np.testing.assert_array_equal(most, again)


def test_hold_out_is_permanent_by_customer_and_of_its_share():
    spec = strategy(holdout={"share": 0.2})
    accounts, priced = world()
    held = [
        set(frame.loc[frame["reason"] == "hold-out", "account_id"])
        for frame in (
            TreatmentPolicy(spec).assign(priced, accounts, as_of=day).frame() for day in ("2026-01-01", "2026-06-01")
        )
    ]
    assert held[0] == held[1]
    assert abs(len(held[0]) / len(accounts) - 0.2) < 4 * np.sqrt(0.2 * 0.8 / len(accounts))
    customers = accounts.set_index("account_id")["customer_id"]
    inside = customers.isin(customers.loc[sorted(held[0])])
    assert set(customers.index[inside]) == held[0]


def test_exploration_stays_within_its_share_of_every_limit():
    spec = strategy(exploration={"share": 0.3, "usage_share": 0.1})
    accounts, priced = world()
    assignment = TreatmentPolicy(spec).assign(priced, accounts, as_of="2026-03-01")
    q = assignment.problem.exploration
    used = 0.3 * (q * priced.minutes.loc[accounts["account_id"]].to_numpy()).sum()
    assert 0 < used <= 0.1 * 1800 * (1 + 1e-9)
    assert assignment.plan.breach_bound <= 1e-6
    assert (q[:, 0] > 0).all()


def test_a_handful_of_units_is_never_reserved_for_chance():
    spec = strategy(
        limits=[{"name": "letters", "kind": "capacity", "channels": ["letter"], "upper": 3}], exploration={"share": 0.3}
    )
    accounts, priced = world(n=500)
    assignment = TreatmentPolicy(spec).assign(priced, accounts, as_of="2026-03-01")
    assert (assignment.problem.exploration[:, 3] == 0).all()
    assert (assignment.planned() == "offer").sum() == 3


def test_no_evidence_blocks_and_says_so():
    spec = strategy(min_logged=100)
    accounts, priced = world(n=500)
    logged = {"no_action": 500, "sms": 500, "call": 99, "offer": 500}
    frame = TreatmentPolicy(spec, logged=logged).assign(priced, accounts, as_of="2026-03-01").frame()
    assert not (frame["action"] == "call").any()
    assert (frame["blocked_by"] == "no evidence").any()
    missing = PricedActions(priced.net.assign(call=np.nan), priced.recovered, priced.cost, priced.minutes, priced.complaints)
    assert not (TreatmentPolicy(spec).assign(missing, accounts, as_of="2026-03-01").frame()["action"] == "call").any()


def test_commitments_and_mandatory_notices_use_capacity_and_are_certain():
    actions = [*ACTIONS[:3], ACTIONS[3] | {"mandatory_when": "notice_due"}]
    spec = strategy(actions=actions, exploration={"share": 0.3}, holdout={"share": 0.3})
    accounts, priced = world(n=1000)
    accounts["notice_due"] = np.arange(1000) < 20
    accounts["committed_action"] = pd.Series(
        np.where((np.arange(1000) >= 20) & (np.arange(1000) < 50), "call", None), dtype="str"
    )
    accounts["committed_until"] = pd.to_datetime(pd.Series(np.where(np.arange(1000) < 35, "2026-03-10", "2026-02-10")))
    assignment = TreatmentPolicy(spec).assign(priced, accounts, as_of="2026-03-01")
    frame = assignment.frame()
    free_to_contact = ~accounts["dispute"]
    notices = frame[accounts["notice_due"] & free_to_contact]
    assert (notices["action"] == "offer").all()
    assert (notices["probability"] == 1).all()
    assert (notices["reason"] == "mandatory").all()
    running = frame["reason"] == "commitment"
    still = (np.arange(1000) >= 20) & (np.arange(1000) < 35) & free_to_contact & accounts["has_phone"]
    assert running.equals(still)
    assert (frame.loc[running, "action"] == "call").all()
    np.testing.assert_allclose(assignment.limits()["used"], limit_usage(assignment, priced, frame["action"]))


def test_changing_reach_or_complaints_changes_the_assignment():
    accounts, priced = world()
    base = TreatmentPolicy(strategy()).assign(priced, accounts, as_of="2026-03-01").frame()["action"]
    recovered = priced.recovered
    rng = np.random.default_rng(5)
    reach = pd.DataFrame({"call": rng.uniform(0.1, 0.7, len(accounts))}, index=recovered.index)
    other = price_actions(strategy(), recovered, reach=reach, complaints=priced.complaints)
    assert (TreatmentPolicy(strategy()).assign(other, accounts, as_of="2026-03-01").frame()["action"] != base).mean() > 0.02
    louder = priced.complaints.assign(call=priced.complaints["call"].sample(frac=1, random_state=1).to_numpy() * 3)
    other = price_actions(strategy(), recovered, complaints=louder)
    assert (TreatmentPolicy(strategy()).assign(other, accounts, as_of="2026-03-01").frame()["action"] != base).mean() > 0.02


def test_prices_explain_the_choice():
    """Each planned action is worth the most after usage is charged at the shadow prices, but for the rows settled at the margin."""
    accounts, priced = world(n=5000)
    accounts["customer_id"] = accounts["account_id"]
    assignment = TreatmentPolicy(strategy()).assign(priced, accounts, as_of="2026-03-01")
    problem = assignment.problem
    charged = problem.net.copy()
    for limit, price in zip(problem.limits, assignment.shadow_prices, strict=True):
        charged -= price * np.broadcast_to(limit.usage, charged.shape)
    charged[~problem.eligible] = -np.inf
    at = charged[np.arange(5000), assignment.plan.action]
    assert ((charged.max(axis=1) - at) > 1e-6).sum() <= 12
    frame = assignment.frame()
    rationed = frame["reason"] == "better use of limit"
    assert set(frame.loc[rationed, "blocked_by"]) <= {"minutes", "letters", "complaints"}
    assert (frame.loc[frame["reason"] == "best value", "blocked_by"] == "").all()
    assert (frame.loc[frame["reason"] == "best permitted value", "blocked_by"].isin(["dispute", "phone"])).all()


def test_lower_limits_hold_under_hold_out():
    limits = [{"name": "at_least", "kind": "share", "actions": ["sms"], "lower": 0.2}]
    spec = strategy(limits=limits, holdout={"share": 0.1}, exploration={"share": 0.05})
    accounts, priced = world()
    frame = TreatmentPolicy(spec).assign(priced, accounts, as_of="2026-03-01").frame()
    assert (frame["action"] == "sms").mean() >= 0.2


def test_limits_that_cannot_hold_name_themselves():
    limits = [
        {"name": "many_calls", "kind": "share", "actions": ["call"], "lower": 0.5},
        {"name": "few_minutes", "kind": "capacity", "unit": "minutes", "channels": ["call"], "upper": 10},
    ]
    accounts, priced = world(n=500)
    with pytest.raises(InfeasibleStrategyError) as error:
        TreatmentPolicy(strategy(limits=limits)).assign(priced, accounts, as_of="2026-03-01")
    assert set(error.value.limits) == {"many_calls", "few_minutes"}


def test_wrong_inputs_say_what_is_wrong():
    accounts, priced = world(n=50)
    policy = TreatmentPolicy(strategy())
    with pytest.raises(SchemaError, match="account_id"):
        policy.assign(priced, accounts.drop(columns="account_id"), as_of="2026-03-01")
    with pytest.raises(SchemaError, match="repeat"):
        policy.assign(priced, pd.concat([accounts, accounts.iloc[:3]]), as_of="2026-03-01")
    with pytest.raises(SchemaError, match="no row"):
        policy.assign(priced.net.iloc[:40], accounts, as_of="2026-03-01")
    with pytest.raises(SchemaError, match="offer"):
        policy.assign(priced.net.drop(columns="offer"), accounts, as_of="2026-03-01")


def test_a_bare_frame_of_values_uses_the_stated_quantities():
    accounts, priced = world(n=500)
    assignment = TreatmentPolicy(strategy()).assign(priced.net, accounts, as_of="2026-03-01")
    calls = (assignment.frame()["action"] == "call").sum()
    attempts, talk = 1 + 0.6, 1 - 0.6**2
    assert assignment.limits().set_index("limit").loc["minutes", "used"] == pytest.approx(calls * (attempts + 5 * talk))


def test_nobody_and_nobody_free():
    accounts, priced = world(n=20)
    with pytest.raises(SchemaError, match="no row"):
        TreatmentPolicy(strategy()).assign(priced, accounts.iloc[:0], as_of="2026-03-01")
    accounts = accounts.assign(committed_action="sms", committed_until=pd.Timestamp("2026-04-01"), dispute=False)
    spec = strategy(limits=[{"name": "room", "kind": "share", "actions": ["sms"], "upper": 1.0}])
    assert (TreatmentPolicy(spec).assign(priced, accounts, as_of="2026-03-01").frame()["reason"] == "commitment").all()
    spec = strategy(limits=[{"name": "room", "kind": "share", "actions": ["sms"], "upper": 0.5}])
    with pytest.raises(InfeasibleStrategyError, match="commitments and mandatory notices alone"):
        TreatmentPolicy(spec).assign(priced, accounts, as_of="2026-03-01")


def test_bernstein_holds_in_simulation():
    rng = np.random.default_rng(0)
    p, u = 0.1, rng.lognormal(0, 1, 2000)
    margin = bernstein_margin(p * (1 - p) * float(u @ u), float(u.max()), 0.01)
    sums = ((rng.random((5000, 2000)) < p) * u).sum(axis=1) - p * u.sum()
    assert (sums >= margin).mean() <= 0.01
    assert bernstein_tail(margin, p * (1 - p) * float(u @ u), float(u.max())) == pytest.approx(0.01)
