"""Reasons: approved words, right signs, the same whatever the order, and silence where a refit might turn them round."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from collectml.errors import ConfigurationError
from collectml.explain import Contributions, contributions, reasons_for
from collectml.explain.reasons import SEVERAL
from collectml.models._lightgbm import train_booster

WORDS = {"kept": "promises kept", "dpd": "days past due", "score": "payment history", "late": "days past due"}


def explained(index=(1,), **columns) -> Contributions:
    frame = pd.DataFrame(columns, index=pd.Index(index), dtype=float)
    return Contributions(frame, np.zeros(len(frame)))


def told(table, account):
    rows = table[table["account_id"] == account]
    return list(zip(rows["reason"], rows["direction"], strict=True))


def test_a_model_with_a_known_answer_gets_the_known_reasons():
    """Accounts that keep promises pay, accounts long past due do not, and nothing else matters."""
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 2, 4_000), rng.integers(0, 2, 4_000), rng.normal(size=4_000)]).astype(float)
    y = 3.0 * X[:, 0] - 1.0 * X[:, 1]
    booster = train_booster(X, y, params={"objective": "l2", "num_leaves": 4}, num_boost_round=300, seed=0)
    four = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]], dtype=float)
    table = reasons_for(
        contributions(booster, four, ["kept", "dpd", "noise"], index=pd.Index(["a", "b", "c", "d"])),
        {"kept": "promises kept", "dpd": "days past due"},
    )
    assert told(table, "a") == [("promises kept", "raises"), ("days past due", "raises")]
    assert told(table, "b") == [("promises kept", "lowers"), ("days past due", "lowers")]
    assert told(table, "c") == [("promises kept", "raises"), ("days past due", "lowers")]
    assert told(table, "d") == [("promises kept", "lowers"), ("days past due", "raises")]
    np.testing.assert_allclose(table["contribution"].abs().iloc[[0, 1]], [1.5, 0.5], atol=0.05)
    assert table["rank"].tolist() == [1, 2] * 4


def test_features_of_the_same_words_are_one_reason():
    table = reasons_for(explained(kept=[0.5], dpd=[0.4], late=[0.3]), WORDS)
    assert told(table, 1) == [("days past due", "raises"), ("promises kept", "raises")]
    np.testing.assert_allclose(table["contribution"], [0.7, 0.5])


def test_what_has_no_approved_words_or_must_not_be_told_is_no_reason():
    values = explained(age=[5.0], region=[-4.0], kept=[0.5], dpd=[-0.2])
    table = reasons_for(values, {**WORDS, "age": "age"}, forbidden=["age"])
    assert told(table, 1) == [("promises kept", "raises"), ("days past due", "lowers")]
    assert not table.astype(str).apply(lambda column: column.str.contains("age|region")).to_numpy().any()


@pytest.mark.parametrize(("second", "certain"), [(0.39, True), (0.41, False), (-0.41, False), (0.5, False)])
def test_a_lead_of_a_tenth_decides_whether_reasons_are_told(second, certain):
    table = reasons_for(explained(kept=[0.5], dpd=[second], score=[0.01]), WORDS)
    if certain:
        assert told(table, 1)[0] == ("promises kept", "raises")
        assert len(table) == 3
    else:
        assert told(table, 1) == [(SEVERAL, "mixed")]
        np.testing.assert_allclose(table["contribution"], 0.5 + second + 0.01)


def test_at_most_as_many_as_asked_and_none_of_no_weight():
    words = {f"f{i}": f"reason {i}" for i in range(6)}
    values = explained(**{f"f{i}": [0.5 / (i + 1)] for i in range(6)})
    assert len(reasons_for(values, words)) == 4
    assert len(reasons_for(values, words, most=2)) == 2
    nothing = explained(kept=[0.7], dpd=[0.0])
    assert told(reasons_for(nothing, WORDS), 1) == [("promises kept", "raises")]


def test_the_order_of_columns_and_rows_changes_nothing():
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(rng.normal(size=(200, 4)).round(1), columns=list(WORDS), index=pd.RangeIndex(200))
    table = reasons_for(Contributions(frame, np.zeros(200)), WORDS)
    columns = Contributions(frame[["late", "score", "kept", "dpd"]], np.zeros(200))
    pd.testing.assert_frame_equal(reasons_for(columns, WORDS), table, check_exact=True)
    rows = reasons_for(Contributions(frame[::-1], np.zeros(200)), WORDS)
    pd.testing.assert_frame_equal(
        rows.sort_values(["account_id", "rank"], ignore_index=True),
        table.sort_values(["account_id", "rank"]),
        check_exact=True,
    )
    assert 0 < (table["reason"] == SEVERAL).sum() < len(table)


def test_ties_below_the_first_keep_the_order_of_the_dictionary():
    words = {"z": "last", "a": "first", "m": "middle", "b": "beside"}
    values = explained(a=[0.2], b=[-0.2], m=[0.9], z=[0.2])
    assert [reason for reason, _ in told(reasons_for(values, words), 1)] == ["middle", "last", "first", "beside"]
    assert [reason for reason, _ in told(reasons_for(values, dict(sorted(words.items()))), 1)] == [
        "middle",
        "first",
        "beside",
        "last",
    ]


@pytest.mark.parametrize("values", [[np.nan], [np.inf]])
def test_contributions_that_are_no_numbers_are_refused(values):
    with pytest.raises(ConfigurationError, match="1 accounts have contributions that are no numbers, such as 31"):
        reasons_for(explained(index=[31], kept=values), WORDS)


@pytest.mark.parametrize("most", [0, -1])
def test_fewer_than_one_reason_is_refused(most):
    with pytest.raises(ConfigurationError, match="one reason at least"):
        reasons_for(explained(kept=[1.0]), WORDS, most=most)


def test_no_accounts_or_no_words_give_an_empty_table():
    columns = ["account_id", "rank", "reason", "direction", "contribution", "flip_rate"]
    for table in (reasons_for(explained(index=[], kept=[]), WORDS), reasons_for(explained(kept=[1.0]), {})):
        assert table.empty
        assert list(table.columns) == columns
