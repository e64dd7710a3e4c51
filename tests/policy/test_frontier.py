"""The frontier: concave, rising, certified at every bound, and its slope is the shadow price."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from collectml.errors import ConfigurationError, InfeasibleStrategyError
from collectml.policy import TreatmentPolicy, price_actions, solve_assignment
from collectml.policy._open_rows import OpenRows
from collectml.policy._read import read
from collectml.policy.shifted import shifted_limits
from collectml.policy.sweep import solve_along
from collectml.strategy import Strategy

ACTIONS = [
    {"name": "no_action"},
    {"name": "sms", "channel": "sms", "unit_cost": 0.1},
    {"name": "call", "channel": "call", "attempts": 2, "attempt_minutes": 1, "talk_minutes": 5, "stated_reach": 0.4},
    {"name": "offer", "channel": "letter", "unit_cost": 1},
]
LIMITS = [
    {"name": "minutes", "kind": "capacity", "unit": "minutes", "channels": ["call"], "upper": 600, "per": "1000_accounts"},
    {"name": "money", "kind": "budget", "channels": ["sms", "letter"], "upper": 150, "per": "1000_accounts"},
    {"name": "complaints", "kind": "complaints", "upper": 4.5},
    {"name": "some_sms", "kind": "share", "actions": ["sms"], "lower": 0.02},
]


def assignment(n=2500, seed=0, several=0.1, **changes):
    content = {"name": "test", "currency": "EUR", "actions": ACTIONS, "limits": LIMITS}
    content["objective"] = {"cost_of_agent_minute": 0.5, "cost_of_complaint": 50}
    spec = Strategy.model_validate(content | changes)
    rng = np.random.default_rng(seed)
    ids = pd.Index(np.arange(n) + 100, name="account_id")
    owner = np.where(rng.random(n) < several, rng.integers(0, n, n), np.arange(n))
    accounts = pd.DataFrame({"account_id": ids, "customer_id": owner})
    gain = 1 + rng.normal([0, 0.02, 0.2, 0.1], [0.0001, 0.05, 0.2, 0.3], (n, 4))
    recovered = pd.DataFrame(rng.lognormal(3, 1, n)[:, None] * gain, index=ids, columns=spec.action_names).clip(lower=0)
    complaints = pd.DataFrame([0.002, 0.003, 0.008, 0.001] * rng.lognormal(0, 0.5, (n, 1)), ids, recovered.columns)
    reach = pd.DataFrame({"call": rng.uniform(0.1, 0.7, n)}, index=ids)
    priced = price_actions(spec, recovered, reach=reach, complaints=complaints)
    return TreatmentPolicy(spec).assign(priced, accounts, as_of="2026-03-01")


@pytest.mark.parametrize("limit", ["minutes", "money", "complaints"])
def test_value_rises_is_concave_and_its_slope_is_the_price(limit):
    frame = assignment().frontier(limit, points=9).frame()
    frame = frame[frame["value"].notna()]  # the control alone passes half of the complaint ceiling
    assert len(frame) >= 8
    upper, value, bound, price = (frame[c].to_numpy() for c in ("upper", "value", "bound", "shadow_price"))
    room = bound - value
    assert (room >= 0).all()
    assert (frame["gap"] <= 5e-5).all()
    assert (frame["used"] <= upper * (1 + 1e-9)).all()
    assert (np.diff(value) >= -room[:-1]).all()
    step, rise = np.diff(upper), np.diff(value)
    # between two bounds the slope lies between their prices, up to what is not proven of the values
    assert (rise <= price[:-1] * step + room[:-1] + 1e-9).all()
    assert (rise >= price[1:] * step - room[1:] - 1e-9).all()
    assert (np.diff(price) <= 2 * (room[1:] + room[:-1]) / step + 1e-9).all()
    assert price[0] > 0
    assert price[0] > price[-1]


def test_every_point_is_as_good_as_a_solution_of_its_own():
    held = assignment(several=0.3)
    frontier = held.frontier("minutes", points=4)
    for upper, value, bound in zip(frontier.upper, frontier.value, frontier.bound, strict=True):
        limits = [LIMITS[0] | {"upper": float(upper), "per": "portfolio"}, *LIMITS[1:]]
        alone = assignment(several=0.3, limits=limits)
        assert alone.plan.solution.upper_bound >= value - 1e-6
        assert bound >= alone.plan.solution.value - 1e-6


def test_the_bound_in_force_is_the_assignment():
    held = assignment(holdout={"share": 0.1}, exploration={"share": 0.1})
    frontier = held.frontier("minutes", points=5)
    row = frontier.frame().query("current").iloc[0]
    limits = held.limits().set_index("limit")
    assert row["upper"] == limits.loc["minutes", "upper"]
    assert row["shadow_price"] == held.shadow_prices["minutes"]
    assert row["used"] == pytest.approx(limits.loc["minutes", "expected"])
    expected = (held.probabilities().to_numpy() * held.problem.net).sum()
    assert row["value"] == pytest.approx(expected)
    planned = held.planned()
    assert (np.array(frontier.actions)[frontier.planned[frontier.current]] == planned.to_numpy()).all()
    hours = 60 * held.shadow_prices["minutes"]
    assert frontier.sentence() == f"minutes, at 1,500 minutes: one more agent hour is worth {hours:,.2f} EUR"


def test_changes_reconcile_with_the_actions():
    frontier = assignment().frontier("minutes", points=6)
    frame, counted, named = frontier.frame(), frontier.changes(), frontier.changes(accounts=True)
    assert frame["changed"].isna().tolist() == [True] + [False] * 5
    assert counted["accounts"].sum() == len(named) == frame["changed"].sum()
    calls = (frontier.planned == 2).sum(axis=1)
    gained = counted[counted["action_to"] == "call"].groupby("upper_to")["accounts"].sum()
    lost = counted[counted["action_from"] == "call"].groupby("upper_to")["accounts"].sum()
    net = gained.sub(lost, fill_value=0).reindex(frontier.upper[1:], fill_value=0)
    assert (net.to_numpy() == np.diff(calls)).all()
    assert named["account_id"].isin(frontier.ids).all()


def test_a_limit_that_is_not_scarce_and_the_default_one():
    limits = [*LIMITS[:2], {"name": "plenty", "kind": "capacity", "channels": ["letter"], "upper": 2500}]
    held = assignment(limits=limits)
    frontier = held.frontier("plenty", points=7, low=2400, high=2600)
    assert (frontier.frame()["shadow_price"] == 0).all()
    assert "one more item is worth nothing" in frontier.sentence()
    stake = held.shadow_prices * held.limits().set_index("limit")["upper"]
    assert held.frontier(points=2).limit == stake.idxmax()
    money = held.frontier("money", points=2)
    assert money.sentence().startswith("money, at 375 EUR: one more EUR is worth")


def test_bounds_that_cannot_hold_are_missing_not_wrong():
    limits = [{"name": "share", "kind": "share", "actions": ["sms"], "lower": 0.2, "upper": 0.5}]
    frontier = assignment(n=1000, limits=limits).frontier("share", points=11, low=0, high=500)
    frame = frontier.frame()
    assert frame.loc[frame["upper"] < 200, ["value", "shadow_price", "changed"]].isna().all(axis=None)
    assert frame.loc[frame["upper"] >= 200, "value"].notna().all()
    assert not np.isnan(frontier.changes()["accounts"]).any()
    assert frontier.planned.min() == -1
    with pytest.raises(InfeasibleStrategyError):
        assignment(n=1000, limits=limits).frontier("share", points=3, low=0, high=100)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"limit": "minuts"}, "did you mean 'minutes'"),
        ({"limit": "some_sms"}, "no upper bound"),
        ({"limit": "minutes", "points": 1}, "at least 2 points"),
        ({"limit": "minutes", "low": 9, "high": 3}, "must rise"),
    ],
)
def test_what_cannot_be_swept_says_so(words, said):
    with pytest.raises(ConfigurationError, match=said):
        assignment(n=300).frontier(**words)


def test_plot_and_svg():
    frontier = assignment(n=500).frontier("minutes", points=5)
    axes = frontier.plot().axes
    np.testing.assert_array_equal(axes[0].lines[0].get_ydata(), frontier.frame()["value"])
    np.testing.assert_array_equal(axes[1].lines[0].get_ydata(), frontier.frame()["shadow_price"])
    svg = frontier.to_svg()
    assert svg == frontier.to_svg()
    assert "agent" not in svg
    assert "http://" not in svg.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )


def larger(seed, coupled, n=12_000):
    rng = np.random.default_rng(seed)
    values = rng.lognormal(2, 1, (n, 1)) * rng.normal(0, 0.3, (n, 4))
    values[:, 0] = 0.0
    minutes = np.outer(rng.lognormal(1, 0.4, n), [0, 0, 1, 1.5])
    usage = [minutes, np.array([0.0, 0.1, 0.4, 0.0]), np.array([0.0, 0, 0, 1])]
    eligible = rng.random((n, 4)) < 0.9
    eligible[:, 0] = True
    contact = {"customer": None, "contact": None}
    if coupled:
        contact = {
            "customer": np.where(rng.random(n) < 0.3, rng.integers(0, n, n), np.arange(n)),
            "contact": np.arange(4) > 0,
        }
    tie = rng.permutation(n).astype(float)
    return {"values": values, "usage": usage, "eligible": eligible, "tie_key": tie, **contact}


@pytest.mark.parametrize("coupled", [False, True])
def test_points_that_follow_on_are_as_good_as_solutions_of_their_own(coupled):
    problem, upper = larger(3, coupled), np.array([6000.0, 900.0, 700.0])
    bounds = np.linspace(4000, 7000, 9)
    points = solve_along(read(**problem, upper=upper, lower=None, names=None), 0, bounds.tolist(), 1e-5)
    for bound, point in list(zip(bounds, points, strict=True))[1::3]:
        limits = np.r_[bound, upper[1:]]
        whole = solve_assignment(**problem, upper=limits, gap=1e-5)
        assert point.upper_bound >= whole.value - 1e-9 * whole.value
        assert whole.upper_bound >= point.value - 1e-9 * whole.value
        assert (point.usage <= limits * (1 + 1e-9)).all()
        rows = np.arange(len(point.action))
        assert point.value == pytest.approx(problem["values"][rows, point.action].sum())
        assert problem["eligible"][rows, point.action].all()
        if coupled:
            contacted = problem["customer"][problem["contact"][point.action]]
            assert len(np.unique(contacted)) == len(contacted)


@pytest.mark.parametrize("coupled", [False, True])
def test_a_sweep_that_leaves_settled_rows_out_is_as_good_as_solutions_of_their_own(coupled, monkeypatch):
    """Most rows are left out of most points; the plan is whole, within the limits, and its bound is that of all rows."""
    left, before = [], OpenRows.solve

    def counted(self, program, gap, price):
        found = before(self, program, gap, price)
        left.append(1 - len(self.rows) / len(program.values) if found is not None and found.gap <= gap else 0.0)
        return found

    monkeypatch.setattr(OpenRows, "solve", counted)
    problem, upper = larger(3, coupled, n=80_000), np.array([40_000.0, 6000.0, 4700.0])
    bounds = np.linspace(30_000, 42_000, 9)
    points = solve_along(read(**problem, upper=upper, lower=None, names=None), 0, bounds.tolist(), 1e-6)
    assert np.mean(left) > 0.5
    rows = np.arange(len(problem["values"]))
    for bound, point in list(zip(bounds, points, strict=True))[::3]:
        limits = np.r_[bound, upper[1:]]
        whole = solve_assignment(**problem, upper=limits, gap=1e-6)
        assert point.gap <= 1e-6
        assert point.upper_bound >= whole.value
        assert whole.upper_bound >= point.value
        used = [(u[rows, point.action] if u.ndim == 2 else u[point.action]).sum() for u in problem["usage"]]
        np.testing.assert_allclose(point.usage, used, rtol=1e-12)
        assert (used <= limits * (1 + 1e-9)).all()
        assert point.value == pytest.approx(problem["values"][rows, point.action].sum(), rel=1e-12)
        assert problem["eligible"][rows, point.action].all()
        if coupled:
            contacted = problem["customer"][problem["contact"][point.action]]
            assert len(np.unique(contacted)) == len(contacted)


def test_open_rows_bound_the_whole_problem_where_they_leave_out_too_much():
    """At bounds far from the line the settled rows would change: the bound must say so, and be that of all rows."""
    problem = larger(3, False, n=80_000)
    instance = read(**problem, upper=[40_000.0, 6000.0, 4700.0], lower=None, names=None)
    near = solve_assignment(**problem, upper=[40_000.0, 6000.0, 4700.0])
    rows = OpenRows.along(instance, near.shadow_prices[None])
    for bound in (39_000.0, 38_000.0):
        far = rows.solve(instance.at_most(0, bound), 1e-6, near.shadow_prices)
        alone = solve_assignment(**problem, upper=[bound, 6000.0, 4700.0])
        assert not rows.cover(far.shadow_prices)
        assert far.gap > 1e-6
        assert far.upper_bound >= alone.value > far.value
    assert rows.solve(instance.at_most(0, 36_000.0), 1e-6, near.shadow_prices) is None


def test_a_limit_in_whole_pieces_is_swept_in_whole_pieces():
    problem = larger(4, False)
    bounds = [500.7, 501.2]
    points = solve_along(read(**problem, upper=[np.inf, np.inf, 0.0], lower=None, names=None), 2, bounds, 1e-6)
    assert [p.usage[2] for p in points] == [500, 501]
    assert points[1].value > points[0].value


def test_a_tenth_more_or_less_is_what_a_solution_of_its_own_finds_and_the_price_foresees():
    held = assignment(several=0.3, holdout={"share": 0.1}, exploration={"share": 0.1})
    table = shifted_limits(held.problem, held.plan).set_index("limit")
    assert table.index.tolist() == ["minutes", "money", "complaints"]
    assert (table["less"] < 0).any()
    assert (table["more"] > 0).any()
    for name in table.index:
        upper = float(held.limits().set_index("limit").loc[name, "upper"])
        points = held.frontier(name, points=3, low=0.9 * upper, high=1.1 * upper)
        room = (points.bound - points.value).max() + table.loc[name, ["proven", "less_proven", "more_proven"]].max()
        for told, value in ((table.loc[name, "less"], points.value[0]), (table.loc[name, "more"], points.value[2])):
            assert abs(told - (value - points.value[1])) <= room
        assert table.loc[name, "more"] <= table.loc[name, "foreseen"] + table.loc[name, "proven"] + 1e-9
        assert -table.loc[name, "less"] >= table.loc[name, "foreseen"] - table.loc[name, "proven"] - 1e-9


def test_a_limit_that_is_not_scarce_may_bind_a_tenth_tighter_and_one_that_cannot_hold_has_no_value():
    used = assignment(limits=[]).limits()
    assert len(used) == 0
    calls = int((assignment(limits=[]).frame()["action"] == "call").sum())
    loose = [{"name": "calls", "kind": "capacity", "unit": "items", "actions": ["call"], "upper": calls + 1}]
    held = assignment(limits=loose)
    row = shifted_limits(held.problem, held.plan).iloc[0]
    assert (row["foreseen"], row["more"]) == (0.0, 0.0)
    assert row["less"] < -1
    both = [*loose, {"name": "least", "kind": "share", "actions": ["call"], "lower": (calls - 1) / 2500}]
    held = assignment(limits=both)
    assert np.isnan(shifted_limits(held.problem, held.plan).iloc[0]["less"])
