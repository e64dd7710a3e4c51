"""Time the committee report of a large portfolio, and exact contributions against shap on the same booster.

    python experiments/bench_report.py --accounts 1000000 [--model DIR] [--explained 400] [--explain-only]

Trains a small model (or reads the one in DIR), simulates the accounts, assigns them in a process of its own, and then measures
only what the report takes beyond that: seconds (and processor seconds) for payload and page, the PDF apart, and the peak of
resident memory above what the batch holds (Linux: the peak is reset before the report begins). Then the contributions to the
effect of each account's most valuable action against the control are told in turn by `collectml.explain.effect_contributions`, by
LightGBM's `pred_contrib` and by `shap.TreeExplainer` (which are asked twice), one thread and its processor time for each; they are
checked to agree to 1e-10.
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
import pandas as pd
from threadpoolctl import threadpool_limits

import collectml as cm
from collectml.explain import effect_contributions
from collectml.pipeline import read_experiment
from collectml.pipeline.drivers import approved_reasons
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


def report(model: Path, folder: str, accounts: int) -> dict[str, float]:
    cm.make_portfolio(accounts, random_state=9).accounts.to_parquet(f"{folder}/accounts.parquet")
    child = [sys.executable, "-c", CHILD, str(model), f"{folder}/accounts.parquet", folder]
    ran = subprocess.run(child, capture_output=True, text=True, check=True)
    return dict(json.loads(ran.stdout.splitlines()[-1]))


def explain(model: cm.StrategyModel, rows: int, repeats: int = 3) -> dict[str, float]:
    """Explain each account's most valuable action against the control, one thread for all, in turns."""
    import shap

    uplift, many = model.uplift, 50 * rows
    accounts = cm.make_portfolio(many, random_state=5).accounts.head(many)
    encoded, names = uplift.encoder_.transform(accounts), uplift.encoder_.columns_
    best = uplift.predict(accounts).drop(columns=uplift.control_).to_numpy().argmax(axis=1).astype(np.intp) + 1
    ids = pd.Index(accounts["account_id"])
    booster = uplift.learner_.boosters_["pay_effect"]
    explainer = shap.TreeExplainer(booster)
    few = [with_action(encoded[:rows], action) for action in (best[:rows], 0)]
    asked = {
        "effects": (many, lambda: effect_contributions(booster, encoded, best, 0, names, threads=1).values.to_numpy()),
        "reasons": (many, lambda: approved_reasons(model, encoded, ids, best)),
        "pred_contrib": (rows, lambda: np.subtract(*(booster.predict(X, pred_contrib=True, num_threads=1) for X in few))),
        "shap": (rows, lambda: np.subtract(*(explainer.shap_values(X) for X in few))),
    }
    uplift.learner_.threads = 1
    spent: dict[str, list[float]] = {name: [] for name in asked}
    answer = {}
    with threadpool_limits(limits=1):
        for repeat in range(repeats + 1):  # the first lays the booster out and loads machine code
            for name, (count, ask) in asked.items():
                began = time.process_time()
                answer[name] = ask()
                if repeat or name in ("pred_contrib", "shap"):
                    spent[name].append((time.process_time() - began) / count)
    ours = answer["effects"][:rows]
    assert np.abs(ours - answer["pred_contrib"][:, :-1]).max() < 1e-10 * np.abs(ours).max()
    assert np.abs(ours - answer["shap"]).max() < 1e-10 * np.abs(ours).max()
    speed = {name: 1 / float(np.median(seconds)) for name, seconds in spent.items()}
    told = {f"{name}_rows_per_second": value for name, value in speed.items()}
    return told | {f"times_{peer}": speed["effects"] / speed[peer] for peer in ("pred_contrib", "shap")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--explained", type=int, default=400, help="Rows for the peers; fifty times as many for ours.")
    parser.add_argument("--explain-only", action="store_true", help="Leave the report out.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = asked.model or Path(folder) / "model"
        model = cm.load(source) if asked.model else trained(source)
        figures = {} if asked.explain_only else report(source, folder, asked.accounts)
        figures |= explain(model, asked.explained)
    print("\n".join(f"{name:32} {value:,.2f}" for name, value in figures.items()))


if __name__ == "__main__":
    main()
