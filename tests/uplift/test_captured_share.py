"""The claim the library rests on: the hurdle learner finds most of what the features tell about who should get what."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "experiments" / "bench_learners.py"


@pytest.mark.slow
def test_the_hurdle_captures_most_of_what_the_features_allow_and_more_than_s_and_t():
    spec = importlib.util.spec_from_file_location("bench_learners", BENCH)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    table = bench.measure(100_000, world="card", logging="randomised", seed=1, learners=["hurdle", "s", "t"])
    share = table.set_index("learner")["of allowed"]
    assert share["hurdle"] >= 0.85
    assert share["hurdle"] > max(share["s"], share["t"])
