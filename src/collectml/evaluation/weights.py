"""Importance weights: how heavy their tail is, and how SWITCH and shrinkage choose how much of it to give up for less variance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["choose_shrinkage", "choose_switch", "pareto_k", "shrink", "switch"]

Floats = NDArray[np.float64]

_FEWEST_IN_TAIL = 5
_GRID = 30


def pareto_k(values: Floats) -> float:
    """Estimate the shape of the upper tail: a generalised Pareto distribution fitted to the largest values.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Weights, or sizes of contributions; zeros are rows that do not take part.

    Returns
    -------
    float
        Below 0.5 the variance is finite and means behave; above 0.7 neither an estimate nor its interval is to be trusted
        (Vehtari et al.). Negative for a bounded tail. Missing where fewer than five values stand out from the rest, as
        where all weights are equal: there is no tail to speak of.

    Notes
    -----
    The tail is the ``min(n / 5, 3 sqrt(n))`` largest of the n values that are not zero. The fit is the posterior mean of
    Zhang and Stephens, drawn towards 0.5 with the weight of ten observations as PSIS does.

    References
    ----------
    Vehtari, Simpson, Gelman, Yao and Gabry (2024), Pareto smoothed importance sampling, JMLR 25.
    Zhang and Stephens (2009), A new and efficient estimation method for the generalized Pareto distribution, Technometrics 51.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> round(pareto_k(rng.pareto(2.0, 100_000)), 1)  # P(X > x) ~ x^-2: k = 1/2
    0.5
    >>> pareto_k(np.ones(100))
    nan
    """
    positive = np.sort(values[values > 0])
    tail = int(min(len(positive) / 5, 3 * np.sqrt(len(positive))))
    if tail < _FEWEST_IN_TAIL:
        return float("nan")
    scaled = positive / positive[-1]
    excess = scaled[-tail:] - scaled[-tail - 1]
    excess = excess[excess > 1e-12]
    if len(excess) < _FEWEST_IN_TAIL:
        return float("nan")
    return (_zhang_stephens(excess) * len(excess) + 0.5 * 10) / (len(excess) + 10)


def _zhang_stephens(excess: Floats) -> float:
    """Return the shape k (positive: heavy) of a generalised Pareto distribution, `excess` in increasing order."""
    n = len(excess)
    m = 30 + int(np.sqrt(n))
    quartile = excess[int(n / 4 + 0.5) - 1]
    theta = 1 / excess[-1] + (1 - np.sqrt(m / (np.arange(1, m + 1) - 0.5))) / (3 * quartile)
    # the profile likelihood of theta = shape / scale, in the authors' sign (their k is minus the one returned)
    k = np.log1p(-np.outer(theta, excess)).mean(axis=1)
    likelihood = n * (np.log(-theta / k) - k - 1)
    weight = 1 / np.exp(likelihood[None, :] - likelihood[:, None]).sum(axis=1)
    best = float(np.sum(theta * weight) / weight.sum())
    return float(np.log1p(-best * excess).mean())


def switch(weights: Floats, threshold: float) -> Floats:
    """Give up weights above a threshold: there the outcome model is taken at its word (SWITCH).

    Parameters
    ----------
    weights : ndarray, shape (n,)
    threshold : float

    Returns
    -------
    ndarray, shape (n,)
    """
    return np.where(weights <= threshold, weights, 0.0)


def shrink(weights: Floats, strength: float) -> Floats:
    """Shrink weights optimistically: ``strength w / (w^2 + strength)``; infinity leaves them, zero removes them.

    Parameters
    ----------
    weights : ndarray, shape (n,)
    strength : float
        The lambda of Su et al.

    Returns
    -------
    ndarray, shape (n,)

    Examples
    --------
    >>> shrink(np.array([1.0, 10.0]), 100.0).round(2).tolist(), shrink(np.array([1.0, 10.0]), np.inf).tolist()
    ([0.99, 5.0], [1.0, 10.0])
    """
    if np.isinf(strength):
        return weights
    if strength <= 0:
        return np.zeros_like(weights)
    return weights / (1 + weights**2 / strength)


def choose_switch(weights: Floats, residual: Floats, direct: Floats, variance: Callable[[Floats], float]) -> float:
    """Choose SWITCH's threshold from the data; see :func:`choose_shrinkage`.

    Parameters
    ----------
    weights, residual, direct, variance
        As in :func:`choose_shrinkage`.

    Returns
    -------
    float
        One of 30 thresholds spaced evenly in the logarithm between the 5 % and 95 % quantiles of the weights that are not
        zero, the largest weight (which is DR), or 0 (which is DM).
    """
    low, high, most = _range(weights)
    grid = np.r_[most, np.geomspace(high, low, _GRID), 0.0]
    return _least_error(switch, grid, weights, residual, direct, variance)


def choose_shrinkage(weights: Floats, residual: Floats, direct: Floats, variance: Callable[[Floats], float]) -> float:
    """Choose the strength of optimistic shrinkage from the data: the least estimated mean squared error.

    Parameters
    ----------
    weights, residual, direct : ndarray, shape (n,)
        Weight, outcome less prediction, and what the direct method predicts for each decision.
    variance : callable
        Variance of the mean of an array (n,), clustered by customer.

    Returns
    -------
    float
        One of 30 values spaced evenly in the logarithm between 0.01 times the square of the weights' 5 % quantile and 100
        times that of their 95 % quantile, infinity (which is DR), or 0 (which is DM).

    Notes
    -----
    The published rule: variance of the candidate, plus the square of its bias, measured directly as its distance from DR,
    ``mean((w_hat - w)(y - q))``. That distance holds chance of its own, which counts against giving up weight.

    References
    ----------
    Su, Dimakopoulou, Krishnamurthy and Dudik (2020), Doubly robust off-policy evaluation with shrinkage, ICML: section 5.
    Wang, Agarwal and Dudik (2017), Optimal and adaptive off-policy evaluation in contextual bandits, ICML (SWITCH).
    """
    low, high, _ = _range(weights)
    grid = np.r_[np.inf, np.geomspace(100 * high**2, 0.01 * low**2, _GRID), 0.0]
    return _least_error(shrink, grid, weights, residual, direct, variance)


def _range(weights: Floats) -> tuple[float, float, float]:
    positive = weights[weights > 0]
    if len(positive) == 0:
        return 1.0, 1.0, 1.0
    low, high = np.quantile(positive, [0.05, 0.95])
    return float(low), float(high), float(positive.max())


def _least_error(
    change: Callable[[Floats, float], Floats],
    grid: Floats,
    weights: Floats,
    residual: Floats,
    direct: Floats,
    variance: Callable[[Floats], float],
) -> float:
    """Return the candidate of least variance plus squared bias; of equal ones the first, which gives up least."""
    errors = []
    for candidate in grid:
        changed = change(weights, float(candidate))
        bias = float(np.mean((changed - weights) * residual))
        errors.append(variance(direct + changed * residual) + bias**2)
    return float(grid[int(np.argmin(errors))])
