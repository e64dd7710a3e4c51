"""From an optimal assignment to a strategy tree: search splits at given prices, solve prices for the tree, and again.

With a price on each limit, an action is worth its value less what it uses; the best tree for those worths is found by exact
search. Its own plan, solved within every limit, has prices of its own, for which another tree may be better. The tree whose
plan is worth most is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.errors import ConfigurationError
from collectml.strategy.reading import nearest

from .exploration import incremental, usage_of
from .plan import Plan
from .problem import AssignmentProblem
from .tree import Leaf, Split, StrategyTree
from .tree_search import Branch, best_tree

__all__ = ["fit_tree"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

NO_FIELDS = frozenset({"account_id", "customer_id", "committed_action", "committed_until", "as_of"})
MOST_CATEGORIES = 30
ROUNDS = 4
SEARCHED = 20_000


@dataclass(frozen=True)
class _Question:
    """One column of ranks: a field that is at most something, or that equals a category."""

    field: str
    ranks: NDArray[np.int32]
    values: Floats
    category: str | bool | None = None
    missing: Literal["if_yes", "if_no"] = "if_no"

    def split(self, rank: int, yes: Split | Leaf, no: Split | Leaf) -> Split:
        """Write the split at a rank for people."""
        if self.category is not None:
            return Split(field=self.field, equals=self.category, if_yes=yes, if_no=no)
        if rank < 0:  # nobody but the missing
            return Split(field=self.field, at_most=_between(self.values[-1], np.inf), if_yes=no, if_no=yes)
        above = self.values[rank + 1] if rank + 1 < len(self.values) else np.inf
        at_most = _between(self.values[rank], above)
        return Split(field=self.field, at_most=at_most, missing=self.missing, if_yes=yes, if_no=no)


def fit_tree(
    problem: AssignmentProblem,
    plan: Plan,
    accounts: pd.DataFrame,
    *,
    depth: int = 3,
    fields: Sequence[str] | None = None,
    min_leaf: int | None = None,
) -> StrategyTree:
    """Distil a plan into a tree.

    Parameters
    ----------
    problem : AssignmentProblem
        What was solved.
    plan : Plan
        Its best plan.
    accounts : DataFrame, n rows
        The accounts, in the problem's order.
    depth : int, default 3
        Questions in a row, at most; 1 to 4.
    fields : sequence of str, optional
        Fields the tree may ask about; by default all numbers, flags and short texts but ids and commitments.
    min_leaf : int, optional
        Accounts a leaf has at least; a hundredth of those decided by default.

    Returns
    -------
    StrategyTree

    Raises
    ------
    ConfigurationError
        Where there is nothing to ask about, or a field does not exist.

    Notes
    -----
    Rewards are values less priced usage, beyond the control's; where an action is not permitted its reward is the control's.
    Two questions are searched exactly over all thresholds; deeper trees look two questions ahead at each step. A search that would
    take too long is cut off, which `StrategyTree.exact` then denies. Above 20,000
    accounts the questions are found on so many, drawn by hash; what the leaves are worth is worked out on all.

    References
    ----------
    Zhou, Athey & Wager (2023), Offline multi-action policy learning: generalization and optimization, Operations Research
    71(1). Amram, Dunn & Zhuo (2022), Optimal policy trees, Machine Learning 111.
    """
    if not 1 <= depth <= 4:
        raise ConfigurationError(f"a tree has 1 to 4 questions in a row, not {depth}")
    rows = np.flatnonzero(problem.free)
    if not len(rows):
        raise ConfigurationError("no account is decided: all are commitments or mandatory notices, so there is no tree")
    least = max(1, len(rows) // 100) if min_leaf is None else min_leaf
    sample = rows[np.argsort(problem.tie[rows], kind="stable")[:SEARCHED]] if len(rows) > SEARCHED else rows
    least_of_sample = max(1, round(least * len(sample) / len(rows)))
    questions = _questions(accounts.iloc[sample], _fields(accounts, fields))
    if not questions:
        raise ConfigurationError("no field differs between accounts: there is nothing a tree could ask")
    ranks = np.column_stack([q.ranks for q in questions])
    beyond = [incremental(x) for x in problem.limits]
    net = problem.net[rows]
    optimum = float(problem.net[rows, plan.action[rows]].sum())
    prices, best, seen = plan.solution.shadow_prices, None, set()
    for _ in range(ROUNDS):
        rewards = np.where(problem.eligible[sample], problem.net[sample] - problem.net[sample, :1], 0.0)
        for price, limit in zip(prices, beyond, strict=True):
            rewards -= price * np.where(problem.eligible[sample], usage_of(limit, len(problem.ids))[sample], 0.0)
        found = best_tree(rewards, ranks, depth=depth, min_leaf=least_of_sample)
        if found.tree in seen:
            break
        seen.add(found.tree)
        bare = _written(problem, accounts, found.tree, questions, rows, prices).model_copy(update={"exact": found.exact})
        _, own = bare.plan(problem, bare.leaf_of(accounts))
        prices = own.solution.shadow_prices
        value = float(problem.net[rows, own.action[rows]].sum())
        if best is None or value > best[0]:
            best = value, bare, own.action
    assert best is not None  # noqa: S101  (the first round always finds one)
    value, tree, action = best
    facts = {"optimum": optimum, "value": value, "value_control": float(net[:, 0].sum())}
    return _with_assigned(problem, accounts, tree, action, rows).model_copy(update=facts)


def _fields(accounts: pd.DataFrame, fields: Sequence[str] | None) -> list[str]:
    if fields is None:
        return [str(c) for c in accounts.columns if c not in NO_FIELDS]
    unknown = [f"{f!r}{nearest(f, map(str, accounts.columns))}" for f in fields if f not in accounts]
    if unknown:
        raise ConfigurationError(f"the tree shall ask about {', '.join(unknown)}, which the accounts do not have")
    return list(fields)


def _questions(accounts: pd.DataFrame, fields: Sequence[str]) -> list[_Question]:
    """List what can be asked: thresholds of numbers with missing ones on either side, flags, categories one by one."""
    out: list[_Question] = []
    for field in fields:
        column = accounts[field]
        known = column.notna().to_numpy(dtype=bool)
        if column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) == "boolean":
            column = column.astype("boolean")
        if not known.any() or pd.api.types.is_datetime64_any_dtype(column.dtype):
            continue
        if pd.api.types.is_bool_dtype(column.dtype):
            true = column.fillna(False).to_numpy(dtype=bool)
            out.append(_Question(field, np.where(true, 0, 1).astype(np.int32), np.arange(2.0), True))
        elif pd.api.types.is_numeric_dtype(column.dtype):
            number = column.to_numpy(dtype=float, na_value=np.nan)
            known = np.isfinite(number)
            values, rank = np.unique(number[known], return_inverse=True)
            sides: tuple[Literal["if_yes", "if_no"], ...] = ("if_no",) if known.all() else ("if_no", "if_yes")
            for missing in sides:
                place = len(values) if missing == "if_no" else -1
                ranks = np.full(len(number), place, dtype=np.int32)
                ranks[known] = rank
                out.append(_Question(field, ranks, values, missing=missing))
        else:
            text = column.astype(object).where(known, "")
            common = text[known].value_counts().head(MOST_CATEGORIES + 1)
            if len(common) <= MOST_CATEGORIES:
                out += [
                    _Question(field, np.where(known & (text == c).to_numpy(dtype=bool), 0, 1).astype(np.int32), np.arange(2.0), str(c))
                    for c in sorted(map(str, common.index))
                ]  # fmt: skip
    return [q for q in out if q.ranks.min() < q.ranks.max()]


def _between(below: float, above: float) -> float:
    """Choose the roundest number from one value up to, not including, the next."""
    if not np.isfinite(above):
        return float(below)
    middle = (below + above) / 2
    for digits in range(-12, 13):
        number = round(float(middle), digits)
        if below <= number < above:
            return number + 0.0
    return float(below)


def _written(
    problem: AssignmentProblem,
    accounts: pd.DataFrame,
    branch: Branch,
    questions: list[_Question],
    rows: Ints,
    prices: Floats,
) -> StrategyTree:
    """Write a branch as a tree, its leaves valued on all accounts that are decided."""
    names = problem.strategy.action_names
    number = 0

    def node(at: Branch) -> Split | Leaf:
        nonlocal number
        if at.yes is None or at.no is None:
            number += 1
            return Leaf(leaf=number, gains={names[0]: 0.0})
        return questions[at.field].split(at.rank, node(at.yes), node(at.no))

    strategy = problem.strategy
    empty = StrategyTree(strategy=strategy.name, control=strategy.control, currency=strategy.currency, root=node(branch))
    code = empty.leaf_of(accounts)[rows]
    beyond = [usage_of(incremental(x), len(problem.ids)) for x in problem.limits]
    leaves: dict[int, Leaf] = {}
    for leaf in range(1, number + 1):
        inside = rows[code == leaf]
        gains, order = {}, {}
        for a, name in enumerate(names):
            may = inside[problem.eligible[inside, a]]
            if a and not len(may):
                continue
            gains[name] = float((problem.net[may, a] - problem.net[may, 0]).mean()) if a else 0.0
            used = [float(u[may, a].mean()) if a else 0.0 for u in beyond]
            order[name] = gains[name] - float(np.dot(prices, used))
        ranked = sorted(gains, key=lambda name: (-order[name], names.index(name)))
        # fewer digits than a float has, for people; sixteen would promise more than there is
        leaves[leaf] = Leaf(leaf=leaf, accounts=len(inside), gains={x: float(f"{gains[x]:.10g}") for x in ranked})
    return empty.model_copy(update={"root": _replaced(empty.root, leaves)})


def _with_assigned(
    problem: AssignmentProblem, accounts: pd.DataFrame, tree: StrategyTree, action: Ints, rows: Ints
) -> StrategyTree:
    names, code = problem.strategy.action_names, tree.leaf_of(accounts)[rows]
    leaves = {}
    for _, leaf in tree.leaves():
        count = np.bincount(action[rows[code == leaf.leaf]], minlength=len(names))
        assigned = {x: int(count[names.index(x)]) for x in names if count[names.index(x)]}
        leaves[leaf.leaf] = leaf.model_copy(update={"assigned": assigned})
    return tree.model_copy(update={"root": _replaced(tree.root, leaves)})


def _replaced(node: Split | Leaf, leaves: dict[int, Leaf]) -> Split | Leaf:
    if isinstance(node, Leaf):
        return leaves[node.leaf]
    return node.model_copy(update={"if_yes": _replaced(node.if_yes, leaves), "if_no": _replaced(node.if_no, leaves)})
