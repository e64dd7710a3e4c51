"""What the committee is promised, section by section, R0 to R14; and each promise fails when it is broken on purpose."""

from __future__ import annotations

import copy
import html
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from collectml.data import DecisionLog
from collectml.errors import SchemaError
from collectml.evaluation import constant_policy, evaluate_policy
from collectml.models import PropensityToPayModel
from collectml.pipeline.cases import pick_cases
from collectml.pipeline.soundness import sign_check
from collectml.pipeline.valuation import arms_of
from collectml.reports import Approval, BrokenIdentityError, CommitteeReport, printed_checks
from collectml.reports.printed import SOURCES, numbers
from collectml.reports.render import to_html, write_number, write_sentence
from collectml.reports.words import Words, locale

OWNED = Approval(["A. Head", "B. Conduct", "C. Model"], "2026-08-01", "2026-12-31")


def section(payload, name):
    return next(s for s in payload["sections"] if s["id"] == name)


def rows(payload, name, caption):
    return next(t["rows"] for t in section(payload, name)["tables"] if t["caption"].startswith(caption))


def failing(payload):
    return [c["identity"] for c in printed_checks(payload) if not c["holds"]]


def broken(report, words):
    with pytest.raises(BrokenIdentityError, match=words):
        report.payload()


# what is printed: one number changed, one identity fails
CHANGES = [
    ("scope", "Who may be contacted", 0, "accounts", 1, "excluded, by reason, are all accounts"),
    ("scope", "Who may be contacted", 0, "balance", 0.01, "to the cent"),
    ("data", "From the log", 1, "decisions", 1, "to the row"),
    ("performance", "Propensity to pay on customers kept out, by stage", 0, "n", 1, "stages and tenths"),
    ("performance", "Propensity to pay on customers kept out, by stage", 0, "predicted", 0.001, "stages and tenths"),
    ("why-not", "How accounts stand", 0, "accounts", 1, "each account once"),
    ("assignment", "From nothing done", 1, "value", 0.01, "steps from nothing done"),
    ("assignment", "Actions by stage", 0, "accounts", 1, "stages of an action"),
    ("assignment", "Actions by stage", 0, "value", 0.01, "stages of an action"),
    ("fairness", "By age band", 0, "accounts", 1, "groups, the unknown"),
    ("fairness", "Observed over expected payers by group", 2, "decisions", 1, "same decisions"),
]


@pytest.mark.parametrize(("name", "caption", "row", "column", "by", "words"), CHANGES)
def test_what_is_printed_adds_up(payload, name, caption, row, column, by, words):
    assert failing(payload) == []
    changed = copy.deepcopy(payload)
    rows(changed, name, caption)[row][column] += by
    assert len(failing(changed)) == 1
    assert words in failing(changed)[0]


# what it is made from
SOURCE = [
    (lambda e: e.facts["drivers"].__setitem__("worst_gap_log_odds", 2e-6), "of every account explained add up"),
    (lambda e: e.facts["drivers"].__setitem__("worst_gap_pp", 2e-9), "effect in percentage points"),
    (lambda e: e.tables["driver_groups"].__setitem__("mean_pp", e.tables["driver_groups"]["mean_pp"] + 1e-8), "sum of its"),
    (lambda e: e.facts["drivers"].__setitem__("effect_pp", 99.0), "groups add up to the mean effect"),
    (lambda e: e.facts["drivers"].__setitem__("effect_money", 99.0), "mean effect in money"),
    (lambda e: e.tables["signs"].__setitem__("against", [1, 0]), "no monotone constraint is broken"),
    (lambda e: e.tables["arms"].__setitem__("n", 200 - 1), "decisions by arm"),
    (lambda e: e.tables["arms"].__setitem__("value", e.tables["arms"]["value"] + 1e-6), "weighting changes no mean"),
]


@pytest.mark.parametrize(("change", "words"), SOURCE)
def test_what_it_is_made_from_adds_up(complete, change, words):
    change(complete.model.evidence)
    broken(complete, words)


