"""Net value in money: what is recovered, less what the action costs and the complaints it raises."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.errors import ConfigurationError, SchemaError
from collectml.strategy import Strategy

from .caution import cautious

__all__ = ["PricedActions", "price_actions", "price_arrays"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PricedActions:
    """What every action is expected to bring, cost and use, for every account.

    Parameters
    ----------
    net : DataFrame, accounts × actions
        Net value in money: ``recovered × value - cost - complaints × their cost``.
    recovered : DataFrame, accounts × actions
        Expected recovered money within the horizon.
    cost : DataFrame, accounts × actions
        Expected cost in money: attempts and agents' minutes.
    minutes : DataFrame, accounts × actions
        Expected agent minutes: attempts, and talk where the customer is reached.
    complaints : DataFrame, accounts × actions
        Expected complaints.
    """

    net: pd.DataFrame
    recovered: pd.DataFrame
    cost: pd.DataFrame
    minutes: pd.DataFrame
    complaints: pd.DataFrame

    def quantities(self) -> dict[str, pd.DataFrame]:
        """Give the quantities that limits are written in.

        Returns
        -------
        dict of str to DataFrame
            ``cost``, ``minutes`` and ``complaints``.
        """
        return {"cost": self.cost, "minutes": self.minutes, "complaints": self.complaints}


def price_actions(
    strategy: Strategy,
    recovered: pd.DataFrame,
    *,
    reach: pd.DataFrame | None = None,
    complaints: pd.DataFrame | None = None,
    standard_errors: pd.DataFrame | None = None,
) -> PricedActions:
    """Price every action for every account.

    Parameters
    ----------
    strategy : Strategy
        Unit costs, minutes and the prices of outcomes.
    recovered : DataFrame, accounts × actions
        Expected recovered money under each action, in any column order.
    reach : DataFrame, accounts × channels, optional
        Probability that one attempt reaches the customer. For a channel without a column, or without a model, the
        action's ``stated_reach`` counts.
    complaints : DataFrame, accounts × actions, optional
        Probability of a complaint. For an action without a column the ``stated_complaint_rate`` counts.
    standard_errors : DataFrame, accounts × actions, optional
        Standard errors of the effects on recovered money; needed where the strategy's objective asks for ``caution``.

    Returns
    -------
    PricedActions

    Raises
    ------
    SchemaError
        Where ``recovered`` lacks an action of the strategy.
    ConfigurationError
        Where the strategy asks for caution and there are no standard errors.

    Notes
    -----
    An action's attempts end with the first that reaches the customer, so with reach ``p`` and at most ``m`` attempts the
    expected attempts are ``(1 - (1-p)^m) / p``, and a conversation takes place with probability ``1 - (1-p)^m``. Then
    ``minutes = attempts × attempt_minutes + P(conversation) × talk_minutes`` and
    ``cost = attempts × unit_cost + minutes × cost_of_agent_minute``.

    Examples
    --------
    >>> strategy = Strategy.model_validate({"name": "s", "currency": "EUR", "objective": {"cost_of_agent_minute": 1},
    ...     "actions": [{"name": "no_action"}, {"name": "call", "channel": "call", "talk_minutes": 5, "attempts": 1}]})
    >>> recovered = pd.DataFrame({"no_action": [10.0], "call": [14.0]}, index=[7])
    >>> price_actions(strategy, recovered, reach=pd.DataFrame({"call": [0.4]}, index=[7])).net
       no_action  call
    7       10.0  12.0
    """
    missing = [a for a in strategy.action_names if a not in recovered.columns]
    if missing:
        raise SchemaError(f"no expected recovery for {', '.join(missing)}: the columns are {', '.join(map(str, recovered))}")
    recovered = recovered[list(strategy.action_names)]
    caution = strategy.objective.caution
    if caution is not None:
        if standard_errors is None:
            raise ConfigurationError(
                f"strategy {strategy.name!r} asks for caution ({caution.method}), but there are no standard errors of effects"
            )
        recovered = cautious(recovered, standard_errors, caution, control=strategy.control)
    index, names = recovered.index, list(strategy.action_names)
    matched, told = _columns(reach, index), _columns(complaints, index)
    parts = price_arrays(strategy, recovered.to_numpy(dtype=float), reach=matched, complaints=told)
    net, cost, minutes, complaint = (pd.DataFrame(m, index=index, columns=names) for m in parts)
    return PricedActions(net, recovered, cost, minutes, complaint)


def _columns(frame: pd.DataFrame | None, index: pd.Index) -> dict[str, Floats]:
    """Take a frame apart into columns that follow an index."""
    if frame is None:
        return {}
    return {str(c): frame[c].reindex(index).to_numpy(dtype=np.float64) for c in frame.columns}


def price_arrays(
    strategy: Strategy, recovered: Floats, *, reach: Mapping[str, Floats], complaints: Mapping[str, Floats]
) -> tuple[Floats, Floats, Floats, Floats]:
    """Price every action for every account, on plain arrays (see :func:`price_actions`).

    Parameters
    ----------
    strategy : Strategy
        Unit costs, minutes and the prices of outcomes.
    recovered : ndarray, shape (n, A)
        Expected recovered money under each action, in the strategy's order.
    reach : mapping of str to ndarray, shape (n,)
        By channel, the probability that one attempt reaches the customer.
    complaints : mapping of str to ndarray, shape (n,)
        By action, the probability of a complaint.

    Returns
    -------
    net, cost, minutes, complaints : ndarray, shape (n, A)
    """
    n = len(recovered)
    cost, minutes, complaint = (np.zeros(recovered.shape) for _ in range(3))
    for j, action in enumerate(strategy.actions):
        if action.channel is not None:
            # one attempt is made and lands where nothing is known of the channel: letters, texts
            stated = np.full(n, 1.0 if action.stated_reach is None else action.stated_reach)
            p = reach.get(action.channel, stated)
            attempts = action.expected_attempts(p)
            minutes[:, j] = attempts * action.attempt_minutes + action.conversation_probability(p) * action.talk_minutes
            cost[:, j] = attempts * action.unit_cost + minutes[:, j] * strategy.objective.cost_of_agent_minute
        complaint[:, j] = complaints.get(action.name, action.stated_complaint_rate)
    worth = recovered * strategy.objective.value_of_recovered
    return worth - cost - complaint * strategy.objective.cost_of_complaint, cost, minutes, complaint
