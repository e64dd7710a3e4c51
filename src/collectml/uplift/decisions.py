"""Decisions as learners see them: encoded features, positions of actions, outcomes, folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Decisions"]


@dataclass(frozen=True)
class Decisions:
    """What a learner is trained on.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Encoded features.
    names : list of str
        Their names.
    categorical : sequence of int
        Categorical columns.
    action : ndarray of int, shape (n,)
        Position of the action taken; 0 is the control.
    n_actions : int
        Number of actions.
    y : ndarray, shape (n,)
        Outcome.
    paid : ndarray of bool, shape (n,)
        Whether anything was paid.
    binary : bool
        Whether the outcome is the payment itself.
    fold : ndarray of int, shape (n,)
        Folds grouped by customer.
    propensity : ndarray, shape (n,), optional
        Probability with which the action was assigned, where the log has it.
    """

    X: NDArray[np.float64]
    names: list[str]
    categorical: Sequence[int]
    action: NDArray[np.intp]
    n_actions: int
    y: NDArray[np.float64]
    paid: NDArray[np.bool_]
    binary: bool
    fold: NDArray[np.int8]
    propensity: NDArray[np.float64] | None = None
