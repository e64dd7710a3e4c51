"""Who gets what.

Values come in as money per account and action; an assignment goes out, one permitted action for every account, worth the most
within every limit, with a bound on how much more any assignment could be worth, a price for each limit, and the exact
probability of every action. The room takes arrays and frames, never a model.
"""

from .assignment import Assignment
from .caution import cautious, shrink_effects
from .frontier import Frontier
from .problem import AccountRows, account_rows, join_accounts
from .solver import AssignmentSolution, solve_assignment
from .treatment_policy import TreatmentPolicy
from .tree import StrategyTree
from .value import PricedActions, price_actions

__all__ = [
    "AccountRows",
    "Assignment",
    "AssignmentSolution",
    "Frontier",
    "PricedActions",
    "StrategyTree",
    "TreatmentPolicy",
    "account_rows",
    "cautious",
    "join_accounts",
    "price_actions",
    "shrink_effects",
    "solve_assignment",
]
