"""Experiments and model versions in MLflow, at the edge: the only room that imports it.

A training is one run: parameters, metrics, data digests, the saved model, its report, and a registered version whose pyfunc
loads in plain MLflow from text and JSON. The first version becomes champion, later ones challenger.
"""

from .runs import RunRecord, log_propensity, log_strategy
from .store import Store, open_store, registered_folder
from .trials import log_trials

__all__ = ["RunRecord", "Store", "log_propensity", "log_strategy", "log_trials", "open_store", "registered_folder"]
