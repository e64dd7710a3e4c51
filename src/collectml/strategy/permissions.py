"""Permissions: which action is allowed for which account, and what blocked the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .eligibility import Expression
from .spec import Strategy

__all__ = ["NO_EVIDENCE", "Permissions", "permissions"]

NO_EVIDENCE = "no evidence"


@dataclass(frozen=True)
class Permissions:
    """What the strategy's conditions allow.

    Parameters
    ----------
    allowed : ndarray of bool, shape (n, A)
        Whether each action is permitted for each account; the control always is.
    denied : mapping of str to ndarray of bool, shape (n,)
        By condition, the accounts it denies (a missing field denies everybody).
    covers : mapping of str to ndarray of bool, shape (A,)
        By condition, the actions it covers.
    missing : mapping of str to tuple of str
        By condition, the fields it reads that the accounts do not have.
    """

    allowed: NDArray[np.bool_]
    denied: Mapping[str, NDArray[np.bool_]]
    covers: Mapping[str, NDArray[np.bool_]]
    missing: Mapping[str, tuple[str, ...]]

    def blocked_by(self, action: NDArray[np.integer]) -> NDArray[np.object_]:
        """Name the first condition that blocks an action, for each account its own action.

        Parameters
        ----------
        action : ndarray of int, shape (n,)
            Position of the action asked about.

        Returns
        -------
        ndarray of str, shape (n,)
            Empty where nothing blocks it.
        """
        return np.array([*self.denied, ""], dtype=object)[self.blocking(action)]

    def blocking(self, action: NDArray[np.integer], rows: slice = slice(None)) -> NDArray[np.int16]:
        """Find the first condition that blocks an action, for each of some accounts its own action.

        Parameters
        ----------
        action : ndarray of int, shape (m,)
            Position of the action asked about.
        rows : slice
            The accounts; all by default.

        Returns
        -------
        ndarray of int, shape (m,)
            Position of the condition in ``denied``; -1 where nothing blocks it.
        """
        first = np.full(len(action), -1, dtype=np.int16)
        for position, name in reversed(list(enumerate(self.denied))):  # the condition listed first has the last word
            first[self.denied[name][rows] & self.covers[name][action]] = position
        return first

    def frame(self) -> pd.DataFrame:
        """Count by condition the accounts it denies, and the fields it misses.

        Returns
        -------
        DataFrame
            ``condition, accounts, missing_fields``.
        """
        return pd.DataFrame(
            {
                "condition": list(self.denied),
                "accounts": [int(d.sum()) for d in self.denied.values()],
                "missing_fields": [", ".join(self.missing.get(name, ())) for name in self.denied],
            }
        )


def permissions(strategy: Strategy, accounts: pd.DataFrame, *, unsupported: Sequence[str] = ()) -> Permissions:
    """Apply a strategy's conditions to a snapshot.

    Parameters
    ----------
    strategy : Strategy
        Whose conditions count.
    accounts : DataFrame, n rows
        Account snapshot.
    unsupported : sequence of str
        Actions without enough rows in the log; blocked for everybody as "no evidence".

    Returns
    -------
    Permissions

    Examples
    --------
    >>> import pandas as pd
    >>> strategy = Strategy.model_validate({
    ...     "name": "s", "currency": "EUR", "actions": [{"name": "no_action"}, {"name": "sms", "channel": "sms"}],
    ...     "conditions": [{"name": "consent", "contact": True, "allow": "consent_sms"}]})
    >>> p = permissions(strategy, pd.DataFrame({"consent_sms": [True, False, None]}))
    >>> p.allowed[:, 1].tolist(), p.blocked_by(np.array([1, 1, 1])).tolist()
    ([True, False, False], ['', 'consent', 'consent'])
    """
    n, actions = len(accounts), strategy.actions
    allowed = np.ones((len(actions), n), dtype=bool)  # action by action: whole columns at a time
    denied: dict[str, NDArray[np.bool_]] = {}
    covers: dict[str, NDArray[np.bool_]] = {}
    missing: dict[str, tuple[str, ...]] = {}
    for condition in strategy.conditions:
        expression = Expression(condition.allow)
        allows = expression.allows(accounts)
        denied[condition.name] = ~allows
        covers[condition.name] = np.array([condition.covers(a) for a in actions])
        missing[condition.name] = expression.missing_fields(accounts)
        for j in np.flatnonzero(covers[condition.name]):
            allowed[j] &= allows
    blocked = np.array([a.name in unsupported and a.name != strategy.control for a in actions])
    if blocked.any():
        denied[NO_EVIDENCE], covers[NO_EVIDENCE] = np.ones(n, dtype=bool), blocked
        allowed[blocked] = False
    return Permissions(np.ascontiguousarray(allowed.T), denied, covers, missing)
