"""Fairness and vulnerability: who is contacted and how hard, by group, with small cells suppressed."""

from __future__ import annotations

import pandas as pd

from collectml.evaluation.groups import by_group
from collectml.policy import Assignment
from collectml.reports.blocks import Column, Inputs, ModelLike, Section, Table, interval, say, table_of

__all__ = ["build"]


FLAGS = {"True": "yes", "False": "no"}
GROUPS = ("age_band", "region", "hardship", "vulnerable")


def build(model: ModelLike, assignment: Assignment, inputs: Inputs) -> Section:
    """Build the section.

    Parameters
    ----------
    model : ModelLike
        Strategy and evidence.
    assignment : Assignment
        What was assigned.
    inputs : Inputs
        The accounts and the cases, where there are any.

    Returns
    -------
    Section
    """
    title = "Who is contacted, by group"
    tables, outcomes = _contacted(assignment, inputs), model.evidence.tables.get("groups")
    paragraphs = [
        say(
            "Shares of accounts by group, with Wilson intervals. Groups of fewer than 30 accounts are not shown, nor is the next "
            "smallest where it would give them away. Groups are not features of the models."
        )
        if tables
        else say("Not computed: the accounts hold no group (age band, region, hardship, vulnerable).")
    ]
    if outcomes is not None and len(outcomes):
        paragraphs.append(
            say(
                "What came of it, group by group, on decisions of customers kept out of training: an interval of observed over "
                "expected payers that excludes 1 means the model is wrong for that group beyond chance."
            )
        )
        tables += _outcomes(outcomes, model.strategy.currency)
    return Section("fairness", title, paragraphs, tables)


def _contacted(assignment: Assignment, inputs: Inputs) -> list[Table]:
    strategy, frame = assignment.problem.strategy, inputs.decided(assignment)
    contact = {a.name for a in strategy.actions if a.is_contact}
    harsh = {a.name for a in strategy.actions if a.tone in {"firm", "harsh", "legal"}}
    tables = []
    for group in GROUPS:
        labels = inputs.column(group, pd.Index(frame["account_id"]))
        if labels is None:
            continue
        table = by_group(
            labels.astype(object).where(labels.notna(), "unknown").astype(str).replace(FLAGS),
            {"contacted": frame["action"].isin(contact), "harsh": frame["action"].isin(harsh)},
        )
        tables.append(
            table_of(
                f"By {group.replace('_', ' ')}",
                _with_rest(table),
                [
                    Column("group", "Group"),
                    Column("accounts", "Accounts", "count"),
                    Column("contacted", "Contacted", "share"),
                    interval("share", "contacted_"),
                    Column("harsh", "Firm tone", "share"),
                    interval("share", "harsh_"),
                ],
            )
        )
    return tables


def _with_rest(table: pd.DataFrame) -> pd.DataFrame:
    """Add what is not shown in one row, so that the groups add up to all."""
    *groups, everybody = table.to_dict("records")
    shown = [row["accounts"] for row in groups if row["accounts"] == row["accounts"]]
    if len(shown) == len(groups):
        return table
    rest = {"group": "not shown, together", "accounts": everybody["accounts"] - sum(shown)}
    return pd.DataFrame([*groups, rest, everybody], columns=table.columns)


def _outcomes(table: pd.DataFrame, currency: str) -> list[Table]:
    shown = table.assign(kind=table["kind"].str.replace("_", " "), group=table["group"].replace(FLAGS))
    group = [Column("kind", "By"), Column("group", "Group"), Column("decisions", "Decisions", "count")]
    predicted = table_of(
        "Observed over expected payers by group",
        shown,
        [
            *group,
            Column("ratio", "Observed over expected", "number"),
            interval("number"),
        ],
    )
    brought = table_of(
        "Gain and complaints by group",
        shown,
        [
            *group,
            Column("gain", f"Gain of the best action, {currency} per decision", "money2"),
            interval("money2", "gain_"),
            Column("complaints", "Complaints per 1,000", "number"),
            interval("number", "complaints_"),
        ],
    )
    return [predicted, brought]
