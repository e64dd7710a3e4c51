"""What will happen: who pays, who answers, how much comes in, who complains, and how worried to be.

Each model here predicts an *outcome* and is calibrated, so that its numbers may be multiplied with money; what an action
*changes* is the business of ``collectml.uplift``. All of them take account features as a frame whose columns are matched
by name, learn with LightGBM, cross-fit whatever corrects them by customer, repeat bit for bit for a seed, and come apart
into JSON and LightGBM text (``to_parts``, ``from_parts``), never a pickle.
"""

from __future__ import annotations

from collectml.models.channel_response import ChannelResponseModel
from collectml.models.complaints import ComplaintModel
from collectml.models.grading import RiskGrader
from collectml.models.propensity_to_pay import PropensityToPayModel
from collectml.models.recovery import RecoveryModel

__all__ = [
    "ChannelResponseModel",
    "ComplaintModel",
    "PropensityToPayModel",
    "RecoveryModel",
    "RiskGrader",
]
