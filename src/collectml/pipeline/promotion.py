"""Gates of promotion: what must hold before a version decides about customers.

A challenger is held against the champion on decisions neither has learnt from, against its own predictions on them, and against
the rules on the accounts it would decide about next; its report must still follow from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field

from collectml.data import DecisionLog
from collectml.data._splits import customer_order
from collectml.errors import SchemaError
from collectml.evaluation import evaluate_policy
from collectml.evaluation._decisions import check_fit, net_outcome
from collectml.evaluation.groups import by_group
from collectml.models._calibration import calibration_line
from collectml.policy import Assignment
from collectml.reports import assignment_digest, payload_digest
from collectml.reports.audit import cross_checks
from collectml.reports.blocks import Inputs
from collectml.reports.payload import check_identities

from .strategy_model import StrategyModel
from .valuation import plan_on

__all__ = ["Gate", "GateRules", "promotion_gates", "unseen"]

FEWEST = 200
HARSH = frozenset({"firm", "harsh", "legal"})


@dataclass(frozen=True)
class Gate:
    """A condition of promotion.

    Parameters
    ----------
    name, requirement, found : str
        What is asked, and what is.
    passed : bool
        Whether it holds.
    """

    name: str
    requirement: str
    found: str
    passed: bool


class GateRules(BaseModel):
    """How strict the gates are; the section ``gates:`` of ``mlflow.yaml``.

    Parameters
    ----------
    slope : tuple of float
        Least and greatest slope of the calibration line of propensity to pay.
    observed_over_expected : tuple of float
        Least and greatest ratio of observed to expected payers.
    may_lose : float
        Money per decision by which the interval of the difference from the champion may reach below 0.
    effective_decisions : float
        Least effective sample size of the policy's value.
    groups : tuple of str
        Fields by which tone is compared; all must be there, and none may be a feature. Empty: the portfolio has none.
    harsh_ratio : float
        How many times the share of all a group's share of firm tones may be, its interval considered.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    slope: tuple[float, float] = (0.8, 1.25)
    observed_over_expected: tuple[float, float] = (0.9, 1.1)
    may_lose: float = Field(default=0.0, ge=0)
    effective_decisions: float = Field(default=200.0, ge=1)
    groups: tuple[str, ...] = ("age_band", "region")
    harsh_ratio: float = Field(default=1.25, ge=1)


def unseen(log: DecisionLog, *models: StrategyModel) -> DecisionLog:
    """Keep the decisions that no model has learnt from: of customers it kept out, or later than its log.

    Parameters
    ----------
    log : DecisionLog
        Decisions, those the models were trained on among them.
    *models : StrategyModel
        Each says in its facts whom it kept out.

    Returns
    -------
    DecisionLog

    Raises
    ------
    SchemaError
        Where fewer than 200 decisions are left.
    """
    keep = np.ones(len(log), dtype=bool)
    for model in models:
        facts = cast("Mapping[str, Mapping[str, object]]", model.evidence.facts)
        later = (log.decided_at.dt.normalize() > pd.Timestamp(str(facts["log"]["last_decision"]))).to_numpy()
        kept_out = np.zeros(len(log), dtype=bool)
        if "held_out_up_to" in facts["log"]:
            order = customer_order(log.customer, cast("int", facts["settings"]["random_state"]))
            kept_out = order <= np.uint64(int(str(facts["log"]["held_out_up_to"]), 16))
        keep &= later | kept_out
    if keep.sum() < FEWEST:
        raise SchemaError(
            f"only {int(keep.sum()):,} of {len(log):,} decisions were seen by neither model in training, too few to compare "
            f"them ({FEWEST:,} are needed): train with the same seed and test_share, or give a log with later decisions"
        )
    return log.select(keep)


def promotion_gates(
    challenger: StrategyModel,
    champion: StrategyModel | None,
    log: DecisionLog,
    *,
    accounts: pd.DataFrame,
    capacity: pd.DataFrame | None = None,
    as_of: pd.Timestamp | None = None,
    report: Mapping[str, object] | None = None,
    anchor: str | None = None,
    approved_by: str = "",
    rules: GateRules | None = None,
) -> list[Gate]:
    """Check every gate; none is skipped because another failed.

    Parameters
    ----------
    challenger : StrategyModel
        To be promoted.
    champion : StrategyModel or None
        In force; without one the challenger is held against what was done.
    log : DecisionLog
        Decisions; those either has learnt from are left out.
    accounts : DataFrame
        The accounts the report is about, and whose assignment is held against the rules.
    capacity : DataFrame, optional
        Capacity calendar.
    as_of : Timestamp, optional
        Date of that assignment; the accounts' own where not given.
    report : mapping, optional
        The payload of the challenger's report.
    anchor : str, optional
        Digest of the payload, as kept with the run.
    approved_by : str
        Who approves.
    rules : GateRules, optional
        How strict.

    Returns
    -------
    list of Gate
        ``calibration``, ``policy value``, ``fairness``, ``rules``, ``report``, ``approval``.
    """
    strict = rules or GateRules()
    models = [challenger] if champion is None else [challenger, champion]
    for model in models:
        check_fit(log, model.strategy)
    kept = unseen(log, *models)
    assignment = challenger.assign(accounts, capacity=capacity, as_of=as_of)
    return [
        _calibration(challenger, kept, strict),
        _policy_value(challenger, champion, kept, accounts, len(log), strict),
        _fairness(challenger, assignment, accounts, strict),
        _rules(challenger, assignment),
        _report(challenger, assignment, report, anchor),
        Gate(
            "approval",
            "somebody answers for it",
            f"approved by {approved_by}" if approved_by else "nobody",
            bool(approved_by),
        ),
    ]


