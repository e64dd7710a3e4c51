"""Performance: is the propensity to pay right, and is it calibrated."""

from __future__ import annotations

from collectml.policy import Assignment
from collectml.reports.blocks import Chart, Column, ModelLike, Section, fact, said, table_of

__all__ = ["build"]


def build(model: ModelLike, assignment: Assignment) -> Section:
    """Build the section.

    Parameters
    ----------
    model : ModelLike
        Strategy and evidence.
    assignment : Assignment
        What was assigned.

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
            f"Propensity to pay: area under the curve {said(facts.get('auc'), '.3f')}, Brier score "
            f"{said(facts.get('brier'), '.4f')}, calibration slope {said(facts.get('calibration_slope'), '.2f')} (1 is right; "
            "below 1 the model is overconfident)."
        )
    else:
        paragraphs.append("Propensity to pay: not computed, the evidence saved with the model holds no assessment of it.")
    assessed = fact(model, "assessment")
    if isinstance(assessed, dict):
        paragraphs.append(
            f"KS distance {said(assessed.get('ks'), '.3f')}; the behaviour score alone reaches an area under the curve of "
            f"{said(assessed.get('scorecard_auc'), '.3f')}. The split is by customer, not by time: nothing here is out of time."
        )
    if table is None:
        paragraphs.append("Calibration: not computed, the evidence saved with the model holds no table of it.")
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
                    Column("low", "95 % from", "share"),
                    Column("high", "95 % to", "share"),
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
        paragraphs.append("Mean effects by action: not computed, the evidence saved with the model holds none.")
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
