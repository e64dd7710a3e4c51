"""Rules as a manager writes them: in order, whom an action is meant for and who comes first, within the strategy's limits.

What a team does today, written down, is what a policy has to beat; and a policy that people trust may be given back as rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from collectml.errors import ConfigurationError

from .actions import Name
from .eligibility import Expression
from .limit_base import CompiledLimit
from .permissions import permissions
from .reading import nearest, parse, read_yaml
from .spec import Strategy

__all__ = ["Rule", "Rules"]

Floats = NDArray[np.float64]
_CLOSED = ConfigDict(extra="forbid", frozen=True)


class Rule(BaseModel):
    """One line of a manager's rules.

    Parameters
    ----------
    action : str
        What is done.
    when : str
        Expression over account fields: whom it is meant for.
    first : str, optional
        Field by which the largest come first where a limit is short.
    description : str, optional
        A sentence for people.
    """

    model_config = _CLOSED

    action: Name
    when: str
    first: Name | None = None
    description: str = Field(default="", max_length=500)

    @model_validator(mode="after")
    def _readable(self) -> Self:
        Expression(self.when)
        return self


class Rules(BaseModel):
    """Rules in order: each account gets the first action meant for it that is permitted and that limits still allow.

    Parameters
    ----------
    name : str
        Letters, digits and underscores.
    rules : tuple of Rule
        In order of precedence.
    unknown : mapping of str to float
        What is assumed of a field where it is missing.
    description : str, optional
        A sentence for people.

    Examples
    --------
    >>> strategy = Strategy.model_validate({
    ...     "name": "s", "currency": "EUR", "actions": [{"name": "no_action"}, {"name": "call", "channel": "call"}],
    ...     "limits": [{"name": "calls", "kind": "capacity", "actions": ["call"], "upper": 1}]})
    >>> rules = Rules.model_validate({"name": "r", "rules": [{"action": "call", "when": "balance > 10", "first": "balance"}]})
    >>> accounts = pd.DataFrame({"account_id": [1, 2, 3], "balance": [20.0, 90.0, 5.0]})
    >>> rules.assign(strategy, accounts, quantities={}).tolist()
    ['no_action', 'call', 'no_action']
    """

    model_config = _CLOSED

    name: Name
    rules: tuple[Rule, ...] = Field(min_length=1)
    unknown: dict[str, float] = Field(default_factory=dict)
    description: str = Field(default="", max_length=2000)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Rules:
        """Read a file of rules.

        Parameters
        ----------
        path : str or Path
            A YAML file.

        Returns
        -------
        Rules

        Raises
        ------
        ConfigurationError
            With every fault of the file, each with its place.
        """
        return parse(cls, read_yaml(path), source=str(path))

    def assign(self, strategy: Strategy, accounts: pd.DataFrame, *, quantities: Mapping[str, Floats]) -> pd.Series:
        """Assign by the rules, within the strategy's conditions and limits.

        Parameters
        ----------
        strategy : Strategy
            Actions, conditions, limits, one contact per customer.
        accounts : DataFrame, n rows
            Account snapshot with ``account_id`` and the fields that rules, conditions and limits read.
        quantities : mapping of str to ndarray, shape (n, A)
            Expected ``cost``, ``minutes`` and ``complaints``, as limits count them.

        Returns
        -------
        Series of str, length n
            Index account id, name ``"action"``. Who is reached by no rule, or by no room, gets the control. Upper limits
            hold; minimums are not sought.

        Raises
        ------
        ConfigurationError
            Where a rule names an action or field that is not there.
        """
        names = list(strategy.action_names)
        unknown = [f"{r.action!r}{nearest(r.action, names)}" for r in self.rules if r.action not in names]
        if unknown:
            raise ConfigurationError(
                f"rules {self.name!r} name {', '.join(unknown)}, which strategy {strategy.name!r} lacks"
            )
        given = accounts.fillna({k: v for k, v in self.unknown.items() if k in accounts})
        meant = [self._meant(rule, given) for rule in self.rules]
        allowed = permissions(strategy, accounts).allowed
        limits = [x.compile(actions=strategy.actions, quantities=quantities, accounts=accounts) for x in strategy.limits]
        n = len(accounts)
        room = np.array([x.upper - np.broadcast_to(x.usage, (n, len(names)))[:, 0].sum() for x in limits])
        at = np.zeros(n, dtype=np.intp)
        customer = pd.factorize(accounts["customer_id"] if "customer_id" in accounts else accounts["account_id"])[0]
        contacted = np.zeros(n, dtype=bool)  # by customer's code
        decided = np.zeros(n, dtype=bool)
        for rule, wanted in zip(self.rules, meant, strict=True):
            j = names.index(rule.action)
            rows = np.flatnonzero(~decided & wanted & allowed[:, j])
            rows = rows[self._order(rule, given, rows)]
            shared = strategy.one_contact_per_customer and bool(strategy.contact_mask[j])
            if shared:
                rows = rows[~contacted[customer[rows]]]
                rows = rows[np.sort(np.unique(customer[rows], return_index=True)[1])]
            used = _use(limits, rows, j)
            many = _leading(np.cumsum(used, axis=1) > room[:, None] * (1 + 1e-12))
            rows, used = rows[:many], used[:, :many]
            at[rows], decided[rows] = j, True
            room -= used.sum(axis=1)
            if shared:
                contacted[customer[rows]] = True
        return pd.Series(np.array(names, dtype=object)[at], pd.Index(accounts["account_id"]), name="action", dtype="str")

    def _meant(self, rule: Rule, accounts: pd.DataFrame) -> NDArray[np.bool_]:
        expression = Expression(rule.when)
        missing = expression.missing_fields(accounts)
        if missing or (rule.first is not None and rule.first not in accounts):
            lacking = ", ".join(missing) or rule.first
            raise ConfigurationError(f"rule for {rule.action!r} reads {lacking}, which the accounts do not have")
        return expression.allows(accounts)

    def _order(self, rule: Rule, accounts: pd.DataFrame, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Put the largest first; equal ones by account id, never by row."""
        ids = accounts["account_id"].astype(str).to_numpy()[rows]
        if rule.first is None:
            return np.argsort(ids, kind="stable")
        size = accounts[rule.first].to_numpy(dtype=float, na_value=-np.inf)[rows]
        return np.lexsort((ids, -size))


def _use(limits: list[CompiledLimit], rows: NDArray[np.intp], j: int) -> Floats:
    """Look up what the action uses beyond the control, a line a limit, shape (K, m)."""
    out = np.zeros((len(limits), len(rows)))
    for k, limit in enumerate(limits):
        usage = limit.usage[rows] if limit.usage.ndim == 2 else np.broadcast_to(limit.usage, (len(rows), len(limit.usage)))
        out[k] = usage[:, j] - usage[:, 0]
    return out


def _leading(over: NDArray[np.bool_]) -> int:
    """Count the accounts before the first that breaks a limit, from shape (K, m)."""
    broken = np.flatnonzero(over.any(axis=0))
    return int(broken[0]) if len(broken) else over.shape[1]
