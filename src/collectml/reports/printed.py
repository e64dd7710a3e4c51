"""Identities between the figures that are printed: they can be checked again from the payload alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from .frozen import plan_digest
from .sections.scope import ALL

__all__ = ["SOURCES", "printed_checks"]

CENT = 0.005
SOURCES = {  # figures of the decision sheet, and the section each is taken from
    "accounts": "assignment",
    "value": "assignment",
    "gain": "assignment",
    "net_per_decision": "policy-value",
    "low": "policy-value",
    "high": "policy-value",
    "gain_over_logged": "policy-value",
    "gain_over_logged_low": "policy-value",
    "gain_over_logged_high": "policy-value",
}


def printed_checks(payload: Mapping[str, Any]) -> list[dict[str, object]]:
    """Check that what is printed adds up.

    Parameters
    ----------
    payload : mapping
        From :func:`~collectml.reports.build_payload`, or read back from its file.

    Returns
    -------
    list of dict
        ``identity`` in words, and whether it ``holds``.
    """
    sections = {s["id"]: s for s in payload["sections"]}
    accounts = payload["decision"]["headline"]["accounts"]
    checks = [
        *_scope(_rows(sections, "scope", "Who may be contacted"), accounts),
        *_waterfall(_rows(sections, "data", "From the log")),
        *_stages(sections),
        *_bridge(_rows(sections, "assignment", "From nothing done")),
        *_by_stage(_rows(sections, "assignment", "Actions"), _rows(sections, "assignment", "Actions by stage")),
        *_standing(_rows(sections, "why-not", "How accounts stand"), accounts),
        *_groups(sections),
        *_watched(payload, sections),
        ("each figure of the decision sheet stands in the section it leads to", _sourced(payload, sections)),
    ]
    return [{"identity": name, "holds": bool(holds)} for name, holds in checks]


def numbers(value: object) -> Iterator[float]:
    """Walk through every number of a part of the payload.

    Parameters
    ----------
    value : object
        Part of a payload.

    Yields
    ------
    float
    """
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from numbers(item)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield float(value)


def _rows(sections: Mapping[str, Any], section: str, caption: str) -> list[dict[str, Any]]:
    """Give the rows of the table whose caption is this, or else begins so; none where there is no such table."""
    tables = sections[section]["tables"] if section in sections else []
    exact = [t["rows"] for t in tables if t["caption"] == caption]
    starting = [t["rows"] for t in tables if t["caption"].startswith(caption)]
    return next(iter([*exact, *starting]), [])


def _scope(rows: list[dict[str, Any]], accounts: int) -> list[tuple[str, bool]]:
    if not rows:
        return []
    *parts, total = rows
    owed = [r["balance"] for r in parts if r["balance"] is not None]
    together = math.fsum(owed)
    return [
        (
            "those who may be contacted and the excluded, by reason, are all accounts",
            total["why"] == ALL and sum(r["accounts"] for r in parts) == total["accounts"] == accounts,
        ),
        (
            "and their balances are the balance of all, to the cent",
            total["balance"] is None or abs(together - total["balance"]) < CENT + 1e-12 * abs(total["balance"]),
        ),
    ]


def _waterfall(rows: list[dict[str, Any]]) -> list[tuple[str, bool]]:
    if not rows:
        return []
    used = [r["decisions"] for r in rows if r["step"] in {"learnt from", "kept out"}]
    rest = [r["decisions"] for r in rows if r["step"] not in {"learnt from", "kept out"}]
    return [("decisions of the log less those left out are those used, to the row", sum(rest) == sum(used))]


def _stages(sections: Mapping[str, Any]) -> list[tuple[str, bool]]:
    stages = _rows(sections, "performance", "Propensity to pay on customers kept out, by stage")
    tenths = _rows(sections, "performance", "Propensity to pay on customers kept out, by tenth")
    if not stages or not tenths:
        return []
    by = [[math.fsum(r["n"] * r[c] for r in rows) for c in ("predicted", "observed")] for rows in (stages, tenths)]
    sizes = [sum(r["n"] for r in rows) for rows in (stages, tenths)]
    close = all(abs(a - b) <= 1e-6 * max(1.0, abs(b)) for a, b in zip(*by, strict=True))
    return [("stages and tenths add up to the same decisions and payers", sizes[0] == sizes[1] and close)]


def _bridge(rows: list[dict[str, Any]]) -> list[tuple[str, bool]]:
    if not rows:
        return []
    *steps, total = (r["value"] for r in rows)
    return [("steps from nothing done to what was assigned add up to it", abs(math.fsum(steps) - total) < CENT)]


def _by_stage(actions: list[dict[str, Any]], stages: list[dict[str, Any]]) -> list[tuple[str, bool]]:
    if not stages:
        return []
    holds = True
    for action in actions:
        mine = [r for r in stages if r["action"] == action["action"]]
        holds &= sum(r["accounts"] for r in mine) == action["accounts"]
        holds &= abs(math.fsum(r["value"] for r in mine) - action["value"]) < CENT
    return [("stages of an action add up to the action", holds)]


def _standing(rows: list[dict[str, Any]], accounts: int) -> list[tuple[str, bool]]:
    return [("how accounts stand to the prices counts each account once", sum(r["accounts"] for r in rows) == accounts)]


def _groups(sections: Mapping[str, Any]) -> list[tuple[str, bool]]:
    holds = True
    for table in sections["fairness"]["tables"]:
        if table["caption"].startswith("By "):
            *parts, total = table["rows"]
            holds &= sum(r["accounts"] or 0 for r in parts) == total["accounts"]
    outcomes = _rows(sections, "fairness", "Observed over expected payers by group")
    sizes = {r["kind"]: sum(x["decisions"] or 0 for x in outcomes if x["kind"] == r["kind"]) for r in outcomes}
    return [
        ("groups, the unknown and those not shown add up to all", holds),
        ("every way of grouping counts the same decisions", len(set(sizes.values())) <= 1),
    ]


def _watched(payload: Mapping[str, Any], sections: Mapping[str, Any]) -> list[tuple[str, bool]]:
    plan, rows = payload["monitoring"], _rows(sections, "monitoring", "What was expected")
    kept = [{k: metric[k] for k in rows[0]} for metric in plan["metrics"]] if rows else []
    actions = {r["action"]: r["accounts"] for r in _rows(sections, "assignment", "Actions")}
    return [
        ("what is printed of the metrics watched is what the payload keeps for later reports", rows == kept),
        (
            "the frozen plan is about this assignment, and its digest its own",
            plan["digest"] == plan_digest(plan)
            and plan["assigned"] == actions
            and plan["digests"]["assignment"] == payload["assignment_digest"]
            and plan["digests"]["log"] == payload["digest_of_log"],
        ),
    ]


def _sourced(payload: Mapping[str, Any], sections: Mapping[str, Any]) -> bool:
    headline = payload["decision"]["headline"]
    for name, section in SOURCES.items():
        told = headline[name]
        if told is not None and not any(
            math.isclose(told, x, rel_tol=1e-9, abs_tol=1e-9) for x in numbers(sections[section])
        ):
            return False
    return True
