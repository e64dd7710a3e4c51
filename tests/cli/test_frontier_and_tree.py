"""`collectml frontier` and `collectml tree`, and a batch that runs the tree."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

DAY = "2026-06-30"


def words(command, trained, out, *more):
    return (command, "--accounts", trained.accounts, "--model", trained.model, "--as-of", DAY, "--out", out, *more)


@pytest.fixture
def limit(trained):
    import yaml

    limits = yaml.safe_load(trained.strategy.read_text(encoding="utf-8"))["limits"]
    return next(x["name"] for x in limits if x["kind"] == "capacity" and "upper" in x)


def test_frontier_writes_table_changes_and_drawing(run, trained, tmp_path, limit):
    result = run(*words("frontier", trained, tmp_path / "out", "--limit", limit, "--points", 5))
    assert result.code == 0, result.err
    assert f"{limit}, at " in result.out
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["changes.parquet", "frontier.parquet", "frontier.svg"]
    frame = pd.read_parquet(tmp_path / "out" / "frontier.parquet")
    assert len(frame) == 5
    assert frame["current"].sum() == 1
    assert (np.diff(frame["value"]) >= -(frame["bound"] - frame["value"]).to_numpy()[1:]).all()
    changes = pd.read_parquet(tmp_path / "out" / "changes.parquet")
    assert changes["accounts"].sum() == frame["changed"].sum()
    assert (tmp_path / "out" / "frontier.svg").read_text(encoding="utf-8").lstrip().startswith("<?xml")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--limit", "nonsense"), "nonsense"),
        (("--limit", "{limit}", "--from", 10, "--to", 5), "must rise"),
        (("--limit", "{limit}", "--points", 1), "points"),
        ((), "limit"),
    ],
)
def test_frontier_that_cannot_be_drawn(run, trained, tmp_path, limit, more, said):
    more = [str(x).replace("{limit}", limit) for x in more]
    result = run(*words("frontier", trained, tmp_path / "out", *more))
    assert result.code == 2
    assert said in result.err
    assert "Traceback" not in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_tree_is_made_read_and_run(run, trained, tmp_path):
    result = run(*words("tree", trained, tmp_path / "tree", "--depth", 2))
    assert result.code == 0, result.err
    assert "the tree gives up" in result.out
    assert sorted(p.name for p in (tmp_path / "tree").iterdir()) == ["rules.parquet", "tree.svg", "tree.yaml"]
    rules = pd.read_parquet(tmp_path / "tree" / "rules.parquet")
    assert 2 <= len(rules) <= 4
    out, path = tmp_path / "out", tmp_path / "tree" / "tree.yaml"
    result = run(*words("score-and-assign", trained, out, "--tree", path))
    assert result.code == 0, result.err
    frame = pd.read_parquet(out / "assignments.parquet")
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    assert frame["reason"].str.startswith("strategy tree, leaf ").any()
    for row in summary["limits"]:
        assert row["upper"] is None or row["used"] <= row["upper"] * (1 + 1e-9) + 1e-9
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert list(manifest["inputs"]["tree"]) == ["tree.yaml"]


def test_a_tree_file_that_cannot_be_used(run, trained, tmp_path):
    path = tmp_path / "tree.yaml"
    path.write_text("strategy: x\ncontrol: y\ncurrency: EUR\nroot: {leaf: 1, gains: {y: 0}}\n", encoding="utf-8")
    for file, said in ((path, "made for strategy 'x'"), (tmp_path / "absent.yaml", "absent.yaml")):
        result = run(*words("score-and-assign", trained, tmp_path / "out", "--tree", file))
        assert result.code == 2
        assert said in result.err
        assert not (tmp_path / "out").exists()
    assert run(*words("tree", trained, tmp_path / "t", "--field", "nonsense")).code == 2
