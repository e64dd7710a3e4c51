"""How often effects are claimed to differ between accounts where every action's effect is the same for all.

    python experiments/bench_evidence.py --logs 200 --whole 60

Prints logs with a claim: by the effect regression alone, for three sizes (features are noise, one of them moves the baseline, actions
differ in their main effects); then by the whole hurdle learner, regression or boosters, on --whole confounded logs of 8,000 decisions
whose baseline is no smooth function of the features, and the most that boosters gained (log-likelihood of held-out payments).
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from bench_uplift import sampled
from scipy.special import expit, softmax

from collectml.uplift import UpliftModel
from collectml.uplift.effects import EffectRegression, curvatures
from collectml.uplift.likelihood import Response

SIZES = ((2_000, 2, 20), (5_000, 4, 45), (20_000, 8, 45))  # rows, actions, functions of the features


def claims(rows: int, actions: int, functions: int, seed: int) -> bool:
    """Draw a log without heterogeneity and say whether there is evidence of it."""
    rng = np.random.default_rng(seed)
    Z = np.column_stack([np.ones(rows), rng.normal(size=(rows, functions - 1))])
    offset = -1 + 0.8 * Z[:, 1]
    action = rng.integers(actions, size=rows)
    main = rng.normal(0, 0.3, actions)
    paid = (rng.random(rows) < expit(offset + main[action])).astype(float)
    response = Response(action, paid, offset, actions)
    curvature = curvatures(Z, response, np.zeros(rows, dtype=np.int8))[0]
    return EffectRegression(actions).fit(Z, response, curvature).evidence_gain_ > 0


def whole(seed: int, rows: int = 8_000, actions: int = 8) -> dict[str, float]:
    """Draw a confounded log without heterogeneity, and return what the hurdle says of it."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(rows, 8)), columns=[f"x{i}" for i in range(8)])
    raw = X.to_numpy()
    base = -1.2 + 0.8 * raw[:, 0] - 0.6 * np.abs(raw[:, 1]) + 0.5 * (raw[:, 2] > 0) * raw[:, 3]
    tilt = np.random.default_rng(7).normal(size=(2, actions))
    logging = softmax(0.3 * base[:, None] * tilt[0] + 0.3 * tilt[1], axis=1)
    taken = sampled(rng, logging)
    paid = (rng.random(rows) < expit(base + 0.25 * (taken > 0))).astype(float)
    names = np.array(["no_action", *(f"action_{a}" for a in range(1, actions))])
    return UpliftModel(random_state=seed).fit(X, paid, action=names[taken]).diagnostics_


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=int, default=200)
    parser.add_argument("--whole", type=int, default=0)
    asked = parser.parse_args()
    for size in SIZES:
        found = sum(claims(*size, seed) for seed in range(asked.logs))
        print("{:,} rows, {} actions, {} functions: ".format(*size) + f"{found} of {asked.logs}", flush=True)
    if asked.whole:
        said = [whole(seed) for seed in range(asked.whole)]
        found, most = sum(d["evidence_of_heterogeneity"] > 0 for d in said), max(d["gain_of_boosters"] for d in said)
        print(f"the whole learner: {found} of {asked.whole}; boosters gained {most:.1f} at most")


if __name__ == "__main__":
    main()
