"""The best tree of two splits, exactly: every field, every threshold, every pair of actions; deeper trees by looking two splits ahead.

The reward of a set of rows under its best tree of one split is found in one pass over each sorted field. Roots are searched
best first: of all thresholds between two that were tried, none can be worth more than the best trees of what surely lies to
their left and right, plus the best action of every row in between. What that bound cannot beat is never tried.
"""

from __future__ import annotations

import functools
import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Branch", "Found", "best_tree"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

FIRST = 4  # thresholds of each field that are tried before anything else, for a good tree to compare with
MOST_TRIALS = 5_000


@dataclass(frozen=True)
class Branch:
    """A split: rows whose rank in a field is at most `rank` go to `yes`; or a leaf, which has an action.

    Parameters
    ----------
    field : int
        Column of the ranks; -1 in a leaf.
    rank : int
        The threshold.
    action : int
        Of a leaf; -1 in a split.
    yes, no : Branch or None
        What follows a split.
    """

    field: int = -1
    rank: int = -1
    action: int = -1
    yes: Branch | None = None
    no: Branch | None = None

    def decide(self, ranks: NDArray[np.integer]) -> Ints:
        """Give every row its leaf's action.

        Parameters
        ----------
        ranks : ndarray of int, shape (n, p)
            As in :func:`best_tree`.

        Returns
        -------
        ndarray of int, shape (n,)
        """
        if self.yes is None or self.no is None:
            return np.full(len(ranks), self.action, dtype=np.intp)
        left = ranks[:, self.field] <= self.rank
        out = np.empty(len(ranks), dtype=np.intp)
        out[left], out[~left] = self.yes.decide(ranks[left]), self.no.decide(ranks[~left])
        return out


@dataclass(frozen=True)
class Found:
    """The best tree that was found.

    Parameters
    ----------
    tree : Branch
        The tree.
    reward : float
        Sum of the rewards of its rows.
    exact : bool
        Whether every search for two splits ran to its end. Then no tree of up to two splits has more, and a deeper one is the
        best that looking two splits ahead finds; a search that would take too long is cut off, and its best so far kept.
    """

    tree: Branch
    reward: float
    exact: bool


def best_tree(rewards: Floats, ranks: NDArray[np.integer], *, depth: int = 2, min_leaf: int = 1) -> Found:
    """Find the tree that gives every row one action so that the sum of rewards is greatest.

    Parameters
    ----------
    rewards : ndarray, shape (n, A)
        What every action is worth for every row.
    ranks : ndarray of int, shape (n, p)
        Fields as ranks 0, 1, 2 ... of their values; equal values share a rank.
    depth : int, default 2
        Splits on the way to a leaf, at most. Beyond two the first split is that of the best tree of two, and so on.
    min_leaf : int, default 1
        Rows a leaf has at least.

    Returns
    -------
    Found

    References
    ----------
    Zhou, Athey & Wager (2023), Offline multi-action policy learning: generalization and optimization, Operations Research
    71(1). Sverdrup et al. (2020), policytree, JOSS 5(50): the hybrid of exact and greedy search.

    Examples
    --------
    >>> rewards = np.array([[1.0, 0.0], [0.0, 3.0], [0.0, 3.0], [1.0, 0.0]])
    >>> found = best_tree(rewards, np.array([[0], [1], [2], [3]]))
    >>> found.reward, found.tree.decide(np.array([[0], [1], [2], [3]])).tolist()
    (8.0, [0, 1, 1, 0])
    """
    rewards = np.ascontiguousarray(rewards, dtype=np.float64)
    ranks = np.ascontiguousarray(ranks, dtype=np.int64)
    if depth == 0 or len(rewards) < 2 * min_leaf or ranks.shape[1] == 0:
        total = rewards.sum(axis=0)
        return Found(Branch(action=int(total.argmax())), float(total.max()), True)
    if depth == 1:
        return _Search(rewards, ranks, min_leaf).one_split()
    found = _Search(rewards, ranks, min_leaf).two_splits()
    if depth == 2 or found.tree.yes is None:
        return found
    left = ranks[:, found.tree.field] <= found.tree.rank
    yes, no = (best_tree(rewards[m], ranks[m], depth=depth - 1, min_leaf=min_leaf) for m in (left, ~left))
    exact = found.exact and yes.exact and no.exact
    return Found(Branch(found.tree.field, found.tree.rank, yes=yes.tree, no=no.tree), yes.reward + no.reward, exact)


