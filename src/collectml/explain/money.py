"""Contributions in money: what each feature adds to what one action brings more than another."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from collectml.errors import CollectMLError

from .contributions import TOLERANCE, Contributions

__all__ = ["money_contributions", "net_contributions"]

Floats = NDArray[np.float64]
NODES = 64


def money_contributions(
    pay: Contributions, pay_start: Floats, *, owed: Floats, amount: Contributions | None = None, amount_start: Floats
) -> Contributions:
    """Put contributions to the chance of payment and to the amount into recovered money, exact in sum.

    Parameters
    ----------
    pay : Contributions, accounts × features
        To the difference in log-odds of payment between two actions.
    pay_start : ndarray, shape (n,)
        Log-odds of payment under the second action.
    owed : ndarray, shape (n,)
        Money that the amount is a share of; 1 where the amount is in money itself.
    amount : Contributions, accounts × features, optional
        To the difference in the logarithm of the amount given payment; none where amounts do not differ by action.
    amount_start : ndarray, shape (n,)
        Logarithm of the amount (or share) under the second action.

    Returns
    -------
    Contributions
        ``base`` is the money recovered under the second action, base plus values that under the first.

    Raises
    ------
    CollectMLError
        Where contributions do not add up to within 1e-6 of the money at stake.

    Notes
    -----
    Recovered money is ``owed · sigma(m) · exp(g)``. Along the straight line from the second action to the first the
    integrated gradient gives each contribution to ``m`` the factor ``∫ sigma' exp(g)`` and each one to ``g`` the factor
    ``∫ sigma exp(g)``; both integrals are taken by Gauss and Legendre's rule.

    References
    ----------
    Sundararajan, Taly & Yan (2017), Axiomatic attribution for deep networks (integrated gradients).

    Examples
    --------
    >>> import pandas as pd
    >>> pay = Contributions(pd.DataFrame({"score": [0.4], "balance": [-0.1]}), np.zeros(1))
    >>> money = money_contributions(pay, np.array([-1.0]), owed=np.array([100.0]), amount_start=np.zeros(1))
    >>> bool(abs(money.margin[0] - 100 * expit(-0.7)) < 1e-9)
    True
    """
    pay_change = pay.base + pay.values.to_numpy().sum(axis=1)
    log_change = np.zeros_like(pay_change) if amount is None else amount.base + amount.values.to_numpy().sum(axis=1)
    at, weight = np.polynomial.legendre.leggauss(NODES)
    by_odds, by_amount = np.zeros_like(pay_change), np.zeros_like(pay_change)
    for t, w in zip((at + 1) / 2, weight / 2, strict=True):
        p, g = expit(pay_start + t * pay_change), owed * np.exp(amount_start + t * log_change)
        by_odds += w * p * (1 - p) * g
        by_amount += w * p * g
    values = pay.values.mul(by_odds, axis="index")
    if amount is not None:
        values = values.add(amount.values.mul(by_amount, axis="index"), fill_value=0.0)[list(pay.values.columns)]
    start = owed * expit(pay_start) * np.exp(amount_start)
    out = Contributions(values, np.asarray(start, dtype=np.float64))
    end = owed * expit(pay_start + pay_change) * np.exp(amount_start + log_change)
    _check(out, end, start + np.abs(end))
    return out


def net_contributions(
    recovered: Contributions, *, value_of_recovered: float, cost: Floats, complaints: Floats
) -> Contributions:
    """Turn contributions to recovered money into contributions to net value: the cost of the action and its complaints beside.

    Parameters
    ----------
    recovered : Contributions, accounts × features
        As from :func:`money_contributions`.
    value_of_recovered : float
        Worth of a unit recovered.
    cost : ndarray, shape (n,)
        What the first action costs more than the second.
    complaints : ndarray, shape (n,)
        What its further complaints cost, in money.

    Returns
    -------
    Contributions
        Two columns more, ``"(cost)"`` and ``"(complaints)"``.

    Examples
    --------
    >>> import pandas as pd
    >>> recovered = Contributions(pd.DataFrame({"score": [10.0]}), np.array([50.0]))
    >>> net_contributions(recovered, value_of_recovered=0.9, cost=np.array([2.0]), complaints=np.array([0.5])).margin
    array([51.5])
    """
    values = recovered.values * value_of_recovered
    values["(cost)"], values["(complaints)"] = -cost, -complaints
    return Contributions(values, recovered.base * value_of_recovered)


def _check(explained: Contributions, end: Floats, scale: Floats) -> None:
    worst = float((np.abs(explained.margin - end) / np.maximum(scale, 1e-12)).max(initial=0.0))
    if worst > TOLERANCE:
        raise CollectMLError(f"contributions in money miss the amount by {worst:.2g} of it, more than {TOLERANCE:g}")
