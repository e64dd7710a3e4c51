"""Fairness and vulnerability: who is contacted and how hard, by group, with small cells suppressed."""

from __future__ import annotations

import pandas as pd

from collectml.evaluation.groups import by_group
from collectml.policy import Assignment
from collectml.reports.blocks import Column, Inputs, ModelLike, Section, table_of

__all__ = ["build"]


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
    present = [] if inputs.accounts is None else [g for g in GROUPS if g in inputs.accounts]
    if inputs.accounts is None or not present:
        return Section(
            "fairness", title, ["Not computed: the accounts hold no group (age band, region, hardship, vulnerable)."]
        )
    strategy, frame = assignment.problem.strategy, assignment.frame()
    accounts = inputs.accounts.set_index("account_id").reindex(pd.Index(frame["account_id"]))
    contact = {a.name for a in strategy.actions if a.is_contact}
    harsh = {a.name for a in strategy.actions if a.tone in {"firm", "harsh", "legal"}}
    tables = []
    for group in present:
        table = by_group(
            accounts[group].astype(object).where(accounts[group].notna(), "unknown").astype(str),
            {"contacted": frame["action"].isin(contact), "harsh": frame["action"].isin(harsh)},
        )
        tables.append(
            table_of(
                f"By {group.replace('_', ' ')}",
                table,
                [
                    Column("group", "Group"),
                    Column("accounts", "Accounts", "count"),
                    Column("contacted", "Contacted", "share"),
                    Column("contacted_low", "95 % from", "share"),
                    Column("contacted_high", "95 % to", "share"),
                    Column("harsh", "Firm tone", "share"),
                    Column("harsh_low", "95 % from ", "share"),
                    Column("harsh_high", "95 % to ", "share"),
                ],
            )
        )
    return Section(
        "fairness",
        title,
        [
            "Shares of accounts by group, with Wilson intervals. Groups of fewer than 30 accounts are not shown, nor is the next "
            "smallest where it would give them away. Groups are not features of the models."
        ],
        tables,
    )