class _Search:
    """The state of one search: sorted fields, what was tried, the best so far."""

    def __init__(self, rewards: Floats, ranks: NDArray[np.integer], min_leaf: int) -> None:
        self.rewards, self.min_leaf = rewards, min_leaf
        # ranks without gaps, so that thresholds can be counted
        self.values = [np.unique(column) for column in ranks.T]
        self.dense = np.ascontiguousarray(
            [np.searchsorted(v, column) for v, column in zip(self.values, ranks.T, strict=True)], dtype=np.int64
        )
        self.order = np.argsort(self.dense, axis=1, kind="stable")
        self.kernel = _kernel()
        self.side = np.zeros(len(rewards), dtype=np.int8)

    def tried(self, field: int, rank: int) -> tuple[Floats, Floats, Ints]:
        """Return, for both sides of a threshold, the best reward with leaves large enough, without that, and its tree."""
        np.greater(self.dense[field], rank, out=self.side, casting="unsafe")
        best, free, tree = self.kernel(self.rewards, self.dense, self.order, self.side, self.min_leaf)
        return best, free, tree

    def branch(self, tree: Ints) -> Branch:
        """Write a tree of one split, given as field, rank and two actions."""
        field, rank, yes, no = (int(x) for x in tree)
        if field < 0 or yes == no:
            return Branch(action=no)
        return Branch(field, int(self.values[field][rank]), yes=Branch(action=yes), no=Branch(action=no))

    def one_split(self) -> Found:
        best, _, tree = self.tried(0, len(self.values[0]))
        return Found(self.branch(tree[0]), float(best[0]), True)

    def two_splits(self) -> Found:
        """Search roots best first until no bound passes the best tree."""
        best, free, tree = self.tried(0, len(self.values[0]))
        reward, root = float(best[0]), (-1, -1, tree.copy())
        whole = float(free[0])
        top = self.rewards.max(axis=1)
        heap: list[tuple[float, int, int, int, float, float]] = []
        # rows and best actions up to and including each rank
        rows = [np.bincount(d) for d in self.dense]
        count = [np.concatenate([[0], np.cumsum(r)]) for r in rows]
        most = [np.concatenate([[0.0], np.cumsum(np.bincount(d, top))]) for d in self.dense]

        def open_up(field: int, low: int, high: int, left: float, right: float) -> None:
            """Put the thresholds strictly between two on the heap; `left` and `right` bound what surely lies outside."""
            if high - low > 1:
                between = most[field][high + 1] - most[field][low + 1]
                heapq.heappush(heap, (-(left + right + between), field, low, high, left, right))

        trials = 0

        def attempt(field: int, rank: int) -> Floats:
            nonlocal reward, root, trials
            trials += 1
            best, free, tree = self.tried(field, rank)
            if best.sum() > reward + 1e-12 * abs(reward):
                reward, root = float(best.sum()), (field, rank, tree.copy())
            return free

        for field, values in enumerate(self.values):
            last = len(values) - 1
            marks = np.searchsorted(count[field][1:], np.arange(1, FIRST + 1) * len(top) / (FIRST + 1))
            ends = [-1, *(int(m) for m in np.unique(np.clip(marks, 0, last - 1)) if last > 0), last]
            sides = [
                (0.0, whole),
                *((float(f[0]), float(f[1])) for f in (attempt(field, r) for r in ends[1:-1])),
                (whole, 0.0),
            ]
            for i in range(len(ends) - 1):
                open_up(field, ends[i], ends[i + 1], sides[i][0], sides[i + 1][1])
        while heap and -heap[0][0] > reward + 1e-9 * max(1.0, abs(reward)) and trials < MOST_TRIALS:
            _, field, low, high, left, right = heapq.heappop(heap)
            middle = (count[field][low + 1] + count[field][high]) / 2
            rank = int(np.clip(np.searchsorted(count[field][1:], middle), low + 1, high - 1))
            sure = attempt(field, rank)
            open_up(field, low, rank, left, float(sure[1]))
            open_up(field, rank, high, float(sure[0]), right)
        exact = not heap or bool(-heap[0][0] <= reward + 1e-9 * max(1.0, abs(reward)))
        field, rank, tree = root
        if field < 0:
            return Found(self.branch(tree[0]), reward, exact)
        split = Branch(field, int(self.values[field][rank]), yes=self.branch(tree[0]), no=self.branch(tree[1]))
        return Found(split, reward, exact)


@functools.cache
def _kernel() -> Callable[..., Any]:
    """Compile the pass over all fields: the best tree of one split for the rows of either side."""
    from collectml.machine_code import machine_code  # numba takes a second to load, and only trees need it

    @machine_code
    def best_splits(rewards, ranks, order, side, min_leaf):  # type: ignore[no-untyped-def]
        n, actions = rewards.shape
        total, size = np.zeros((2, actions)), np.zeros(2, dtype=np.int64)
        for i in range(n):
            size[side[i]] += 1
            for a in range(actions):
                total[side[i], a] += rewards[i, a]
        best, free = np.empty(2), np.empty(2)
        tree = np.full((2, 4), -1, dtype=np.intp)
        for s in range(2):
            top = 0
            for a in range(1, actions):
                if total[s, a] > total[s, top]:
                    top = a
            free[s] = total[s, top]
            best[s] = total[s, top] if size[s] >= min_leaf else -np.inf
            tree[s, 3] = top
        prefix, seen, moved = np.zeros((2, actions)), np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.bool_)
        for f in range(len(ranks)):
            prefix[:] = 0.0
            seen[:] = 0
            moved[:] = False
            for j in range(n):
                i = order[f, j]
                s = side[i]
                seen[s] += 1
                moved[s] = True
                for a in range(actions):
                    prefix[s, a] += rewards[i, a]
                if j + 1 < n and ranks[f, order[f, j + 1]] == ranks[f, i]:
                    continue
                for t in range(2):
                    if not moved[t] or seen[t] == size[t]:
                        continue
                    moved[t] = False
                    low, high = prefix[t, 0], total[t, 0] - prefix[t, 0]
                    for a in range(1, actions):
                        low = max(low, prefix[t, a])
                        high = max(high, total[t, a] - prefix[t, a])
                    value = low + high
                    if value > free[t]:
                        free[t] = value
                    if value > best[t] and seen[t] >= min_leaf and size[t] - seen[t] >= min_leaf:
                        best[t] = value
                        tree[t, 0], tree[t, 1] = f, ranks[f, i]
                        for a in range(actions):
                            if prefix[t, a] == low:
                                tree[t, 2] = a
                                break
                        for a in range(actions):
                            if total[t, a] - prefix[t, a] == high:
                                tree[t, 3] = a
                                break
        return best, free, tree

    return best_splits
