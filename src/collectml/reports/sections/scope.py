"""Scope: who was decided, who may not be contacted and why."""

from __future__ import annotations

import pandas as pd

from collectml.policy import Assignment
from collectml.reports.blocks import Column, ModelLike, Section, table_of

__all__ = ["build"]


def build(model: ModelLike, assignment: Assignment) -> Section:
    """Build the section.

    Parameters
    ----------
    model : ModelLike
        Strategy and evidence.
    assignment : Assignment
        What was assigned.

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
    paragraphs = [
        f"{n:,} accounts were decided. {contactable:,} may be contacted in at least one way; {n - contactable:,} may not be "
        "contacted at all and are left alone. A field that is missing denies."
    ]
    return Section(
        "scope",
        "Who was decided, and who may not be contacted",
        paragraphs,
        [
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