class TestDecisionSheet:
    def test_each_number_leads_to_its_section_and_stands_there(self, payload, english, read):
        page, headline = read(english), payload["decision"]["headline"]
        assert set(SOURCES) == set(headline)
        links = {n.text: n.attributes["href"] for n in page.all("a")}
        for name in ("accounts", "gain", "net_per_decision", "gain_over_logged"):
            kind = {"accounts": "count", "gain": "money"}.get(name, "money2")
            written = next(text for text in links if text.split(" ")[0] == write_number(headline[name], kind))
            assert links[written] == f"#{SOURCES[name]}"
        for name, told in headline.items():
            assert any(np.isclose(told, x, rtol=1e-9) for x in numbers(section(payload, SOURCES[name]))), name
            changed = copy.deepcopy(payload)
            changed["decision"]["headline"][name] += 0.123
            assert any("decision sheet" in f for f in failing(changed)), name

    @pytest.mark.parametrize(
        ("path", "value", "gate"),
        [
            (("policy_value", "gain_over_logged_low"), -1.0, "Worth more than today's policy"),
            (("policy_value", "ess"), 10.0, "Enough evidence"),
            (("propensity_to_pay", "calibration_slope"), 0.5, "Calibrated"),
        ],
    )
    def test_any_failed_gate_forbids_approval(self, complete, path, value, gate, read):
        complete.model.evidence.facts[path[0]][path[1]] = value
        column = {"gain_over_logged_low": "difference_low", "ess": "ess"}.get(path[1])
        if column:
            complete.model.evidence.tables["policy_value"][column] = value
        payload = complete.payload()
        decision = payload["decision"]
        assert (decision["recommendation"], decision["because"]) == ("do not approve yet", [gate])
        page = read(to_html(payload))
        assert "Recommendation: do not approve yet" in page.visible
        assert [r[-1] for r in page.table("Gates: any that fails forbids approval").rows].count("✗ failed") == 1

    @pytest.mark.parametrize(
        "missing", [{"owners": OWNED.owners[:2]}, {"owners": ("A", "", "C")}, {"due": None}, {"expires": None}]
    )
    def test_what_is_missing_keeps_it_a_draft(self, complete, missing):
        complete.approval = replace(OWNED, **missing)
        assert complete.payload()["decision"]["draft"]

    def test_a_draft_is_stamped_in_either_language(self, complete, payload, english):
        assert payload["decision"]["recommendation"] == "approve"
        assert '<p class="draft">DRAFT</p>' in english
        assert '<p class="draft">草稿</p>' in to_html(payload, language="zh-CN")
        complete.approval = OWNED
        owned = complete.payload()
        assert not owned["decision"]["draft"]
        assert "DRAFT" not in to_html(owned)

    def test_at_most_three_risks_and_the_conditions_with_owner_and_date(self, complete, read):
        complete.approval = replace(OWNED, materiality="tier 1")
        payload = complete.payload()
        assert 1 <= len(payload["decision"]["risks"]) <= 3
        page = read(to_html(payload))
        table = page.table("Conditions of approval, which ends on 2026-12-31")
        assert [r[1:] for r in table.rows] == [[o, "2026-08-01"] for o in OWNED.owners]
        assert "Materiality: tier 1; balance decided on 51,400 EUR." in page.visible


def test_the_plain_summary_is_short_and_its_numerals_are_those_of_the_other_language(payload):
    english = [write_sentence(p) for p in section(payload, "summary")["paragraphs"]]
    chinese = [Words("zh-CN").text(p) for p in english]
    assert len(" ".join(english).split()) <= 300
    assert len("".join(chinese)) <= 600
    for one, other in zip(english, chinese, strict=True):
        assert re.findall(r"\d[\d,.]*\d|\d", one) == re.findall(r"\d[\d,.]*\d|\d", other)


def test_scope_counts_every_account_once_in_accounts_and_money(payload, accounts):
    table = {r["why"]: r for r in rows(payload, "scope", "Who may be contacted")}
    assert {k: r["accounts"] for k, r in table.items()} == {"may be contacted": 360, "dispute": 40, "all accounts": 400}
    owed = 100.0 + np.arange(400) / 7
    assert table["dispute"]["balance"] == pytest.approx(owed[accounts["dispute"].to_numpy()].sum(), abs=0.005)
    assert table["all accounts"]["balance"] == pytest.approx(owed.sum(), abs=0.005)