def _calibration(model: StrategyModel, log: DecisionLog, rules: GateRules) -> Gate:
    p = np.clip(model.propensity_to_pay.predict_proba(log.frame[model.features])[:, 1], 1e-6, 1 - 1e-6)
    paid = log.paid.to_numpy(dtype=float)
    slope, ratio = calibration_line(np.log(p / (1 - p)), paid)[1], float(paid.sum() / p.sum())
    (low, high), (least, most) = rules.slope, rules.observed_over_expected
    return Gate(
        "calibration",
        f"slope between {low:g} and {high:g}, observed over expected payers between {least:g} and {most:g}",
        f"slope {slope:.2f}, observed over expected {ratio:.2f} on {len(log):,} decisions",
        low <= slope <= high and least <= ratio <= most,
    )


def _policy_value(
    challenger: StrategyModel,
    champion: StrategyModel | None,
    log: DecisionLog,
    accounts: pd.DataFrame,
    portfolio_rows: int,
    rules: GateRules,
) -> Gate:
    what = "what was done" if champion is None else "the champion"
    requirement = (
        f"95 % interval of the difference from {what} not below {0.0 - rules.may_lose:g} per decision, "
        f"{rules.effective_decisions:g} effective decisions"
    )
    if log.logging_propensity is None:
        return Gate("policy value", requirement, "the log holds no logging propensities", False)
    plan = plan_on(log, challenger, accounts=accounts, portfolio_rows=portfolio_rows)
    other = None if champion is None else plan_on(log, champion, accounts=accounts, portfolio_rows=portfolio_rows)
    value = evaluate_policy(
        log,
        plan.policy,
        baseline="logged" if other is None else other.policy,
        outcome=net_outcome(log, plan.priced, challenger.strategy),
        outcome_model=plan.priced.net.set_axis(log.X.index)[list(log.actions)],
        estimators=("dr",),
    ).frame()
    line = value.iloc[0]
    difference, low, high = (float(line[c]) for c in ("difference", "difference_low", "difference_high"))
    if np.isnan(low):
        return Gate("policy value", requirement, f"not known: {line['note']}", False)
    found = (
        f"{difference:+,.2f} ({low:+,.2f} to {high:+,.2f}) {challenger.strategy.currency} per decision against {what}, "
        f"{line['ess']:,.0f} effective of {len(log):,} decisions"
    )
    enough = float(line["ess"]) >= rules.effective_decisions
    return Gate("policy value", requirement, found, enough and low >= -rules.may_lose)


def _fairness(model: StrategyModel, assignment: Assignment, accounts: pd.DataFrame, rules: GateRules) -> Gate:
    requirement = f"no group's share of firm tones above {rules.harsh_ratio:g} times that of all; no group is a feature"
    faults = [f"the accounts hold no {g}" for g in rules.groups if g not in accounts]
    faults += [f"{g} is a feature" for g in rules.groups if g in model.features]
    frame = assignment.frame()
    harsh = frame["action"].isin([a.name for a in model.strategy.actions if a.tone in HARSH])
    aligned = accounts.set_index("account_id").reindex(pd.Index(frame["account_id"]))
    for name in (g for g in rules.groups if g in accounts):
        group = aligned[name].astype(object).where(aligned[name].notna(), "unknown").astype(str)
        table = by_group(group, {"harsh": harsh}).set_index("group")
        of_all = float(cast("float", table.loc["all", "harsh"]))
        # the interval's lower end: what chance alone may bring is nobody's fault
        above = table.index[table["harsh_low"] > rules.harsh_ratio * of_all + 1e-9]
        faults += [f"{name} {g}: {table.loc[g, 'harsh']:.1%} against {of_all:.1%} of all" for g in above if g != "all"]
    compared = ", ".join(rules.groups) if rules.groups else "no groups, as mlflow.yaml says"
    return Gate("fairness", requirement, "; ".join(faults) or f"compared by {compared}", not faults)


def _rules(model: StrategyModel, assignment: Assignment) -> Gate:
    checks = [*check_identities(model, assignment, assignment.frame()), *cross_checks(model, assignment, Inputs())]
    faults = [f"not true: {c['identity']}" for c in checks if not c["holds"]]
    missing = sorted({f for fields in assignment.problem.permissions.missing.values() for f in fields})
    faults += [f"conditions read {', '.join(missing)}, which the accounts do not hold"] if missing else []
    found = f"{len(checks)} checks of {len(assignment.frame()):,} assignments, no field missing"
    return Gate(
        "rules",
        "every limit and condition holds, every field of a condition is there",
        "; ".join(faults) or found,
        not faults,
    )


def _report(model: StrategyModel, assignment: Assignment, report: Mapping[str, object] | None, anchor: str | None) -> Gate:
    requirement = "the report is as it was written, of this log, and the model assigns the same again"
    if report is None:
        return Gate("report", requirement, "there is none", False)
    digest, identities = payload_digest(report), report.get("identities")
    whole = isinstance(identities, list) and bool(identities) and all(c.get("holds") is True for c in identities)
    log = cast("Mapping[str, object]", model.evidence.facts["log"])
    checks = {
        "the payload was altered": digest[:16] == report.get("report_id") and anchor in (None, digest),
        "its numbers do not agree with one another": whole,
        "it is about another log": report.get("digest_of_log") == log["digest"],
        "the model assigns these accounts otherwise; write a report on them": report.get("assignment_digest")
        == assignment_digest(assignment.frame()),
    }
    faults = [fault for fault, holds in checks.items() if not holds]
    return Gate("report", requirement, "; ".join(faults) or f"verified, {digest[:16]}", not faults)
