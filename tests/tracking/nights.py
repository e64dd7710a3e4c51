"""A night with the registered champion, as the tests of the tracking store run it."""

from __future__ import annotations

import json
from pathlib import Path

from collectml.tracking import open_store

NAME = "collectml-card_early_stage"
CHAMPION = f"models:/{NAME}@champion"


def command_of(out: object, day: str, model: str = CHAMPION) -> list[object]:
    """The command of one night."""
    return ["score-and-assign", "--accounts", "accounts.parquet", "--out", out, "--as-of", day, "--model", model]


def manifest_of(out: Path) -> dict[str, object]:
    """What the batch says of itself."""
    return json.loads((out / "manifest.json").read_text(encoding="utf-8"))


def runs_of(batch_id: object) -> list[object]:
    """The runs that a batch has in the store."""
    store = open_store()
    return store.client.search_runs([store.experiment_id], f"tags.`collectml.batch_id` = '{batch_id}'")
