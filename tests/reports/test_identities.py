"""Every identity of the report fails when it is broken on purpose; languages agree; what is written verifies."""

from __future__ import annotations

import copy
import html
import io
import json
import re
from dataclasses import replace

import pandas as pd
import pypdf
import pytest

from collectml.errors import ArtifactError, ConfigurationError
from collectml.evaluation.groups import by_group
from collectml.pipeline.verify import verify_report
from collectml.policy.shifted import shifted_limits
from collectml.reports import Approval, BrokenIdentityError, CommitteeReport, MissingTranslationError, payload_digest
from collectml.reports import payload as payload_module
from collectml.reports.pdf import to_pdf
from collectml.reports.render import to_html
from collectml.reports.words import Words, locale


@pytest.fixture
def report(complete):
    return complete


def broken(report, words):
    with pytest.raises(BrokenIdentityError, match=words):
        report.payload()


def test_parts_that_miss_the_margin(report):
    report.cases["cases"][0]["parts"] = {"Payment history": 5.01, "(cost)": -2.0}
    broken(report, "parts of each margin add up to it")


@pytest.mark.parametrize(("column", "by"), [("more", 1_000.0), ("less", 1_000.0), ("more", -1_000.0)])
def test_a_tenth_of_a_limit_that_is_worth_what_no_price_allows(report, monkeypatch, column, by):
    monkeypatch.setattr(
        payload_module, "shifted_limits", lambda *a: shifted_limits(*a).assign(**{column: lambda t: t[column] + by})
    )
    broken(report, "a tenth more of each limit" if by > 0 else "no looser limit is worth less than the plan")


def test_a_counterfactual_that_changes_nothing(report):
    report.cases["cases"][0]["changed_action"] = "call"
    broken(report, "each smallest change leads to another action")


def test_a_negative_margin(report):
    report.cases["by_action"][0] |= {"margin": -7.0, "parts": {"(cost)": -7.0}}
    broken(report, "no case has a negative margin")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.evidence.facts["propensity_to_pay"].__setitem__("auc", 0.9), "those of the saved scores"),
        (lambda m: m.evidence.facts["propensity_to_pay"].__setitem__("brier", 0.1), "those of the saved scores"),
        (lambda m: m.evidence.tables["calibration"].__setitem__("observed", 0.5), "by tenth add up"),
        (lambda m: m.evidence.tables["uplift_tenths"].__setitem__("n", 59), "tenths of the uplift"),
        (lambda m: m.evidence.facts["log"].__setitem__("decisions", 2_001), "all decisions of the log"),
    ],
)
def test_metrics_that_are_not_those_of_the_scores(report, change, words):
    change(report.model)
    broken(report, words)


def test_prices_that_do_not_certify_the_bound(report, assignment):
    solution = replace(assignment.plan.solution, shadow_prices=assignment.plan.solution.shadow_prices + 5.0)
    report.assignment = replace(assignment, plan=replace(assignment.plan, solution=solution))
    broken(report, "at most the gap")


def test_an_action_that_no_condition_allows(report, assignment):
    allowed = assignment.problem.permissions.allowed.copy()
    allowed[:, 2] = False
    changed = replace(assignment.problem.permissions, allowed=allowed)
    report.assignment = replace(assignment, problem=replace(assignment.problem, permissions=changed))
    broken(report, "no condition is broken")


def test_a_failed_gate_forbids_approval_and_owners_end_the_draft(model, assignment):
    approved = CommitteeReport(model, assignment, approval=Approval(["A", "B", "C"], "2026-08-01", "2026-12-31")).payload()
    assert approved["decision"]["recommendation"] == "approve"
    assert not approved["decision"]["draft"]
    missing = CommitteeReport(model, assignment, approval=Approval(["A", "B"], "2026-08-01", "2026-12-31")).payload()
    assert missing["decision"]["draft"]
    model.evidence.facts["policy_value"]["ess"] = 10.0
    model.evidence.tables["policy_value"]["ess"] = 10.0
    assert CommitteeReport(model, assignment).payload()["decision"]["recommendation"] == "do not approve yet"


