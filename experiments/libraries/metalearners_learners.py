"""Run one of metalearners' learners in an environment of its own: LEARNER FOLDER [linear]; prints seconds of fitting and peak memory.

With "linear" the models are linear ones, as in metalearners' own reference values; LightGBM otherwise.
"""

import sys
import time
import warnings

import numpy as np
from handed import hand_back, take
from lightgbm import LGBMClassifier, LGBMRegressor
from metalearners.utils import metalearner_factory, simplify_output
from sklearn.linear_model import LinearRegression, LogisticRegression

warnings.filterwarnings("ignore")
name, folder, *linear = sys.argv[1:]
X, y, codes, fresh = take(folder)
boosting = {
    "n_estimators": 200,
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_child_samples": 30,
    "n_jobs": 2,
    "verbose": -1,
}
regressor, classifier = (LinearRegression, LogisticRegression) if linear else (LGBMRegressor, LGBMClassifier)
of_regressor, of_classifier = ({}, {"max_iter": 500}) if linear else (boosting, boosting)
binary = set(np.unique(y)) <= {0.0, 1.0}
own = {
    "is_classification": binary,
    "n_variants": int(codes.max()) + 1,
    "random_state": 1337,
    "nuisance_model_factory": classifier if binary else regressor,
    "nuisance_model_params": of_classifier if binary else of_regressor,
}
if name in ("X", "R", "DR"):
    own |= {"treatment_model_factory": regressor, "treatment_model_params": of_regressor}
    own |= {"propensity_model_factory": classifier, "propensity_model_params": of_classifier}
start = time.perf_counter()
model = metalearner_factory(name)(**own)
model.fit(X, y, codes)
seconds = time.perf_counter() - start
effect = simplify_output(model.predict(fresh, is_oos=True)).reshape(len(fresh), -1)
out = np.column_stack([np.zeros(len(fresh)), effect])
hand_back(folder, out, seconds)
