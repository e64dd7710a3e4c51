"""The search for trees against every tree there is, and against policytree's own fixture."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from collectml.policy.tree_search import best_tree


def all_one_split(rewards, ranks, min_leaf):
    """The best of no split and of every split, by looking at each."""
    best = rewards.sum(axis=0).max() if len(rewards) >= min_leaf else -np.inf
    for f in range(ranks.shape[1]):
        for t in np.unique(ranks[:, f])[:-1]:
            left = ranks[:, f] <= t
            if min(left.sum(), (~left).sum()) >= min_leaf:
                best = max(best, rewards[left].sum(axis=0).max() + rewards[~left].sum(axis=0).max())
    return best


def all_two_splits(rewards, ranks, min_leaf):
    best = all_one_split(rewards, ranks, min_leaf)
    for f in range(ranks.shape[1]):
        for t in np.unique(ranks[:, f])[:-1]:
            left = ranks[:, f] <= t
            best = max(best, sum(all_one_split(rewards[m], ranks[m], min_leaf) for m in (left, ~left)))
    return best


@pytest.mark.parametrize("seed", range(40))
def test_no_tree_of_two_splits_is_better(seed):
    rng = np.random.default_rng(seed)
    n, p, actions = int(rng.integers(2, 36)), int(rng.integers(1, 5)), int(rng.integers(2, 5))
    ranks = rng.integers(0, rng.integers(2, 20), (n, p))
    rewards = rng.normal(size=(n, actions)) + (ranks[:, :1] > 3) * rng.normal(size=actions)
    if seed % 3 == 0:
        rewards = np.round(rewards)  # ties
    for min_leaf in (1, 3):
        if n < min_leaf:
            continue
        found = best_tree(rewards, ranks, depth=2, min_leaf=min_leaf)
        assert found.exact
        assert found.reward == pytest.approx(all_two_splits(rewards, ranks, min_leaf), abs=1e-9)
        action = found.tree.decide(ranks)
        assert rewards[np.arange(n), action].sum() == pytest.approx(found.reward, abs=1e-9)
        one = best_tree(rewards, ranks, depth=1, min_leaf=min_leaf)
        assert one.reward == pytest.approx(all_one_split(rewards, ranks, min_leaf), abs=1e-9)


def test_a_search_that_is_cut_off_says_so_at_any_depth(monkeypatch):
    """Noise in ten fields: forty thresholds are tried before any bound is looked at, and proving the best takes more."""
    rng = np.random.default_rng(0)
    rewards, ranks = rng.normal(size=(60, 3)), np.argsort(rng.random((60, 10)), axis=0)
    whole = [best_tree(rewards, ranks, depth=d) for d in (2, 3)]
    assert [w.exact for w in whole] == [True, True]
    monkeypatch.setattr("collectml.policy.tree_search.MOST_TRIALS", 40)
    cut = [best_tree(rewards, ranks, depth=d) for d in (2, 3)]
    assert [c.exact for c in cut] == [False, False]
    assert cut[0].reward <= whole[0].reward
    for c in cut:
        assert c.reward == pytest.approx(rewards[np.arange(60), c.tree.decide(ranks)].sum())


def test_deeper_is_better_and_leaves_are_large_enough():
    rng = np.random.default_rng(0)
    ranks = rng.integers(0, 50, (600, 4))
    signs = (ranks[:, 0] > 20).astype(int) ^ (ranks[:, 1] > 30).astype(int) ^ (ranks[:, 2] > 10).astype(int)
    rewards = np.column_stack([signs, 1 - signs]) + rng.normal(0, 0.2, (600, 2))
    rewards_by_depth = [best_tree(rewards, ranks, depth=d, min_leaf=20).reward for d in range(5)]
    assert all(b >= a - 1e-9 for a, b in itertools.pairwise(rewards_by_depth))
    found = best_tree(rewards, ranks, depth=4, min_leaf=20)
    assert found.exact
    assert found.reward > 0.8 * rewards.max(axis=1).sum()

    def sizes(branch, rows):
        if branch.yes is None:
            return [len(rows)]
        left = ranks[rows, branch.field] <= branch.rank
        return sizes(branch.yes, rows[left]) + sizes(branch.no, rows[~left])

    assert min(sizes(found.tree, np.arange(600))) >= 20


def test_the_published_fixture_of_policytree():
    """500 rows, 10 fields, 3 classes: the exact tree of two splits earns 2.166 a row (policytree's own test data)."""
    folder = os.environ.get("COLLECTML_POLICYTREE")
    if not folder:
        pytest.skip("COLLECTML_POLICYTREE is not set: r-package/policytree/tests/testthat/data of policytree's repository")
    X, Y, exact = (pd.read_csv(Path(folder) / f"data_clf_{name}.csv").to_numpy() for name in ("X", "Y", "exact"))
    ranks = np.column_stack([np.unique(x, return_inverse=True)[1] for x in X.T])
    found = best_tree(Y, ranks, depth=2)
    assert found.exact
    assert found.reward / len(Y) == pytest.approx(2.166, abs=5e-4)
    theirs = Y[np.arange(len(Y)), exact.ravel().astype(int) - 1].mean()
    assert found.reward / len(Y) == pytest.approx(theirs, abs=1e-12)
    assert Y.mean(axis=0).max() == pytest.approx(1.380, abs=5e-4)
