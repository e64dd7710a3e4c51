"""What a fuzzer feeds: YAML files, Parquet files and command lines, read in this process; anything but a documented error is a finding."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from collectml.batch.sources import AccountSource
from collectml.cli import main
from collectml.data import FEATURES, scoring_table
from collectml.data.schema import inspect_table, sound_rows
from collectml.data.tables import read_table
from collectml.errors import CollectMLError, SchemaError
from collectml.pipeline import read_experiment
from collectml.policy import StrategyTree
from collectml.strategy import Strategy, permissions
from collectml.tracking.store import read_config

SHIPPED = Path(__file__).parents[2] / "experiments"
STRATEGY = read_experiment(SHIPPED / "card_early_stage.yaml").strategy
CONTRACT = scoring_table(FEATURES[:10], ["product"])
DOCUMENTED = {0, 1, 2, 3, 4, 5, 6}
COMMANDS: dict[str, dict[str, str]] = {
    "score-and-assign": {"--accounts": "a.parquet", "--out": "out", "--as-of": "2026-06-30", "--model": "absent"},
    "report": {"--model": "absent", "--accounts": "a.parquet", "--as-of": "2026-06-30", "--out": "out.html"},
    "tree": {"--model": "absent", "--accounts": "a.parquet", "--as-of": "2026-06-30", "--out": "out.yaml"},
    "frontier": {"--model": "absent", "--accounts": "a.parquet", "--as-of": "2026-06-30", "--limit": "budget"},
    "train": {"--config": "absent.yaml"},
    "rollback": {"--by": "somebody", "--why": "a test", "--config": "absent.yaml"},
}
SMALL_YAML = [  # a file of every kind, short so that many mutations are tried
    b"name: s\ncurrency: EUR\nactions:\n- {name: no_action}\n- {name: call, channel: call, unit_cost: 1.5, minutes: 3}\nlimits:\n"
    b"- {name: b, kind: budget, upper: 10, per: 1000_accounts}\nconditions:\n- {name: c, contact: true, allow: balance >= 50}\n",
    b"kind: strategy\nname: e\ndata: {source: files, decisions: d.parquet}\nseed: 1\nstrategy: {name: s, currency: EUR}\n",
    b"tracking_uri: sqlite:///m.db\npatience_seconds: 3\naliases: {first: a}\ngates: {slope: [0.8, 1.2]}\n",
    b"name: t\nstrategy: s\nquestion: balance <= 10\nyes: {action: call}\nno: {action: no_action}\n",
]
OPTIONS = (
    *("--accounts", "--as-of", "--model", "--strategy", "--capacity", "--tree", "--max-rejects", "--memory", "--quality"),
    *("--limit", "--points", "--low", "--high", "--depth", "--config", "--language", "--tracking", "--anything"),
)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder to work in, far from any tracking store."""
    os.environ["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:9"
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        pd.DataFrame({"account_id": [1, 2], "balance": [10.0, 20.0]}).to_parquet("a.parquet")
        yield Path(name)


def _told(read: Callable[[], object]) -> None:
    try:
        read()
        told = "nothing to complain of"
    except CollectMLError as error:
        told = str(error)
    assert len(told.splitlines()[0]) > 10, told
    assert "Traceback" not in told


def yaml_file(content: bytes) -> None:
    """Read a file as experiment, strategy, tree and settings of the tracking store."""
    path = Path("given.yaml")
    path.write_bytes(content)
    for read in (read_experiment, Strategy.from_yaml, StrategyTree.from_yaml, read_config):
        _told(lambda read=read: read(path))  # type: ignore[misc]


def parquet_file(content: bytes) -> None:
    """Read a file as a batch reads accounts: blocks, contract, conditions; and as other tables are read."""
    path = Path("given.parquet")
    path.write_bytes(content)

    def blocks() -> None:
        source = AccountSource(path, 1_000)
        source.check()
        for frame in source:
            inspection = inspect_table(frame, CONTRACT, actions=STRATEGY.action_names)
            inspection.rows()
            if any(fault.kind == "structural" for fault in inspection.faults):
                raise SchemaError("accounts: structural faults")
            good, rejects = sound_rows(inspection, frame, CONTRACT)
            assert len(good) + len(rejects) == len(frame)
            permissions(STRATEGY, good)

    _told(blocks)
    _told(lambda: read_table(path))


def command_line(command: str, option: str, value: str) -> None:
    """Give one option of a command, or its only argument, any value."""
    given = {**COMMANDS.get(command, {}), option: value}
    words = [command, *(w for pair in given.items() for w in pair)] if command in COMMANDS else [command, value]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(words)
        except SystemExit as stop:
            code = stop.code
    assert code in DOCUMENTED, (words, code)
    told = err.getvalue()
    assert "run again with -v" not in told, (words, told)
    assert "Traceback" not in told, (words, told)
    assert code == 0 or told.startswith("error: "), (words, code, told)
    assert not Path("out").exists(), words


def seeds(kind: str) -> list[bytes]:
    """Sound files to begin with."""
    if kind == "yaml":
        return SMALL_YAML
    if kind == "parquet":
        frame = pd.DataFrame({"account_id": [1, 2, 3], "product": ["card"] * 3, "as_of": pd.Timestamp("2026-06-30")})
        frame = frame.assign(**dict.fromkeys(FEATURES[1:10], 1.0), hardship=[True, None, False])
        made = []
        for compression in ("snappy", "none", "zstd"):
            file = io.BytesIO()
            frame.to_parquet(file, compression=compression, index=False)
            made.append(file.getvalue())
        return made
    return [b"\x00\x07500MiB", b"\x00\x062%", b"\x01\x012026-06-30"]
