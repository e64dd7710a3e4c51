"""Run one of causalml's meta-learners in an environment of its own: LEARNER FOLDER; prints the seconds of fitting."""

import sys
import time
import warnings

import numpy as np
import pandas as pd
from causalml.inference.meta import BaseRRegressor, BaseSRegressor, BaseTRegressor, BaseXRegressor
from lightgbm import LGBMClassifier, LGBMRegressor

warnings.filterwarnings("ignore")
name, folder = sys.argv[1:]
train = pd.read_parquet(f"{folder}/train.parquet")
fresh = pd.read_parquet(f"{folder}/fresh.parquet").to_numpy()
X = train.drop(columns=["y_", "action_", "p_"]).to_numpy()
y, codes = train["y_"].to_numpy(), train["action_"].to_numpy()
names = np.array([f"a{a:02d}" for a in range(int(codes.max()) + 1)])
t = names[codes]
params = {"n_estimators": 200, "learning_rate": 0.05, "num_leaves": 31, "min_child_samples": 30, "n_jobs": 2, "verbose": -1}
makers = {"S": BaseSRegressor, "T": BaseTRegressor, "X": BaseXRegressor, "R": BaseRRegressor}
model = makers[name](learner=LGBMRegressor(**params), control_name="a00")
shares = {}
start = time.perf_counter()
if name in "XR":
    classes = LGBMClassifier(**params).fit(X, codes)
    chance = classes.predict_proba(X)
    # causalml wants, for each action, its chance against the control's
    shares = {"p": {n: np.clip(chance[:, a] / (chance[:, a] + chance[:, 0]), 0.01, 0.99) for a, n in enumerate(names) if a}}
model.fit(X, t, y, **shares)
seconds = time.perf_counter() - start
given = {}
if name == "X":
    chance = classes.predict_proba(fresh)
    given = {"p": {n: np.clip(chance[:, a] / (chance[:, a] + chance[:, 0]), 0.01, 0.99) for a, n in enumerate(names) if a}}
effect = np.column_stack([np.zeros(len(fresh)), model.predict(fresh, **given)])
pd.DataFrame(effect, columns=[str(a) for a in range(len(names))]).to_parquet(f"{folder}/out.parquet")
print(seconds)
