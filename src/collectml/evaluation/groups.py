"""Shares by group, with intervals, and small groups kept from giving their members away."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import norm

__all__ = ["by_group", "suppressed", "wilson"]

FEWEST = 30


def suppressed(sizes: pd.Series, fewest: int = FEWEST) -> set[object]:
    """Name the groups that must not be shown: those too small, and the next smallest where it would give one away.

    Parameters
    ----------
    sizes : Series of int
        Members of each group, indexed by its name.
    fewest : int, default 30
        Groups of fewer members are too small.

    Returns
    -------
    set

    Examples
    --------
    >>> sorted(suppressed(pd.Series({"a": 40, "b": 35, "c": 5})))
    ['b', 'c']
    """
    hidden = set(sizes.index[sizes < fewest])
    if len(hidden) == 1 and len(sizes) > 1:
        hidden.add(sizes.drop(index=list(hidden)).sort_values(kind="stable").index[0])
    return hidden


def wilson(share: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Give Wilson's interval of a share.

    Parameters
    ----------
    share : float
        Observed.
    n : int
        Of how many, at least 1.
    confidence : float, default 0.95
        Of the interval.

    Returns
    -------
    low, high : float

    Examples
    --------
    >>> [round(end, 3) for end in wilson(0.0, 100)]
    [0.0, 0.037]
    """
    z = float(norm.ppf(0.5 + confidence / 2))
    middle, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n))


def by_group(
    group: pd.Series, flags: Mapping[str, pd.Series], *, fewest: int = FEWEST, confidence: float = 0.95
) -> pd.DataFrame:
    """Give the share of accounts with each flag, by group.

    Parameters
    ----------
    group : Series of str, length n
        Group of each account; what is unknown is a group of its own.
    flags : mapping of str to Series of bool, length n
        Matched by position.
    fewest : int, default 30
        Groups of fewer accounts are suppressed, and where only one is, the next smallest too: it could be worked out.
    confidence : float, default 0.95
        Of the intervals.

    Returns
    -------
    DataFrame
        ``group``, ``accounts``, and for each flag its share, ``_low`` and ``_high`` (Wilson's interval); missing where
        suppressed. The last row, ``all``, is the sum.

    References
    ----------
    Wilson (1927), Probable inference, the law of succession, and statistical inference.

    Examples
    --------
    >>> table = by_group(pd.Series(["a"] * 40 + ["b"] * 35 + ["c"] * 5), {"called": pd.Series([True] * 20 + [False] * 60)})
    >>> table[["group", "accounts", "called"]].values.tolist()
    [['a', 40.0, 0.5], ['b', nan, nan], ['c', nan, nan], ['all', 80.0, 0.25]]
    """
    labels = group.to_numpy(dtype=object)
    sizes = pd.Series(labels).value_counts().sort_index()
    hidden = suppressed(sizes, fewest)
    rows = []
    for name in [*sizes.index, "all"]:
        at = np.ones(len(labels), dtype=bool) if name == "all" else labels == name
        n = int(at.sum())
        row: dict[str, object] = {"group": name, "accounts": np.nan if name in hidden else n}
        for flag, values in flags.items():
            p = float(values.to_numpy(dtype=bool)[at].mean()) if n else np.nan
            low, high = wilson(p, n, confidence) if n else (np.nan, np.nan)
            row |= {flag: p, f"{flag}_low": low, f"{flag}_high": high}
            if name in hidden:
                row |= {flag: np.nan, f"{flag}_low": np.nan, f"{flag}_high": np.nan}
        rows.append(row)
    return pd.DataFrame(rows)
