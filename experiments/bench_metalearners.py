"""Our learners on metalearners' own synthetic experiments: root mean squared error of effects beside its published reference values.

    python experiments/bench_metalearners.py --metalearners PYTHON

PYTHON is the interpreter of an environment that holds metalearners (`make bench-peers` makes it under data/peers); it draws the data
as its test suite does (80,000 decisions to learn from, 20,000 held out, 25 normal features, outcomes linear in them or their logistic).
Its references are of linear models, which are right here; they are run again to show that the data are the same. What trees make of
it, its learners' and ours with the same LightGBM parameters, is the comparison. Two threads.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from bench_uplift import ask

from collectml.uplift import UpliftModel

FOLDER = Path(__file__).parent / "libraries"
LIMIT = 3600.0
WORLDS = [("binary", "binary", "linear"), ("continuous", "binary", "linear"), ("continuous", "multi", "linear"),
          ("continuous", "multi", "constant")]  # fmt: skip
REFERENCES = {  # out of sample, metalearners 0.13, tests/test_learner.py
    "T": (0.0215, 0.0456, 0.0617, 0.0753),
    "S": (0.2286, 14.6248, 14.185, 0.0111),
    "X": (0.3019, 0.0456, 0.0617, 0.0753),
    "R": (0.3018, 0.0460, 0.28, 0.08),
    "DR": (0.3019, 0.0454, 0.0649, 0.0761),
}


def error(effect: np.ndarray, truth: np.ndarray) -> float:
    return float(np.sqrt(np.mean((effect - truth) ** 2)))


def ours(learner: str, train: pd.DataFrame, fresh: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Return the effects that one of our learners predicts, and the seconds of fitting."""
    start = time.perf_counter()
    model = UpliftModel(learner, control="action_0", random_state=0, n_jobs=2).fit(
        train.drop(columns=["y_", "action_", "p_"]),
        train["y_"],
        action="action_" + train["action_"].astype(str),
        logging_propensity=train["p_"],
    )
    return model.predict_effect(fresh), time.perf_counter() - start


def compare(number: int, python: str, peers: list[str], learners: list[str]) -> list[dict[str, object]]:
    """Return one row a learner."""
    world, rows = WORLDS[number], []

    def note(who: str, found: tuple[pd.DataFrame | None, *tuple[float, ...]], reference: float = np.nan) -> None:
        if found[0] is None:
            return
        rows.append({"world": " ".join(world), "learner": who, "RMSE": error(found[0].to_numpy()[:, 1:], truth), "reference": reference,
                     "seconds": found[1]})  # fmt: skip
        print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else str(v) for k, v in rows[-1].items()), flush=True)

    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, FOLDER / "metalearners_data.py", *world, folder], check=True)
        train, fresh, truth = (pd.read_parquet(Path(folder) / f"{part}.parquet") for part in ("train", "fresh", "truth"))
        truth = truth.to_numpy()
        for name in peers:
            linear = ask(python, "metalearners", name, Path(folder), LIMIT, "linear")
            note(f"metalearners {name}, linear", linear, REFERENCES[name][number])
            note(f"metalearners {name}, LightGBM", ask(python, "metalearners", name, Path(folder), LIMIT))
        for learner in learners:
            if learner != "hurdle" or world[0] == "binary":  # outcomes below zero are no hurdle
                note(f"collectml {learner}", ours(learner, train, fresh))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--metalearners", metavar="PYTHON", required=True)
    parser.add_argument("--worlds", type=int, nargs="+", default=[0, 1, 2, 3], choices=range(len(WORLDS)))
    parser.add_argument("--theirs", nargs="+", choices=list(REFERENCES), default=list(REFERENCES))
    parser.add_argument("--ours", nargs="+", default=["t", "s", "x", "dr", "hurdle", "ensemble"])
    asked = parser.parse_args()
    rows = [row for number in asked.worlds for row in compare(number, asked.metalearners, asked.theirs, asked.ours)]
    table = pd.DataFrame(rows).pivot_table(index="learner", columns="world", values="RMSE", sort=False)
    print(table.to_string(float_format="{:.4f}".format, na_rep=""))


if __name__ == "__main__":
    main()
