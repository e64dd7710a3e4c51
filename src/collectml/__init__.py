"""Uplift-based treatment policies for collections.

Learn from a decision log what each action changes for each account, price it in money, give every account its best permitted
action within every limit, say how sure that is and why.

The public names live here; each loads its room when it is first used, so that ``import collectml`` starts nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from collectml.data import DecisionLog
    from collectml.evaluation import (
        PolicyValue,
        StrategyValue,
        audit_overlap,
        design_experiment,
        evaluate_policy,
        evaluate_sensitivity,
        evaluate_strategy,
        read_out,
    )
    from collectml.models import ChannelResponseModel, ComplaintModel, PropensityToPayModel, RecoveryModel, RiskGrader
    from collectml.pipeline import StrategyModel, load, train, tune
    from collectml.policy import (
        Assignment,
        AssignmentSolution,
        PricedActions,
        TreatmentPolicy,
        price_actions,
        solve_assignment,
    )
    from collectml.reports import CommitteeReport
    from collectml.simulation import Portfolio, make_portfolio
    from collectml.strategy import Strategy
    from collectml.uplift import (
        DoublyRobustScores,
        UpliftModel,
        doubly_robust_scores,
        heterogeneity_test,
        uplift_metrics,
    )

_ROOM_OF = {
    "Assignment": "policy",
    "AssignmentSolution": "policy",
    "ChannelResponseModel": "models",
    "CommitteeReport": "reports",
    "ComplaintModel": "models",
    "DecisionLog": "data",
    "DoublyRobustScores": "uplift",
    "PolicyValue": "evaluation",
    "Portfolio": "simulation",
    "PricedActions": "policy",
    "PropensityToPayModel": "models",
    "RecoveryModel": "models",
    "RiskGrader": "models",
    "Strategy": "strategy",
    "StrategyModel": "pipeline",
    "StrategyValue": "evaluation",
    "TreatmentPolicy": "policy",
    "UpliftModel": "uplift",
    "audit_overlap": "evaluation",
    "design_experiment": "evaluation",
    "doubly_robust_scores": "uplift",
    "evaluate_policy": "evaluation",
    "evaluate_sensitivity": "evaluation",
    "evaluate_strategy": "evaluation",
    "heterogeneity_test": "uplift",
    "load": "pipeline",
    "make_portfolio": "simulation",
    "price_actions": "policy",
    "read_out": "evaluation",
    "solve_assignment": "policy",
    "train": "pipeline",
    "tune": "pipeline",
    "uplift_metrics": "uplift",
}

__all__ = [  # written out, so that tools that read and do not run see it too
    "Assignment",
    "AssignmentSolution",
    "ChannelResponseModel",
    "CommitteeReport",
    "ComplaintModel",
    "DecisionLog",
    "DoublyRobustScores",
    "PolicyValue",
    "Portfolio",
    "PricedActions",
    "PropensityToPayModel",
    "RecoveryModel",
    "RiskGrader",
    "Strategy",
    "StrategyModel",
    "StrategyValue",
    "TreatmentPolicy",
    "UpliftModel",
    "__version__",
    "audit_overlap",
    "design_experiment",
    "doubly_robust_scores",
    "evaluate_policy",
    "evaluate_sensitivity",
    "evaluate_strategy",
    "heterogeneity_test",
    "load",
    "make_portfolio",
    "price_actions",
    "read_out",
    "solve_assignment",
    "train",
    "tune",
    "uplift_metrics",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its room (PEP 562)."""
    room = _ROOM_OF.get(name)
    if room is None:
        raise AttributeError(f"module 'collectml' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"collectml.{room}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
