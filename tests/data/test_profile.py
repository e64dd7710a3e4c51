"""The profile of training says nothing of an account, and drift is told where it is, not where chance is."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from collectml.data.profile import FEWEST, MISSING, OTHER, Drift, drift_faults, feature_profile


def world(n: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "balance": rng.lognormal(7, 1, n),
            "promises": rng.poisson(0.3, n),
            "score": np.where(rng.random(n) < 0.1, np.nan, rng.normal(600, 50, n)),
            "product": rng.choice(["card", "loan", "overdraft"], n, p=[0.7, 0.29, 0.01]),
            "flag": pd.array(rng.random(n) < 0.2, dtype="boolean"),
        }
    )
    return frame.astype({"product": "str"})


def test_every_bin_holds_many_accounts_and_no_value_of_one():
    X = world(2_000, 0)
    X.loc[0, "product"] = "Jane Q. Public"
    profile = feature_profile(X)
    bins = profile[~profile["level"].isin([MISSING, OTHER])]
    assert (bins["rows"] >= FEWEST).all()
    assert not profile["level"].str.contains("Jane").any()
    assert profile.groupby("feature")["rows"].sum().eq(2_000).all()
    edges = bins["upper"][np.isfinite(bins["upper"])]
    assert all(float(f"{e:.3g}") == e for e in edges)
    assert not set(edges) & set(X["balance"])
    assert len(profile[profile["feature"] == "balance"]) == 11
    assert (feature_profile(X.head(60))["rows"].groupby(feature_profile(X.head(60))["feature"]).sum() == 60).all()


def test_the_index_is_that_of_its_formula():
    profile = feature_profile(pd.DataFrame({"product": ["a"] * 60 + ["b"] * 140}))
    drift = Drift(profile)
    drift.add(pd.DataFrame({"product": ["a"] * 30}))
    drift.add(pd.DataFrame({"product": ["b"] * 10}))
    e, a = (np.array([60, 140, 0, 0]) + 0.5) / 202, (np.array([30, 10, 0, 0]) + 0.5) / 42
    assert drift.frame().loc[0, "psi"] == pytest.approx(((a - e) * np.log(a / e)).sum())


def test_without_drift_nothing_is_told_even_of_few_accounts():
    profile = feature_profile(world(5_000, 1))
    told = 0
    for seed in range(40):
        drift = Drift(profile)
        drift.add(world(100, 100 + seed))
        told += len(drift_faults(drift.frame()))
    assert told == 0


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda x: x.assign(balance=x["balance"] * 3), "balance: PSI"),
        (lambda x: x.assign(product="new"), "product: PSI"),
        (lambda x: x.assign(score=x["score"].where(np.arange(len(x)) % 8 > 0)), "score: 2"),
    ],
)
def test_drift_is_told(change, word):
    drift = Drift(feature_profile(world(5_000, 1)))
    drift.add(change(world(3_000, 2)))
    told = drift_faults(drift.frame())
    assert len(told) == 1
    assert told[0].startswith(word)
