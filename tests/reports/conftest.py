"""A strategy, its evidence and an assignment made by hand, small enough to know every number of; and a reader of pages."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from collectml.pipeline.evidence import Evidence
from collectml.policy import Assignment, TreatmentPolicy
from collectml.reports import CommitteeReport
from collectml.strategy import Strategy

from .complete import cases, fill, with_fields

ACTIONS = ["no_action", "sms", "call"]
BASELINES = ["today's policy (as logged)", "no_action for all"]


@dataclass(frozen=True)
class Model:
    """What a report needs of a model."""

    strategy: Strategy
    evidence: Evidence


@pytest.fixture(scope="session")
def strategy() -> Strategy:
    return Strategy.model_validate(
        {
            "name": "two_channels",
            "version": "7",
            "currency": "EUR",
            "actions": [
                {"name": "no_action"},
                {"name": "sms", "channel": "sms", "unit_cost": 0.1},
                {"name": "call", "channel": "call", "unit_cost": 2.0},
            ],
            "limits": [
                {"name": "calls", "kind": "capacity", "actions": ["call"], "upper": 60, "description": "Calls a cycle."},
                {"name": "budget", "kind": "budget", "upper": 500},
                {"name": "texts", "kind": "share", "actions": ["sms"], "lower": 0.2, "upper": 0.9},
            ],
            "conditions": [{"name": "dispute", "contact": True, "allow": "not dispute", "cite": "until it is verified"}],
            "exploration": {"share": 0.05},
            "holdout": {"share": 0.05},
            "min_logged": 100,
        }
    )


@pytest.fixture(scope="session")
def accounts() -> pd.DataFrame:
    """Accounts with what must never reach a report."""
    n = 400
    return pd.DataFrame(
        {
            "account_id": [f"ACC-{90_000 + i}" for i in range(n)],
            "customer_id": [f"CUS-{70_000 + i}" for i in range(n)],
            "dispute": np.arange(n) % 10 == 0,
            "name": [f"Surname{i} Givenname{i}" for i in range(n)],
            "phone": [f"+49 171 55{i:05d}" for i in range(n)],
            "email": [f"person{i}@mail.example" for i in range(n)],
        }
    )


def values_of(accounts: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    base = rng.gamma(2.0, 20.0, len(accounts))
    gain = np.column_stack([np.zeros(len(base)), rng.normal(2, 3, len(base)), rng.normal(6, 5, len(base))])
    return pd.DataFrame(base[:, None] + gain, index=accounts["account_id"], columns=ACTIONS)


@pytest.fixture(scope="session")
def assignment(strategy: Strategy, accounts: pd.DataFrame) -> Assignment:
    return TreatmentPolicy(strategy).assign(values_of(accounts), accounts, as_of="2026-06-30")


@pytest.fixture(scope="session")
def values(accounts: pd.DataFrame) -> pd.DataFrame:
    return values_of(accounts)


def evidence_tables() -> dict[str, pd.DataFrame]:
    value = pd.DataFrame(
        {
            "baseline": np.repeat(BASELINES, 2),
            "estimator": ["dr", "snips"] * 2,
            "value": [31.0, 30.5] * 2,
            "low": [29.0, 28.0] * 2,
            "high": [33.0, 33.5] * 2,
            "baseline_value": [28.0, 28.0, 25.0, 24.5],
            "difference": [3.0, 2.5, 6.0, 6.0],
            "difference_low": [1.0, 0.5, 3.0, 2.5],
            "difference_high": [5.0, 4.5, 9.0, 9.5],
            "ess": [900.0, 900.0] * 2,
            "note": ["", "", "unreliable difference: one customer holds 37% of its variance", ""],
        }
    )
    observed = np.linspace(0.05, 0.95, 10)
    calibration = pd.DataFrame(
        {
            "bin": np.arange(1, 11),
            "n": 60,
            "predicted": observed + 0.01,
            "observed": observed,
            "low": observed - 0.05,
            "high": observed + 0.05,
        }
    )
    effects = pd.DataFrame(
        {
            "action": ACTIONS,
            "recovered": [0.0, 2.1, 8.0],
            "cost": [0.0, 0.1, 2.0],
            "minutes": [0.0, 0.0, 4.5],
            "complaints_per_1000": [0.0, 0.5, 2.25],
            "net_value": [0.0, 2.0, 6.0],
        }
    )
    drivers = pd.DataFrame(
        {
            "feature": ["(the action itself)", "days_past_due", *(f"field_{i}" for i in range(14))],
            "mean_abs_pp": [4.0, 2.5, *np.linspace(1.0, 0.1, 14)],
            "direction": ["mixed", "raises", *["lowers", "mixed"] * 7],
        }
    )
    support = pd.DataFrame(
        {
            "action": ACTIONS,
            "rows": [700, 400, 300],
            "paid": [200, 150, 120],
            "min_logging_propensity": [0.4, 0.25, 0.2],
            "supported": True,
        }
    )
    return {
        "policy_value": value,
        "calibration": calibration,
        "effects": effects,
        "drivers": drivers,
        "support": support,
    }


def evidence_facts() -> dict[str, object]:
    return {
        "log": {"decisions": 2_000, "training_decisions": 1_400, "held_out_decisions": 600, "digest": "0f1e2d"},
        "settings": {"learner": "hurdle", "reach": "learnt", "complaint_rates": "learnt"},
        "propensity_to_pay": {"auc": 0.81, "brier": 0.15, "calibration_slope": 1.02},
        "policy_value": {
            "net_per_decision": 31.0,
            "low": 29.0,
            "high": 33.0,
            "gain_over_logged": 3.0,
            "gain_over_logged_low": 1.0,
            "gain_over_logged_high": 5.0,
            "ess": 900.0,
        },
    }


@pytest.fixture
def model(strategy: Strategy) -> Model:
    """A model whose every gate is passed; a test may change its evidence."""
    return Model(strategy, Evidence(evidence_facts(), evidence_tables()))


@pytest.fixture
def complete(model: Model, assignment: Assignment, accounts: pd.DataFrame, values: pd.DataFrame) -> CommitteeReport:
    """A report with everything in it: evidence, cases, a champion; a test may change its model's evidence and its cases."""
    fill(model.evidence.tables, model.evidence.facts)
    theirs = TreatmentPolicy(model.strategy).assign(values[ACTIONS] * [1.0, 1.05, 0.9], accounts, as_of="2026-06-30")
    return CommitteeReport(model, assignment, accounts=with_fields(accounts), cases=cases(), champion=theirs)


