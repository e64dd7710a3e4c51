"""Was it right: what a policy is worth, judged from decisions that another policy made.

A decision log shows the outcome of the action that was taken and hides the others. This room estimates what a different
policy would have recovered per decision (off-policy evaluation), with intervals that treat the customer as the unit of
dependence, always as paired differences where two policies are compared, and it refuses, with reasons, where the log holds
no evidence about what the policy would do.
"""

from __future__ import annotations

from collectml.evaluation._rows import EvaluationLog
from collectml.evaluation.audit import OverlapAudit, audit_overlap
from collectml.evaluation.coupled import StrategyValue, evaluate_strategy
from collectml.evaluation.experiment import ExperimentDesign, OutcomeSpread, design_experiment
from collectml.evaluation.off_policy import constant_policy, evaluate_policy
from collectml.evaluation.omitted_features import omitted_feature_odds
from collectml.evaluation.outcome_models import OutcomeModel, cross_fitted_outcomes
from collectml.evaluation.overlap import OverlapRefusal, support_by_action
from collectml.evaluation.policy_value import PolicyValue
from collectml.evaluation.readout import ExperimentReadout, SampleRatio, read_out, sample_ratio
from collectml.evaluation.sensitivity import evaluate_sensitivity
from collectml.evaluation.sensitivity_result import Sensitivity
from collectml.evaluation.sequential import ConfidenceSequence, confidence_sequence
from collectml.evaluation.weights import pareto_k

__all__ = [
    "ConfidenceSequence",
    "EvaluationLog",
    "ExperimentDesign",
    "ExperimentReadout",
    "OutcomeModel",
    "OutcomeSpread",
    "OverlapAudit",
    "OverlapRefusal",
    "PolicyValue",
    "SampleRatio",
    "Sensitivity",
    "StrategyValue",
    "audit_overlap",
    "confidence_sequence",
    "constant_policy",
    "cross_fitted_outcomes",
    "design_experiment",
    "evaluate_policy",
    "evaluate_sensitivity",
    "evaluate_strategy",
    "omitted_feature_odds",
    "pareto_k",
    "read_out",
    "sample_ratio",
    "support_by_action",
]
