"""Monitoring and rollback: what is watched, when somebody must act."""

from __future__ import annotations

import pandas as pd

from collectml.policy import Assignment
from collectml.reports.blocks import Column, Inputs, ModelLike, Section, table_of

__all__ = ["build"]


PLAN = [
    ("calibration", "observed over expected outside 0.9 to 1.1, interval excludes 1", "monthly", "fit the calibrator again"),
    (
        "drift of fields",
        "index above 0.25 and above its sampling limit",
        "monthly",
        "hold the model back, look at the source",
    ),
    ("gain over the hold-out", "upper end of the interval below 0", "each cycle", "return to the previous policy"),
    ("complaints per 1,000 contacts", "above its control limit", "weekly", "stop the action that raises them"),
    ("limits", "any exceeded", "each batch", "the batch is not released"),
]


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
    holdout, exploration = model.strategy.holdout.share, model.strategy.exploration.share
    frame = assignment.frame()
    lost = float(
        (frame["value"] - frame["value_no_action"])[frame["reason"] != "hold-out"].mean()
        * (frame["reason"] == "hold-out").sum()
    )
    return Section(
        "monitoring",
        "What is watched, and when it is stopped",
        [
            f"A hold-out of {holdout:.1%} of customers is left alone for good and {exploration:.1%} of the others are explored, so that "
            "the next report can say what the strategy changed.",
            f"What the hold-out forgoes this cycle, at the mean gain of the others: {lost:,.0f} {model.strategy.currency}. That is what "
            "the evidence costs.",
        ],
        [
            table_of(
                "Monitoring and rollback",
                pd.DataFrame(PLAN, columns=["metric", "threshold", "cadence", "action"]),
                [
                    Column("metric", "Metric"),
                    Column("threshold", "Somebody acts when"),
                    Column("cadence", "How often"),
                    Column("action", "What is done"),
                ],
            )
        ],
    )
