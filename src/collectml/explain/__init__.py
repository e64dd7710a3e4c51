"""Why.

Contributions are exact and checked to add up; they are told in percentage points of the effect of an action or in money,
grouped as people think, and only in words that were approved. Why one action and not another is told with what the limits
cost; what would have changed it is asked of the model again.
"""

from .contrast import contrast
from .contributions import Contributions, contributions, effect_contributions, global_drivers, interactions
from .counterfactual import counterfactuals
from .dictionary import FeatureWords, approved_dictionary
from .money import money_contributions, net_contributions
from .prices import PricedRows, price_rows
from .reasons import flip_rate_at, flip_rates, reasons_for

__all__ = [
    "Contributions",
    "FeatureWords",
    "PricedRows",
    "approved_dictionary",
    "contrast",
    "contributions",
    "counterfactuals",
    "effect_contributions",
    "flip_rate_at",
    "flip_rates",
    "global_drivers",
    "interactions",
    "money_contributions",
    "net_contributions",
    "price_rows",
    "reasons_for",
]
