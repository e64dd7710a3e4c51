"""What a batch tells about itself, and what it does where the accounts are not as in training."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pandas as pd
import pytest

import collectml as cm
from collectml.errors import ConfigurationError
from collectml.explain import approved_dictionary
from collectml.explain.reasons import SEVERAL, SEVERAL_ZH
from collectml.pipeline.drivers import explainable

DAY = "2026-06-30"


@pytest.fixture(scope="module")
def snapshot(trained) -> pd.DataFrame:
    return pd.read_parquet(trained.accounts).head(1_200)


@pytest.fixture
def assign(trained, run, tmp_path):
    def command(accounts: pd.DataFrame, *options: object):
        accounts.to_parquet(tmp_path / "accounts.parquet", index=False)
        words = ["score-and-assign", "--accounts", tmp_path / "accounts.parquet", "--out", tmp_path / "out", "--as-of", DAY]
        return run(*words, "--model", trained.model, "--log", tmp_path / "log.jsonl", *options)

    return command


def _log(tmp_path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]


def test_the_log_says_stages_rows_seconds_and_memory(assign, snapshot, tmp_path):
    snapshot = snapshot.copy()
    snapshot.loc[snapshot.index[:2], "balance"] = -1.0
    assert assign(snapshot, "--max-rejects", 2).code == 0
    lines = _log(tmp_path)
    assert {"time", "level", "event"} <= set.intersection(*(set(line) for line in lines))
    stages = [line["stage"] for line in lines if line["event"] == "stage"]
    assert stages == ["reading model and strategy", "reading and scoring accounts", "assigning", "checking and writing"]
    done = lines[-1]
    assert (done["event"], done["rows"], done["rejects"]) == ("done", 1_200, 2)
    assert list(done["seconds_by_stage"]) == stages
    assert sum(done["seconds_by_stage"].values()) <= done["seconds"]
    assert done["peak_memory_mib"] > 50
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["rows"] == {"read": 1_200, "assigned": 1_198, "rejected": 2}
    assert manifest["drifted"] == []
    reasons = pd.read_parquet(tmp_path / "out" / "rejects.parquet")["reject_reason"]
    assert reasons.tolist() == ["column 'balance' must be >= 0"] * 2


@pytest.mark.parametrize("fate", ["done", "rejected", "structural", "drifted"])
def test_no_log_holds_personal_data(assign, snapshot, tmp_path, fate):
    personal = "Jane Q. Public +44 20 7946 0958 jane@example.org"
    planted = snapshot.assign(
        full_name=personal, phone=personal, region=personal, account_id="44207946" + snapshot.index.astype(str)
    )
    if fate != "done":
        planted["product"] = personal
    if fate == "rejected":
        planted.loc[planted.index[:5], "balance"] = -1.0
    if fate == "structural":
        planted["balance"] = personal
    result = assign(planted, *(["--quality", "stop"] if fate == "drifted" else []))
    assert result.code == (0 if fate == "done" else 3)
    text = (tmp_path / "log.jsonl").read_text(encoding="utf-8")
    for word in ("Jane", "7946", "example.org"):
        assert word not in text + result.err + result.out
    last = _log(tmp_path)[-1]
    assert (last["event"], last.get("exit_code")) == (("done", None) if fate == "done" else ("failed", 3))


def test_drift_warns_or_stops(assign, snapshot, tmp_path):
    richer = snapshot.assign(income=snapshot["income"] * 5)
    warned = assign(richer)
    assert warned.code == 0
    assert "not as in training: income: PSI" in warned.out
    assert "income" in json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))["drifted"][0]
    assert next(line for line in _log(tmp_path) if line["event"] == "quality")["level"] == "warning"
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    stopped = assign(richer, "--quality", "stop")
    assert stopped.code == 3
    assert stopped.err.startswith("error: accounts: 1 of ")
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_reasons_of_every_action_are_told_in_approved_words_and_verified(assign, run, trained, snapshot, tmp_path):
    out = tmp_path / "out"
    assert assign(snapshot, "--reasons").code == 0
    told, assigned = pd.read_parquet(out / "reasons.parquet"), pd.read_parquet(out / "assignments.parquet")
    acted = assigned.loc[assigned["action"] != "no_action", ["account_id", "action"]]
    assert set(told["account_id"]) == set(acted["account_id"])
    assert told.groupby("account_id")["rank"].agg(lambda r: r.tolist() == list(range(1, len(r) + 1))).all()
    assert told["rank"].max() <= 4
    words = approved_dictionary()
    known = dict(zip(words.texts("en").values(), words.texts("zh-CN").values(), strict=True)) | {SEVERAL: SEVERAL_ZH}
    assert (told["reason"].map(known) == told["reason_zh"]).all()
    # the same as one asks of the model for those accounts and actions
    some = snapshot[snapshot["account_id"].isin(acted["account_id"])]
    action = acted.set_index("account_id")["action"].reindex(some["account_id"]).set_axis(some.index)
    asked = cm.load(trained.model).reasons(some, action, dictionary=words.texts("en"), forbidden=words.forbidden)
    order = ["account_id", "rank"]
    pd.testing.assert_frame_equal(
        told.drop(columns="reason_zh").sort_values(order, ignore_index=True),
        asked.sort_values(order, ignore_index=True),
        check_dtype=False,
    )
    assert run("verify", out).code == 0
    content = bytearray((out / "reasons.parquet").read_bytes())
    content[len(content) // 2] ^= 1
    (out / "reasons.parquet").write_bytes(content)
    changed = run("verify", out)
    assert (changed.code, "reasons.parquet" in changed.err) == (1, True)


def test_a_learner_whose_boosters_cannot_be_explained_is_refused():
    with pytest.raises(ConfigurationError, match="learner 't' has no shared booster of payment to explain; use 'hurdle'"):
        explainable(SimpleNamespace(learner="t", learner_=object()))


def test_a_dry_run_writes_nothing(assign, snapshot, tmp_path):
    result = assign(snapshot, "--dry-run")
    assert (result.code, "nothing was written" in result.out) == (0, True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["accounts.parquet", "log.jsonl"]
