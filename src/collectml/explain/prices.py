"""What the prices say of every account: its best permitted action at the shadow prices, and why it has another where it has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.policy import Assignment
from collectml.policy.exploration import incremental, usage_of

__all__ = ["PricedRows", "price_rows"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PricedRows:
    """The plan against its own prices.

    Parameters
    ----------
    adjusted : ndarray, shape (n, A)
        Net value less priced usage beyond the control's; -inf where not eligible.
    best : ndarray of int, shape (n,)
        Best action at the prices, account by account.
    margin : ndarray, shape (n,)
        The plan's action less the best other one, at the prices (money).
    lost : ndarray, shape (n,)
        What the plan's action is worth less than the best at the prices; 0 where it is the best.
    customers_lost : float
        Sum of that over the accounts that are decided, where a customer's accounts are decided together.
    slack_value : float
        Priced slack: the sum over limits of price times what the plan leaves.
    by_limit : DataFrame
        ``limit, price, slack, slack_value`` of the plan.
    """

    adjusted: Floats
    best: NDArray[np.intp]
    margin: Floats
    lost: Floats
    customers_lost: float
    slack_value: float
    by_limit: pd.DataFrame


def price_rows(assignment: Assignment) -> PricedRows:
    """Hold every account's planned action against the shadow prices.

    Parameters
    ----------
    assignment : Assignment
        With its plan.

    Returns
    -------
    PricedRows

    Notes
    -----
    By duality ``bound - value = sum of what accounts lose at the prices + price · slack``; both terms are at least zero, so
    each is at most the gap. What accounts lose is settled among near ties and, for a customer with several accounts of
    which one may be contacted, customer by customer.
    """
    problem, plan = assignment.problem, assignment.plan
    n, free = len(problem.ids), problem.free
    rows = np.arange(n)
    prices = plan.solution.shadow_prices
    adjusted = problem.net.copy()
    slacks = []
    for limit, price, low, high in zip(problem.limits, prices, plan.lower, plan.upper, strict=True):
        usage, lower, upper = usage_of(incremental(limit), n), float(low), float(high)
        if price:
            adjusted -= price * usage
        used = float(usage[free][np.arange(int(free.sum())), plan.action[free]].sum())
        if not (limit.usage % 1).any():  # what counts in pieces cannot use the fraction of one
            lower, upper = np.ceil(lower - 1e-9 * max(1.0, abs(lower))), np.floor(upper + 1e-9 * max(1.0, abs(upper)))
        slacks.append((upper - used) if price > 0 else (lower - used if price < 0 else upper - used))
    adjusted[~problem.eligible] = -np.inf
    best = adjusted.argmax(axis=1)
    chosen = adjusted[rows, plan.action]
    chosen = np.where(np.isfinite(chosen), chosen, problem.net[rows, plan.action])
    lost = np.where(free, np.maximum(adjusted[rows, best] - chosen, 0.0), 0.0)
    others = adjusted.copy()
    others[rows, plan.action] = -np.inf
    second = others.max(axis=1)
    margin = np.where(np.isfinite(second), chosen - second, np.inf)
    value = [0.0 if p == 0 else float(p * s) for p, s in zip(prices, slacks, strict=True)]
    table = pd.DataFrame({"limit": [x.name for x in problem.limits], "price": prices, "slack": slacks, "slack_value": value})
    return PricedRows(adjusted, best, margin, lost, _customers_lost(assignment, adjusted, chosen), float(sum(value)), table)


def _customers_lost(assignment: Assignment, adjusted: Floats, chosen: Floats) -> float:
    """Sum what is lost at the prices, where a customer's accounts share one contact."""
    problem = assignment.problem
    free = problem.free
    if not free.any():
        return 0.0
    mine, has = adjusted[free], chosen[free]
    if not problem.strategy.one_contact_per_customer:
        return float(np.sum(mine.max(axis=1) - has))
    contact = problem.strategy.contact_mask
    quiet = mine[:, ~contact].max(axis=1)
    loud = mine[:, contact].max(axis=1) if contact.any() else np.full(len(mine), -np.inf)
    codes = np.unique(problem.customer_code[free], return_inverse=True)[1]
    gain = np.zeros(int(codes.max()) + 1)
    np.maximum.at(gain, codes, np.where(np.isfinite(loud), loud - quiet, 0.0))
    return float(quiet.sum() + gain.sum() - has.sum())
