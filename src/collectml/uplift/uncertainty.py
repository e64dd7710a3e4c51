"""How sure an account's effect is: posterior spread of the effect regression, held against what groups of accounts really did."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from .effects import FittedEffects

__all__ = ["misfit", "standard_errors"]

Floats = NDArray[np.float64]

GROUPS = 20
FEWEST_ROWS = 50
STRONGEST = 4
BLOCK = 20_000


def standard_errors(fitted: FittedEffects, rows: NDArray[np.intp]) -> Floats:
    """Return the standard error of every action's effect against the control, on the margin: posterior, and between models.

    Parameters
    ----------
    fitted : FittedEffects
    rows : ndarray of int, shape (m,)
        Training rows asked about.

    Returns
    -------
    ndarray, shape (m, A)
        Actions are independent given the baseline, so the variances of action and control add up. The control's own column
        is zero.
    """
    parts = [fitted.own.variances(fitted.functions[rows[s : s + BLOCK]]) for s in range(0, len(rows), BLOCK)]
    variance = np.concatenate(parts)
    variance[:, 1:] += variance[:, :1]
    variance[:, 0] = 0.0
    return np.sqrt(variance + fitted.between[rows])


def misfit(fitted: FittedEffects, baseline: Floats, action: NDArray[np.intp], paid: Floats) -> float:
    """Say by which factor the posterior is too sure of itself.

    Rows of an action are grouped by predicted deviation, and again by each of the functions that effects depend on most. How
    far a group's payments lie from their cross-fitted prediction, beyond what chance explains, is held against the posterior
    variance of the group's mean; the grouping that speaks loudest counts, as a wrong shape shows along its own feature only.

    Parameters
    ----------
    fitted : FittedEffects
    baseline : ndarray, shape (n,)
        Log-odds of payment whatever the action.
    action : ndarray of int, shape (n,)
        Position of the action taken.
    paid : ndarray, shape (n,)
        Payment, 0 or 1.

    Returns
    -------
    float
        1 where nothing speaks against the posterior, at most 3; standard errors are multiplied by it.
    """
    along = np.argsort(-fitted.own.scales_.mean(axis=0)[1:], kind="stable")[:STRONGEST] + 1
    ratios = [_excess(fitted, baseline, action, paid, None)]
    ratios += [_excess(fitted, baseline, action, paid, fitted.functions[:, j]) for j in along]
    return float(np.clip(np.sqrt(max(ratios)), 1.0, 3.0))


def _excess(fitted: FittedEffects, baseline: Floats, action: NDArray[np.intp], paid: Floats, key: Floats | None) -> float:
    """Squared misses of group means beyond chance, over what the posterior expects of them."""
    excess, stated = 0.0, 0.0
    for a in range(fitted.effects.shape[1]):
        own = np.flatnonzero(action == a)
        if len(own) < 2 * FEWEST_ROWS:
            continue
        by = fitted.out_of_fold[own, a] if key is None else key[own]
        own = own[np.argsort(by, kind="stable")]
        for group in np.array_split(own, min(GROUPS, len(own) // FEWEST_ROWS)):
            p = expit(baseline[group] + fitted.out_of_fold[group, a])
            slope = p * (1 - p)
            mean_function = slope @ fitted.functions[group] / len(group)
            excess += float((paid[group] - p).mean() ** 2 - slope.sum() / len(group) ** 2)
            stated += float(mean_function @ fitted.own.covariance_[a] @ mean_function)
    return max(excess, 0.0) / stated if stated > 0 else 1.0
