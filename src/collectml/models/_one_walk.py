"""All settings in one walk: what a booster says of every action (or channel, or hour) for the price of asking once.

A shared booster reads the action as its last column. Asking it action by action walks every tree once for each action. Here each
tree is walked once for all of them: the leaves are bits of a word, each node strikes out the leaves a row cannot reach, and what
nodes on the action strike out is known beforehand for each action. Values are first turned into the number of thresholds below
them, a byte each, so that a node is one comparison of bytes for many rows at once. Leaves are added in the order of the trees, in
double precision: the result is that of ``Booster.predict`` to the last bit.
"""

from __future__ import annotations

import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, cast

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from collectml.models._byte_columns import Arrays, ByteColumns
from collectml.models._forest import (
    SIGMOID,
    Forest,
    Tree,
    UnsupportedForestError,
    goes_right,
    parse_forest,
)

__all__ = ["predict_rows", "predict_settings"]

Floats = NDArray[np.float64]

FEWEST_ROWS = 2_048  # below, asking setting by setting takes less time than loading the compiled walk
FEW_ASKED = 64  # rows times settings
BLOCK = 256  # rows walked together: their bytes and sums stay in the first caches
MOST_LEAVES = 64
MOST_SETTINGS = 64


def predict_settings(
    booster: lgb.Booster,
    X: Floats,
    settings: Floats,
    *,
    raw: bool = False,
    threads: int = 2,
    trees: int | None = None,
) -> Floats:
    """Ask a booster about every row under every setting of its last columns.

    Parameters
    ----------
    booster : lightgbm.Booster
        Trained on the columns of ``X`` followed by those of ``settings``.
    X : ndarray, shape (n, p)
        Encoded features.
    settings : ndarray, shape (S, m)
        Values of the last ``m`` columns: one row an action, say.
    raw : bool, default False
        Whether to return margins.
    threads : int
        Threads.
    trees : int, optional
        How many trees to ask; all that count where not given.

    Returns
    -------
    ndarray, shape (n, S)
        Equal, to the last bit, to ``booster.predict`` asked once for each setting.

    Notes
    -----
    Few rows, a machine without numba, and boosters the walk does not know (linear leaves, more than 64 leaves, objectives other
    than squared error and logistic) are asked setting by setting.

    References
    ----------
    Lucchese et al. (2015), QuickScorer: a fast algorithm to rank documents with additive ensembles of regression trees, SIGIR.
    """
    X, settings = np.ascontiguousarray(X, dtype=np.float64), np.atleast_2d(np.asarray(settings, dtype=np.float64))
    prepared = _prepared(booster, X.shape[1], settings) if len(X) >= FEWEST_ROWS else None
    kernel = _kernel() if prepared is not None else None
    if prepared is None or kernel is None:
        return _setting_by_setting(booster, X, settings, raw=raw, threads=threads, trees=trees)
    forest, arrays = prepared
    asked = booster.best_iteration if trees is None else trees
    n_trees = len(forest.trees) if asked <= 0 else min(asked, len(forest.trees))
    steepness = forest.steepness if forest.transform == SIGMOID and not raw else 0.0
    out = np.empty((len(X), len(settings)))

    def score(rows: slice) -> None:
        kernel(X[rows], *arrays, n_trees, BLOCK, steepness, out[rows])

    share = max(BLOCK, -(-len(X) // (4 * threads) // BLOCK) * BLOCK)  # whole blocks, a few parts a thread
    parts = [slice(start, start + share) for start in range(0, len(X), share)]
    if threads == 1:
        score(slice(None))
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(score, parts))
    return out


def predict_rows(
    booster: lgb.Booster, X: Floats, *, raw: bool = False, threads: int = 2, trees: int | None = None
) -> Floats:
    """Ask a booster about every row: the walk takes less time than LightGBM's own for one prediction, too.

    Parameters
    ----------
    booster : lightgbm.Booster
        Trained on the columns of ``X``.
    X, raw, threads, trees
        As in :func:`predict_settings`.

    Returns
    -------
    ndarray, shape (n,)
        Equal, to the last bit, to ``booster.predict``.
    """
    return predict_settings(booster, X, np.empty((1, 0)), raw=raw, threads=threads, trees=trees)[:, 0]


def _setting_by_setting(
    booster: lgb.Booster, X: Floats, settings: Floats, *, raw: bool, threads: int, trees: int | None
) -> Floats:
    """Ask the plain way, the oracle of the walk."""
    if len(X) * len(settings) <= FEW_ASKED:  # one call: for an account alone, calls are what takes the time
        rows = np.hstack([np.repeat(X, len(settings), axis=0), np.tile(settings, (len(X), 1))])
        few = booster.predict(rows, raw_score=raw, num_threads=1, num_iteration=trees)
        return np.asarray(few, dtype=np.float64).reshape(len(X), len(settings))
    out = np.empty((len(X), len(settings)))
    whole = np.empty((len(X), X.shape[1] + settings.shape[1]))
    whole[:, : X.shape[1]] = X
    for s, setting in enumerate(settings):
        whole[:, X.shape[1] :] = setting
        out[:, s] = cast("Floats", booster.predict(whole, raw_score=raw, num_threads=threads, num_iteration=trees))
    return out


@cache
def _kernel() -> Any:
    try:
        from collectml.models._walk_kernel import walk
    except ImportError:
        return None
    return walk


_CACHE: weakref.WeakKeyDictionary[lgb.Booster, dict[Any, tuple[Forest, Arrays] | None]] = weakref.WeakKeyDictionary()


def _prepared(booster: lgb.Booster, n_features: int, settings: Floats) -> tuple[Forest, Arrays] | None:
    """Read and lay out a booster once; None where it is not one for the walk."""
    known = _CACHE.setdefault(booster, {})
    key = (booster.current_iteration(), n_features, settings.shape, settings.tobytes())
    if key not in known:
        try:
            forest = parse_forest(booster)
            known[key] = (forest, _lay_out(forest, n_features, settings))
        except UnsupportedForestError:
            known[key] = None
    return known[key]


def _lay_out(forest: Forest, n_features: int, settings: Floats) -> Arrays:
    leaves = max((len(tree.leaf) for tree in forest.trees), default=1)
    if leaves > MOST_LEAVES or len(settings) > MOST_SETTINGS or forest.n_features != n_features + settings.shape[1]:
        raise UnsupportedForestError(f"{leaves} leaves, {len(settings)} settings, {forest.n_features} columns")
    word = np.dtype(np.uint32 if leaves <= 32 else np.uint64)
    columns = ByteColumns(forest, n_features)
    node_bounds, set_bounds, leaf_bounds = [0], [0], [0]
    nodes: list[tuple[int, int, int]] = []
    sets: list[tuple[int, int]] = []
    values: list[float] = []
    full = (1 << 8 * word.itemsize) - 1
    for tree in forest.trees:
        order, struck = _leaf_order(tree)
        own: list[tuple[int, int, int]] = []
        masks = [full] * len(settings)
        for node, feature in enumerate(tree.feature):
            if feature < n_features:
                own.append((*columns.code(tree, node), full & ~struck[node]))
                continue
            for s, setting in enumerate(settings):
                if goes_right(tree, node, float(setting[feature - n_features])):
                    masks[s] &= ~struck[node]
        nodes += sorted(own)  # nodes on one column follow each other: its bytes are read once
        together: dict[int, int] = {}
        for s, mask in enumerate(masks):
            together[mask] = together.get(mask, 0) | 1 << s
        sets += together.items()
        values += tree.leaf[order].tolist()
        node_bounds.append(len(nodes))
        set_bounds.append(len(sets))
        leaf_bounds.append(len(values))
    table = np.array(nodes, dtype=object).reshape(-1, 3)
    members = np.array(sets, dtype=object).reshape(-1, 2)
    return (
        *columns.arrays(),
        np.array(node_bounds),
        table[:, 0].astype(np.int64),
        table[:, 1].astype(np.uint8),
        table[:, 2].astype(word),
        np.array(set_bounds),
        members[:, 0].astype(word),
        members[:, 1].astype(np.uint64),
        np.array(leaf_bounds),
        np.array(values),
    )


def _leaf_order(tree: Tree) -> tuple[list[int], list[int]]:
    """Leaves from left to right, and the bits of each node's left side."""
    order: list[int] = []
    struck = [0] * len(tree.feature)

    def visit(child: int) -> None:
        if child < 0:
            order.append(-child - 1)
            return
        before = len(order)
        visit(int(tree.left[child]))
        struck[child] = (1 << len(order)) - (1 << before)
        visit(int(tree.right[child]))

    visit(0 if len(tree.feature) else -1)
    return order, struck
