"""Experiments and model versions in MLflow, at the edge: the only room that imports it.

A training is one run: parameters, metrics, data digests, the saved model, its report, and a registered version whose pyfunc
loads in plain MLflow from text and JSON. The first version becomes champion, later ones challenger.
"""

from .batches import BatchRecord, SyncResult, delivery, lineage_of, sync, tracked_delivery
from .promotion import Promotion, Rollback, history, promote, roll_back
from .registry import Origin, Registered, find_model, registered_folder, registered_model
from .runs import RunRecord, log_propensity, log_strategy
from .store import Store, open_store
from .trials import log_trials

__all__ = [
    "BatchRecord",
    "Origin",
    "Promotion",
    "Registered",
    "Rollback",
    "RunRecord",
    "Store",
    "SyncResult",
    "delivery",
    "find_model",
    "history",
    "lineage_of",
    "log_propensity",
    "log_strategy",
    "log_trials",
    "open_store",
    "promote",
    "registered_folder",
    "registered_model",
    "roll_back",
    "sync",
    "tracked_delivery",
]
