"""Run one of our learners in a process of its own: LEARNER FOLDER SEED; prints seconds of fitting and peak memory.

Where the learner knows how sure it is, low.parquet and high.parquet are its 95 % limits of every effect.
"""

import sys
import time

import numpy as np
import pandas as pd
from handed import hand_back

import collectml.models._walk_kernel  # noqa: F401  loaded at first use elsewhere; no library's imports are counted here
from collectml.uplift import UpliftModel

learner, folder, seed = sys.argv[1:]
log, asked = pd.read_parquet(f"{folder}/log.parquet"), pd.read_parquet(f"{folder}/asked.parquet")
own = ["y_", "action_", "p_", "paid_", "customer_"]
names = [f"a{a:02d}" for a in range(int(log["action_"].max()) + 1)]
start = time.perf_counter()
model = UpliftModel(learner, control="a00", random_state=int(seed), n_jobs=2).fit(
    log.drop(columns=own),
    log["y_"],
    action=np.array(names)[log["action_"]],
    paid=log["paid_"],
    logging_propensity=log["p_"],
    customer=log["customer_"],
)
seconds = time.perf_counter() - start
if learner in ("hurdle", "ensemble"):
    for name, limit in zip(("low", "high"), model.predict_interval(asked), strict=True):
        limit[names].to_parquet(f"{folder}/{name}.parquet")
hand_back(folder, model.predict(asked)[names].to_numpy(), seconds)
