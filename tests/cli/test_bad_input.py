"""Bad input: one line that says what is wrong, the documented exit code, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

DAY = "2026-06-30"


@pytest.fixture
def snapshot(trained) -> pd.DataFrame:
    return pd.read_parquet(trained.accounts)


@pytest.fixture
def assign(trained, run, tmp_path, monkeypatch) -> Callable[..., object]:
    """Run score-and-assign on a frame or file; assert that a failure leaves nothing behind."""
    monkeypatch.chdir(trained.root)

    def command(accounts: pd.DataFrame | Path, *options: object, as_of: str = DAY):
        source = accounts
        if isinstance(accounts, pd.DataFrame):
            source = tmp_path / "accounts.parquet"
            accounts.to_parquet(source, index=False)
        before = sorted(tmp_path.iterdir())
        result = run(
            "score-and-assign", "--accounts", source, "--out", tmp_path / "out", "--as-of", as_of, "--model", trained.model,
            *options,
        )  # fmt: skip
        if result.code:
            assert sorted(tmp_path.iterdir()) == before
            assert result.err.startswith("error: ")
            assert "Traceback" not in result.err
        return result

    return command


def test_missing_column_is_structural(assign, snapshot):
    result = assign(snapshot.drop(columns=["balance", "days_past_due"]))
    assert result.code == 3
    assert "balance" in result.err
    assert "days_past_due" in result.err


def test_wrong_type(assign, snapshot):
    result = assign(snapshot.assign(balance="Jane Public, 0171 555 0199"))
    assert result.code == 3
    assert "balance" in result.err
    assert "Jane" not in result.err
    assert "555" not in result.err


def test_duplicate_ids_are_structural_whatever_may_be_rejected(assign, snapshot):
    doubled = pd.concat([snapshot, snapshot.head(3)])
    result = assign(doubled, "--max-rejects", 100)
    assert result.code == 3
    assert "unique" in result.err


def test_row_faults_are_counted_and_named_all_at_once(assign, snapshot):
    snapshot.loc[[1, 2], "balance"] = -5.0
    snapshot.loc[[7], "days_past_due"] = -1
    result = assign(snapshot)
    assert result.code == 3
    assert "3 of 6,000 rows" in result.err
    assert "balance" in result.err
    assert "days_past_due" in result.err


def test_rejects_are_written_up_to_the_number_allowed(assign, snapshot, tmp_path):
    snapshot.loc[[1, 2], "balance"] = -5.0
    result = assign(snapshot, "--max-rejects", 2)
    assert result.code == 0, result.err
    rejects = pd.read_parquet(tmp_path / "out" / "rejects.parquet")
    assigned = pd.read_parquet(tmp_path / "out" / "assignments.parquet")
    assert rejects["account_id"].tolist() == snapshot.loc[[1, 2], "account_id"].tolist()
    assert rejects["reject_reason"].str.contains("balance").all()
    assert set(assigned["account_id"]) == set(snapshot["account_id"]) - set(rejects["account_id"])
    assert "2 rows were rejected" in result.out


def test_one_reject_too_many(assign, snapshot):
    snapshot.loc[[1, 2], "balance"] = -5.0
    assert assign(snapshot, "--max-rejects", 1).code == 3


def test_unknown_committed_action(assign, snapshot):
    snapshot.loc[4, "committed_action"] = "fax"
    snapshot.loc[4, "committed_until"] = pd.Timestamp("2026-08-01")
    result = assign(snapshot)
    assert result.code == 3
    assert "committed_action" in result.err


def test_no_rows(assign, snapshot):
    result = assign(snapshot.head(0))
    assert result.code == 3
    assert "no rows" in result.err or "empty" in result.err


@pytest.mark.parametrize(("content", "said"), [(b"", "is empty"), (b"no Parquet at all, Jane Public", "Parquet")])
def test_what_is_no_parquet_file(assign, tmp_path, content, said):
    path = tmp_path / "accounts.parquet"
    path.write_bytes(content)
    result = assign(path)
    assert result.code == 3
    assert "Jane" not in result.err
    assert said in result.err


def test_no_such_file(assign, tmp_path):
    result = assign(tmp_path / "absent.parquet")
    assert result.code in {2, 3}
    assert "absent.parquet" in result.err


def test_no_such_model(run, trained, tmp_path):
    result = run(
        "score-and-assign", "--accounts", trained.accounts, "--out", tmp_path / "o", "--as-of", DAY, "--model", "nowhere"
    )
    assert (result.code, list(tmp_path.iterdir())) == (2, [])


def test_a_model_that_was_tampered_with(run, trained, tmp_path):
    import shutil

    shutil.copytree(trained.model, tmp_path / "model")
    strategy = tmp_path / "model" / "strategy.json"
    strategy.write_text(strategy.read_text(encoding="utf-8").replace("dispute", "disputf"), encoding="utf-8")
    result = run(
        "score-and-assign",
        "--accounts",
        trained.accounts,
        "--out",
        tmp_path / "o",
        "--as-of",
        DAY,
        "--model",
        tmp_path / "model",
    )
    assert result.code == 1
    assert "strategy.json was altered" in result.err
    assert not (tmp_path / "o").exists()


def test_no_date(assign, snapshot):
    result = assign(snapshot, as_of="tomorrow")
    assert result.code == 2
    assert "YYYY-MM-DD" in result.err


def _strategy(trained, tmp_path, change):
    content = yaml.safe_load(trained.strategy.read_text(encoding="utf-8"))
    change(content)
    folder = tmp_path.parent / f"{tmp_path.name}_config"
    folder.mkdir(exist_ok=True)
    path = folder / "strategy.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_typo_in_the_strategy_names_the_nearest_key(assign, trained, snapshot, tmp_path):
    path = _strategy(trained, tmp_path, lambda c: c["limits"][0].update(uper=c["limits"][0].pop("upper")))
    result = assign(snapshot, "--strategy", path)
    assert result.code == 2
    assert "uper" in result.err
    assert "upper" in result.err


def test_broken_yaml(assign, trained, snapshot, tmp_path):
    path = _strategy(trained, tmp_path, lambda c: None)
    path.write_text("name: [unclosed", encoding="utf-8")
    assert assign(snapshot, "--strategy", path).code == 2


def test_unknown_action_in_the_strategy(assign, trained, snapshot, tmp_path):
    path = _strategy(trained, tmp_path, lambda c: c["limits"][3].update(actions=["settlement_ofer"]))
    result = assign(snapshot, "--strategy", path)
    assert result.code == 2
    assert "settlement_ofer" in result.err
    assert "settlement_offer" in result.err


def test_limits_that_cannot_hold(assign, trained, snapshot, tmp_path):
    def change(content):
        content["limits"] = [
            {"name": "many_calls", "kind": "share", "actions": ["soft_call"], "lower": 0.5},
            {"name": "few_minutes", "kind": "capacity", "unit": "minutes", "channels": ["call"], "upper": 10},
        ]
        content["exploration"] = {"share": 0}
        content["holdout"] = {"share": 0}

    result = assign(snapshot, "--strategy", _strategy(trained, tmp_path, change))
    assert result.code == 4
    assert "many_calls" in result.err


def test_another_holdout_salt_is_refused_without_the_flag(assign, trained, snapshot, tmp_path):
    path = _strategy(trained, tmp_path, lambda c: c["salts"].update(holdout="s3cret-salt"))
    result = assign(snapshot, "--strategy", path)
    assert result.code == 2
    assert "salt" in result.err
    assert "s3cret" not in result.err
    assert assign(snapshot, "--strategy", path, "--allow-new-holdout").code == 0


def test_capacity_with_faults_or_for_another_month(assign, trained, snapshot, tmp_path):
    calendar = pd.read_parquet(trained.capacity)
    folder = tmp_path.parent / f"{tmp_path.name}_calendar"
    folder.mkdir()
    calendar.assign(capacity=-1.0).to_parquet(folder / "negative.parquet", index=False)
    assert assign(snapshot, "--capacity", folder / "negative.parquet").code == 3
    result = assign(snapshot, "--capacity", trained.capacity, as_of="2020-01-01")
    assert result.code in {2, 3}
    assert "covers" in result.err


def test_personal_data_is_never_shown(assign, snapshot):
    """Names, phones and addresses planted in every text field and in columns of their own: none reaches the screen."""
    personal = "Jane Q. Public +44 20 7946 0958 jane@example.org"
    planted = snapshot.assign(full_name=personal, phone=personal)
    planted["product"] = personal
    planted["region"] = personal
    planted["balance"] = np.where(np.arange(len(planted)) < 5, -1.0, planted["balance"])
    result = assign(planted)
    assert result.code == 3
    for word in ("Jane", "7946", "example.org"):
        assert word not in result.err
        assert word not in result.out


@pytest.mark.parametrize(
    "words",
    [
        ("score-and-assign",),
        ("nonsense",),
        ("train", "--confg", "x.yaml"),
        ("simulate", "--accounts", "0", "--out", "x"),
        ("simulate", "--accounts", "many", "--out", "x"),
    ],
)
def test_usage_errors_end_with_2(run, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*words).code == 2
    assert list(tmp_path.iterdir()) == []


def test_experiment_files_with_faults(run, tmp_path, monkeypatch, trained):
    monkeypatch.chdir(tmp_path)
    assert run("train", "--config", "absent.yaml").code == 2
    text = trained.config.read_text(encoding="utf-8")
    (tmp_path / "x.yaml").write_text(text.replace("learner:", "lerner:"), encoding="utf-8")
    result = run("train", "--config", "x.yaml")
    assert result.code == 2
    assert "learner" in result.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.yaml"]


def test_a_tracking_server_that_is_away_is_said_within_seconds(run, tmp_path, monkeypatch, trained):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    result = run("train", "--config", trained.config)
    assert result.code == 5
    assert "127.0.0.1" in result.err
    assert "secret" not in result.err
    assert list(tmp_path.iterdir()) == []
