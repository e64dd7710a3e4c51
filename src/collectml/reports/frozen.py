"""What a later monitoring report is held against: each metric as it was defined, predicted and bounded when the committee decided."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd

from collectml.data.digest import content_digest, value_digest
from collectml.policy import Assignment

from .blocks import Inputs, ModelLike, fact

__all__ = ["Watched", "frozen_plan", "plan_digest", "watched"]

Z = 1.959963984540054
CALIBRATED = (0.9, 1.1)
DRIFTED = 0.25  # as the batch's own check


@dataclass(frozen=True)
class Watched:
    """A metric, and what was expected of it.

    Parameters
    ----------
    metric : str
        Its name; limits are ``"limit: NAME"``.
    definition, unit : str
        What is divided by what, for which accounts, and what the figure is measured in.
    predicted : float or None
        What the model predicts for the accounts assigned.
    observed, low, high : float or None
        What customers kept out did, with its 95 % interval, as far as the log could tell.
    n : int or None
        Decisions (or accounts) behind ``observed``.
    below, above : float or None
        Somebody acts when the metric leaves these; the table of thresholds says what else is asked.
    """

    metric: str
    definition: str
    unit: str
    predicted: float | None = None
    observed: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    below: float | None = None
    above: float | None = None


def watched(model: ModelLike, assignment: Assignment, inputs: Inputs) -> list[Watched]:
    """Collect the metrics that are watched, as they stand when the report is written.

    Parameters
    ----------
    model : ModelLike
        Strategy and evidence.
    assignment : Assignment
        What was assigned.
    inputs : Inputs
        The assignment's rows, where they are there already.

    Returns
    -------
    list of Watched
    """
    limits = [
        Watched(
            f"limit: {limit.name}",
            "usage of the actions assigned, as the strategy counts it",
            limit.unit,
            predicted=float(used),
            below=_finite(limit.lower),
            above=_finite(limit.upper),
        )
        for limit, used in zip(assignment.problem.limits, assignment.used, strict=True)
    ]
    drift = Watched(
        "drift of fields",
        "population stability index of each field against the frozen bins of training: sum of (a - e) ln(a / e)",
        "index",
        predicted=0.0,
        above=DRIFTED,
    )
    gain = _gain(model, inputs.decided(assignment))
    return [_calibration(model), drift, gain, _complaints(model, assignment), *limits]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _calibration(model: ModelLike) -> Watched:
    definition = "payers observed over payers expected by the propensity to pay, of decisions whose horizon has passed"
    below, above = CALIBRATED
    scores = model.evidence.tables.get("scores")
    if scores is None or not float(scores["predicted"].sum()):
        return Watched("calibration", definition, "ratio", predicted=1.0, below=below, above=above)
    p, paid = scores["predicted"].to_numpy(dtype=float), scores["paid"].to_numpy(dtype=float)
    ratio, half = float(paid.sum() / p.sum()), Z * float(np.sqrt(np.sum(p * (1 - p))) / p.sum())
    return Watched(
        "calibration", definition, "ratio", 1.0, ratio, ratio - half, ratio + half, len(p), below=below, above=above
    )


def _gain(model: ModelLike, frame: pd.DataFrame) -> Watched:
    acted = frame["reason"] != "hold-out"
    predicted = (frame["value"] - frame["value_no_action"])[acted].mean()
    watched = Watched(
        "gain over the hold-out",
        "mean net value of customers not held out, less that of the hold-out, by intention to treat",
        f"{model.strategy.currency} per account",
        predicted=_finite(predicted),
        below=0.0,
    )
    table = model.evidence.tables.get("policy_value")
    if table is None:
        return watched
    row = table[(table["estimator"] == "dr") & (table["baseline"] == f"{model.strategy.control} for all")]
    if row.empty:
        return watched
    kept = fact(model, "log", "held_out_decisions")
    observed, low, high = (_finite(row[c].iloc[0]) for c in ("difference", "difference_low", "difference_high"))
    return replace(watched, observed=observed, low=low, high=high, n=kept if isinstance(kept, int) else None)


def _complaints(model: ModelLike, assignment: Assignment) -> Watched:
    """Predict complaints of the contacts assigned; three standard errors of a Poisson count above is the control limit."""
    definition, unit = "complaints of the cycle over accounts contacted in it", "per 1,000 contacted accounts"
    effects = model.evidence.tables.get("effects")
    contacted = assignment.by_action()["accounts"][assignment.problem.strategy.contact_mask]
    n = int(contacted.sum())
    if effects is None or "complaints_per_1000" not in effects or not n:
        return Watched("complaints per 1,000 contacts", definition, unit)
    rate = effects.set_index("action")["complaints_per_1000"].reindex(contacted.index).fillna(0.0)
    predicted = float((rate * contacted).sum() / n)
    above = predicted + 3 * math.sqrt(1000 * predicted / n)
    return Watched("complaints per 1,000 contacts", definition, unit, predicted=predicted, n=n, above=above)


def frozen_plan(
    model: ModelLike, assignment: Assignment, metrics: list[Watched], *, assignment_digest: str
) -> dict[str, object]:
    """Put the metrics together with the hashes of everything they were worked out from.

    Parameters
    ----------
    model : ModelLike
        Strategy and evidence.
    assignment : Assignment
        What was assigned.
    metrics : list of Watched
        From :func:`watched`.
    assignment_digest : str
        Of the assignment's rows.

    Returns
    -------
    dict
        ``as_of``, ``strategy`` (name, version, digest), ``assigned`` (accounts by action), ``metrics``, and the digests of the log,
        the assignment, the frozen bins of the fields (``profile``) and the saved scores (``scores``).
    """
    strategy, tables = model.strategy, model.evidence.tables
    digests = {
        "log": fact(model, "log", "digest"),
        "assignment": assignment_digest,
        "strategy": value_digest(strategy.model_dump(mode="json")),
        **{name: content_digest(tables[name]) if name in tables else None for name in ("profile", "scores")},
    }
    return {
        "as_of": assignment.problem.cycle,
        "strategy": {"name": strategy.name, "version": strategy.version, "holdout_share": strategy.holdout.share},
        "assigned": {str(name): int(n) for name, n in assignment.by_action()["accounts"].items()},
        "metrics": [asdict(m) for m in metrics],
        "digests": digests,
    }


def plan_digest(plan: Mapping[str, object]) -> str:
    """Digest a frozen plan, so that a later report can name the one it is held against.

    Parameters
    ----------
    plan : mapping
        From :func:`frozen_plan`, or ``payload["monitoring"]`` read back; its own ``digest`` is left out.

    Returns
    -------
    str
        SHA-256 in hexadecimal.

    Examples
    --------
    >>> plan_digest({"metrics": []}) == plan_digest({"metrics": [], "digest": "any"})
    True
    """
    return value_digest({k: v for k, v in plan.items() if k != "digest"})
