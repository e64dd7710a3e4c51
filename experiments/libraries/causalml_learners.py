"""Run one of causalml's meta-learners in an environment of its own: LEARNER FOLDER; prints seconds of fitting and the peak of memory."""

import sys
import time
import warnings

import numpy as np
from causalml.inference.meta import BaseRRegressor, BaseSRegressor, BaseTRegressor, BaseXRegressor
from handed import hand_back, take
from lightgbm import LGBMClassifier, LGBMRegressor

warnings.filterwarnings("ignore")
name, folder = sys.argv[1:]
X, y, codes, fresh = take(folder)
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
hand_back(folder, effect, seconds)
