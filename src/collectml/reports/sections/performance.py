"""Performance: is the propensity to pay right, and is it calibrated."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from collectml.evaluation.groups import wilson
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
    title = "How well the models predict"
    facts = fact(model, "propensity_to_pay")
    table = model.evidence.tables.get("calibration")
    effects = model.evidence.tables.get("effects")
    currency = model.strategy.currency
    paragraphs, tables, charts = [], [], []
    if isinstance(facts, dict):
        paragraphs.append(
            say(
                "Propensity to pay: area under the curve {auc:.3f}, Brier score {brier:.4f}, calibration slope {slope:.2f} (1 is "
                "right; below 1 the model is overconfident).",
                auc=facts.get("auc"),
                brier=facts.get("brier"),
                slope=facts.get("calibration_slope"),
            )
        )
    else:
        paragraphs.append(
            say("Propensity to pay: not computed, the evidence saved with the model holds no assessment of it.")
        )
    paragraphs += _compared(model)
    scores = model.evidence.tables.get("scores")
    if scores is not None:
        tables.append(_by_stage(scores))
    if table is None:
        paragraphs.append(say("Calibration: not computed, the evidence saved with the model holds no table of it."))
    else:
        tables.append(
            table_of(
                "Propensity to pay on customers kept out, by tenth of the prediction",
                table,
                [
                    Column("bin", "Tenth"),
                    Column("n", "Decisions", "count"),
                    Column("predicted", "Predicted", "share"),
                    Column("observed", "Observed", "share"),
                    interval("share"),
                ],
            )
        )
        charts.append(
            Chart(
                "Observed share of payers by tenth (dots with 95 % interval), predicted (marks)",
                "; ".join(
                    f"tenth {r.bin}: predicted {r.predicted:.1%}, observed {r.observed:.1%}" for r in table.itertuples()
                ),
                [f"tenth {b}" for b in table["bin"]],
                (100 * table["observed"]).tolist(),
                "% that paid",
                (100 * table["low"]).tolist(),
                (100 * table["high"]).tolist(),
                (100 * table["predicted"]).tolist(),
            )
        )
    if effects is None:
        paragraphs.append(say("Mean effects by action: not computed, the evidence saved with the model holds none."))
    else:
        tables.append(
            table_of(
                "What each action is expected to change on average, against the control",
                effects,
                [
                    Column("action", "Action"),
                    Column("recovered", f"Recovered, {currency}", "money2"),
                    Column("cost", f"Cost, {currency}", "money2"),
                    Column("minutes", "Agent minutes", "number"),
                    Column("complaints_per_1000", "Complaints per 1,000", "number"),
                    Column("net_value", f"Net value, {currency}", "money2"),
                ],
            )
        )
    return Section("performance", title, paragraphs, tables, charts)


def _compared(model: ModelLike) -> list[Sentence]:
    """Hold the model against the behaviour score, the champion, and itself on later decisions."""
    told = []
    assessed, later = fact(model, "assessment"), fact(model, "out_of_time")
    if isinstance(assessed, dict):
        told.append(
            say(
                "KS distance {ks:.3f}; the behaviour score alone reaches an area under the curve of {auc:.3f}.",
                ks=assessed.get("ks"),
                auc=assessed.get("scorecard_auc"),
            )
        )
        champion = assessed.get("champion")
        if isinstance(champion, dict):
            told.append(
                say(
                    "The champion reaches an area under the curve of {auc:.3f} and a Brier score of {brier:.4f} on the same "
                    "decisions; customers it was trained on may be among them.",
                    auc=champion.get("auc"),
                    brier=champion.get("brier"),
                )
            )
    if isinstance(later, dict) and "cut" in later:
        told.append(
            say(
                "Out of time: learnt from the {m:,} decisions known before {cut} alone, it reaches an area under the curve of "
                "{early:.3f} on the {n:,} decisions after it (learnt from all months: {auc:.3f}); observed over expected payers "
                "{ratio:.3f} ± {spread:.3f}.",
                m=later.get("learnt_from"),
                cut=str(later.get("cut")),
                early=later.get("early_auc"),
                n=later.get("decisions"),
                auc=later.get("auc"),
                ratio=later.get("early_ratio"),
                spread=later.get("early_spread"),
            )
        )
    else:
        told.append(say("The split is by customer, not by time: nothing here is out of time."))
    return told


def _by_stage(scores: pd.DataFrame) -> Table:
    """Measure the saved scores stage by stage; intervals after Wilson, and after Hanley and McNeil (1982)."""
    rows = []
    for stage, part in scores.groupby(scores["stage"].map(lambda x: "unknown" if math.isnan(x) else f"M{x:.0f}"), sort=True):
        p, paid = part["predicted"].to_numpy(dtype=float), part["paid"].to_numpy(dtype=float)
        low, high = wilson(float(paid.mean()), len(paid))
        rows.append((stage, len(part), p.mean(), paid.mean(), low, high, *_auc(p, paid)))
    frame = pd.DataFrame(rows, columns=["stage", "n", "predicted", "observed", "low", "high", "auc", "auc_low", "auc_high"])
    return table_of(
        "Propensity to pay on customers kept out, by stage (M1: 1 to 30 days past due, and so on)",
        frame,
        [
            Column("stage", "Stage"),
            Column("n", "Decisions", "count"),
            Column("predicted", "Predicted", "share"),
            Column("observed", "Observed", "share"),
            interval("share"),
            Column("auc", "Area under the curve", "number"),
            interval("number", "auc_"),
        ],
    )


def _auc(p: np.ndarray, paid: np.ndarray) -> tuple[float, float, float]:
    positive = int(paid.sum())
    negative = len(paid) - positive
    if not positive or not negative:
        return math.nan, math.nan, math.nan
    rank = pd.Series(p).rank().to_numpy()
    a = (float(rank[paid > 0].sum()) - positive * (positive + 1) / 2) / (positive * negative)
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    variance = (a * (1 - a) + (positive - 1) * (q1 - a * a) + (negative - 1) * (q2 - a * a)) / (positive * negative)
    spread = 1.96 * math.sqrt(max(0.0, variance))
    return a, max(0.0, a - spread), min(1.0, a + spread)
