"""Soundness: the design, its assumptions, what was rejected."""

from __future__ import annotations

from collectml.policy import Assignment
from collectml.reports.blocks import Inputs, ModelLike, Section, fact

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
    gain = fact(model, "uplift", "evidence_of_heterogeneity")
    paragraphs = [
        "Assumed: payments within the horizon measure success; customers do not affect one another; what the log shows of an "
        "action holds for the next cycle.",
        "Rejected: one model for each action (few rows each), and models of the amount alone (most accounts pay nothing). Effects "
        "are shrunk towards none as far as the log asks.",
        "No monotone constraint is set, so none can be violated; expected signs are for the reader to hold against the drivers.",
    ]
    if isinstance(gain, (int, float)):
        paragraphs.append(
            f"Log evidence for effects that differ between accounts: {gain:,.1f} (above 0 speaks for them, below 0 against)."
        )
    return Section("soundness", "Why it is built this way", paragraphs)
