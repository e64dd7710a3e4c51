"""Method and provenance: what the numbers rest on."""

from __future__ import annotations

import numpy as np
import pandas as pd

from collectml.policy import Assignment
from collectml.reports.blocks import Column, Inputs, ModelLike, Section, Sentence, Table, fact, say, table_of

__all__ = ["build"]

LEARNERS = {
    "hurdle": "Outcomes of every action are predicted by one hurdle model (whether, then how much) shared by all actions.",
    "s": "Outcomes of every action are predicted by models in which the action is a feature.",
    "t": "Outcomes of every action are predicted by a model of its own.",
}


GLOSSARY = [
    ("shadow price", "what one more unit of a limit would add to the plan"),
    ("hold-out", "customers left alone for good, to see what the strategy changes"),
    ("exploration", "a small share of accounts whose action is drawn, so that every action stays measured"),
    ("doubly robust", "an estimate that is right if either the models or the logged probabilities are"),
    ("effective decisions", "how many decisions of equal weight would carry the same evidence"),
    ("propensity to pay", "probability that an account pays within the horizon"),
    ("margin", "what the action is worth more than the next best, at the shadow prices"),
]


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
    rows = []
    for group in ("log", "settings", "uplift"):
        facts = fact(model, group)
        for key, value in _flat(facts) if isinstance(facts, dict) else ():
            written = (
                f"{value:,.4g}" if isinstance(value, float) else (f"{value:,}" if isinstance(value, int) else str(value))
            )
            rows.append({"group": group, "item": key.replace("_", " "), "value": written})
    tables = [
        table_of(
            "Provenance",
            pd.DataFrame(rows, columns=["group", "item", "value"]),
            [Column("group", "Of"), Column("item", "Item"), Column("value", "Value")],
        )
    ]
    support = model.evidence.tables.get("support")
    if support is not None:
        shown = support.assign(used=["yes" if s else "no: no evidence" for s in support["supported"]])
        tables.append(
            table_of(
                f"Logged decisions behind each action (fewer than {model.strategy.min_logged:,} block it)",
                shown,
                [
                    Column("action", "Action"),
                    Column("rows", "Decisions", "count"),
                    Column("paid", "With a payment", "count"),
                    Column("min_logging_propensity", "Smallest logging propensity", "number"),
                    Column("used", "Used"),
                ],
            )
        )
    learner = fact(model, "settings", "learner")
    method = [
        say(LEARNERS.get(str(learner), "How outcomes were learnt is not recorded.")),
        say(
            "Net value is recovered money less expected cost and complaints; the assignment maximises it within the limits and is "
            "certified by a dual bound."
        ),
    ]
    if "policy_value" in model.evidence.tables:
        method.append(
            say("The value of the policy is estimated on customers kept out of training, from logged propensities.")
        )
    said, changes = _against_champion(assignment, inputs, model.strategy.currency)
    tables += [*changes, *_findings(inputs), _glossary()]
    return Section("method", "What the numbers rest on", [*method, *said, _reviewed(inputs)], tables)


def _against_champion(assignment: Assignment, inputs: Inputs, currency: str) -> tuple[list[Sentence], list[Table]]:
    """Say whom the change of model treats differently, and what that is worth by this model's own values."""
    champion, problem = inputs.champion, assignment.problem
    if champion is None:
        return [say("No champion was handed in: what changes against the model in use is not shown.")], []
    names, rows = list(problem.strategy.action_names), np.arange(len(problem.ids))
    theirs = champion.planned().reindex(problem.ids)
    at = pd.Index(names).get_indexer(pd.Index(theirs))
    if (at < 0).any():
        return [say("The champion assigns actions that this strategy does not know: the two cannot be compared.")], []
    ours = assignment.planned()
    gain = float(problem.net[rows, assignment.plan.action].sum() - problem.net[rows, at].sum())
    moved = pd.crosstab(theirs.to_numpy(), ours.to_numpy()).reindex(index=names, columns=names, fill_value=0)
    moved.insert(0, "champion", names)
    told = say(
        "Against the champion's plan for the same accounts {changed:,} of {n:,} accounts change their action. By this model's own "
        "values, which favour it, that is worth {gain:,.0f} {currency}; what it is worth by the log stands under R6.",
        changed=(theirs.to_numpy() != ours.to_numpy()).sum(),
        n=len(rows),
        gain=gain,
        currency=currency,
    )
    columns = [Column("champion", "Champion"), *(Column(a, a, "count") for a in names)]
    return [told], [table_of("From the champion's plan (rows) to this one (columns), accounts", moved, columns)]


def _reviewed(inputs: Inputs) -> Sentence:
    if not inputs.approval.findings:
        return say("No review findings were handed in: an independent review is the bank's to make.")
    return say("{n:,} findings of the review are listed below.", n=len(inputs.approval.findings))


def _findings(inputs: Inputs) -> list[Table]:
    if not inputs.approval.findings:
        return []
    keys = ("finding", "status", "owner")
    rows = pd.DataFrame([{k: str(f.get(k, "")) for k in keys} for f in inputs.approval.findings])
    columns = [Column("finding", "Finding"), Column("status", "Status"), Column("owner", "Owner")]
    return [table_of("Findings of the review", rows, columns)]


def _glossary() -> Table:
    return table_of(
        "Glossary",
        pd.DataFrame(GLOSSARY, columns=["term", "meaning"]),
        [Column("term", "Term"), Column("meaning", "Meaning")],
    )


def _flat(value: dict[str, object], path: str = "") -> list[tuple[str, object]]:
    out: list[tuple[str, object]] = []
    for key, item in value.items():
        name = f"{path}{key}"
        out += _flat(item, f"{name} ") if isinstance(item, dict) else [(name, item)]
    return out
