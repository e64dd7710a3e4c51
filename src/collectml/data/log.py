"""The decision log: what was done to whom, with what probability, and what came of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from collectml.data._roles import read_roles
from collectml.data._splits import held_out_rows
from collectml.data._timing import (
    DateLike,
    action_names,
    days_by_action,
    is_mature,
    is_new_decision,
    per_row,
    unseen_payoffs,
)
from collectml.data.digest import content_digest
from collectml.errors import ConfigurationError

__all__ = ["DecisionLog"]


@dataclass(frozen=True)
class _Settings:
    """What the parts of a log share."""

    actions: tuple[str, ...]
    features: tuple[str, ...]
    horizons: Mapping[str, int]


class DecisionLog:
    """Decisions to learn from: one row is one action assigned to one account on one day, and its outcome within the horizon.

    ``paid`` and ``recovered`` must count what happened within the horizon of the row's action and nothing after it: the log
    cannot see the payments themselves. Rows are left out of learning, and counted in :attr:`left_out`, where

    - the account was still committed to the action of its previous decision ("in_commitment"): nothing was decided;
    - the horizon had not passed by ``observed_until`` ("immature"): the outcome is not known yet.

    The frame given is never changed.

    Parameters
    ----------
    frame : DataFrame, shape (n, k)
        One row a decision; (account, day) must be unique.
    actions : sequence of str, or of objects with a ``name``
        The catalogue; the first is the control.
    features : sequence of str, optional
        Columns models may learn from. By default every column that has no role, is no id (``..._id``) and no date, and is not
        one of the contract's flags, consents and groups. Name them where the frame also holds protected groups of other
        names, or other outcomes. A text column of more than 1,000 different values is refused: it is free text or an id.
    account_id, decided_at, action, recovered : str
        Columns in these roles.
    customer_id, features_as_of, complained, cost, executed_action : str, optional
        Columns in these roles; by default those of the role's own name where the frame has them. Without customers, each
        account is its own. ``features_as_of`` is the day the features describe: one after the decision is a fault.
    paid : str or None
        Column of 0/1; None derives it as recovered > 0.
    logging_propensity : str or None
        Probability in (0, 1] with which the action was assigned; None where it is not known.
    horizon_days : int or mapping of action to int, default 30
        Days after the decision in which outcomes count; a mapping may hold "default".
    observed_until : date-like, optional
        Last day the outcomes reach. None: every horizon has passed.
    commitment_days : int or mapping of action to int, optional
        Days for which an account keeps its action; actions a mapping does not name commit to nothing.

    Raises
    ------
    SchemaError
        All faults of the roles at once; actions that are not in the catalogue with their counts.
    ConfigurationError
        Horizons or commitments that fit no action, or a feature that is an outcome.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"account_id": [1, 2, 1], "decided_at": ["2026-01-01", "2026-01-01", "2026-03-01"],
    ...     "action": ["sms", "no_action", "sms"], "recovered": [20.0, 0.0, 0.0], "logging_propensity": 0.5,
    ...     "balance": 90.0})
    >>> log = DecisionLog(frame, actions=["no_action", "sms"], paid=None, observed_until="2026-03-15")
    >>> log
    DecisionLog(2 decisions, 2 accounts, 2 actions, 1 features, 2026-01-01 to 2026-01-01; left out: 1 immature)
    >>> log.X.columns.tolist(), log.paid.tolist(), log.control
    (['balance'], [1, 0], 'no_action')
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        *,
        actions: Sequence[object],
        features: Sequence[str] | None = None,
        account_id: str = "account_id",
        customer_id: str | None = None,
        decided_at: str = "decided_at",
        action: str = "action",
        paid: str | None = "paid",
        recovered: str = "recovered",
        logging_propensity: str | None = "logging_propensity",
        complained: str | None = None,
        cost: str | None = None,
        executed_action: str | None = None,
        features_as_of: str | None = None,
        horizon_days: int | Mapping[str, int] = 30,
        observed_until: DateLike | None = None,
        commitment_days: int | Mapping[str, int] | None = None,
    ) -> None:
        names = action_names(actions)
        horizons = days_by_action(horizon_days, names, what="horizon_days")
        commitments = days_by_action(commitment_days or 0, names, what="commitment_days", default=0)
        asked = {
            "account_id": account_id, "customer_id": customer_id, "decided_at": decided_at, "action": action,
            "paid": paid, "recovered": recovered, "logging_propensity": logging_propensity, "complained": complained,
            "cost": cost, "executed_action": executed_action, "features_as_of": features_as_of,
        }  # fmt: skip
        roles, chosen = read_roles(frame, asked, features, names)
        free = is_new_decision(roles["account_id"], roles["decided_at"], per_row(commitments, roles["action"]))
        until = None if observed_until is None else pd.Timestamp(observed_until)
        mature = is_mature(roles["decided_at"], per_row(horizons, roles["action"]), until)
        self._settings = _Settings(names, chosen, horizons)
        self._left_out = {"immature": int((free & ~mature).sum()), "in_commitment": int((~free).sum())}
        self._frame, self._roles = frame[free & mature], roles[free & mature]

    @classmethod
    def _part(cls, whole: DecisionLog, keep: NDArray[np.bool_], left_out: Mapping[str, int]) -> DecisionLog:
        """Cut rows from a log already checked."""
        part = cls.__new__(cls)
        part._settings, part._left_out = whole._settings, dict(left_out)
        part._frame, part._roles = whole._frame[keep], whole._roles[keep]
        return part

    def __len__(self) -> int:
        return len(self._roles)

    def __repr__(self) -> str:
        days = self.decided_at.dropna()
        span = f", {days.min():%Y-%m-%d} to {days.max():%Y-%m-%d}" if len(days) else ""
        out = ", ".join(f"{count:,} {reason}" for reason, count in self._left_out.items() if count)
        return (
            f"DecisionLog({len(self):,} decisions, {self.account.nunique():,} accounts, {len(self.actions)} actions, "
            f"{len(self.X.columns)} features{span}{'; left out: ' + out if out else ''})"
        )

    @property
    def frame(self) -> pd.DataFrame:
        """The rows learnt from, with every column of the frame given, shape (n, k)."""
        return self._frame.copy(deep=False)

    @property
    def X(self) -> pd.DataFrame:  # noqa: N802 (the field's name for a feature matrix)
        """The features as of each decision, shape (n, features), indexed like the frame given."""
        return self._frame[list(self._settings.features)]

    @property
    def actions(self) -> tuple[str, ...]:
        """Names of the catalogue's actions; the first is the control."""
        return self._settings.actions

    @property
    def control(self) -> str:
        """The action all effects are measured against."""
        return self.actions[0]

    @property
    def horizon_days(self) -> int | dict[str, int]:
        """Days in which outcomes count: one number where all actions share it, else one per action."""
        horizons = dict(self._settings.horizons)
        return horizons[self.control] if len(set(horizons.values())) == 1 else horizons

    @property
    def left_out(self) -> pd.Series:
        """Decisions left out of learning, by reason. Parts cut from a log have left out none."""
        return pd.Series(self._left_out, name="decisions", dtype="int64").rename_axis("reason")

    @property
    def account(self) -> pd.Series:
        """Account of each decision, shape (n,)."""
        return self._roles["account_id"]

    @property
    def customer(self) -> pd.Series:
        """Customer of each decision, the unit of dependence, shape (n,); the account where customers are not known."""
        return self._roles["customer_id" if "customer_id" in self._roles else "account_id"]

    @property
    def decided_at(self) -> pd.Series:
        """Day of each decision, shape (n,)."""
        return self._roles["decided_at"]

    @property
    def features_as_of(self) -> pd.Series | None:
        """Day that the features of each decision describe, never after it, shape (n,); None where it is not known."""
        return self._roles.get("features_as_of")

    @property
    def action(self) -> pd.Series:
        """Action assigned, shape (n,)."""
        return self._roles["action"]

    @property
    def paid(self) -> pd.Series:
        """Whether anything was paid within the horizon: 0 or 1, shape (n,)."""
        return self._roles["paid"]

    @property
    def recovered(self) -> pd.Series:
        """Money paid within the horizon, shape (n,)."""
        return self._roles["recovered"]

    @property
    def logging_propensity(self) -> pd.Series | None:
        """Probability with which the action was assigned, shape (n,); None where it is not known."""
        return self._roles.get("logging_propensity")

    @property
    def complained(self) -> pd.Series | None:
        """Whether the customer complained within the horizon: 0 or 1, shape (n,); None where it is not known."""
        return self._roles.get("complained")

    @property
    def cost(self) -> pd.Series | None:
        """What carrying out each decision cost, shape (n,); None where it is not known."""
        return self._roles.get("cost")

    @property
    def executed_action(self) -> pd.Series | None:
        """Action in fact carried out (for adherence only), shape (n,); None where it is not known."""
        return self._roles.get("executed_action")

    def select(self, mask: ArrayLike) -> DecisionLog:
        """Keep the decisions where ``mask`` is true.

        Parameters
        ----------
        mask : array-like of bool, shape (n,)
            In the order of the log's rows.

        Returns
        -------
        DecisionLog
        """
        keep = np.asarray(mask)
        if keep.dtype != np.bool_ or keep.shape != (len(self),):
            raise ValueError(f"mask: {len(self):,} bools are needed, got {keep.dtype} of shape {keep.shape}")
        return self._part(self, keep, dict.fromkeys(self._left_out, 0))

    def known_by(self, date: DateLike) -> DecisionLog:
        """Keep what could be learnt from on a day: decisions whose horizon had passed by then; the others are counted.

        A back-test trains on ``log.split_by_time(date)[0].known_by(date)``: outcomes of the last decisions before the
        date arrive after it.

        Parameters
        ----------
        date : date-like
            The day.

        Returns
        -------
        DecisionLog
        """
        horizons = per_row(self._settings.horizons, self.action)
        mature = is_mature(self.decided_at, horizons, pd.Timestamp(date))
        immature = self._left_out["immature"] + int((~mature).sum())
        return self._part(self, mature, {**self._left_out, "immature": immature})

    def split_by_time(self, *dates: DateLike) -> tuple[DecisionLog, ...]:
        """Split by the day of decision.

        Parameters
        ----------
        *dates : date-like
            Increasing; a decision on a date belongs to the later part.

        Returns
        -------
        tuple of DecisionLog, one more than dates
            Accounts and customers may be in several parts. For a back-test see :meth:`known_by`.
        """
        cuts = pd.DatetimeIndex([pd.Timestamp(date) for date in dates])
        if not cuts.is_monotonic_increasing or not cuts.is_unique:
            raise ValueError("dates: each must be later than the one before")
        part = cuts.searchsorted(pd.DatetimeIndex(self.decided_at), side="right")
        return tuple(self.select(part == i) for i in range(len(cuts) + 1))

    def split_by_account(self, fraction: float, *, random_state: int | None = None) -> tuple[DecisionLog, DecisionLog]:
        """Hold out a share of the accounts; customers are never torn apart.

        Who is held out follows from a hash of the customer, so neither the order of rows nor the dtype of ids matters.

        Parameters
        ----------
        fraction : float in (0, 1)
            Share of accounts held out, met as closely as whole customers allow.
        random_state : int, optional
            Another number, another split. None is a fixed split as well.

        Returns
        -------
        rest, held_out : DecisionLog
        """
        return self._split(fraction, random_state, self.account.groupby(self.customer.to_numpy(), sort=False).nunique())

    def split_by_customer(self, fraction: float, *, random_state: int | None = None) -> tuple[DecisionLog, DecisionLog]:
        """Hold out a share of the customers.

        Parameters
        ----------
        fraction, random_state
            As in :meth:`split_by_account`, the share being one of customers.

        Returns
        -------
        rest, held_out : DecisionLog
        """
        return self._split(fraction, random_state, pd.Series(1, index=pd.unique(self.customer)))

    def _split(self, fraction: float, random_state: int | None, weight: pd.Series) -> tuple[DecisionLog, DecisionLog]:
        held_out = held_out_rows(self.customer, weight, fraction, random_state)
        return self.select(~held_out), self.select(held_out)

    def support(self) -> pd.DataFrame:
        """Count the evidence for each action.

        Returns
        -------
        DataFrame
            Index: action, in the catalogue's order. Columns: ``rows``, ``paid`` (rows with a payment),
            ``mean_logging_propensity``, ``min_logging_propensity`` (missing where not known).
        """
        propensity = self.logging_propensity
        rows = pd.DataFrame(
            {
                "action": self.action.to_numpy(),
                "paid": self.paid.to_numpy(),
                "p": np.nan if propensity is None else propensity.to_numpy(),
            }
        )
        found = rows.groupby("action").agg(
            rows=("paid", "size"),
            paid=("paid", "sum"),
            mean_logging_propensity=("p", "mean"),
            min_logging_propensity=("p", "min"),
        )
        found = found.reindex(pd.Index(self.actions, name="action", dtype="str"))
        return found.fillna({"rows": 0, "paid": 0}).astype({"rows": "int64", "paid": "int64"})

    def require_horizons(self, pays_off_after: Mapping[str, int], surrogates: Collection[str] = ()) -> None:
        """Refuse actions whose outcome the log's horizon cannot have seen.

        A settlement paid over months looks worthless after 30 days. Such an action needs its own ``horizon_days``, or an
        outcome seen earlier that is stated to stand for it.

        Parameters
        ----------
        pays_off_after : mapping of action to int
            Days after the decision by which an action has paid off.
        surrogates : collection of str
            Actions with a stated surrogate.

        Raises
        ------
        ConfigurationError
            Every action that pays off later than its horizon and has no surrogate, and every name that is no action.

        Examples
        --------
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"account_id": [1], "decided_at": ["2026-01-01"], "action": ["sms"], "recovered": [0.0]})
        >>> log = DecisionLog(frame, actions=["no_action", "sms"], paid=None, logging_propensity=None)
        >>> log.require_horizons({"sms": 30})
        >>> log.require_horizons({"sms": 90}, surrogates=["sms"])
        """
        if problems := unseen_payoffs(self._settings.horizons, pays_off_after, surrogates):
            raise ConfigurationError("; ".join(problems))

    def digest(self) -> str:
        """Digest the rows learnt from, for lineage.

        The roles under their own names and the features, rows ordered by account and day: the order of rows and columns,
        the names of role columns, the index and other columns of the frame do not count.

        Returns
        -------
        str
            SHA-256 in hexadecimal (see :func:`~collectml.data.digest.content_digest`).
        """
        ids = [role for role in ("account_id", "customer_id") if role in self._roles]
        roles = self._roles.astype(dict.fromkeys(ids, "str")).add_prefix("role:").reset_index(drop=True)
        rows = pd.concat([roles, self.X.add_prefix("feature:").reset_index(drop=True)], axis="columns")
        return content_digest(rows.sort_values(["role:account_id", "role:decided_at"]))
