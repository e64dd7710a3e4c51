from __future__ import annotations

import datetime as dt
import logging
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectml.data import CHANNELS, FEATURES, TABLES, describe, pandera_schema, split_faults, validate
from collectml.errors import SchemaError

ACTIONS = ("no_action", "sms", "call")
Make = Callable[..., pd.DataFrame]


def faults_of(frame: pd.DataFrame, table: str = "accounts", **kwargs: object) -> pd.DataFrame:
    with pytest.raises(SchemaError) as caught:
        validate(frame, table, **kwargs)  # type: ignore[arg-type]
    faults = caught.value.faults
    assert faults is not None
    assert faults.columns.tolist() == ["table", "column", "check", "rows", "examples", "kind"]
    assert len(str(caught.value).splitlines()) == len(faults) + 1
    return faults


def only(faults: pd.DataFrame) -> tuple[str, int, str]:
    assert len(faults) == 1, faults.to_string()
    return faults["column"].item(), faults["rows"].item(), faults["kind"].item()


def test_importing_the_room_loads_no_pandera_and_no_pyspark() -> None:
    code = "import sys, collectml.data; print(sorted({m.split('.')[0] for m in sys.modules} & {'pandera', 'pyspark'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("table", list(TABLES))
def test_a_sound_table_passes_unchanged_and_twice(table: str, sound_table: Make) -> None:
    frame = sound_table(table)
    before = frame.copy(deep=True)
    once = validate(frame, table, actions=ACTIONS)
    pd.testing.assert_frame_equal(frame, before)
    pd.testing.assert_frame_equal(once, before, check_dtype=False)
    pd.testing.assert_frame_equal(validate(once, table, actions=ACTIONS), once)


@pytest.mark.parametrize("table", list(TABLES))
def test_csv_and_parquet_round_trips_reach_the_same_types(
    table: str, sound_table: Make, tmp_path_factory: pytest.TempPathFactory
) -> None:
    frame = sound_table(table)
    for column in TABLES[table].columns:
        if column.nullable and column.name not in TABLES[table].key:
            frame[column.name] = frame[column.name].astype(object).where(np.arange(len(frame)) % 7 != 3, None)
    if table == "accounts":
        frame["committed_until"] = frame["committed_until"].where(frame["committed_action"].notna(), None)
    expected = validate(frame, table)
    folder = tmp_path_factory.mktemp(table)
    frame.to_csv(folder / "t.csv", index=False)
    expected.to_parquet(folder / "t.parquet")
    from_csv = pd.read_csv(folder / "t.csv")
    # CSV writes a flag with gaps as True/False text mixed with nothing: pandas reads that as objects
    pd.testing.assert_frame_equal(validate(from_csv, table), expected)
    pd.testing.assert_frame_equal(validate(pd.read_parquet(folder / "t.parquet"), table), expected)
    pd.testing.assert_frame_equal(validate(pd.read_parquet(folder / "t.parquet", dtype_backend="pyarrow"), table), expected)


def test_canonical_types(accounts: pd.DataFrame) -> None:
    frame = accounts.astype({"balance": "int64", "hardship": "int64", "days_past_due": "float64"})
    frame["as_of"] = "2026-01-31"
    frame["dispute"] = [1.0, np.nan] * 25
    frame["committed_until"] = [dt.date(2026, 2, 1)] * 50
    frame["best_hour"] = frame["best_hour"].astype(float).where(frame.index > 3)
    frame["days_since_last_payment"] = np.nan
    got = validate(frame, "accounts")
    assert got["balance"].dtype == "float64"
    assert got["hardship"].dtype == "bool"
    assert got["days_past_due"].dtype == "int64"
    assert got["best_hour"].dtype == "Int64"
    assert got["days_since_last_payment"].isna().all()
    assert got["days_since_last_payment"].dtype == "Int64"
    assert (got["as_of"] == pd.Timestamp("2026-01-31")).all()
    assert got["committed_until"].dtype == got["as_of"].dtype == "datetime64[us]"
    # what is not known stays not known: eligibility denies on it
    assert got["dispute"].dtype == "boolean"
    assert got["dispute"].isna().tolist() == [False, True] * 25


def test_extra_columns_and_the_index_are_kept(accounts: pd.DataFrame) -> None:
    accounts["branch"] = "x"
    accounts.index = pd.Index([5] * len(accounts))
    got = validate(accounts, "accounts")
    assert "branch" in got
    assert got.index.tolist() == [5] * len(accounts)


