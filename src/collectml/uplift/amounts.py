"""How much is paid, given that something is: a share of what is owed, with payment in full as its own mass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectml.models._lightgbm import train_booster

from .shared_action import cross_fit_shared

__all__ = ["AmountTeacher", "calibrate_levels", "find_exposure", "typical_amount"]

Floats = NDArray[np.float64]

FULL = 0.97
FEWEST_FULL = 200
FEWEST_PAID = 50
SMALLEST_SHARE = 1e-4


def find_exposure(X: Floats, names: Sequence[str], amount: Floats, paid: NDArray[np.bool_]) -> str | None:
    """Find the column that caps what is paid: the balance, where the features hold it.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Encoded features.
    names : sequence of str
        Names of the columns.
    amount : ndarray, shape (n,)
        What was paid.
    paid : ndarray of bool, shape (n,)
        Whether anything was.

    Returns
    -------
    str or None
        A column that no more than one payment in a thousand exceeds and that at least one in two hundred equals; of several
        the one most payments equal.
    """
    best, best_mass = None, 0.005
    for j, name in enumerate(names):
        cap = X[paid, j]
        if (
            len(cap) == 0
            or not np.isfinite(cap).all()
            or (cap <= 0).any()
            or len(np.unique(cap[:1000])) < 0.5 * min(1000, len(cap))
        ):
            continue
        share = amount[paid] / cap
        mass = float((np.abs(share - 1.0) < 1e-3).mean())
        if float((share > 1.001).mean()) <= 0.001 and mass >= best_mass:
            best, best_mass = name, mass
    return best


@dataclass
class AmountTeacher:
    """E[share of what is owed | pays, x, action], cross-fitted by boosters that all actions share.

    Parameters
    ----------
    params : mapping
        LightGBM parameters.
    trees : int
        At most so many trees a booster.
    n_actions : int
        Number of actions.
    categorical : sequence of int
        Categorical columns.
    seed, threads : int
        Seed and threads.

    Notes
    -----
    Where payments in full are frequent enough, the share is ``P(full) + (1 - P(full)) E[share | not full]``. Rows are weighted
    by the square root of what is owed: a middle way between every account and every unit of money counting the same.
    """

    params: Mapping[str, object]
    trees: int
    n_actions: int
    categorical: Sequence[int]
    seed: int
    threads: int

    def fit_predict(
        self,
        X: Floats,
        action: NDArray[np.intp],
        share: Floats,
        paid: NDArray[np.bool_],
        owed: Floats,
        fold: NDArray[np.int8],
    ) -> Floats:
        """Train on the decisions that were paid, and predict every decision by boosters trained without its fold.

        Parameters
        ----------
        X : ndarray, shape (n, p)
            Encoded features.
        action : ndarray of int, shape (n,)
            Position of the action taken.
        share : ndarray, shape (n,)
            What was paid over what was owed.
        paid : ndarray of bool, shape (n,)
            Whether anything was paid.
        owed : ndarray, shape (n,)
            What was owed; sets the weights.
        fold : ndarray of int, shape (n,)
            Folds grouped by customer.

        Returns
        -------
        ndarray, shape (n, A)
            Expected share of what is owed, given payment.
        """
        weight = np.sqrt(owed / owed[paid].mean()) if paid.any() else np.ones(len(owed))
        mean = float(np.average(share[paid], weights=weight[paid])) if paid.any() else 1.0
        out = np.full((len(X), self.n_actions), max(mean, SMALLEST_SHARE))
        full = paid & (share >= FULL) & (share <= 1.001)
        has_full = min(int(full.sum()), int((paid & ~full).sum())) >= FEWEST_FULL

        if paid.sum() < FEWEST_PAID:
            return out

        def shares(target: Floats, rows: NDArray[np.bool_], objective: str) -> Floats:
            return cross_fit_shared(
                X,
                action,
                target,
                fold,
                n_actions=self.n_actions,
                categorical=self.categorical,
                params={**self.params, "objective": objective, "num_threads": self.threads},
                trees=self.trees,
                seed=self.seed,
                rows=rows,
                weight=weight,
            )[0]

        part = np.maximum(shares(share, paid & ~full if has_full else paid, "regression"), SMALLEST_SHARE)
        if not has_full:
            return part
        certain = shares(full.astype(float), paid, "binary")
        return certain + (1.0 - certain) * np.minimum(part, 1.0)


def calibrate_levels(
    share: Floats, action: NDArray[np.intp], observed: Floats, paid: NDArray[np.bool_], owed: Floats
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

    Returns
    -------
    share : ndarray, shape (n, A)
    errors : list of float, length A
        Relative standard error of each action's level.

    References
    ----------
    James & Stein (1961), Estimation with quadratic loss (the positive-part shrinkage of each ratio towards 1).
    """
    out, errors = share.copy(), [0.0] * share.shape[1]
    for a in range(share.shape[1]):
        rows = paid & (action == a)
        if rows.sum() < FEWEST_PAID:
            continue
        weight, predicted = np.sqrt(owed[rows]), share[rows, a]
        total = float(np.sum(weight * predicted))
        excess = float(np.sum(weight * (observed[rows] - predicted))) / total
        noise = float(np.sum((weight * (observed[rows] - predicted * (1.0 + excess))) ** 2)) / total**2
        out[:, a] *= 1.0 + np.clip(excess * max(0.0, 1.0 - noise / max(excess**2, 1e-12)), -0.5, 1.0)
        errors[a] = float(np.sqrt(noise))
    return out, errors


def typical_amount(
    X: Floats,
    amount: Floats,
    paid: NDArray[np.bool_],
    fold: NDArray[np.int8],
    *,
    categorical: Sequence[int],
    params: Mapping[str, object],
    trees: int,
    seed: int,
) -> Floats:
    """Predict the typical (geometric mean) amount of each account whatever the action, where nothing caps it.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Encoded features.
    amount : ndarray, shape (n,)
        What was paid.
    paid : ndarray of bool, shape (n,)
        Whether anything was.
    fold : ndarray of int, shape (n,)
        Folds grouped by customer.
    categorical : sequence of int
        Categorical columns.
    params : mapping
        LightGBM parameters.
    trees, seed : int
        Trees at most, and seed.

    Returns
    -------
    ndarray, shape (n,)
        Cross-fitted.
    """
    logs = np.log(np.where(paid, np.maximum(amount, 1e-9), 1.0))
    typical = np.full(len(amount), float(logs[paid].mean()) if paid.any() else 0.0)
    for k in np.unique(fold):
        held = fold == k
        if (paid & ~held).sum() < 50 or not (paid & held).any():
            continue
        booster = train_booster(
            X[paid & ~held],
            logs[paid & ~held],
            params={**params, "objective": "regression"},
            categorical=categorical,
            num_boost_round=trees,
            valid=(X[paid & held], logs[paid & held]),
            early_stopping=30,
            seed=seed,
        )
        typical[held] = booster.predict(X[held])
    return np.exp(typical)
