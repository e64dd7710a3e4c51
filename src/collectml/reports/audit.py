"""Identities between the tables of a report and what they were made from: prices, scores, cases, groups."""

from __future__ import annotations

import numpy as np
import pandas as pd

from collectml.policy import Assignment

from .blocks import Inputs, ModelLike, fact

__all__ = ["cross_checks"]

TIGHT = 1e-9
RELATIVE = 1e-6  # the solver's tolerance, declared once


def cross_checks(model: ModelLike, assignment: Assignment, inputs: Inputs) -> list[dict[str, object]]:
    """Check identities between sections and their sources.

    Parameters
    ----------
    model : ModelLike
        Strategy and evidence.
    assignment : Assignment
        What was assigned.
    inputs : Inputs
        Accounts and cases.

    Returns
    -------
    list of dict
        ``identity`` in words, and whether it ``holds``.
    """
    checks = [
        *_prices(assignment, inputs),
        *_shifted(assignment, inputs),
        *_scores(model),
        *_lineage(model),
        *_trial(model),
        *_drivers(model),
        *_signs(model),
        *_cases(inputs),
        *_permitted(assignment, inputs),
    ]
    return [{"identity": name, "holds": bool(holds)} for name, holds in checks]


def _prices(assignment: Assignment, inputs: Inputs) -> list[tuple[str, bool]]:
    solution, priced = assignment.plan.solution, inputs.prices(assignment)
    gap = solution.upper_bound - solution.value
    room = RELATIVE * max(1.0, abs(solution.value))
    return [
        (
            "what accounts lose at the prices is at least nothing and at most the gap",
            -room <= priced.customers_lost <= gap + room,
        ),
        (
            "price times what is left of each limit is at least nothing and at most the gap",
            bool((priced.by_limit["slack_value"] >= -room).all()) and priced.slack_value <= gap + room,
        ),
        (
            "bound less value is what accounts lose and priced slack",
            abs(priced.customers_lost + priced.slack_value - gap) <= room,
        ),
    ]


def _shifted(assignment: Assignment, inputs: Inputs) -> list[tuple[str, bool]]:
    """Hold what a tenth of each limit is worth, solved anew, against what its price foresaw."""
    t = inputs.shifted
    if t is None:
        return []
    room = t["proven"] + RELATIVE * max(1.0, abs(assignment.plan.solution.value))
    less = t["less"].fillna(-np.inf)  # what cannot hold is worth nothing at all
    return [
        (
            "a tenth more of each limit is worth at most what its price foresees, and a tenth less costs at least that",
            bool(((t["more"] <= t["foreseen"] + room) & (less <= room - t["foreseen"])).all()),
        ),
        (
            "no looser limit is worth less than the plan, within what is proven",
            bool((t["more"] + t["more_proven"] >= -room).all()),
        ),
    ]


def _permitted(assignment: Assignment, inputs: Inputs) -> list[tuple[str, bool]]:
    problem = assignment.problem
    at = pd.Index(problem.strategy.action_names).get_indexer(pd.Index(inputs.decided(assignment)["action"]))
    if len(at) != len(problem.ids) or (at < 0).any():
        return []
    allowed = problem.permissions.allowed[np.arange(len(at)), at]
    checks = [("no condition is broken by any assigned action", bool(allowed.all()))]
    if problem.strategy.one_contact_per_customer:
        contacted = problem.customer_code[problem.strategy.contact_mask[at]]
        checks.append(("no customer is contacted twice", len(np.unique(contacted)) == len(contacted)))
    return checks


