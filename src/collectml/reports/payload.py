"""The payload: every number of the report in one JSON-able value, its identities checked before anything is rendered."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, replace

import numpy as np
import pandas as pd

from collectml.errors import CollectMLError
from collectml.policy import Assignment
from collectml.policy.exploration import usage_of
from collectml.policy.shifted import shifted_limits

from .audit import cross_checks
from .blocks import Inputs, ModelLike, fact
from .frozen import frozen_plan, plan_digest, watched
from .gates import gates, risks
from .printed import SOURCES, printed_checks
from .sections import ORDER

__all__ = ["BrokenIdentityError", "assignment_digest", "build_payload", "check_identities", "payload_digest"]

CENT = 0.005
CONDITIONS = (
    "Keep the hold-out and the exploration share as they are",
    "Review complaints by action after one cycle",
    "Value the policy again on the next cycle's decisions",
)
HEADLINE = {  # figures of the decision sheet, and the columns of the table they are taken from
    "net_per_decision": "value",
    "low": "low",
    "high": "high",
    "gain_over_logged": "difference",
    "gain_over_logged_low": "difference_low",
    "gain_over_logged_high": "difference_high",
    "ess": "ess",
}


class BrokenIdentityError(CollectMLError):
    """Numbers of a report that do not agree with one another; nothing is rendered."""


def build_payload(
    model: ModelLike,
    assignment: Assignment,
    *,
    title: str | None = None,
    inputs: Inputs | None = None,
    provenance: Mapping[str, str] | None = None,
) -> dict[str, object]:
    """Collect and check every number of the report.

    Parameters
    ----------
    model : ModelLike
        Strategy and evidence.
    assignment : Assignment
        What was assigned.
    title : str, optional
        Title of the report.
    inputs : Inputs, optional
        Accounts, cases, and what the committee brings.
    provenance : mapping of str to str, optional
        Model version, commit and the like, for the foot of every page.

    Returns
    -------
    dict
        JSON-able; what is not finite is null.

    Raises
    ------
    BrokenIdentityError
        Naming every identity that does not hold.
    """
    frame = assignment.frame()
    inputs = inputs or Inputs()
    shifted = None if assignment.by_tree is not None else shifted_limits(assignment.problem, assignment.plan)
    inputs = replace(inputs, priced=inputs.prices(assignment), frame=frame, shifted=shifted)
    checks = check_identities(model, assignment, frame) + cross_checks(model, assignment, inputs)
    _refuse_broken(checks)
    found = gates(model, assignment)
    failed = [g.name for g in found if not g.passed]
    currency = model.strategy.currency
    sections = [{"number": f"R{i}", **asdict(build(model, assignment, inputs))} for i, build in enumerate(ORDER, start=1)]
    asked = inputs.approval
    named = [(asked.owners[i] if i < len(asked.owners) else None) for i in range(len(CONDITIONS))]
    balance = inputs.column("balance", assignment.problem.ids)
    assigned = assignment_digest(frame)
    watching = watched(model, assignment, inputs)
    plan: dict[str, object] = _finite(frozen_plan(model, assignment, watching, assignment_digest=assigned))  # type: ignore[assignment]
    payload: dict[str, object] = {
        "title": title or f"Collections strategy {model.strategy.name}, version {model.strategy.version}",
        "as_of": assignment.problem.cycle,
        "currency": currency,
        "decision": {
            "recommendation": "approve" if not failed else "do not approve yet",
            "because": failed,
            "draft": asked.expires is None or asked.due is None or not all(named),
            "materiality": asked.materiality,
            "balance": None if balance is None else float(balance.sum()),
            "headline": {
                "accounts": len(frame),
                "value": float(frame["value"].sum()),
                "gain": float((frame["value"] - frame["value_no_action"]).sum()),
                "net_per_decision": fact(model, "policy_value", "net_per_decision"),
                "low": fact(model, "policy_value", "low"),
                "high": fact(model, "policy_value", "high"),
                "gain_over_logged": fact(model, "policy_value", "gain_over_logged"),
                "gain_over_logged_low": fact(model, "policy_value", "gain_over_logged_low"),
                "gain_over_logged_high": fact(model, "policy_value", "gain_over_logged_high"),
            },
            "gates": [asdict(g) for g in found],
            "sources": SOURCES,
            "risks": [asdict(r) for r in risks(model, assignment)],
            "conditions": [{"condition": c, "owner": o, "due": asked.due} for c, o in zip(CONDITIONS, named, strict=True)],
            "expires": asked.expires,
        },
        "sections": sections,
        "identities": checks,
        "monitoring": {**plan, "digest": plan_digest(plan)},
        "digest_of_log": fact(model, "log", "digest"),
        "assignment_digest": assigned,
        "provenance": dict(provenance or {}),
    }
    finished: dict[str, object] = _finite(payload)  # type: ignore[assignment]
    printed = printed_checks(finished)
    _refuse_broken(printed)
    finished["identities"] = checks + printed
    finished["report_id"] = payload_digest(finished)[:16]
    return finished


def _refuse_broken(checks: list[dict[str, object]]) -> None:
    broken = [c["identity"] for c in checks if not c["holds"]]
    if broken:
        raise BrokenIdentityError(f"the report's numbers do not agree: {'; '.join(map(str, broken))}")


def payload_digest(payload: Mapping[str, object]) -> str:
    """Digest a payload in canonical form.

    Parameters
    ----------
    payload : mapping
        From :func:`build_payload`; its own ``report_id`` is left out.

    Returns
    -------
    str
        SHA-256 in hexadecimal.
    """
    content = {k: v for k, v in payload.items() if k != "report_id"}
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def assignment_digest(frame: pd.DataFrame) -> str:
    """Digest what was assigned, whatever file it is kept in.

    Parameters
    ----------
    frame : DataFrame
        ``account_id, action, value, probability`` are what counts.

    Returns
    -------
    str
        SHA-256 in hexadecimal.
    """
    digest = hashlib.sha256()
    for column in ("account_id", "action"):
        digest.update("\n".join(frame[column].astype(str)).encode() + b"\n")
    for column in ("value", "probability"):
        digest.update(np.ascontiguousarray(frame[column].to_numpy(dtype="<f8")).tobytes())
    return digest.hexdigest()


def check_identities(model: ModelLike, assignment: Assignment, frame: pd.DataFrame) -> list[dict[str, object]]:
    """Check that the numbers of the report agree with one another.

    Parameters
    ----------
    model : ModelLike
        Strategy and evidence.
    assignment : Assignment
        What was assigned.
    frame : DataFrame
        Its rows.

    Returns
    -------
    list of dict
        ``identity`` in words, and whether it ``holds``.
    """
    n = len(frame)
    by_action, limits, probabilities = assignment.by_action(), assignment.limits(), assignment.probabilities()
    solution = assignment.plan.solution
    checks = [
        *_row_checks(assignment, frame),
        ("accounts by action add up to all accounts", int(by_action["accounts"].sum()) == n),
        ("shares by action add up to one", n == 0 or abs(float(by_action["share"].sum()) - 1) < 1e-9),
        (
            "value by action adds up to the assignment's, to the cent",
            abs(by_action["value"].sum() - frame["value"].sum()) < CENT,
        ),
        ("one row an account", not frame["account_id"].duplicated().any()),
        ("no limit is exceeded", bool((limits["used"] <= limits["upper"] + _slack(limits["upper"])).all())),
        ("no minimum is missed", bool((limits["used"] >= limits["lower"] - _slack(limits["lower"])).all())),
        (
            "the dual bound is no less than the plan",
            solution.upper_bound >= solution.value - 1e-6 * max(1.0, abs(solution.value)),
        ),
        ("probabilities of an account add up to one", bool((probabilities.sum(axis="columns") - 1).abs().max() < 1e-9)),
        ("the probability of each assigned action is positive", bool((frame["probability"] > 0).all())),
    ]
    held_out, calibration = fact(model, "log", "held_out_decisions"), model.evidence.tables.get("calibration")
    if isinstance(held_out, int) and calibration is not None:
        checks.append(
            ("tenths of the calibration add up to the decisions kept out", int(calibration["n"].sum()) == held_out)
        )
    table = model.evidence.tables.get("policy_value")
    if table is not None:
        gap = (table["value"] - table["baseline_value"] - table["difference"]).abs()
        tolerance = 1e-6 * table["value"].abs().clip(lower=1)
        checks.append(
            ("each difference is the policy less its comparison", bool((gap.dropna() <= tolerance[gap.notna()]).all()))
        )
    checks.append(("figures of the decision sheet are those of the table of policy values", _headline_agrees(model, table)))
    support, trained = model.evidence.tables.get("support"), fact(model, "log", "training_decisions")
    if support is not None and isinstance(trained, int):
        checks.append(("logged decisions by action add up to those trained on", int(support["rows"].sum()) == trained))
    return [{"identity": name, "holds": bool(holds)} for name, holds in checks]


def _row_checks(assignment: Assignment, frame: pd.DataFrame) -> list[tuple[str, bool]]:
    """Recompute what each row says from the problem that was solved."""
    problem, rows = assignment.problem, np.arange(len(frame))
    at = pd.Index(problem.strategy.action_names).get_indexer(pd.Index(frame["action"]))
    if len(frame) != len(problem.ids) or (at < 0).any():
        return [("every account has an action of the catalogue", False)]
    used = np.array([usage_of(x, len(rows))[rows, at].sum() for x in problem.limits], dtype=float)
    value, probability = frame["value"].to_numpy(), frame["probability"].to_numpy()
    return [
        ("every account has an action of the catalogue", True),
        (
            "the value of each row is that of its action",
            np.allclose(value, problem.net[rows, at], rtol=1e-9, atol=CENT / 100),
        ),
        ("the probability of each row is that of its action", np.array_equal(probability, assignment.probability[rows, at])),
        ("usage of each limit is that of the actions assigned", np.allclose(assignment.used, used, rtol=1e-9, atol=1e-9)),
    ]


def _slack(bound: pd.Series) -> pd.Series:
    return 1e-9 * bound.abs().clip(lower=1).replace(math.inf, 1)


def _headline_agrees(model: ModelLike, table: pd.DataFrame | None) -> bool:
    told = {k: v for k in HEADLINE if isinstance(v := fact(model, "policy_value", k), (int, float))}
    if table is None:
        return not told
    rows = table[table["estimator"] == "dr"]
    if rows.empty:
        return not told
    return all(math.isclose(v, rows[HEADLINE[k]].iloc[0], rel_tol=1e-9, abs_tol=1e-12) for k, v in told.items())


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
