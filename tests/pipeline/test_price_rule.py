"""Accounts one by one: the same values and actions, to the last bit, as in a table; bad ones told by column, never by value."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import collectml as cm
from collectml.errors import SchemaError
from collectml.pipeline import PriceRule, StrategyModel

DROPPED = ("age_band", "customer_id", "best_hour")


@pytest.fixture(scope="module")
def model(trained):
    return cm.load(trained.model)


@pytest.fixture(scope="module")
def accounts(trained):
    return pd.read_parquet(trained.accounts).head(200)


@pytest.fixture(scope="module")
def rule(model):
    return PriceRule(model)


@pytest.fixture(scope="module")
def table(rule, accounts):
    return rule.apply(accounts)


def _one_by_one(rule, accounts):
    return pd.DataFrame([rule.apply_one(account) for account in accounts.to_dict("records")])


def test_one_by_one_is_the_table_to_the_last_bit(rule, table, accounts):
    pd.testing.assert_frame_equal(_one_by_one(rule, accounts), table, check_exact=True, check_dtype=False)
    assert table["priced_action"].nunique() >= 4  # no rule that always says the same


def test_values_are_the_models_and_nothing_is_missed_that_it_does_not_read(rule, model, table, accounts):
    pd.testing.assert_frame_equal(
        table.set_index("account_id")[list(model.strategy.action_names)],
        model.score(accounts),
        check_exact=True,
        check_names=False,
    )
    assert not set(DROPPED) & {*rule.needed, *rule.read}
    pd.testing.assert_frame_equal(rule.apply(accounts.drop(columns=list(DROPPED))), table)


@pytest.mark.parametrize("change", ["missing", "whole", "unknown_level", "text_ids", "flags_as_numbers"])
def test_other_spellings_of_an_account(rule, accounts, change):
    some = accounts.head(6).copy()
    match change:
        case "missing":
            some[["income", "utilisation", "behaviour_score"]] = np.nan
            some["consent_sms"] = None
            some = some.drop(columns="attorney")
        case "whole":
            some["balance"] = some["balance"].round().astype("int64")
        case "unknown_level":
            some["product"] = "submarine"
        case "text_ids":
            some["account_id"] = [f"A{i}" for i in range(len(some))]
        case "flags_as_numbers":
            some["has_mobile"] = some["has_mobile"].astype("int64")
    expected = rule.apply(some)
    pd.testing.assert_frame_equal(_one_by_one(rule, some), expected, check_exact=True, check_dtype=False)
    if change == "missing":  # a field that is not there denies
        assert set(expected["priced_action"]) == {"no_action"}


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("balance", -77.25, "column 'balance' must be >= 0"),
        ("balance", float("inf"), "balance"),
        ("balance", "77.25 euro", "column 'balance' must hold numbers"),
        ("balance", None, "column 'balance' must not be missing"),
        ("days_past_due", 7.725, "column 'days_past_due' must hold whole numbers"),
        ("behaviour_score", 7725, "column 'behaviour_score' must be in [300, 850]"),
        ("has_mobile", "7725", "column 'has_mobile' must hold true or false"),
        ("account_id", None, "column 'account_id' must not be missing"),
    ],
)
def test_a_bad_account_is_told_by_column_and_never_by_value(rule, accounts, field, value, words):
    account = accounts.iloc[0].to_dict() | {field: value}
    with pytest.raises(SchemaError, match="cannot be scored") as one:
        rule.apply_one(account)
    assert words in str(one.value)
    assert "77" not in str(one.value).replace("850", "")
    several = pd.concat([accounts.head(3).astype({field: object}), pd.DataFrame([account])])
    with pytest.raises(SchemaError, match=r"\(1 rows\)|cannot be scored"):
        rule.apply(several)


def test_missing_fields_are_all_named(rule, accounts):
    account = accounts.iloc[0].to_dict()
    for field in ("balance", "arrears"):
        del account[field]
    with pytest.raises(SchemaError, match=r"'balance' is missing.*'arrears' is missing"):
        rule.apply_one(account)


def test_a_cautious_strategy_is_priced_by_the_table(model, accounts):
    content = model.strategy.model_dump(mode="json")
    content["objective"]["caution"] = {"method": "lower_bound"}
    parts = {f: getattr(model, f) for f in model.__dataclass_fields__}
    careful = PriceRule(StrategyModel(**{**parts, "strategy": cm.Strategy.model_validate(content)}))
    some = accounts.head(5)
    pd.testing.assert_frame_equal(_one_by_one(careful, some), careful.apply(some), check_exact=True, check_dtype=False)
