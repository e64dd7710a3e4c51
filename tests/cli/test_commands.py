"""The commands as a batch job and a manager meet them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from collectml.data import TABLES, validate

DAY = "2026-06-30"


def test_help_lists_the_commands_and_exit_codes(run):
    result = run("--help")
    assert result.code == 0
    for word in ("demo", "simulate", "train", "score-and-assign", "report", "4 no assignment can satisfy the limits"):
        assert word in result.out


def test_help_starts_no_heavy_library():
    code = (
        "import sys; from collectml.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'mlflow', 'shap', 'optuna', 'lightgbm', 'sklearn', 'pandas', 'pandera', 'pyspark', 'matplotlib'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_version(run):
    import collectml

    assert collectml.__version__ in run("--version").out


def test_simulate_writes_tables_that_keep_their_contract(run, tmp_path):
    result = run("simulate", "--accounts", 500, "--out", tmp_path / "a", "--seed", 3, "--logging", "confounded")
    assert result.code == 0
    assert run("simulate", "--accounts", 500, "--out", tmp_path / "b", "--seed", 3, "--logging", "confounded").code == 0
    for name in TABLES:
        table = pd.read_parquet(tmp_path / "a" / f"{name}.parquet")
        validate(table, name)
        pd.testing.assert_frame_equal(table, pd.read_parquet(tmp_path / "b" / f"{name}.parquet"))
    truth = pd.read_parquet(tmp_path / "a" / "truth.parquet")
    assert truth.shape == (500, 9)


def test_train_says_what_it_is_worth_and_where_everything_is(trained):
    for word in ("What it is worth", "against today's policy", "alias champion", "MLflow run", "DR", "SNIPS"):
        assert word in trained.output
    assert (trained.root / "data" / "mlflow.db").is_file()
    assert (trained.root / "data" / "card_early_stage" / "report.html").is_file()


@pytest.fixture(scope="module")
def assigned(trained, tmp_path_factory):
    """Run twice in processes of their own, with different hash seeds: the same inputs must give the same bytes."""
    folders = []
    for seed in ("1", "2"):
        out = tmp_path_factory.mktemp("assigned") / "out"
        done = subprocess.run(
            [
                sys.executable, "-m", "collectml", "score-and-assign", "--accounts", trained.accounts, "--out", out,
                "--as-of", DAY, "--model", trained.model, "--capacity", trained.capacity,
            ],
            capture_output=True, text=True, check=False, env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": seed},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert "What each limit costs" in done.stdout
        folders.append(out)
    return folders


def test_the_same_inputs_give_the_same_bytes(assigned):
    first, second = ({p.name: p.read_bytes() for p in folder.iterdir()} for folder in assigned)
    assert first == second
    assert sorted(first) == ["assignments.parquet", "manifest.json", "summary.json"]


def test_summary_and_assignments_reconcile(assigned, trained):
    frame = pd.read_parquet(assigned[0] / "assignments.parquet")
    summary = json.loads((assigned[0] / "summary.json").read_text(encoding="utf-8"))
    accounts = pd.read_parquet(trained.accounts)
    assert frame["account_id"].tolist() == accounts["account_id"].tolist()
    assert summary["accounts"] == len(frame) == sum(row["accounts"] for row in summary["actions"])
    assert summary["value"] == pytest.approx(frame["value"].sum())
    assert {row["action"]: row["accounts"] for row in summary["actions"] if row["accounts"]} == frame[
        "action"
    ].value_counts().to_dict()
    assert sum(summary["grades"].values()) == len(frame)
    assert set(frame["risk_grade"]) <= set("ABCD")
    for limit in summary["limits"]:
        assert limit["upper"] is None or limit["used"] <= limit["upper"] * (1 + 1e-9) + 1e-9
    letters = {"letter", "settlement_offer"}
    used = {limit["limit"]: limit["used"] for limit in summary["limits"]}
    assert used["letters"] == frame["action"].isin(letters).sum()


def test_nobody_is_contacted_whom_the_conditions_protect(assigned, trained):
    frame = pd.read_parquet(assigned[0] / "assignments.parquet").set_index("account_id")
    accounts = pd.read_parquet(trained.accounts).set_index("account_id")
    flags = [
        "deceased", "bankruptcy", "cease", "attorney", "dispute", "breathing_space", "complaint_open", "vulnerable", "fraud",
    ]  # fmt: skip
    assert accounts[flags].any(axis="columns").sum() > 100
    assert (frame.loc[accounts[flags].any(axis="columns"), "action"] == "no_action").all()
    calls = frame["action"].isin(["soft_call", "firm_call", "payment_plan"])
    assert accounts.loc[calls, ["consent_call", "has_phone"]].all(axis=None)
    assert not accounts.loc[calls, "optout_call"].any()


def test_manifest_names_versions_and_hashes(assigned, trained):
    import hashlib

    manifest = json.loads((assigned[0] / "manifest.json").read_text(encoding="utf-8"))
    digest = hashlib.sha256(trained.accounts.read_bytes()).hexdigest()
    assert manifest["inputs"]["accounts"] == {"accounts.parquet": digest}
    for name, expected in manifest["outputs"].items():
        assert hashlib.sha256((assigned[0] / name).read_bytes()).hexdigest() == expected
    text = json.dumps(manifest)
    assert "card-holdout-2026" not in text  # who knows the salts knows who is held out
    assert str(trained.root) not in text


def test_dry_run_writes_nothing(run, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(
        "score-and-assign", "--accounts", trained.accounts, "--out", tmp_path / "out", "--as-of", DAY, "--model", trained.model,
        "--dry-run",
    )  # fmt: skip
    assert result.code == 0
    assert "nothing was written" in result.out
    assert list(tmp_path.iterdir()) == []


def test_a_folder_and_a_csv_are_read_alike(run, trained, tmp_path):
    accounts = pd.read_parquet(trained.accounts)
    (tmp_path / "parts").mkdir()
    accounts.iloc[:2500].to_parquet(tmp_path / "parts" / "a.parquet", index=False)
    accounts.iloc[2500:].to_parquet(tmp_path / "parts" / "b.parquet", index=False)
    accounts.to_csv(tmp_path / "accounts.csv", index=False)
    frames = []
    for source in (trained.accounts, tmp_path / "parts", tmp_path / "accounts.csv"):
        out = tmp_path / "out"
        result = run("score-and-assign", "--accounts", source, "--out", out, "--as-of", DAY, "--model", trained.model)
        assert result.code == 0, result.err
        frames.append(pd.read_parquet(out / "assignments.parquet"))
    pd.testing.assert_frame_equal(frames[0], frames[1])
    pd.testing.assert_series_equal(frames[0]["action"], frames[2]["action"])


def test_the_registered_champion_assigns_like_the_folder(run, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(trained.root)  # where the tracking store is
    for name, model in (("a", trained.model), ("b", "models:/collectml-card_early_stage@champion")):
        words = ("--accounts", trained.accounts, "--out", tmp_path / name, "--as-of", DAY, "--model", model)
        assert run("score-and-assign", *words).code == 0
    assert (tmp_path / "a" / "assignments.parquet").read_bytes() == (tmp_path / "b" / "assignments.parquet").read_bytes()
    words = (
        "--accounts",
        trained.accounts,
        "--out",
        tmp_path / "c",
        "--as-of",
        DAY,
        "--model",
        "models:/collectml-absent@champion",
    )
    assert run("score-and-assign", *words).code == 2


def test_report_is_one_page_that_asks_nothing_of_the_outside(run, trained, tmp_path):
    out = tmp_path / "committee.html"
    words = ("--model", trained.model, "--accounts", trained.accounts, "--as-of", DAY, "--capacity", trained.capacity)
    assert run("report", *words, "--out", out).code == 0
    page = out.read_text(encoding="utf-8")
    assert "<script" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "src=" not in page
    assert sorted(p.name for p in tmp_path.iterdir()) == ["committee.html", "committee.json"]


@pytest.mark.slow
@pytest.mark.usefixtures("home")
def test_own_log_from_files(run, trained):
    """The way of a newcomer with data of their own: logs as Parquet, an experiment file, train, assign."""
    import yaml

    assert run("simulate", "--accounts", 4000, "--out", "book", "--seed", 5).code == 0
    content = yaml.safe_load(trained.config.read_text(encoding="utf-8"))
    content["name"] = "own"
    content["data"] = {
        "source": "files", "decisions": "book/decisions.parquet", "contacts": "book/contacts.parquet",
        "accounts": "book/accounts.parquet",
    }  # fmt: skip
    Path("own.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    result = run("train", "--config", "own.yaml", "--out", "trained")
    assert result.code == 0, result.err
    assert "true" not in result.out  # real logs know no truth
    words = ("--accounts", "book/accounts.parquet", "--capacity", "book/capacity.parquet", "--as-of", DAY)
    assert run("score-and-assign", *words, "--out", "tonight", "--model", "trained/model").code == 0
    assert len(pd.read_parquet("tonight/assignments.parquet")) == 4000


def test_demo(run, home):
    result = run("demo", "--accounts", 2000, "--out", "demo")
    assert result.code == 0, result.err
    for word in ("What was assigned", "What each limit costs", "against the rules", "perfect foresight", "Report", "MLflow"):
        assert word in result.out
    for path in ("demo/report.html", "demo/assignments/assignments.parquet", "data/mlflow.db"):
        assert (home / path).is_file()
