"""What training on many rows takes: seconds and peak memory of the default learner, beside the size of its data.

    python experiments/bench_training.py --rows 1000000 --features 20 --actions 8

The log is drawn in a process of its own and handed over as Parquet, so that the peak is that of reading and training.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

MIB = 1024**2


def draw(path: Path, rows: int, features: int, actions: int) -> None:
    """Write a randomised log: one payer in four, lognormal balances, effects that differ with three features, a categorical."""
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(rows, features - 2)).astype(np.float32)
    action = rng.integers(actions, size=rows)
    margin = (
        -1.2 + 0.7 * raw[:, 0] + 0.1 * (action > 0) + 0.1 * action / actions * raw[:, 1] - 0.2 * (action == 1) * raw[:, 2]
    )
    balance = rng.lognormal(7.5, 1.0, rows)
    paid = rng.random(rows) < 1 / (1 + np.exp(-margin))
    frame = pd.DataFrame(raw, columns=[f"x{i}" for i in range(features - 2)])
    frame["balance"] = balance
    frame["region"] = pd.Categorical.from_codes(rng.integers(8, size=rows), list("abcdefgh"))
    frame["recovered"] = np.where(paid, np.where(rng.random(rows) < 0.1, 1.0, rng.beta(1, 6, rows)) * balance, 0.0)
    frame["action"] = np.where(action == 0, "no_action", np.char.add("action_", action.astype(str)))
    frame["propensity"] = 1 / actions
    frame.to_parquet(path)


def train(path: Path, threads: int) -> None:
    """Read and fit; print what it took."""
    from collectml.uplift import UpliftModel

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    frame = pd.read_parquet(path)
    X = frame.drop(columns=["recovered", "action", "propensity"])
    start, cpu = time.perf_counter(), time.process_time()
    model = UpliftModel(random_state=0, n_jobs=threads).fit(
        X, frame["recovered"], action=frame["action"], logging_propensity=frame["propensity"]
    )
    seconds, processor = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size = X.shape[0] * X.shape[1] * 8 / MIB
    print(
        f"{len(X):,} rows x {X.shape[1]} features x {len(model.actions_)} actions, {threads} threads: {seconds:,.0f} s by the clock, "
        f"{processor:,.0f} s of processor; peak {peak:,.0f} MiB ({before:,.0f} of it imports) = {(peak - before) / size:.1f} x the "
        "features as float64"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--actions", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--log", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.log:
        train(asked.log, asked.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.parquet"
        draw(path, asked.rows, asked.features, asked.actions)
        subprocess.run([sys.executable, __file__, "--log", str(path), "--threads", str(asked.threads)], check=True)


if __name__ == "__main__":
    main()
