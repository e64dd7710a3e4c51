"""Folds over decisions: no customer on both sides, every action in every fold as far as it reaches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collectml.models._folds import make_folds

__all__ = ["decision_folds"]


def decision_folds(
    action: NDArray[np.intp], paid: NDArray[np.bool_], customer: NDArray[np.generic] | None, *, folds: int, seed: int
) -> NDArray[np.int8]:
    """Deal decisions into folds, grouped by customer and stratified by action and payment.

    Parameters
    ----------
    action : ndarray of int, shape (n,)
        Position of the action taken.
    paid : ndarray of bool, shape (n,)
        Whether anything was paid.
    customer : ndarray, shape (n,), optional
        Rows of one customer share a fold.
    folds : int
        Number of folds.
    seed : int
        Seed of the deal.

    Returns
    -------
    ndarray of int8, shape (n,)
    """
    return make_folds(len(action), k=folds, groups=customer, stratify=2 * action + paid, random_state=seed)
