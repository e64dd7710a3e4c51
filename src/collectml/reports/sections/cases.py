"""Cases: accounts picked by a published rule, without anything that could name them."""

from __future__ import annotations

import pandas as pd

from collectml.policy import Assignment
from collectml.reports.blocks import Column, Inputs, ModelLike, Section, table_of

__all__ = ["build"]


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
    title, cases = "Single accounts, picked by rule", inputs.cases.get("cases")
    if not cases:
        return Section("cases", title, ["Not shown: no accounts were handed in, or the learner has no boosters to explain."])
    rows = []
    for c in cases:
        changes = " + ".join(f"{x['field']}: {_short(x['from'])} → {_short(x['to'])}" for x in c["changed"])
        rows.append({**c, "changes": changes or "none found", "changed_action": c["changed_action"]})
    return Section(
        "cases",
        title,
        [
            "Of every action the account of median margin; the largest margin; the largest balance; ties by a hash. Ids are not "
            "shown and values are rounded. Each smallest change was scored again and does lead to the other action."
        ],
        [
            table_of(
                "Cases",
                pd.DataFrame(rows),
                [
                    Column("case", "Case", "count"),
                    Column("rule", "Picked as"),
                    Column("action", "Action"),
                    Column("other", "Next best"),
                    Column("margin", f"Margin, {model.strategy.currency}", "money2"),
                    Column("changes", "Smallest change of what can change"),
                    Column("changed_action", "It would lead to"),
                ],
            )
        ],
    )


def _short(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,g}" if isinstance(value, (int, float)) else str(value)
