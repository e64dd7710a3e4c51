"""The strategy file: everything a manager decides, in one YAML a manager can read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from collectml.errors import ConfigurationError

from .actions import Action, Name
from .eligibility import Expression
from .limit_base import PerPortfolio
from .limits import CapacityLimit, Limit
from .reading import nearest, parse, read_yaml

__all__ = ["Caution", "Condition", "Exploration", "Grades", "HoldOut", "Objective", "Salts", "Strategy"]

_CLOSED = ConfigDict(extra="forbid", frozen=True)
Share = Annotated[float, Field(ge=0, lt=1)]


class Caution(BaseModel):
    """How estimates are treated before they are acted on: the best of many estimates is, on average, one that erred upward.

    Parameters
    ----------
    method : {"shrink", "lower_bound"}
        Draw each effect towards the mean effect of its action, by how much of its spread is error; or subtract errors.
    errors : float, default 1
        With ``lower_bound``: how many standard errors are subtracted.
    """

    model_config = _CLOSED

    method: Literal["shrink", "lower_bound"]
    errors: float = Field(default=1.0, gt=0, le=10)


class Objective(BaseModel):
    """What a decision is worth, and within which time.

    Parameters
    ----------
    horizon_days : int, default 30
        A decision is judged by what is recovered within this many days.
    value_of_recovered : float, default 1
        Money credited for a unit recovered.
    cost_of_complaint : float, default 0
        Money charged for a complaint.
    cost_of_agent_minute : float, default 0
        Money an agent's minute costs.
    caution : Caution, optional
        How uncertain effects are treated; needs standard errors of effects where actions are priced.
    """

    model_config = _CLOSED

    horizon_days: int = Field(default=30, ge=1, le=3650)
    value_of_recovered: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    cost_of_complaint: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    cost_of_agent_minute: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    caution: Caution | None = None

    @property
    def as_estimated(self) -> Objective:
        """The same without caution."""
        return self.model_copy(update={"caution": None})


class Condition(BaseModel):
    """A rule about who may be contacted, or get which action.

    Parameters
    ----------
    name : str
        What a blocked account is told apart by.
    allow : str
        Expression over account fields; where it is not known to be true, the actions are blocked.
    contact : bool, default False
        Whether it covers every action that contacts the customer.
    channels, actions : tuple of str
        Else the channels or actions it covers.
    cite : str, optional
        The law or policy it comes from.
    """

    model_config = _CLOSED

    name: Name
    allow: str
    contact: bool = False
    channels: tuple[Name, ...] = ()
    actions: tuple[Name, ...] = ()
    cite: str = Field(default="", max_length=300)

    @model_validator(mode="after")
    def _readable(self) -> Self:
        Expression(self.allow)
        if not (self.contact or self.channels or self.actions):
            raise ValueError("say what it covers: contact: true, channels or actions")
        return self

    def covers(self, action: Action) -> bool:
        """Say whether the rule covers an action.

        Parameters
        ----------
        action : Action
            An action of the catalogue.

        Returns
        -------
        bool
        """
        return (self.contact and action.is_contact) or action.channel in self.channels or action.name in self.actions


class Grades(BaseModel):
    """How accounts are graded A to D.

    Parameters
    ----------
    method : {"propensity_balance", "ability_willingness"}
        Propensity to pay (lowered a grade for balances above ``large_balance``), or ability and willingness read apart.
    cuts : tuple of float
        Falling cut-offs between A, B, C and D.
    large_balance : float, optional
        Balance from which a grade is one step lower.
    """

    model_config = _CLOSED

    method: Literal["propensity_balance", "ability_willingness"] = "propensity_balance"
    cuts: tuple[float, float, float] = (0.6, 0.35, 0.15)
    large_balance: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _falling(self) -> Self:
        if not 1 > self.cuts[0] > self.cuts[1] > self.cuts[2] > 0:
            raise ValueError("cuts fall strictly between 1 and 0, such as [0.6, 0.35, 0.15]")
        return self


class Exploration(BaseModel):
    """Accounts whose action is drawn at random, so that tomorrow's model can learn what today's never tries.

    Parameters
    ----------
    share : float, default 0
        Share of customers explored in a cycle.
    usage_share : float, default 0.05
        The greatest share of any limit that exploration may be expected to use.
    weighting : {"uniform", "value"}, default "uniform"
        Whether permitted actions are drawn evenly, or those worth more to the account more often.
    floor : float, default 0.2
        With ``value``: weight of the action worth least, that of the action worth most being 1.
    """

    model_config = _CLOSED

    share: Share = 0.0
    usage_share: float = Field(default=0.05, gt=0, lt=1)
    weighting: Literal["uniform", "value"] = "uniform"
    floor: float = Field(default=0.2, gt=0, le=1)


class HoldOut(BaseModel):
    """Customers who permanently get the control, the yardstick of everything else.

    Parameters
    ----------
    share : float, default 0
        Share of customers.
    """

    model_config = _CLOSED

    share: Share = 0.0


class Salts(BaseModel):
    """Secrets of the hashes; a changed hold-out salt would mix up treated and untreated customers."""

    model_config = _CLOSED

    holdout: str = Field(default="holdout-1", min_length=1, max_length=200)
    explore: str = Field(default="explore-1", min_length=1, max_length=200)
    tie: str = Field(default="tie-1", min_length=1, max_length=200)


class Strategy(BaseModel):
    """A collections strategy: actions, limits, eligibility, objective, grades, exploration and hold-out.

    Parameters
    ----------
    name : str
        Letters, digits and underscores.
    currency : str
        ISO 4217 code of the portfolio's money.
    actions : tuple of Action
        The catalogue; the first is the control and contacts nobody.
    objective : Objective
        Horizon, and the prices of outcomes.
    limits : tuple of Limit
        Budget, capacity, shares, complaints, fairness, placements.
    conditions : tuple of Condition
        Who may be contacted, or get which action.
    grades : Grades
        Cut-offs of the A-D risk grades.
    exploration, holdout, salts
        Randomisation by customer, see :mod:`collectml.policy`.
    cycle_days : int, default 30
        Days between two decisions; limits are for one cycle.
    min_logged : int, default 200
        An action with fewer supporting rows in the log is blocked: "no evidence".
    one_contact_per_customer : bool, default True
        Whether at most one of a person's accounts is contacted in a cycle.

    Examples
    --------
    >>> actions = [{"name": "no_action"}, {"name": "sms", "channel": "sms"}]
    >>> strategy = Strategy(name="two_actions", currency="EUR", actions=actions)
    >>> strategy.action_names, strategy.control
    (('no_action', 'sms'), 'no_action')
    """

    model_config = _CLOSED

    name: Name
    version: str = Field(default="1", max_length=40)
    description: str = Field(default="", max_length=2000)
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    actions: tuple[Action, ...] = Field(min_length=2, max_length=64)
    objective: Objective = Objective()
    limits: tuple[Limit, ...] = ()
    conditions: tuple[Condition, ...] = ()
    grades: Grades = Grades()
    exploration: Exploration = Exploration()
    holdout: HoldOut = HoldOut()
    salts: Salts = Salts()
    cycle_days: int = Field(default=30, ge=1, le=366)
    min_logged: int = Field(default=200, ge=1)
    one_contact_per_customer: bool = True

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        faults = [*self._repeated_names(), *self._unknown_names()]
        control = self.actions[0]
        if control.is_contact or control.mandatory_when or control.unit_cost or control.attempt_minutes:
            faults.append(f"the first action, {control.name!r}, is the control: it contacts nobody and costs nothing")
        faults += [
            f"condition {c.name!r} covers the control, which must stay possible"
            for c in self.conditions
            if c.covers(control)
        ]
        if self.holdout.share + self.exploration.share >= 1:
            faults.append("hold-out and exploration shares leave nobody to the policy")
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _repeated_names(self) -> Iterator[str]:
        for what, names in (
            ("action", [a.name for a in self.actions]),
            ("limit", [x.name for x in self.limits]),
            ("condition", [c.name for c in self.conditions]),
        ):
            yield from (f"{what} {n!r} is named twice" for n in sorted({n for n in names if names.count(n) > 1}))

    def _unknown_names(self) -> Iterator[str]:
        names, channels = set(self.action_names), {a.channel for a in self.actions if a.channel}
        tones, skills = {a.tone for a in self.actions if a.tone}, {a.skill for a in self.actions if a.skill}
        known = {"actions": names, "among": names, "channels": channels, "tones": tones, "skills": skills}
        for part in (*self.limits, *self.conditions):
            for key, options in known.items():
                for name in getattr(part, key, ()):
                    if name not in options:
                        what = "actions" if key == "among" else key
                        yield f"{part.name!r} names {name!r}, which is none of the {what}{nearest(name, options)}"

    @property
    def action_names(self) -> tuple[str, ...]:
        """Names of the actions, the control first."""
        return tuple(a.name for a in self.actions)

    @property
    def control(self) -> str:
        """Name of the action that contacts nobody."""
        return self.actions[0].name

    @property
    def contact_mask(self) -> NDArray[np.bool_]:
        """Which actions contact the customer, shape (A,)."""
        return np.array([a.is_contact for a in self.actions])

    def without_randomisation(self) -> Strategy:
        """Copy the strategy with no hold-out and no exploration: the plan alone, as evaluation needs it.

        Returns
        -------
        Strategy
        """
        return self.model_copy(update={"exploration": Exploration(), "holdout": HoldOut()})

    def scaled(self, fraction: float) -> Strategy:
        """Restate the limits for a part of the portfolio, such as the accounts kept out of training.

        Parameters
        ----------
        fraction : float
            Share of the portfolio.

        Returns
        -------
        Strategy
        """
        return self.model_copy(update={"limits": tuple(x.scaled(fraction) for x in self.limits)})

    def with_capacity(self, capacity: pd.DataFrame | Mapping[str, float], *, as_of: pd.Timestamp) -> Strategy:
        """Replace the upper bounds of capacity limits by what a calendar or a mapping says.

        Parameters
        ----------
        capacity : DataFrame or mapping
            A capacity calendar (``date, channel, team, capacity, unit``), summed over the cycle from ``as_of`` on; or upper
            bounds by limit name.
        as_of : Timestamp
            First day of the cycle.

        Returns
        -------
        Strategy

        Raises
        ------
        ConfigurationError
            Where a name is no capacity limit, or the calendar has nothing for the cycle.
        """
        if isinstance(capacity, pd.DataFrame):
            bounds = self._from_calendar(capacity, as_of)
        else:
            bounds = {str(k): float(v) for k, v in capacity.items()}
            names = {x.name for x in self.limits if isinstance(x, PerPortfolio) and x.per != "placements"}
            unknown = [f"{n!r}{nearest(n, names)}" for n in bounds if n not in names]
            if unknown:
                raise ConfigurationError(
                    f"capacity given for {', '.join(unknown)}, which is no limit of quantity of strategy {self.name!r}"
                )
        limits = tuple(
            x.model_copy(update={"upper": bounds[x.name], "per": "portfolio"}) if x.name in bounds else x
            for x in self.limits
        )
        return self.model_copy(update={"limits": limits})

    def _from_calendar(self, calendar: pd.DataFrame, as_of: pd.Timestamp) -> dict[str, float]:
        dates = pd.to_datetime(calendar["date"])
        cycle = calendar[(dates >= as_of) & (dates < as_of + pd.Timedelta(days=self.cycle_days))]
        if cycle.empty:
            raise ConfigurationError(
                f"the capacity calendar has no row between {as_of.date()} and {self.cycle_days} days later; "
                f"it covers {dates.min():%Y-%m-%d} to {dates.max():%Y-%m-%d}"
            )
        bounds: dict[str, float] = {}
        for limit in self.limits:
            if not isinstance(limit, CapacityLimit):
                continue
            if limit.where is not None and limit.team is None:
                continue  # the calendar knows channels and teams, not parts of the accounts
            covered = limit.covers(self.actions) & limit.names_actions
            channels = {a.channel for a, counts in zip(self.actions, covered, strict=True) if counts}
            rows = cycle["channel"].isin(channels) & (cycle["unit"] == limit.unit)
            if limit.team is not None:
                rows &= cycle["team"] == limit.team
            if rows.any():
                bounds[limit.name] = float(cycle.loc[rows, "capacity"].sum())
        return bounds

    @classmethod
    def from_yaml(cls, path: str | Path) -> Strategy:
        """Read a strategy file, or the ``strategy:`` section of an experiment file.

        Parameters
        ----------
        path : str or Path
            A YAML file.

        Returns
        -------
        Strategy

        Raises
        ------
        ConfigurationError
            With every fault of the file, each with its place and, for an unknown key, the nearest valid one.
        """
        content = read_yaml(path)
        if isinstance(content.get("strategy"), Mapping):
            content = content["strategy"]
        return parse(cls, content, source=str(path))

    def to_yaml(self, path: str | Path) -> None:
        """Write the strategy as a YAML file that :meth:`from_yaml` reads back to an equal strategy.

        Parameters
        ----------
        path : str or Path
            Where to; replaced where it exists.
        """
        content = self.model_dump(mode="json", exclude_defaults=True)
        Path(path).write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110), encoding="utf-8")
