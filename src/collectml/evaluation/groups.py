"""Shares by group, with intervals, and small groups kept from giving their members away."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import norm

__all__ = ["by_group"]

FEWEST = 30


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
    z = float(norm.ppf(0.5 + confidence / 2))
    sizes = pd.Series(labels).value_counts().sort_index()
    hidden = set(sizes.index[sizes < fewest])
    if len(hidden) == 1 and len(sizes) > 1:
        hidden.add(sizes.drop(index=list(hidden)).sort_values(kind="stable").index[0])
    rows = []
    for name in [*sizes.index, "all"]:
        at = np.ones(len(labels), dtype=bool) if name == "all" else labels == name
        n = int(at.sum())
        row: dict[str, object] = {"group": name, "accounts": np.nan if name in hidden else n}
        for flag, values in flags.items():
            p = float(values.to_numpy(dtype=bool)[at].mean()) if n else np.nan
            middle, half = (p + z * z / (2 * n)), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
            low, high = ((middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n))
            row |= {flag: p, f"{flag}_low": low, f"{flag}_high": high}
            if name in hidden:
                row |= {flag: np.nan, f"{flag}_low": np.nan, f"{flag}_high": np.nan}
        rows.append(row)
    return pd.DataFrame(rows)