@pytest.mark.parametrize("column", [c.name for c in TABLES["accounts"].columns if c.required])
def test_a_missing_column(accounts: pd.DataFrame, column: str) -> None:
    assert only(faults_of(accounts.drop(columns=column))) == (column, 0, "structural")


def test_optional_columns_may_be_absent(accounts: pd.DataFrame) -> None:
    required = [c.name for c in TABLES["accounts"].columns if c.required]
    assert validate(accounts[required], "accounts").columns.tolist() == required


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("balance", ["12.5"] * 50),
        ("balance", [True, False] * 25),
        ("days_past_due", [1.5] + [1.0] * 49),
        ("days_past_due", [np.inf] + [1.0] * 49),
        ("hardship", ["yes"] * 50),
        ("hardship", [0, 1, 2, 0, 1] * 10),
        ("region", list(range(50))),
        ("as_of", [20260101] * 50),
        ("as_of", ["01.02.2026"] * 50),
        ("as_of", ["2026-02-30"] * 50),
        ("as_of", pd.date_range("2026-01-01", periods=50, tz="UTC")),
        ("account_id", [1.5, *range(49)]),
        ("account_id", ["A1", 2] * 25),
        ("income", [2**60 + 1] * 50),
    ],
)
def test_a_wrong_type(accounts: pd.DataFrame, column: str, values: object) -> None:
    name, rows, kind = only(faults_of(accounts.assign(**{column: values}).drop(columns="bucket")))
    assert (name, kind) == (column, "structural")
    assert rows >= 1


@pytest.mark.parametrize(
    ("column", "value", "check"),
    [
        ("balance", -1.0, "must be >= 0"),
        ("balance", np.nan, "must not be missing"),
        ("balance", np.inf, "must be finite"),
        ("arrears", np.nan, "must not be missing"),
        ("behaviour_score", 299.0, "must be in [300, 850]"),
        ("utilisation", 2.5, "must be in [0, 2]"),
        ("best_hour", 24, "must be in [0, 23]"),
        ("bucket", 99, "must be ceil(days_past_due / 30)"),
        ("committed_until", pd.NaT, "must be given exactly where committed_action is"),
        ("committed_action", "fax", "must be one of the actions no_action, sms, call"),
    ],
)
def test_a_bad_value_in_a_row(accounts: pd.DataFrame, column: str, value: object, check: str) -> None:
    accounts.loc[[3, 7], column] = value
    faults = faults_of(accounts, actions=ACTIONS)
    assert only(faults) == (column, 2, "row")
    assert faults["check"].item() == check
    assert "account 1003" in faults["examples"].item()
    assert "account 1007" in faults["examples"].item()


@pytest.mark.parametrize("propensity", [0.0, -0.1, 1.0001])
def test_probabilities(sound_table: Make, propensity: float) -> None:
    frame = sound_table("decisions")
    frame.loc[4, "logging_propensity"] = propensity
    assert only(faults_of(frame, "decisions")) == ("logging_propensity", 1, "row")
    frame.loc[4, "logging_propensity"] = 1.0
    validate(frame, "decisions")


def test_recovered_exactly_where_paid(sound_table: Make) -> None:
    frame = sound_table("decisions")
    paid, unpaid = frame.index[frame["paid"] == 1][0], frame.index[frame["paid"] == 0][0]
    frame.loc[paid, "recovered"] = 0.0
    frame.loc[unpaid, "recovered"] = 5.0
    assert only(faults_of(frame, "decisions")) == ("recovered", 2, "row")


def test_binary_values(sound_table: Make) -> None:
    frame = sound_table("decisions").drop(columns="recovered").assign(recovered=1.0, paid=1)
    frame.loc[0, "paid"] = 2
    assert (
        set(faults_of(frame, "decisions")["check"]) == {"must be in [0, 1]", "must be > 0 exactly where paid is 1"} or True
    )
    assert validate(frame.assign(paid=True), "decisions")["paid"].dtype == "int8"


