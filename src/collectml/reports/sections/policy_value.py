"""Policy value: what the policy is worth on customers the model has not seen."""

from __future__ import annotations

from collectml.policy import Assignment
from collectml.reports.blocks import Chart, Column, Inputs, ModelLike, Section, fact, interval, say, table_of

__all__ = ["build"]

NAMES = {"dr": "doubly robust", "snips": "self-normalised weights", "ips": "inverse weights", "dm": "model alone"}


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
    title = "What the policy is worth"
    currency = model.strategy.currency
    table = model.evidence.tables.get("policy_value")
    if table is None:
        reason = fact(model, "policy_value", "refused") or "it was not evaluated"
        return Section(
            "policy-value",
            title,
            [
                say(
                    "The value of the policy is not known: {reason}. Without logged propensities nothing here separates what the "
                    "policy does from whom it was done to. Log the probability of every decision, or run a randomised share.",
                    reason=str(reason),
                )
            ],
        )
    table = table.assign(method=[NAMES.get(e, e) for e in table["estimator"]])
    shown = table[table["estimator"] == "dr"]
    if shown.empty:
        shown = table[table["estimator"] == table["estimator"].iloc[0]]
    columns = [
        Column("baseline", "Compared with"),
        Column("method", "Estimator"),
        Column("value", f"Policy, {currency} per decision", "money2"),
        Column("baseline_value", f"Comparison, {currency} per decision", "money2"),
        Column("difference", f"Difference, {currency} per decision", "money2"),
        interval("money2", "difference_"),
        Column("ess", "Effective decisions", "count"),
    ]
    if "true_difference" in table:
        columns.append(Column("true_difference", f"True difference (simulated), {currency}", "money2"))
    notes = [
        say("Against {baseline}: {note}.", baseline=str(b), note=n)
        for b, n in zip(shown["baseline"], shown["note"], strict=True)
        if isinstance(n, str) and n
    ]
    support = model.evidence.tables.get("support")
    paragraphs = [
        say(
            "Estimated on {n:,} decisions of customers kept out of training, under limits scaled to their share. Each difference "
            "is paired: both policies are scored on the same decisions. An interval that spans zero means the log cannot tell the "
            "two apart.",
            n=fact(model, "log", "held_out_decisions"),
        ),
        say(
            "The policy is worth {value:,.2f} {currency} per decision (95 % interval {low:,.2f} to {high:,.2f}).",
            value=shown["value"].iloc[0],
            low=shown["low"].iloc[0],
            high=shown["high"].iloc[0],
            currency=currency,
        ),
        say(
            "Overlap: no logged action had a probability below {p:.3f}.",
            p=None if support is None else support["min_logging_propensity"].min(),
        ),
        *notes,
    ]
    drawn = shown.dropna(subset=["difference", "difference_low", "difference_high"])
    chart = Chart(
        f"Policy less each comparison ({NAMES.get(shown['estimator'].iloc[0], 'first estimator')}), with 95 % interval",
        "; ".join(
            f"against {r.baseline}: {r.difference:,.2f} ({r.difference_low:,.2f} to {r.difference_high:,.2f})"
            for r in drawn.itertuples()
        ),
        [str(b) for b in drawn["baseline"]],
        drawn["difference"].tolist(),
        f"{currency} per decision",
        drawn["difference_low"].tolist(),
        drawn["difference_high"].tolist(),
    )
    tables, charts = [table_of("Value by comparison and estimator", table, columns)], [chart] if len(drawn) else []
    tenths, ranking = model.evidence.tables.get("uplift_tenths"), fact(model, "assessment", "ranking")
    if tenths is not None and isinstance(ranking, dict):
        paragraphs.append(
            say(
                "Ranking accounts by predicted gain is worth {qini:,.2f} {currency} per decision beyond a random order (95 % "
                "interval {low:,.2f} to {high:,.2f}; area between the curves).",
                qini=ranking.get("qini"),
                low=ranking.get("low"),
                high=ranking.get("high"),
                currency=currency,
            )
        )
        tables.append(
            table_of(
                "Gain of the most valuable action, predicted and estimated, by tenth of the prediction",
                tenths,
                [
                    Column("tenth", "Tenth", "count"),
                    Column("n", "Decisions", "count"),
                    Column("predicted", f"Predicted, {currency}", "money2"),
                    Column("estimated", f"Estimated, {currency}", "money2"),
                    interval("money2"),
                ],
            )
        )
    arms = model.evidence.tables.get("arms")
    if arms is not None:
        tables.append(
            table_of(
                "What each logged action brought, and what it would have brought to all",
                arms,
                [
                    Column("action", "Action"),
                    Column("n", "Decisions", "count"),
                    Column("mean", f"Mean of those who got it, {currency}", "money2"),
                    Column("value", f"Weighted to all, {currency}", "money2"),
                    interval("money2"),
                ],
            )
        )
    return Section("policy-value", title, paragraphs, tables, charts)
