"""The page: one file that loads nothing, can be read by everybody, says no more than is known, and is the same each time."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import pandas as pd
import pytest

import collectml as cm
from collectml.policy import TreatmentPolicy
from collectml.reports import BrokenIdentityError, CommitteeReport, charts, payload_digest, printed_checks
from collectml.reports.render import to_html


@pytest.fixture(scope="module")
def trained_page(trained, tmp_path_factory, read):
    model, accounts = cm.load(trained.model), pd.read_parquet(trained.accounts)
    assignment = model.assign(accounts, capacity=pd.read_parquet(trained.capacity))
    path = CommitteeReport(model, assignment, accounts=accounts).to_html(tmp_path_factory.mktemp("report") / "r.html")
    return read(path.read_text(encoding="utf-8"))


@pytest.fixture
def page(model, assignment, accounts, tmp_path, read):
    path = CommitteeReport(model, assignment, accounts=accounts).to_html(tmp_path / "report.html")
    return read(path.read_text(encoding="utf-8"))


@pytest.fixture(params=["by hand", "trained"])
def either(request):
    return request.getfixturevalue("page" if request.param == "by hand" else "trained_page")


def test_it_is_one_file_that_loads_nothing(either):
    either.assert_self_contained()
    assert "http" not in either.html
    assert "javascript:" not in either.html.lower()
    assert 20_000 < len(either.html.encode()) < 400_000
    assert either.html.startswith('<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">')


def test_headings_are_in_order(either):
    levels = [int(n.tag[1]) for n in either.all("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))
    assert [n.text.split(" ", 1)[0] for n in either.all("h2")] == [f"R{i}" for i in range(15)]


def test_ids_are_unique_and_every_reference_meets_one(either):
    ids = [n.attributes["id"] for n in either.nodes if "id" in n.attributes]
    assert len(ids) == len(set(ids))
    used = [n.attributes[a].split() for n in either.nodes for a in ("aria-labelledby",) if a in n.attributes]
    used += [[n.attributes["href"][1:]] for n in either.nodes if "href" in n.attributes]
    used += [re.findall(r"url\(#([\w-]+)\)", " ".join(n.attributes.values())) for n in either.nodes]
    assert {i for found in used for i in found} <= set(ids)


def test_every_drawing_has_a_name_and_a_description(either):
    drawings = either.all("svg")
    assert len(drawings) == len(either.all("figcaption")) >= 5
    by_id = {n.attributes["id"]: n for n in either.nodes if "id" in n.attributes}
    for drawing, caption in zip(drawings, either.all("figcaption"), strict=True):
        assert drawing.attributes["role"] == "img"
        title, description = (by_id[i] for i in drawing.attributes["aria-labelledby"].split())
        assert (title.tag, description.tag) == ("title", "desc")
        assert title.text == caption.text
        assert len(description.text) > 20


def test_every_table_has_a_caption_and_headers(either):
    assert len(either.tables) >= 8
    for table in either.tables:
        assert table.caption
        assert all(table.headers)
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.headers)}
        assert all(cell for row in table.rows for cell in row)
    assert {n.attributes.get("scope") for n in either.all("th")} == {"col"}


def test_what_is_printed_reconciles(page, assignment, strategy):
    frame = assignment.frame()
    actions = page.table("Actions")
    accounts = [int(c.replace(",", "")) for c in actions.column("Accounts")]
    assert dict(zip(actions.column("Action"), accounts, strict=True)) == {
        a: int((frame["action"] == a).sum()) for a in strategy.action_names
    }
    value = [float(c.replace(",", "")) for c in actions.column("Expected net value, EUR")]
    assert abs(sum(value) - frame["value"].sum()) <= 0.5 * len(value)
    limits = page.table("Limits")
    used = dict(zip(limits.column("Limit"), limits.column("Used"), strict=True))
    assert float(used["calls"]) == (frame["action"] == "call").sum()
    assert float(used["texts"]) == (frame["action"] == "sms").sum()
    assert limits.column("At most")[:2] == ["60", "500"]
    assert limits.column("At least") == ["–", "–", "80"]
    price = dict(zip(limits.column("Limit"), limits.column("Shadow price, EUR per unit"), strict=True))
    assert float(price["calls"]) == pytest.approx(assignment.shadow_prices["calls"], abs=0.005)
    denied = page.table("Conditions: accounts each one denies (an account may be denied by several)")
    assert denied.rows == [["dispute", "not dispute", "until it is verified", "40", "none"]]
    reasons = page.table("Why each account has its action").column("Accounts")
    assert sum(map(int, reasons)) == len(frame)
    assert "400 accounts were decided. 360 may be contacted in at least one way; 40 may not be contacted" in page.visible


def test_the_decision_sheet_says_what_the_tables_say(page):
    assert "Recommendation: approve" in page.visible
    assert "31.00 EUR" in page.visible
    assert re.search(r"3\.00 EUR.{0,60}what was done \(95.% interval 1\.00 to 5\.00\)", page.visible)
    assert "DRAFT" in page.visible
    value = page.table("Value by comparison and estimator")
    assert value.rows[0][:6] == ["today's policy (as logged)", "doubly robust", "31.00", "28.00", "3.00", "1.00 … 5.00"]
    assert "Against no_action for all: unreliable difference: one customer holds 37% of its variance." in page.visible


def test_no_paragraph_is_cut_short(either):
    assert not [n.text for n in either.all("p") if n.text.rstrip().endswith("…")]


def test_the_same_input_gives_the_same_bytes(model, assignment, tmp_path):
    import matplotlib as mpl

    report = CommitteeReport(model, assignment)
    first = report.to_html(tmp_path / "a.html").read_bytes()
    charts._draw.cache_clear()
    with mpl.rc_context({"axes.facecolor": "black", "lines.linewidth": 9, "font.size": 30, "svg.hashsalt": None}):
        assert CommitteeReport(model, assignment).to_html(tmp_path / "b.html").read_bytes() == first
    assert to_html(json.loads(json.dumps(report.payload()))).encode() == first


def test_another_process_gives_the_same_bytes(model, assignment, tmp_path):
    payload = CommitteeReport(model, assignment).payload()
    (tmp_path / "payload.json").write_text(json.dumps(payload), encoding="utf-8")
    code = (
        "import hashlib, json, sys\nfrom collectml.reports.render import to_html\n"
        "page = to_html(json.load(open(sys.argv[1], encoding='utf-8')))\nprint(hashlib.sha256(page.encode()).hexdigest())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "payload.json")],
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == hashlib.sha256(to_html(payload).encode()).hexdigest()


def test_nothing_about_a_person_reaches_the_page(page, accounts):
    for column in ("account_id", "customer_id", "name", "phone", "email"):
        assert not [v for v in accounts[column] if v in page.html], column


def test_no_account_of_a_trained_strategy_reaches_the_page(trained_page, trained):
    accounts = pd.read_parquet(trained.accounts, columns=["account_id", "customer_id"])
    words = set(re.findall(r"\w+", trained_page.visible))
    for column in accounts:
        ids = {str(v) for v in accounts[column]}
        assert min(map(len, ids)) >= 6, "ids as short as a count cannot be told from one"
        assert not ids & words


def test_the_report_of_a_run_names_the_data_the_run_read_and_is_anchored_in_it(trained):
    from mlflow import MlflowClient

    payload = json.loads((trained.model.parent / "report.json").read_text(encoding="utf-8"))
    client = MlflowClient(f"sqlite:///{trained.root / 'data' / 'mlflow.db'}")
    experiments = [e.experiment_id for e in client.search_experiments()]
    (run,) = client.search_runs(experiments, "tags.report_payload_sha256 != ''")
    assert run.data.tags["report_payload_sha256"] == payload_digest(payload)
    assert payload["digest_of_log"] == run.data.tags["data_digest"]
    assert run.inputs.dataset_inputs[0].dataset.digest == payload["digest_of_log"][:36]
    assert not [c for c in printed_checks(payload) if not c["holds"]]
    steps = next(
        t for s in payload["sections"] if s["id"] == "data" for t in s["tables"] if t["caption"].startswith("From the")
    )
    assert steps["rows"][0]["decisions"] == 6_000  # every row of the simulated log


MISSING = {
    "policy_value": (["Value by comparison and estimator"], "The value of the policy is not known: it was not evaluated"),
    "calibration": (
        ["Propensity to pay on customers kept out, by tenth of the prediction"],
        "Calibration: not computed, the evidence saved with the model holds no table of it",
    ),
    "effects": (
        [
            "What each action is expected to change on average, against the control",
            "What is left of each action's mean net value if it brings less than estimated",
        ],
        "Mean effects by action: not computed",
    ),
    "drivers": (["Drivers of the effect"], "Not computed: the evidence saved with the model holds no drivers"),
    "support": (["Logged decisions behind each action (fewer than 100 block it)"], ""),
}


@pytest.mark.parametrize("name", MISSING)
def test_what_was_not_computed_is_said_and_not_invented(name, model, assignment, page, tmp_path, read):
    captions, words = MISSING[name]
    del model.evidence.tables[name]
    model.evidence.facts.pop(name, None)
    poorer = read(CommitteeReport(model, assignment).to_html(tmp_path / "p.html").read_text(encoding="utf-8"))
    assert words in poorer.visible
    assert {t.caption for t in page.tables} - {t.caption for t in poorer.tables} == set(captions)


def test_without_any_evidence_the_page_still_says_what_was_assigned(model, assignment, tmp_path, read):
    model.evidence.tables.clear()
    model.evidence.facts.clear()
    report = CommitteeReport(model, assignment)
    page = read(report.to_html(tmp_path / "bare.html").read_text(encoding="utf-8"))
    assert "Recommendation: do not approve yet" in page.visible
    assert page.visible.count("not known") >= 5
    assert "hurdle" not in page.visible
    assert "estimated on customers" not in page.visible
    assert "31.00" not in page.visible
    assert page.table("Actions").column("Accounts")
    headline = report.payload()["decision"]["headline"]
    assert headline["net_per_decision"] is None
    assert headline["gain_over_logged"] is None
    assert headline["accounts"] == 400


def test_a_refused_valuation_is_told_with_its_reason(model, assignment, tmp_path, read):
    del model.evidence.tables["policy_value"]
    model.evidence.facts["policy_value"] = {"refused": "the log holds no logging propensities"}
    page = read(CommitteeReport(model, assignment).to_html(tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "not known: the log holds no logging propensities. Without logged propensities" in page.visible
    assert "the policy was not valued" in page.visible


def test_of_a_learner_without_shared_boosters_no_drivers_are_told(model, assignment, tmp_path, read):
    model.evidence.tables["drivers"] = model.evidence.tables["drivers"].iloc[:0]
    page = read(CommitteeReport(model, assignment).to_html(tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "Not computed: the learner has no shared booster" in page.visible


def test_a_missing_field_is_named_and_forbids_approval(model, strategy, values, accounts, tmp_path, read):
    assignment = TreatmentPolicy(strategy.model_copy(update={"limits": strategy.limits[:2]})).assign(
        values, accounts.drop(columns="dispute"), as_of="2026-06-30"
    )
    page = read(CommitteeReport(model, assignment).to_html(tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "missing: dispute" in page.visible
    assert "Recommendation: do not approve yet Gates not met: Conditions can be read." in page.visible
    assert page.table("Conditions: accounts each one denies (an account may be denied by several)").rows[0][-1] == "dispute"


def test_a_strategy_without_limits_and_conditions_draws_no_empty_chart(model, strategy, values, accounts, tmp_path, read):
    bare = strategy.model_copy(update={"limits": (), "conditions": ()})
    assignment = TreatmentPolicy(bare).assign(values, accounts, as_of="2026-06-30")
    page = read(CommitteeReport(replace(model, strategy=bare), assignment).to_html(tmp_path / "r.html").read_text("utf-8"))
    assert "The strategy sets no limits" in page.visible
    assert not [t for t in page.tables if t.caption == "Limits"]
    assert len(page.all("svg")) == 4


def test_it_is_written_whole_or_not_at_all(model, assignment, tmp_path, monkeypatch):
    target = tmp_path / "deep" / "report.html"
    report = CommitteeReport(model, assignment)
    assert report.to_html(str(target)) == target
    before = target.read_bytes()
    assert target.stat().st_mode & 0o777 == 0o644
    with pytest.raises(BrokenIdentityError):
        CommitteeReport(model, replace(assignment, used=assignment.used + 1e6)).to_html(target)
    monkeypatch.setattr("collectml.reports.committee.os.fdopen", lambda *a, **k: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        CommitteeReport(model, assignment, title="another").to_html(target)
    assert target.read_bytes() == before
    assert [p.name for p in target.parent.iterdir()] == ["report.html"]
    monkeypatch.undo()
    CommitteeReport(model, assignment, title="another").to_html(target)
    assert b"<h1>another</h1>" in target.read_bytes()


def test_accounts_that_are_not_the_assignment_s_are_refused(model, assignment, accounts):
    with pytest.raises(ValueError, match="399 accounts, but 400 were assigned"):
        CommitteeReport(model, assignment, accounts=accounts.iloc[1:])
    others = accounts.assign(account_id=accounts["account_id"].str.replace("ACC-90000", "ACC-1"))
    with pytest.raises(ValueError, match="others than those that were assigned"):
        CommitteeReport(model, assignment, accounts=others)
