"""What a policy is worth per decision, from the log of another: direct, weighted and doubly robust estimates with clustered intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from collectml.errors import SchemaError
from collectml.evaluation._lines import estimate_line, with_difference
from collectml.evaluation._rows import EvaluationLog, action_codes, customer_codes, outcome_of, policy_matrices, propensities
from collectml.evaluation._scores import ESTIMATORS, MODEL_BASED, LogRows, PolicyScores
from collectml.evaluation.outcome_models import OutcomeModel, cross_fitted_outcomes, predicted_outcomes
from collectml.evaluation.policy_value import BASE_COLUMNS, DIFFERENCE_COLUMNS, PolicyValue

__all__ = ["constant_policy", "evaluate_policy"]

DEFAULT_ESTIMATORS = ("dm", "ips", "snips", "dr")


def constant_policy(log: EvaluationLog, action: str) -> pd.DataFrame:
    """Give every decision of the log the same action.

    Parameters
    ----------
    log : DecisionLog
    action : str
        One of ``log.actions``.

    Returns
    -------
    DataFrame, decisions x actions
        Probabilities, indexed like the log.
    """
    if action not in log.actions:
        raise ValueError(f"{action!r} is no action of the log; it has {list(log.actions)}")
    policy = pd.DataFrame(0.0, index=log.X.index, columns=list(log.actions))
    policy[action] = 1.0
    return policy


def evaluate_policy(
    log: EvaluationLog,
    policy: pd.DataFrame,
    *,
    baseline: pd.DataFrame | Literal["logged"] | None = None,
    outcome: str | pd.Series = "recovered",
    estimators: Sequence[str] = DEFAULT_ESTIMATORS,
    outcome_model: pd.DataFrame | OutcomeModel | None = None,
    confidence: float = 0.95,
) -> PolicyValue:
    """Estimate the mean outcome per decision under a policy that did not make the log.

    Parameters
    ----------
    log : DecisionLog
        Decisions the policy was not learnt from.
    policy : DataFrame, decisions x actions
        Probabilities; each row sums to 1 within 1e-9. Indexed like the log, or by account id where every account has one
        decision. An action without a column has probability zero. It must not depend on the log's actions or outcomes.
    baseline : DataFrame or "logged", optional
        Another such policy; adds paired differences (policy less baseline) from the same decisions. ``"logged"`` is
        what was done: its value is the mean outcome, whatever the estimator, and needs neither weights nor a model.
        (A frame with 1 at each logged action is not that policy but a copy of its dice, and is refused.)
    outcome : str or Series, default "recovered"
        ``"recovered"``, ``"paid"``, another column of the log, or a Series aligned like the policy (net value, say).
    estimators : sequence of {"dm", "ips", "snips", "dr", "sndr", "switch_dr", "dr_os"}
        Direct method; inverse propensity score (Horvitz-Thompson); self-normalised IPS (Hajek); doubly robust;
        self-normalised DR; SWITCH-DR and DR with optimistic shrinkage, which give up weight, and with it freedom from bias,
        for less variance.
    outcome_model : DataFrame or fitted model, optional
        For ``dm`` and the ``dr`` family: decisions x actions of predictions by a model that has not seen these decisions, or a model
        fitted on others, with ``predict(X)``. None cross-fits :class:`collectml.UpliftModel` by folds of customers.
    confidence : float, default 0.95
        Of each two-sided interval.

    Returns
    -------
    PolicyValue
        Estimators that the log cannot support are refused: their row is missing and says why; see ``.refusals``.

    Raises
    ------
    SchemaError
        Where anything but ``dm`` is asked for and logging propensities are missing or outside (0, 1].
    ValueError
        Where policy, baseline, outcome or model do not fit the log.

    Notes
    -----
    With logging propensity p, weight w = policy(a | x) / p and prediction q: DM is the mean of ``sum_a policy(a) q(a)``,
    IPS of ``w y``, DR of ``sum_a policy(a) q(a) + w (y - q(a_logged))``, and SNIPS is ``sum w y / sum w``. SNDR divides
    DR's correction by the mean weight. SWITCH-DR drops the correction where w exceeds a threshold, DR-os shrinks w to
    ``lambda w / (w^2 + lambda)``; threshold and lambda are those of the least estimated mean squared error
    (:func:`collectml.evaluation.weights.choose_shrinkage`), and the note names them. In the others weights are never
    clipped. Standard errors are delete-one-customer; for limits see :func:`collectml.evaluation.intervals.interval`.
    Cross-fit once with :func:`cross_fitted_outcomes` and hand that in where several policies are judged on one log.

    References
    ----------
    Horvitz and Thompson (1952), A generalization of sampling without replacement, JASA 47 (IPS).
    Hajek (1971), comment in Foundations of Statistical Inference; Swaminathan and Joachims (2015), The self-normalized
    estimator for counterfactual learning, NeurIPS (SNIPS).
    Robins, Rotnitzky and Zhao (1994), JASA 89; Dudik, Langford and Li (2011), Doubly robust policy evaluation and
    learning, ICML (DR; DM is named there, too).
    Wang, Agarwal and Dudik (2017), Optimal and adaptive off-policy evaluation in contextual bandits, ICML (SWITCH-DR).
    Su, Dimakopoulou, Krishnamurthy and Dudik (2020), Doubly robust off-policy evaluation with shrinkage, ICML (DR-os).

    Examples
    --------
    >>> from collectml.data import DecisionLog
    >>> frame = pd.DataFrame({
    ...     "account_id": [1, 2, 3, 4], "decided_at": pd.Timestamp("2026-01-01"), "balance": 100.0,
    ...     "action": ["no_action", "sms", "no_action", "sms"], "logging_propensity": 0.5,
    ...     "recovered": [0.0, 9.0, 4.0, 5.0], "paid": [0, 1, 1, 1],
    ... })
    >>> log = DecisionLog(frame, actions=["no_action", "sms"], features=["balance"])
    >>> value = evaluate_policy(log, constant_policy(log, "sms"), baseline="logged", estimators=("ips", "snips"))
    >>> value.frame()[["estimator", "value", "baseline_value", "difference"]]
      estimator  value  baseline_value  difference
    0       ips    7.0             4.5         2.5
    1     snips    7.0             4.5         2.5
    """
    wanted = (estimators,) if isinstance(estimators, str) else tuple(dict.fromkeys(estimators))
    if not wanted or not set(wanted) <= set(ESTIMATORS):
        raise ValueError(f"estimators must be among {list(ESTIMATORS)}, not {list(wanted)}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    propensity, why = propensities(log)
    weighted = [e for e in wanted if e != "dm"]
    if propensity is None and weighted:
        asked = ", ".join(weighted)
        raise SchemaError(f"{asked} need logging propensities, and {why}; supply them, or ask for estimators=('dm',)")
    if not (baseline is None or isinstance(baseline, pd.DataFrame) or baseline == "logged"):
        raise ValueError(f'baseline must be a frame of probabilities, "logged" or None, not {baseline!r}')

    y, name = outcome_of(log, outcome)
    # an outcome that falls below zero is net of costs, whose own spread says nothing of the amounts'
    received = log.recovered.to_numpy(dtype=np.float64) if bool((y < 0).any()) else None
    rows = LogRows(y.to_numpy(), action_codes(log), propensity, *customer_codes(log), received, log.X)
    frames = {"policy": policy} | ({"baseline": baseline} if isinstance(baseline, pd.DataFrame) else {})
    matrices = policy_matrices(frames, log)
    model = outcome_model
    if model is None and set(MODEL_BASED) & set(wanted):
        model = cross_fitted_outcomes(log, outcome=outcome)
    sides = {
        what: PolicyScores(
            what,
            matrix,
            names,
            rows,
            None if model is None else predicted_outcomes(model, log, names),
            own_model=outcome_model is None,
        )
        for what, (matrix, names) in matrices.items()
    }
    judged, other = sides["policy"], sides.get("baseline")
    lines = []
    for estimator in wanted:
        estimate = judged.ratio(estimator)
        line = estimate_line(judged, estimator, estimate, confidence)
        if baseline is not None:
            beside = rows.mean(rows.y) if other is None else other.ratio(estimator)
            line = with_difference(line, estimate, beside, confidence)
        lines.append(line)
    return PolicyValue(
        pd.DataFrame(lines, columns=BASE_COLUMNS + ([] if baseline is None else DIFFERENCE_COLUMNS)),
        judged.support,
        None if other is None else other.support,
        judged.refusals + judged.unpredicted + (() if other is None else other.refusals + other.unpredicted),
        name,
        confidence,
    )
