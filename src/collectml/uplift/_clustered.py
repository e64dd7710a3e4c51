"""Standard errors and limits from influence values, the customer being the unit of dependence."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from collectml.errors import SchemaError

__all__ = ["Estimate", "cluster_codes", "cluster_means", "estimate", "fewest_degrees"]

Floats = NDArray[np.float64]


class Estimate(NamedTuple):
    """An estimate with its standard error, limits, and the p-value of the hypothesis that it is zero (two-sided)."""

    value: float
    se: float
    low: float
    high: float
    p_value: float


def cluster_codes(customer: ArrayLike | None, n: int) -> tuple[NDArray[np.intp], int]:
    """Return each row's customer as a code, (n,), and the number of customers; each row its own where not given."""
    if customer is None:
        return np.arange(n), n
    labels = np.asarray(customer)
    if labels.shape != (n,):
        raise SchemaError(f"customer must have one entry for each of the {n:,} rows, not shape {labels.shape}")
    codes, found = pd.factorize(labels)
    if (codes < 0).any():
        raise SchemaError(f"{int((codes < 0).sum()):,} rows have no customer: the unit of dependence must be known")
    return codes, len(found)


def cluster_means(influence: Floats, codes: NDArray[np.intp], n_clusters: int) -> Floats:
    """Add up influence values by customer and divide by the number of rows: their sum's variance is the estimate's."""
    return np.bincount(codes, weights=influence, minlength=n_clusters) / len(influence)


def fewest_degrees(parts: Floats) -> float:
    """Return Satterthwaite's degrees of freedom of a sum of squares, from the kurtosis of its parts.

    A variance that rests on few large parts is itself uncertain: the t quantile then widens the interval.
    """
    groups = len(parts)
    largest = float(np.abs(parts).max(initial=0.0))
    if largest == 0 or groups < 2:
        return max(1.0, groups - 1.0)
    scaled = parts / largest  # powers of raw amounts could leave the floating-point range
    kurtosis = groups * float(np.sum(scaled**4)) / float(np.sum(scaled**2)) ** 2
    return groups - 1.0 if kurtosis <= 1 else float(np.clip(2 * groups / (kurtosis - 1), 1.0, groups - 1.0))


def estimate(value: float, influence: Floats, codes: NDArray[np.intp], n_clusters: int, confidence: float) -> Estimate:
    """Turn influence values (mean zero, one a row) into an interval.

    Parameters
    ----------
    value : float
    influence : ndarray, shape (n,)
        What each row adds to the estimate, times n; its clustered mean square over n is the variance.
    codes, n_clusters
        From :func:`cluster_codes`.
    confidence : float
        Of the two-sided interval.

    Returns
    -------
    Estimate
        Where nothing varies the interval is the value and the p-value 1 at zero, 0 elsewhere.

    References
    ----------
    Satterthwaite (1946), An approximate distribution of estimates of variance components, Biometrics Bulletin 2.
    """
    parts = cluster_means(influence, codes, n_clusters)
    if n_clusters < 2 or not np.isfinite(parts).all():
        return Estimate(value, np.nan, np.nan, np.nan, np.nan)
    se = float(np.sqrt(n_clusters / (n_clusters - 1) * np.sum(parts**2)))
    scale = float(np.abs(influence).max(initial=0.0)) / len(influence)
    if se <= 1e-12 * scale * np.sqrt(n_clusters) or se == 0:  # rounding noise of influence values that are all zero
        return Estimate(value, 0.0, value, value, float(value == 0))
    freedom = fewest_degrees(parts)
    reach = float(stats.t.ppf((1 + confidence) / 2, freedom)) * se
    return Estimate(value, se, value - reach, value + reach, 2 * float(stats.t.sf(abs(value) / se, freedom)))
