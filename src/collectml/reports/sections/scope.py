"""Scope: who was decided, who may not be contacted and why, and what the strategy must not be used for."""

from __future__ import annotations

import numpy as np
import pandas as pd

from collectml.policy import Assignment
from collectml.reports.blocks import Column, Inputs, ModelLike, Section, Table, say, table_of

__all__ = ["ALL", "build"]

ALL = "all accounts"


def build(model: ModelLike, assignment: Assignment, inputs: Inputs) -> Section:
    """Build the section.

    Parameters
    ----------
    model : ModelLike
        Strategy and evidence.
    assignment : Assignment
        What was assigned.
    inputs : Inputs
        Accounts, cases and whatever else was handed in.

    Returns
    -------
    Section
    """
    problem = assignment.problem
    contact = problem.strategy.contact_mask
    contactable = int(problem.permissions.allowed[:, contact].any(axis=1).sum())
    n = len(problem.ids)
    conditions = problem.permissions.frame()
    whom = {c.name: c for c in problem.strategy.conditions}
    conditions["rule"] = [whom[c].allow if c in whom else "enough logged decisions" for c in conditions["condition"]]
    conditions["basis"] = [whom[c].cite if c in whom else "strategy: min_logged" for c in conditions["condition"]]
    conditions["missing"] = conditions["missing_fields"].where(conditions["missing_fields"] != "", "none")
    reasons = assignment.frame()["reason"].value_counts().rename_axis("reason").reset_index(name="accounts")
    reasons["share"] = reasons["accounts"] / max(1, n)
    settled = inputs.approval.classification
    return Section(
        "scope",
        "Who was decided, and who may not be contacted",
        [
            say(
                "{n:,} accounts were decided. {a:,} may be contacted in at least one way; {b:,} may not be contacted at all and "
                "are left alone. A field that is missing denies.",
                n=n,
                a=contactable,
                b=n - contactable,
            ),
            say(
                "Not to be used for granting or pricing credit, for accounts outside this snapshot, or to contact anybody a "
                "condition bars."
            ),
            say("Legal classification, as counsel settled it: {what}.", what=settled)
            if settled
            else say("Legal classification: to be settled by counsel. Nothing here says that it is."),
        ],
        [
            _exclusions(assignment, inputs),
            table_of(
                "Conditions: accounts each one denies (an account may be denied by several)",
                pd.DataFrame(conditions),
                [
                    Column("condition", "Condition"),
                    Column("rule", "Allowed where"),
                    Column("basis", "Basis"),
                    Column("accounts", "Accounts denied", "count"),
                    Column("missing", "Fields missing"),
                ],
            ),
            table_of(
                "Why each account has its action",
                reasons,
                [Column("reason", "Reason"), Column("accounts", "Accounts", "count"), Column("share", "Share", "share")],
            ),
        ],
    )


def _exclusions(assignment: Assignment, inputs: Inputs) -> Table:
    """Count every account once: those that may be contacted, and the others by the first condition that bars all contact."""
    problem, permissions = assignment.problem, assignment.problem.permissions
    contact, n = problem.strategy.contact_mask, len(problem.ids)
    barred = ~permissions.allowed[:, contact].any(axis=1)
    why = np.where(barred, "no way of contact left (several conditions)", "may be contacted").astype(object)
    for name in reversed(list(permissions.denied)):  # the condition listed first has the last word
        if permissions.covers[name][contact].all():
            why[barred & permissions.denied[name]] = name
    balance = inputs.column("balance", problem.ids)
    owed = np.full(n, np.nan) if balance is None else balance.to_numpy(dtype=float)
    by_reason = pd.DataFrame({"why": why, "owed": owed}).groupby("why", sort=False)["owed"]
    table = pd.DataFrame({"accounts": by_reason.size(), "balance": by_reason.sum(min_count=1)}).reset_index()
    table = table.sort_values("accounts", ascending=False, kind="stable")
    total = pd.DataFrame(
        {"why": [ALL], "accounts": [n], "balance": [np.nansum(owed) if np.isfinite(owed).any() else np.nan]}
    )
    table = pd.concat([table, total], ignore_index=True)
    table["share"] = table["accounts"] / max(1, n)
    return table_of(
        "Who may be contacted, and what excludes the others (each account counted once)",
        table,
        [
            Column("why", "Standing"),
            Column("accounts", "Accounts", "count"),
            Column("share", "Share", "share"),
            Column("balance", f"Balance, {problem.strategy.currency}", "money2"),
        ],
    )
