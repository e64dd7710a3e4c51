"""What we change.

An uplift model predicts what an account would pay under every action of the catalogue, the control among them; the difference
is the effect of acting. Money outcomes are a hurdle: most accounts pay nothing, a few pay a lot, so whether and how much are
learnt apart, each by boosters that all actions share. Doubly robust scores then say, from a log the model has not seen, what every
action would have brought; curves, areas, group effects and tests made of them say whether the model ranks accounts as it should.
"""

from . import peers
from .calibration import UpliftCalibration, uplift_calibration
from .curves import TargetingCurve, qini_curve, toc_curve, uplift_curve
from .group_effects import (
    BestLinearPredictor,
    SortedGroupEffects,
    best_linear_predictor,
    median_over_splits,
    sorted_group_effects,
)
from .heterogeneity import HeterogeneityTest, heterogeneity_test, sequential_test
from .metrics import UpliftMetrics, rank_weighted_average_effect, uplift_metrics
from .scores import DoublyRobustScores, doubly_robust_scores, randomised_scores, score_arrays
from .uplift_model import UpliftModel

__all__ = [
    "BestLinearPredictor",
    "DoublyRobustScores",
    "HeterogeneityTest",
    "SortedGroupEffects",
    "TargetingCurve",
    "UpliftCalibration",
    "UpliftMetrics",
    "UpliftModel",
    "best_linear_predictor",
    "doubly_robust_scores",
    "heterogeneity_test",
    "median_over_splits",
    "peers",
    "qini_curve",
    "randomised_scores",
    "rank_weighted_average_effect",
    "score_arrays",
    "sequential_test",
    "sorted_group_effects",
    "toc_curve",
    "uplift_calibration",
    "uplift_curve",
    "uplift_metrics",
]
