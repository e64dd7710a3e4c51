"""A batch that is killed, meets a full disk or a bad shard leaves the old output; run again, it gives the same bytes."""

from __future__ import annotations

import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

DAY = "2026-06-30"

# tells its stage, and kills itself or waits at the one that is named
BATCH = """
import os, signal, sys, time
from collectml.batch import score_and_assign
accounts, out, model, capacity, day, at, what = sys.argv[1:]
def tell(stage):
    print(stage, flush=True)
    if stage == at:
        os.kill(os.getpid(), signal.SIGKILL) if what == "kill" else time.sleep(60)
score_and_assign(accounts, out, as_of=day, model=model, capacity=capacity, progress=tell)
"""


def _content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def small(trained, tmp_path_factory):
    """A thousand accounts: the batch is about what happens to files."""
    root = tmp_path_factory.mktemp("small")
    pd.read_parquet(trained.accounts).head(1_000).to_parquet(root / "accounts.parquet", index=False)
    return root


@pytest.fixture
def batch(trained, small, run):
    def words(accounts: object, out: Path) -> list[object]:
        return [
            "score-and-assign", "--accounts", accounts, "--out", out, "--as-of", DAY, "--model", trained.model,
            "--capacity", trained.capacity,
        ]  # fmt: skip

    return lambda out, accounts=small / "accounts.parquet": run(*words(accounts, out))


@pytest.fixture(scope="module")
def child(trained, small):
    def start(out: Path, at: str, what: str) -> subprocess.Popen[str]:
        words = [small / "accounts.parquet", out, trained.model, trained.capacity, DAY, at, what]
        return subprocess.Popen([sys.executable, "-c", BATCH, *map(str, words)], stdout=subprocess.PIPE, text=True)

    return start


def test_killed_at_a_stage_the_old_output_stands_and_a_second_run_gives_the_same_bytes(tmp_path, batch, child):
    assert batch(tmp_path / "calm").code == 0
    undisturbed = _content(tmp_path / "calm")
    out = tmp_path / "out"
    out.mkdir()
    (out / "old.txt").write_text("of yesterday", encoding="utf-8")
    for stage in ("reading model and strategy", "reading and scoring accounts", "assigning", "checking and writing"):
        process = child(out, stage, "kill")
        process.communicate(timeout=300)
        assert process.returncode == -signal.SIGKILL
        assert _content(out) == {"old.txt": b"of yesterday"}
    assert batch(out).code == 0
    assert _content(out) == undisturbed
    assert sorted(p.name for p in tmp_path.iterdir()) == ["calm", "out"]


def test_a_second_batch_on_the_same_output_is_refused(tmp_path, batch, child):
    process = child(tmp_path / "out", "reading and scoring accounts", "wait")
    try:
        for line in process.stdout:
            if line.startswith("reading and scoring accounts"):
                break
        second = batch(tmp_path / "out")
        assert second.code == 1
        assert second.err.startswith("error: another process is writing")
    finally:
        process.kill()
        process.communicate(timeout=60)
    assert batch(tmp_path / "out").code == 0


def test_a_full_disk_is_one_clear_line(tmp_path, batch):
    """A limit on the size of files stands in for it: the write fails part of the way in the same manner."""
    assert batch(tmp_path / "out").code == 0
    before = _content(tmp_path / "out")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, hard))
    try:
        failed = batch(tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failed.code == 1
    assert "cannot be written (File too large); what stood there is untouched" in failed.err
    assert _content(tmp_path / "out") == before
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("fault", ["truncated", "column gone", "type drift", "unreadable", "not parquet"])
def test_a_bad_shard_is_named_and_nothing_is_written(tmp_path, small, batch, fault):
    accounts = pd.read_parquet(small / "accounts.parquet")
    shards = tmp_path / "shards"
    shards.mkdir()
    accounts.iloc[:500].to_parquet(shards / "part-0.parquet", index=False)
    second, bad = accounts.iloc[500:], shards / "part-1.parquet"
    if fault == "column gone":
        second = second.drop(columns="balance")
    elif fault == "type drift":
        second = second.assign(balance=second["balance"].astype(str))
    second.to_parquet(bad, index=False)
    if fault == "truncated":
        bad.write_bytes(bad.read_bytes()[:-2_000])
    elif fault == "not parquet":
        bad.write_bytes(b"account_id,balance\n1,2\n")
    elif fault == "unreadable":
        bad.unlink()
        bad.symlink_to(tmp_path / "nowhere.parquet")
    failed = batch(tmp_path / "out", shards)
    assert failed.code == 3
    assert failed.err.startswith("error: ")
    assert "part-1.parquet" in failed.err.splitlines()[0]
    assert not (tmp_path / "out").exists()


def test_shards_by_folder_or_pattern_give_the_assignments_of_the_whole(tmp_path, small, batch):
    accounts = pd.read_parquet(small / "accounts.parquet")
    shards = tmp_path / "shards"
    shards.mkdir()
    for i, at in enumerate(range(0, 1_000, 300)):
        accounts.iloc[at : at + 300].to_parquet(shards / f"part-{i}.parquet", index=False)
    assert batch(tmp_path / "whole").code == 0
    assert batch(tmp_path / "folder", shards).code == 0
    assert batch(tmp_path / "pattern", shards / "part-*.parquet").code == 0
    whole = (tmp_path / "whole" / "assignments.parquet").read_bytes()
    assert (tmp_path / "folder" / "assignments.parquet").read_bytes() == whole
    assert (tmp_path / "pattern" / "assignments.parquet").read_bytes() == whole
    assert batch(tmp_path / "none", shards / "nothing-*.parquet").code == 2


def test_scoring_in_blocks_gives_the_same_bits(monkeypatch, trained):
    import collectml as cm
    from collectml.pipeline import strategy_model

    model, accounts = cm.load(trained.model), pd.read_parquet(trained.accounts).head(3_000)
    whole = model.price(accounts)
    monkeypatch.setattr(strategy_model, "BLOCK", 701)
    blocks = model.price(accounts)
    for name in ("net", "recovered", "cost", "minutes", "complaints"):
        pd.testing.assert_frame_equal(getattr(blocks, name), getattr(whole, name), check_exact=True)


def test_verify_finds_one_changed_byte_in_any_file(tmp_path, batch, run):
    assert batch(tmp_path / "out").code == 0
    said = run("verify", tmp_path / "out")
    assert (said.code, said.out.strip().endswith("3 files as written")) == (0, True)
    for name in ("assignments.parquet", "summary.json", "manifest.json"):
        for where in (0.1, 0.5, 0.9):
            copy = tmp_path / "copy"
            shutil.copytree(tmp_path / "out", copy)
            content = bytearray((copy / name).read_bytes())
            content[int(where * len(content))] ^= 1
            (copy / name).write_bytes(content)
            failed = run("verify", copy)
            assert failed.code == 1
            assert failed.err.startswith("error: ")
            assert name in failed.err
            shutil.rmtree(copy)
    (tmp_path / "out" / "summary.json").unlink()
    assert "summary.json is missing" in run("verify", tmp_path / "out").err
    assert run("verify", tmp_path / "nowhere").code == 1
