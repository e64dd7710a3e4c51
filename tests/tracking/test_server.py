"""A real tracking server: PostgreSQL behind it, artifacts through its proxy; lost answers and kills in front of it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

import collectml as cm
from collectml.pipeline import read_experiment
from collectml.tracking import log_strategy, open_store, registered_model

from .nights import CHAMPION, NAME, command_of, manifest_of, runs_of

pytestmark = pytest.mark.slow  # a server takes half a minute to come up on two shared cores
pytest.importorskip("psycopg")


class Server:
    """An ``mlflow server`` process on loopback."""

    def __init__(self, backend: str, root: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.uri, self.backend, self.root = f"http://127.0.0.1:{self.port}", backend, root
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = ["server", "--host", "127.0.0.1", "--port", self.port, "--workers", 1, "--backend-store-uri", self.backend]
        words += ["--serve-artifacts", "--artifacts-destination", self.root / "artifacts"]
        with (self.root / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", *map(str, words)],
                stdout=log,
                stderr=log,
                env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
                start_new_session=True,
            )
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.root / "server.log").read_text(encoding="utf-8")
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:  # noqa: S310
                if answer.status == 200:
                    return
            time.sleep(0.5)
        pytest.fail("the server did not come up")

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def server(postgres, tmp_path_factory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("mlflow")
    running = Server(postgres.replace("postgresql://", "postgresql+psycopg://"), root)
    running.start()
    yield running
    running.kill()


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("client")
    pd.read_parquet(trained.accounts).head(300).to_parquet(root / "accounts.parquet", index=False)
    return root


@pytest.fixture
def here(folder, server, monkeypatch) -> Path:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    return folder


def _aliases() -> dict[str, str]:
    return {k: str(v) for k, v in open_store().client.get_registered_model(NAME).aliases.items()}


def test_log_register_promote_roll_back_and_load(here, server, trained, run):
    model, experiment = cm.load(trained.model), read_experiment(trained.config)
    report = trained.model.parent / "report.json"
    store = open_store()
    assert store.uri == server.uri
    records = [log_strategy(store, experiment, model, trained.model, [report]) for _ in range(2)]
    assert [(r.version, r.alias) for r in records] == [("1", "champion"), ("2", "challenger")]
    assert store.client.get_experiment(store.experiment_id).artifact_location.startswith("mlflow-artifacts:/")
    done = run("promote", "2", "--approved-by", "A. Person")
    assert (done.code, done.err) == (0, "")
    assert _aliases() == {"champion": "2", "previous": "1"}
    assert run("rollback", "--by", "A. Person", "--why", "a rehearsal").code == 0
    assert _aliases() == {"champion": "1"}
    found = registered_model(CHAMPION)
    assert (found.reached, found.origin.version, found.origin.run_id) == (True, "1", records[0].run_id)
    accounts = pd.read_parquet(here / "accounts.parquet")
    pd.testing.assert_frame_equal(cm.load(found.folder).score(accounts), model.score(accounts), check_exact=True)
    import mlflow

    plain = mlflow.pyfunc.load_model(CHAMPION).predict(accounts).set_index("account_id")
    pd.testing.assert_frame_equal(
        plain[list(model.strategy.action_names)], model.score(accounts), check_exact=True, check_names=False
    )


def test_a_night_with_the_server_and_one_after_it_was_killed(here, server, run):
    assert run(*command_of("before", "2026-07-01")).code == 0
    assert manifest_of(here / "before")["tracking"] == "logged"
    (found,) = runs_of(manifest_of(here / "before")["batch_id"])
    assert (found.info.status, found.data.metrics["accounts"]) == ("FINISHED", 300)
    server.kill()
    assert run(*command_of("dark", "2026-07-02")).code == 0
    batch_id = manifest_of(here / "dark")["batch_id"]
    assert manifest_of(here / "dark")["tracking"] == "queued"
    assert run("sync").code == 5
    server.start()
    assert run("sync").out == "1 runs sent\n"
    assert run("sync").out == "0 runs sent\n"
    (found,) = runs_of(batch_id)
    assert found.info.status == "FINISHED"


class Proxy:
    """Passes requests on and their answers back, but swallows the answers to some: the work is done, the client never hears."""

    def __init__(self, port: int, swallow: bytes, most: int = 1_000) -> None:
        self.port, self.swallow, self.swallowed, self.most = port, swallow, 0, most
        self.open: list[socket.socket] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.uri = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.socket.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.port))
            self.open += [client, server]
            lost = threading.Event()
            threading.Thread(target=self._pass, args=(client, server, lost, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, lost, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, lost: threading.Event, asking: bool) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(65_536):
                if asking and self.swallow in content and self.swallowed < self.most:
                    lost.set()
                    self.swallowed += 1
                if asking or not lost.is_set():
                    target.sendall(content)

    def close(self) -> None:
        for one in (self.socket, *self.open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.mark.parametrize("swallow", [b"POST /api/2.0/mlflow/runs/create ", b"POST /api/2.0/mlflow/runs/update "])
def test_an_answer_that_is_lost_makes_no_second_run(here, server, monkeypatch, run, swallow):
    """The server creates, or ends, the run; the client gives up, queues it, and finds it there when it comes back."""
    proxy = Proxy(server.port, swallow)
    (here / "mlflow.yaml").write_text("patience_seconds: 6\n", encoding="utf-8")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
    day = "2026-08-01" if b"create" in swallow else "2026-08-02"
    assert run(*command_of("lost", day)).code == 0
    proxy.close()
    assert proxy.swallowed == 1
    (here / "mlflow.yaml").unlink()
    batch_id = manifest_of(here / "lost")["batch_id"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    assert len(runs_of(batch_id)) == 1
    # in a process of its own, as at night: this one has the artifacts' address from the proxy and keeps it
    done = subprocess.run(
        [sys.executable, "-m", "collectml", "sync"], capture_output=True, text=True, check=False, env=os.environ
    )
    assert (done.stdout, done.stderr) == ("1 runs sent\n", "")
    (found,) = runs_of(batch_id)
    assert (found.info.status, found.data.metrics["accounts"]) == ("FINISHED", 300)


@pytest.mark.parametrize("lost", [1, 2])
def test_a_training_whose_answer_is_lost_leaves_one_run(here, server, trained, monkeypatch, lost):
    """The server creates the run, the client never hears: it finds the run by its key, and asks again only where there is none."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    store = open_store()
    before = {r.info.run_id for r in store.client.search_runs([store.experiment_id])}
    proxy = Proxy(server.port, b"POST /api/2.0/mlflow/runs/create ", most=lost)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
    runs = [open_store().new_run(f"training {i}", {"data_digest": "x"}) for i in range(lost)]
    proxy.close()
    assert proxy.swallowed == lost
    found = [r for r in store.client.search_runs([store.experiment_id]) if r.info.run_id not in before]
    assert sorted(r.info.run_id for r in found) == sorted(runs)
    assert {r.data.tags["data_digest"] for r in found} == {"x"}
