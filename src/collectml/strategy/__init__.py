"""What we may do.

A strategy is what a manager decides and signs: the catalogue of actions and what they cost, the limits of people, money and
complaints, the conditions under which an account may be contacted at all, what a recovered unit and a complaint are worth,
how accounts are graded, and how many customers are left to chance so that there is something to learn from.
"""

from .actions import Action
from .eligibility import Expression
from .limit_base import CompiledLimit, Ratio, Tally
from .limits import (
    BudgetLimit,
    CapacityLimit,
    ComplaintLimit,
    FairnessLimit,
    Limit,
    PlacementLimit,
    ShareLimit,
)
from .permissions import NO_EVIDENCE, Permissions, permissions
from .rules import Rule, Rules
from .spec import Caution, Condition, Exploration, Grades, HoldOut, Objective, Salts, Strategy

__all__ = [
    "NO_EVIDENCE",
    "Action",
    "BudgetLimit",
    "CapacityLimit",
    "Caution",
    "CompiledLimit",
    "ComplaintLimit",
    "Condition",
    "Exploration",
    "Expression",
    "FairnessLimit",
    "Grades",
    "HoldOut",
    "Limit",
    "Objective",
    "Permissions",
    "PlacementLimit",
    "Ratio",
    "Rule",
    "Rules",
    "Salts",
    "ShareLimit",
    "Strategy",
    "Tally",
    "permissions",
]
