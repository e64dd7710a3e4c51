"""Cases: accounts picked by a published rule, without anything that could name them."""

from __future__ import annotations

import pandas as pd

from collectml.policy import Assignment
from collectml.reports.blocks import Column, Inputs, ModelLike, Section, say, table_of

__all__ = ["build"]

SIGN = {"raises": "(+)", "lowers": "(−)", "mixed": ""}


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
        return Section(
            "cases", title, [say("Not shown: no accounts were handed in, or the learner has no boosters to explain.")]
        )
    rows = [
        {
            **c,
            "changes": " + ".join(f"{x['field']}: {_short(x['from'])} → {_short(x['to'])}" for x in c["changed"])
            or "none found",
            "why": [f"{r['reason']} {SIGN[str(r['direction'])]}".strip() for r in c.get("reasons", ())],
        }
        for c in cases
    ]
    currency = model.strategy.currency
    return Section(
        "cases",
        title,
        [
            say(
                "Of every action the account of median margin; the closest call; the largest margin; the largest balance; ties by "
                "a hash. Ids are not shown and values are rounded. Each smallest change was scored again and does lead to the "
                "other action."
            ),
            say("Reasons are those a customer may be told: (+) raises what the action changes, (−) lowers it."),
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
                    Column("margin", f"Margin, {currency}", "money2"),
                    Column("changes", "Smallest change of what can change", "list"),
                    Column("changed_action", "It would lead to"),
                ],
            ),
            table_of(
                "Reasons of the cases",
                pd.DataFrame(rows),
                [Column("case", "Case", "count"), Column("action", "Action"), Column("why", "Reasons", "list")],
            ),
        ],
    )


def _short(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,g}" if isinstance(value, (int, float)) else str(value)
