"""What the fuzzers found stays mended: each file once made something else than a documented error."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FINDINGS = sorted((HERE / "findings").iterdir())
_spec = importlib.util.spec_from_file_location("fuzz_targets", HERE / "targets.py")
targets = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(targets)


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with targets.scratch():
        yield


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda path: path.name)
def test_a_finding_is_a_documented_error_now(here, finding):
    kind = finding.name.partition("-")[0]
    {"yaml": targets.yaml_file, "parquet": targets.parquet_file}[kind](finding.read_bytes())


@pytest.mark.parametrize("kind", ["yaml", "parquet"])
def test_the_seeds_are_read(here, kind):
    for content in targets.seeds(kind):
        {"yaml": targets.yaml_file, "parquet": targets.parquet_file}[kind](content)


def test_a_wrong_option_is_one_line(here):
    targets.command_line("score-and-assign", "--memory", "much")


def test_rows_that_do_not_come_are_missed(here):
    Path("given.parquet").write_bytes((HERE / "findings" / "parquet-rows-that-do-not-come").read_bytes())
    with pytest.raises(targets.SchemaError, match="rows can be read"):
        list(targets.AccountSource("given.parquet", 1_000))
