"""Names that are no names (script, formulas, marks that turn writing round, 10,000 characters) are text and nothing else."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pypdf
import pytest

from collectml.policy import TreatmentPolicy
from collectml.reports import CommitteeReport, inert_csv
from collectml.reports.pdf import to_pdf
from collectml.reports.render import to_html
from collectml.strategy import Strategy

from .complete import with_fields

EVIL = """<script>alert('x')</script>"><img src=http://evil.example/x onerror="alert(1)">&amp; $x^2$ \u202e減免方案 é"""
FORMULA = "=cmd|' /C calc'!A0"
LONG = "y" * 10_000
TURNED = "\u202e\u2066gnp.exe\u2069"
NAMES = [EVIL, FORMULA, LONG, TURNED]


def evil_model(model, strategy):
    tables = model.evidence.tables
    tables["drivers"]["feature"] = [*NAMES, *(EVIL + str(i) for i in range(len(tables["drivers"]) - 4))]
    for name in ("dependence", "signs", "fields", "slices", "groups"):
        column = {"dependence": "feature", "signs": "field", "fields": "field", "slices": "slice", "groups": "group"}[name]
        tables[name][column] = [NAMES[i % 4] for i in range(len(tables[name]))]
    tables["policy_value"]["baseline"] = np.repeat([EVIL, FORMULA], 2)
    tables["policy_value"]["note"] = EVIL
    tables["effects"]["action"] = tables["support"]["action"] = tables["arms"]["action"] = [EVIL, FORMULA, LONG]
    tables["refit_effects"]["action"] = NAMES
    tables["support"]["supported"] = [True, True, False]
    model.evidence.facts["settings"]["learner"] = EVIL
    model.evidence.facts["log"]["digest"] = EVIL
    # names are refused when a strategy is read; here they come from somewhere that never asked
    actions = [
        a if i == 0 else a.model_copy(update={"name": [EVIL + "1", FORMULA + LONG][i - 1]})
        for i, a in enumerate(strategy.actions)
    ]
    limits = [
        x.model_copy(update={"name": TURNED + x.name, "description": EVIL, "actions": ()}) for x in strategy.limits[1:2]
    ]
    conditions = [c.model_copy(update={"name": EVIL, "cite": LONG}) for c in strategy.conditions]
    changed = {"name": EVIL, "version": FORMULA, "actions": tuple(actions), "limits": tuple(limits)}
    return replace(model, strategy=strategy.model_copy(update={**changed, "conditions": tuple(conditions)}))


@pytest.fixture
def evil(complete, model, strategy, values, accounts):
    evil = evil_model(model, strategy)
    ids = [EVIL + str(i) for i in range(len(accounts))]
    named = values.set_axis(list(evil.strategy.action_names), axis="columns").set_axis(pd.Index(ids), axis="index")
    segments = with_fields(accounts).assign(account_id=ids, region=[NAMES[i % 4] for i in range(len(accounts))])
    assignment = TreatmentPolicy(evil.strategy).assign(named, segments, as_of="2026-06-30")
    return CommitteeReport(
        evil, assignment, title=EVIL, accounts=segments, cases=complete.cases, provenance={"model": TURNED}
    ).payload()


@pytest.mark.parametrize("language", ["en", "both"])
def test_what_is_malicious_is_only_text_on_the_page(evil, language, read):
    page = read(to_html(evil, language=language))
    page.assert_self_contained()
    assert "<script" not in page.html
    assert "<img" not in page.html
    assert not [c for c in "\u202e\u2066\u2069" if c in page.html]
    shown = EVIL.replace("\u202e", "")
    assert page.all("h1")[0].text == shown  # all of it is there to be read, as text
    assert any("<script>alert('x')</script>" in drawing.text for drawing in page.all("svg"))
    assert len(page.html) < 600_000
    assert max(len(cell) for table in page.tables for row in table.rows for cell in row) <= 700
    if language == "en":
        assert shown in page.table("Drivers of the effect").column("Feature")[0]
        assert page.table("Actions").column("Action")[1] == shown + "1"
        assert set(page.table("By region").column("Group")) == {shown, FORMULA, "y" * 299 + "…", "gnp.exe", "all"}
        assert max(len(cell) for table in page.tables for row in table.rows for cell in row) <= 300


def test_the_pdf_reads_the_same_and_does_nothing(evil):
    pdf = pypdf.PdfReader(io.BytesIO(to_pdf(to_html(evil))))
    text = "".join(page.extract_text() for page in pdf.pages)
    assert not [c for c in "\u202e\u2066\u2069" if c in text]
    assert "<script>alert" in re.sub(r"\s", "", text)
    assert "=cmd|" in text
    assert len(pdf.pages) < 40
    assert "/OpenAction" not in pdf.trailer["/Root"]
    assert "/AA" not in pdf.trailer["/Root"]
    assert "/EmbeddedFiles" not in str(pdf.trailer["/Root"].get("/Names", {}))
    for page in pdf.pages:
        for note in page.get("/Annots", []):
            link = note.get_object()
            assert link["/Subtype"] == "/Link"
            assert link.get("/A", {}).get("/S", "/GoTo") == "/GoTo"  # within the document, and nowhere else


def test_no_cell_of_a_csv_is_a_formula():
    names = [*NAMES, "+1", "-1", "@SUM(A1)", "\t=1", "  =1", "plain", None]
    frame = pd.DataFrame({FORMULA: names, "value": np.arange(len(names)) - 2.0})
    header, *read = csv.reader(io.StringIO(inert_csv(frame)))
    assert header == ["'" + FORMULA, "value"]
    assert not [cell for cell, _ in read if cell.strip().startswith(("=", "+", "-", "@"))]
    assert [cell for cell, _ in read[1:4]] == ["'" + FORMULA, "y" * 299 + "…", "gnp.exe"]
    assert [float(number) for _, number in read] == frame["value"].tolist()  # numbers stay numbers, below zero too
    assert read[-1][0] == ""


def test_names_that_are_no_names_never_become_a_strategy(strategy):
    content = strategy.model_dump(mode="json")
    for name in NAMES:
        content["actions"][1]["name"] = name
        with pytest.raises(ValueError, match=r"should match pattern|at most"):
            Strategy.model_validate(content)
