"""Plain summary: what is proposed, for whom, what changes, and what it cannot do."""

from __future__ import annotations

from collectml.policy import Assignment
from collectml.reports.blocks import Inputs, ModelLike, Section, say

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
    frame, currency, control = assignment.frame(), model.strategy.currency, model.strategy.control
    acted = int((frame["action"] != control).sum())
    gain = float((frame["value"] - frame["value_no_action"]).sum())
    scarce = int(frame["reason"].isin(["better use of limit", "one contact per customer"]).sum())
    return Section(
        "summary",
        "In plain words",
        [
            say("Every account gets the one permitted action that brings the portfolio the most money within its limits."),
            say(
                "Of {n:,} accounts {acted:,} get an action and {left:,} are left alone this cycle.",
                n=len(frame),
                acted=acted,
                left=len(frame) - acted,
            ),
            say("Expected gain over leaving all alone: {gain:,.0f} {currency}.", gain=gain, currency=currency),
            say(
                "{n:,} accounts have another action than their most valuable one because a limit is worth more elsewhere.",
                n=scarce,
            ),
            say(
                "It cannot tell what no log has shown: actions without evidence are blocked, customers' circumstances that no "
                "field holds are unknown to it, and what worked in the past may stop working."
            ),
        ],
    )
