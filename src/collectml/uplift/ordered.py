"""Ordered offers: who would pay with a small discount would pay with a larger one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["never_falling"]

Floats = NDArray[np.float64]


def never_falling(margin: Floats, groups: Sequence[Sequence[int]]) -> Floats:
    """Make the chance of payment rise, or stay, along each group of ordered actions, row by row.

    Parameters
    ----------
    margin : ndarray, shape (n, A)
        Log-odds of payment under every action.
    groups : sequence of sequence of int
        Positions of actions, from the smallest offer to the largest.

    Returns
    -------
    ndarray, shape (n, A)
        The nearest margins that never fall, in squared distance; rows already in order are untouched.

    References
    ----------
    Barlow, Bartholomew, Bremner & Brunk (1972), Statistical inference under order restrictions (the min-max formula of
    isotonic regression).

    Examples
    --------
    >>> never_falling(np.array([[0.0, 1.0, 0.6]]), [[1, 2]])
    array([[0. , 0.8, 0.8]])
    """
    out = margin.copy()
    for group in groups:
        part = margin[:, list(group)]
        k = part.shape[1]
        total = np.concatenate([np.zeros((len(part), 1)), np.cumsum(part, axis=1)], axis=1)
        for j in range(k):
            # the largest, over where a block may begin, of the smallest, over where it may end, mean of a block holding j
            best = np.full(len(part), -np.inf)
            for start in range(j + 1):
                means = [(total[:, end + 1] - total[:, start]) / (end + 1 - start) for end in range(j, k)]
                best = np.maximum(best, np.min(means, axis=0))
            out[:, group[j]] = best
    return out
