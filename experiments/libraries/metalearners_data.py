"""Write the synthetic experiments that metalearners' reference values rest on: OUTCOME VARIANTS EFFECT FOLDER.

Seed, size, chances and effects are those of its test suite (tests/conftest.py and tests/test_learner.py, version 0.13), so that
its published root mean squared errors can be held against others'.
"""

import sys

import numpy as np
import pandas as pd
from metalearners.data_generation import compute_experiment_outputs, generate_covariates, generate_treatment
from metalearners.outcome_functions import constant_treatment_effect, linear_treatment_effect
from sklearn.model_selection import train_test_split

outcome, variants, effect, folder = sys.argv[1:]
rng = np.random.default_rng(1337)
X, _, _ = generate_covariates(100_000, 25, format="numpy", rng=rng)
chance = np.full(len(X), 0.3) if variants == "binary" else np.ones((len(X), 1)) * np.array([0.2, 0.1, 0.3, 0.15, 0.25])
treatment = generate_treatment(chance, rng=rng)
count = 2 if variants == "binary" else chance.shape[1]
if effect == "linear":
    function = linear_treatment_effect(X.shape[1], n_variants=count, rng=rng)
else:
    function = constant_treatment_effect(X.shape[1], tau=np.array([-2, 5, 0, 3]), rng=rng)
y, cate = compute_experiment_outputs(
    function(X), treatment, sigma_tau=0.5, n_variants=count, is_classification=outcome == "binary",
    return_probability_cate=True, rng=rng,
)  # fmt: skip
p = chance[np.arange(len(X)), treatment] if chance.ndim == 2 else np.where(treatment == 1, chance, 1 - chance)
names = [f"x{i}" for i in range(X.shape[1])]
frame = pd.DataFrame(X, columns=names).assign(y_=np.asarray(y, dtype=float), action_=treatment, p_=p)
kept, held, _, truth = train_test_split(frame, np.asarray(cate).reshape(len(X), -1), test_size=0.2, random_state=1337)
kept.reset_index(drop=True).to_parquet(f"{folder}/train.parquet")
held[names].reset_index(drop=True).to_parquet(f"{folder}/fresh.parquet")
pd.DataFrame(truth, columns=[str(a) for a in range(1, count)]).to_parquet(f"{folder}/truth.parquet")
