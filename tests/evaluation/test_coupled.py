"""The value of a strategy: the price rule, its limits per decision, and an error that knows the prices are estimated."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import collectml as cm
from collectml.errors import ConfigurationError, SchemaError

ACTIONS = ["no_action", "sms", "call"]


def strategy(calls: float = 200.0, *, per: str = "1000_accounts", **changes: object) -> cm.Strategy:
    content = {
        "name": "s",
        "currency": "USD",
        "min_logged": 1,
        "actions": [{"name": "no_action"}, {"name": "sms", "channel": "sms"}, {"name": "call", "channel": "call"}],
        "limits": [{"name": "calls", "kind": "capacity", "channels": ["call"], "upper": calls, "per": per}],
    }
    return cm.Strategy.model_validate(content | changes)


def expected(x: np.ndarray) -> np.ndarray:
    """Return the money of every action: calls bring more where x is high."""
    return np.column_stack([20 + 5 * x, 22 + 5 * x, 20 + 5 * x + 10 * np.exp(0.8 * x)])


def make(n: int, seed: int, *, noise: float = 0.0) -> tuple[cm.DecisionLog, np.ndarray]:
    """Draw a randomised log whose outcomes are exactly what is expected, but for `noise`."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    action = rng.integers(0, 3, n)
    recovered = np.maximum(expected(x)[np.arange(n), action] + noise * rng.normal(size=n), 0.0)
    frame = pd.DataFrame(
        {
            "account_id": np.arange(n) + 7,
            "decided_at": pd.Timestamp("2026-01-01"),
            "x": x,
            "action": np.array(ACTIONS, dtype=object)[action],
            "recovered": recovered,
            "logging_propensity": 1 / 3,
        }
    )
    return cm.DecisionLog(frame, actions=ACTIONS, features=["x"], paid=None), x