VOID = {"meta", "br", "hr", "img", "input", "link"}


@dataclass
class Node:
    """An element of a page."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class ReadTable:
    """A table of a page, as it is read."""

    caption: str = ""
    headers: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)

    def column(self, header: str) -> list[str]:
        return [row[self.headers.index(header)] for row in self.rows]


class Page(HTMLParser):
    """Reads a page strictly: every element must be closed by its own end."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html, self.nodes, self.tables, self.open = html, [], [], []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {[n.tag for n in self.open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        node = Node(tag, {k: v or "" for k, v in attrs})
        self.nodes.append(node)
        if tag == "table":
            self.tables.append(ReadTable())
        elif tag == "tr":
            self.row: list[str] = []
        if tag not in VOID:
            self.open.append(node)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.nodes.append(Node(tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag: str) -> None:
        node = self.open.pop()
        assert node.tag == tag, f"<{node.tag}> ends with </{tag}>"
        if tag == "caption":
            self.tables[-1].caption = node.text
        elif tag == "th":
            self.tables[-1].headers.append(node.text)
        elif tag == "td":
            self.row.append(node.text)
        elif tag == "tr" and self.row:
            self.tables[-1].rows.append(self.row)

    def handle_data(self, data: str) -> None:
        for node in self.open:
            node.text += data

    def all(self, *tags: str) -> list[Node]:
        return [n for n in self.nodes if n.tag in tags]

    def table(self, caption: str) -> ReadTable:
        return next(t for t in self.tables if t.caption == caption)

    def assert_self_contained(self) -> None:
        active = ("script", "iframe", "object", "embed", "link", "base", "form", "img", "audio", "video", "foreignobject")
        assert not self.all(*active)
        for node in self.nodes:
            reaching = {"src", "srcset", "action", "data", "background"}
            assert not [a for a in node.attributes if a.startswith("on") or a in reaching]
            assert node.attributes.get("href", "#").startswith("#")
            assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", " ".join(node.attributes.values()))
        for style in self.all("style"):
            assert "@import" not in style.text
            assert "url(" not in style.text

    @property
    def visible(self) -> str:
        """What a reader sees, in one line."""
        return re.sub(r"\s+", " ", " ".join(n.text for n in self.all("main", "footer")))


@pytest.fixture(scope="session")
def read():
    return Page
