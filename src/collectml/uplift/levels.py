"""Which actions change how much is paid, and by how much on average."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

__all__ = ["FEWEST_PAID", "calibrate_levels", "tell_apart"]

Floats = NDArray[np.float64]

FEWEST_PAID = 50
FALSE_DIFFERENCES = 0.05
LEVEL_ERROR = 0.03


def tell_apart(
    predicted: Floats, action: NDArray[np.intp], observed: Floats, paid: NDArray[np.bool_], weight: Floats
) -> NDArray[np.intp]:
    """Say which actions have amounts of their own; the others have theirs in common.

    What a model that tells all actions apart says of an action, beyond what it says on average of those held to be alike, is
    noise where the action's amounts do not differ: then it has nothing to do with what held-out payments exceed that average by.
    The action for which the two go together most clearly is set apart, and the rest is asked again. That no difference is seen
    speaks for there being none only where one that matters would have been: an action whose level is known less well than
    3 % (so that a tenth would be found four times in five) stays apart.

    Parameters
    ----------
    predicted : ndarray, shape (n, A)
        Cross-fitted amounts, given payment.
    action : ndarray of int, shape (n,)
        Position of the action taken.
    observed : ndarray, shape (n,)
        What was paid.
    paid : ndarray of bool, shape (n,)
        Whether anything was.
    weight : ndarray, shape (n,)
        Row weights.

    Returns
    -------
    ndarray of int, shape (A,)
        0 for the actions that are alike; 1, 2, ... for the others.

    Notes
    -----
    A one-sided score test at 5 % in all, over the actions asked (Bonferroni); with boosters that stop early by their held-out
    rows, rather 8 % in simulations. It sees differences in level and differences that vary between accounts alike, as far as the
    model learnt them.

    References
    ----------
    Gertheiss & Tutz (2010), Sparse modeling of categorial explanatory variables, Annals of Applied Statistics 4 (levels of a
    factor that do not differ are fused).
    """
    n_actions = predicted.shape[1]
    rows = [np.flatnonzero(paid & (action == a)) for a in range(n_actions)]

    def known(a: int) -> bool:
        told = weight[rows[a]] * predicted[rows[a], a]
        missed = weight[rows[a]] * observed[rows[a]] - told
        return len(told) >= FEWEST_PAID and _variance(missed, told) <= LEVEL_ERROR**2

    alike = [a for a in range(n_actions) if known(a)]
    while len(alike) > 1:
        common = predicted[:, alike].mean(axis=1)
        scores = {}
        for a in alike:
            i = rows[a]
            product = weight[i] * (observed[i] - common[i]) * (predicted[i, a] - common[i])
            scores[a] = float(product.sum() / max(np.sqrt(np.sum(product**2)), 1e-300))
        strongest = max(scores, key=scores.__getitem__)
        if scores[strongest] < norm.isf(FALSE_DIFFERENCES / n_actions):
            break
        alike.remove(strongest)
    alike = alike or [0]
    code = np.zeros(n_actions, dtype=np.intp)
    own = [a for a in range(n_actions) if a not in alike]
    code[own] = np.arange(1, len(own) + 1)
    return code


def calibrate_levels(
    share: Floats,
    action: NDArray[np.intp],
    observed: Floats,
    paid: NDArray[np.bool_],
    owed: Floats,
    code: NDArray[np.intp],
) -> tuple[Floats, list[float]]:
    """Set each action's level by what was paid on rows not trained on, as far as the difference exceeds its sampling error.

    Early stopping makes boosters shy: an offer that gives away a sixth of every payment is first learnt as giving away less.

    Parameters
    ----------
    share : ndarray, shape (n, A)
        Cross-fitted shares.
    action : ndarray of int, shape (n,)
        Position of the action taken.
    observed : ndarray, shape (n,)
        What was paid over what was owed.
    paid : ndarray of bool, shape (n,)
        Whether anything was paid.
    owed : ndarray, shape (n,)
        What was owed; rows are weighted by its square root.
    code : ndarray of int, shape (A,)
        From :func:`tell_apart`: actions with the same number have one level.

    Returns
    -------
    share : ndarray, shape (n, A)
    errors : list of float, length A
        Relative standard error of each action's level, had it been set by the action's own rows alone; with that of the first
        action, the control, where the two have levels of their own, as an effect is a difference.

    References
    ----------
    James & Stein (1961), Estimation with quadratic loss (the positive-part shrinkage of each ratio towards 1).
    """
    n_actions = share.shape[1]
    weight, predicted = np.sqrt(owed), share[np.arange(len(share)), action]
    residual = weight * (observed - predicted)
    out, errors = share.copy(), [0.0] * n_actions

    def level(rows: NDArray[np.bool_]) -> tuple[float, float]:
        told = weight[rows] * predicted[rows]
        excess = float(np.sum(residual[rows])) / float(np.sum(told))
        return excess, _variance(residual[rows] - excess * told, told)

    for c in np.unique(code):
        alike = code == c
        rows = paid & alike[action]
        if rows.sum() < FEWEST_PAID:
            continue
        excess, noise = level(rows)
        out[:, alike] *= 1.0 + np.clip(excess * max(0.0, 1.0 - noise / max(excess**2, 1e-12)), -0.5, 1.0)
    for a in range(n_actions):
        rows = paid & (action == a)
        if rows.sum() >= FEWEST_PAID:
            errors[a] = float(np.sqrt(level(rows)[1]))
    return out, [e if code[a] == code[0] else float(np.hypot(e, errors[0])) for a, e in enumerate(errors)]


def _variance(missed: Floats, told: Floats) -> float:
    """Return the squared relative standard error of a level, from what its rows were told to pay and missed that by."""
    return float(np.sum(missed**2)) / float(np.sum(told)) ** 2