def _scores(model: ModelLike) -> list[tuple[str, bool]]:
    """Recompute the metrics from the saved scores."""
    scores, facts = model.evidence.tables.get("scores"), fact(model, "propensity_to_pay")
    if scores is None or not isinstance(facts, dict):
        return []
    p, paid = scores["predicted"].to_numpy(), scores["paid"].to_numpy()
    brier = float(np.mean((p - paid) ** 2))
    rank = pd.Series(p).rank().to_numpy()
    positive = int(paid.sum())
    negative = len(paid) - positive
    auc = (float(rank[paid > 0].sum()) - positive * (positive + 1) / 2) / max(1, positive * negative)
    checks = [
        (
            "area under the curve and Brier score are those of the saved scores",
            abs(brier - facts["brier"]) < TIGHT and abs(auc - facts["auc"]) < TIGHT,
        )
    ]
    table = model.evidence.tables.get("calibration")
    if table is not None:
        n = table["n"].to_numpy(dtype=float)
        close = [
            abs(float((table[c] * n).sum()) - t) < 1e-6 * len(p) for c, t in (("predicted", p.sum()), ("observed", positive))
        ]
        checks.append(("predicted and observed payers by tenth add up to those of the saved scores", all(close)))
    tenths = model.evidence.tables.get("uplift_tenths")
    if tenths is not None:
        checks.append(("tenths of the uplift add up to the decisions kept out", int(tenths["n"].sum()) == len(p)))
    return checks


def _trial(model: ModelLike) -> list[tuple[str, bool]]:
    """Hold the arms of the log against its size, and against weights that change nothing."""
    arms, kept = model.evidence.tables.get("arms"), fact(model, "log", "held_out_decisions")
    if arms is None or not isinstance(kept, int):
        return []
    same = arms[arms["same_propensity"].astype(bool)]
    gap = (same["value"] - same["mean"]).abs() / same["mean"].abs().clip(lower=1)
    return [
        ("decisions by arm add up to the decisions kept out", int(arms["n"].sum()) == kept),
        ("where all had the same probability, weighting changes no mean", bool((gap <= TIGHT).all())),
    ]


def _drivers(model: ModelLike) -> list[tuple[str, bool]]:
    facts, groups, features = (
        fact(model, "drivers"),
        model.evidence.tables.get("driver_groups"),
        model.evidence.tables.get("drivers"),
    )
    if not isinstance(facts, dict) or groups is None or features is None:
        return []
    members = features.groupby("group")["mean_pp"].sum().reindex(groups["group"]).to_numpy(dtype=float)
    return [
        ("contributions of every account explained add up to its effect", facts["worst_gap_log_odds"] <= RELATIVE),
        ("and to its effect in percentage points", facts["worst_gap_pp"] <= TIGHT),
        (
            "each group of features is the sum of its members",
            bool((np.abs(members - groups["mean_pp"].to_numpy(dtype=float)) <= TIGHT).all()),
        ),
        ("groups add up to the mean effect", abs(float(groups["mean_pp"].sum()) - facts["effect_pp"]) <= TIGHT),
        (
            "groups add up to the mean effect in money",
            abs(float(groups["mean_money"].sum()) - facts["effect_money"]) <= RELATIVE * max(1, abs(facts["effect_money"])),
        ),
    ]


def _signs(model: ModelLike) -> list[tuple[str, bool]]:
    signs = model.evidence.tables.get("signs")
    if signs is None:
        return []
    return [("no monotone constraint is broken on the grid", int(signs.loc[signs["constraint"] != 0, "against"].sum()) == 0)]


def _lineage(model: ModelLike) -> list[tuple[str, bool]]:
    log = fact(model, "log")
    named = log if isinstance(log, dict) else {}
    whole, *parts = (named.get(k) for k in ("decisions", "training_decisions", "held_out_decisions"))
    counts = [x for x in parts if isinstance(x, int)]
    if not isinstance(whole, int) or len(counts) < len(parts):
        return []
    return [("decisions learnt from and kept out are all decisions of the log", whole == sum(counts))]


def _cases(inputs: Inputs) -> list[tuple[str, bool]]:
    entries = [*(inputs.cases.get("cases") or []), *(inputs.cases.get("by_action") or [])]
    if not entries:
        return []
    parts = [
        abs(sum(e["parts"].values()) - e["margin"]) <= RELATIVE * max(1e-6, sum(map(abs, e["parts"].values())))
        for e in entries
    ]
    flips = [e["changed_action"] != e["action"] for e in inputs.cases.get("cases") or [] if e["changed"]]
    return [
        ("parts of each margin add up to it", all(parts)),
        ("each smallest change leads to another action", all(flips)),
        ("no case has a negative margin", all(e["margin"] >= -RELATIVE for e in entries)),
    ]
