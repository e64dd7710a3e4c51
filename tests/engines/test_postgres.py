"""Accounts from, and assignments to, a real PostgreSQL that the tests start."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

psycopg = pytest.importorskip("psycopg") if not os.environ.get("COLLECTML_REQUIRE_POSTGRES") else __import__("psycopg")

from collectml.engines import postgres  # noqa: E402
from collectml.engines.local import as_frame  # noqa: E402
from collectml.engines.postgres import table_batches, writing  # noqa: E402
from collectml.errors import ConfigurationError, SchemaError, ServiceUnavailableError  # noqa: E402

DAY = "2026-06-30"


@pytest.fixture(scope="module")
def server(postgres) -> str:
    return postgres


def _run(server: str, query: str) -> list[tuple[object, ...]]:
    with contextlib.closing(psycopg.connect(server, autocommit=True)) as connection:
        cursor = connection.execute(query)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def accounts_table(server, trained) -> pd.DataFrame:
    accounts = pd.read_parquet(trained.accounts).head(1_000)
    kinds = {"i": "bigint", "f": "double precision", "b": "boolean", "M": "timestamp"}
    columns = ", ".join(f'"{c}" {kinds.get(getattr(t, "kind", "O"), "text")}' for c, t in accounts.dtypes.items())
    _run(server, f"CREATE TABLE accounts ({columns})")
    with (
        contextlib.closing(psycopg.connect(server, autocommit=True)) as connection,
        connection.cursor().copy("COPY accounts FROM STDIN (FORMAT csv)") as copy,
    ):
        copy.write(accounts.sample(frac=1, random_state=0).to_csv(index=False, header=False))
    return accounts


def _words(trained, accounts: object, out: Path, *more: str) -> list[str]:
    words = ["score-and-assign", "--accounts", accounts, "--out", out, "--as-of", DAY, "--model", trained.model]
    return [str(w) for w in [*words, "--capacity", trained.capacity, *more]]


def read_accounts(place: str) -> pd.DataFrame:
    return as_frame(pa.Table.from_batches(table_batches(place)))


def test_types_and_missing_values_come_through(server, monkeypatch):
    monkeypatch.setattr(postgres, "ROWS_AT_ONCE", 2)
    query = (
        "SELECT * FROM (VALUES (3, 1.5::numeric, true, 'x'::text, date '2026-01-02', null::float8),"
        " (1, null, null, null, null, 2.0), (2, 9007199254740993, false, 'y', date '2026-01-03', 'nan'))"
        " v(account_id, money, flag, word, day, score)"
    )
    frame = read_accounts(f"{server}#{query}")
    assert frame["account_id"].tolist() == [1, 2, 3]
    assert frame["money"].tolist()[1:] == [9007199254740992.0, 1.5]
    assert frame["flag"].tolist() == [None, False, True]
    assert frame["word"].isna().tolist() == [True, False, False]
    assert frame["score"].isna().tolist() == [False, True, True]


def test_a_table_gives_the_assignments_of_the_file_and_gets_them_back_once(
    server, accounts_table, trained, run, tmp_path, monkeypatch
):
    monkeypatch.setattr(postgres, "ROWS_AT_ONCE", 97)
    ordered = accounts_table.sort_values("account_id")
    ordered.to_parquet(tmp_path / "accounts.parquet", index=False)
    assert run(*_words(trained, tmp_path / "accounts.parquet", tmp_path / "file")).code == 0
    place = f"{server}#accounts"
    for _ in range(2):
        done = run(*_words(trained, place, tmp_path / "table", "--to-table", f"{server}#assignments"))
        assert (done.code, done.err) == (0, done.err)
        assert run("verify", tmp_path / "table").code == 0
    name = "assignments.parquet"
    assert (tmp_path / "table" / name).read_bytes() == (tmp_path / "file" / name).read_bytes()
    wanted = pd.read_parquet(tmp_path / "table" / name)
    rows = _run(
        server, "SELECT account_id, action, value, probability, reason, blocked_by FROM assignments ORDER BY account_id"
    )
    got = pd.DataFrame(rows, columns=["account_id", "action", "value", "probability", "reason", "blocked_by"])
    pd.testing.assert_frame_equal(got, wanted[got.columns], check_dtype=False, check_exact=True)
    assert len(_run(server, "SELECT DISTINCT batch_id FROM assignments")) == 1


def test_rows_are_seen_only_with_the_folder(server):
    rows = pd.DataFrame({"account_id": [1, 2], "action": ["sms", "call"], "value": [0.1, 1e-300]})
    place = f"{server}#half"
    with pytest.raises(OSError, match="full"), writing(place, [pa.Table.from_pandas(rows)], "b1"):
        raise OSError("disk full")
    assert _run(server, "SELECT to_regclass('half')") == [(None,)]
    with writing(place, [pa.Table.from_pandas(rows)], "b1"):
        assert _run(server, "SELECT to_regclass('half')") == [(None,)], "seen before it is whole"
    with writing(place, [pa.Table.from_pandas(rows.head(1))], "b2"), contextlib.suppress(ZeroDivisionError):
        pass
    with writing(place, [pa.Table.from_pandas(rows)], "b1"):
        pass
    assert _run(server, "SELECT batch_id, count(*) FROM half GROUP BY 1 ORDER BY 1") == [("b1", 2), ("b2", 1)]
    assert _run(server, "SELECT value FROM half WHERE batch_id = 'b1' ORDER BY account_id") == [(0.1,), (1e-300,)]


def test_a_killed_writer_leaves_no_row(server):
    script = (
        "import os, sys, pyarrow as pa; from collectml.engines.postgres import writing\n"
        "with writing(sys.argv[1], [pa.table({'account_id': [1], 'action': ['sms']})], 'b'): os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, f"{server}#killed"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert _run(server, "SELECT to_regclass('killed')") == [(None,)]


def test_what_is_wrong_is_said_with_its_exit_code_and_no_secret(server, trained, run, tmp_path):
    gone = "postgresql://me:s3cret@localhost:1/none#accounts"
    for place, code, word in [
        (gone, 5, "cannot be reached"),
        (f"{server}#nowhere", 2, "UndefinedTable"),
        (f"{server}#SELECT broken(", 2, "SyntaxError"),
        (server, 2, "#schema.table"),
        (f"{server}#SELECT 1 AS account_id, point(1, 2) AS place", 3, "place (point)"),
        (f"{server}#SELECT 1 AS account_id", 3, "missing"),
    ]:
        failed = run(*_words(trained, place, tmp_path / "out"))
        assert (failed.code, word in failed.err) == (code, True), failed.err
        assert "s3cret" not in failed.err
        assert not (tmp_path / "out").exists()
    errors = (ConfigurationError, SchemaError, ServiceUnavailableError)
    assert [e.exit_code for e in errors] == [2, 3, 5]


def test_without_the_driver_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"collectml\[postgres\]"):
        read_accounts("postgresql://db/risk#accounts")
