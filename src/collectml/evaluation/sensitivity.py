"""How strong an unobserved confounder must be to overturn a choice of policy: the marginal sensitivity model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.errors import SchemaError
from collectml.evaluation._bounds import COLUMNS, Bounds, Limits
from collectml.evaluation._rows import EvaluationLog, action_codes, customer_codes, outcome_of, policy_matrices, propensities
from collectml.evaluation._scores import LogRows, PolicyScores
from collectml.evaluation._worst_case import strata_by_action
from collectml.evaluation.outcome_models import OutcomeModel, cross_fitted_outcomes, predicted_outcomes
from collectml.evaluation.sensitivity_result import Sensitivity

__all__ = ["evaluate_sensitivity"]

Floats = NDArray[np.float64]

STRENGTHS = (1.0, 1.1, 1.25, 1.5, 2.0, 3.0)
_ESTIMATORS = ("ips", "snips", "dr")


def evaluate_sensitivity(
    log: EvaluationLog,
    policy: pd.DataFrame,
    *,
    baseline: pd.DataFrame | Literal["logged"] | None = None,
    outcome: str | pd.Series = "recovered",
    estimator: str = "dr",
    outcome_model: pd.DataFrame | OutcomeModel | None = None,
    strengths: Sequence[float] = STRENGTHS,
    confidence: float = 0.95,
    resamples: int | None = None,
    benchmark: pd.DataFrame | None = None,
    random_state: int = 0,
) -> Sensitivity:
    """Bound a policy's value, and its difference from a baseline, when the actions may have followed something unobserved.

    Parameters
    ----------
    log, policy, baseline, outcome
        As in :func:`collectml.evaluation.evaluate_policy`.
    estimator : {"dr", "snips", "ips"}, default "dr"
        The estimate that the bounds surround; at strength 1 they are that estimate.
    outcome_model : DataFrame or fitted model, optional
        As in :func:`evaluate_policy`; for ``snips`` and ``ips`` it may be left out. Its predictions also make the strata in
        which weights keep their sum, which narrows the bounds; without it weights keep their sum within each action.
    strengths : sequence of float
        Values of Lambda, each at least 1: the true odds of an action, given features and outcomes, lie within a factor
        Lambda of its logged odds. 1 is added where it is missing.
    confidence : float, default 0.95
    resamples : int, optional
        Limits by so many bootstrap samples of customers, quantiles solved again in each (percentile method). None: limits
        from the influence values of the bounds, as those of :func:`evaluate_policy`.
    benchmark : DataFrame, optional
        From :func:`collectml.evaluation.omitted_feature_odds`: how strong the observed features are.
    random_state : int, default 0
        Of the resamples.

    Returns
    -------
    Sensitivity
        Where the log cannot support the policy at all, its numbers are missing and ``refusals`` says why.

    Raises
    ------
    SchemaError
        Where logging propensities are missing or outside (0, 1].
    ValueError
        Where policy, baseline, outcome or model do not fit the log, or a strength is below 1.

    Notes
    -----
    The marginal sensitivity model (Tan 2006), each action against all others. For one policy that gives an account one
    action the bounds are those of Zhao, Small and Bhattacharya where weights keep their sum within each action, and approach
    the sharp ones of Dorn and Guo as the strata tell the accounts' outcomes apart; where a policy or a difference mixes
    actions of one account each action is bounded by itself, which is valid, and may be wide. Bounds of a difference use one
    set of weights for both policies: decisions in which they agree do not widen it. The interval at a strength runs from the lower
    bound's lower limit to the upper bound's upper limit.

    Actions drawn by a generator with the logged probabilities cannot be confounded: then strength 1 is the truth.

    References
    ----------
    Tan (2006), A distributional approach for causal inference using propensity scores, JASA 101.
    Zhao, Small and Bhattacharya (2019), Sensitivity analysis for inverse probability weighting estimators via the
    percentile bootstrap, JRSS B 81.
    Dorn and Guo (2023), Sharp sensitivity analysis for inverse propensity weighting via quantile balancing, JASA 118.

    Examples
    --------
    >>> from collectml.data import DecisionLog
    >>> from collectml.evaluation import constant_policy
    >>> frame = pd.DataFrame({
    ...     "account_id": range(400), "decided_at": pd.Timestamp("2026-01-01"), "balance": 100.0,
    ...     "action": ["no_action", "sms"] * 200, "logging_propensity": 0.5,
    ... })
    >>> frame["paid"] = ((frame.index % 4 == 0) | (frame.index % 8 == 1) | (frame.index % 4 == 3)).astype(int)
    >>> frame["recovered"] = 10.0 * frame["paid"]
    >>> log = DecisionLog(frame, actions=["no_action", "sms"], features=["balance"])
    >>> sms, nothing = (constant_policy(log, a) for a in ("sms", "no_action"))
    >>> found = evaluate_sensitivity(log, sms, baseline=nothing, estimator="ips", strengths=[1, 2])
    >>> found.frame()[["strength", "difference_lower", "difference_upper"]].round(2)
       strength  difference_lower  difference_upper
    0       1.0               2.5              2.50
    1       2.0               0.0              4.38
    >>> found.sentence()
    'The policy stays better ... by a factor of 1.30 or more (2.00 without sampling error).'
    """
    if estimator not in _ESTIMATORS:
        raise ValueError(f"estimator must be one of {list(_ESTIMATORS)}, not {estimator!r}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    grid = tuple(sorted({1.0, *(float(s) for s in strengths)}))
    if grid[0] < 1 or not np.isfinite(grid).all():
        raise ValueError(f"strengths must be 1 or more and finite, not {list(strengths)}")
    propensity, why = propensities(log)
    if propensity is None:
        raise SchemaError(f"a sensitivity analysis needs logging propensities, and {why}")
    if not (baseline is None or isinstance(baseline, pd.DataFrame) or baseline == "logged"):
        raise ValueError(f'baseline must be a frame of probabilities, "logged" or None, not {baseline!r}')
    y, name = outcome_of(log, outcome)
    rows = LogRows(y.to_numpy(), action_codes(log), propensity, *customer_codes(log))
    frames = {"policy": policy} | ({"baseline": baseline} if isinstance(baseline, pd.DataFrame) else {})
    model = outcome_model
    if model is None and estimator == "dr":
        model = cross_fitted_outcomes(log, outcome=outcome)
    sides = {}
    for what, (matrix, names) in policy_matrices(frames, log).items():
        predicted = None if model is None else predicted_outcomes(model, log, names)
        sides[what] = PolicyScores(what, matrix, names, rows, predicted, own_model=outcome_model is None)
    cells = rows.logged
    if model is not None:
        cells = strata_by_action(_of_logged(predicted_outcomes(model, log, log.actions), rows.logged), rows.logged)
    settings = Limits(confidence, resamples, random_state)
    parts = {"": Bounds(rows, sides["policy"], None, estimator, cells, settings)}
    if baseline is not None:
        parts["difference_"] = Bounds(rows, sides["policy"], sides.get("baseline", "logged"), estimator, cells, settings)
    reasons = tuple(r for side in sides.values() if (r := side.refusal(estimator)))
    missing = dict.fromkeys(COLUMNS, np.nan)
    lines = [
        {"strength": s}
        | {prefix + k: v for prefix, part in parts.items() for k, v in (missing if reasons else part.line(s)).items()}
        for s in grid
    ]
    paired = parts.get("difference_")
    overturned = (np.nan, np.nan) if paired is None or reasons else paired.overturned()
    return Sensitivity(pd.DataFrame(lines), *overturned, name, estimator, confidence, reasons, benchmark)


def _of_logged(predicted: Floats, logged: NDArray[np.intp]) -> Floats:
    """Return the prediction of each logged action; a missing one counts as 0 and goes into the lowest stratum."""
    own = predicted[np.arange(len(logged)), logged]
    return np.where(np.isfinite(own), own, 0.0)