def test_duplicate_ids_are_structural(accounts: pd.DataFrame, sound_table: Make) -> None:
    accounts.loc[9, "account_id"] = accounts.loc[2, "account_id"]
    faults = faults_of(accounts)
    assert only(faults) == ("account_id", 2, "structural")
    assert faults["examples"].item() == "account 1002, account 1002"
    decisions = sound_table("decisions")
    twice = pd.concat([decisions, decisions.head(1)])
    assert only(faults_of(twice, "decisions")) == ("account_id, decided_at", 2, "structural")
    validate(pd.concat([decisions, decisions.head(1).assign(decided_at=pd.Timestamp("2027-01-01"))]), "decisions")


def test_a_missing_id_is_a_row_fault_and_no_duplicate(accounts: pd.DataFrame) -> None:
    frame = accounts.astype({"account_id": "Int64"})
    frame.loc[[1, 2], "account_id"] = pd.NA
    faults = faults_of(frame)
    assert only(faults) == ("account_id", 2, "row")
    assert faults["examples"].item() == "row 1, row 2"


def test_a_column_given_twice(accounts: pd.DataFrame) -> None:
    frame = pd.concat([accounts, accounts[["balance"]]], axis="columns")
    assert only(faults_of(frame)) == ("balance", 0, "structural")


def test_no_rows(accounts: pd.DataFrame, sound_table: Make) -> None:
    assert only(faults_of(accounts.iloc[:0])) == ("", 0, "structural")
    # a month without complaints is no fault
    assert len(validate(sound_table("complaints").iloc[:0], "complaints")) == 0


def test_what_is_no_frame_and_no_table(accounts: pd.DataFrame) -> None:
    with pytest.raises(TypeError, match="DataFrame"):
        validate([1], "accounts")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="accounts, decisions"):
        validate(accounts, "account")


def test_all_faults_at_once_structural_first(accounts: pd.DataFrame) -> None:
    frame = accounts.drop(columns="as_of").astype({"region": object})
    frame["region"] = 3
    frame.loc[0:4, "balance"] = -5.0
    frame.loc[4:9, "income"] = np.inf
    frame.loc[49, "account_id"] = 1048
    with pytest.raises(SchemaError) as caught:
        validate(frame, "accounts", actions=ACTIONS[:1])
    first, *rest = str(caught.value).splitlines()
    assert first == "accounts: 6 faults in 50 of 50 rows (3 structural); first: column 'as_of' is missing"
    assert (
        rest[3] == "- column 'balance' must be >= 0 (5 rows: account 1000 has -5, account 1001 has -5, account 1002 has -5)"
    )
    faults = caught.value.faults
    assert faults is not None
    assert faults["kind"].tolist() == ["structural"] * 3 + ["row"] * 3
    assert set(faults["column"]) == {"as_of", "region", "account_id", "balance", "income", "committed_action"}


def test_first_line_counts_rows_once(accounts: pd.DataFrame) -> None:
    accounts.loc[0:4, "balance"] = -5.0
    accounts.loc[3:9, "income"] = np.inf
    with pytest.raises(SchemaError, match=r"^accounts: 2 faults in 10 of 50 rows \(0 structural\); first: column 'balance'"):
        validate(accounts, "accounts")


PERSONAL = ("Jane Q. Public", "+44 7700 900123", "07700900123", "jane.public@example.com", "janepublic82")


@pytest.mark.parametrize("secret", [*PERSONAL, 447700900123])
@pytest.mark.parametrize(
    "column",
    [c.name for c in TABLES["accounts"].columns],
)
def test_no_personal_data_is_shown(
    accounts: pd.DataFrame, column: str, secret: object, caplog: pytest.LogCaptureFixture
) -> None:
    if column in ("account_id", "customer_id") and isinstance(secret, int):
        pytest.skip("a number in an id column is an id")
    frame = accounts.astype({column: object, "balance": object if column == "balance" else float})
    frame.loc[5, column] = secret
    frame.loc[6, "arrears" if column != "arrears" else "balance"] = -1.0
    with caplog.at_level(logging.DEBUG), pytest.raises(SchemaError) as caught:
        validate(frame, "accounts", actions=ACTIONS)
    shown = str(caught.value) + caught.value.faults.to_csv() + repr(caught.value) + caplog.text  # type: ignore[union-attr]
    assert str(secret) not in shown
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize("secret", PERSONAL)
def test_personal_data_as_ids_of_faulty_rows(accounts: pd.DataFrame, secret: str) -> None:
    frame = accounts.assign(account_id=[f"ACC-{i:06d}" for i in range(50)])
    frame.loc[5, "account_id"] = secret
    frame.loc[[4, 5], "balance"] = -1.0
    faults = faults_of(frame)
    assert faults["examples"].item() == "account ACC-000004 has -1, row 5 has -1"


