"""Logged decisions as a strategy reads them: each an account of its own, with what it brought in money."""

from __future__ import annotations

import numpy as np
import pandas as pd

from collectml.data import DecisionLog
from collectml.errors import ConfigurationError
from collectml.policy import PricedActions
from collectml.strategy import Strategy

__all__ = ["as_accounts", "check_fit", "net_outcome"]


def check_fit(log: DecisionLog, strategy: Strategy) -> None:
    """Refuse a log and a strategy that do not speak of the same actions."""
    unknown = [a for a in log.actions if a not in strategy.action_names]
    if unknown:
        raise ConfigurationError(f"the log's actions {', '.join(unknown)} are none of strategy {strategy.name!r}")
    if log.control != strategy.control:
        raise ConfigurationError(f"the log's control is {log.control!r}, the strategy's {strategy.control!r}")


def as_accounts(log: DecisionLog, accounts: pd.DataFrame | None) -> pd.DataFrame:
    """Make each decision an account of its own, numbered by its row: the log may hold an account more than once.

    Customers are told apart by day, as one contact a customer is a rule for one cycle. Commitments are left out: a logged
    decision was one.
    """
    frame = log.frame.reset_index(drop=True)
    if accounts is not None:
        fields = [c for c in accounts.columns if c not in frame.columns and c not in {"committed_action", "committed_until"}]
        snapshot = accounts.set_index("account_id")[[c for c in fields if c != "account_id"]]
        frame = frame.join(snapshot.reindex(pd.Index(log.account)).reset_index(drop=True))
    frame["customer_id"] = log.customer.astype(str).to_numpy() + "@" + log.decided_at.dt.strftime("%Y-%m-%d").to_numpy()
    frame["account_id"] = np.arange(len(frame))
    return frame.drop(columns=["committed_action", "committed_until"], errors="ignore")


def net_outcome(log: DecisionLog, priced: PricedActions, strategy: Strategy) -> pd.Series:
    """Sum what each logged decision brought in money, at its real cost where the log holds it, else at the expected one."""
    rows = np.arange(len(log))
    at = pd.Index(priced.net.columns).get_indexer(pd.Index(log.action))
    objective = strategy.objective
    cost = priced.cost.to_numpy()[rows, at] if log.cost is None else log.cost.to_numpy(dtype=float)
    complaints = priced.complaints.to_numpy()[rows, at] if log.complained is None else log.complained.to_numpy(dtype=float)
    net = (
        log.recovered.to_numpy(dtype=float) * objective.value_of_recovered - cost - complaints * objective.cost_of_complaint
    )
    return pd.Series(net, index=log.X.index, name="net value")
