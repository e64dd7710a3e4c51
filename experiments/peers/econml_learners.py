"""Run one of EconML's learners in an environment of its own: LEARNER FOLDER; prints the seconds of fitting."""

import sys
import time
import warnings

import numpy as np
import pandas as pd
from econml.dr import DRLearner, ForestDRLearner
from econml.metalearners import SLearner, TLearner, XLearner
from lightgbm import LGBMClassifier, LGBMRegressor

warnings.filterwarnings("ignore")
name, folder = sys.argv[1:]
train = pd.read_parquet(f"{folder}/train.parquet")
fresh = pd.read_parquet(f"{folder}/fresh.parquet").to_numpy()
X = train.drop(columns=["y_", "action_", "p_"]).to_numpy()
y, t = train["y_"].to_numpy(), train["action_"].to_numpy()
params = {"n_estimators": 200, "learning_rate": 0.05, "num_leaves": 31, "min_child_samples": 30, "n_jobs": 2, "verbose": -1}
regressor, classifier = LGBMRegressor(**params), LGBMClassifier(**params)
makers = {
    "SLearner": lambda: SLearner(overall_model=regressor),
    "TLearner": lambda: TLearner(models=regressor),
    "XLearner": lambda: XLearner(models=regressor, propensity_model=classifier),
    "DRLearner": lambda: DRLearner(
        model_propensity=classifier, model_regression=regressor, model_final=regressor, random_state=0
    ),
    "ForestDRLearner": lambda: ForestDRLearner(
        model_propensity=classifier, model_regression=regressor, n_estimators=200, min_samples_leaf=50, random_state=0
    ),
}
start = time.perf_counter()
model = makers[name]()
model.fit(y, t, X=X)
seconds = time.perf_counter() - start
actions = int(t.max()) + 1
effect = np.column_stack([np.zeros(len(fresh))] + [np.ravel(model.effect(fresh, T0=0, T1=a)) for a in range(1, actions)])
pd.DataFrame(effect, columns=[str(a) for a in range(actions)]).to_parquet(f"{folder}/out.parquet")
print(seconds)
