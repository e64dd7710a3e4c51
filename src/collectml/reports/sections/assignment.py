"""Assignment: actions against capacity, and what each limit costs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from collectml.policy import Assignment
from collectml.reports.blocks import Chart, Column, Inputs, ModelLike, Section, Table, say, table_of

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
        The accounts, for their stages.

    Returns
    -------
    Section
    """
    currency = model.strategy.currency
    by_action = assignment.by_action().reset_index(names="action")
    limits = assignment.limits()
    frame, solution = inputs.decided(assignment), assignment.plan.solution
    bounded = limits[np.isfinite(limits["upper"])]
    gain = frame["value"] - frame["value_no_action"]
    paragraphs = [
        say(
            "{n:,} accounts are worth {value:,.0f} {currency} under what was assigned, {gain:,.0f} of it gain over {control} for all.",
            n=len(frame),
            value=frame["value"].sum(),
            currency=currency,
            gain=gain.sum(),
            control=model.strategy.control,
        ),
        say(
            "The plan behind it, for the accounts free to be decided, is worth {value:,.0f} {currency}; the best conceivable "
            "assignment within its limits is worth at most {more:,.2f} {currency} more.",
            value=solution.value,
            more=max(0.0, solution.upper_bound - solution.value),
            currency=currency,
        ),
    ]
    if len(limits):
        paragraphs.append(say("A shadow price says what one more unit of a limit would add to the plan."))
    else:
        paragraphs.append(say("The strategy sets no limits: every account has its best permitted action."))
    tables = [
        table_of(
            "Actions",
            by_action,
            [
                Column("action", "Action"),
                Column("accounts", "Accounts", "count"),
                Column("share", "Share", "share"),
                Column("value", f"Expected net value, {currency}", "money"),
                Column("gain", f"Gain over {model.strategy.control}, {currency}", "money"),
            ],
        )
    ]
    charts = [
        Chart(
            "Accounts by action",
            "; ".join(f"{r.action}: {r.accounts:,}" for r in by_action.itertuples()),
            by_action["action"].tolist(),
            by_action["accounts"].astype(float).tolist(),
            "accounts",
        )
    ]
    if len(limits):
        lower = [Column("lower", "At least", "number")] if np.isfinite(limits["lower"]).any() else []
        tables.append(
            table_of(
                "Limits",
                limits,
                [
                    Column("limit", "Limit"),
                    Column("sentence", "In words"),
                    Column("used", "Used", "number"),
                    *lower,
                    Column("upper", "At most", "number"),
                    Column("unit", "Unit"),
                    Column("share_used", "Share used", "share"),
                    Column("shadow_price", f"Shadow price, {currency} per unit", "money2"),
                ],
            )
        )
    if len(bounded):
        charts.append(
            Chart(
                "Share of each limit used (the mark is the limit)",
                "; ".join(f"{r.limit}: {r.share_used:.0%}" for r in bounded.itertuples()),
                bounded["limit"].tolist(),
                (100 * bounded["share_used"]).tolist(),
                "% of the limit",
                reference=[100.0] * len(bounded),
            )
        )
    if len(limits):
        tables.append(_around(assignment, inputs, currency))
        if inputs.shifted is not None and len(inputs.shifted):
            t = inputs.shifted
            paragraphs.append(
                say(
                    "Each limit was solved anew with a tenth more and a tenth less. The price foresees at most the gain of more and at "
                    "least the loss of less; each change is proven to within {x:,.2f} {currency}.",
                    x=float(t["proven"].max() + t[["less_proven", "more_proven"]].max().max()),
                    currency=currency,
                )
            )
    tables.append(_bridge(assignment, currency))
    if inputs.accounts is not None and "days_past_due" in inputs.accounts:
        tables.append(_by_stage(frame, inputs, currency))
    return Section("assignment", "What was assigned, and what each limit costs", paragraphs, tables, charts)


def _around(assignment: Assignment, inputs: Inputs, currency: str) -> Table:
    """Say what is left of each limit, and what a tenth of it is worth: by its price, and solved anew."""
    left = inputs.prices(assignment).by_limit
    columns = [
        Column("limit", "Limit"),
        Column("slack", "Left by the plan", "number"),
        Column("slack_value", f"Price times what is left, {currency}", "money2"),
    ]
    if inputs.shifted is None:
        return table_of("What the plan left of each limit", left, columns)
    return table_of(
        "What the plan left of each limit, and what a tenth more or less is worth",
        left.merge(inputs.shifted, on="limit", how="left"),
        [
            *columns,
            Column("foreseen", f"Price times a tenth, {currency}", "money"),
            Column("more", f"A tenth more, solved anew, {currency}", "money"),
            Column("less", f"A tenth less, solved anew, {currency}", "money"),
        ],
    )


def _bridge(assignment: Assignment, currency: str) -> Table:
    """Go from nothing done to what was assigned, step by step; the steps add up to it."""
    problem, rows = assignment.problem, np.arange(len(assignment.problem.ids))
    best = np.where(problem.eligible, problem.net, -np.inf).max(axis=1)
    free = np.where(problem.free & np.isfinite(best), best, problem.net[rows, assignment.plan.action])
    at = assignment.action
    nothing, unlimited = float(problem.net[:, 0].sum()), float(free.sum())
    planned, assigned = float(problem.net[rows, assignment.plan.action].sum()), float(problem.net[rows, at].sum())
    steps = [
        (f"{problem.strategy.control} for all", nothing),
        ("the best permitted action for each account, as if nothing were limited", unlimited - nothing),
        ("what the limits and one contact a customer cost", planned - unlimited),
        ("what hold-out and exploration cost", assigned - planned),
        ("overlays: none is applied", 0.0),
        ("as assigned", assigned),
    ]
    return table_of(
        "From nothing done to what was assigned",
        pd.DataFrame(steps, columns=["step", "value"]),
        [Column("step", "Step"), Column("value", f"Expected net value, {currency}", "money2")],
    )


def _by_stage(frame: pd.DataFrame, inputs: Inputs, currency: str) -> Table:
    """Sum accounts, balance and value by action and stage; an action's rows add up to the action's."""
    ids = pd.Index(frame["account_id"])
    late, owed = inputs.column("days_past_due", ids), inputs.column("balance", ids)
    days = np.full(len(ids), np.nan) if late is None else late.to_numpy(dtype=float, na_value=np.nan)
    stage = np.select(
        [days <= 0, days <= 30, days <= 60, days <= 90, days > 90], ["0", "1-30", "31-60", "61-90", "91+"], "unknown"
    )
    balance = np.full(len(ids), np.nan) if owed is None else owed.to_numpy(dtype=float)
    table = (
        frame.assign(stage=stage, balance=balance)
        .groupby(["action", "stage"], sort=True)
        .agg(accounts=("value", "size"), balance=("balance", "sum"), value=("value", "sum"))
        .reset_index()
    )
    return table_of(
        "Actions by stage",
        table,
        [
            Column("action", "Action"),
            Column("stage", "Days past due"),
            Column("accounts", "Accounts", "count"),
            Column("balance", f"Balance, {currency}", "money"),
            Column("value", f"Expected net value, {currency}", "money"),
        ],
    )
