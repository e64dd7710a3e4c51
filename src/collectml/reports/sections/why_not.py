"""Why A, not B: the margin of each action over the next best, taken apart in money."""

from __future__ import annotations

import numpy as np
import pandas as pd

from collectml.explain import price_rows
from collectml.policy import Assignment
from collectml.reports.blocks import Chart, Column, Inputs, ModelLike, Section, say, table_of

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
    currency, title = model.strategy.currency, "Why this action and not the next best"
    frame, priced = assignment.frame(), price_rows(assignment)
    n, free = len(frame), assignment.problem.free
    scarce = int(frame["reason"].isin(["better use of limit"]).sum())
    why = frame["reason"].where(frame["reason"].isin(["hold-out", "exploration", "mandatory", "commitment"]), "")
    at_best, plan = priced.lost <= 1e-9, why.eq("").to_numpy()
    kinds = {
        "best at the prices": plan & at_best & free,
        "settled near a tie, or shares its customer's one contact": plan & ~at_best & free,
        **{w: why.eq(w).to_numpy() for w in ("hold-out", "exploration", "mandatory", "commitment") if why.eq(w).any()},
    }
    settled = pd.DataFrame({"why": list(kinds), "accounts": [int(m.sum()) for m in kinds.values()]})
    paragraphs = [
        say(
            "{a:,} of {n:,} accounts are decided by scarcity: they would get another action if no limit bound.",
            a=scarce,
            n=n,
        ),
        say(
            "The margin is what features make the action bring more, less what it costs more, less what its use of scarce limits "
            "would have earned elsewhere at the shadow prices."
        ),
        say(
            "What accounts give up at the prices, {lost:,.2f} {currency}, and price times what limits leave, {slack:,.2f} "
            "{currency}, are together the gap between plan and bound, {gap:,.2f} {currency}.",
            lost=priced.customers_lost,
            slack=priced.slack_value,
            gap=assignment.plan.solution.upper_bound - assignment.plan.solution.value,
            currency=currency,
        ),
    ]
    tables = [
        table_of(
            "How accounts stand to the prices", settled, [Column("why", "Standing"), Column("accounts", "Accounts", "count")]
        )
    ]
    charts = []
    means = inputs.cases.get("by_action") or []
    if means:
        parts = list(
            dict.fromkeys(p for m in means for p in m["parts"] if any(abs(x["parts"].get(p, 0)) >= 0.005 for x in means))
        )
        for m in means:
            m["rest"] = m["margin"] - sum(m["parts"].get(p, 0.0) for p in parts)
        rows = [{"part": p, **{m["action"]: m["parts"].get(p, 0.0) for m in means}} for p in parts]
        rows.append({"part": "margin", **{m["action"]: m["margin"] for m in means}})
        tables.append(
            table_of(
                f"Mean margin over the next best action, {currency} per account (at most 20 accounts an action)",
                pd.DataFrame(rows),
                [Column("part", "Part"), *(Column(m["action"], m["action"], "money2") for m in means)],
            )
        )
        widest = max(means, key=lambda m: m["margin"] if m["action"] != model.strategy.control else -np.inf)
        shown = [p for p in parts if abs(widest["parts"].get(p, 0)) >= 0.005]
        charts.append(
            Chart(
                f"Why {widest['action']} and not its next best: mean parts of the margin",
                "; ".join(f"{p}: {widest['parts'][p]:,.2f}" for p in shown) + f"; margin: {widest['margin']:,.2f}",
                [*shown, "margin"],
                [*(widest["parts"][p] for p in shown), widest["margin"]],
                f"{currency} per account",
            )
        )
    else:
        paragraphs.append(
            say("The parts of margins are not shown: no accounts were handed in, or the learner cannot be explained.")
        )
    return Section("why-not", title, paragraphs, tables, charts)
