"""Folds: every customer in one, every stratum in all, whatever the make-up of the portfolio."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectml.models._folds import make_folds


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    customers=st.integers(1, 60),
    largest=st.integers(1, 40),
    n_actions=st.integers(1, 6),
    k=st.integers(2, 7),
    seed=st.integers(0, 2**31),
)
def test_customers_never_straddle_folds(customers, largest, n_actions, k, seed):
    rng = np.random.default_rng(seed)
    customer = rng.permutation(np.repeat(np.arange(customers), rng.integers(1, largest + 1, customers)))
    action = rng.integers(n_actions, size=len(customer))
    folds = make_folds(len(customer), k=k, groups=customer, stratify=action, random_state=seed)
    assert pd.Series(folds).groupby(customer).nunique().eq(1).all()
    assert folds.dtype == np.int8
    assert ((folds >= 0) & (folds < k)).all()
    if customers >= 2:  # a second fold to be scored from
        assert len(np.unique(folds)) >= 2
    np.testing.assert_array_equal(folds, make_folds(len(customer), k=k, groups=customer, stratify=action, random_state=seed))


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(counts=st.lists(st.integers(1, 200), min_size=1, max_size=8), k=st.integers(2, 10), seed=st.integers(0, 2**31))
def test_every_action_is_spread_as_evenly_as_its_rows_allow(counts, k, seed):
    action = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    folds = make_folds(len(action), k=k, stratify=action, random_state=seed)
    table = pd.crosstab(action, folds).reindex(columns=range(k), fill_value=0)
    assert (table.max(axis="columns") - table.min(axis="columns")).max() <= 1
    size = np.bincount(folds, minlength=k)
    assert size.max() - size.min() <= 1


def test_actions_stay_balanced_when_customers_hold_several_accounts():
    rng = np.random.default_rng(0)
    n = 20_000
    customer = rng.integers(9_000, size=n)
    action = rng.choice(["none", "sms", "call", "visit"], n, p=[0.4, 0.4, 0.19, 0.01])
    folds = make_folds(n, k=5, groups=customer, stratify=action, random_state=0)
    table = pd.crosstab(action, folds)
    share = table.div(table.sum(axis="columns"), axis="index")
    np.testing.assert_allclose(share.loc[["none", "sms", "call"]], 0.2, atol=0.01)
    np.testing.assert_allclose(share.loc["visit"], 0.2, atol=0.015)
    unstratified = pd.crosstab(action, make_folds(n, k=5, groups=customer, random_state=0))
    spread = unstratified.div(unstratified.sum(axis="columns"), axis="index").std(axis="columns")
    assert (share.std(axis="columns") < spread).all()


@pytest.mark.parametrize("grouped", [False, True])
def test_a_rare_action_never_breaks_a_fold(grouped):
    action = np.array(["visit"] * 3 + ["sms"] * 997)
    groups = np.arange(1_000) if grouped else None
    for seed in range(20):
        folds = make_folds(1_000, k=5, groups=groups, stratify=action, random_state=seed)
        assert np.bincount(folds, minlength=5).tolist() == [200] * 5
        assert len(set(folds[:3])) == 3  # three rows, three folds: whichever is held out, two remain to learn from


def test_a_rare_action_reaches_as_many_folds_as_customers_who_hold_it():
    """Four visits to four customers who hold other accounts as well: no chance of all of them in one fold."""
    for seed in range(50):
        rng = np.random.default_rng(seed)
        customer = rng.integers(1_000, size=3_000)
        action = rng.choice(["sms", "call"], 3_000).astype("<U5")
        visited = [np.flatnonzero(customer == one)[0] for one in rng.choice(np.unique(customer), 4, replace=False)]
        action[visited] = "visit"
        folds = make_folds(3_000, k=5, groups=customer, stratify=action, random_state=seed)
        assert len(set(folds[visited])) == 4


def test_a_small_log_keeps_its_rare_action_apart_too():
    for seed in range(30):
        action = np.random.default_rng(seed).permutation(np.array(["visit"] * 4 + ["sms"] * 96))
        folds = make_folds(100, k=4, groups=np.arange(100), stratify=action, random_state=seed)
        assert sorted(folds[action == "visit"]) == [0, 1, 2, 3]
        assert np.bincount(folds).tolist() == [25] * 4


def test_one_huge_customer_fills_a_fold_and_the_others_share_the_rest():
    customer = np.r_[np.zeros(400), np.arange(1, 601)]
    folds = make_folds(1_000, k=3, groups=customer, random_state=0)
    size = np.bincount(folds, minlength=3)
    assert size[folds[0]] - 400 < 0.4 * 600
    assert size.min() > 150


def test_a_few_big_customers_are_placed_where_they_balance():
    customer = np.repeat(np.arange(6), [300, 200, 100, 100, 50, 50])
    size = np.bincount(make_folds(800, k=2, groups=customer, random_state=1), minlength=2)
    assert size.tolist() == [400, 400]


def test_missing_customers_are_customers_of_their_own():
    customer = np.array([np.nan] * 600 + [1.0] * 10)
    folds = make_folds(610, k=3, groups=customer, random_state=0)
    assert np.bincount(folds[:600], minlength=3).min() > 150
    assert len(set(folds[600:])) == 1


def test_the_seed_decides():
    one, same, other = (make_folds(500, k=5, random_state=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).mean() > 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 1}, "k must be between 2 and 127 folds, not 1"),
        ({"k": 128}, "k must be between 2 and 127 folds, not 128"),
        ({"k": 2, "groups": [1, 2]}, "groups must have one entry for each of the 3 rows"),
        ({"k": 2, "stratify": [[1], [2], [3]]}, "stratify must have one entry for each of the 3 rows"),
    ],
)
def test_folds_that_cannot_be_dealt_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_folds(3, **options)
