"""Rows as bytes: every node of a forest becomes one comparison of bytes, for many rows at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectml.models._forest import MISSING_NAN, MISSING_ZERO, Forest, Tree

__all__ = ["Arrays", "ByteColumns"]

Arrays = tuple[NDArray[Any], ...]  # in the order of a kernel's arguments

NEVER = 3


class ByteColumns:
    """The bytes nodes compare: for numbers a rank among the forest's thresholds, for levels whether they go right.

    A numerical column has a byte for each way missing values go and each 255 thresholds; a column of levels one for each set of
    levels that a node asks for.
    """

    def __init__(self, forest: Forest, n_features: int) -> None:
        thresholds: dict[int, set[float]] = {}
        largest: dict[int, int] = {}
        wanted: set[tuple[int, int, int, int]] = set()
        sets: set[tuple[int, frozenset[int]]] = set()
        for tree in forest.trees:
            for node, feature in enumerate(map(int, tree.feature)):
                if feature >= n_features:
                    continue
                if tree.is_categorical(node):
                    sets.add((feature, tree.levels[node]))
                    largest[feature] = max(largest.get(feature, 0), *tree.levels[node], 0)
                else:
                    thresholds.setdefault(feature, set()).add(float(tree.threshold[node]))
        self._cuts = {feature: np.array(sorted(values)) for feature, values in sorted(thresholds.items())}
        for tree in forest.trees:
            for node, feature in enumerate(map(int, tree.feature)):
                if feature < n_features and not tree.is_categorical(node):
                    wanted.add((feature, self._rank(tree, node) // 255 * 255, *_missing_rule(tree, node)))
        self._numbers = {key: v for v, key in enumerate(sorted(wanted))}
        ordered = sorted(sets, key=lambda s: (s[0], sorted(s[1])))
        self._sets = {key: len(self._numbers) + v for v, key in enumerate(ordered)}
        self._largest = largest

    def code(self, tree: Tree, node: int) -> tuple[int, int]:
        """Which byte a node reads, and above which value it goes right."""
        feature = int(tree.feature[node])
        if tree.is_categorical(node):
            return self._sets[feature, tree.levels[node]], 0
        rank = self._rank(tree, node)
        return self._numbers[feature, rank // 255 * 255, *_missing_rule(tree, node)], rank % 255

    def arrays(self) -> Arrays:
        """Give what the kernel needs to make the bytes."""
        position = {feature: i for i, feature in enumerate(self._cuts)}
        cuts = [np.zeros(0), *self._cuts.values()]
        number_codes = [(position[feature], *rest) for feature, *rest in self._numbers]
        levels, tables, starts, size = [], [np.zeros(0, dtype=np.uint8)], [], 0
        for feature, members in self._sets:
            table = np.ones(self._largest[feature] + 2, dtype=np.uint8)
            table[sorted(members)] = 0
            levels.append((feature, len(table) - 1))
            starts.append(size)
            tables.append(table)
            size += len(table)
        return (
            np.array(list(self._cuts), dtype=np.int64),
            np.concatenate(cuts),
            np.cumsum([len(c) for c in cuts], dtype=np.int64),
            np.array(number_codes, dtype=np.int64).reshape(-1, 4),
            np.array(levels, dtype=np.int64).reshape(-1, 2),
            np.concatenate(tables),
            np.array(starts, dtype=np.int64),
        )

    def _rank(self, tree: Tree, node: int) -> int:
        return int(np.searchsorted(self._cuts[int(tree.feature[node])], tree.threshold[node]))


def _missing_rule(tree: Tree, node: int) -> tuple[int, int]:
    """From which kind of value on (1: zero, 2: missing) the default counts, and the byte that goes that way."""
    kind = tree.missing(node)
    since = {MISSING_ZERO: 1, MISSING_NAN: 2}.get(kind, NEVER)
    return since, 0 if since == NEVER or tree.default_left(node) else 255
