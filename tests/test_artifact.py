"""Saved parts come back as they were, or are refused."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from collectml.artifact import Parts, read_parts, seal, write_folder, write_parts
from collectml.errors import ArtifactError


@pytest.fixture
def saved(tmp_path):
    parts = Parts(
        values={"config": {"b": [1, 2.5, None], "a": "Müller"}},
        texts={"booster": "tree\nversion=v4\n"},
        tables={"evidence": pd.DataFrame({"x": [0.1, 0.2], "name": ["a", "b"]})},
    )
    return parts, write_parts(parts, tmp_path / "model")


def test_round_trip(saved):
    parts, folder = saved
    again = read_parts(folder)
    assert again.values == dict(parts.values)
    assert again.texts == dict(parts.texts)
    pd.testing.assert_frame_equal(again.tables["evidence"], parts.tables["evidence"])


def test_nothing_in_it_is_a_pickle(saved):
    _, folder = saved
    assert {p.suffix for p in folder.iterdir()} == {".json", ".txt", ".parquet"}


def test_every_missing_and_altered_file_is_named(saved):
    _, folder = saved
    (folder / "booster.txt").write_text("another tree", encoding="utf-8")
    (folder / "config.json").unlink()
    with pytest.raises(ArtifactError, match=r"config.json is missing, booster.txt was altered"):
        read_parts(folder)


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (99, "format version 99.*a newer collectml wrote it"),
        (0, "format version 0.*too old.*train again"),
        ("1", "no saved model"),
    ],
)
def test_another_format_version_is_refused_with_the_way_out(saved, version, reason):
    _, folder = saved
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    (folder / "manifest.json").write_bytes(seal(manifest | {"format_version": version}))
    with pytest.raises(ArtifactError, match=reason):
        read_parts(folder)


def test_an_altered_manifest(saved):
    _, folder = saved
    text = (folder / "manifest.json").read_text(encoding="utf-8")
    (folder / "manifest.json").write_text(text.replace('"booster.txt"', '"Booster.txt"'), encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"manifest.json was altered"):
        read_parts(folder)


@pytest.mark.parametrize("name", ["../secret.json", "/etc/passwd", ".hidden.json", "sub/x.txt", "model.pkl"])
def test_a_manifest_that_leads_elsewhere(saved, name):
    """Whoever can seal a manifest still cannot have other files read, or another kind of file."""
    _, folder = saved
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    files = manifest["files"] | {name: "0" * 64}
    (folder / "manifest.json").write_bytes(seal({k: v for k, v in manifest.items() if k != "digest"} | {"files": files}))
    with pytest.raises(ArtifactError, match="names files outside"):
        read_parts(folder)


@pytest.mark.parametrize("kept", range(4))
def test_a_folder_copied_halfway(saved, tmp_path, kept):
    """Files one after the other, the last cut short: refused until all of them are there."""
    _, folder = saved
    half = tmp_path / "half"
    half.mkdir()
    files = sorted(folder.iterdir())
    for path in files[:kept]:
        (half / path.name).write_bytes(path.read_bytes())
    (half / files[kept].name).write_bytes(files[kept].read_bytes()[:-1])
    with pytest.raises(ArtifactError):
        read_parts(half)


@pytest.mark.parametrize("content", ["", "[]", "no JSON", '{"files": {}}'])
def test_a_damaged_manifest(saved, content):
    _, folder = saved
    (folder / "manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(ArtifactError, match="damaged"):
        read_parts(folder)


def test_what_is_no_model(tmp_path):
    with pytest.raises(ArtifactError, match=r"no manifest.json"):
        read_parts(tmp_path)


def test_a_failed_write_leaves_what_stood_there(tmp_path):
    target = tmp_path / "out"
    write_folder(target, {"a.txt": b"first"})
    with pytest.raises(FileNotFoundError):
        write_folder(target, {"a.txt": b"second", "b.txt": tmp_path / "absent"})
    assert (target / "a.txt").read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_replaced_whole(tmp_path):
    target = tmp_path / "out"
    write_folder(target, {"a.txt": b"first", "old.txt": b"gone"})
    write_folder(target, {"a.txt": b"second"})
    assert [(p.name, p.read_bytes()) for p in target.iterdir()] == [("a.txt", b"second")]
    assert list(tmp_path.iterdir()) == [target]