def numerals(page):
    body = re.sub(r"<(svg|style)\b.*?</\1>", "", page, flags=re.S)
    return sorted(re.findall(r"\d[\d,.]*\d|\d", html.unescape(re.sub(r"<[^>]+>", " ", body))))


def test_the_languages_hold_the_same_numerals(payload, english):
    chinese = to_html(payload, language="zh-CN")
    assert numerals(english) == numerals(chinese)
    assert 'lang="zh-CN"' in chinese
    both = to_html(payload, language="both")
    assert "决策单" in both
    assert "Decision sheet" in both


def test_a_missing_translation_fails():
    with pytest.raises(MissingTranslationError, match="no such sentence here"):
        Words("zh-CN").text("no such sentence here")
    with pytest.raises(ConfigurationError, match="unknown"):
        Words("fr")


def test_every_translation_keeps_its_slots():
    exact, slotted = locale()
    assert all(exact.values())
    for pattern, chinese in slotted:
        assert set(pattern.groupindex) == set(re.findall(r"\{(\w+)\}", chinese))


def test_what_is_written_verifies_and_one_byte_does_not(report, assignment, tmp_path):
    report.to_json(tmp_path / "report.json")
    assignment.frame().to_parquet(tmp_path / "assignments.parquet")
    checked = verify_report(tmp_path, again=assignment)
    assert checked[-1] == "the model assigns the same again"
    assert len(checked) > 10
    changed = assignment.frame()
    changed.loc[3, "value"] += 0.001
    changed.to_parquet(tmp_path / "assignments.parquet")
    with pytest.raises(ArtifactError, match="assignments are those of the report"):
        verify_report(tmp_path)
    assignment.frame().to_parquet(tmp_path / "assignments.parquet")
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    (tmp_path / "report.json").write_text(text.replace('"EUR"', '"EUQ"', 1), encoding="utf-8")
    with pytest.raises(ArtifactError, match="payload is as it was written"):
        verify_report(tmp_path)
    payload = json.loads(text)
    assert payload_digest(payload)[:16] == payload["report_id"]


def test_pdf_has_its_sheet_on_one_page_chinese_that_reads_back_and_no_lone_heading(payload):
    some = copy.deepcopy(payload)
    for section in some["sections"][1:]:
        section["tables"] = [{**t, "rows": t["rows"][:4]} for t in section["tables"]]  # a long layout takes long
    pdf = to_pdf(to_html(some, language="both"))
    pages = pypdf.PdfReader(io.BytesIO(pdf)).pages
    assert len(pages) > 5
    first = re.sub(r"\s", "", pages[0].extract_text())
    assert "决策单" in first
    assert "不同意见" in first  # the last line of the decision sheet
    assert len(pdf) < 3_000_000
    heads = [s["title"] for s in payload["sections"]] + [t["caption"] for s in payload["sections"] for t in s["tables"]]
    heads = [re.sub(r"\s", "", text) for head in heads for text in (head, Words("zh-CN").text(head))]
    for page in pages[1:]:
        lines = [re.sub(r"\s", "", line) for line in page.extract_text().splitlines()]
        foot = re.compile(r"[0-9a-f]{16}|^\d+/\d+$|^20\d\d-\d\d-\d\d$")
        last = [line for line in lines if line and not foot.search(line)][-1]
        assert not [h for h in heads if h.endswith(last) and len(last) > 3], last


def test_small_groups_are_suppressed_with_the_next_smallest(report):
    fairness = next(s for s in report.payload()["sections"] if s["id"] == "fairness")
    region = next(t for t in fairness["tables"] if t["caption"] == "By region")
    shown = {r["group"]: (r["accounts"], r["contacted"] is None) for r in region["rows"]}
    assert shown == {
        "islands": (None, True),
        "north": (200, False),
        "south": (None, True),
        "not shown, together": (200, True),
        "all": (400, False),
    }
    table = by_group(pd.Series(["a"] * 50 + ["b"] * 50), {"f": pd.Series([True] * 100)})
    assert table["accounts"].tolist() == [50, 50, 100]
