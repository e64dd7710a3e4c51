from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from collectml.data import (
    DecisionLog,
    hillstrom_decisions,
    load_hillstrom,
    load_taiwan_default,
    public,
    taiwan_accounts,
)
from collectml.errors import ConfigurationError, SchemaError

ARMS = ("no_action", "mens_email", "womens_email")


@pytest.mark.parametrize(("load", "publisher"), [(load_hillstrom, "MineThatData"), (load_taiwan_default, "UCI")])
def test_missing_data_says_where_to_obtain_it(load, publisher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.delenv("COLLECTML_DATA", raising=False)
    with pytest.raises(ConfigurationError, match=rf"COLLECTML_DATA.*{publisher}"):
        load()
    with pytest.raises(ConfigurationError, match=publisher):
        load(tmp_path)
    monkeypatch.setenv("COLLECTML_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationError, match="nowhere"):
        load()


def test_other_content_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"spend": [1.0], "name": ["Jane Public"]}).to_csv(tmp_path / "hillstrom.csv", index=False)
    (tmp_path / "hillstrom.parquet").write_text("no Parquet at all, Jane Public")
    with pytest.raises(SchemaError, match=r"hillstrom.csv, hillstrom.parquet .*digest") as caught:
        load_hillstrom(tmp_path)
    assert "Jane" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "parquet"])
@pytest.mark.parametrize("subfolder", ["hillstrom", ""])
def test_each_format_and_place_is_found(
    suffix: str, subfolder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = pd.DataFrame({"spend": [0.1, 29.99, 0.0], "segment": ["a", "b", "c"], "recency": [1, 2, 3]})
    spec = public._Dataset("title", "publisher", "hillstrom", ("hillstrom",), public.content_digest(made))
    monkeypatch.setattr(public, "_HILLSTROM", spec)
    path = tmp_path / subfolder / f"Hillstrom_2008.{suffix}"
    path.parent.mkdir(exist_ok=True)
    if suffix == "parquet":
        made[made.columns[::-1]].to_parquet(path)
    else:
        made.to_csv(path, index=False)
    pd.testing.assert_frame_equal(load_hillstrom(tmp_path)[made.columns], made)


@pytest.mark.real_data
def test_hillstrom_as_published(data_folder: Path) -> None:
    frame = load_hillstrom(data_folder)
    assert frame.shape == (64_000, 12)
    means = frame.groupby("segment")[["visit", "conversion", "spend"]].mean()
    # the challenge's published arm means
    assert means.loc["No E-Mail"].tolist() == pytest.approx([0.10617, 0.00573, 0.6528], abs=6e-5)
    assert means.loc["Mens E-Mail"].tolist() == pytest.approx([0.18276, 0.01253, 1.4226], abs=6e-5)
    assert means.loc["Womens E-Mail"].tolist() == pytest.approx([0.15140, 0.00884, 1.0772], abs=6e-5)


@pytest.mark.real_data
def test_hillstrom_as_parquet_and_plain_csv_is_the_same(data_folder: Path, tmp_path: Path) -> None:
    frame = load_hillstrom(data_folder)
    frame[frame.columns[::-1]].to_parquet(tmp_path / "hillstrom.parquet")
    assert len(load_hillstrom(tmp_path)) == 64_000
    (tmp_path / "hillstrom.parquet").unlink()
    frame.to_csv(tmp_path / "hillstrom.csv", index=False)
    pd.testing.assert_frame_equal(load_hillstrom(tmp_path), frame)
    frame.iloc[::-1].to_csv(tmp_path / "hillstrom.csv", index=False)
    with pytest.raises(SchemaError):
        load_hillstrom(tmp_path)


@pytest.mark.real_data
def test_hillstrom_as_a_decision_log(data_folder: Path) -> None:
    frame = hillstrom_decisions(data_folder)
    log = DecisionLog(frame, actions=ARMS, horizon_days=14)
    assert len(log) == 64_000
    assert log.X.columns.tolist() == [
        "recency", "history_segment", "history", "mens", "womens", "zip_code", "newbie", "channel",
    ]  # fmt: skip
    assert log.support()["rows"].to_dict() == {"no_action": 21_306, "mens_email": 21_307, "womens_email": 21_387}
    assert log.paid.sum() == load_hillstrom(data_folder)["conversion"].sum() == 578
    assert log.recovered.groupby(log.action).mean()["mens_email"] == pytest.approx(1.4226, abs=6e-5)


@pytest.mark.real_data
def test_taiwan_as_published(data_folder: Path) -> None:
    frame = load_taiwan_default(data_folder)
    assert frame.shape == (30_000, 25)
    assert frame["default.payment.next.month"].mean() == pytest.approx(0.2212)
    assert frame["LIMIT_BAL"].mean() == pytest.approx(167_484.3, abs=0.05)


@pytest.mark.real_data
def test_taiwan_accounts(data_folder: Path) -> None:
    X, y = taiwan_accounts(data_folder)
    raw = load_taiwan_default(data_folder)
    assert X.shape == (30_000, 23)
    assert X.index.equals(y.index)
    assert X.index.is_unique
    assert (y.to_numpy() == 1 - raw["default.payment.next.month"].to_numpy()).all()
    assert y.mean() == pytest.approx(0.7788)
    assert {"ID", "default.payment.next.month"}.isdisjoint(X.columns)
    assert X["SEX"].value_counts().to_dict() == {"female": 18_112, "male": 11_888, "unknown": 0}
    assert (X["EDUCATION"] == "unknown").sum() == raw["EDUCATION"].isin([0, 5, 6]).sum() == 345
    assert (X["MARRIAGE"] == "unknown").sum() == 54
