"""Robustness: refits, seeds, months, weak slices, and how much smaller effects could be."""

from __future__ import annotations

import pandas as pd

from collectml.policy import Assignment
from collectml.reports.blocks import Column, Inputs, ModelLike, Section, Sentence, Table, fact, interval, say, table_of

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
    paragraphs: list[Sentence] = []
    tables: list[Table] = []
    refits = fact(model, "refits")
    if isinstance(refits, dict) and "first_reason_flips" in refits:
        paragraphs.append(
            say(
                "Effects were learnt again {n:,} times on resampled customers: the first reason of an account changed in "
                "{x:.0%} of refits. Reasons that would change in more than a tenth are withheld unless they lead by more than 0.1 "
                "log-odds.",
                n=refits.get("refits"),
                x=refits.get("first_reason_flips"),
            )
        )
        if refits.get("boosters_share"):
            paragraphs.append(
                say(
                    "Effects rest on a regression and, with {x:.0%} of the weight, on boosters. It is the regression that was learnt "
                    "again: what chance does to the boosters is not in these figures.",
                    x=refits["boosters_share"],
                )
            )
        tables.append(
            table_of(
                "How often refits change the first reason, by its lead",
                model.evidence.tables["flip_rates"],
                [
                    Column("lead_from", "Lead from, log-odds", "number"),
                    Column("accounts", "Accounts", "count"),
                    Column("flip_rate", "Refits that change it", "share"),
                ],
            )
        )
    else:
        paragraphs.append(
            say("Refits were not computed (robustness was not asked for in training): no reason has a flip rate.")
        )
    effects = model.evidence.tables.get("refit_effects")
    if effects is not None:
        tables.append(_refitted(effects))
    shrunk = model.evidence.tables.get("effects")
    if shrunk is not None:
        tables.append(_shocks(shrunk, model))
    slices = model.evidence.tables.get("slices")
    if slices is None:
        paragraphs.append(say("Slices were not computed: the evidence saved with the model holds none."))
    else:
        paragraphs.append(
            say(
                "{off:,} of {n:,} slices have an interval that excludes 1 (one in twenty would by chance).",
                off=((slices["low"] > 1) | (slices["high"] < 1)).sum(),
                n=len(slices),
            )
        )
        tables.append(
            table_of(
                "Observed over expected payers by slice, on customers kept out",
                slices,
                [
                    Column("kind", "By"),
                    Column("slice", "Slice"),
                    Column("decisions", "Decisions", "count"),
                    Column("ratio", "Observed over expected", "number"),
                    interval("number"),
                ],
            )
        )
    paragraphs.append(say("No overlay is applied: no figure of this report was corrected by hand."))
    return Section("robustness", "How far it can be relied on", paragraphs, tables)


def _refitted(effects: pd.DataFrame) -> Table:
    named = {"customers": "resampled customers", "seeds": "another seed, the same customers"}
    return table_of(
        "Mean effect of each action on the probability of payment, learnt again",
        effects.assign(over=effects["over"].map(named)),
        [
            Column("over", "What differs"),
            Column("action", "Action"),
            Column("refits", "Refits", "count"),
            Column("mean_pp", "Mean effect, percentage points", "number"),
            interval("number"),
        ],
    )


def _shocks(effects: pd.DataFrame, model: ModelLike) -> Table:
    """Say what is left of an action's mean net value where it brings less than estimated, and when nothing is."""
    control = model.strategy.control
    worth = effects["recovered"] * model.strategy.objective.value_of_recovered
    table = pd.DataFrame(
        {
            "action": effects["action"],
            "net": effects["net_value"],
            "quarter": effects["net_value"] - 0.25 * worth,
            "half": effects["net_value"] - 0.5 * worth,
            # of what an action brings, the part that its cost and complaints eat up
            "least": ((worth - effects["net_value"]) / worth).where(worth > 0),
        }
    )
    currency = model.strategy.currency
    return table_of(
        "What is left of each action's mean net value if it brings less than estimated",
        table[table["action"] != control],
        [
            Column("action", "Action"),
            Column("net", f"As estimated, {currency}", "money2"),
            Column("quarter", f"A quarter less, {currency}", "money2"),
            Column("half", f"Half, {currency}", "money2"),
            Column("least", "It pays down to this share of its effect", "share"),
        ],
    )
