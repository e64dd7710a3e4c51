"""The hash is a contract: the numbers below may never change, whatever the process, dtype or order."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
from scipy import stats

from collectml.hashing import stable_hash, uniform_hash

GOLDEN = [7085928567598694405, 12031552690545160725, 2267835345896640476]


def test_golden_values():
    assert stable_hash([1, "A-7", 10_000_001], salt="salt", purpose="holdout").tolist() == GOLDEN


def test_dtype_order_and_process_do_not_matter():
    ids = np.arange(10_000_001, 10_000_201)
    expected = stable_hash(ids, salt="s", purpose="tie", cycle="2026-01-01")
    for same in (ids.astype(str), ids.astype(np.int32), ids.astype(float), pd.Series(ids, dtype="Int64"), list(ids)):
        assert (stable_hash(same, salt="s", purpose="tie", cycle="2026-01-01") == expected).all()
    assert (stable_hash(ids[::-1], salt="s", purpose="tie", cycle="2026-01-01")[::-1] == expected).all()
    code = "from collectml.hashing import stable_hash; print(stable_hash([5], salt='s', purpose='tie')[0])"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == stable_hash([5], salt="s", purpose="tie")[0]


def test_salt_purpose_and_cycle_give_independent_uniforms():
    ids = range(20_000)
    draws = [
        uniform_hash(ids, salt="a", purpose="holdout"),
        uniform_hash(ids, salt="b", purpose="holdout"),
        uniform_hash(ids, salt="a", purpose="explore"),
        uniform_hash(ids, salt="a", purpose="explore", cycle="2026-01-01"),
        uniform_hash(ids, salt="a", purpose="explore", cycle="2026-01-02"),
    ]
    for u in draws:
        assert stats.kstest(u, "uniform").pvalue > 1e-4
    correlation = np.corrcoef(draws) - np.eye(len(draws))
    assert np.abs(correlation).max() < 0.035


def test_parts_of_the_key_cannot_be_shifted_into_each_other():
    assert stable_hash([1], salt="ab", purpose="c")[0] != stable_hash([1], salt="a", purpose="bc")[0]


def test_machine_code_hashes_to_the_same_bits(monkeypatch):
    from collectml import hashing

    rng = np.random.default_rng(0)
    edges = [0, -1, 1, 9, 10, 99, 100, -(2**63), 2**63 - 1]
    numbers = np.concatenate([rng.integers(-(2**63), 2**63 - 1, 1_000), edges])
    texts = pd.Index([f"account {'é' * (i % 50)} {i}" for i in range(1_003)], dtype="str")
    long = pd.Index(["x" * 129, "", *texts], dtype="str")
    for ids in (numbers, numbers.astype(np.int32), texts, texts[7:900], long):
        plain = stable_hash(ids, salt="s", purpose="tie", cycle="2026-06-30")
        monkeypatch.setattr(hashing, "MANY", 1)
        np.testing.assert_array_equal(stable_hash(ids, salt="s", purpose="tie", cycle="2026-06-30"), plain)
        monkeypatch.undo()
