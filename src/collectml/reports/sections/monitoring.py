"""Monitoring and rollback: what is watched, when somebody must act."""

from __future__ import annotations

from dataclasses import asdict

import pandas as pd

from collectml.policy import Assignment
from collectml.reports.blocks import Column, Inputs, ModelLike, Section, Table, interval, say, table_of
from collectml.reports.frozen import Watched, watched

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
    frame = inputs.decided(assignment)
    # whoever answers for the first condition watches, until somebody else is named
    owner = next((o for o in inputs.approval.owners if o), "to be named")
    lost = float(
        (frame["value"] - frame["value_no_action"])[frame["reason"] != "hold-out"].mean()
        * (frame["reason"] == "hold-out").sum()
    )
    return Section(
        "monitoring",
        "What is watched, and when it is stopped",
        [
            say(
                "A hold-out of {a:.1%} of customers is left alone for good and {b:.1%} of the others are explored, so that the next "
                "report can say what the strategy changed.",
                a=holdout,
                b=exploration,
            ),
            say(
                "What the hold-out forgoes this cycle, at the mean gain of the others: {x:,.0f} {currency}. That is what the "
                "evidence costs.",
                x=lost,
                currency=model.strategy.currency,
            ),
        ],
        [
            table_of(
                "Monitoring and rollback",
                pd.DataFrame(PLAN, columns=["metric", "threshold", "cadence", "action"]).assign(owner=owner),
                [
                    Column("metric", "Metric"),
                    Column("threshold", "Somebody acts when"),
                    Column("cadence", "How often"),
                    Column("owner", "Owner"),
                    Column("action", "What is done"),
                ],
            ),
            *_expected(watched(model, assignment, inputs)),
        ],
    )


def _expected(metrics: list[Watched]) -> list[Table]:
    """Say what each metric is and what was expected of it: the next report is held against this, and the payload keeps it."""
    frame = pd.DataFrame([asdict(m) for m in metrics])
    defined = frame.assign(metric=frame["metric"].str.replace(r"^limit: .*", "limits", regex=True)).drop_duplicates("metric")
    return [
        table_of(
            "What each metric is",
            defined,
            [Column("metric", "Metric"), Column("definition", "Definition")],
        ),
        table_of(
            "What was expected when this report was written",
            frame,
            [
                Column("metric", "Metric"),
                Column("unit", "Unit"),
                Column("predicted", "Predicted", "number"),
                Column("observed", "On customers kept out", "number"),
                interval("number"),
                Column("below", "Acted on below", "number"),
                Column("above", "Acted on above", "number"),
            ],
        ),
    ]
