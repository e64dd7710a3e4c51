"""Log, policy and outcome in one order: every way to index them, and all faults in one error."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from collectml.errors import SchemaError
from collectml.evaluation import evaluate_policy

from .worlds import Log, World, frame_of


@pytest.fixture
def log() -> Log:
    return World().log(300, 11)


def policy_of(log: Log) -> pd.DataFrame:
    return frame_of(World.policy(log.X["x"].to_numpy()), log)


def value(log: Log, policy: pd.DataFrame, **changes: object) -> float:
    return evaluate_policy(log, policy, estimators="ips", **changes).frame()["value"].item()


def shuffled(rows: pd.DataFrame | pd.Series) -> pd.DataFrame | pd.Series:
    return rows.sample(frac=1, random_state=0)


# --- indexing ----------------------------------------------------------------------------------------------------------


def test_rows_may_come_indexed_like_the_log_in_any_order(log):
    assert value(log, shuffled(policy_of(log))) == value(log, policy_of(log))


def test_rows_may_come_by_account_id_in_any_order(log):
    by_account = policy_of(log).set_index(pd.Index(log.account, name="account_id"))
    assert value(log, shuffled(by_account)) == value(log, policy_of(log))


def test_a_log_with_an_index_of_its_own_is_matched_by_it(log):
    labelled = Log(log.frame.set_axis([f"d{i}" for i in range(len(log))]))
    assert value(labelled, shuffled(policy_of(labelled))) == value(log, policy_of(log))


def test_duplicated_labels_match_only_in_the_very_same_order(log):
    doubled = Log(log.frame.set_axis(np.arange(len(log)) // 2))
    assert value(doubled, policy_of(doubled)) == value(log, policy_of(log))
    with pytest.raises(ValueError, match=r"cannot be matched"):
        value(doubled, shuffled(policy_of(doubled)))


def test_an_index_that_can_be_read_two_ways_is_refused_unless_its_name_decides(log):
    log.frame["account_id"] = np.random.default_rng(0).permutation(len(log))  # as good as positions
    by_account = policy_of(log).set_index(pd.Index(log.account))
    with pytest.raises(ValueError, match=r"fits both.*name the index 'account_id'"):
        value(log, by_account.rename_axis(None))
    assert value(log, by_account.rename_axis("account_id")) == value(log, policy_of(log))


def test_accounts_decided_upon_twice_cannot_be_matched_by_account(log):
    log.frame["account_id"] = np.arange(len(log)) // 2
    with pytest.raises(ValueError, match=r"cannot be matched.*exactly one decision"):
        value(log, policy_of(log).set_axis(log.account.to_numpy() + 10_000))


# --- the policy --------------------------------------------------------------------------------------------------------


def test_an_action_without_a_column_has_probability_zero(log):
    policy = policy_of(log)
    policy["soft_call"] += policy["firm_call"]
    without = policy.drop(columns="firm_call")
    assert value(log, without) == value(log, policy.assign(firm_call=0.0))


def test_every_fault_of_policy_and_baseline_stands_in_one_error(log):
    policy = policy_of(log).iloc[:-3].copy()
    policy.iloc[0, 0] = -0.5
    policy.iloc[1, 1] = np.nan
    policy.iloc[2, 3] = np.inf
    policy["smss"] = 0.25
    baseline = policy_of(log)
    baseline.iloc[:7] *= 2
    with pytest.raises(ValueError, match=r"^policy: ") as caught:
        value(log, policy, baseline=baseline)
    said = str(caught.value)
    n = len(log)
    for fault in (
        f"its {n - 3} rows cannot be matched to the log's {n} decisions",
        "missing or not finite in 2 rows",
        "negative in 1 rows",
        f"do not sum to 1 within 1e-09 in {n - 5} rows",
        "actions unknown to the log: ['smss']",
        "baseline: probabilities do not sum to 1 within 1e-09 in 7 rows",
    ):
        assert fault in said, said


def test_a_policy_of_missing_values_alone_is_an_error_like_any_other(log):
    with pytest.raises(ValueError, match=rf"missing or not finite in {len(log)} rows"):
        value(log, policy_of(log) * np.nan)


def test_rows_may_miss_one_by_rounding_and_no_more(log):
    policy = policy_of(log)
    assert np.isfinite(value(log, policy + 1e-11))
    with pytest.raises(ValueError, match=rf"do not sum to 1 within 1e-09 in {len(log)} rows"):
        value(log, policy + 1e-8)


def test_single_precision_is_named_as_the_likely_cause(log):
    with pytest.raises(ValueError, match=r"float32 probabilities\? convert to float64"):
        value(log, policy_of(log).astype("float32"))


def test_nullable_numbers_are_numbers_and_texts_are_not(log):
    assert value(log, policy_of(log).astype("Float64")) == value(log, policy_of(log))
    with pytest.raises(ValueError, match=r"policy: probabilities are not numbers in the columns \['sms'\]"):
        value(log, policy_of(log).astype({"sms": str}))


def test_an_action_the_log_does_not_know_is_refused_for_want_of_evidence(log):
    found = evaluate_policy(log, policy_of(log).rename(columns={"sms": "smss"}), estimators="ips")
    assert np.isnan(found.frame()["value"].item())
    assert [(r.action, r.rows) for r in found.refusals] == [("smss", 0)]
    harmless = policy_of(log).assign(visit=0.0)
    assert value(log, harmless) == value(log, policy_of(log))


def test_an_action_in_two_columns_is_an_error(log):
    policy = policy_of(log)
    with pytest.raises(ValueError, match=r"two columns: \['sms'\]"):
        value(log, pd.concat([policy, policy[["sms"]]], axis="columns"))


def test_something_else_than_a_frame_is_a_type_error(log):
    with pytest.raises(TypeError, match=r"policy must be a DataFrame"):
        value(log, policy_of(log).to_numpy())


# --- the outcome -------------------------------------------------------------------------------------------------------


def test_the_outcome_is_a_column_by_name_or_a_series_of_ones_own(log):
    log.frame["net"] = log.recovered - 2
    policy = policy_of(log)
    by_name = evaluate_policy(log, policy, outcome="net", estimators="ips")
    assert by_name.outcome == "net"
    by_account = (log.recovered - 2).set_axis(pd.Index(log.account, name="account_id")).rename("mine")
    for series in (log.frame["net"], shuffled(log.frame["net"]), shuffled(by_account)):
        found = evaluate_policy(log, policy, outcome=series, estimators="ips")
        assert found.outcome == series.name
        pd.testing.assert_frame_equal(found.frame(), by_name.frame())
    paid = value(log, policy, outcome="paid")
    assert paid == value(log, policy, outcome=log.paid)
    assert 0.2 < paid < 0.6


def test_outcomes_that_cannot_be_used_are_named(log):
    policy = policy_of(log)
    with pytest.raises(ValueError, match=r"outcome 'profit' is no column"):
        value(log, policy, outcome="profit")
    with pytest.raises(TypeError, match=r"outcome must be the name of a column or a Series.*ndarray"):
        value(log, policy, outcome=log.recovered.to_numpy())
    with pytest.raises(SchemaError, match=r"'recovered' is missing or not finite in 2 decisions"):
        value(log, policy, outcome=log.recovered.mask(log.recovered.index < 2))
    with pytest.raises(ValueError, match=r"outcome: its .* rows cannot be matched"):
        value(log, policy, outcome=log.recovered.iloc[1:])


# --- the log -----------------------------------------------------------------------------------------------------------


def test_propensities_that_cannot_be_are_counted_by_fault(log):
    policy = policy_of(log)
    log.frame.loc[:1, "logging_propensity"] = np.nan
    log.frame.loc[2, "logging_propensity"] = 0.0
    log.frame.loc[3:4, "logging_propensity"] = 1.5
    with pytest.raises(SchemaError, match=rf"missing in 2 of {len(log)} decisions; .* outside \(0, 1\] in 3 decisions"):
        value(log, policy)


def test_an_action_outside_the_catalogue_is_an_error(log):
    log.frame.loc[:4, "action"] = "fax"
    with pytest.raises(SchemaError, match=r"5 logged actions are not in the log's catalogue"):
        value(log, policy_of(log))


def test_customers_must_be_known_and_two_at_least(log):
    policy = policy_of(log)
    with pytest.raises(ValueError, match=r"at least two customers; the log has 1"):
        value(Log(log.frame.assign(customer_id=1)), policy)
    with pytest.raises(SchemaError, match=r"4 decisions have no customer"):
        value(Log(log.frame.assign(customer_id=log.customer.mask(log.frame.index < 4))), policy)
