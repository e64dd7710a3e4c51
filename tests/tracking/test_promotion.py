"""Promotion, refusal and rollback through the command line, in a real registry."""

from __future__ import annotations

import json
import shutil

import pytest

import collectml as cm
from collectml.pipeline import read_experiment
from collectml.tracking import history, log_strategy, open_store

NAME = "collectml-card_early_stage"


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """A store of its own, with the trained version as champion and two challengers: the same again, and one that does nothing."""
    import contextlib

    root = tmp_path_factory.mktemp("registry")
    (root / "data").mkdir()
    shutil.copy(trained.root / "data" / "mlflow.db", root / "data" / "mlflow.db")
    model, experiment = cm.load(trained.model), read_experiment(trained.config)
    report = trained.model.parent / "report.json"
    content = model.strategy.model_dump(mode="json")
    content["conditions"].append({"name": "nobody", "contact": True, "allow": "hardship and not hardship"})
    parts = {f: getattr(model, f) for f in model.__dataclass_fields__}
    idle = cm.pipeline.StrategyModel(**{**parts, "strategy": cm.Strategy.model_validate(content)})
    with contextlib.chdir(root):
        store = open_store()
        log_strategy(store, experiment, model, trained.model, [report])
        log_strategy(store, experiment, idle, idle.save(root / "idle"), [report])
    return root


@pytest.fixture
def store(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return open_store()


def _aliases(store) -> dict[str, str]:
    return {k: str(v) for k, v in store.client.get_registered_model(NAME).aliases.items()}


def test_from_challenger_to_champion_and_back(store, run):
    assert _aliases(store) == {"champion": "1", "challenger": "3"}
    refused = run("promote", "3", "--approved-by", "A. Person")
    assert refused.code == 6
    lines = refused.err.splitlines()
    assert lines[0] == f"error: version 3 of {NAME} is not promoted; 2 of 6 gates fail"
    assert [line.partition(":")[0] for line in lines[1:]] == ["policy value", "report"]
    tags = store.client.get_model_version(NAME, "3").tags
    assert tags["gates"] == "failed"
    assert tags["gate.policy_value"].startswith("failed: -")
    assert tags["gate.calibration"].startswith("passed: slope")
    assert "approved_by" not in tags
    assert _aliases(store) == {"champion": "1", "challenger": "3"}

    done = run("promote", "2", "--approved-by", "A. Person")
    assert (done.code, done.err) == (0, "")
    assert done.out.count("passed: ") == 6
    assert _aliases(store) == {"champion": "2", "previous": "1", "challenger": "3"}
    tags = store.client.get_model_version(NAME, "2").tags
    gates = {k for k, v in tags.items() if k.startswith("gate.") and v.startswith("passed: ")}
    assert gates == {f"gate.{g}" for g in ("calibration", "policy_value", "fairness", "rules", "report", "approval")}
    assert (tags["gates"], tags["approved_by"], tags["gates_against"]) == ("passed", "A. Person", "version 1")

    back = run("rollback", "--by", "B. Person", "--why", "complaints doubled")
    assert (back.code, back.err) == (0, "")
    assert _aliases(store) == {"champion": "1", "challenger": "3"}
    tags = store.client.get_model_version(NAME, "2").tags
    assert (tags["rolled_back_by"], tags["rolled_back_why"]) == ("B. Person", "complaints doubled")
    again = run("rollback", "--by", "B. Person", "--why", "once more")
    assert again.code == 2
    assert again.err == f"error: {NAME}: no version was champion before the present one; nothing is changed\n"
    events = [{k: e[k] for k in ("what", "from", "to", "who")} for e in history(store)]
    assert events == [
        {"what": "promotion", "from": "1", "to": "2", "who": "A. Person"},
        {"what": "rollback", "from": "2", "to": "1", "who": "B. Person"},
    ]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["promote", "99", "--approved-by", "x"], f"error: {NAME} has no version 99"),
        (["promote", "two", "--approved-by", "x"], f"error: {NAME} has no version two"),
        (["promote", "2", "--approved-by", " "], "error: --approved-by: one line of 1 to 200 characters is needed"),
        (["promote", "2", "--approved-by", "x", "--name", "nobody"], "error: nobody has no version 2"),
        (["promote", "2", "--approved-by", "x", "--report", "absent.json"], None),
        (["rollback", "--by", "x", "--why", "a\nb"], "error: --why: one line of 1 to 200 characters is needed"),
        (["rollback", "--by", "x", "--why", "y", "--name", "nobody"], "error: the registry holds no model nobody"),
    ],
)
def test_what_cannot_be_asked(store, run, words, line):
    before = _aliases(store)
    done = run(*words)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert line is None or done.err.strip() == line
    assert _aliases(store) == before


def test_a_store_that_is_away_is_told(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    for words in (["promote", "1", "--approved-by", "x"], ["rollback", "--by", "x", "--why", "y"]):
        done = run(*words)
        assert (done.code, len(done.err.splitlines())) == (5, 1)
        assert "secret" not in done.err


def test_the_version_knows_what_it_comes_from(store, trained):
    from collectml.artifact import file_digest

    tags = store.client.get_model_version(NAME, "2").tags
    run = store.client.get_run(store.client.get_model_version(NAME, "2").run_id)
    assert tags["model_sha256"] == file_digest(trained.model / "manifest.json") == run.data.tags["model_sha256"]
    assert tags["data_digest"] == json.loads((trained.model / "facts.json").read_text(encoding="utf-8"))["log"]["digest"]
