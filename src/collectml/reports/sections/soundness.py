"""Soundness: the design, its assumptions, what was rejected, and whether fields act as expected."""

from __future__ import annotations

import pandas as pd

from collectml.policy import Assignment
from collectml.reports.blocks import Column, Inputs, ModelLike, Section, fact, say, table_of

__all__ = ["build"]

SIGNS = {1: "raises", -1: "lowers", 0: "none"}


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
    gain = fact(model, "uplift", "evidence_of_heterogeneity")
    paragraphs = [
        say(
            "Assumed: payments within the horizon measure success; customers do not affect one another; what the log shows of an "
            "action holds for the next cycle."
        ),
        say(
            "Rejected: one model for each action (few rows each), and models of the amount alone (most accounts pay nothing). "
            "Effects are shrunk towards none as far as the log asks."
        ),
    ]
    if isinstance(gain, (int, float)):
        paragraphs.append(
            say(
                "Log evidence for effects that differ between accounts: {x:,.1f} (above 0 speaks for them, below 0 against).",
                x=gain,
            )
        )
    signs = model.evidence.tables.get("signs")
    if signs is None:
        paragraphs.append(say("Expected signs were not checked: the evidence saved with the model holds no grid."))
        return Section("soundness", "Why it is built this way", paragraphs)
    bound = signs[signs["constraint"] != 0]
    paragraphs.append(
        say(
            "{k:,} fields may move the propensity to pay in one direction only; on the grid {x:,} of {n:,} steps break that.",
            k=len(bound),
            x=bound["against"].sum(),
            n=bound["steps"].sum(),
        )
        if len(bound)
        else say("No field is constrained to one direction; the steps against the expected sign are counted below.")
    )
    return Section(
        "soundness",
        "Why it is built this way",
        paragraphs,
        [
            table_of(
                "How the propensity to pay moves along each field, all else as it is",
                _shown(signs),
                [
                    Column("field", "Field"),
                    Column("sign", "Expected as it grows"),
                    Column("held", "Constrained"),
                    Column("steps", "Steps of the grid", "count"),
                    Column("against", "Against it", "count"),
                    Column("share", "Share against", "share"),
                ],
            )
        ],
    )


def _shown(signs: pd.DataFrame) -> pd.DataFrame:
    return signs.assign(
        sign=[SIGNS[int(c) or int(e)] for c, e in zip(signs["constraint"], signs["expected"], strict=True)],
        held=["yes" if c else "no" for c in signs["constraint"]],
        share=signs["against"] / signs["steps"],
    )
