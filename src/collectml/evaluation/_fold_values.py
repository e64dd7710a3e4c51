"""Net values for a strategy's decisions, always from models that have not seen the decision's customer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.data import DecisionLog
from collectml.evaluation._rows import align
from collectml.policy import PricedActions, price_actions
from collectml.strategy import Strategy

__all__ = ["Fold", "ValueModel", "given_values", "learnt_values"]

ValueModel = Callable[[DecisionLog, DecisionLog], pd.DataFrame | PricedActions]
"""``(train, test) -> values``: learn from the first log, value the decisions of the second, in its order of rows."""

FEWEST_COMPLAINTS = 20


class Fold:
    """Decisions whose actions are solved together.

    Parameters
    ----------
    rows : ndarray of int, shape (m,)
        Positions in the log.
    priced : PricedActions
        Indexed by position.
    unsupported : tuple of str
        Actions with too few rows among the decisions learnt from.
    """

    def __init__(self, rows: NDArray[np.intp], priced: PricedActions, unsupported: tuple[str, ...]) -> None:
        self.rows = rows
        self.priced = priced
        self.unsupported = unsupported


def given_values(log: DecisionLog, strategy: Strategy, values: pd.DataFrame | PricedActions) -> list[Fold]:
    """Take values as given: one fold, as nothing is learnt here."""
    net = align(values.net if isinstance(values, PricedActions) else values, log, "values")
    order = (values.net if isinstance(values, PricedActions) else values).index.get_indexer(net.index)
    few = _unsupported(log, strategy)
    return [Fold(np.arange(len(log)), _priced(strategy, values, order, np.arange(len(log))), few)]


def learnt_values(
    log: DecisionLog,
    strategy: Strategy,
    fold: NDArray[np.intp],
    *,
    learner: str | ValueModel,
    random_state: int,
    n_jobs: int | None,
) -> list[Fold]:
    """Learn values for each fold from the others."""
    found = []
    for k in np.unique(fold):
        train, test = log.select(fold != k), log.select(fold == k)
        rows = np.flatnonzero(fold == k)
        few = _unsupported(train, strategy)
        if callable(learner):
            values: pd.DataFrame | PricedActions = learner(train, test)
        else:
            values = _learn(train, test, strategy, few, learner, random_state, n_jobs)
        if len(values.net if isinstance(values, PricedActions) else values) != len(rows):
            raise ValueError(f"learner: {len(rows):,} decisions were to be valued, and as many rows must come back")
        found.append(Fold(rows, _priced(strategy, values, np.arange(len(rows)), rows), few))
    return found


def _unsupported(log: DecisionLog, strategy: Strategy) -> tuple[str, ...]:
    rows = log.action.value_counts()
    return tuple(a for a in strategy.action_names[1:] if int(rows.get(a, 0)) < strategy.min_logged)


def _learn(
    train: DecisionLog,
    test: DecisionLog,
    strategy: Strategy,
    unsupported: tuple[str, ...],
    learner: str,
    random_state: int,
    n_jobs: int | None,
) -> PricedActions:
    """Fit the uplift model, and the complaint model where the log holds complaints, as training a strategy does."""
    from collectml.models import ComplaintModel  # model classes: loaded only when one must be fitted
    from collectml.uplift import UpliftModel

    known = train.select(~train.action.isin(unsupported).to_numpy())
    uplift = UpliftModel(learner, control=strategy.control, random_state=random_state, n_jobs=n_jobs).fit(
        known.X,
        known.recovered,
        action=known.action,
        paid=known.paid,
        logging_propensity=known.logging_propensity,
        customer=known.customer,
    )
    complaints = None
    if train.complained is not None and int(train.complained.sum()) >= FEWEST_COMPLAINTS:
        complaints = (
            ComplaintModel(random_state=random_state, n_jobs=n_jobs)
            .fit(train.X, train.complained, action=train.action, control=strategy.control, customer=train.customer)
            .predict(test.X)
        )
    recovered = uplift.predict(test.X).reindex(columns=list(strategy.action_names))
    return price_actions(strategy, recovered, complaints=complaints)


def _priced(
    strategy: Strategy, values: pd.DataFrame | PricedActions, order: NDArray[np.intp], rows: NDArray[np.intp]
) -> PricedActions:
    """Bring values into the order of the decisions, numbered by `rows`; a bare frame's quantities are the strategy's stated."""
    if isinstance(values, PricedActions):
        parts = (values.net, values.recovered, values.cost, values.minutes, values.complaints)
    else:
        net = values.reindex(columns=list(strategy.action_names))
        stated = price_actions(strategy, net)
        parts = (net, net, stated.cost, stated.minutes, stated.complaints)
    return PricedActions(*(part.iloc[order].set_axis(rows, axis="index") for part in parts))
