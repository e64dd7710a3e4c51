"""A booster's trees as flat arrays, read from LightGBM's own text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

__all__ = ["IDENTITY", "SIGMOID", "Forest", "Tree", "UnsupportedForestError", "goes_right", "parse_forest"]

IDENTITY, SIGMOID = "identity", "sigmoid"
CATEGORICAL, DEFAULT_LEFT = 1, 2
MISSING_NONE, MISSING_ZERO, MISSING_NAN = 0, 1, 2
# LightGBM takes smaller values for zero; its constant is a float, so its double is not 1e-35
ZERO = float(np.float32(1e-35))


class UnsupportedForestError(ValueError):
    """The booster holds something that is not read here: linear leaves, several classes, an objective of its own."""


@dataclass(frozen=True)
class Tree:
    """One tree. Nodes are numbered from 0, the root first; a child below 0 is leaf ``-child - 1``.

    Parameters
    ----------
    feature : ndarray of int, shape (m,)
        Column a node splits on.
    threshold : ndarray, shape (m,)
        Numerical nodes send ``value <= threshold`` left.
    decision : ndarray of int, shape (m,)
        LightGBM's decision type: categorical, default left, kind of missing value.
    left, right : ndarray of int, shape (m,)
        Children.
    levels : dict of int to frozenset of int
        Codes that categorical nodes send left.
    leaf : ndarray, shape (m + 1,)
        Leaf values.
    rows : ndarray of int, shape (m,)
        Training rows that came to each node.
    leaf_rows : ndarray of int, shape (m + 1,)
        Training rows that came to each leaf.
    """

    feature: NDArray[np.intp]
    threshold: NDArray[np.float64]
    decision: NDArray[np.intp]
    left: NDArray[np.intp]
    right: NDArray[np.intp]
    levels: Mapping[int, frozenset[int]]
    leaf: NDArray[np.float64]
    rows: NDArray[np.intp]
    leaf_rows: NDArray[np.intp]

    def is_categorical(self, node: int) -> bool:
        """Whether a node splits by levels."""
        return bool(self.decision[node] & CATEGORICAL)

    def default_left(self, node: int) -> bool:
        """Whether missing values go left."""
        return bool(self.decision[node] & DEFAULT_LEFT)

    def missing(self, node: int) -> int:
        """Which values are missing: none, zero (and NaN), or NaN."""
        return int(self.decision[node]) >> 2 & 3


@dataclass(frozen=True)
class Forest:
    """All trees of a booster.

    Parameters
    ----------
    trees : tuple of Tree
        In the order in which they are added.
    n_features : int
        Columns it was trained on.
    transform : str
        What turns a margin into a prediction: nothing, or the logistic function.
    steepness : float
        LightGBM's ``sigmoid`` parameter.
    """

    trees: tuple[Tree, ...]
    n_features: int
    transform: str
    steepness: float


def goes_right(tree: Tree, node: int, value: float) -> bool:
    """Decide as LightGBM does which way a value goes.

    Parameters
    ----------
    tree : Tree
        The tree.
    node : int
        The node.
    value : float
        The value of the node's column; may be missing.

    Returns
    -------
    bool
    """
    if tree.is_categorical(node):
        # codes are cut towards zero, so that -0.5 is level 0; missing and negative ones belong to no set
        return not (np.isfinite(value) and value > -1 and int(value) in tree.levels[node])
    kind = tree.missing(node)
    value = 0.0 if abs(value) <= ZERO or (np.isnan(value) and kind != MISSING_NAN) else value
    if (kind == MISSING_ZERO and value == 0) or np.isnan(value):
        return not tree.default_left(node)
    return bool(value > tree.threshold[node])


def parse_forest(booster: lgb.Booster) -> Forest:
    """Read every tree of a booster.

    Parameters
    ----------
    booster : lightgbm.Booster
        Any booster of one output whose leaves are constants.

    Returns
    -------
    Forest

    Raises
    ------
    UnsupportedForestError
        Where it holds anything else.
    """
    text = str(booster.model_to_string(num_iteration=-1, importance_type="gain"))
    head, *blocks = text.partition("\nend of trees")[0].split("\nTree=")
    fields = dict(line.partition("=")[::2] for line in head.splitlines())
    objective = fields.get("objective", "").split()
    if fields.get("num_tree_per_iteration") != "1" or "average_output" in fields or not objective:
        raise UnsupportedForestError("several outputs, averaged trees, or no objective")
    options = dict(part.partition(":")[::2] for part in objective[1:])
    if objective[0] == "binary":
        transform = SIGMOID
    elif objective[0] == "regression" and len(objective) == 1:
        transform = IDENTITY
    else:
        raise UnsupportedForestError(f"objective {' '.join(objective)}")
    trees = tuple(_tree(dict(line.partition("=")[::2] for line in block.splitlines())) for block in blocks)
    return Forest(trees, int(fields["max_feature_idx"]) + 1, transform, float(options.get("sigmoid", 1.0)))


def _tree(fields: Mapping[str, str]) -> Tree:
    if fields.get("is_linear", "0") != "0":
        raise UnsupportedForestError("linear leaves")
    leaf = np.array(fields["leaf_value"].split(), dtype=np.float64)
    if int(fields["num_leaves"]) == 1:
        none = np.zeros(0, dtype=np.intp)
        return Tree(none, np.zeros(0), none, none, none, {}, leaf, none, np.ones(1, dtype=np.intp))
    feature, decision, left, right, rows, leaf_rows = (
        np.array(fields[name].split(), dtype=np.intp)
        for name in ("split_feature", "decision_type", "left_child", "right_child", "internal_count", "leaf_count")
    )
    threshold = np.array(fields["threshold"].split(), dtype=np.float64)
    levels: dict[int, frozenset[int]] = {}
    if int(fields["num_cat"]):
        bounds = [int(b) for b in fields["cat_boundaries"].split()]
        words = [int(w) for w in fields["cat_threshold"].split()]
        for node in np.flatnonzero(decision & CATEGORICAL):
            at = int(threshold[node])
            own = words[bounds[at] : bounds[at + 1]]
            levels[int(node)] = frozenset(32 * i + bit for i, word in enumerate(own) for bit in range(32) if word >> bit & 1)
    return Tree(feature, threshold, decision, left, right, levels, leaf, rows, leaf_rows)
