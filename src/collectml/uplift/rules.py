"""Conditions that boosters split on, as functions for a regression of effects: what trees find, shrinkage weighs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from .effects import EffectRegression, curvatures
from .likelihood import Response

__all__ = ["Rules", "cross_fit_rules"]

Floats = NDArray[np.float64]

CUTS = 33  # cuts that lie closer than neighbouring quantiles are one
MOST = 20  # of either kind; twice as many were worth no more
LEAST_SPREAD = 0.05  # a condition that one account in 400 meets


@dataclass(frozen=True, order=True)
class Condition:
    """A column above a cut, or at a level.

    Parameters
    ----------
    column : int
        Its position.
    value : float
        The cut or the level's code.
    nth : int
        Which cut of the column's it is, counted from below; -1 of a level.
    """

    column: int
    value: float
    nth: int

    def holds(self, X: Floats) -> Floats:
        """Say where it does: 1 or 0, shape (n,); where the value is missing it does not."""
        x = X[:, self.column]
        return (x == self.value if self.nth < 0 else x > self.value).astype(np.float64)

    def near(self, other: Condition, apart: int) -> bool:
        """Say whether another tells nearly the same accounts apart."""
        if self.column != other.column or min(self.nth, other.nth) < 0:
            return self == other
        return abs(self.nth - other.nth) <= apart


@dataclass(frozen=True)
class Rules:
    """Conditions, and pairs of conditions, by which a booster splits most to its profit.

    Parameters
    ----------
    single : sequence of Condition
        Numbers above a cut.
    pairs : sequence of (Condition, Condition)
        Conditions of different columns, one below the other in a tree.

    References
    ----------
    Friedman & Popescu (2008), Predictive learning via rule ensembles, Annals of Applied Statistics 2 (there whole paths to nodes,
    under a lasso).
    """

    single: Sequence[Condition]
    pairs: Sequence[tuple[Condition, Condition]]

    @classmethod
    def of(cls, booster: lgb.Booster, X: Floats, *, categorical: Collection[int], trees: int) -> Rules:
        """Read them off a booster that all actions share; its splits of the action belong to no condition.

        Parameters
        ----------
        booster : lightgbm.Booster
            From :func:`~collectml.uplift.shared_action.train_shared`.
        X : ndarray, shape (n, p)
            Encoded features, without the action.
        categorical : collection of int
            Categorical columns.
        trees : int
            How many of its trees count.

        Returns
        -------
        Rules
        """
        quantiles = {
            j: np.unique(np.nanquantile(X[:, j], np.linspace(0.0, 1.0, CUTS + 2)[1:-1]))
            for j in range(X.shape[1])
            if j not in categorical and np.isfinite(X[:, j]).any()
        }
        single: Counter[Condition] = Counter()
        pairs: Counter[tuple[Condition, Condition]] = Counter()

        def visit(node: Mapping[str, Any], above: tuple[Condition, ...], told_apart: bool) -> None:
            """Credit conditions with what is gained by telling actions apart under them, or by them where actions are told apart."""
            if "split_feature" not in node:
                return
            gain, below = node["split_gain"], above
            if node["split_feature"] == X.shape[1]:
                told_apart = True
                single.update(dict.fromkeys(above, gain))
                pairs.update(
                    {pair: gain for pair in combinations(sorted(set(above)), 2) if pair[0].column != pair[1].column}
                )
            elif (condition := _condition(node, quantiles)) is not None:
                below = (*above, condition)
                if told_apart:
                    single[condition] += gain
                    others = {other for other in above if other.column != condition.column}
                    pairs.update({(min(o, condition), max(o, condition)): gain for o in others})
            visit(node["left_child"], below, told_apart)
            visit(node["right_child"], below, told_apart)

        for tree in booster.dump_model(num_iteration=trees)["tree_info"]:
            visit(tree["tree_structure"], (), False)
        chosen: list[Condition] = []
        for one, _ in single.most_common():  # levels are functions of their own already
            if one.nth >= 0 and len(chosen) < MOST and not any(one.near(c, 1) for c in chosen):
                chosen.append(one)
        coupled: list[tuple[Condition, Condition]] = []
        for a, b in (pair for pair, _ in pairs.most_common()):
            if len(coupled) < MOST and not any(a.near(c, 2) and b.near(d, 2) for c, d in coupled):
                coupled.append((a, b))
        return cls(chosen, coupled)

    def transform(self, X: Floats) -> Floats:
        """Evaluate them: of a pair what its two conditions do only together.

        Parameters
        ----------
        X : ndarray, shape (n, p)
            Encoded features.

        Returns
        -------
        ndarray, shape (n, K)
            With mean 0 and spread 1; without conditions that next to all rows or next to none meet.
        """

        def centred(condition: Condition) -> Floats:
            holds = condition.holds(X)
            return holds - holds.mean()

        columns = [centred(c) for c in self.single] + [centred(a) * centred(b) for a, b in self.pairs]
        scaled = [(c - c.mean()) / c.std() for c in columns if c.std() > LEAST_SPREAD]
        return np.column_stack([np.empty((len(X), 0)), *scaled])


def _condition(node: Mapping[str, Any], quantiles: Mapping[int, Floats]) -> Condition | None:
    """Read a node's condition, its cut moved to the nearest quantile; None where it is of several levels."""
    column, value = int(node["split_feature"]), node["threshold"]
    if column in quantiles:
        nth = int(np.argmin(np.abs(quantiles[column] - value)))
        return Condition(column, float(quantiles[column][nth]), nth)
    if "||" in str(value):
        return None
    return Condition(column, float(value), -1)


def cross_fit_rules(X: Floats, Z: Floats, response: Response, fold: NDArray[np.int8], found: Sequence[Rules]) -> Floats:
    """Regress effects on functions of the features and on rules, every row's without its fold.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Encoded features.
    Z : ndarray, shape (n, P)
        Functions of them, the constant first.
    response : Response
        Outcomes beside the baseline.
    fold : ndarray of int, shape (n,)
        Folds grouped by customer.
    found : sequence of Rules
        For each fold, what was found without it. Scales are found without it as well.

    Returns
    -------
    ndarray, shape (n, A)
    """
    out = np.empty((len(X), response.n_actions))
    for k, rules in zip(np.unique(fold), found, strict=True):
        held = fold == k
        functions = np.column_stack([Z, rules.transform(X)])
        curvature = curvatures(functions, response, held.astype(np.int8))[0]
        regression = EffectRegression(response.n_actions).fit(functions, response, curvature, held=held)
        out[held] = regression.effects(functions[held])
    return out
