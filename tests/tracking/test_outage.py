"""The tracking store away, slow or lying: a batch with a known champion still delivers, and its run arrives later, once."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from collectml.errors import ServiceUnavailableError
from collectml.tracking import BatchRecord, delivery, registered_model

from .nights import CHAMPION, NAME, command_of, manifest_of, runs_of

PATIENCE = 1.5


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory) -> Path:
    """A working folder with a store of its own, impatient, and 300 accounts."""
    root = tmp_path_factory.mktemp("outage")
    (root / "data").mkdir()
    shutil.copy(trained.root / "data" / "mlflow.db", root / "data" / "mlflow.db")
    (root / "mlflow.yaml").write_text(f"patience_seconds: {PATIENCE}\n", encoding="utf-8")
    pd.read_parquet(trained.accounts).head(300).to_parquet(root / "accounts.parquet", index=False)
    return root


@pytest.fixture
def here(folder, monkeypatch) -> Path:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return folder


def _queue(here: Path) -> list[str]:
    queue = here / "data" / "tracking" / "queue"
    return sorted(p.name for p in queue.iterdir()) if queue.is_dir() else []


@pytest.fixture
def cached(here, run):
    """One night while all is well."""
    with_patience = here / "mlflow.yaml"
    with_patience.write_text("patience_seconds: 60\n", encoding="utf-8")
    done = run(*command_of("first", "2026-06-30"))
    with_patience.write_text(f"patience_seconds: {PATIENCE}\n", encoding="utf-8")
    assert (done.code, done.err) == (0, "")
    return here


class _Server:
    """Accepts on loopback; ``silent`` never answers, ``trickling`` sends a byte now and then, ``refusing`` says 503."""

    def __init__(self, kind: str) -> None:
        self.kind, self.open, self.closed = kind, [], False
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            self.open.append(connection)
            if self.closed:
                connection.close()
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        try:
            if self.kind == "refusing":
                connection.recv(65_536)
                connection.sendall(b"HTTP/1.1 503 Busy\r\nRetry-After: 3600\r\nContent-Length: 0\r\n\r\n")
                connection.close()
            elif self.kind == "trickling":
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n")
                for _ in range(300):
                    connection.sendall(b" ")
                    time.sleep(0.2)
        except OSError:
            pass

    def close(self) -> None:
        self.closed = True
        self.socket.close()
        for connection in self.open:
            connection.close()


@pytest.fixture(params=["closed", "refusing", "silent", "trickling"])
def away(request) -> Iterator[str]:
    if request.param == "closed":
        with socket.create_server(("127.0.0.1", 0)) as free:
            uri = f"http://127.0.0.1:{free.getsockname()[1]}"
        yield uri
        return
    server = _Server(request.param)
    yield server.uri
    server.close()


def test_a_known_champion_is_at_hand_within_the_time(cached, away, monkeypatch):
    wanted = registered_model(CHAMPION)
    assert wanted.reached
    monkeypatch.setenv("MLFLOW_TRACKING_URI", away)
    begun = time.monotonic()
    found = registered_model(CHAMPION)
    assert time.monotonic() - begun < PATIENCE + 1.5
    assert not found.reached
    assert (found.folder, found.origin) == (wanted.folder, wanted.origin)
    with pytest.raises(ServiceUnavailableError, match="no model is kept here"):
        registered_model(f"models:/{NAME}@nobody")


def test_a_night_without_the_store_delivers_and_its_run_arrives_once(cached, monkeypatch, run):
    day = "2026-07-01"
    server = _Server("silent")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    done = run(*command_of("night", day))
    server.close()
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("the tracking store is away: send the run later by collectml sync\n")
    manifest = manifest_of(cached / "night")
    assert manifest["tracking"] == "queued"
    assert manifest["lineage"]["version"] == "1"
    batch_id = manifest["batch_id"]
    assert _queue(cached) == [f"{batch_id}.json"]
    assert run("verify", "night").code == 0
    assert run("sync").code == 5  # still away: it waits on
    assert _queue(cached) == [f"{batch_id}.json"]

    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    entry = cached / "data" / "tracking" / "queue" / f"{batch_id}.json"
    kept = entry.read_bytes()
    assert run("sync").out == "1 runs sent\n"
    assert _queue(cached) == []
    entry.write_bytes(kept)  # as if killed after sending and before taking it off the queue
    assert run("sync").out == "1 runs sent\n"
    (found,) = runs_of(batch_id)
    assert found.info.status == "FINISHED"
    assert found.data.metrics["accounts"] == 300
    assert found.data.params["as_of"] == day
    assert found.data.tags["collectml.run_id"] == manifest["lineage"]["run_id"]
    # the night is what it would have been
    again = run(*command_of("again", day))
    assert (again.code, manifest_of(cached / "again")["tracking"]) == (0, "logged")
    assert manifest_of(cached / "again")["batch_id"] == batch_id
    assert (cached / "again" / "assignments.parquet").read_bytes() == (cached / "night" / "assignments.parquet").read_bytes()
    assert len(runs_of(batch_id)) == 1


def test_no_account_waits_in_the_queue(cached, monkeypatch, run):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert run(*command_of("private", "2026-07-02")).code == 0
    (name,) = _queue(cached)
    text = (cached / "data" / "tracking" / "queue" / name).read_text(encoding="utf-8")
    ids = pd.read_parquet(cached / "accounts.parquet")["account_id"].astype(str)
    assert not [i for i in ids if i in text]
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert run("sync").code == 0


def test_a_damaged_entry_is_named_and_the_others_are_sent(cached, monkeypatch, run):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert run(*command_of("damaged", "2026-07-03")).code == 0
    (name,) = _queue(cached)
    entry = cached / "data" / "tracking" / "queue" / name
    half = entry.with_name("0000-half.json")
    half.write_bytes(entry.read_bytes()[:200])
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    done = run("sync")
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "0000-half.json cannot be read; 1 runs sent" in done.err
    assert _queue(cached) == ["0000-half.json"]
    half.unlink()


DELIVERY = """
import os, signal, sys
from pathlib import Path
from collectml.artifact import seal
from collectml.folders import write_folder
from collectml.tracking import BatchRecord, delivery, registered_model
batch_id, moment, out = sys.argv[1], sys.argv[2], Path(sys.argv[3])
os.environ["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:9"
with delivery(BatchRecord(batch_id), registered_model("{champion}"), out) as state:
    if moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    write_folder(out, {{"manifest.json": seal({{"outputs": {{}}, "batch_id": batch_id, "tracking": state}})}})
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "sent"), [("before", 0), ("after", 1)])
def test_a_batch_killed_around_its_delivery(cached, run, moment, sent):
    """Stopped before the folder stands there is no run of it; stopped right after, there is."""
    code = DELIVERY.format(champion=CHAMPION)
    words = [sys.executable, "-c", code, f"killed-{moment}", moment, str(cached / f"killed-{moment}")]
    done = subprocess.run(words, capture_output=True, check=False, env=os.environ)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert _queue(cached) == [f"killed-{moment}.begun"]
    said = run("sync")
    assert (said.code, said.out.splitlines()[0]) == (0, f"{sent} runs sent")
    assert _queue(cached) == []
    assert len(runs_of(f"killed-{moment}")) == sent


