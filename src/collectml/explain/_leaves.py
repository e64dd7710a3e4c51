"""Exact contributions leaf by leaf, for many rows at once.

What a leaf gives to the features of its path depends on the row only through which of them it satisfies: a few bits. For a block of
rows those bits are found by comparing bytes, what each pattern of bits is worth is worked out once, and every row of the pattern gets
it. The value of a pattern is Shapley's: weights of coalitions are integrals of powers of t and 1 - t, so the sum over coalitions is the
integral of a product with one factor a feature, and the rule of Gauss and Legendre takes it exactly.

Between two settings of the last column (two actions, say) leaves that admit both or neither give the same, and drop out; of the others
the difference has one factor t in place of the column's own. So an action against the control costs less than an explanation.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from collectml.models._byte_columns import Arrays, ByteColumns
from collectml.models._forest import Forest, Tree, UnsupportedForestError, goes_right, parse_forest

__all__ = ["LeafPaths", "leaf_paths"]

Floats = NDArray[np.float64]

BLOCK = 2_048  # rows walked together
MOST_FEATURES = 16  # different ones on a path
Step = tuple[int, bool]  # a node, and whether the path goes right there


@dataclass(frozen=True)
class LeafPaths:
    """The paths to all leaves of a booster, laid out for the kernel.

    Parameters
    ----------
    columns : tuple of ndarray
        What turns rows into bytes.
    paths : tuple of ndarray
        Conditions, features and cover ratios of each leaf.
    base : float
        Mean of the trees over the rows they were trained on.
    width : int
        Columns of a row, the setting not counted.
    steps : list of (Tree, list of (int, bool)), or None
        By leaf, the nodes that ask for the setting; None where there is no such column.
    """

    columns: Arrays
    paths: Arrays
    base: float
    width: int
    steps: list[tuple[Tree, list[Step]]] | None
    _admits: dict[float, NDArray[np.int8]] = field(default_factory=dict)

    def contributions(self, X: Floats, *, threads: int) -> Floats:
        """Explain rows.

        Parameters
        ----------
        X : ndarray, shape (n, p)
            Encoded rows.
        threads : int
            Threads; results do not depend on it.

        Returns
        -------
        ndarray, shape (n, p)
        """
        leaves = np.arange(len(self.paths[-1]))
        out = np.empty((len(X), self.width))
        self._add(X, leaves, np.ones(len(leaves), dtype=np.int8), out, threads)
        return out

    def differences(self, X: Floats, first: Floats, second: Floats, *, threads: int) -> Floats:
        """Explain what one setting of the last column gives beyond another.

        Parameters
        ----------
        X : ndarray, shape (n, p)
            Encoded rows without the setting.
        first, second : ndarray, shape (n,)
            The two settings of each row.
        threads : int
            Threads; results do not depend on it.

        Returns
        -------
        ndarray, shape (n, p + 1)
            The last column is the setting's own.
        """
        out = np.zeros((len(X), self.width + 1))
        pairs, which = np.unique(np.column_stack([first, second]), axis=0, return_inverse=True)
        for k, (a, b) in enumerate(pairs):
            sign = self._admitted(float(a)) - self._admitted(float(b))
            leaves, rows = np.flatnonzero(sign), np.flatnonzero(which == k)
            if len(leaves):
                part = np.empty((len(rows), self.width + 1))
                self._add(X[rows], leaves, sign[leaves], part, threads)
                out[rows] = part
        return out

    def _add(self, X: Floats, leaves: NDArray[np.intp], sign: NDArray[np.int8], out: Floats, threads: int) -> None:
        def add(rows: slice) -> None:
            _kernel()(X[rows], *self.columns, *self.paths, *_rule(), self.steps is not None, leaves, sign, BLOCK, out[rows])

        share = max(1, -(-len(X) // threads))
        parts = [slice(start, start + share) for start in range(0, len(X), share)]
        if len(parts) <= 1:
            add(slice(None))
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(add, parts))

    def _admitted(self, value: float) -> NDArray[np.int8]:
        """Say of each leaf whether a setting can reach it."""
        if value not in self._admits:
            assert self.steps is not None  # noqa: S101  (asked only where there is a setting)
            admits = [all(goes_right(tree, node, value) == right for node, right in path) for tree, path in self.steps]
            self._admits[value] = np.array(admits, dtype=np.int8)
        return self._admits[value]


_CACHE: weakref.WeakKeyDictionary[lgb.Booster, dict[Any, LeafPaths | None]] = weakref.WeakKeyDictionary()


def leaf_paths(booster: lgb.Booster, *, setting: bool) -> LeafPaths | None:
    """Lay a booster out, once.

    Parameters
    ----------
    booster : lightgbm.Booster
        Any.
    setting : bool
        Whether the last column is a setting, of which differences are wanted.

    Returns
    -------
    LeafPaths or None
        None where it cannot be laid out: several outputs, another objective than squared error and logistic, a path of more than
        16 features; and on a machine without numba.
    """
    known = _CACHE.setdefault(booster, {})
    key = (booster.current_iteration(), booster.best_iteration, setting)
    if key not in known:
        try:
            forest = parse_forest(booster)
            trees = forest.trees[: booster.best_iteration] if booster.best_iteration > 0 else forest.trees
            known[key] = None if _kernel() is None else _lay_out(forest, trees, setting)
        except UnsupportedForestError:
            known[key] = None
    return known[key]


@cache
def _kernel() -> Any:
    try:
        from collectml.explain._leaf_kernel import add_leaves
    except ImportError:
        return None
    return add_leaves


@cache
def _rule() -> tuple[Floats, Floats]:
    """Nodes and weights on (0, 1) that integrate polynomials of each degree below 17 exactly."""
    nodes, weights = np.zeros((MOST_FEATURES + 2, 9)), np.zeros((MOST_FEATURES + 2, 9))
    for d in range(1, MOST_FEATURES + 2):
        at, weight = np.polynomial.legendre.leggauss((d + 1) // 2)
        nodes[d, : len(at)], weights[d, : len(at)] = (at + 1) / 2, weight / 2
    return nodes, weights


def _lay_out(forest: Forest, trees: tuple[Tree, ...], setting: bool) -> LeafPaths:
    width = forest.n_features - setting
    columns = ByteColumns(forest, width)
    base = 0.0
    conditions: list[tuple[int, int, int, int]] = []
    features: list[int] = []
    ratios: list[float] = []
    values: list[float] = []
    condition_bounds, feature_bounds = [0], [0]
    asked: list[tuple[Tree, list[Step]]] = []
    for tree in trees:
        base += float(tree.leaf @ tree.leaf_rows) / float(tree.leaf_rows.sum())
        feature = tree.feature.tolist()
        codes = [columns.code(tree, node) if feature[node] < width else (0, 0) for node in range(len(feature))]
        for leaf, path in _paths(tree):
            of_setting = [(node, right) for node, right, _ in path if feature[node] >= width]
            if setting and not of_setting:
                continue  # gives the same under every setting
            cover: dict[int, float] = {}
            spans: dict[tuple[int, int], tuple[int, int]] = {}
            for node, right, share in path:
                column = feature[node]
                if column < width:
                    cover[column] = cover.get(column, 1.0) * share
                    code, cut = codes[node]
                    least, most = spans.get((column, code), (0, 255))
                    spans[column, code] = (max(least, cut + 1), most) if right else (least, min(most, cut))
            if len(cover) > MOST_FEATURES:
                raise UnsupportedForestError(f"a path of {len(cover)} features")
            bit = {column: j for j, column in enumerate(cover)}
            conditions += [(code, *span, 0xFFFF & ~(1 << bit[column])) for (column, code), span in spans.items()]
            features += cover
            ratios += cover.values()
            values.append(float(tree.leaf[leaf]))
            asked.append((tree, of_setting))
            condition_bounds.append(len(conditions))
            feature_bounds.append(len(features))
    table = np.array(conditions, dtype=np.int64).reshape(-1, 4)
    paths = (
        np.array(condition_bounds),
        table[:, 0].copy(),
        table[:, 1].astype(np.uint8),
        table[:, 2].astype(np.uint8),
        table[:, 3].astype(np.uint16),
        np.array(feature_bounds),
        np.array(features, dtype=np.int64),
        np.array(ratios, dtype=np.float64),
        np.array(values, dtype=np.float64),
    )
    return LeafPaths(columns.arrays(), paths, base, width, asked if setting else None)


def _paths(tree: Tree) -> Iterator[tuple[int, list[tuple[int, bool, float]]]]:
    """Go through the leaves from left to right, each with its path: node, whether right, share of the training rows that went so."""
    left, right, rows, leaf_rows = (a.tolist() for a in (tree.left, tree.right, tree.rows, tree.leaf_rows))
    waiting: list[tuple[int, list[tuple[int, bool, float]]]] = [(0 if left else -1, [])]
    while waiting:
        at, path = waiting.pop()
        if at < 0:
            yield -at - 1, path
            continue
        for child, goes in ((right[at], True), (left[at], False)):
            share = (leaf_rows[-child - 1] if child < 0 else rows[child]) / rows[at]
            waiting.append((child, [*path, (at, goes, share)]))
