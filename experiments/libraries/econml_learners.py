"""Run one of EconML's learners in an environment of its own: LEARNER FOLDER; prints seconds of fitting and the peak of memory."""

import sys
import time
import warnings

import numpy as np
from econml.dr import DRLearner, ForestDRLearner
from econml.metalearners import SLearner, TLearner, XLearner
from handed import hand_back, take
from lightgbm import LGBMClassifier, LGBMRegressor

warnings.filterwarnings("ignore")
name, folder = sys.argv[1:]
X, y, codes, fresh = take(folder)
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
model.fit(y, codes, X=X)
seconds = time.perf_counter() - start
actions = int(codes.max()) + 1
effect = np.column_stack([np.zeros(len(fresh))] + [np.ravel(model.effect(fresh, T0=0, T1=a)) for a in range(1, actions)])
hand_back(folder, effect, seconds)
