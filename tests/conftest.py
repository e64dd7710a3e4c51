"""Fixtures shared by all rooms."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
import yaml

from collectml.cli import main
from collectml.tracking.store import mlflow_quiet

# `make test` tries the same examples every time, so that what fails is what was changed; `make test-all` looks for new ones
hypothesis.settings.register_profile("same", derandomize=True, database=None, deadline=None)
hypothesis.settings.register_profile("new", deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start one file that needs the trained model, and keep the others for later: so no worker waits while another trains."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)

    def needs_training(file: Path) -> bool:
        return any("trained" in getattr(item, "fixturenames", ()) for item in files[file])

    by_size = sorted(files, key=lambda file: -len(files[file]))
    late, early = [f for f in by_size if needs_training(f)], [f for f in by_size if not needs_training(f)]
    items[:] = [item for file in [*late[:1], *early, *late[1:]] for item in files[file]]


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with the public data sets; tests that ask for it are skipped where it is not set."""
    folder = os.environ.get("COLLECTML_DATA")
    if not folder:
        if os.environ.get("COLLECTML_REQUIRE_DATA"):
            pytest.fail("COLLECTML_DATA is not set, and this run requires the public data (make test-all)")
        pytest.skip("COLLECTML_DATA is not set")
    return Path(folder)


@dataclass(frozen=True)
class Trained:
    """A folder in which `collectml train` has run on a small simulated portfolio."""

    root: Path
    config: Path
    output: str

    @property
    def model(self) -> Path:
        return self.root / "data" / "card_early_stage" / "model"

    @property
    def accounts(self) -> Path:
        return self.root / "data" / "card_early_stage" / "batch" / "accounts.parquet"

    @property
    def capacity(self) -> Path:
        return self.root / "data" / "card_early_stage" / "batch" / "capacity.parquet"

    @property
    def strategy(self) -> Path:
        return self.root / "strategy.yaml"


def made_once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Make a folder in whichever worker asks first; the others wait for it and copy it, so that none sees another's writes."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    source, mine = shared / f"{name}-source", base / name
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (source / "done").exists():
            source.mkdir()
            make(source)
            (source / "done").touch()
    return Path(shutil.copytree(source, mine))


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite store in which MLflow has made its tables and nothing else: that takes it longer than all we write there."""

    def make(root: Path) -> None:
        with mlflow_quiet():
            import mlflow

            mlflow.MlflowClient(f"sqlite:///{root / 'mlflow.db'}").search_experiments()

    return made_once(tmp_path_factory, "empty_store", make) / "mlflow.db"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path) -> Path:
    """A folder to work in, with a store of its own."""
    (tmp_path / "data").mkdir()
    shutil.copy(empty_store, tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Train the shipped card strategy on 6,000 simulated decisions, through the command line and into a real MLflow store."""
    root = made_once(tmp_path_factory, "trained", _train)
    return Trained(root, root / "card.yaml", (root / "said").read_text(encoding="utf-8"))


def _train(root: Path) -> None:
    shipped = Path(__file__).parents[1] / "experiments" / "card_early_stage.yaml"
    content = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    content["data"]["accounts"] = 6_000
    config = root / "card.yaml"
    config.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    (root / "strategy.yaml").write_text(yaml.safe_dump(content["strategy"], sort_keys=False), encoding="utf-8")
    said = io.StringIO()
    with contextlib.chdir(root), contextlib.redirect_stdout(said), pytest.raises(SystemExit) as stop:
        main(["train", "--config", str(config)])
    assert stop.value.code == 0
    (root / "said").write_text(said.getvalue(), encoding="utf-8")


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """Debian's PostgreSQL on a socket of its own, run by a user other than root, which it refuses."""
    homes = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not homes:
        if os.environ.get("COLLECTML_REQUIRE_POSTGRES"):
            pytest.fail("PostgreSQL is not installed, and this run requires it")
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    user = pwd.getpwnam("postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name)
    root = Path(tempfile.mkdtemp(prefix="collectml-pg-"))
    shutil.chown(root, user.pw_uid)
    as_user = {"user": user.pw_uid, "group": user.pw_gid} if os.getuid() == 0 else {}
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": root, **as_user}
    subprocess.run([homes[-1] / "initdb", "-D", root / "data", "-A", "trust", "-U", "tester", "--no-sync"], **quiet)
    options = f"-c listen_addresses='' -c fsync=off -k {root}"
    pg_ctl = [homes[-1] / "pg_ctl", "-D", root / "data", "-w", "-l", root / "log"]
    subprocess.run([*pg_ctl, "-o", options, "start"], **quiet)
    try:
        yield f"postgresql:///postgres?host={root}&user=tester"
    finally:
        subprocess.run([*pg_ctl, "-m", "immediate", "stop"], **quiet)
        shutil.rmtree(root)


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run the `collectml` command in this process; what it prints is caught."""

    def command(*words: object) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(w) for w in words])
        said = capsys.readouterr()
        return Ran(int(stop.value.code or 0), said.out, said.err)

    return command
