"""Drivers: what moves what the best action changes, group by group and feature by feature."""

from __future__ import annotations

import math

import pandas as pd

from collectml.policy import Assignment
from collectml.reports.blocks import (
    Chart,
    Column,
    Inputs,
    ModelLike,
    Section,
    Sentence,
    Table,
    fact,
    interval,
    say,
    table_of,
)

__all__ = ["build"]

SHOWN = 12
NOTICEABLE = 0.01
ITSELF = "(the action itself)"
TITLE = "What drives the effect of acting"


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
    table = model.evidence.tables.get("drivers")
    if table is None:
        return Section("drivers", TITLE, [say("Not computed: the evidence saved with the model holds no drivers.")])
    if table.empty:
        return Section(
            "drivers", TITLE, [say("Not computed: the learner has no shared booster whose contributions could be told.")]
        )
    # of levels, and of the action itself, nothing can be said "as the feature grows"
    top = table.head(SHOWN).assign(way=lambda t: t["direction"].where(t["direction"] != "mixed", ""))
    groups, charts, tables = model.evidence.tables.get("driver_groups"), [], []
    if groups is not None:
        charts.append(_chart("Mean absolute contribution to the effect, by group of features", groups, groups["group"]))
        tables.append(_of_groups(groups, model.strategy.currency))
    else:
        labels = [f"{name} ({way})" if way else str(name) for name, way in zip(top["feature"], top["way"], strict=True)]
        charts.append(_chart("Mean absolute contribution to the effect on the probability of payment", top, labels))
    tables.append(
        table_of(
            "Drivers of the effect",
            top,
            [
                Column("feature", "Feature"),
                Column("mean_abs_pp", "Mean absolute contribution, percentage points", "number"),
                Column("way", "As the feature grows, it"),
            ],
        )
    )
    refits = model.evidence.tables.get("refit_drivers")
    if refits is not None:
        tables.append(
            table_of(
                "How far the weight of each group moves between refits, mean absolute contribution in log-odds",
                refits,
                [
                    Column("group", "Group of features"),
                    Column("mean_abs_log_odds", "Mean", "number"),
                    interval("number"),
                ],
            )
        )
    dependence = model.evidence.tables.get("dependence")
    if dependence is not None and len(dependence):
        tables.append(
            table_of(
                "What the weightiest fields add to the effect, by fifth of the field",
                dependence,
                [
                    Column("feature", "Feature"),
                    Column("from", "From", "number"),
                    Column("to", "To", "number"),
                    Column("accounts", "Accounts", "count"),
                    Column("mean_pp", "Mean contribution, percentage points", "number"),
                ],
            )
        )
    return Section("drivers", TITLE, _said(model, table), tables, charts)


def _said(model: ModelLike, table: pd.DataFrame) -> list[Sentence]:
    told = [
        say(
            "For a sample of accounts: how far each feature moves what the account's most valuable action changes in its "
            "probability of payment. Contributions are exact and add up to the effect. They describe the model, not causes. "
            '"(the action itself)" is what the action changes for everybody, whatever the account.'
        )
    ]
    facts = fact(model, "drivers")
    if isinstance(facts, dict):
        told.append(
            say(
                "Of {n:,} accounts the action changes the probability of payment by {pp:.2f} percentage points on average, and "
                "brings {money:,.2f} {currency}.",
                n=facts.get("accounts"),
                pp=facts.get("effect_pp"),
                money=facts.get("effect_money"),
                currency=model.strategy.currency,
            )
        )
    rest = table.iloc[SHOWN:]
    if len(rest):
        told.append(
            say(
                "{k:,} further features are not shown; none moves the effect by more than {x:.3f} percentage points on average.",
                k=len(rest),
                x=math.ceil(1000 * rest["mean_abs_pp"].max()) / 1000,
            )
        )
    own = table["feature"] == ITSELF
    if table.loc[~own, "mean_abs_pp"].sum() < NOTICEABLE * table.loc[own, "mean_abs_pp"].sum():
        told.append(
            say(
                "No feature moves the effect noticeably: in this log the model found no reliable difference in how accounts "
                "respond, beyond how likely they are to pay anyway."
            )
        )
    return told


def _chart(title: str, table: pd.DataFrame, labels: pd.Series | list[str]) -> Chart:
    values = table["mean_abs_pp"].tolist()
    described = "; ".join(f"{name}: {v:.2f} points" for name, v in zip(labels, values, strict=True))
    return Chart(title, described, [str(x) for x in labels], values, "percentage points")


def _of_groups(groups: pd.DataFrame, currency: str) -> Table:
    return table_of(
        "Drivers of the effect by group of features (means of a group are the sums of its members')",
        groups,
        [
            Column("group", "Group of features"),
            Column("mean_abs_pp", "Mean absolute contribution, percentage points", "number"),
            Column("mean_pp", "Mean contribution, percentage points", "number"),
            Column("mean_abs_money", f"Mean absolute contribution, {currency}", "money2"),
            Column("mean_money", f"Mean contribution, {currency}", "money2"),
        ],
    )