class TestData:
    def frame(self, **columns):
        days = pd.to_datetime(["2026-01-01", "2026-02-01", "2026-06-20"])
        frame = pd.DataFrame({"account_id": [1, 2, 3], "decided_at": days, "action": ["sms", "no_action", "sms"]})
        return frame.assign(recovered=[5.0, 0.0, 0.0], balance=9.0, **columns)

    def log(self, frame):
        return DecisionLog(
            frame, actions=["no_action", "sms"], paid=None, logging_propensity=None, observed_until="2026-06-30"
        )

    def test_the_waterfall_starts_with_every_row_of_the_log(self, payload):
        table = rows(payload, "data", "From the log")
        assert [r["decisions"] for r in table] == [2_042, -37, -5, 1_400, 600]
        log = self.log(self.frame())
        assert len(log) + log.left_out.sum() == 3

    def test_a_feature_later_than_its_decision_is_refused(self):
        log = self.log(self.frame(features_as_of=pd.to_datetime(["2026-01-01", "2026-01-15", "2026-06-20"])))
        assert log.X.columns.tolist() == ["balance"]
        assert (log.features_as_of <= log.decided_at).all()
        with pytest.raises(SchemaError, match="features_as_of' must not be after decided_at"):
            self.log(self.frame(features_as_of=pd.to_datetime(["2026-01-02", "2026-01-15", "2026-06-20"])))

    def test_undated_fields_are_taken_on_trust_and_said_to_be(self, complete):
        said = [write_sentence(p) for p in section(complete.payload(), "data")["paragraphs"]]
        assert (
            "Of 2,000 decisions the fields are dated: none is later than its decision, the oldest by 3 days earlier." in said
        )
        del complete.model.evidence.facts["log"]["features_dated"]
        said = [write_sentence(p) for p in section(complete.payload(), "data")["paragraphs"]]
        assert any("taken on trust" in s for s in said)


def test_a_constrained_field_is_never_broken_on_the_grid_and_a_free_one_may_be():
    rng = np.random.default_rng(0)
    n = 1_500
    X = pd.DataFrame({"days_past_due": rng.integers(1, 90, n).astype(float), "income": rng.normal(2_000, 300, n)})
    paid = (rng.random(n) < 0.8 - 0.006 * X["days_past_due"]).astype(int)
    frame = X.assign(account_id=np.arange(n), decided_at=pd.Timestamp("2026-01-01"), action="no_action", paid=paid)
    log = DecisionLog(frame.assign(recovered=10.0 * paid), actions=["no_action", "sms"], logging_propensity=None)
    found = {}
    for name, monotone in (("free", None), ("bound", {"days_past_due": -1}), ("wrong", {"days_past_due": 1})):
        model = PropensityToPayModel(monotone=monotone, n_estimators=60, folds=2, random_state=0).fit(log.X, log.paid)
        found[name] = sign_check(model, log, seed=0).set_index("field")
    assert found["bound"].loc["days_past_due", "constraint"] == -1
    assert found["bound"].loc["days_past_due", "against"] == 0
    assert found["bound"].loc["days_past_due", "steps"] == 8 * 200
    assert found["wrong"].loc["days_past_due", "against"] == 0  # it keeps its own constraint, whatever is expected
    assert found["free"].loc["income", "against"] > 0  # noise


