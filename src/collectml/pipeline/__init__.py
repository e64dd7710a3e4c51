"""From a decision log and a strategy to a model that scores and assigns, with the evidence for it.

Training keeps a share of the customers aside; on them the policy is valued against what was done, doing nothing and the best
single action. Model and evidence are saved together: what a committee reads is about the very boosters a batch will use.
"""

from .evidence import Evidence
from .experiment import (
    Experiment,
    ExperimentData,
    PropensityResult,
    StrategyResult,
    read_data,
    read_experiment,
    run_experiment,
)
from .price_rule import PriceRule
from .promotion import Gate, GateRules, promotion_gates, unseen
from .strategy_model import StrategyModel, load
from .training import train
from .tuning import tune
from .tuning_result import TrialRecord, TuningResult

__all__ = [
    "Evidence",
    "Experiment",
    "ExperimentData",
    "Gate",
    "GateRules",
    "PriceRule",
    "PropensityResult",
    "StrategyModel",
    "StrategyResult",
    "TrialRecord",
    "TuningResult",
    "load",
    "promotion_gates",
    "read_data",
    "read_experiment",
    "run_experiment",
    "train",
    "tune",
    "unseen",
]
