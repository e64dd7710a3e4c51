"""CUPED: an outcome less what was already known before the experiment, by customers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["adjust"]

Floats = NDArray[np.float64]


def adjust(
    y: Floats, covariate: ArrayLike, customer: NDArray[np.intp], n_customers: int, arm: NDArray[np.intp] | None = None
) -> Floats:
    """Return ``y`` less the part that covariates from before the experiment explain; its mean over all rows is kept.

    Parameters
    ----------
    y : ndarray, shape (n,)
    covariate : array-like, shape (n,) or (n, k)
        Known before anybody was assigned: then arms differ in it by chance alone, and taking it out biases nothing.
    customer : ndarray of int, shape (n,)
    n_customers : int
    arm : ndarray of int, shape (n,), optional
        One slope for all arms, the one that makes the variance of their differences smallest.

    Returns
    -------
    ndarray, shape (n,)

    References
    ----------
    Deng, Xu, Kohavi and Walker (2013), WSDM; Lin (2013), Agnostic notes on regression adjustments, Ann. Appl. Stat. 7.
    """
    X = np.asarray(covariate, dtype=np.float64)
    X = X[:, None] if X.ndim == 1 else X
    if len(X) != len(y) or not np.isfinite(X).all():
        raise ValueError(f"covariate must have {len(y)} finite rows: fill what is missing, with a column that says so")
    X = X - X.mean(axis=0)
    arms = np.zeros(len(y), dtype=np.intp) if arm is None else arm
    influences = []
    for a in np.unique(arms):
        rows = arms == a
        both = np.column_stack([y, X])[rows]
        both = (both - both.mean(axis=0)) / rows.sum()
        # what each customer adds to the arm's mean of outcome and covariates
        influences.append(np.column_stack([np.bincount(customer[rows], weights=c, minlength=n_customers) for c in both.T]))
    stacked = np.concatenate(influences)
    slope = np.linalg.lstsq(stacked[:, 1:], stacked[:, 0], rcond=None)[0]
    return y - X @ slope
