"""Intervals for means and ratios of means over customers, widened for amounts with heavy tails.

Every estimator of this room is a ratio of two sums over decisions. Its influence values are taken exactly, by leaving out
one customer at a time in closed form (the delete-one-cluster jackknife), not from the first-order expansion alone, which
understates the variance of a self-normalised estimate when a few weights are large.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

__all__ = ["Interval", "Ratio", "amounts_too_heavy", "interval", "ratio_of_sums"]

# Where skewness over the root of the effective sample exceeded this, coverage of a nominal 95 % fell below 93 %.
_MOST_SKEWNESS = 3.0


class Ratio(NamedTuple):
    """An estimate and what each customer adds to it: the estimate less the estimate without that customer."""

    value: float
    influence: NDArray[np.float64]


class Interval(NamedTuple):
    """A standard error, two limits, and the share of the variance that the largest single customer contributes."""

    se: float
    low: float
    high: float
    top_share: float


def ratio_of_sums(
    numerator: NDArray[np.float64], denominator: NDArray[np.float64], cluster: NDArray[np.intp], n_clusters: int
) -> Ratio:
    """Estimate ``sum(numerator) / sum(denominator)`` with its exact delete-one-cluster influence values.

    Parameters
    ----------
    numerator, denominator : ndarray, shape (n,)
        One entry per decision; the denominator is one for a mean and the weight for a self-normalised mean.
    cluster : ndarray of int, shape (n,)
        Customer code of each decision, ``0 .. n_clusters - 1``.
    n_clusters : int

    Returns
    -------
    Ratio
        Influence values are infinite where leaving one customer out leaves nothing to divide by.
    """
    top = np.bincount(cluster, weights=numerator, minlength=n_clusters)
    bottom = np.bincount(cluster, weights=denominator, minlength=n_clusters)
    total = float(bottom.sum())
    if total <= 0:
        return Ratio(np.nan, np.full(n_clusters, np.nan))
    value = float(top.sum()) / total
    # the total less one part can come out as rounding noise where that part is everything
    rest = np.where(bottom >= total * (1 - 1e-12), 0.0, total - bottom)
    with np.errstate(divide="ignore", invalid="ignore"):
        influence = np.where(rest > 0, (top - value * bottom) / rest, np.inf)
    return Ratio(value, influence)


def interval(value: float, influence: NDArray[np.float64], confidence: float, *, one_sided_tail: bool) -> Interval:
    """Turn influence values into limits.

    Parameters
    ----------
    value : float
    influence : ndarray, shape (G,)
        Of one estimate, or the difference of two estimates' influence values from the same customers (paired).
    confidence : float
        Two-sided, between 0 and 1.
    one_sided_tail : bool
        True for the value of one policy: amounts recovered have one heavy tail, and samples that miss it give both too
        small a mean and too small a variance. The limit on that side is moved outward by Hall's transformation; never
        inward. False for differences: where both sides are about equally well supported their tails offset, and a sample's
        skewness is mostly one account's noise. Where one side rests on few rows they do not; see Notes.

    Returns
    -------
    Interval

    Notes
    -----
    The quantile is Student's with the degrees of freedom that the variance estimate really has (Satterthwaite):
    ``2 G / (kurtosis - 1)``, at most ``G - 1``. For normal contributions that is G; where ten accounts carry the variance,
    about twenty, whatever G.

    What these limits reach at a nominal 95 %, in simulations with known truth: one policy's value by SNIPS from lognormal
    amounts (sigma: the spread of their logarithm) and an effective sample size of about 140, a third of it paying: 96 % at
    sigma 0.5 and 0.8, 94 % at 1.2, 92 % at 1.5, 91 % at 2; what misses lies above the interval, so that a value is
    understated. :func:`amounts_too_heavy` says beforehand where that is to be expected (the last two here), from the spread
    of all amounts of the log: the policy's own tail cannot say it, as samples that miss the tail look light.
    Paired differences of two policies that are about equally well supported: 95 to 98 % in all of these. Where
    one of the two rests on few logged rows, its value tends to be understated with too small a variance: against a baseline
    that rests on 15, 50 and 300 rows of a five per cent hold-out, a policy without any effect is declared better (nominally
    2.5 %) in 6 to 12 %, 6 to 7 % and 4 to 6 % of logs.

    References
    ----------
    Satterthwaite (1946), An approximate distribution of estimates of variance components, Biometrics Bulletin 2.
    Hall (1992), On the removal of skewness by transformation, JRSS B 54.
    Zhou and Gao (2000), One-sided confidence intervals for means of positively skewed distributions, Am. Stat. 54.
    """
    if not np.isfinite(influence).all():
        return Interval(np.inf, -np.inf, np.inf, 1.0)
    groups = len(influence)
    largest = float(np.abs(influence).max())
    if largest == 0:
        return Interval(0.0, value, value, 0.0)
    scaled = influence / largest  # powers of raw amounts could leave the floating-point range
    second = float(np.sum(scaled**2))
    se = largest * float(np.sqrt((groups - 1) / groups * second))
    kurtosis = groups * float(np.sum(scaled**4)) / second**2
    freedom = groups - 1.0 if kurtosis <= 1 else float(np.clip(2 * groups / (kurtosis - 1), 1.0, groups - 1.0))
    t = float(stdtrit(freedom, (1 + confidence) / 2))
    down, up = t, t
    if one_sided_tail:
        skewness = float(np.sqrt(groups)) * float(np.sum(scaled**3)) / second**1.5
        down = max(t, _hall_inverse(t, skewness, groups))
        up = max(t, -_hall_inverse(-t, skewness, groups))
    return Interval(se, value - down * se, value + up * se, 1.0 / second)


def _hall_inverse(t: float, skewness: float, groups: int) -> float:
    """Invert Hall's cubic transformation of a studentised mean."""
    a = skewness / float(np.sqrt(groups))
    if abs(a) < 1e-8:
        return t
    return 3.0 / a * (float(np.cbrt(1.0 + a * (t - a / 6.0))) - 1.0)


def amounts_too_heavy(amounts: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float] | None:
    """Say whether amounts spread too widely for an interval from so few weighted payments to hold what it promises.

    Parameters
    ----------
    amounts : ndarray, shape (n,)
        Amounts of all decisions; zeros are not paid.
    weights : ndarray, shape (n,)
        Importance weights.

    Returns
    -------
    (float, float) or None
        Effective number of paying decisions, and how many it would take; None where there are enough.

    Notes
    -----
    The skewness of a lognormal amount, by the spread of the logarithms of all amounts of the log, whatever their weights,
    over the root of the effective number of weighted payments: the leading term of a studentised mean's error. Above 3 the
    intervals of :func:`interval` covered less than 93 % in simulations.

    References
    ----------
    Hall (1992), The bootstrap and Edgeworth expansion, section 2.6.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> light, heavy = rng.lognormal(sigma=0.5, size=200), rng.lognormal(sigma=2.0, size=200)
    >>> amounts_too_heavy(light, np.ones(200)) is None, amounts_too_heavy(heavy, np.ones(200)) is None
    (True, False)
    """
    sizes = np.abs(amounts)
    paid = sizes > 0
    if int(paid.sum()) < 3 or not weights[paid].any():
        return None
    growth = float(np.exp(min(float(np.var(np.log(sizes[paid]), ddof=1)), 50.0)))
    skewness = (growth + 2) * float(np.sqrt(growth - 1))
    w = weights[paid] / weights[paid].max()
    effective = float(w.sum() ** 2 / np.sum(w**2))
    needed = (skewness / _MOST_SKEWNESS) ** 2
    return (effective, needed) if needed > effective else None
