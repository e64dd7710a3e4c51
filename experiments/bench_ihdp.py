"""Effects on IHDP: root mean squared error of each learner's effects (PEHE) over ten replications, beside published values.

    COLLECTML_DATA=DIR python experiments/bench_ihdp.py

The Infant Health and Development Program with simulated outcomes (Hill 2011; replications 1 to 10 of Dorie's NPCI): 747
children, 139 treated, 25 features, both expected outcomes known. Each replication is split 90 to 10 by a seeded draw. Outcomes are
moved up by a constant where some are negative, for learners that are for money; effects do not change by that. Replications
differ tenfold in scale, so a mean over ten of them is a coarse figure: the published means are over 1,000.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from collectml.uplift import UpliftModel

LEARNERS = ("hurdle", "ensemble", "s", "t", "x", "dr")
# Shalit, Johansson & Sontag (2017), Estimating individual treatment effect, table 1: within sample, out of sample
PUBLISHED = {
    "OLS, treatment a feature": (5.8, 5.8),
    "OLS, one for each arm": (2.4, 2.5),
    "BART": (2.1, 2.3),
    "random forest": (4.2, 6.6),
    "causal forest": (3.8, 3.8),
    "TARNet": (0.88, 0.95),
    "CFR (Wasserstein)": (0.71, 0.76),
}


def errors(data: pd.DataFrame, learner: str, seed: int) -> tuple[float, float, float]:
    """Return PEHE within and out of sample, and the error of the average effect within."""
    X = data.filter(regex=r"^x\d+$")
    arm = np.where(data["treatment"] == 1, "treated", "control")
    effect = (data["mu1"] - data["mu0"]).to_numpy()
    train = np.random.default_rng(seed).permutation(len(data)) < 0.9 * len(data)
    y = data["y_factual"] - min(0.0, float(data["y_factual"].min()) - 1.0)
    model = UpliftModel(learner, control="control", random_state=seed).fit(X[train], y[train], action=arm[train])
    found = model.predict_effect(X)["treated"].to_numpy()
    pehe = [float(np.sqrt(np.mean((found - effect)[rows] ** 2))) for rows in (train, ~train)]
    return pehe[0], pehe[1], abs(float((found - effect)[train].mean()))


def main() -> None:
    source = Path(os.environ.get("COLLECTML_DATA", "data")) / "ihdp" / "ihdp_npci_1_10.csv.gz"
    if not source.is_file():
        raise SystemExit("set COLLECTML_DATA to the folder that holds ihdp/ihdp_npci_1_10.csv.gz")
    data = pd.read_csv(source)
    print(f"{'':26s}PEHE within  out of sample  error of the average   (means over {data['rep'].nunique()} replications)")
    for learner in LEARNERS:
        found = np.array([errors(group, learner, int(rep)) for rep, group in data.groupby("rep")])
        mean, spread = found.mean(axis=0), found.std(axis=0, ddof=1) / np.sqrt(len(found))
        cells = "  ".join(f"{m:6.2f} ({s:.2f})" for m, s in zip(mean, spread, strict=True))
        print(f"{'collectml ' + learner:26s}{cells}", flush=True)
    for name, (within, out) in PUBLISHED.items():
        print(f"{name + ' (published)':40s}{within:6.2f}  {out:6.2f}")


if __name__ == "__main__":
    main()