class TestPolicyValue:
    def test_a_constant_action_under_uniform_logging_is_worth_its_arm_mean(self, payload):
        rng = np.random.default_rng(1)
        n, names = 900, ["no_action", "sms", "call"]
        frame = pd.DataFrame({"account_id": np.arange(n), "decided_at": pd.Timestamp("2026-01-01"), "x": 0.0})
        frame = frame.assign(action=rng.choice(names, n), recovered=rng.gamma(1.0, 40.0, n), logging_propensity=1 / 3)
        log = DecisionLog(frame, actions=names, paid=None)
        arms = arms_of(log, log.recovered).set_index("action")
        assert arms["n"].sum() == n
        for action in names:
            snips = evaluate_policy(log, constant_policy(log, action), estimators=("snips",)).frame()["value"].iloc[0]
            mean = frame.loc[frame["action"] == action, "recovered"].mean()
            assert abs(snips - mean) < 1e-9 * mean
            assert abs(arms.loc[action, "value"] - arms.loc[action, "mean"]) < 1e-9 * mean
        assert sum(r["n"] for r in rows(payload, "policy-value", "What each logged action")) == 600

    def test_without_randomisation_there_is_a_banner_and_the_gate_fails(self, complete, read):
        for name in ("policy_value", "uplift_tenths", "arms"):
            del complete.model.evidence.tables[name]
        complete.model.evidence.tables["support"]["min_logging_propensity"] = np.nan
        complete.model.evidence.facts["policy_value"] = {"refused": "the log holds no logging propensities"}
        del complete.model.evidence.facts["assessment"]["ranking"]
        page = read(to_html(complete.payload()))
        assert "NOT RANDOMISED: the log holds no probabilities" in page.visible
        assert "Recommendation: do not approve yet" in page.visible
        assert page.table("Gates: any that fails forbids approval").rows[0][2:] == ["not known", "✗ failed"]


def test_the_same_accounts_in_another_order_give_the_same_cases(assignment, accounts):
    from .complete import with_fields

    some = with_fields(accounts)
    shuffled = some.sample(frac=1.0, random_state=3)
    first, second = (
        [(assignment.problem.ids[i], rule) for i, rule in pick_cases(assignment, table)] for table in (some, shuffled)
    )
    assert first == second
    assert 3 <= len(first) <= 10
    rules = [rule for _, rule in first]
    assert rules.count("typical") == assignment.frame()["action"].nunique()


def test_no_case_names_an_account_and_reasons_carry_their_sign(english, accounts, read):
    assert not [i for column in ("account_id", "customer_id") for i in accounts[column] if i in english]
    assert read(english).table("Reasons of the cases").rows == [["1", "call", "promises kept (+); income (−)"]]


def test_what_accounts_give_up_and_what_limits_leave_are_the_gap(complete, assignment):
    solution = replace(assignment.plan.solution, upper_bound=assignment.plan.solution.upper_bound + 0.1)
    complete.assignment = replace(assignment, plan=replace(assignment.plan, solution=solution))
    broken(complete, "bound less value is what accounts lose and priced slack")


def test_a_second_contact_of_a_customer_is_noticed(complete, assignment):
    code = assignment.problem.customer_code.copy()
    code[np.flatnonzero(assignment.problem.strategy.contact_mask[assignment.action])[:2]] = 0
    complete.assignment = replace(assignment, problem=replace(assignment.problem, customer_code=code))
    broken(complete, "no customer is contacted twice")


def test_each_slice_and_group_shows_its_size_and_interval(payload):
    for name, caption, size, low, high in (
        ("robustness", "Observed over expected payers by slice", "decisions", "low", "high"),
        ("robustness", "Mean effect of each action", "refits", "low", "high"),
        ("fairness", "By age band", "accounts", "contacted_low", "contacted_high"),
        ("fairness", "Observed over expected payers by group", "decisions", "low", "high"),
        ("fairness", "Gain and complaints", "decisions", "gain_low", "gain_high"),
        ("performance", "Propensity to pay on customers kept out, by stage", "n", "low", "high"),
    ):
        table = [r for r in rows(payload, name, caption) if r[size] is not None and r.get(low) is not None]
        assert table
        assert all(r[low] <= r[high] for r in table), caption


def test_what_refits_leave_out_is_said(complete, payload):
    def said(of):
        return [p["values"]["x"] for p in section(of, "robustness")["paragraphs"] if "boosters" in p["form"]]

    assert said(payload) == [0.31]
    complete.model.evidence.facts["refits"] = {"refits": 20, "first_reason_flips": 0.22, "boosters_share": 0.0}
    assert said(complete.payload()) == []