@pytest.mark.parametrize("reached", [True, False])
def test_a_batch_that_fails_leaves_no_entry(cached, monkeypatch, reached):
    model = registered_model(CHAMPION)
    if not reached:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    name = f"failed-{reached}"

    def deliver() -> None:
        with delivery(BatchRecord(name), model, cached / "out") as state:
            assert state == ("logged" if reached else "queued")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        deliver()
    assert _queue(cached) == []
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert [r.info.status for r in runs_of(name)] == (["FAILED"] if reached else [])


def test_without_a_cached_champion_nothing_is_written(here, tmp_path, trained, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    shutil.copy(here / "accounts.parquet", tmp_path / "accounts.parquet")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    done = run(*command_of("out", "2026-07-05"))
    assert (done.code, len(done.err.splitlines())) == (5, 1)
    assert "no model is kept here" in done.err
    assert not (tmp_path / "out").exists()


def test_a_cache_somebody_changed_is_refused(cached, monkeypatch, run):
    booster = registered_model(CHAMPION).folder / "uplift.pay.txt"
    kept = booster.read_bytes()
    booster.write_bytes(kept.replace(b"tree", b"Tree", 1))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    done = run(*command_of("changed", "2026-07-06"))
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "is not the model that was cached" in done.err
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert registered_model(CHAMPION).reached  # with the registry there it is fetched anew
    assert booster.read_bytes() == kept


def test_what_the_registry_denies_is_not_an_outage(cached, run):
    done = run(*command_of("denied", "2026-07-07", f"models:/{NAME}@nobody"))
    assert (done.code, done.err) == (2, f"error: models:/{NAME}@nobody: there is no such version\n")
    assert run(*command_of("denied", "2026-07-07", "models:/")).code == 2
