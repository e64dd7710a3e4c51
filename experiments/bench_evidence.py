"""How often the effect regression claims effects that differ between accounts where every action's effect is the same for all.

    python experiments/bench_evidence.py --logs 200

Prints logs with a claim, for three sizes; features are noise, one of them moves the baseline, actions differ in their main effects.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.special import expit

from collectml.uplift.effects import EffectRegression, curvatures

SIZES = ((2_000, 2, 20), (5_000, 4, 45), (20_000, 8, 45))  # rows, actions, functions of the features


def claims(rows: int, actions: int, functions: int, seed: int) -> bool:
    """Draw a log without heterogeneity and say whether there is evidence of it."""
    rng = np.random.default_rng(seed)
    Z = np.column_stack([np.ones(rows), rng.normal(size=(rows, functions - 1))])
    offset = -1 + 0.8 * Z[:, 1]
    action = rng.integers(actions, size=rows)
    main = rng.normal(0, 0.3, actions)
    paid = (rng.random(rows) < expit(offset + main[action])).astype(float)
    curvature = curvatures(Z, action, offset, np.zeros(rows, dtype=np.int8), actions).sum(axis=0)
    return EffectRegression(actions).fit(Z, action, paid, offset, curvature).evidence_gain_ > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logs", type=int, default=200)
    logs = parser.parse_args().logs
    for size in SIZES:
        found = sum(claims(*size, seed) for seed in range(logs))
        print("{:,} rows, {} actions, {} functions: ".format(*size) + f"{found} of {logs}", flush=True)


if __name__ == "__main__":
    main()
