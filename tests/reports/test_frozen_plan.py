"""What a later monitoring report is held against: read back from the report's file, every figure follows from its source."""

from __future__ import annotations

import copy
import json

import numpy as np
import pandas as pd
import pytest

from collectml.data.digest import content_digest
from collectml.data.profile import feature_profile
from collectml.reports.frozen import plan_digest
from collectml.reports.printed import printed_checks


@pytest.fixture(scope="module")
def profile() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"balance": rng.lognormal(6, 1, 2_000), "product": rng.choice(["card", "loan"], 2_000)})
    table.loc[:99, "balance"] = np.nan
    return feature_profile(table)


@pytest.fixture
def written(complete, profile, tmp_path):
    """The report's file, and the plan in it."""
    complete.model.evidence.tables["profile"] = profile
    effects = complete.model.evidence.tables["effects"]
    complete.model.evidence.tables["effects"] = effects.assign(
        complaints_per_1000=effects["action"].map({"no_action": 0.0, "sms": 1.5, "call": 4.0})
    )
    complete.to_json(tmp_path / "report.json")
    return json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))


def test_every_figure_follows_from_its_source(written, complete):
    plan, frame = written["monitoring"], complete.assignment.frame()
    assert plan_digest(plan) == plan["digest"]
    metrics = {m["metric"]: m for m in plan["metrics"]}
    scores = complete.model.evidence.tables["scores"]
    calibration = metrics["calibration"]
    assert calibration["observed"] == pytest.approx(scores["paid"].sum() / scores["predicted"].sum())
    assert calibration["low"] < calibration["observed"] < calibration["high"]
    assert (calibration["predicted"], calibration["below"], calibration["above"], calibration["n"]) == (1, 0.9, 1.1, 600)
    gain, row = metrics["gain over the hold-out"], complete.model.evidence.tables["policy_value"].query("estimator == 'dr'")
    row = row[row["baseline"] == "no_action for all"].iloc[0]
    acted = frame[frame["reason"] != "hold-out"]
    assert gain["predicted"] == pytest.approx((acted["value"] - acted["value_no_action"]).mean())
    assert [gain[k] for k in ("observed", "low", "high")] == row[
        ["difference", "difference_low", "difference_high"]
    ].tolist()
    assert gain["below"] == 0
    counts = frame["action"].value_counts()
    complaints = metrics["complaints per 1,000 contacts"]
    assert complaints["n"] == counts["sms"] + counts["call"]
    assert complaints["predicted"] == pytest.approx((1.5 * counts["sms"] + 4 * counts["call"]) / complaints["n"])
    assert complaints["above"] == pytest.approx(
        complaints["predicted"] + 3 * np.sqrt(complaints["predicted"] * 1000 / complaints["n"])
    )
    for limit in complete.assignment.limits().itertuples():
        kept = metrics[f"limit: {limit.limit}"]
        assert kept["predicted"] == pytest.approx(limit.used)
        assert (kept["above"], kept["below"]) == tuple(b if np.isfinite(b) else None for b in (limit.upper, limit.lower))
    assert plan["assigned"] == counts.reindex(["no_action", "sms", "call"], fill_value=0).to_dict()
    assert metrics["drift of fields"]["above"] == 0.25


def test_the_digests_are_those_of_what_a_monitoring_report_will_read(written, complete, profile, tmp_path):
    digests = written["monitoring"]["digests"]
    # as a saved model gives the frozen bins back
    profile.to_parquet(tmp_path / "profile.parquet")
    assert digests["profile"] == content_digest(pd.read_parquet(tmp_path / "profile.parquet"))
    assert digests["profile"] != content_digest(profile.assign(rows=profile["rows"] + 1))
    assert digests["scores"] == content_digest(complete.model.evidence.tables["scores"])
    assert (digests["assignment"], digests["log"]) == (written["assignment_digest"], written["digest_of_log"])


def _failed(payload) -> list[str]:
    return [c["identity"] for c in printed_checks(payload) if not c["holds"]]


def test_a_threshold_an_expectation_or_an_assignment_that_was_altered_is_found(written):
    assert _failed(written) == []
    altered = copy.deepcopy(written)
    altered["monitoring"]["metrics"][0]["above"] = 2.0
    assert len(_failed(altered)) == 2
    altered["monitoring"]["digest"] = plan_digest(altered["monitoring"])  # whoever alters it may digest it anew
    assert _failed(altered) == ["what is printed of the metrics watched is what the payload keeps for later reports"]
    other = copy.deepcopy(written)
    other["monitoring"]["assigned"]["sms"] += 1
    other["monitoring"]["digest"] = plan_digest(other["monitoring"])
    assert _failed(other) == ["the frozen plan is about this assignment, and its digest its own"]


def test_what_is_not_known_is_not_made_up(complete):
    for name in ("scores", "policy_value", "calibration", "uplift_tenths", "arms", "stages"):
        complete.model.evidence.tables.pop(name, None)
    complete.model.evidence.facts["policy_value"] = {"refused": "the log holds no logging propensities"}
    complete.model.evidence.facts["assessment"].pop("ranking", None)
    metrics = {m["metric"]: m for m in complete.payload()["monitoring"]["metrics"]}
    assert all(metrics["calibration"][k] is None for k in ("observed", "low", "high", "n"))
    assert all(metrics["gain over the hold-out"][k] is None for k in ("observed", "low", "high", "n"))
