"""Accounts come block by block, and numbers go to files past a bound: the bytes written are the same whatever both are."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collectml.batch import reasons as batch_reasons
from collectml.batch import run as batch_run
from collectml.batch import score_and_assign
from collectml.engines import ledger as ledger_module
from collectml.engines.ledger import Ledger
from collectml.engines.local import as_frame, file_blocks
from collectml.errors import ConfigurationError, SchemaError
from collectml.room import room

DAY = "2026-06-30"


@pytest.fixture(scope="module")
def accounts(trained, tmp_path_factory) -> Path:
    """Fifteen hundred accounts, some committed, with one block of another size."""
    frame = pd.read_parquet(trained.accounts).head(1_500)
    frame.loc[frame.index[:40], "committed_action"] = "soft_call"
    frame.loc[frame.index[:40], "committed_until"] = pd.Timestamp("2026-08-01")
    path = tmp_path_factory.mktemp("streaming") / "accounts.parquet"
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, row_group_size=701)
    return path


@pytest.fixture
def night(trained, accounts, tmp_path, monkeypatch):
    def go(name: str, *, block: int = 65_536, memory: str = "2GiB", source: object = None, **more: object):
        monkeypatch.setattr(batch_run, "BLOCK", block)
        monkeypatch.setattr(batch_run, "LEAST_MEMORY", 1)
        monkeypatch.setattr(ledger_module, "peak", lambda: 1)  # the process that tests is large
        monkeypatch.setattr(ledger_module, "LARGE", 1)
        words = {"as_of": DAY, "model": trained.model, "capacity": trained.capacity, "memory": memory, **more}
        return score_and_assign(source or accounts, tmp_path / name, **words)

    return go


def _bytes(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def _but_the_proof(summary: bytes) -> dict[str, object]:
    """How far a small portfolio is proven optimal depends on the time the solver had, which on a busy machine differs."""
    return {k: v for k, v in json.loads(summary).items() if k not in ("solution", "limits")}


def test_the_bytes_depend_neither_on_the_block_nor_on_the_memory(night, tmp_path, monkeypatch):
    whole = night("whole", reasons=True)
    monkeypatch.setattr(batch_reasons, "PART", 333)
    spilled = night("spilled", block=400, memory="512KiB", reasons=True)
    assert (whole.metrics["spilled"], spilled.metrics["spilled"]) == (False, True)
    assert spilled.assignment.problem.net.dtype == np.float32
    np.testing.assert_array_equal(spilled.assignment.problem.net, whole.assignment.problem.net)
    one, other = _bytes(tmp_path / "whole"), _bytes(tmp_path / "spilled")
    assert other["assignments.parquet"] == one["assignments.parquet"]
    assert other["reasons.parquet"] == one["reasons.parquet"]
    assert _but_the_proof(other["summary.json"]) == _but_the_proof(one["summary.json"])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["spilled", "whole"]
    pd.testing.assert_frame_equal(spilled.assignments, pd.read_parquet(tmp_path / "whole" / "assignments.parquet"))
    assert spilled.accounts["account_id"].tolist() == spilled.assignments["account_id"].tolist()
    assert (whole.assignments["reason"] == "commitment").sum() > 10


@pytest.mark.slow
def test_text_ids_go_through_files_too(night, accounts, tmp_path):
    frame = pd.read_parquet(accounts)
    frame["account_id"] = "A-" + frame["account_id"].astype(str)
    frame["customer_id"] = "Käufer " + frame["customer_id"].astype(str)
    frame.to_parquet(tmp_path / "text.parquet", index=False)
    whole = night("whole", source=tmp_path / "text.parquet")
    night("spilled", source=tmp_path / "text.parquet", block=400, memory="512KiB")
    name = "assignments.parquet"
    assert (tmp_path / "spilled" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert whole.assignments["account_id"].tolist() == frame["account_id"].tolist()


def test_csv_gives_the_assignments_of_parquet(night, accounts, tmp_path):
    pd.read_parquet(accounts).to_csv(tmp_path / "accounts.csv", index=False)
    parquet, csv = night("parquet", dry_run=True), night("csv", source=tmp_path / "accounts.csv", dry_run=True)
    pd.testing.assert_frame_equal(csv.assignments, parquet.assignments, check_exact=True)


def test_faults_of_all_blocks_are_told_together(night, accounts, tmp_path):
    frame = pd.read_parquet(accounts)
    frame.loc[[3, 700, 1_400], "balance"] = -1.0
    frame.loc[1_000, "days_past_due"] = -5
    frame.loc[1_499, "account_id"] = frame.loc[0, "account_id"]
    frame.to_parquet(tmp_path / "faulty.parquet", index=False)
    with pytest.raises(SchemaError) as told:
        night("out", source=tmp_path / "faulty.parquet", block=400)
    assert "4 of 1,500 rows have faults" in str(told.value)
    counted = told.value.faults.set_index("column")["rows"]
    assert (counted["balance"], counted["days_past_due"]) == (3, 1)
    with pytest.raises(SchemaError, match="unique"):
        night("out", source=tmp_path / "faulty.parquet", block=400, max_rejects="1%")
    assert not (tmp_path / "out").exists()


def test_a_share_of_rejects_may_be_allowed(night, accounts, tmp_path):
    frame = pd.read_parquet(accounts)
    frame.loc[[3, 700, 1_400], "balance"] = -1.0
    frame.to_parquet(tmp_path / "faulty.parquet", index=False)
    done = night("out", source=tmp_path / "faulty.parquet", block=400, max_rejects="0.2%")
    assert done.rejects["account_id"].tolist() == frame.loc[[3, 700, 1_400], "account_id"].tolist()
    assert len(done.assignments) == 1_497
    with pytest.raises(SchemaError, match=r"more than --max-rejects 0.19%"):
        night("out", source=tmp_path / "faulty.parquet", max_rejects="0.19%")


@pytest.mark.parametrize("words", [{"memory": "much"}, {"memory": "0"}, {"max_rejects": "-1"}, {"max_rejects": "200%"}])
def test_options_that_are_no_sizes_or_shares(night, words):
    with pytest.raises(ConfigurationError):
        night("out", **words)


def test_blocks_have_the_rows_asked_for_whatever_the_files_hold(tmp_path):
    for i, n in enumerate((5, 0, 7, 1)):
        pd.DataFrame({"a": np.arange(n), "b": ["x"] * n}).astype({"b": "str"}).to_parquet(tmp_path / f"{i}.parquet")
    blocks = list(file_blocks(tmp_path, 4))
    assert [b.num_rows for b in blocks] == [4, 4, 4, 1]
    assert [x for b in blocks for x in as_frame(b)["a"]] == [*range(5), *range(7), 0]


def test_whole_numbers_with_gaps_stay_whole():
    frame = as_frame(pa.table({"a": pa.array([2**60 + 1, None]), "day": pa.array([0, None], pa.date32())}))
    assert frame["a"].iloc[0] == 2**60 + 1
    assert frame["day"].dtype.kind == "M"


def test_a_ledger_gives_back_what_it_was_given(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "peak", lambda: 1)
    for memory in (10**12, 2_000):
        ledger = Ledger(tmp_path, memory)
        with ledger.watched():
            for k in range(3):
                ledger.append("x", np.full((4, 2), k + 0.1, dtype=np.float32))
                ledger.append_ids("id", pd.Series([f"{k}é{i}" for i in range(4)], dtype="str"))
                ledger.end_block(4)
            assert ledger.spilled == (memory == 2_000)
            x, ids = ledger.column("x"), ledger.ids("id")
        assert x.tolist() == np.repeat(np.float32([0.1, 1.1, 2.1]), 8).reshape(-1, 2).tolist()
        assert ids.tolist() == [f"{k}é{i}" for k in range(3) for i in range(4)]
        assert list(tmp_path.iterdir()) == []


def test_more_accounts_than_the_memory_can_hold_are_refused(night, tmp_path):
    with pytest.raises(ConfigurationError, match=r"--memory 0MiB is too little for 1,200 accounts and more: 64MiB at least"):
        night("out", block=400, memory="100KiB")
    assert not (tmp_path / "out").exists()


MEASURED = """
import json, sys
from collectml.batch import score_and_assign
from collectml.engines.ledger import peak
result = score_and_assign(*sys.argv[1:3], as_of=sys.argv[3], model=sys.argv[4], memory=sys.argv[5])
print(json.dumps({"peak": peak(), "spilled": result.metrics["spilled"]}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("memory", [780, 1_100])
def test_a_process_stays_within_its_memory(trained, tmp_path, memory):
    """Seven hundred thousand accounts in a process of its own: numbers go to files, and the process never holds more."""
    frame = pd.read_parquet(trained.accounts)
    copies, rows = 700_000 // len(frame) + 1, []
    for k in range(copies):
        ids = {c: frame[c] + k * 10_000_000 for c in ("account_id", "customer_id")}
        rows.append(frame.assign(**ids, balance=frame["balance"] * (1 + k / 500)))
    pd.concat(rows).to_parquet(tmp_path / "accounts.parquet", index=False, row_group_size=65_536)
    words = [tmp_path / "accounts.parquet", tmp_path / "out", DAY, trained.model, f"{memory}MiB"]
    done = subprocess.run([sys.executable, "-c", MEASURED, *map(str, words)], check=True, capture_output=True, text=True)
    told = json.loads(done.stdout)
    assert told["peak"] <= memory << 20
    assert told["spilled"] == (memory == 780)


def test_room_in_files_is_freed_with_its_array(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger_module, "LARGE", 1)
    ledger = Ledger(tmp_path, 1)
    ledger.spilled = True

    def open_files() -> int:
        return sum("room" in os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink())

    with ledger.watched():
        for _ in range(20):
            values = room((64, 1_024))
            values[:] = 1.0
            time.sleep(0.01)  # the watcher looks meanwhile, and gives pages back
            assert values.sum() == 64 * 1_024
        assert open_files() <= 2
        del values
        gc.collect()
    assert open_files() == 0
    assert list(tmp_path.iterdir()) == []