def values_of(log: cm.DecisionLog, x: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(expected(x), index=log.X.index, columns=ACTIONS)


def test_the_plan_is_the_price_rule_within_the_limit():
    log, x = make(500, 1)
    value = cm.evaluate_strategy(log, strategy(), values=values_of(log, x), estimators="dr")
    assert value.planned.value_counts().to_dict() == {"sms": 400, "call": 100}
    assert (value.planned == "call").to_numpy().tolist() == (x >= np.sort(x)[-100]).tolist()
    [line] = value.prices.to_dict("records")
    gain = np.sort(10 * np.exp(0.8 * x) - 2)
    assert gain[-101] - 1e-6 <= line["price"] <= gain[-100] + 1e-6
    assert (line["allowed"], line["used"]) == pytest.approx((0.2, 0.2))
    # outcomes and values are exact, so the estimate is the plan's mean to the last cent
    planned = expected(x)[np.arange(500), value.planned.map({"sms": 1, "call": 2})]
    assert value.frame()["value"].item() == pytest.approx(planned.mean(), rel=1e-12)


def test_its_error_is_that_of_accounts_and_prices_together():
    """Without noise only the accounts vary: at fixed prices the error would be half as large again as it is."""
    found, fixed = [], []
    for seed in range(40):
        log, x = make(200, seed)
        value = cm.evaluate_strategy(log, strategy(), values=values_of(log, x), estimators="dr")
        found.append(value.frame().iloc[0][["value", "se"]].astype(float))
        planned = expected(x)[np.arange(200), value.planned.map({"no_action": 0, "sms": 1, "call": 2})]
        fixed.append(planned.std() / np.sqrt(200))
    table = pd.DataFrame(found)
    spread = table["value"].std()
    assert table["se"].mean() / spread == pytest.approx(1, abs=0.3)
    assert np.mean(fixed) > 1.25 * table["se"].mean()


def test_half_samples_agree_with_the_scores_where_values_are_right():
    log, x = make(600, 3)
    scores = cm.evaluate_strategy(log, strategy(), values=values_of(log, x), estimators=("dr", "snips"))
    halves = cm.evaluate_strategy(
        log, strategy(), values=values_of(log, x), estimators=("dr", "snips"), errors="half_samples", half_samples=60
    )
    np.testing.assert_allclose(halves.frame()["value"], scores.frame()["value"], rtol=1e-12)
    np.testing.assert_allclose(halves.frame()["se"], scores.frame()["se"], rtol=0.35)
    np.testing.assert_allclose(halves.comparisons["difference_se"], scores.comparisons["difference_se"], rtol=0.45)


def test_limits_for_a_portfolio_are_shared_out_by_its_rows():
    log, x = make(400, 2)
    values = values_of(log, x)
    whole = cm.evaluate_strategy(log, strategy(80, per="portfolio"), values=values, estimators="dr")
    of_more = cm.evaluate_strategy(log, strategy(160, per="portfolio"), values=values, estimators="dr", portfolio_rows=800)
    scaled = strategy(80, per="portfolio").without_randomisation().scaled(2)
    same = cm.evaluate_strategy(log, scaled, values=values, estimators="dr", portfolio_rows=800)
    assert (whole.planned == "call").sum() == 80
    pd.testing.assert_frame_equal(of_more.frame(), whole.frame())
    pd.testing.assert_frame_equal(same.frame(), whole.frame())


def test_hold_out_and_exploration_do_not_change_the_plan_judged():
    log, x = make(400, 2)
    random = strategy(exploration={"share": 0.2}, holdout={"share": 0.1})
    a = cm.evaluate_strategy(log, random, values=values_of(log, x), estimators="dr")
    b = cm.evaluate_strategy(log, strategy(), values=values_of(log, x), estimators="dr")
    pd.testing.assert_frame_equal(a.frame(), b.frame())


def test_baselines_come_from_the_same_scores():
    log, x = make(600, 4, noise=5.0)
    value = cm.evaluate_strategy(log, strategy(), values=values_of(log, x), estimators=("dr", "ips"))
    table = value.comparisons.set_index(["estimator", "baseline"])
    assert table.loc[("dr", "logged"), "baseline_value"] == pytest.approx(log.recovered.mean())
    assert value.single_action == ("call",)
    alone = cm.evaluate_policy(
        log, pd.DataFrame({"call": 1.0}, index=log.X.index), outcome_model=values_of(log, x), estimators=("dr", "ips")
    ).frame()
    for estimator, expected_value in zip(alone["estimator"], alone["value"], strict=True):
        row = table.loc[(estimator, "best single action")]
        assert row["baseline_value"] == pytest.approx(expected_value)
        of_policy = value.frame().set_index("estimator").loc[estimator, "value"]
        assert row["difference"] == pytest.approx(of_policy - expected_value)
    assert table.loc[("dr", "no_action"), "difference_low"] > 0


def test_each_fold_is_valued_by_the_others():
    log, _ = make(300, 5, noise=5.0)
    seen: list[tuple[set[object], set[object]]] = []

    def learner(train: cm.DecisionLog, test: cm.DecisionLog) -> pd.DataFrame:
        seen.append((set(train.customer), set(test.customer)))
        return pd.DataFrame(expected(test.X["x"].to_numpy()), index=test.X.index, columns=ACTIONS)

    value = cm.evaluate_strategy(log, strategy(), learner=learner, folds=3, estimators="dr")
    assert len(seen) == 3
    assert all(not train & test and len(train | test) == 300 for train, test in seen)
    assert set().union(*(test for _, test in seen)) == set(log.customer)
    assert value.prices["fold"].tolist() == [0, 1, 2]
    assert (value.planned == "call").sum() == 60


def test_what_the_log_cannot_support_is_refused():
    log, x = make(400, 6)
    frame = log.frame[(log.action != "call").to_numpy()]
    blind = cm.DecisionLog(frame, actions=ACTIONS, features=["x"], paid=None)
    values = pd.DataFrame(expected(x), index=log.X.index, columns=ACTIONS).loc[frame.index]
    assert (cm.evaluate_strategy(blind, strategy(), values=values).planned != "call").all()  # too few rows: blocked
    with pytest.raises(SchemaError, match="logging propensities"):
        cm.evaluate_strategy(
            cm.DecisionLog(frame.drop(columns="logging_propensity"), actions=ACTIONS, features=["x"], paid=None,
                           logging_propensity=None),
            strategy(), values=values,
        )  # fmt: skip
    with pytest.raises(ConfigurationError, match="are none of strategy"):
        cm.evaluate_strategy(
            log, strategy(actions=[{"name": "no_action"}, {"name": "call", "channel": "call"}]), values=values
        )


@pytest.mark.slow
def test_the_estimate_is_that_of_the_same_rule_on_fresh_accounts():
    """Cross-fitted linear values, wrong in shape: the mean of 100 logs against the rule on 200,000 fresh accounts."""
    fresh = np.random.default_rng(99).normal(size=200_000)

    def believed(x: np.ndarray) -> np.ndarray:
        return np.column_stack([20 + 5 * x, 22 + 5 * x, 31 + 14 * x])

    rule = cm.solve_assignment(believed(fresh), usage=[np.array([0.0, 0.0, 1.0])], upper=[0.2 * len(fresh)])
    truth = expected(fresh)[np.arange(len(fresh)), rule.action].mean()
    rows = []
    for seed in range(100):
        log, x = make(500, seed, noise=3.0)
        values = pd.DataFrame(believed(x), index=log.X.index, columns=ACTIONS)
        rows.append(cm.evaluate_strategy(log, strategy(), values=values, estimators="dr").frame().iloc[0])
    found = pd.DataFrame(rows)
    error = found["value"].std() / 10
    assert abs(found["value"].astype(float).mean() - truth) < 4 * error
    assert 0.87 <= found.apply(lambda r: r["low"] <= truth <= r["high"], axis=1).mean() <= 1
