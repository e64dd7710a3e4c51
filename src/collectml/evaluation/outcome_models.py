"""Predicted outcomes for DM and DR, always by a model that has not seen the row it predicts."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.evaluation._rows import EvaluationLog, action_codes, align, customer_codes, outcome_of, propensities
from collectml.hashing import stable_hash

__all__ = ["OutcomeModel", "cross_fitted_outcomes", "customer_folds", "predicted_outcomes"]


@runtime_checkable
class OutcomeModel(Protocol):
    """A model of the outcome under every action, fitted on other decisions than those evaluated."""

    def predict(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the expected outcome, decisions x actions, indexed like `X`."""
        ...


def customer_folds(log: EvaluationLog, folds: int) -> NDArray[np.intp]:
    """Return a fold for each decision, (n,): whole customers, rare actions dealt out first and evenly.

    Folds follow a hash of the customer, not a generator or the order of rows: the same customer falls into the same fold
    however the log is sorted.
    """
    codes, n_customers = customer_codes(log)
    actions = action_codes(log)
    rarity = np.bincount(actions, minlength=len(log.actions))[actions] * len(log.actions) + actions
    rarest = np.full(n_customers, np.iinfo(np.int64).max)
    np.minimum.at(rarest, codes, rarity)
    identifiers = pd.unique(np.asarray(log.customer))
    order = np.lexsort((stable_hash(identifiers, salt="collectml", purpose="evaluation-fold"), rarest))
    fold = np.empty(n_customers, dtype=np.intp)
    fold[order] = np.arange(n_customers) % folds
    return fold[codes]


def cross_fitted_outcomes(
    log: EvaluationLog, *, outcome: str | pd.Series = "recovered", folds: int = 5, random_state: int = 0
) -> pd.DataFrame:
    """Predict every decision's outcome under every action by models fitted on other customers.

    What :func:`evaluate_policy` does when no `outcome_model` is given. Call it once and hand the frame in where several
    policies are compared on one log.

    Parameters
    ----------
    log : DecisionLog
    outcome : str or Series, default "recovered"
        As in :func:`evaluate_policy`.
    folds : int, default 5
        Whole customers, stratified by action.
    random_state : int, default 0

    Returns
    -------
    DataFrame, decisions x actions
        Missing where an action was logged for too few customers to be learnt without the row's own fold.
    """
    from collectml.uplift import UpliftModel  # a model class: loaded only when one must be fitted

    y, name = outcome_of(log, outcome)
    propensity = None if propensities(log)[0] is None else log.logging_propensity
    # amounts are a hurdle; a net value can fall below zero, and then has none
    learner = "hurdle" if bool((y >= 0).all()) else "s"
    fold = customer_folds(log, folds)
    predicted = pd.DataFrame(np.nan, index=log.X.index, columns=list(log.actions))
    for k in np.unique(fold):
        train, test = fold != k, fold == k
        model = UpliftModel(learner=learner, random_state=random_state).fit(
            log.X[train],
            y[train],
            action=log.action[train],
            paid=log.paid[train] if name == "recovered" and learner == "hurdle" else None,
            logging_propensity=None if propensity is None else propensity[train],
            customer=log.customer[train],
        )
        # an action absent from the other folds has no prediction, whatever the model would extrapolate to
        known = [a for a in log.actions if bool((log.action[train] == a).any())]
        predicted.loc[test, known] = model.predict(log.X[test])[known].to_numpy(dtype=np.float64)
    return predicted


def predicted_outcomes(
    model: pd.DataFrame | OutcomeModel, log: EvaluationLog, names: tuple[str, ...]
) -> NDArray[np.float64]:
    """Return the predictions of a frame or a fitted model over `names`, (n, A); missing where it has none."""
    if isinstance(model, pd.DataFrame):
        frame = align(model, log, "outcome_model")
    elif isinstance(model, OutcomeModel):
        frame = model.predict(log.X)
        if not isinstance(frame, pd.DataFrame) or len(frame) != len(log):
            raise ValueError("outcome_model.predict(X) must return a frame with one row per decision, columns = actions")
    else:
        raise TypeError("outcome_model must be a frame of predictions, a fitted model with predict(X), or None")
    return frame.reindex(columns=pd.Index(names)).to_numpy(dtype=np.float64, na_value=np.nan)
