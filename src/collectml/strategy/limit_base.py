"""What all limits share: a name, bounds, the accounts and actions they count, and how they become a column of usage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from collectml.errors import SchemaError

from .actions import Action, Name
from .eligibility import Expression

__all__ = ["BaseLimit", "CompiledLimit", "OverActions", "PerPortfolio", "Ratio", "Tally"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Ratio:
    """Two sums that a limit compares: ``top`` with ``bound × exchange × bottom``.

    Parameters
    ----------
    top, bottom : ndarray, shape (n,)
        What an account counts in each sum where its action is one of those counted.
    top_actions, bottom_actions : ndarray of bool, shape (A,)
        Which actions count.
    bound : float
        What the ratio is held against.
    exchange : float, default 1
        Size of the group over that of the reference, which turns a comparison of rates into one of sums; 0 where either
        is nobody, and the limit then holds.
    """

    top: Floats
    bottom: Floats
    top_actions: Bools
    bottom_actions: Bools
    bound: float
    exchange: float = 1.0

    def of(self, action: NDArray[np.intp]) -> float:
        """Work out the ratio that an assignment has.

        Parameters
        ----------
        action : ndarray of int, shape (n,)
            Position of each account's action.

        Returns
        -------
        float
            Missing where both sums are 0 or there is nobody to compare, infinite where only the second sum is 0.
        """
        if self.exchange == 0:
            return np.nan
        top = float(self.top @ self.top_actions[action])
        bottom = self.exchange * float(self.bottom @ self.bottom_actions[action])
        if bottom == 0:
            return np.inf if top > 0 else np.nan
        return top / bottom

    def usage(self, exchange: float | None = None) -> Floats:
        """Give what each action of each account adds to ``top - bound × exchange × bottom``.

        Parameters
        ----------
        exchange : float, optional
            That of another portfolio, for accounts seen one by one.

        Returns
        -------
        ndarray, shape (n, A)
        """
        factor = self.bound * (self.exchange if exchange is None else exchange)
        return self.top[:, None] * self.top_actions - factor * self.bottom[:, None] * self.bottom_actions


@dataclass(frozen=True)
class CompiledLimit:
    """A limit ready for the solver.

    Parameters
    ----------
    name, unit, sentence : str
        What the limit is called, what its usage is measured in, and a sentence for people.
    usage : ndarray, shape (A,) or (n, A)
        What each action uses of it, for every account alike or account by account.
    lower, upper : float
        Bounds on the sum; infinite where there is none.
    ratio : Ratio, optional
        For a limit that compares two sums: usage is then their difference, and the bound on it is 0.
    """

    name: str
    unit: str
    sentence: str
    usage: Floats
    lower: float
    upper: float
    ratio: Ratio | None = None


@dataclass(frozen=True)
class Tally:
    """What accounts count in a limit, each by itself; tallies of parts of a portfolio can be put together.

    Parameters
    ----------
    accounts : int
        How many accounts count.
    usage : ndarray, shape (A,) or (n, A), optional
        What each action uses; absent for a limit that compares two sums.
    top, bottom : ndarray, shape (n,), optional
        What an account counts in each of the two sums.
    """

    accounts: int
    usage: Floats | None = None
    top: Floats | None = None
    bottom: Floats | None = None


class BaseLimit(BaseModel):
    """What all limits share: a name, bounds and the accounts they count."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    description: str = Field(default="", max_length=500)
    upper: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    lower: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    where: str | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.where is not None:
            Expression(self.where)
        if self.upper is None and self.lower is None:
            raise ValueError("give upper, lower or both")
        if self.upper is not None and self.lower is not None and self.lower > self.upper:
            raise ValueError(f"lower {self.lower:g} is above upper {self.upper:g}")
        return self

    def _usage(self, actions: Sequence[Action], quantities: Mapping[str, Floats], accounts: pd.DataFrame) -> Floats:
        """Give what actions use, alike for all accounts (A,) or account by account (n, A)."""
        raise TypeError(f"{type(self).__name__} is no limit of its own")

    def _unit(self) -> str:
        """Name what usage is measured in."""
        return "accounts"

    def _factor(self, n_counted: int) -> float:
        """Say what the written bounds are multiplied by to bound the sum over the accounts at hand."""
        return n_counted / 1000

    def _subject(self) -> str:
        """Name what is limited, for the sentence."""
        return ""

    def scaled(self, fraction: float) -> Self:
        """Restate the limit for a part of the portfolio; bounds that are rates already stay as they are.

        Parameters
        ----------
        fraction : float
            Share of the portfolio.

        Returns
        -------
        Limit
        """
        return self

    def _bounds_in_words(self) -> str:
        least = f"at least {self.lower:,g}" if self.lower is not None else ""
        most = f"at most {self.upper:,g}" if self.upper is not None else ""
        return " and ".join(b for b in (least, most) if b)

    @property
    def sentence(self) -> str:
        """What a manager reads: the description, or bounds and subject in words."""
        if self.description:
            return self.description
        where = f" where {self.where}" if self.where else ""
        return f"{self._bounds_in_words()} {self._subject()}{where}"

    def counts(self, accounts: pd.DataFrame, condition: str | None = None) -> Bools:
        """Say which accounts a condition counts; those of whom it is not known are not counted.

        Parameters
        ----------
        accounts : DataFrame, n rows
            Account snapshot.
        condition : str, optional
            The limit's ``where`` by default; everybody where there is none.

        Returns
        -------
        ndarray of bool, shape (n,)

        Raises
        ------
        SchemaError
            Where the accounts lack a field: a limit that counts nobody would hold, whatever is done.
        """
        condition = self.where if condition is None else condition
        if condition is None:
            return np.ones(len(accounts), dtype=bool)
        expression = Expression(condition)
        missing = expression.missing_fields(accounts)
        if missing:
            raise SchemaError(
                f"limit {self.name!r} counts accounts by {', '.join(missing)}, which the accounts do not have: "
                "it would hold whatever is done"
            )
        return expression.allows(accounts)

    def compile(
        self, *, actions: Sequence[Action], quantities: Mapping[str, Floats], accounts: pd.DataFrame
    ) -> CompiledLimit:
        """Turn the limit into a column of usage and two bounds.

        Parameters
        ----------
        actions : sequence of Action, length A
            The catalogue.
        quantities : mapping of str to ndarray, shape (n, A)
            Expected ``cost`` (money), ``minutes`` and ``complaints`` of every action for every account.
        accounts : DataFrame, n rows
            Account snapshot, with the fields that the limit reads.

        Returns
        -------
        CompiledLimit

        Raises
        ------
        SchemaError
            Where the accounts lack a field that the limit reads.
        """
        return self.close(self.tally(actions=actions, quantities=quantities, accounts=accounts), actions)

    def tally(self, *, actions: Sequence[Action], quantities: Mapping[str, Floats], accounts: pd.DataFrame) -> Tally:
        """Work out what each account counts in the limit, apart from all others.

        Parameters
        ----------
        actions, quantities, accounts
            As in :meth:`compile`.

        Returns
        -------
        Tally
        """
        counted = self.counts(accounts)
        column = self._usage(actions, quantities, accounts)
        if self.where is not None:
            column = column * counted[:, None]
        return Tally(int(counted.sum()), column)

    def close(self, tally: Tally, actions: Sequence[Action]) -> CompiledLimit:
        """Turn the measure of a whole portfolio into a column of usage and two bounds.

        Parameters
        ----------
        tally : Tally
            What its accounts count.
        actions : sequence of Action, length A
            The catalogue.

        Returns
        -------
        CompiledLimit
        """
        assert tally.usage is not None  # noqa: S101  (limits that compare two sums have a way of their own)
        factor = self._factor(tally.accounts)
        lower = -np.inf if self.lower is None else self.lower * factor
        upper = np.inf if self.upper is None else self.upper * factor
        return CompiledLimit(self.name, self._unit(), self.sentence, tally.usage, lower, upper)

    def _compare(self, ratio: Ratio) -> CompiledLimit:
        """Compile a comparison of two sums: their difference is bounded by 0."""
        usage = ratio.usage() if ratio.exchange > 0 else np.zeros((len(ratio.top), len(ratio.top_actions)))
        largest = float(np.abs(usage).max(axis=1).sum()) if usage.size else 0.0
        if largest > 0:
            # A sum held against 0 leaves no relative tolerance. On a grid this coarse every sum is exact in any order;
            # rounding goes to the safe side.
            grid = 2.0 ** (np.ceil(np.log2(largest)) - 51)
            usage = (np.ceil if self.upper is not None else np.floor)(usage / grid) * grid
        lower, upper = (-np.inf, 0.0) if self.upper is not None else (0.0, np.inf)
        return CompiledLimit(self.name, self._unit(), self.sentence, usage, lower, upper, ratio)

    def _one_bound(self) -> float:
        bound = self.upper if self.upper is not None else self.lower
        assert bound is not None  # noqa: S101  (_bounded saw to it)
        return bound


