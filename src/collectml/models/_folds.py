"""Folds for cross-fitting: no customer in two of them, every outcome in all of them, the same for a seed."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from collectml.models._lightgbm import seed_from

__all__ = ["make_folds"]

# a group with more than 1/50 of a fold's rows is placed by itself; smaller ones are dealt out like cards
_BIG_GROUPS_PER_FOLD = 50


def make_folds(
    n: int,
    *,
    k: int,
    groups: ArrayLike | None = None,
    stratify: ArrayLike | None = None,
    random_state: int | np.random.RandomState | None = None,
) -> NDArray[np.int8]:
    """Deal n rows into k folds.

    Rows (or whole groups) of the same make-up are shuffled and dealt round-robin, so that every stratum is spread
    evenly; groups too big for that are placed first, largest first, each where it unbalances the strata least.

    Parameters
    ----------
    n : int
        Number of rows.
    k : int, 2 to 127
        Number of folds.
    groups : array-like, shape (n,), optional
        Customers: rows of one group share a fold. Missing values count as one group each.
    stratify : array-like, shape (n,), optional
        Labels to balance over folds; a label rarer than k falls into as many folds as it has rows (or small groups).
    random_state : int, RandomState or None

    Returns
    -------
    ndarray of int8, shape (n,)
        Fold numbers 0 to k - 1.

    Examples
    --------
    >>> folds = make_folds(6, k=3, groups=["a", "a", "b", "b", "c", "c"], random_state=0)
    >>> sorted(folds.tolist()), bool((folds[::2] == folds[1::2]).all())
    ([0, 0, 1, 1, 2, 2], True)
    """
    if not 2 <= k <= 127:
        raise ValueError(f"k must be between 2 and 127 folds, not {k}.")
    rng = np.random.default_rng(seed_from(random_state))
    strata = _codes(stratify, n, "stratify")
    if groups is None:
        return _deal(strata, np.zeros(n), np.zeros(n), k, rng)
    unit = _codes(groups, n, "groups")
    n_units = int(unit.max(initial=-1)) + 1
    size = np.bincount(unit, minlength=n_units)
    # a sum of random numbers, one per stratum, is equal for two groups exactly when their make-up is (but for 2**-53)
    number = rng.random(int(strata.max(initial=-1)) + 1)
    signature = np.round(np.bincount(unit, weights=number[strata], minlength=n_units), 9)
    # groups that hold a rare stratum are dealt together, whatever else they hold: it reaches as many folds as it can
    by_rarity = np.argsort(np.bincount(strata), kind="stable")
    rarest = np.full(n_units, len(by_rarity))
    np.minimum.at(rarest, unit, np.argsort(by_rarity)[strata])
    block = number[by_rarity[rarest]]
    big = size * k * _BIG_GROUPS_PER_FOLD > n
    fold_of_unit = np.empty(n_units, dtype=np.int8)
    fold_of_unit[~big] = _deal(signature[~big], size[~big], block[~big], k, rng)
    fold_of_unit[big] = _place(unit, strata, fold_of_unit, np.flatnonzero(big), size, k, rng)
    return fold_of_unit[unit]


def _codes(labels: ArrayLike | None, n: int, name: str) -> NDArray[np.int64]:
    if labels is None:
        return np.zeros(n, dtype=np.int64)
    values = np.asarray(labels)
    if values.shape != (n,):
        raise ValueError(f"{name} must have one entry for each of the {n} rows, not shape {values.shape}.")
    codes = pd.factorize(values)[0].astype(np.int64)
    missing = codes < 0
    if missing.any():
        first = int(codes.max(initial=-1)) + 1
        # a missing customer is a customer of its own; missing strata are one stratum
        codes[missing] = first + (np.arange(int(missing.sum())) if name == "groups" else 0)
    return codes


def _deal(
    kind: NDArray[np.float64] | NDArray[np.int64],
    size: NDArray[np.float64] | NDArray[np.int64],
    block: NDArray[np.float64],
    k: int,
    rng: np.random.Generator,
) -> NDArray[np.int8]:
    order = np.lexsort((rng.random(len(kind)), kind, size, block))
    folds = np.empty(len(kind), dtype=np.int8)
    folds[order] = (np.arange(len(kind)) + rng.integers(k)) % k
    return folds


def _place(
    unit: NDArray[np.int64],
    strata: NDArray[np.int64],
    fold_of_unit: NDArray[np.int8],
    big: NDArray[np.int64],
    size: NDArray[np.int64],
    k: int,
    rng: np.random.Generator,
) -> NDArray[np.int8]:
    """Place big groups one by one into the fold that most lacks what they hold."""
    n_strata = int(strata.max(initial=-1)) + 1
    rank = np.full(len(size), -1)
    rank[big] = np.arange(len(big))
    is_big = rank[unit] >= 0
    held = np.zeros((len(big), n_strata))
    np.add.at(held, (rank[unit[is_big]], strata[is_big]), 1.0)
    load = np.zeros((k, n_strata))
    np.add.at(load, (fold_of_unit[unit[~is_big]], strata[~is_big]), 1.0)
    # a rare stratum weighs as much as a common one, and all together as much as the number of rows
    weight = 1.0 / np.maximum(np.bincount(strata, minlength=n_strata), 1.0)
    placed = np.empty(len(big), dtype=np.int8)
    for i in np.lexsort((rng.random(len(big)), -size[big])):
        crowding = load @ (held[i] * weight**2) + load.sum(axis=1) * held[i].sum() / len(unit) ** 2
        placed[i] = np.argmin(crowding)
        load[placed[i]] += held[i]
    return placed
