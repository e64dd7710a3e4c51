from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from collectml.data import content_digest


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "n": [1, 2, 3],
            "x": [0.5, np.nan, -0.0],
            "flag": [True, False, True],
            "text": ["a", None, ""],
            "day": pd.to_datetime(["2026-01-01", None, "2026-03-01"]),
        }
    )


def test_golden_value(frame: pd.DataFrame) -> None:
    # lineage is compared across machines and releases: a change here breaks it
    assert content_digest(frame) == "f6b09705cc74e48e94ff6be2fceb8032224aded34e85441f3ae667bde2a98b13"


def test_types_columns_order_and_index_do_not_count(frame: pd.DataFrame) -> None:
    other = frame[frame.columns[::-1]].set_axis([7, 8, 9])
    other = other.astype({"n": "float32", "x": "Float64", "flag": "int64", "text": "category", "day": "datetime64[ns]"})
    assert content_digest(other) == content_digest(frame)
    assert content_digest(frame.astype({"n": object, "flag": object})) == content_digest(frame)
    assert content_digest(frame.assign(x=[0.5, None, 0.0])) == content_digest(frame)


def test_files(frame: pd.DataFrame, tmp_path: Path) -> None:
    frame = frame.drop(columns=["text", "day"]).assign(text=["a", "b", "c"])
    frame.to_csv(tmp_path / "f.csv", index=False)
    frame.to_csv(tmp_path / "f.csv.gz", index=False)
    frame.to_parquet(tmp_path / "f.parquet")
    read = (pd.read_csv(tmp_path / "f.csv"), pd.read_csv(tmp_path / "f.csv.gz"), pd.read_parquet(tmp_path / "f.parquet"))
    assert {content_digest(f) for f in read} == {content_digest(frame)}


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f[::-1],
        lambda f: f.rename(columns={"n": "m"}),
        lambda f: f.assign(n=[1, 2, 4]),
        lambda f: f.assign(x=[0.5, 0.0, 0.0]),
        lambda f: f.assign(text=["a", "", ""]),
        lambda f: f.assign(text=["", None, "a"]),
        lambda f: f.assign(day=f["day"] + pd.Timedelta("1us")),
        lambda f: f.assign(n=["1", "2", "3"]),
        lambda f: f.head(2),
    ],
)
def test_content_counts(frame: pd.DataFrame, change) -> None:  # type: ignore[no-untyped-def]
    assert content_digest(change(frame)) != content_digest(frame)


def test_large_whole_numbers_are_told_apart() -> None:
    assert content_digest(pd.DataFrame({"id": [2**60]})) != content_digest(pd.DataFrame({"id": [2**60 + 1]}))
