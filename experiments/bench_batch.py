"""Time a batch: all actions in one walk against one `Booster.predict` call, and the whole batch against scoring alone.

    python experiments/bench_batch.py --accounts 100000 [--model DIR] [--threads 1 2] [--memory 2GiB]

Trains a model as `cm.train` does by default (or reads the one in DIR), then, in one run:

- for each shared-action booster of the default learner, the time of all actions (`predict_actions`) over the time of one
  `Booster.predict` call on the same rows with the same threads, medians over repeats taken in turn; `scoring_ratio` is the
  ratio of the sums over those boosters at the last number of threads. Both are checked to agree to the last bit.
- `score-and-assign` from Parquet to Parquet in a process of its own, once for each number of threads: seconds, rows/s, peak
  resident memory, all in all and beyond what the imports take, and the ratio to scoring alone: every model of the strategy
  (effects, reach, complaints, grades) asked about the same accounts in the same blocks by another fresh process, without
  reading, checking, assigning or writing. Threads are held to so many processors. Of more than 500,000 accounts scoring
  alone is timed on 500,000. The same ratio in seconds of processor is what to look at on a machine that others use.
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
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import collectml as cm
from collectml.pipeline import StrategyModel, read_experiment
from collectml.uplift.shared_action import predict_actions, with_action

CHILD = """
import json, os, sys, time
what, threads, accounts, out, model, capacity, as_of, memory, most = sys.argv[1:]
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(threads)])
from collectml.batch import run, score_and_assign
from collectml.batch.sources import AccountSource
from collectml.engines.ledger import peak
from collectml.pipeline import load
trained = load(model)
imports = peak() / 2**20
if what == "batch":
    begun = time.process_time()
    result = score_and_assign(accounts, out, as_of=as_of, model=model, capacity=capacity, memory=memory)
    print(json.dumps({"metrics": result.metrics, "cpu": time.process_time() - begun, "mib": peak() / 2**20, "imports": imports}))
    sys.exit()
rows, spent, cpu = [], [], []
for block in AccountSource(accounts, run.BLOCK):
    started, begun = time.perf_counter(), time.process_time()
    trained.price(block)
    trained.grades(block)
    rows.append(len(block))
    spent.append(time.perf_counter() - started)
    cpu.append(time.process_time() - begun)
    if sum(rows) >= int(most):
        break
print(json.dumps({"rows": rows, "spent": spent, "cpu": cpu}))
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


def whole_batch(model: Path, rows: int, work: Path, threads: list[int], memory: str, accounts: Path | None) -> None:
    as_of = write_accounts(work / "accounts.parquet", rows) if accounts is None else "2026-06-30"
    source = work / "accounts.parquet" if accounts is None else accounts
    words = [source, work / "out", model, source.with_name("capacity.parquet"), as_of, memory, 500_000]

    def child(what: str, n_threads: int) -> dict[str, Any]:
        command = [sys.executable, "-c", CHILD, what, *map(str, [n_threads, *words])]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout.splitlines()[-1])

    for n_threads in threads:
        told, alone = child("batch", n_threads), child("scoring", n_threads)
        scored, scored_cpu = (_for_all(alone["rows"], alone[kind], rows) for kind in ("spent", "cpu"))
        metrics = told["metrics"]
        seconds = metrics["seconds"]
        stages = {name: round(spent, 1) for name, spent in metrics["seconds_by_stage"].items()}
        print(
            f"score-and-assign, {n_threads} thread(s): {rows:,} accounts in {seconds:.1f} s ({rows / seconds:,.0f} rows/s), "
            f"numbers in {'files' if metrics['spilled'] else 'memory'}, by stage {stages}"
        )
        print(f"scoring alone {scored:.1f} s ({rows / scored:,.0f} rows/s)")
        print(f"batch_over_scoring: {seconds / scored:.2f}")
        print(
            f"batch_over_scoring_cpu: {told['cpu'] / scored_cpu:.2f} ({told['cpu']:.1f} s of processor over {scored_cpu:.1f} s)"
        )
        print(f"peak_memory_mib: {told['mib']:,.0f}, beyond imports and model {told['mib'] - told['imports']:,.0f}")


def _for_all(rows: list[int], spent: list[float], n: int) -> float:
    """Extend what some blocks took to n rows; the first block bears what is done once, such as laying out the boosters."""
    others = sum(rows[1:])
    return spent[0] + (sum(spent[1:]) / others * (n - rows[0]) if others else 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--model", type=Path, help="saved model; trained on 50,000 decisions where not given")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--memory", default="2GiB")
    parser.add_argument("--file", type=Path, help="accounts written before (with capacity.parquet beside), so many of them")
    parser.add_argument("--batch-only", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scoring-only", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        folder = options.model or trained_model(work / "model")
        model = cm.load(folder)
        if not options.batch_only:
            scoring(model, min(options.accounts, 100_000), options.threads, options.repeats)
        if not options.scoring_only:
            whole_batch(folder, options.accounts, work, options.threads, options.memory, options.file)


if __name__ == "__main__":
    main()
