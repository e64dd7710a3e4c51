"""Functions of the features that effects may depend on: normal scores and their squares, levels, prognostic scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

__all__ = ["MAX_FEATURES", "EffectBasis", "Interactions"]

Floats = NDArray[np.float64]

MAX_FEATURES = 40
MAX_LEVELS = 24
_QUANTILES = np.linspace(0.0, 1.0, 101)


@dataclass
class EffectBasis:
    """Functions of the features that effects may depend on.

    Numbers become normal scores of their ranks, with a square where they take many values, and an indicator where they are
    missing; levels become indicators; prognostic scores (the baseline's own predictions) come with square and cube, because
    those at middle risk are the persuadable ones.

    Parameters
    ----------
    numeric, categorical : sequence of int
        Columns used.
    """

    numeric: Sequence[int]
    categorical: Sequence[int]

    def fit(self, X: Floats, scores: Sequence[Floats]) -> EffectBasis:
        """Learn quantiles and levels.

        Parameters
        ----------
        X : ndarray, shape (n, p)
            Encoded features.
        scores : sequence of ndarray, shape (n,)
            Prognostic scores.

        Returns
        -------
        EffectBasis
        """
        self.quantiles_ = [_quantiles(X[:, j]) for j in self.numeric]
        self.many_ = [len(np.unique(q)) > 8 for q in self.quantiles_]
        self.gaps_ = [0.001 < float(np.isnan(X[:, j]).mean()) < 0.999 for j in self.numeric]
        self.levels_ = []
        for j in self.categorical:
            level, count = np.unique(X[np.isfinite(X[:, j]), j], return_counts=True)
            self.levels_.append(level[np.argsort(-count, kind="stable")][:MAX_LEVELS])
        self.score_quantiles_ = [_quantiles(s) for s in scores]
        return self

    def transform(self, X: Floats, scores: Sequence[Floats]) -> Floats:
        """Evaluate the functions; the first is the constant.

        Parameters
        ----------
        X : ndarray, shape (n, p)
            Encoded features.
        scores : sequence of ndarray, shape (n,)
            Prognostic scores.

        Returns
        -------
        ndarray, shape (n, P)
        """
        columns = [np.ones(len(X))]
        for j, q, many, gaps in zip(self.numeric, self.quantiles_, self.many_, self.gaps_, strict=True):
            z = _normal_scores(X[:, j], q)
            columns.append(z)
            if many:
                columns.append((z * z - 1.0) / 1.5)
            if gaps:
                columns.append(np.isnan(X[:, j]).astype(float))
        for j, levels in zip(self.categorical, self.levels_, strict=True):
            columns += [(X[:, j] == level).astype(float) for level in levels]
        for s, q in zip(scores, self.score_quantiles_, strict=True):
            z = _normal_scores(s, q)
            columns += [z, (z * z - 1.0) / 1.5, np.clip(z, -2.0, 2.0) ** 3 / 3.0]
        return np.column_stack(columns)


def _quantiles(values: Floats) -> Floats:
    known = values[np.isfinite(values)]
    return np.quantile(known, _QUANTILES) if len(known) else np.zeros(len(_QUANTILES))


def _normal_scores(values: Floats, quantiles: Floats) -> Floats:
    rank = (np.searchsorted(quantiles, values, "left") + np.searchsorted(quantiles, values, "right")) / (2 * len(quantiles))
    scores = norm.ppf(np.clip(rank, 0.01, 0.99))
    return np.where(np.isfinite(values), scores, 0.0)


@dataclass
class Interactions:
    """Products of those functions that effects were found to depend on most, squares included.

    Parameters
    ----------
    columns : sequence of int
        Positions of the functions multiplied with one another.
    """

    columns: Sequence[int]

    def fit_transform(self, Z: Floats) -> Floats:
        """Learn means and spreads, and append the products to the functions.

        Parameters
        ----------
        Z : ndarray, shape (n, P)
            From :meth:`EffectBasis.transform`.

        Returns
        -------
        ndarray, shape (n, P + K (K + 1) / 2)
        """
        self.pairs_ = [(i, j) for k, i in enumerate(self.columns) for j in self.columns[k:]]
        self.mean_ = np.array([float((Z[:, i] * Z[:, j]).mean()) for i, j in self.pairs_])
        square = np.array([float(np.mean((Z[:, i] * Z[:, j]) ** 2)) for i, j in self.pairs_])
        self.spread_ = np.sqrt(np.maximum(square - self.mean_**2, 1e-12))
        out = np.empty((len(Z), Z.shape[1] + len(self.pairs_)))
        out[:, : Z.shape[1]] = Z
        for k, (i, j) in enumerate(self.pairs_):
            out[:, Z.shape[1] + k] = (Z[:, i] * Z[:, j] - self.mean_[k]) / self.spread_[k]
        return out
