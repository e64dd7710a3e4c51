"""What the accounts of training looked like, and how far tonight's have drifted from them: counts by bin, nothing else.

A profile is saved with the model, so it may say nothing of a single account: a bin of numbers holds at least 50 accounts, its
edges are rounded to three digits, and words that fewer than 50 accounts hold are counted together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import chi2

__all__ = ["Drift", "drift_faults", "feature_profile"]

BINS = 10
FEWEST = 50  # accounts of a bin
MOST_DRIFT = 0.25  # PSI from which the industry speaks of a major shift (Siddiqi 2006)
MOST_MISSING = 0.10  # by so much the share of missing values may rise
CHANCE = 0.001  # that a feature that has not drifted is told to have
OTHER, MISSING = "(other)", "(missing)"


def feature_profile(X: pd.DataFrame) -> pd.DataFrame:
    """Count accounts by bins of every feature.

    Parameters
    ----------
    X : DataFrame, n accounts × features
        Features of training.

    Returns
    -------
    DataFrame
        ``feature, level, upper, rows``: a bin of a number is named by its upper edge (the last by infinity), a bin of words by
        the word; ``"(missing)"`` and ``"(other)"`` are bins as well.

    Examples
    --------
    >>> profile = feature_profile(pd.DataFrame({"balance": np.arange(1000.0), "product": ["card"] * 990 + ["loan"] * 10}))
    >>> profile.groupby("feature")["rows"].sum().tolist()
    [1000, 1000]
    >>> profile.loc[profile["feature"] == "product", "level"].tolist()
    ['card', '(other)', '(missing)']
    """
    rows: list[tuple[str, str, float, int]] = []
    for name in X.columns:
        column = X[name]
        if _is_text(column):
            counts = column.dropna().astype(str).value_counts()
            kept = sorted(str(level) for level in counts.index[counts >= FEWEST])
            edges, levels = np.array([]), kept
        else:
            edges, levels = _edges(_numbers(column)), []
        tally = _tally(column, edges, levels)
        names = [*levels, OTHER] if _is_text(column) else [f"<= {e:g}" for e in edges] + ["above"]
        uppers = [np.nan] * len(names) if _is_text(column) else [*edges, np.inf]
        rows += [(str(name), n, float(u), int(c)) for n, u, c in zip(names, uppers, tally[:-1], strict=True)]
        rows.append((str(name), MISSING, np.nan, int(tally[-1])))
    return pd.DataFrame(rows, columns=["feature", "level", "upper", "rows"])


class Drift:
    """Tonight's accounts, counted in the bins of training as they come.

    Parameters
    ----------
    profile : DataFrame
        From :func:`feature_profile`.

    Notes
    -----
    The population stability index of a feature is ``sum over bins of (a - e) ln(a / e)`` with ``e`` and ``a`` the shares of
    training and tonight (half an account is added to every bin, so that empty ones stay finite). Without drift, it is near
    ``(1/n + 1/m)`` times a chi-squared variable with one degree of freedom fewer than bins, which small portfolios feel: a
    feature counts as drifted where its index exceeds 0.25 by more than chance allows once in a thousand.

    References
    ----------
    Siddiqi (2006), Credit Risk Scorecards, Wiley. Yurdakul & Naranjo (2020), Statistical properties of the population
    stability index, Journal of Risk Model Validation 14(4).

    Examples
    --------
    >>> profile = feature_profile(pd.DataFrame({"balance": np.arange(1000.0)}))
    >>> tonight = Drift(profile)
    >>> tonight.add(pd.DataFrame({"balance": np.arange(1000.0) + 900}))
    >>> round(float(tonight.frame().loc[0, "psi"]), 1), drift_faults(tonight.frame())
    (6.8, ['balance: PSI 6.80, at most 0.31'])
    """

    def __init__(self, profile: pd.DataFrame) -> None:
        self._bins = {str(name): part for name, part in profile.groupby("feature", sort=False)}
        self._counts = {name: np.zeros(len(part), dtype=np.int64) for name, part in self._bins.items()}

    def add(self, X: pd.DataFrame) -> None:
        """Count a block of accounts.

        Parameters
        ----------
        X : DataFrame
            With the features; those it lacks are left out.
        """
        for name, part in self._bins.items():
            if name in X:
                upper = part["upper"].to_numpy(dtype=float)
                levels = [x for x in part["level"] if x not in (OTHER, MISSING)] if np.isnan(upper).all() else []
                self._counts[name] += _tally(X[name], upper[np.isfinite(upper)], levels, text=bool(np.isnan(upper).all()))

    def frame(self) -> pd.DataFrame:
        """Hold what was counted against training.

        Returns
        -------
        DataFrame
            ``feature, psi, psi_allowed, missing, missing_in_training``.
        """
        rows = []
        for name, part in self._bins.items():
            then, now = part["rows"].to_numpy(dtype=float), self._counts[name].astype(float)
            n, m, bins = then.sum(), now.sum(), len(then)
            if not m:
                continue
            e, a = (then + 0.5) / (n + 0.5 * bins), (now + 0.5) / (m + 0.5 * bins)
            noise = float(chi2.ppf(1 - CHANCE, max(1, bins - 1))) * (1 / n + 1 / m)
            rows.append((name, float(((a - e) * np.log(a / e)).sum()), MOST_DRIFT + noise, now[-1] / m, then[-1] / n))
        return pd.DataFrame(rows, columns=["feature", "psi", "psi_allowed", "missing", "missing_in_training"])


def drift_faults(drift: pd.DataFrame) -> list[str]:
    """Say which features have drifted.

    Parameters
    ----------
    drift : DataFrame
        From :meth:`Drift.frame`.

    Returns
    -------
    list of str
        A sentence each, the largest first; empty where all is as in training.
    """
    told = []
    for row in drift.sort_values("psi", ascending=False, kind="stable").to_dict("records"):
        if row["psi"] > row["psi_allowed"]:
            told.append(f"{row['feature']}: PSI {row['psi']:.2f}, at most {row['psi_allowed']:.2f}")
        elif row["missing"] > row["missing_in_training"] + MOST_MISSING:
            told.append(f"{row['feature']}: {row['missing']:.0%} missing, {row['missing_in_training']:.0%} in training")
    return told


def _is_text(column: pd.Series) -> bool:
    kinds = pd.api.types
    return not (kinds.is_numeric_dtype(column.dtype) or kinds.is_bool_dtype(column.dtype))


def _numbers(column: pd.Series) -> NDArray[np.float64]:
    return np.asarray(column.to_numpy(dtype=float, na_value=np.nan), dtype=np.float64)


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut numbers at tenths, fewer where there are few, so that every bin holds many accounts."""
    known = values[np.isfinite(values)]
    bins = min(BINS, len(known) // FEWEST)
    if bins < 2:
        return np.array([])
    cuts = np.quantile(known, np.arange(1, bins) / bins)
    edges = np.unique([float(f"{cut:.3g}") for cut in cuts])
    kept: list[float] = []
    for edge in edges:  # rounding, and values many accounts share, may leave a bin too small
        low = kept[-1] if kept else -np.inf
        if ((known > low) & (known <= edge)).sum() >= FEWEST and (known > edge).sum() >= FEWEST:
            kept.append(float(edge))
    return np.array(kept)


def _tally(
    column: pd.Series, edges: NDArray[np.float64], levels: Sequence[str], *, text: bool | None = None
) -> NDArray[np.int64]:
    """Count by bin: numbers up to each edge and above the last, or words and all others; the missing come last."""
    if _is_text(column) if text is None else text:
        words = column.value_counts()
        at = pd.Index(list(levels), dtype="str").get_indexer(words.index.astype(str))
        counts = np.bincount(np.where(at < 0, len(levels), at), words.to_numpy(), minlength=len(levels) + 1)
        return np.append(counts, len(column) - counts.sum()).astype(np.int64)
    values = _numbers(column)
    # a handful of comparisons is faster than a search for each value; what is missing is below no edge
    below = [int(np.count_nonzero(values <= edge)) for edge in edges]
    missing = int(np.count_nonzero(np.isnan(values)))
    return np.diff([0, *below, len(values) - missing, len(values)]).astype(np.int64)