def test_the_champion_s_plan_is_held_against_this_one(complete, payload):
    table = next(t for t in section(payload, "method")["tables"] if t["caption"].startswith("From the champion"))
    moved = np.array([[r[a] for a in ("no_action", "sms", "call")] for r in table["rows"]])
    assert moved.sum() == 400
    ours, theirs = complete.assignment.planned(), complete.champion.planned()
    assert moved.sum() - np.trace(moved) == (ours != theirs).sum() > 0
    said = next(p for p in section(payload, "method")["paragraphs"] if "champion" in p["form"])
    assert said["values"]["changed"] == (ours != theirs).sum()
    net = pd.DataFrame(complete.assignment.problem.net, index=ours.index, columns=["no_action", "sms", "call"])
    gain = sum(net.loc[i, a] - net.loc[i, b] for i, a, b in zip(ours.index, ours, theirs, strict=True))
    assert said["values"]["gain"] == pytest.approx(gain)
    with pytest.raises(ValueError, match="champion did not assign the same"):
        CommitteeReport(complete.model, complete.assignment, champion=replace(complete.champion, problem=replace(
            complete.champion.problem, ids=complete.champion.problem.ids[:0])))  # fmt: skip


def test_findings_of_the_review_are_listed_with_their_status(complete, read):
    finding = {"finding": "Reach rests on one month", "status": "open", "owner": "Validation"}
    complete.approval = replace(OWNED, findings=[finding])
    assert read(to_html(complete.payload())).table("Findings of the review").rows == [list(finding.values())]


def leaves(payload):
    """Everything that may be printed: each cell, each sentence's values, and each text, as the page writes it."""
    for s in payload["sections"]:
        for table in s["tables"]:
            yield table["caption"]
            yield from (c["label"] for c in table["columns"])
            ends = [(key, c["kind"]) for c in table["columns"] for key in (c["key"], c["upto"]) if key is not None]
            yield from (write_number(r[key], kind) for r in table["rows"] for key, kind in ends)
        yield from (write_sentence(p) for p in s["paragraphs"])
        yield from (c["title"] for c in s["charts"])
        yield s["number"]
    decision = payload["decision"]
    yield from (write_sentence(x) for x in [*decision["risks"], *(g["found"] for g in decision["gates"])])
    yield from (write_number(v, kind) for v in decision["headline"].values() for kind in ("count", "money", "money2"))
    yield write_number(decision["balance"], "money")
    yield from (g[k] for g in decision["gates"] for k in ("name", "requirement"))
    yield from (str(payload[k]) for k in ("title", "as_of", "report_id", "assignment_digest", "digest_of_log"))
    yield from (i["identity"] for i in payload["identities"])


def visible(page):
    """What is read on the page, drawings aside: they have their tables."""
    body = re.sub(r"<(svg|style|title|aside)\b.*?</\1>", "", page, flags=re.S)
    return html.unescape(re.sub(r"<[^>]+>", " ", body))


def numerals(text):
    return re.findall(r"\d[\d,.]*\d|\d", text)


def test_every_printed_number_has_a_path_in_the_payload(payload, english):
    found = {n for leaf in leaves(payload) for n in numerals(leaf)} | {"0", "95"}  # R0, and the 95 % of the intervals
    assert set(numerals(visible(english))) - found == set()
    assert set(numerals(visible(english.replace("</main>", "<p>777,888</p></main>")))) - found == {"777,888"}


def test_numbers_in_sentences_are_values_and_not_part_of_the_form(payload):
    """What a form itself says in digits is a threshold: the translators' file holds it word for word."""
    exact, slotted = locale()
    fixed = {n for text in exact for n in numerals(text)} | {
        n for p, _ in slotted for n in numerals(p.pattern.replace("\\", ""))
    }
    sentences = [p for s in payload["sections"] for p in s["paragraphs"]] + payload["decision"]["risks"]
    for sentence in sentences:
        assert set(numerals(re.sub(r"\{[^}]*\}", "", sentence["form"]))) <= fixed, sentence["form"]
