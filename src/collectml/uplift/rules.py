"""Conditions that boosters split on, as functions for a regression of effects: what trees find, shrinkage weighs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, TypeVar

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from .effects import EffectRegression, curvatures
from .likelihood import Response

__all__ = ["Condition", "Rules", "cross_fit_rules", "possible_cuts"]

Floats = NDArray[np.float64]

RANKS, STEP = 1_000, 10
SINGLE_APART, PAIR_APART = 30, 60  # of a thousand accounts; rules no further apart are one
MOST = 20  # of either kind; twice as many were worth no more
LEAST_SPREAD = 0.05  # a condition that one account in 400 meets
FEWEST_MISSING = 0.01


Rule = TypeVar("Rule", bound="tuple[Condition, ...]")


@dataclass(frozen=True, order=True)
class Condition:
    """A column above a cut, or at a level.

    Parameters
    ----------
    column : int
        Its position.
    value : float
        The cut or the level's code.
    rank : int
        How many in a thousand of the column's values lie at the cut or below; -1 of a level.
    or_missing : bool
        Whether rows that miss the value are among those above.
    """

    column: int
    value: float
    rank: int
    or_missing: bool = False

    def holds(self, X: Floats) -> Floats:
        """Say where it does: 1 or 0, shape (n,)."""
        x = X[:, self.column]
        met = x == self.value if self.rank < 0 else x > self.value
        return (met | np.isnan(x) if self.or_missing else met).astype(np.float64)

    def near(self, other: Condition, apart: int) -> bool:
        """Say whether another tells nearly the same accounts apart."""
        if (self.column, self.or_missing) != (other.column, other.or_missing) or min(self.rank, other.rank) < 0:
            return self == other
        return abs(self.rank - other.rank) <= apart


def possible_cuts(X: Floats, categorical: Collection[int]) -> dict[int, Floats]:
    """Give the quantiles among which cuts are placed, so that cuts found apart can be told to be one.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Encoded features.
    categorical : collection of int
        Columns without cuts.

    Returns
    -------
    dict of int to ndarray
        For each column that has any, a thousand values it takes, the smallest first; a frequent value many times.
    """
    cuts = {}
    for j in set(range(X.shape[1])) - set(categorical):
        known = X[np.isfinite(X[:, j]), j]
        if len(known):
            cuts[j] = np.quantile(known, np.arange(RANKS) / RANKS, method="lower")
    return cuts


@dataclass(frozen=True)
class Rules:
    """Conditions, and pairs of conditions, by which a booster tells apart what actions do.

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

    def __len__(self) -> int:
        return len(self.single) + len(self.pairs)

    @classmethod
    def of(cls, booster: lgb.Booster, X: Floats, cuts: Mapping[int, Floats]) -> Rules:
        """Read them off a booster that all actions share.

        A condition is credited with what is gained by telling actions apart under it, and by it where actions are told apart.

        Parameters
        ----------
        booster : lightgbm.Booster
            From :func:`~collectml.uplift.shared_action.train_shared`.
        X : ndarray, shape (n, p)
            Encoded features, without the action.
        cuts : dict of int to ndarray
            From :func:`possible_cuts`.

        Returns
        -------
        Rules
        """
        single: Counter[Condition] = Counter()
        pairs: Counter[tuple[Condition, Condition]] = Counter()
        gaps = {j for j in cuts if np.isnan(X[:, j]).mean() > FEWEST_MISSING}

        def visit(node: Mapping[str, Any], above: tuple[Condition, ...], told_apart: bool) -> None:
            if "split_feature" not in node:
                return
            gain, below = node["split_gain"], above
            if node["split_feature"] == X.shape[1]:
                told_apart = True
                single.update(dict.fromkeys(above, gain))
                couples = combinations(sorted(set(above)), 2)
                pairs.update({(a, b): gain for a, b in couples if a.column != b.column})
            elif (condition := _condition(node, cuts, gaps)) is not None:
                below = (*above, condition)
                if told_apart:
                    single[condition] += gain
                    others = {other for other in above if other.column != condition.column}
                    pairs.update({(min(o, condition), max(o, condition)): gain for o in others})
            visit(node["left_child"], below, told_apart)
            visit(node["right_child"], below, told_apart)

        for tree in booster.dump_model()["tree_info"]:
            visit(tree["tree_structure"], (), False)
        # levels are functions of their own already
        cut = Counter({(one,): gain for one, gain in single.items() if one.rank >= 0})
        return cls([one for (one,) in _gathered(cut, SINGLE_APART)], _gathered(pairs, PAIR_APART))

    def beside(self, Z: Floats, X: Floats) -> Floats:
        """Append them to functions of the features: of a pair what its two conditions do only together.

        Parameters
        ----------
        Z : ndarray, shape (n, P)
            Functions of the features.
        X : ndarray, shape (n, p)
            Encoded features.

        Returns
        -------
        ndarray, shape (n, P + K)
            Rules have mean 0 and spread 1; those that next to all rows or next to none meet are left out.
        """
        out = np.empty((len(X), Z.shape[1] + len(self)))
        out[:, : Z.shape[1]] = Z
        at = Z.shape[1]
        for conditions in [*((c,) for c in self.single), *self.pairs]:
            column = np.ones(len(X))
            for condition in conditions:
                holds = condition.holds(X)
                column *= holds - holds.mean()
            column -= column.mean()
            spread = column.std()
            if spread > LEAST_SPREAD:
                out[:, at] = column / spread
                at += 1
        return out[:, :at]


def _gathered(found: Counter[Rule], apart: int) -> list[Rule]:
    """Return the rules credited most, each credited with what those near it were and standing for them."""
    centres: dict[tuple[int, ...], dict[Rule, float]] = {}
    for rule, gain in found.most_common():
        alike = centres.setdefault(tuple(c.column for c in rule), {})
        centre = next((o for o in alike if all(a.near(b, apart) for a, b in zip(rule, o, strict=True))), rule)
        alike[centre] = alike.get(centre, 0.0) + gain
    every = [(gain, rule) for alike in centres.values() for rule, gain in alike.items()]
    return [rule for _, rule in sorted(every, key=lambda one: -one[0])[:MOST]]


def _condition(node: Mapping[str, Any], cuts: Mapping[int, Floats], gaps: Collection[int]) -> Condition | None:
    """Read a node's condition, its cut moved to the nearest in rank; None where it is of several levels."""
    column, value = int(node["split_feature"]), node["threshold"]
    if column in cuts:
        # in rank, as trees cut counts half-way between two: "above the lower of them" says the same of all rows
        values = cuts[column]
        ranks = np.searchsorted(values, values[::STEP], side="right")
        nearest = int(np.argmin(np.abs(ranks - np.searchsorted(values, value, side="right"))))
        or_missing = column in gaps and not node["default_left"]
        return Condition(column, float(values[nearest * STEP]), int(ranks[nearest]), or_missing)
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
        For each fold, those found without it. Scales are found without it as well, so that it takes as many full fits as there
        are folds.

    Returns
    -------
    ndarray, shape (n, A)
    """
    out = np.empty((len(X), response.n_actions))
    for k, rules in zip(np.unique(fold), found, strict=True):
        held = fold == k
        functions = rules.beside(Z, X)
        curvature = curvatures(functions, response, held.astype(np.int8))[0]
        regression = EffectRegression(response.n_actions).fit(functions, response, curvature, held=held)
        out[held] = regression.effects(functions[held])
    return out
