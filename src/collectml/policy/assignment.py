"""What was assigned: the frame a batch writes, the probabilities a later evaluation needs, the limits and their prices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from collectml.errors import ConfigurationError, SchemaError

from ._usage import blocks
from .exploration import usage_of
from .frontier import Frontier, trace
from .plan import Plan
from .problem import AssignmentProblem
from .tree import StrategyTree
from .tree_fit import fit_tree

__all__ = ["Assignment"]

ONE_CONTACT = "one contact per customer"
REASONS = (
    "best value", "best permitted value", "better use of limit", ONE_CONTACT, "commitment", "mandatory", "hold-out",
    "exploration",
)  # fmt: skip
BEST, PERMITTED, RATIONED, CONTACTED, COMMITTED, MANDATORY, HELD_OUT, EXPLORED = range(len(REASONS))


@dataclass(frozen=True)
class Assignment:
    """One action for every account.

    Parameters
    ----------
    problem : AssignmentProblem
        What was to be solved.
    plan : Plan
        What every account would get without hold-out and exploration.
    action : ndarray of int, shape (n,)
        What every account gets.
    held_out, explored : ndarray of bool, shape (n,)
        Whose action comes from hold-out or exploration.
    used : ndarray, shape (K,)
        Usage of each limit by what is really assigned.
    counter : int
        How often exploration was drawn again because it broke a limit.
    by_tree : StrategyTree or None
        The strategy tree that the plan followed; None for the best plan.
    leaf : ndarray of int, shape (n,), or None
        The leaf of the tree that each account belongs to.
    scored : AssignmentProblem or None
        The problem with the tree's worths in place of the accounts' own values.

    Notes
    -----
    Only what was decided is held; what a row says of it (:meth:`table`) is worked out when asked for, so that a batch can
    write millions of rows block by block.
    """

    problem: AssignmentProblem
    plan: Plan
    action: NDArray[np.signedinteger]
    held_out: NDArray[np.bool_]
    explored: NDArray[np.bool_]
    used: NDArray[np.float64]
    counter: int
    by_tree: StrategyTree | None = None
    leaf: NDArray[np.signedinteger] | None = None
    scored: AssignmentProblem | None = None

    def frame(self) -> pd.DataFrame:
        """Give the assignment, a row an account.

        Returns
        -------
        DataFrame
            ``account_id, action, value`` and ``value_no_action`` (money), ``probability`` (of this action, exact), ``reason``,
            ``blocked_by`` (the condition or limit that kept the account from its most valuable action; empty where nothing
            did).
        """
        return pa.concat_tables(self.table(rows) for rows in blocks(len(self.action))).to_pandas()

    def table(self, rows: slice) -> pa.Table:
        """Give some rows of :meth:`frame` as an Arrow table.

        Parameters
        ----------
        rows : slice
            Which.

        Returns
        -------
        pyarrow.Table
        """
        problem, action = self.problem, self.action[rows]
        place = np.arange(len(action))
        reason, blocker = self._reasons(rows)
        names = [*REASONS, *(f"strategy tree, leaf {k}" for k in range(1 + _last(self.leaf)))]
        blockers = [*problem.permissions.denied, *(x.name for x in problem.limits), ONE_CONTACT, ""]
        return pa.table(
            {
                "account_id": pa.array(problem.ids[rows]),
                "action": _named(problem.strategy.action_names, action),
                "value": np.asarray(problem.net[rows][place, action], dtype=np.float64),
                "value_no_action": np.asarray(problem.net[rows, 0], dtype=np.float64),
                "probability": self._chances(rows)[place, action],
                "reason": _named(names, reason),
                "blocked_by": _named(blockers, blocker),
            }
        )

    @property
    def probability(self) -> NDArray[np.float64]:
        """What :meth:`probabilities` returns, without names, shape (n, A)."""
        return self._chances(slice(None))

    def _chances(self, rows: slice) -> NDArray[np.float64]:
        strategy, free = self.problem.strategy, self.problem.free[rows]
        h, e = strategy.holdout.share, strategy.exploration.share
        out = np.where(free, (1 - h) * e, 0.0)[:, None] * self.problem.explored(rows)
        out[np.arange(len(out)), self.plan.action[rows]] += np.where(free, (1 - h) * (1 - e), 1.0)
        out[:, 0] += np.where(free, h, 0.0)
        # three shares that add up to one may add up to a bit more, which no log of probabilities would take
        return np.minimum(out, 1.0, out=out)

    def _reasons(self, rows: slice) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        reason, blocker = decision_reasons(self.scored or self.problem, self.plan, rows)
        if self.leaf is not None:
            reason = np.where(reason <= PERMITTED, len(REASONS) + self.leaf[rows], reason).astype(np.int16)
        reason[self.held_out[rows]] = HELD_OUT
        reason[self.explored[rows]] = EXPLORED
        return reason, blocker

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
            With the money it gives up against the best plan, and `exact`: whether the search for its questions ran to its end.

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
        rows = [
            {
                "limit": x.name,
                "ratio": x.ratio.of(self.action),
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
        names, net, n = list(self.problem.strategy.action_names), self.problem.net, len(self.action)
        counts, value, control = (np.zeros(len(names)) for _ in range(3))
        for rows in blocks(n):
            action = self.action[rows]
            own = np.asarray(net[rows][np.arange(len(action)), action], dtype=np.float64)
            counts += np.bincount(action, minlength=len(names))
            value += np.bincount(action, own, minlength=len(names))
            control += np.bincount(action, net[rows, 0], minlength=len(names))
        return pd.DataFrame(
            {"accounts": counts.astype(np.int64), "share": counts / max(1, n), "value": value, "gain": value - control},
            index=pd.Index(names, name="action"),
        )

    @property
    def _index(self) -> pd.Index:
        return pd.Index(self.problem.ids, name="account_id")


def decision_reasons(
    problem: AssignmentProblem, plan: Plan, rows: slice = slice(None)
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Say for some accounts why they have the plan's action, and what kept them from their most valuable one.

    Parameters
    ----------
    problem : AssignmentProblem
        What was to be solved.
    plan : Plan
        What was decided.
    rows : slice
        Which accounts; all by default.

    Returns
    -------
    reason, blocker : ndarray of int, shape (m,)
        Positions in ``REASONS``: ``best value``; ``best permitted value`` (a condition or missing evidence blocks a more
        valuable action); ``better use of limit`` (a limit is worth more elsewhere); ``one contact per customer``;
        ``mandatory``; ``commitment``. Positions among conditions, then limits, then "one contact per customer"; -1 for none.
    """
    action, net, eligible = plan.action[rows], np.asarray(problem.net[rows], dtype=np.float64), problem.eligible[rows]
    free, place = problem.free[rows], np.arange(len(action))
    best = np.argmax(net, axis=1)
    permitted = np.argmax(np.where(eligible, net, -np.inf), axis=1)
    value, top = net[place, action], net[place, permitted]
    conditions, one_contact = len(problem.permissions.denied), len(problem.permissions.denied) + len(problem.limits)
    reason = np.full(len(action), BEST, dtype=np.int16)
    blocker = np.full(len(action), -1, dtype=np.int16)

    barred = (net[place, best] > top) & ~eligible[place, best]
    named = problem.permissions.blocking(best, rows)
    # not forbidden by a condition, so another account of the customer is already contacted, or the value is unknown
    named[named < 0] = one_contact
    reason[barred], blocker[barred] = PERMITTED, named[barred]

    which = np.flatnonzero(free & (value < top))
    if len(which):
        scarcity = np.full((len(which), len(problem.limits) + 1), -np.inf)
        for k, (limit, price) in enumerate(zip(problem.limits, plan.solution.shadow_prices, strict=True)):
            usage = usage_of(limit, len(problem.ids))[rows]
            scarcity[:, k] = price * (usage[which, permitted[which]].astype(np.float64) - usage[which, action[which]])
        # prices that do not add up to what the account gives up: its customer's other account was the better contact
        if problem.strategy.one_contact_per_customer:
            lost = top[which] - value[which]
            short = scarcity[:, :-1].sum(axis=1) < lost * (1 - 1e-6)
            scarcity[(problem.household[rows][which] > 1) & short, -1] = np.inf
        cause = scarcity.argmax(axis=1)
        reason[which] = np.where(cause == len(problem.limits), CONTACTED, RATIONED)
        blocker[which] = conditions + cause
    reason[~free] = np.where(problem.mandatory[rows][~free], MANDATORY, COMMITTED)
    blocker[~free] = -1
    return reason, blocker


def _named(names: Sequence[str], at: NDArray[np.integer]) -> pa.Array:
    """Look names up, the last one for -1."""
    return pa.array(names).take(pa.array(np.where(at < 0, len(names) - 1, at)))


def _last(leaf: NDArray[np.signedinteger] | None) -> int:
    return -1 if leaf is None else int(leaf.max(initial=0))
