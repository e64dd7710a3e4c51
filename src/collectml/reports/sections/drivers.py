"""Drivers: which features move what the best action changes."""

from __future__ import annotations

import math

from collectml.policy import Assignment
from collectml.reports.blocks import Chart, Column, ModelLike, Section, table_of

__all__ = ["build"]

SHOWN = 12
NOTICEABLE = 0.01
ITSELF = "(the action itself)"


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
    title = "What drives the effect of acting"
    table = model.evidence.tables.get("drivers")
    if table is None:
        return Section("drivers", title, ["Not computed: the evidence saved with the model holds no drivers."])
    if table.empty:
        return Section(
            "drivers", title, ["Not computed: the learner has no shared booster whose contributions could be told."]
        )
    # of levels, and of the action itself, nothing can be said "as the feature grows"
    top = table.head(SHOWN).assign(way=lambda t: t["direction"].where(t["direction"] != "mixed", ""))
    paragraphs = [
        "For a sample of accounts: how far each feature moves what the account's most valuable action changes in its "
        "probability of payment. Contributions are exact and add up to the effect. They describe the model, not causes. "
        f'"{ITSELF}" is what the action changes for everybody, whatever the account.'
    ]
    rest = table.iloc[SHOWN:]
    if len(rest):
        paragraphs.append(
            f"{len(rest)} further features are not shown; none moves the effect by more than "
            f"{math.ceil(1000 * rest['mean_abs_pp'].max()) / 1000:.3f} percentage points on average."
        )
    own = table["feature"] == ITSELF
    if table.loc[~own, "mean_abs_pp"].sum() < NOTICEABLE * table.loc[own, "mean_abs_pp"].sum():
        paragraphs.append(
            "No feature moves the effect noticeably: in this log the model found no reliable difference in how accounts respond, "
            "beyond how likely they are to pay anyway."
        )
    chart = Chart(
        "Mean absolute contribution to the effect on the probability of payment",
        "; ".join(f"{r.feature}: {r.mean_abs_pp:.2f} points" for r in top.itertuples()),
        [f"{name} ({way})" if way else str(name) for name, way in zip(top["feature"], top["way"], strict=True)],
        top["mean_abs_pp"].tolist(),
        "percentage points",
    )
    return Section(
        "drivers",
        title,
        paragraphs,
        [
            table_of(
                "Drivers of the effect",
                top,
                [
                    Column("feature", "Feature"),
                    Column("mean_abs_pp", "Mean absolute contribution, percentage points", "number"),
                    Column("way", "As the feature grows, it"),
                ],
            )
        ],
        [chart],
    )
