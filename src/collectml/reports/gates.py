"""Gates: what must hold before a committee may approve, and the risks it should know."""

from __future__ import annotations

import math
from dataclasses import dataclass

from collectml.policy import Assignment

from .blocks import ModelLike, Sentence, fact, say

__all__ = ["Gate", "gates", "risks"]


@dataclass(frozen=True)
class Gate:
    """A condition of approval.

    Parameters
    ----------
    name, requirement : str
        What is asked.
    found : Sentence
        What is.
    passed : bool
        Whether it holds.
    """

    name: str
    requirement: str
    found: Sentence
    passed: bool


def _number(model: ModelLike, *path: str) -> float:
    value = fact(model, *path)
    return float(value) if isinstance(value, (int, float)) else math.nan


def gates(model: ModelLike, assignment: Assignment) -> list[Gate]:
    """Check every gate.

    Parameters
    ----------
    model : ModelLike
        Strategy and evidence.
    assignment : Assignment
        What was assigned.

    Returns
    -------
    list of Gate
    """
    currency = model.strategy.currency
    low, high = (_number(model, "policy_value", f"gain_over_logged_{end}") for end in ("low", "high"))
    ess = _number(model, "policy_value", "ess")
    slope = _number(model, "propensity_to_pay", "calibration_slope")
    table = assignment.limits()
    held = bool((table["used"] <= table["upper"] + 1e-9 * table["upper"].abs().clip(lower=1)).all())
    missing = sorted({f for v in assignment.problem.permissions.missing.values() for f in v})
    unknown = say("not known")
    return [
        Gate(
            "Worth more than today's policy",
            "95 % interval of the gain above 0",
            unknown
            if math.isnan(low)
            else say("{low:,.2f} to {high:,.2f} {currency} per decision", low=low, high=high, currency=currency),
            low > 0,
        ),
        Gate(
            "Enough evidence",
            "200 effective decisions",
            unknown if math.isnan(ess) else say("{n:,.0f}", n=ess),
            ess >= 200,
        ),
        Gate(
            "Calibrated",
            "slope between 0.8 and 1.25",
            unknown if math.isnan(slope) else say("{slope:.2f}", slope=slope),
            0.8 <= slope <= 1.25,
        ),
        Gate("Limits held", "no limit exceeded by what is assigned", say("held" if held else "exceeded"), held),
        Gate(
            "Conditions can be read",
            "no field of a condition missing",
            say("none missing") if not missing else say("missing: {fields}", fields=", ".join(missing[:6])),
            not missing,
        ),
    ]


def risks(model: ModelLike, assignment: Assignment) -> list[Sentence]:
    """Name the main risks, from the facts.

    Parameters
    ----------
    model : ModelLike
        Strategy and evidence.
    assignment : Assignment
        What was assigned.

    Returns
    -------
    list of Sentence
        At most three.
    """
    found = []
    table = model.evidence.tables.get("policy_value")
    if table is not None and any("unreliable" in str(n) for n in table["note"]):
        found.append(say("Few large payments decide the estimate: the interval is marked unreliable."))
    by_action = assignment.by_action()
    total = float(by_action["gain"].clip(lower=0).sum())
    if total > 0 and float(by_action["gain"].max()) / total > 0.4:
        share, name = float(by_action["gain"].max()) / total, str(by_action["gain"].idxmax())
        found.append(say("{share:.0%} of the expected gain comes from one action, {action}.", share=share, action=name))
    if fact(model, "settings", "reach") == "stated":
        found.append(say("Who is reached was not learnt: minutes and costs rest on the strategy's stated figures."))
    if fact(model, "settings", "complaint_rates") == "stated":
        found.append(say("Who complains was not learnt: the complaint ceiling rests on the strategy's stated figures."))
    support = model.evidence.tables.get("support")
    if support is not None and not bool(support["supported"].all()):
        names = ", ".join(support.loc[~support["supported"].astype(bool), "action"].astype(str))
        found.append(say("Blocked for lack of evidence: {names}.", names=names))
    found.append(say("What was learnt from past behaviour may not last; hold-out and monitoring must confirm it."))
    return found[:3]
