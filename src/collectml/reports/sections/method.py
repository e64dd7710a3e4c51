"""Method and provenance: what the numbers rest on."""

from __future__ import annotations

import pandas as pd

from collectml.policy import Assignment
from collectml.reports.blocks import Column, ModelLike, Section, fact, table_of

__all__ = ["build"]

LEARNERS = {
    "hurdle": "Outcomes of every action are predicted by one hurdle model (whether, then how much) shared by all actions.",
    "s": "Outcomes of every action are predicted by one model in which the action is a feature.",
    "t": "Outcomes of every action are predicted by a model of its own.",
}


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
    rows = []
    for group in ("log", "settings", "uplift"):
        facts = fact(model, group)
        for key, value in _flat(facts) if isinstance(facts, dict) else ():
            written = (
                f"{value:,.4g}" if isinstance(value, float) else (f"{value:,}" if isinstance(value, int) else str(value))
            )
            rows.append({"group": group, "item": key.replace("_", " "), "value": written})
    tables = [
        table_of(
            "Provenance",
            pd.DataFrame(rows, columns=["group", "item", "value"]),
            [Column("group", "Of"), Column("item", "Item"), Column("value", "Value")],
        )
    ]
    support = model.evidence.tables.get("support")
    if support is not None:
        shown = support.assign(used=["yes" if s else "no: no evidence" for s in support["supported"]])
        tables.append(
            table_of(
                f"Logged decisions behind each action (fewer than {model.strategy.min_logged:,} block it)",
                shown,
                [
                    Column("action", "Action"),
                    Column("rows", "Decisions", "count"),
                    Column("paid", "With a payment", "count"),
                    Column("min_logging_propensity", "Smallest logging propensity", "number"),
                    Column("used", "Used"),
                ],
            )
        )
    learner = fact(model, "settings", "learner")
    method = [
        LEARNERS.get(str(learner), "How outcomes were learnt is not recorded."),
        "Net value is recovered money less expected cost and complaints; the assignment maximises it within the limits and is "
        "certified by a dual bound.",
    ]
    if "policy_value" in model.evidence.tables:
        method.append("The value of the policy is estimated on customers kept out of training, from logged propensities.")
    return Section("method", "What the numbers rest on", method, tables)


def _flat(value: dict[str, object], path: str = "") -> list[tuple[str, object]]:
    out: list[tuple[str, object]] = []
    for key, item in value.items():
        name = f"{path}{key}"
        out += _flat(item, f"{name} ") if isinstance(item, dict) else [(name, item)]
    return out
