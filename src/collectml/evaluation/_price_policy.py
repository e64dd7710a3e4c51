"""The price policy on the decisions of one fold: limits as allowances of each decision, so that any part of them can be solved.

A limit of the portfolio allows each decision its share. Solving a part under the sum of its rows' allowances is then the same
rule at the same limits per decision, whichever part it is: a fold, a half of it, or a million fresh accounts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.policy import PricedActions, solve_assignment
from collectml.policy.exploration import incremental, usage_of
from collectml.policy.problem import pose
from collectml.strategy import Expression, Strategy

__all__ = ["PricePolicy", "price_policy"]

Floats = NDArray[np.float64]

# The rule is a matter of prices: of the gain over the control, a limit's last account, or a ten-thousandth, may stay unproven.
_GAP = 1e-4
_TIME_LIMIT = 5.0


@dataclass(frozen=True)
class PricePolicy:
    """What has to be decided, and within which allowances.

    Parameters
    ----------
    net : ndarray, shape (n, A)
        Net values over the strategy's actions; 0 where unknown (and then not eligible).
    eligible : ndarray of bool, shape (n, A)
    usage : tuple of ndarray, each (A,) or (n, A)
        What each action uses of each limit beyond the control.
    upper, lower : ndarray, shape (n, K)
        What each decision adds to the limits, less what the control uses; infinite where there is no such limit.
    fixed : ndarray of int, shape (n,)
        Action of rows that are no decision (mandatory notices); -1 elsewhere.
    customer : ndarray of int, shape (n,)
    contact : ndarray of bool, shape (A,), or None
        Contact actions, where a customer gets at most one.
    tie : ndarray, shape (n,)
    limits : tuple of str, length K
    """

    net: Floats
    eligible: NDArray[np.bool_]
    usage: tuple[Floats, ...]
    upper: Floats
    lower: Floats
    fixed: NDArray[np.intp]
    customer: NDArray[np.intp]
    contact: NDArray[np.bool_] | None
    tie: NDArray[np.uint64]
    limits: tuple[str, ...]

    def solve(self, rows: NDArray[np.intp] | None = None) -> tuple[NDArray[np.intp], Floats]:
        """Solve the prices of some rows (all by default), and give those rows their actions.

        Parameters
        ----------
        rows : ndarray of int, shape (m,), optional

        Returns
        -------
        action : ndarray of int, shape (m,)
        prices : ndarray, shape (K,)
            Positive where an upper limit binds, negative where a lower one does.
        """
        rows = np.arange(len(self.net)) if rows is None else rows
        action = self.fixed[rows].copy()
        free, held = rows[action < 0], rows[action >= 0]
        if len(free) == 0:
            return action, np.zeros(len(self.limits))
        if not self.limits:
            action[action < 0] = np.argmax(np.where(self.eligible[free], self.net[free], -np.inf), axis=1)
            if self.contact is None:
                return action, np.zeros(0)
        used = np.array([_at(u, held, self.fixed[held]).sum() for u in self.usage])
        customer = np.unique(self.customer[free], return_inverse=True)[1]
        shared = self.contact is not None and len(customer) > int(customer.max()) + 1
        # a limit of nothing keeps the solver's shapes where there is none
        columns = [u if u.ndim == 1 else u[free] for u in self.usage] or [np.zeros(self.net.shape[1])]
        solution = solve_assignment(
            self.net[free] - self.net[free, :1],
            usage=columns,
            upper=self.upper[rows].sum(axis=0) - used if self.limits else [0.0],
            lower=self.lower[rows].sum(axis=0) - used if self.limits else None,
            eligible=self.eligible[free],
            customer=customer if shared else None,
            contact=self.contact if shared else None,
            tie_key=self.tie[free],
            gap=max(_GAP, len(columns) / len(free)),
            time_limit=_TIME_LIMIT,
            names=list(self.limits) or None,
        )
        action[action < 0] = solution.action
        return action, solution.shadow_prices[: len(self.limits)]

    def excess(self, action: NDArray[np.intp], prices: Floats) -> Floats:
        """Price what each decision uses beyond its allowance.

        Parameters
        ----------
        action : ndarray of int, shape (n,)
        prices : ndarray, shape (K,)

        Returns
        -------
        ndarray, shape (n,)
            ``sum_k price_k (usage_k - allowance_k)``, money; about zero on average, as a limit with a price is used up.
        """
        priced = np.zeros(len(action))
        each = np.arange(len(action))
        for k in np.flatnonzero(prices):
            allowance = self.upper[:, k] if prices[k] > 0 else self.lower[:, k]
            priced += prices[k] * (_at(self.usage[k], each, action) - allowance)
        return priced

    def lines(self, fold: int, action: NDArray[np.intp], prices: Floats) -> list[dict[str, object]]:
        """Hold usage against allowance, per decision, a row a limit."""
        each = np.arange(len(action))
        return [
            {
                "fold": fold,
                "limit": name,
                "price": float(prices[k]),
                "allowed_low": _bound(self.lower[:, k]),
                "allowed": _bound(self.upper[:, k]),
                "used": float(_at(self.usage[k], each, action).mean()),
            }
            for k, name in enumerate(self.limits)
        ]


def _bound(allowance: Floats) -> float:
    """Average what decisions are allowed; missing where there is no such limit."""
    mean = float(allowance.mean())
    return mean if np.isfinite(mean) else float("nan")


def _at(usage: Floats, rows: NDArray[np.intp], action: NDArray[np.intp]) -> Floats:
    """Return what each row uses by its action."""
    return usage[action] if usage.ndim == 1 else usage[rows, action]


def price_policy(
    strategy: Strategy,
    priced: PricedActions,
    decisions: pd.DataFrame,
    *,
    day: pd.Timestamp,
    unsupported: tuple[str, ...],
    portfolio_rows: float,
) -> PricePolicy:
    """Set up the price policy of some decisions.

    Parameters
    ----------
    strategy : Strategy
        With the limits of the portfolio; hold-out and exploration take no part.
    priced : PricedActions
        By the decisions' ``account_id``.
    decisions : DataFrame, n rows
    day : Timestamp
    unsupported : tuple of str
        Actions without evidence.
    portfolio_rows : float
        Decisions the limits were written for.

    Returns
    -------
    PricePolicy
    """
    n = len(decisions)
    strategy = strategy.without_randomisation().scaled(n / portfolio_rows)
    problem = pose(strategy, priced, decisions, day=day, unsupported=unsupported)
    upper, lower = np.empty((n, len(problem.limits))), np.empty((n, len(problem.limits)))
    for k, (limit, compiled) in enumerate(zip(strategy.limits, problem.limits, strict=True)):
        # rates are spread over the accounts they count, sums over all
        rate = getattr(limit, "per", "") != "portfolio"
        counted = Expression(limit.where).allows(decisions) if limit.where and rate else np.ones(n, dtype=bool)
        share = counted / max(1, int(counted.sum()))
        control = usage_of(compiled, n)[:, 0]
        upper[:, k] = np.inf if np.isinf(compiled.upper) else compiled.upper * share - control
        lower[:, k] = -np.inf if np.isinf(compiled.lower) else compiled.lower * share - control
    return PricePolicy(
        net=problem.net,
        eligible=problem.eligible,
        usage=tuple(incremental(x).usage for x in problem.limits),
        upper=upper,
        lower=lower,
        fixed=problem.fixed,
        customer=problem.customer_code,
        contact=strategy.contact_mask if strategy.one_contact_per_customer else None,
        tie=problem.tie,
        limits=tuple(x.name for x in problem.limits),
    )
