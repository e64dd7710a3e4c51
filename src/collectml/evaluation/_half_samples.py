"""Standard errors from half-samples of the customers, with the prices solved again in each half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from collectml.errors import InfeasibleStrategyError
from collectml.evaluation._price_policy import PricePolicy
from collectml.evaluation._scores import LogRows, point_estimate

__all__ = ["half_sample_errors"]

Floats = NDArray[np.float64]


def half_sample_errors(
    rules: Sequence[PricePolicy],
    parts: Sequence[NDArray[np.intp]],
    rows: LogRows,
    predicted: Floats,
    baselines: Mapping[str, NDArray[np.intp] | None],
    estimators: Sequence[str],
    half_samples: int,
    seed: int,
) -> dict[tuple[str, str], float]:
    """Measure the standard error of a price policy's value, and of its difference from each baseline.

    Parameters
    ----------
    rules, parts : sequence, one per fold
        The fold's price policy, and its rows' positions.
    rows : LogRows
    predicted : ndarray, shape (n, A)
    baselines : mapping of str to ndarray of int, shape (n,), or None
        One action for each decision; None for what was done.
    estimators : sequence of str
    half_samples : int
        Rounded up to an even number: halves come in complementary pairs.
    seed : int

    Returns
    -------
    dict of (estimator, baseline) to float
        The baseline ``""`` stands for the value itself.

    Notes
    -----
    Two halves of a sample estimate the same from independent customers; half the difference of what they say has the variance
    of the whole sample's estimate. A half in which the limits cannot be kept is left out with its other half.
    """
    rng = np.random.default_rng([seed, 20_011])
    filled = np.where(np.isfinite(predicted), predicted, 0.0)
    names = ["", *baselines]
    gaps = []
    for _ in range((half_samples + 1) // 2):
        first = rng.permutation(rows.n_customers) % 2 == 0
        try:
            halves = [_values(side, rules, parts, rows, filled, baselines, estimators) for side in (first, ~first)]
        except InfeasibleStrategyError:
            continue
        gaps.append((halves[0] - halves[1]) / 2)
    if not gaps:
        return {(e, name): float("nan") for e in estimators for name in names}
    se = np.sqrt(np.mean(np.square(gaps), axis=0))
    return {(e, name): float(se[i, j]) for i, e in enumerate(estimators) for j, name in enumerate(names)}


def _values(
    side: NDArray[np.bool_],
    rules: Sequence[PricePolicy],
    parts: Sequence[NDArray[np.intp]],
    rows: LogRows,
    filled: Floats,
    baselines: Mapping[str, NDArray[np.intp] | None],
    estimators: Sequence[str],
) -> Floats:
    """Return each estimator's value of the policy solved on one half, and its lead over each baseline there."""
    taken = side[rows.customer]
    action = np.zeros(len(taken), dtype=np.intp)
    for rule, part in zip(rules, parts, strict=True):
        inside = np.flatnonzero(taken[part])
        action[part[inside]] = rule.solve(inside)[0]
    keep = np.flatnonzero(taken)
    found = np.empty((len(estimators), 1 + len(baselines)))
    for i, estimator in enumerate(estimators):
        found[i, 0] = point_estimate(estimator, rows, filled, action, keep)
        for j, other in enumerate(baselines.values(), start=1):
            beside = rows.y[keep].mean() if other is None else point_estimate(estimator, rows, filled, other, keep)
            found[i, j] = found[i, 0] - beside
    return found