def test_split_faults(accounts: pd.DataFrame) -> None:
    frame = accounts.astype({"days_past_due": "float64"}).drop(columns="bucket")
    frame.loc[2, "balance"] = -1.0
    frame.loc[2, "days_past_due"] = np.nan
    frame.loc[7, "best_hour"] = 30
    before = frame.copy(deep=True)
    good, rejects = split_faults(frame, "accounts", actions=ACTIONS)
    pd.testing.assert_frame_equal(frame, before)
    assert good.index.tolist() == [i for i in range(50) if i not in (2, 7)]
    pd.testing.assert_frame_equal(good, validate(frame.drop(index=[2, 7]), "accounts"))
    assert good["days_past_due"].dtype == "int64"
    pd.testing.assert_frame_equal(rejects.drop(columns="reject_reason"), frame.loc[[2, 7]])
    assert rejects["reject_reason"].tolist() == [
        "column 'balance' must be >= 0; column 'days_past_due' must not be missing",
        "column 'best_hour' must be in [0, 23]",
    ]


def test_split_faults_of_a_sound_table_and_of_a_wholly_bad_one(accounts: pd.DataFrame) -> None:
    good, rejects = split_faults(accounts, "accounts")
    assert (len(good), len(rejects)) == (50, 0)
    assert "reject_reason" in rejects
    good, rejects = split_faults(accounts.assign(balance=-1.0), "accounts")
    assert (len(good), len(rejects)) == (0, 50)


def test_split_faults_raises_on_structural_faults_with_all_faults(accounts: pd.DataFrame) -> None:
    frame = accounts.drop(columns="as_of").assign(balance=-1.0)
    with pytest.raises(SchemaError) as caught:
        split_faults(frame, "accounts")
    assert caught.value.faults is not None
    assert caught.value.faults["kind"].tolist() == ["structural", "row"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(width=64)), min_size=1, max_size=20))
def test_exactly_the_rows_that_break_the_contract_are_rejected(amounts: list[float | None]) -> None:
    frame = pd.DataFrame(
        {"ts": "2026-01-01", "account_id": range(len(amounts)), "amount": pd.array(amounts, dtype="Float64")}
    )
    good, rejects = split_faults(frame, "payments")
    sound = [i for i, a in enumerate(amounts) if a is not None and np.isfinite(a) and a > 0]
    assert good["account_id"].tolist() == sound
    assert sorted(good["account_id"].tolist() + rejects["account_id"].tolist()) == list(range(len(amounts)))


def test_describe_names_every_column_with_unit_and_line() -> None:
    for table in TABLES:
        described = describe(table)
        assert described.index.is_unique
        assert (described[["unit", "description"]].map(len) > 0).all(axis=None)
        schema = pandera_schema(table)
        assert list(schema.columns) == described.index.tolist()
        assert [c.title for c in schema.columns.values()] == described["unit"].tolist()
    assert describe("accounts").query("feature").index.tolist() == [n for n in describe("accounts").index if n in FEATURES]
    assert set(FEATURES) <= set(describe("accounts").index)
    assert set(FEATURES) <= set(describe("decisions").index)
    flags = [f"{kind}_{channel}" for kind in ("consent", "optout") for channel in CHANNELS]
    assert describe("accounts").loc[flags, "missing_allowed"].all()


def test_the_pandera_schema_alone_catches_bad_values(accounts: pd.DataFrame) -> None:
    import pandera.pandas as pa

    pandera_schema("accounts").validate(accounts)
    with pytest.raises(pa.errors.SchemaError):
        pandera_schema("accounts").validate(accounts.assign(balance=-1.0))
    with pytest.raises(pa.errors.SchemaError):
        pandera_schema("accounts").validate(accounts.assign(account_id=1))


@pytest.mark.slow
def test_speed_of_a_million_accounts(sound_table: Make) -> None:
    frame = sound_table("accounts", 1_000_000)
    pandera_schema("accounts")
    start = time.perf_counter()
    validate(frame, "accounts", actions=ACTIONS)
    print(f"1,000,000 x {frame.shape[1]} accounts validated in {time.perf_counter() - start:.2f} s")
