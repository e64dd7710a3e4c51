"""Limits: budget, capacity, shares, complaints, fairness, placements, each a small object that compiles to usage.

Every limit has a ``name``, bounds (``upper``, ``lower``), a unit and a sentence. Which actions it counts is said by name,
channel, tone or skill; which accounts, by ``where`` (a region, a segment, a bucket).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from collectml.errors import SchemaError

from .actions import Action, Name
from .eligibility import Expression
from .limit_base import BaseLimit, CompiledLimit, Floats, OverActions, PerPortfolio, Ratio, Tally

__all__ = [
    "BudgetLimit",
    "CapacityLimit",
    "CompiledLimit",
    "ComplaintLimit",
    "FairnessLimit",
    "Limit",
    "PlacementLimit",
    "ShareLimit",
]


class BudgetLimit(PerPortfolio):
    """Money that may be spent in a cycle: the sum of expected costs."""

    kind: Literal["budget"]

    def _usage(self, actions: Sequence[Action], quantities: Mapping[str, Floats], accounts: pd.DataFrame) -> Floats:
        return quantities["cost"] * self.covers(actions)

    def _unit(self) -> str:
        return "money"

    def _subject(self) -> str:
        return f"of expected cost in the cycle{self._per()}{self._whom()}"


class CapacityLimit(PerPortfolio):
    """Agent minutes, or pieces (letters, visits), available in a cycle; a capacity calendar may replace ``upper``.

    A team's or a skill's capacity counts the actions it does (``actions``, ``channels``, ``skills``), a region's the
    accounts there (``where``). The calendar is read by channel and, where ``team`` is given, for that team; a limit with a
    ``where`` and no ``team`` keeps its own bound, since the calendar tells nothing of a part of the accounts.
    """

    kind: Literal["capacity"]
    unit: Literal["minutes", "items"] = "items"
    team: str | None = None

    def _usage(self, actions: Sequence[Action], quantities: Mapping[str, Floats], accounts: pd.DataFrame) -> Floats:
        covered = self.covers(actions)
        if self.unit == "minutes":
            return quantities["minutes"] * covered
        return covered.astype(float)

    def _unit(self) -> str:
        return self.unit

    def _subject(self) -> str:
        team = f" of {self.team}" if self.team else ""
        return f"{self.unit}{team} in the cycle{self._per()}{self._whom()}"


class ShareLimit(OverActions):
    """The least or the greatest share of the accounts counted by ``where`` that may get these actions."""

    kind: Literal["share"]

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if any(b is not None and b > 1 for b in (self.lower, self.upper)):
            raise ValueError("a share lies between 0 and 1")
        return self

    def _usage(self, actions: Sequence[Action], quantities: Mapping[str, Floats], accounts: pd.DataFrame) -> Floats:
        return self.covers(actions).astype(float)

    def _factor(self, n_counted: int) -> float:
        return float(n_counted)

    def _subject(self) -> str:
        return f"of the accounts (1 is all){self._whom()}"


class ComplaintLimit(BaseLimit):
    """The complaint ceiling: expected complaints per 1,000 accounts counted by ``where``."""

    kind: Literal["complaints"]

    def _usage(self, actions: Sequence[Action], quantities: Mapping[str, Floats], accounts: pd.DataFrame) -> Floats:
        return quantities["complaints"]

    def _unit(self) -> str:
        return "complaints"

    def _subject(self) -> str:
        return "expected complaints per 1,000 accounts"


class FairnessLimit(OverActions):
    """How often a group may, or must, get these actions, as a multiple of how often others do.

    ``upper`` 1.2 says: the rate in ``group`` is at most 1.2 times the rate in ``reference`` (everybody, where none is
    given); ``lower`` says at least. A rate counts all accounts of the group that ``where`` counts, so that like is
    compared with like. With ``n_g`` and ``n_r`` accounts, "rate at most r times" is linear in the assignment:
    ``(accounts of the group) - r n_g / n_r (accounts of the reference) <= 0``. A group or a reference of nobody holds.
    """

    kind: Literal["fairness"]
    group: str
    reference: str | None = None

    @model_validator(mode="after")
    def _compares(self) -> Self:
        for condition in (self.group, self.reference):
            if condition is not None:
                Expression(condition)
        if self.upper is not None and self.lower is not None:
            raise ValueError("a comparison has one bound: write a second limit for the other")
        return self

    @property
    def sentence(self) -> str:
        """What a manager reads: the description, or the comparison in words."""
        if self.description:
            return self.description
        others = f"where {self.reference}" if self.reference else "of all"
        within = f", counting accounts where {self.where}" if self.where else ""
        return f"rate of {self._what()} where {self.group}: {self._bounds_in_words()} times the rate {others}{within}"

    def tally(self, *, actions: Sequence[Action], quantities: Mapping[str, Floats], accounts: pd.DataFrame) -> Tally:
        """Say who is of the group, and who is compared with.

        Parameters
        ----------
        actions, quantities
            Not read.
        accounts : DataFrame, n rows
            Account snapshot, with the fields that tell the groups.

        Returns
        -------
        Tally
        """
        counted = self.counts(accounts)
        group = self.counts(accounts, self.group) & counted
        others = counted if self.reference is None else self.counts(accounts, self.reference) & counted
        return Tally(int(counted.sum()), None, group.astype(float), others.astype(float))

    def close(self, tally: Tally, actions: Sequence[Action]) -> CompiledLimit:
        """Turn the comparison into a column of usage, bounded by 0.

        Parameters
        ----------
        tally : Tally
            Who is of the group, and who is compared with.
        actions : sequence of Action, length A
            The catalogue.

        Returns
        -------
        CompiledLimit
            Its unit is accounts of the group beyond what the bound allows (or short of it, where negative).
        """
        top, bottom = tally.top, tally.bottom
        assert top is not None and bottom is not None  # noqa: S101, PT018  (from `tally`)
        exchange = float(top.sum()) / max(1.0, float(bottom.sum())) if bottom.any() else 0.0
        covered = self.covers(actions)
        return self._compare(Ratio(top, bottom, covered, covered, self._one_bound(), exchange))


class PlacementLimit(PerPortfolio):
    """What is placed with an agency: quotas and minimums, in accounts or balance, or as a share of all placements.

    ``per: placements`` reads the bounds as shares of what is placed ``among`` the agencies named, such as "at least a
    third of the balance placed goes to agency_b".
    """

    kind: Literal["placement"]
    actions: tuple[Name, ...] = Field(min_length=1)
    measure: Literal["accounts", "balance"] = "accounts"
    per: Literal["portfolio", "1000_accounts", "placements"] = "portfolio"  # type: ignore[assignment]
    among: tuple[Name, ...] = ()

    @model_validator(mode="after")
    def _placed(self) -> Self:
        if (self.per == "placements") != bool(self.among):
            raise ValueError("per: placements and among: [...] go together")
        if self.per == "placements":
            if not set(self.actions) <= set(self.among):
                raise ValueError("among names all agencies that share the placements, these actions too")
            if self.upper is not None and self.lower is not None:
                raise ValueError("a comparison has one bound: write a second limit for the other")
            if self._one_bound() > 1:
                raise ValueError("a share lies between 0 and 1")
        return self

    def _size(self, accounts: pd.DataFrame) -> Floats:
        if self.measure == "accounts":
            return np.ones(len(accounts))
        if "balance" not in accounts:
            raise SchemaError(f"limit {self.name!r} measures balance, which the accounts do not have")
        balance = accounts["balance"].to_numpy(dtype=float, na_value=np.nan)
        unknown = int((~np.isfinite(balance)).sum())
        if unknown:
            raise SchemaError(f"limit {self.name!r} measures balance, which is missing for {unknown:,} accounts")
        return balance

    def _usage(self, actions: Sequence[Action], quantities: Mapping[str, Floats], accounts: pd.DataFrame) -> Floats:
        covered = self.covers(actions).astype(float)
        if self.measure == "accounts":
            return covered
        return self._size(accounts)[:, None] * covered

    def _unit(self) -> str:
        return "accounts" if self.measure == "accounts" else "money"

    def _subject(self) -> str:
        return f"{'accounts' if self.measure == 'accounts' else 'of balance'}{self._per()} placed with {self._what()}"

    @property
    def sentence(self) -> str:
        """What a manager reads: the description, or the quota in words."""
        if self.description or self.per != "placements":
            return super().sentence
        where = f" where {self.where}" if self.where else ""
        return f"{self._bounds_in_words()} of the {self.measure} placed with {' and '.join(self.among)}{where} to {self._what()}"

    def tally(self, *, actions: Sequence[Action], quantities: Mapping[str, Floats], accounts: pd.DataFrame) -> Tally:
        """Work out what each account counts: itself, or its balance.

        Parameters
        ----------
        actions, quantities
            As in :meth:`compile`.
        accounts : DataFrame, n rows
            Account snapshot; with ``balance`` where that is measured.

        Returns
        -------
        Tally
        """
        if self.per != "placements":
            return super().tally(actions=actions, quantities=quantities, accounts=accounts)
        counted = self.counts(accounts)
        placed = self._size(accounts) * counted
        return Tally(int(counted.sum()), None, placed, placed)

    def close(self, tally: Tally, actions: Sequence[Action]) -> CompiledLimit:
        """Turn the quota into a column of usage and two bounds.

        Parameters
        ----------
        tally : Tally
            What accounts count.
        actions : sequence of Action, length A
            The catalogue.

        Returns
        -------
        CompiledLimit
        """
        if self.per != "placements":
            return super().close(tally, actions)
        assert tally.top is not None and tally.bottom is not None  # noqa: S101, PT018  (from `tally`)
        all_agencies = np.array([a.name in self.among for a in actions])
        return self._compare(Ratio(tally.top, tally.bottom, self.covers(actions), all_agencies, self._one_bound()))


Limit = Annotated[
    BudgetLimit | CapacityLimit | ShareLimit | ComplaintLimit | FairnessLimit | PlacementLimit, Field(discriminator="kind")
]
