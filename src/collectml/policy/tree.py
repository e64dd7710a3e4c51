"""A strategy tree: a few questions about an account, and in each leaf what an action is worth there; read, drawn, run.

A leaf does not force an action: it says what each is worth to an account like these, and the plan is solved on those worths.
So every limit holds as always, what a limit cannot give to a whole leaf goes to part of it, most valuable accounts first, and an
account that may not get its leaf's first action gets the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from collectml.errors import ConfigurationError, SchemaError
from collectml.strategy import Strategy
from collectml.strategy.reading import parse, read_yaml

from .plan import Plan, make_plan
from .problem import AssignmentProblem

__all__ = ["Leaf", "Split", "StrategyTree"]

_CLOSED = ConfigDict(extra="forbid", frozen=True)
PRIORITY = 0.2  # of an action's gain in a leaf: spread over its accounts by rank, so that those who gain most come first
MAX_DEPTH = 10


class Leaf(BaseModel):
    """Accounts that are treated alike.

    Parameters
    ----------
    leaf : int
        Its number, from 1.
    accounts : int
        How many accounts it had when the tree was made.
    gains : dict of str to float
        Money an action adds to the control, per account that may get it, in the order in which they are preferred after
        their use of limits is paid for. An action that is not named is not given here.
    assigned : dict of str to int
        What its accounts got when the tree was made.
    """

    model_config = _CLOSED

    leaf: int = Field(ge=1)
    accounts: int = Field(default=0, ge=0)
    gains: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(min_length=1)
    assigned: dict[str, Annotated[int, Field(ge=0)]] = {}


class Split(BaseModel):
    """A question about one account field.

    Parameters
    ----------
    field : str
        The account field.
    at_most : float, optional
        The question is whether the field is at most this.
    equals : str or bool, optional
        Or whether it equals this.
    missing : {"if_yes", "if_no"}, default "if_no"
        Where accounts go whose field is missing.
    if_yes, if_no : Split or Leaf
        What follows. (Bare "yes" and "no" would be no words in YAML.)
    """

    model_config = _CLOSED

    field: str = Field(min_length=1, max_length=200)
    at_most: float | None = Field(default=None, allow_inf_nan=False)
    equals: bool | str | None = None
    missing: Literal["if_yes", "if_no"] = "if_no"
    if_yes: Node
    if_no: Node

    @model_validator(mode="after")
    def _one_question(self) -> Split:
        if (self.at_most is None) == (self.equals is None):
            raise ValueError("give at_most or equals, one of them")
        return self

    def question(self) -> str:
        """Say what is asked.

        Returns
        -------
        str
        """
        return f"{self.field} {self._test('at most', 'is')}"

    def _test(self, at_most: str, equals: str) -> str:
        if self.at_most is not None:
            return f"{at_most} {self.at_most:,.10g}"
        return f"{equals} {str(self.equals).lower() if isinstance(self.equals, bool) else self.equals}"

    def answer(self, accounts: pd.DataFrame) -> NDArray[np.bool_]:
        """Answer the question for every account.

        Parameters
        ----------
        accounts : DataFrame, n rows
            Account snapshot.

        Returns
        -------
        ndarray of bool, shape (n,)

        Raises
        ------
        SchemaError
            Where the field holds something else than the question is about.
        """
        column = accounts[self.field]
        known = column.notna().to_numpy(dtype=bool)
        if self.at_most is not None:
            numbers = pd.to_numeric(column, errors="coerce") if column.dtype == object else column
            if not pd.api.types.is_numeric_dtype(numbers.dtype):
                raise SchemaError(
                    f"accounts: the tree asks whether {self.field} is {self._test('at most', '')}; it is no number"
                )
            with np.errstate(invalid="ignore"):
                said = numbers.to_numpy(dtype=float, na_value=np.nan) <= self.at_most
        elif isinstance(self.equals, bool):
            said = column.astype(object).where(column.notna(), None).map(lambda x: x == self.equals).to_numpy(dtype=bool)
        else:
            said = (column.astype(object) == self.equals).to_numpy(dtype=bool)
        return np.where(known, said, self.missing == "if_yes")


def _kind(node: Any) -> str:
    split = "field" in node if isinstance(node, dict) else isinstance(node, Split)
    return "split" if split else "leaf"


Node = Annotated[Annotated[Split, Tag("split")] | Annotated[Leaf, Tag("leaf")], Discriminator(_kind)]
Split.model_rebuild()


class StrategyTree(BaseModel):
    """A strategy in a few questions.

    Parameters
    ----------
    strategy, control, currency : str
        The strategy it was made for, its control and its money.
    root : Split or Leaf
        The first question.
    optimum, value, value_control : float
        Net value of the accounts it was made on: under the best plan, under the tree's, under the control.
    exact : bool
        Whether every search for its questions, two at a time, ran to its end: no other two would earn more there, at the prices
        of limits it was made with, from the accounts it was searched on (20,000 at most). False where a search was cut off,
        and for a tree that nobody searched for.

    See Also
    --------
    collectml.policy.Assignment.tree : Makes one.

    Examples
    --------
    >>> tree = StrategyTree.model_validate({"strategy": "s", "control": "no_action", "currency": "EUR",
    ...     "root": {"field": "balance", "at_most": 500,
    ...              "if_yes": {"leaf": 1, "gains": {"no_action": 0}}, "if_no": {"leaf": 2, "gains": {"call": 7.5, "no_action": 0}}}})
    >>> tree.frame()[["leaf", "rule", "first", "then"]]
       leaf                      rule      first       then
    0     1       balance at most 500  no_action
    1     2  not: balance at most 500       call  no_action
    """

    model_config = _CLOSED

    strategy: str
    control: str
    currency: str
    optimum: float = Field(default=0.0, allow_inf_nan=False)
    value: float = Field(default=0.0, allow_inf_nan=False)
    value_control: float = Field(default=0.0, allow_inf_nan=False)
    exact: bool = False
    root: Node

    @model_validator(mode="after")
    def _numbered(self) -> StrategyTree:
        numbers = [leaf.leaf for _, leaf in self.leaves()]
        if len(set(numbers)) < len(numbers):
            raise ValueError("two leaves have the same number")
        if any(self.control not in leaf.gains for _, leaf in self.leaves()):
            raise ValueError(f"every leaf names the control, {self.control!r}, in its gains")
        if any(len(path) > MAX_DEPTH for path, _ in self.leaves()):
            raise ValueError(f"a tree of more than {MAX_DEPTH} questions in a row is none that people read")
        return self

    @property
    def given_up(self) -> float:
        """Money the tree gives up against the best plan, on the accounts it was made on."""
        return self.optimum - self.value

    @property
    def fields(self) -> tuple[str, ...]:
        """The account fields it asks about."""
        return tuple(dict.fromkeys(split.field for path, _ in self.leaves() for split, _ in path))

    def leaves(self) -> Iterator[tuple[list[tuple[Split, bool]], Leaf]]:
        """Go through the leaves from the first answer yes to the last no.

        Yields
        ------
        path : list of (Split, bool)
            The questions on the way, each with its answer.
        leaf : Leaf
        """
        stack: list[tuple[list[tuple[Split, bool]], Split | Leaf]] = [([], self.root)]
        while stack:
            path, node = stack.pop()
            if isinstance(node, Leaf):
                yield path, node
            else:
                stack += [([*path, (node, False)], node.if_no), ([*path, (node, True)], node.if_yes)]

    def frame(self) -> pd.DataFrame:
        """Return the rules, a row a leaf.

        Returns
        -------
        DataFrame
            ``leaf, rule, accounts, share, first`` (the preferred action), ``then`` (the others in order), ``gain`` (of the
            first, money per account) and ``assigned`` (what the accounts of the leaf got when the tree was made).
        """
        rows = []
        everybody = max(1, sum(leaf.accounts for _, leaf in self.leaves()))
        for path, leaf in self.leaves():
            first, *others = leaf.gains
            got = sorted(leaf.assigned.items(), key=lambda item: -item[1])
            rows.append(
                {
                    "leaf": leaf.leaf,
                    "rule": " and ".join(f"{'' if said else 'not: '}{s.question()}" for s, said in path) or "everybody",
                    "accounts": leaf.accounts,
                    "share": leaf.accounts / everybody,
                    "first": first,
                    "then": ", ".join(others),
                    "gain": leaf.gains[first],
                    "assigned": ", ".join(f"{name} {count:,}" for name, count in got),
                }
            )
        return pd.DataFrame(rows)

    def leaf_of(self, accounts: pd.DataFrame) -> NDArray[np.intp]:
        """Say which leaf every account belongs to.

        Parameters
        ----------
        accounts : DataFrame, n rows
            Account snapshot.

        Returns
        -------
        ndarray of int, shape (n,)
            Numbers of leaves.

        Raises
        ------
        SchemaError
            Where accounts lack a field the tree asks about.
        """
        absent = [f for f in self.fields if f not in accounts]
        if absent:
            raise SchemaError(f"accounts: the tree asks about {', '.join(absent)}, which the snapshot does not have")
        out = np.zeros(len(accounts), dtype=np.intp)
        stack: list[tuple[NDArray[np.intp], Split | Leaf]] = [(np.arange(len(accounts)), self.root)]
        while stack:
            rows, node = stack.pop()
            if isinstance(node, Leaf):
                out[rows] = node.leaf
            else:
                said = node.answer(accounts.iloc[rows])
                stack += [(rows[said], node.if_yes), (rows[~said], node.if_no)]
        return out

    def plan(self, problem: AssignmentProblem, leaf: NDArray[np.signedinteger]) -> tuple[AssignmentProblem, Plan]:
        """Make the plan that follows the tree within every limit.

        Parameters
        ----------
        problem : AssignmentProblem
            The problem of the cycle.
        leaf : ndarray of int, shape (n,)
            Its accounts' leaves, see :meth:`leaf_of`.

        Returns
        -------
        scored : AssignmentProblem
            With the tree's worths, see :meth:`scored`.
        plan : Plan
            Its plan. With many accounts worth the same, whole accounts leave more of the gap than usual open: its target is
            a tenth of an average account, or 1e-6 where that is more.
        """
        scored = self.scored(problem, leaf)
        return scored, make_plan(scored, gap=max(1e-6, 0.1 / len(problem.ids)))

    def scored(self, problem: AssignmentProblem, code: NDArray[np.signedinteger]) -> AssignmentProblem:
        """Put the tree's worths in place of each account's own values.

        Parameters
        ----------
        problem : AssignmentProblem
            The problem of the cycle.
        code : ndarray of int, shape (n,)
            Its accounts' leaves, see :meth:`leaf_of`.

        Returns
        -------
        AssignmentProblem
            Of which a plan treats accounts of a leaf alike, as far as permissions and limits let it. Within a leaf the
            accounts that gain most come first.

        Raises
        ------
        ConfigurationError
            Where the tree belongs to another strategy.
        """
        self._belongs(problem.strategy)
        names = problem.strategy.action_names
        gain = problem.net - problem.net[:, :1]
        worth = np.repeat(problem.net[:, :1], problem.net.shape[1], axis=1)
        known = np.zeros(problem.eligible.shape, dtype=bool)
        for _, leaf in self.leaves():
            rows = np.flatnonzero(code == leaf.leaf)
            for name, money in leaf.gains.items():
                a = names.index(name)
                known[rows, a] = True
                if a and len(rows):
                    place = np.empty(len(rows))
                    place[np.lexsort((problem.tie[rows], gain[rows, a]))] = np.arange(len(rows))
                    worth[rows, a] += money + PRIORITY * abs(money) * (place / len(rows) - 0.5)
        return replace(problem, net=worth, eligible=problem.eligible & known)

    def _belongs(self, strategy: Strategy) -> None:
        if self.strategy != strategy.name or self.control != strategy.control:
            raise ConfigurationError(
                f"the tree was made for strategy {self.strategy!r} with control {self.control!r}, "
                f"not for {strategy.name!r} with {strategy.control!r}"
            )
        unknown = {a for _, leaf in self.leaves() for a in leaf.gains} - set(strategy.action_names)
        if unknown:
            raise ConfigurationError(f"the tree names {', '.join(sorted(unknown))}, which strategy {strategy.name!r} lacks")

    @classmethod
    def from_yaml(cls, path: str | Path) -> StrategyTree:
        """Read a tree file.

        Parameters
        ----------
        path : str or Path
            A YAML file.

        Returns
        -------
        StrategyTree

        Raises
        ------
        ConfigurationError
            With every fault of the file.
        """
        return parse(cls, read_yaml(path), source=str(path))

    def to_yaml(self) -> str:
        """Write the tree as YAML that :meth:`from_yaml` reads back to an equal tree.

        Returns
        -------
        str
        """
        content = self.model_dump(mode="json", exclude_none=True)
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)

    def to_svg(self) -> str:
        """Draw the tree.

        Returns
        -------
        str
            An SVG that needs nothing else.
        """
        from .tree_drawing import draw

        return draw(self)
