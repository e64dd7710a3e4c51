"""Robustness: refits, weak slices."""

from __future__ import annotations

from collectml.policy import Assignment
from collectml.reports.blocks import Column, Inputs, ModelLike, Section, fact, said, table_of

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
    paragraphs, tables = [], []
    refits = fact(model, "refits")
    if isinstance(refits, dict) and "first_reason_flips" in refits:
        paragraphs.append(
            f"Effects were learnt again {said(refits.get('refits'), ',')} times on resampled customers: the first reason of an account "
            f"changed in {said(refits.get('first_reason_flips'), '.0%')} of refits. Reasons that would change in more than a "
            "tenth are withheld unless they lead by more than 0.1 log-odds."
        )
        tables.append(
            table_of(
                "How often refits change the first reason, by its lead",
                model.evidence.tables["flip_rates"],
                [
                    Column("lead_from", "Lead from, log-odds", "number"),
                    Column("accounts", "Accounts", "count"),
                    Column("flip_rate", "Refits that change it", "share"),
                ],
            )
        )
    else:
        paragraphs.append("Refits were not computed (robustness was not asked for in training): no reason has a flip rate.")
    slices = model.evidence.tables.get("slices")
    if slices is None:
        paragraphs.append("Slices were not computed: the evidence saved with the model holds none.")
    else:
        off = int(((slices["low"] > 1) | (slices["high"] < 1)).sum())
        paragraphs.append(
            f"{off:,} of {len(slices):,} slices have an interval that excludes 1 (one in twenty would by chance)."
        )
        tables.append(
            table_of(
                "Observed over expected payers by slice, on customers kept out",
                slices,
                [
                    Column("kind", "By"),
                    Column("slice", "Slice"),
                    Column("decisions", "Decisions", "count"),
                    Column("ratio", "Observed over expected", "number"),
                    Column("low", "95 % from", "number"),
                    Column("high", "95 % to", "number"),
                ],
            )
        )
    return Section("robustness", "How far it can be relied on", paragraphs, tables)
