"""Data: where the decisions came from, what was left out, and what was missing in them."""

from __future__ import annotations

import pandas as pd

from collectml.policy import Assignment
from collectml.reports.blocks import Column, Inputs, ModelLike, Section, Sentence, fact, say, table_of

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
        return Section("data", title, [say("Not recorded: the evidence saved with the model says nothing about its data.")])
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
        say(
            "Decisions from {first} to {last}, of {n:,} customers. Outcomes are those of the horizon after each decision.",
            first=str(log.get("first_decision", "not known")),
            last=str(log.get("last_decision", "not known")),
            n=log.get("customers"),
        ),
        _dated(log),
        say(
            "The probability of every logged decision is known: what actions change can be told from whom they were done to."
        )
        if randomised
        else say("NOT RANDOMISED: the log holds no probabilities of its decisions. No effect in this report is proven."),
        say("Digest of the decisions read: {digest}", digest=str(log.get("digest") or "not known")),
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


def _dated(log: dict[str, object]) -> Sentence:
    if "features_dated" not in log:
        return say("The log does not date its fields: that they are as of the decision is taken on trust.")
    return say(
        "Of {n:,} decisions the fields are dated: none is later than its decision, the oldest by {days:,} days earlier.",
        n=log["features_dated"],
        days=log.get("features_oldest_days"),
    )
