"""What was assigned: the frame a batch writes, the probabilities a later evaluation needs, the limits and their prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.errors import ConfigurationError, SchemaError

from .exploration import usage_of
from .frontier import Frontier, trace
from .plan import Plan
from .problem import AssignmentProblem
from .tree import StrategyTree
from .tree_fit import fit_tree

__all__ = ["Assignment", "decision_reasons"]

ONE_CONTACT = "one contact per customer"


@dataclass(frozen=True)
class Assignment:
    """One action for every account.

    Parameters
    ----------
    problem : AssignmentProblem
        What was to be solved.
    plan : Plan
        What every account would get without hold-out and exploration.
    decisions : DataFrame, n rows
        What :meth:`frame` returns.
    probability : ndarray, shape (n, A)
        What :meth:`probabilities` returns.
    used : ndarray, shape (K,)
        Usage of each limit by what is really assigned.
    counter : int
        How often exploration was drawn again because it broke a limit.
    by_tree : StrategyTree or None
        The strategy tree that the plan followed; None for the best plan.
    """

    problem: AssignmentProblem
    plan: Plan
    decisions: pd.DataFrame
    probability: NDArray[np.float64]
    used: NDArray[np.float64]
    counter: int
    by_tree: StrategyTree | None = None

    def frame(self) -> pd.DataFrame:
        """Give the assignment, a row an account.

        Returns
        -------
        DataFrame
            ``account_id, action, value`` and ``value_no_action`` (money), ``probability`` (of this action, exact), ``reason``,
            ``blocked_by`` (the condition or limit that kept the account from its most valuable action; empty where nothing
            did).
        """
        return self.decisions.copy()

    def probabilities(self) -> pd.DataFrame:
        """Give the probability of every action for every account.

        Returns
        -------
        DataFrame, accounts × actions
            Rows sum to 1.
        """
        return pd.DataFrame(self.probability, index=self._index, columns=list(self.problem.strategy.action_names))

    def planned(self) -> pd.Series:
        """Give the plan's action of every account, held-out and explored ones too.

        Returns
        -------
        Series of str
        """
        names = np.array(self.problem.strategy.action_names, dtype=object)
        return pd.Series(names[self.plan.action], index=self._index, name="planned", dtype="str")

    @property
    def shadow_prices(self) -> pd.Series:
        """What one unit more of each limit is worth, in money."""
        names = [x.name for x in self.problem.limits]
        return pd.Series(self.plan.solution.shadow_prices, index=names, name="shadow_price", dtype=float)

    def limits(self) -> pd.DataFrame:
        """Hold usage against limits.

        Returns
        -------
        DataFrame
            ``limit, unit, lower, upper, used, share_used, expected, shadow_price, sentence``.
        """
        limits = self.problem.limits
        upper = np.array([x.upper for x in limits], dtype=float)
        return pd.DataFrame(
            {
                "limit": [x.name for x in limits],
                "unit": [x.unit for x in limits],
                "lower": np.array([x.lower for x in limits], dtype=float),
                "upper": upper,
                "used": self.used,
                "share_used": np.divide(self.used, upper, out=np.zeros(len(limits)), where=upper > 0),
                "expected": self.plan.expected,
                "shadow_price": self.plan.solution.shadow_prices,
                "sentence": [x.sentence for x in limits],
            }
        )

    def frontier(
        self, limit: str | None = None, *, points: int = 50, low: float | None = None, high: float | None = None
    ) -> Frontier:
        """Ask what the portfolio would be worth if a limit were tighter or looser.

        Parameters
        ----------
        limit : str, optional
            Name of a limit with an upper bound; the one with most money at stake by default.
        points : int, default 50
            How many bounds.
        low, high : float, optional
            First and last bound, in the unit and for the accounts of :meth:`limits`; half of what is used now and one and a
            half times the bound in force by default.

        Returns
        -------
        Frontier
            Value, usage and shadow price at each bound, and which accounts change.

        Raises
        ------
        ConfigurationError
            Where there is no such limit, it has no upper bound, or the range is empty.
        """
        self._of_the_best_plan("a frontier")
        return trace(self.problem, self.plan, limit, points=points, low=low, high=high)

    def tree(
        self,
        accounts: pd.DataFrame,
        *,
        depth: int = 3,
        fields: Sequence[str] | None = None,
        min_leaf: int | None = None,
    ) -> StrategyTree:
        """Distil the plan into a few questions that people can read, and a batch can run.

        Parameters
        ----------
        accounts : DataFrame, n rows
            The accounts that were assigned, in the same order.
        depth : int, default 3
            Questions in a row, at most; 1 to 4.
        fields : sequence of str, optional
            Fields the tree may ask about; by default all numbers, flags and short texts but ids and commitments.
        min_leaf : int, optional
            Accounts a leaf has at least; a hundredth of those decided by default.

        Returns
        -------
        StrategyTree
            With the money it gives up against the best plan.

        Raises
        ------
        ConfigurationError
            Where there is nothing to ask about, or a field does not exist.
        SchemaError
            Where the accounts are not those that were assigned.
        """
        self._of_the_best_plan("a tree")
        if not pd.Index(accounts["account_id"]).equals(self.problem.ids):
            raise SchemaError("accounts: give the accounts that were assigned, in the same order")
        return fit_tree(self.problem, self.plan, accounts, depth=depth, fields=fields, min_leaf=min_leaf)

    def _of_the_best_plan(self, what: str) -> None:
        if self.by_tree is not None:
            raise ConfigurationError(f"{what} is made from the best plan; assign without the strategy tree")

    def ratios(self) -> pd.DataFrame:
        """Give the comparisons that limits make (fairness between groups, shares of placements), as assigned.

        Returns
        -------
        DataFrame
            ``limit, ratio`` (of what is assigned; missing where nothing was or nobody is there to compare), ``at_least``,
            ``at_most``, ``sentence``.
        """
        columns = pd.Index(self.problem.strategy.action_names)
        action = columns.get_indexer(pd.Index(self.decisions["action"]))
        rows = [
            {
                "limit": x.name,
                "ratio": x.ratio.of(action),
                "at_least": x.ratio.bound if np.isfinite(x.lower) else np.nan,
                "at_most": x.ratio.bound if np.isfinite(x.upper) else np.nan,
                "sentence": x.sentence,
            }
            for x in self.problem.limits
            if x.ratio is not None
        ]
        return pd.DataFrame(rows, columns=["limit", "ratio", "at_least", "at_most", "sentence"])

    def by_action(self) -> pd.DataFrame:
        """Sum accounts and value by action.

        Returns
        -------
        DataFrame
            Indexed by action: ``accounts``, ``share``, ``value`` and ``gain`` over the control (money).
        """
        frame = self.decisions.assign(gain=self.decisions["value"] - self.decisions["value_no_action"])
        table = frame.groupby("action").agg(accounts=("value", "size"), value=("value", "sum"), gain=("gain", "sum"))
        table = table.reindex(list(self.problem.strategy.action_names), fill_value=0)
        table.insert(1, "share", table["accounts"] / max(1, len(frame)))
        return table

    @property
    def _index(self) -> pd.Index:
        return pd.Index(self.problem.ids, name="account_id")


def decision_reasons(problem: AssignmentProblem, plan: Plan) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """Say for each account why it has the plan's action, and what kept it from its most valuable one.

    Parameters
    ----------
    problem : AssignmentProblem
        What was to be solved.
    plan : Plan
        What was decided.

    Returns
    -------
    reason, blocked_by : ndarray of str, shape (n,)
        Reasons: ``best value``; ``best permitted value`` (a condition or missing evidence blocks a more valuable action);
        ``better use of limit`` (a limit is worth more elsewhere); ``one contact per customer``; ``mandatory``; ``commitment``.
    """
    n = len(problem.ids)
    rows = np.arange(n)
    action = plan.action
    net, eligible = problem.net, problem.eligible
    best = np.argmax(net, axis=1)
    best_permitted = np.argmax(np.where(eligible, net, -np.inf), axis=1)
    value = net[rows, action]
    reason = np.full(n, "best value", dtype=object)
    blocked_by = np.full(n, "", dtype=object)

    barred = (net[rows, best] > net[rows, best_permitted]) & ~eligible[rows, best]
    named = problem.permissions.blocked_by(best)
    # not forbidden by a condition, so another account of the customer is already contacted, or the value is unknown
    named[barred & (named == "")] = ONE_CONTACT
    reason[barred] = "best permitted value"
    blocked_by[barred] = named[barred]

    rationed = problem.free & (value < net[rows, best_permitted])
    if rationed.any():
        which = rows[rationed]
        scarcity = np.zeros((len(which), len(problem.limits)))
        for k, (limit, price) in enumerate(zip(problem.limits, plan.solution.shadow_prices, strict=True)):
            usage = usage_of(limit, n)
            scarcity[:, k] = price * (usage[which, best_permitted[which]] - usage[which, action[which]])
        names = np.array([*(x.name for x in problem.limits), ONE_CONTACT], dtype=object)
        lost = net[which, best_permitted[which]] - value[which]
        # prices that do not add up to what the account gives up: its customer's other account was the better contact
        total = np.column_stack([scarcity, np.full(len(which), -np.inf)])
        if problem.strategy.one_contact_per_customer:
            several = np.bincount(problem.customer_code)[problem.customer_code[which]] > 1
            total[several & (scarcity.sum(axis=1) < lost * (1 - 1e-6)), -1] = np.inf
        cause = names[total.argmax(axis=1)] if total.shape[1] > 1 else np.full(len(which), ONE_CONTACT, dtype=object)
        reason[rationed] = np.where(cause == ONE_CONTACT, ONE_CONTACT, "better use of limit")
        blocked_by[rationed] = cause
    fixed = ~problem.free
    reason[fixed], blocked_by[fixed] = problem.fixed_reason[fixed], ""
    return reason, blocked_by
