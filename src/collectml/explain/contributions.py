"""Exact contributions: what each feature adds to a booster's margin, checked to add up, turned into percentage points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from collectml.errors import CollectMLError, ConfigurationError
from collectml.models._one_walk import predict_rows, predict_settings
from collectml.uplift.shared_action import with_action

from ._leaves import leaf_paths

__all__ = [
    "CALIBRATOR",
    "ITSELF",
    "Contributions",
    "contributions",
    "effect_contributions",
    "global_drivers",
    "interactions",
]

Floats = NDArray[np.float64]

TOLERANCE = 1e-6
BATCH_ROWS = 5_000
ITSELF, CALIBRATOR = "(the action itself)", "(calibrator)"


@dataclass(frozen=True)
class Contributions:
    """Contributions on the margin (log-odds) scale.

    Parameters
    ----------
    values : DataFrame, accounts × features
        What each feature adds.
    base : ndarray, shape (n,)
        Where the sum starts.
    """

    values: pd.DataFrame
    base: Floats

    @property
    def margin(self) -> Floats:
        """Base plus all contributions, shape (n,)."""
        return np.asarray(self.base + self.values.to_numpy().sum(axis=1), dtype=np.float64)

    def grouped(self, groups: Mapping[str, str]) -> Contributions:
        """Sum contributions within groups of features.

        Parameters
        ----------
        groups : mapping of str to str
            Group of a feature; features not named are their own group.

        Returns
        -------
        Contributions
        """
        names = [groups.get(c, c) for c in self.values.columns]
        return Contributions(self.values.T.groupby(np.array(names), sort=False).sum().T, self.base)

    def in_probability(self) -> Contributions:
        """Put contributions into probability, exact in sum.

        Returns
        -------
        Contributions
            ``base`` is the probability at the base; base plus values is the probability at the margin.

        Notes
        -----
        Along the straight line from base ``f0`` to margin ``f`` the sigmoid's integrated gradient gives each contribution the
        factor ``(sigma(f) - sigma(f0)) / (f - f0)``, and ``sigma'(f0)`` where they meet.

        References
        ----------
        Sundararajan, Taly & Yan (2017), Axiomatic attribution for deep networks (integrated gradients).

        Examples
        --------
        >>> c = Contributions(pd.DataFrame({"score": [1.0], "balance": [-0.5]}), np.array([0.2])).in_probability()
        >>> bool(abs(c.margin[0] - expit(0.7)) < 1e-12)
        True
        """
        start, end = self.base, self.margin
        gap = end - start
        near = np.abs(gap) < 1e-9
        factor = np.where(near, expit(start) * (1 - expit(start)), (expit(end) - expit(start)) / np.where(near, 1.0, gap))
        return Contributions(self.values.mul(factor, axis="index"), np.asarray(expit(start), dtype=np.float64))

    def with_calibrator(self, calibrated: Floats) -> Contributions:
        """Give a calibrator that follows the booster a bar of its own.

        Parameters
        ----------
        calibrated : ndarray, shape (n,)
            Calibrated probabilities; these contributions must be in probability already.

        Returns
        -------
        Contributions
            One column more, ``"(calibrator)"``; base plus values is the calibrated probability.

        Examples
        --------
        >>> c = Contributions(pd.DataFrame({"score": [1.0]}), np.zeros(1)).in_probability().with_calibrator(np.array([0.7]))
        >>> round(float(c.margin[0]), 12), c.values.columns.tolist()
        (0.7, ['score', '(calibrator)'])
        """
        return Contributions(self.values.assign(**{CALIBRATOR: calibrated - self.margin}), self.base)


def contributions(
    booster: lgb.Booster, X: Floats, names: Sequence[str], *, index: pd.Index | None = None, threads: int = 2
) -> Contributions:
    """Explain a booster's margins exactly, and check that they add up.

    Parameters
    ----------
    booster : lightgbm.Booster
        Constant leaves, and leaves that add up.
    X : ndarray, shape (n, p)
        Encoded rows.
    names : sequence of str, length p
        Names of the columns.
    index : Index, optional
        Account ids.
    threads : int
        Threads.

    Returns
    -------
    Contributions

    Raises
    ------
    ConfigurationError
        For linear trees and random forests, whose contributions do not add up to their predictions; for several margins a
        row (multi-class); where rows, names and booster do not fit.
    CollectMLError
        Where contributions do not add up to within 1e-6.

    References
    ----------
    Lundberg, Erion & Lee (2018), Consistent individualized feature attribution for tree ensembles (path-dependent TreeSHAP).
    Yang (2021), Fast TreeSHAP, and Yu et al. (2022), Linear TreeSHAP, from which the way of computing it is taken.
    """
    _check_fit(booster, X, names)
    paths = leaf_paths(booster, setting=False)
    if paths is None:
        values, base = _by_lightgbm(booster, X, threads)
    else:
        values, base = paths.contributions(X, threads=threads), np.full(len(X), paths.base)
    _check_sum(values.sum(axis=1) + base, predict_rows(booster, X, raw=True, threads=threads))
    return Contributions(pd.DataFrame(values, index=index, columns=list(names)), base)


def effect_contributions(
    booster: lgb.Booster,
    X: Floats,
    first: NDArray[np.intp] | int,
    second: NDArray[np.intp] | int,
    names: Sequence[str],
    *,
    index: pd.Index | None = None,
    threads: int = 2,
) -> Contributions:
    """Explain what an action changes against another: the difference of two exact explanations of one booster.

    Parameters
    ----------
    booster : lightgbm.Booster
        Shared by all actions; the action is the last column.
    X : ndarray, shape (n, p)
        Encoded rows, without the action.
    first, second : ndarray of int, shape (n,), or int
        Positions of the two actions of each row.
    names : sequence of str, length p
        Names of the features.
    index : Index, optional
        Account ids.
    threads : int
        Threads.

    Returns
    -------
    Contributions
        The last column, ``"(the action itself)"``, is what the action changes for everybody; ``base`` is 0.

    Raises
    ------
    ConfigurationError, CollectMLError
        As :func:`contributions`.
    """
    columns, n = [*names, ITSELF], len(X)
    there, here = (np.broadcast_to(np.asarray(a, dtype=np.float64), n) for a in (first, second))
    _check_fit(booster, with_action(X[:1], 0), columns)
    paths = leaf_paths(booster, setting=True)
    if paths is None:
        one, other = (_by_lightgbm(booster, np.column_stack([X, a]), threads)[0] for a in (there, here))
        values = one - other
    else:
        values = paths.differences(X, there, here, threads=threads)
    asked, at = np.unique(np.concatenate([there, here]), return_inverse=True)
    margins = predict_settings(booster, X, asked[:, None], raw=True, threads=threads)
    rows = np.arange(n)
    _check_sum(values.sum(axis=1), margins[rows, at[:n]] - margins[rows, at[n:]])
    return Contributions(pd.DataFrame(values, index=index, columns=columns), np.zeros(n))


def _by_lightgbm(booster: lgb.Booster, X: Floats, threads: int) -> tuple[Floats, Floats]:
    """Explain rows by LightGBM itself: the plain way, for boosters that are not laid out, and the oracle of the fast one."""
    out = np.empty((len(X), X.shape[1] + 1))
    for start in range(0, len(X), BATCH_ROWS):
        part = slice(start, start + BATCH_ROWS)
        out[part] = cast("Floats", booster.predict(X[part], pred_contrib=True, num_threads=threads))
    return out[:, :-1], out[:, -1]


def _check_sum(told: Floats, margin: Floats) -> None:
    worst = float(np.abs(told - margin).max(initial=0.0))
    if worst > TOLERANCE:
        raise CollectMLError(f"contributions miss the prediction by {worst:.2g}, more than {TOLERANCE:g}")


def _check_fit(booster: lgb.Booster, X: Floats, names: Sequence[str]) -> None:
    p = booster.num_feature()
    if X.ndim != 2 or X.shape[1] != p:
        raise ConfigurationError(f"the booster was trained on {p} columns; the rows to explain have the shape {X.shape}")
    if len(names) != p or len(set(names)) != p:
        raise ConfigurationError(f"{p} columns need {p} different names, not {len(set(names))} among {len(names)}")
    if booster.num_model_per_iteration() != 1:
        raise ConfigurationError("the booster has several margins a row (multi-class): explain one class at a time")
    text = booster.model_to_string(num_iteration=1)
    if "boosting: rf" in text or "[boosting: rf]" in text:
        raise ConfigurationError("contributions of a random forest are not averaged by LightGBM; they would not add up")
    if "is_linear=1" in text:
        raise ConfigurationError("contributions of linear trees are not defined by LightGBM")


def interactions(
    booster: lgb.Booster, X: Floats, names: Sequence[str], *, categorical: Sequence[int] = (), most: int = 200, seed: int = 0
) -> pd.DataFrame:
    """Rank pairs of features by how much they move the margin together, on a sample.

    Parameters
    ----------
    booster : lightgbm.Booster
        Without categorical splits: shap's interaction values are wrong for them.
    X : ndarray, shape (n, p)
        Encoded rows.
    names : sequence of str, length p
        Names of the columns.
    categorical : sequence of int
        Columns that hold level codes.
    most : int, default 200
        Rows sampled; time grows with the square of the number of features.
    seed : int
        Seed of the sample.

    Returns
    -------
    DataFrame
        ``first, second, mean_abs``, largest first; a feature's own effect is the pair of it with itself.

    Raises
    ------
    ConfigurationError
        For boosters with categorical columns.
    CollectMLError
        Where interactions do not add up to the exact contributions within 1e-6.

    References
    ----------
    Lundberg et al. (2020), From local explanations to global understanding with explainable AI for trees.
    """
    if categorical:
        raise ConfigurationError("interactions are not offered for categorical columns: shap's values do not add up there")
    import shap  # late: it brings numba, which no other path needs

    rows = np.sort(np.random.default_rng(seed).permutation(len(X))[:most])
    exact = contributions(booster, X[rows], names).values.to_numpy()
    pairs = np.asarray(shap.TreeExplainer(booster).shap_interaction_values(X[rows]), dtype=np.float64)
    worst = float(np.abs(pairs.sum(axis=2) - exact).max(initial=0.0))
    if worst > TOLERANCE:
        raise CollectMLError(f"interactions miss the contributions by {worst:.2g}, more than {TOLERANCE:g}")
    first, second = np.triu_indices(len(names))
    size = np.abs(pairs).mean(axis=0)[first, second] * np.where(first == second, 1.0, 2.0)
    table = pd.DataFrame({"first": np.array(names)[first], "second": np.array(names)[second], "mean_abs": size})
    return table.sort_values("mean_abs", ascending=False, kind="stable").reset_index(drop=True)


def global_drivers(points: pd.DataFrame, features: Floats, levels: Sequence[str] = ()) -> pd.DataFrame:
    """Rank features by how much they move a quantity across accounts.

    Parameters
    ----------
    points : DataFrame, accounts × features
        Contributions, in percentage points.
    features : ndarray, shape (n, p)
        Encoded features in the order of the first p columns.
    levels : sequence of str
        Features that hold levels: they have no direction.

    Returns
    -------
    DataFrame
        ``feature, mean_abs_pp, direction`` (``"raises"``, ``"lowers"`` or ``"mixed"`` as the feature grows), largest first.
    """
    direction = [
        _direction(features[:, j], points.iloc[:, j].to_numpy()) if j < features.shape[1] and name not in levels else "mixed"
        for j, name in enumerate(points.columns)
    ]
    table = pd.DataFrame({"feature": points.columns, "mean_abs_pp": points.abs().mean().to_numpy(), "direction": direction})
    return table.sort_values("mean_abs_pp", ascending=False, kind="stable").reset_index(drop=True)


def _direction(feature: Floats, points: Floats) -> str:
    known = np.isfinite(feature)
    if known.sum() < 10 or np.ptp(feature[known]) == 0 or np.ptp(points[known]) == 0:
        return "mixed"
    rank = float(pd.Series(feature[known]).rank().corr(pd.Series(points[known]).rank()))
    return "mixed" if abs(rank) < 0.3 else ("raises" if rank > 0 else "lowers")
