"""Time a batch: all actions in one walk against one `Booster.predict` call, and the whole batch against scoring alone.

    python experiments/bench_batch.py --accounts 100000 [--model DIR] [--threads 1 2]

Trains a model as `cm.train` does by default (or reads the one in DIR), then, in one run:

- for each shared-action booster of the default learner, the time of all actions (`predict_actions`) over the time of one
  `Booster.predict` call on the same rows with the same threads, medians over repeats taken in turn; `scoring_ratio` is the
  ratio of the sums over those boosters at the last number of threads. Both are checked to agree to the last bit.
- `score-and-assign` from Parquet to Parquet in a process of its own: seconds, rows/s, peak resident memory, the
  seconds of scoring alone (`StrategyModel.price` on the same accounts), and the ratio of the two.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import collectml as cm
from collectml.pipeline import StrategyModel, read_experiment
from collectml.uplift.shared_action import predict_actions, with_action

CHILD = """
import json, resource, sys, time
started = time.perf_counter()
from collectml.batch import score_and_assign
imported, stages = time.perf_counter(), []
accounts, out, model, capacity, as_of = sys.argv[1:]
result = score_and_assign(accounts, out, as_of=as_of, model=model, capacity=capacity,
                          progress=lambda stage: stages.append((stage, time.perf_counter())))
ended = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
result.model.price(result.accounts)
scoring = time.perf_counter() - ended
ends = [at for _, at in stages[1:]] + [ended]
spent = {stage: round(end - at, 2) for (stage, at), end in zip(stages, ends)}
print(json.dumps({"seconds": ended - imported, "mib": peak, "scoring": scoring, "stages": spent}))
"""


def timed(task: Callable[[], object]) -> float:
    started = time.perf_counter()
    task()
    return time.perf_counter() - started


def trained_model(folder: Path) -> Path:
    portfolio = cm.make_portfolio(50_000, random_state=1)
    strategy = read_experiment(Path(__file__).with_name("card_early_stage.yaml")).strategy
    log = cm.DecisionLog(portfolio.decisions, actions=strategy.action_names)
    return cm.train(log, strategy, contacts=portfolio.contacts, accounts=portfolio.accounts, random_state=1).save(folder)


def scoring(model: StrategyModel, rows: int, threads: list[int], repeats: int) -> None:
    accounts = cm.make_portfolio(rows, random_state=7).accounts
    X = model.uplift.encoder_.transform(accounts)
    actions = len(model.uplift.actions_)
    boosters = {n: b for n, b in model.uplift.learner_.boosters_.items() if b.num_feature() == X.shape[1] + 1}
    one = with_action(X, 1)
    ratio = float("nan")
    for n_threads in threads:
        sums = [0.0, 0.0]
        for name, booster in boosters.items():
            everything = predict_actions(booster, X, actions, threads=n_threads)
            for a in range(actions):
                assert np.array_equal(everything[:, a], booster.predict(with_action(X, a), num_threads=n_threads))
            pairs = [
                (
                    timed(lambda b=booster, t=n_threads: predict_actions(b, X, actions, threads=t)),
                    timed(lambda b=booster, t=n_threads: b.predict(one, num_threads=t)),
                )
                for _ in range(repeats)
            ]
            walk, plain = (statistics.median(seconds) for seconds in zip(*pairs, strict=True))
            sums = [sums[0] + walk, sums[1] + plain]
            print(
                f"{name:>14}, {n_threads} thread(s): {actions} actions in one walk {walk:.3f} s ({rows / walk:,.0f} rows/s), "
                f"one predict {plain:.3f} s, ratio {walk / plain:.2f}, equal to the last bit"
            )
        ratio = sums[0] / sums[1]
        print(f"scoring_ratio_{n_threads}_threads: {ratio:.3f}")
    print(f"scoring_ratio: {ratio:.3f}")


def write_accounts(path: Path, rows: int, block: int = 250_000) -> str:
    """Write accounts block by block, each a portfolio of its own with ids of its own; returns the as-of date."""
    capacity, writer, as_of = None, None, ""
    for start in range(0, rows, block):
        portfolio = cm.make_portfolio(min(block, rows - start), random_state=100 + start)
        frame = portfolio.accounts.assign(
            account_id=portfolio.accounts["account_id"] + start * 10,
            customer_id=portfolio.accounts["customer_id"] + start * 10,
        )
        table = pa.Table.from_pandas(frame, preserve_index=False)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=65_536)
        own = portfolio.capacity
        capacity = own if capacity is None else capacity.assign(capacity=capacity["capacity"] + own["capacity"])
        as_of = f"{portfolio.as_of:%Y-%m-%d}"
    writer.close()
    capacity.to_parquet(path.with_name("capacity.parquet"))
    return as_of


def whole_batch(model: Path, rows: int, work: Path) -> None:
    as_of = write_accounts(work / "accounts.parquet", rows)
    words = [work / "accounts.parquet", work / "out", model, work / "capacity.parquet", as_of]
    done = subprocess.run([sys.executable, "-c", CHILD, *map(str, words)], check=True, capture_output=True, text=True)
    told = json.loads(done.stdout.splitlines()[-1])
    seconds, scored, mib = told["seconds"], told["scoring"], told["mib"]
    print(
        f"score-and-assign: {rows:,} accounts in {seconds:.1f} s ({rows / seconds:,.0f} rows/s), by stage {told['stages']}"
    )
    print(f"scoring alone {scored:.1f} s ({rows / scored:,.0f} rows/s)")
    print(f"batch_over_scoring: {seconds / scored:.2f}")
    print(f"peak_memory_mib: {mib:,.0f} ({mib / rows * 1e6:,.0f} per million accounts)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--model", type=Path, help="saved model; trained on 50,000 decisions where not given")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scoring-only", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        folder = options.model or trained_model(work / "model")
        model = cm.load(folder)
        scoring(model, min(options.accounts, 100_000), options.threads, options.repeats)
        if not options.scoring_only:
            whole_batch(folder, options.accounts, work)


if __name__ == "__main__":
    main()