class OverActions(BaseLimit):
    """A limit over some actions, by name, channel, tone or skill; over all contacts where none is given."""

    actions: tuple[Name, ...] = ()
    channels: tuple[Name, ...] = ()
    tones: tuple[str, ...] = ()
    skills: tuple[Name, ...] = ()

    @property
    def names_actions(self) -> bool:
        """Whether actions are named in any way; else all contacts count."""
        return bool(self.actions or self.channels or self.tones or self.skills)

    def covers(self, actions: Sequence[Action]) -> Bools:
        """Say which actions count.

        Parameters
        ----------
        actions : sequence of Action, length A
            The catalogue.

        Returns
        -------
        ndarray of bool, shape (A,)
        """
        if not self.names_actions:
            return np.array([a.is_contact for a in actions])
        return np.array(
            [
                a.name in self.actions or a.channel in self.channels or a.tone in self.tones or a.skill in self.skills
                for a in actions
            ]
        )

    def _what(self) -> str:
        tones = [f"{t} tone" for t in self.tones]
        return " and ".join([*self.actions, *self.channels, *tones, *self.skills]) or "any contact"

    def _whom(self) -> str:
        return f" for {self._what()}" if self.names_actions else ""


class PerPortfolio(OverActions):
    """A limit stated for the whole portfolio or per 1,000 accounts, so that one file serves a sample and a book."""

    per: Literal["portfolio", "1000_accounts"] = "portfolio"

    def _factor(self, n_counted: int) -> float:
        return n_counted / 1000 if self.per == "1000_accounts" else 1.0

    def scaled(self, fraction: float) -> Self:
        """Restate the limit for a part of the portfolio; bounds that are rates already stay as they are.

        Parameters
        ----------
        fraction : float
            Share of the portfolio.

        Returns
        -------
        Limit
        """
        if self.per != "portfolio":
            return self
        bounds = {k: v * fraction for k, v in (("lower", self.lower), ("upper", self.upper)) if v is not None}
        return self.model_copy(update=bounds)

    def _per(self) -> str:
        return " per 1,000 accounts" if self.per == "1000_accounts" else ""
