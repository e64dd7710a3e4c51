"""Time the committee report of a large portfolio, and exact contributions against shap on the same booster.

    python experiments/bench_report.py --accounts 1000000 [--model DIR] [--explained 400]

Trains a small model (or reads the one in DIR), simulates the accounts, assigns them in a process of its own, and then measures
only what the report takes beyond that: seconds (and processor seconds) for payload and page, the PDF apart, and the peak of
resident memory above what the batch holds (Linux: the peak is reset before the report begins). Then
`collectml.explain.contributions` and `shap.TreeExplainer` explain the same rows of the same booster in turn, two threads for
both; they are checked to agree.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import collectml as cm
from collectml.explain import contributions
from collectml.pipeline import read_experiment
from collectml.uplift.shared_action import with_action

CHILD = """
import json, sys, time
import pandas as pd
import collectml as cm

def memory(field):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024

model, accounts, out = cm.load(sys.argv[1]), pd.read_parquet(sys.argv[2]), sys.argv[3]
began = time.perf_counter()
assignment = model.assign(accounts)
batch = time.perf_counter() - began
with open("/proc/self/clear_refs", "w") as reset:
    reset.write("5")
before, began, spent = memory("VmRSS"), time.perf_counter(), time.process_time()
report = cm.CommitteeReport(model, assignment, accounts=accounts)
page = report.write(out + "/report.html")
done, spent, peak = time.perf_counter(), time.process_time() - spent, memory("VmHWM")
report.to_pdf(out + "/report.pdf")
pdf = time.perf_counter()
print(json.dumps({"accounts": len(accounts), "batch_seconds": batch, "batch_mib": before, "report_seconds": done - began,
                  "report_cpu_seconds": spent,
                  "report_mib_beyond": peak - before, "pdf_seconds": pdf - done, "html_kib": page.stat().st_size / 1024}))
"""


def trained(folder: Path) -> cm.StrategyModel:
    portfolio = cm.make_portfolio(20_000, random_state=1)
    strategy = read_experiment(Path(__file__).with_name("card_early_stage.yaml")).strategy
    log = cm.DecisionLog(portfolio.decisions, actions=strategy.action_names)
    model = cm.train(log, strategy, contacts=portfolio.contacts, accounts=portfolio.accounts, random_state=1)
    model.save(folder)
    return model


def explain(model: cm.StrategyModel, rows: int, repeats: int = 3) -> dict[str, float]:
    import shap

    accounts = cm.make_portfolio(max(rows, 500), random_state=5).accounts.head(rows)
    encoded = with_action(model.uplift.encoder_.transform(accounts), 1)
    booster = model.uplift.learner_.boosters_["pay_effect"]
    names = [*model.uplift.encoder_.columns_, "action"]
    explainer = shap.TreeExplainer(booster)
    spent = {"collectml": [], "shap": []}
    for _ in range(repeats):
        began = time.perf_counter()
        ours = contributions(booster, encoded, names).values.to_numpy()
        middle = time.perf_counter()
        theirs = explainer.shap_values(encoded)
        spent["collectml"].append(middle - began)
        spent["shap"].append(time.perf_counter() - middle)
        assert np.abs(ours - theirs).max() < 1e-9
    ours, theirs = (rows / float(np.median(s)) for s in spent.values())
    return {"rows_per_second": ours, "shap_rows_per_second": theirs, "times_shap": ours / theirs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--explained", type=int, default=400)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = asked.model or Path(folder) / "model"
        model = cm.load(source) if asked.model else trained(source)
        cm.make_portfolio(asked.accounts, random_state=9).accounts.to_parquet(f"{folder}/accounts.parquet")
        child = [sys.executable, "-c", CHILD, str(source), f"{folder}/accounts.parquet", folder]
        ran = subprocess.run(child, capture_output=True, text=True, check=True)
        figures = json.loads(ran.stdout.splitlines()[-1]) | explain(model, asked.explained)
    print("\n".join(f"{name:24} {value:,.2f}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
