"""Latency of scoring: a real client against ``mlflow models serve`` of a registered champion, and the same in this process.

    python experiments/bench_serve.py                       # trains a small strategy first, in a scratch folder
    python experiments/bench_serve.py --model models:/collectml-card_early_stage@champion --accounts accounts.parquet

The second form runs in the folder of your ``mlflow.yaml``. Prints medians and tails in milliseconds.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

NAME = "models:/collectml-card_early_stage@champion"


def train_small(folder: Path) -> Path:
    shipped = Path(__file__).with_name("card_early_stage.yaml")
    content = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    content["data"]["accounts"], content["robustness"] = 6_000, False
    config = folder / "card.yaml"
    config.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "collectml", "train", "--config", str(config)], check=True, cwd=folder)
    return folder / "data" / "card_early_stage" / "batch" / "accounts.parquet"


@contextlib.contextmanager
def served(model: str) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "mlflow", "models", "serve", "-m", model, "-h", "127.0.0.1", "-p", str(port)]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # MLflow calls uvicorn by name
    process = subprocess.Popen(
        [*words, "--env-manager", "local"],
        env={**os.environ, "PATH": path, "MLFLOW_TRACKING_URI": os.environ["MLFLOW_TRACKING_URI"]},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        begun = time.monotonic()
        while not _answers(port):
            if process.poll() is not None or time.monotonic() - begun > 180:
                sys.exit("the server did not come up")
            time.sleep(0.2)
        print(f"up after {time.monotonic() - begun:.1f} s")
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False


def told(name: str, one: Callable[[int], None], times: int, rows: int = 1) -> None:
    for i in range(5):
        one(i)
    took = []
    for i in range(times):
        begun = time.perf_counter()
        one(i)
        took.append(1000 * (time.perf_counter() - begun))
    p50, p95, p99 = np.percentile(took, [50, 95, 99])
    print(
        f"{name}: p50 {p50:.2f} ms, p95 {p95:.2f} ms, p99 {p99:.2f} ms; {rows / p50 * 1000:,.0f} accounts/s ({times} times)"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model")
    parser.add_argument("--accounts", type=Path)
    parser.add_argument("--requests", type=int, default=300)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        if args.model is None:
            os.chdir(scratch)
            args.model, args.accounts = NAME, train_small(Path(scratch))
        measure(args.model, pd.read_parquet(args.accounts), args.requests)


def measure(model: str, accounts: pd.DataFrame, requests: int) -> None:
    from collectml import load
    from collectml.pipeline import PriceRule
    from collectml.tracking import open_store, registered_folder

    os.environ["MLFLOW_TRACKING_URI"] = open_store().uri
    rule = PriceRule(load(registered_folder(model)))
    records = accounts.head(1_000).to_dict("records")
    told("in this process, one account", lambda i: rule.apply_one(records[i % len(records)]) and None, requests)
    bodies = {
        rows: [
            b'{"dataframe_records": %s}'
            % accounts.iloc[at : at + rows].to_json(orient="records", date_format="iso").encode()
            for at in range(0, min(len(accounts), 20 * rows), rows)
        ]
        for rows in (1, 100, 1_000)
    }
    with served(model) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

        def ask(body: bytes) -> None:
            connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200 or "predictions" not in json.loads(content):
                sys.exit(f"HTTP {answer.status}: {content[:200]!r}")

        for rows, some in bodies.items():
            times = max(10, requests // rows)
            told(f"over HTTP, {rows:,} accounts a request", lambda i, some=some: ask(some[i % len(some)]), times, rows)


if __name__ == "__main__":
    main()
