"""Summaries a manager understands, as plain text."""

from __future__ import annotations

import numpy as np
import pandas as pd

from collectml.pipeline import StrategyModel
from collectml.policy import Assignment

__all__ = ["assignment_summary", "value_summary"]


def assignment_summary(assignment: Assignment) -> str:
    """Say what was assigned and what each limit costs.

    Parameters
    ----------
    assignment : Assignment
        A finished assignment.

    Returns
    -------
    str
    """
    currency = assignment.problem.strategy.currency
    by_action = assignment.by_action()
    table = pd.DataFrame(
        {
            "accounts": by_action["accounts"].map("{:,.0f}".format),
            "share": by_action["share"].map("{:.1%}".format),
            f"expected gain over {assignment.problem.strategy.control} ({currency})": by_action["gain"].map(
                "{:,.0f}".format
            ),
        }
    )
    lines = ["What was assigned", _indent(table.to_string()), "", "What each limit costs"]
    for row in assignment.limits().to_dict("records"):
        used, upper, price = float(row["used"]), float(row["upper"]), abs(float(row["shadow_price"]))
        bound = f"{used:,.0f} of {upper:,.0f} {row['unit']}" if np.isfinite(upper) else f"{used:,.0f} {row['unit']}"
        worth = f"one more is worth {price:,.2f} {currency}" if price > 0 else "not scarce: one more is worth nothing"
        lines.append(f"  {row['limit']}: {bound} used; {worth}")
    return "\n".join(lines)


def value_summary(model: StrategyModel) -> str:
    """Say what the policy is worth on customers not trained on.

    Parameters
    ----------
    model : StrategyModel
        A trained model.

    Returns
    -------
    str
    """
    currency = model.strategy.currency
    table = model.evidence.tables.get("policy_value")
    if table is None:
        return "What it is worth: not known, as the log holds no logging propensities"
    lines = [f"What it is worth on customers not trained on (net {currency} per decision, 95 % interval)"]
    for estimator in ("dr", "snips"):
        rows = table[table["estimator"] == estimator]
        first = rows.iloc[0]
        lines.append(f"  {estimator.upper()}: {first['value']:,.2f} ({first['low']:,.2f} to {first['high']:,.2f})")
        for row in rows.itertuples():
            true = f"; true {row.true_difference:+,.2f}" if "true_difference" in rows else ""
            lines.append(
                f"    against {row.baseline}: {row.difference:+,.2f} "
                f"({row.difference_low:+,.2f} to {row.difference_high:+,.2f}){true}"
            )
    return "\n".join(lines)


def _indent(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())
