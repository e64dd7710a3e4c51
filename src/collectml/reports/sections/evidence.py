"""Data: where the decisions came from, what was left out, and what was missing in them."""

from __future__ import annotations

import pandas as pd

from collectml.policy import Assignment
from collectml.reports.blocks import Column, Inputs, ModelLike, Section, fact, said, table_of

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
    log = fact(model, "log")
    title = "What it was learnt from"
    if not isinstance(log, dict):
        return Section("data", title, ["Not recorded: the evidence saved with the model says nothing about its data."])
    left = log.get("left_out")
    left = left if isinstance(left, dict) else {}
    steps = [("decisions in the log", sum(map(int, left.values())) + int(log.get("decisions") or 0))]
    steps += [(f"left out: {name}", -int(count)) for name, count in left.items()]
    steps += [
        ("learnt from", int(log.get("training_decisions") or 0)),
        ("kept out", int(log.get("held_out_decisions") or 0)),
    ]
    support = model.evidence.tables.get("support")
    randomised = support is not None and bool((support["min_logging_propensity"] > 0).any())
    paragraphs = [
        f"Decisions from {log.get('first_decision', 'not known')} to {log.get('last_decision', 'not known')}, of "
        f"{said(log.get('customers'), ',')} customers. Fields are as of the decision; outcomes are those of the horizon after it.",
        "The probability of every logged decision is known: what actions change can be told from whom they were done to."
        if randomised
        else "NOT RANDOMISED: the log holds no probabilities of its decisions. No effect in this report is proven.",
    ]
    tables = [
        table_of(
            "From the log to what was learnt from",
            pd.DataFrame(steps, columns=["step", "decisions"]),
            [Column("step", "Step"), Column("decisions", "Decisions", "count")],
        )
    ]
    fields = model.evidence.tables.get("fields")
    if fields is not None and (fields["missing"] > 0).any():
        tables.append(
            table_of(
                "Fields with missing values",
                fields[fields["missing"] > 0].sort_values("missing", ascending=False).head(12),
                [Column("field", "Field"), Column("missing", "Share missing", "share")],
            )
        )
    return Section("data", title, paragraphs, tables)
