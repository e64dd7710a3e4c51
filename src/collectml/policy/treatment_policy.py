"""The treatment policy: every account its best permitted action within the limits, each with the exact probability of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.errors import InfeasibleStrategyError
from collectml.strategy import CompiledLimit, Strategy

from ._usage import total
from .assignment import Assignment
from .exploration import randomise
from .plan import Plan, make_plan
from .problem import AssignmentProblem, pose
from .tree import StrategyTree
from .value import PricedActions, price_actions

__all__ = ["TreatmentPolicy"]

MAX_REDRAWS = 20


class TreatmentPolicy:
    """Assigns actions under a strategy.

    Parameters
    ----------
    strategy : Strategy
        What may be done, within which limits, and what it is worth.
    logged : mapping of str to int, optional
        Rows of the decision log that support each action. Actions below the strategy's ``min_logged`` are blocked with
        "no evidence"; without the mapping nothing is blocked on that ground.
    tree : StrategyTree, optional
        Makes the plan in place of each account's own values; hold-out, exploration, limits and probabilities stay exact.

    Notes
    -----
    The plan's action is found for every account, held-out and explored ones too, so that no probability depends on a draw.
    With hold-out share h, exploration share e and exploration's distribution q over the account's eligible actions (where only one of
    a customer's accounts may be contacted, each of them alike is that one),

    ``P(a) = h [a = control] + (1 - h) (e q(a) + (1 - e) [a = plan's action])``.

    The plan may use what exploration, running commitments and mandatory notices are expected to leave of each limit, less a
    margin for chance; since only a share (1 - h)(1 - e) of the plan is carried out, its limits are those divided by that.
    Usage of what is really assigned is then summed; on a breach exploration is drawn again.

    Examples
    --------
    >>> strategy = Strategy.model_validate({"name": "s", "currency": "EUR",
    ...     "actions": [{"name": "no_action"}, {"name": "call", "channel": "call"}],
    ...     "limits": [{"name": "calls", "kind": "capacity", "actions": ["call"], "upper": 1}]})
    >>> accounts = pd.DataFrame({"account_id": [1, 2, 3]})
    >>> values = pd.DataFrame({"no_action": [5.0, 5.0, 5.0], "call": [9.0, 12.0, 4.0]}, index=[1, 2, 3])
    >>> assignment = TreatmentPolicy(strategy).assign(values, accounts, as_of="2026-01-01")
    >>> assignment.frame()[["account_id", "action", "reason", "blocked_by"]]
       account_id     action             reason blocked_by
    0           1  no_action  better use of limit      calls
    1           2       call         best value
    2           3  no_action         best value
    """

    def __init__(
        self, strategy: Strategy, *, logged: Mapping[str, int] | None = None, tree: StrategyTree | None = None
    ) -> None:
        self.strategy = strategy
        self.logged = logged
        self.tree = tree

    def assign(
        self,
        values: pd.DataFrame | PricedActions,
        accounts: pd.DataFrame,
        *,
        capacity: pd.DataFrame | Mapping[str, float] | None = None,
        as_of: str | pd.Timestamp,
    ) -> Assignment:
        """Assign one action to every account.

        Parameters
        ----------
        values : DataFrame, accounts × actions, or PricedActions
            Net value in money of every action. A bare frame uses the costs, minutes and complaint rates that the strategy
            states; :class:`~collectml.policy.PricedActions` brings those the models expect. A missing value blocks the
            action for that account ("no evidence").
        accounts : DataFrame, n rows
            Account snapshot with ``account_id``, optionally ``customer_id``, the fields the conditions read, and
            ``committed_action`` with ``committed_until``.
        capacity : DataFrame or mapping, optional
            A capacity calendar, or upper bounds by limit name, in place of those of the strategy.
        as_of : str or Timestamp
            Date of the decision.

        Returns
        -------
        Assignment

        Raises
        ------
        SchemaError
            Where accounts repeat, or values and accounts do not match.
        InfeasibleStrategyError
            Where no assignment can satisfy the limits.
        """
        day = pd.Timestamp(as_of).normalize()
        strategy = self.strategy if capacity is None else self.strategy.with_capacity(capacity, as_of=day)
        priced = values if isinstance(values, PricedActions) else _stated(strategy, values)
        problem = pose(strategy, priced, accounts, day=day, unsupported=self.unsupported())
        return self.decide(problem, None if self.tree is None else self.tree.leaf_of(accounts))

    def decide(self, problem: AssignmentProblem, leaf: NDArray[np.signedinteger] | None = None) -> Assignment:
        """Assign one action to every account of a problem that is set up.

        Parameters
        ----------
        problem : AssignmentProblem
            The problem of the cycle.
        leaf : ndarray of int, shape (n,), optional
            The leaf of the strategy tree that each account belongs to, where there is a tree.

        Returns
        -------
        Assignment
        """
        if self.tree is None or leaf is None:
            return _carry_out(problem, make_plan(problem))
        scored, plan = self.tree.plan(problem, leaf)
        return replace(_carry_out(problem, plan), by_tree=self.tree, leaf=leaf, scored=scored)

    def unsupported(self) -> tuple[str, ...]:
        """Name the actions with too few supporting rows in the log.

        Returns
        -------
        tuple of str
        """
        if self.logged is None:
            return ()
        few = (a for a in self.strategy.action_names if self.logged.get(a, 0) < self.strategy.min_logged)
        return tuple(a for a in few if a != self.strategy.control)


def _stated(strategy: Strategy, values: pd.DataFrame) -> PricedActions:
    """Take net values as given, and quantities as the strategy states them."""
    plain = strategy.model_copy(update={"objective": strategy.objective.as_estimated})
    priced = price_actions(plain, values)
    return PricedActions(priced.recovered, priced.recovered, priced.cost, priced.minutes, priced.complaints)


def _carry_out(problem: AssignmentProblem, plan: Plan) -> Assignment:
    """Draw hold-out and exploration, and check every limit on what is really assigned."""
    h, e = problem.strategy.holdout.share, problem.strategy.exploration.share
    for counter in range(MAX_REDRAWS if e > 0 else 1):
        drawn = randomise(problem, counter=counter)
        action = np.where(drawn.explored, drawn.drawn, plan.action)
        action[drawn.held_out] = 0
        used = np.array([total(x.usage, action) for x in problem.limits], dtype=float)
        broken = [x.name for x, u in zip(problem.limits, used, strict=True) if not _holds(x, float(u))]
        if not broken:
            return Assignment(problem, plan, action, drawn.held_out, drawn.explored, used, counter)
    raise InfeasibleStrategyError(
        f"with a hold-out of {h:.0%} and exploration of {e:.0%} no draw keeps {', '.join(broken)}: "
        "lower the minimum, or the shares",
        broken,
    )


def _holds(limit: CompiledLimit, used: float) -> bool:
    slack = 1e-9
    above = used > limit.upper + slack * max(1.0, abs(limit.upper))
    below = used < limit.lower - slack * max(1.0, abs(limit.lower))
    return not (above or below)
