"""The six tables of a collections team, column by column: what each is, its unit, and what may stand in it.

The declarations are the single source: the pandera schemas, the documentation and the default features follow from them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
import pandas as pd

__all__ = ["CHANNELS", "FEATURES", "TABLES", "Column", "DType", "Rule", "Table", "scoring_table"]

DType = Literal["id", "float", "int", "binary", "flag", "text", "date", "timestamp"]

CHANNELS: tuple[str, ...] = ("call", "sms", "email", "letter", "visit")

FEATURES: tuple[str, ...] = (
    "product", "balance", "arrears", "instalment", "days_past_due", "months_on_book", "worst_dpd_12m", "times_30_12m",
    "times_60_12m", "times_90_12m", "behaviour_score", "income", "utilisation", "days_since_last_payment",
    "payments_12m", "promises_kept", "promises_broken", "contacts_90d", "responses_90d", "has_phone", "has_mobile",
    "has_email", "has_address", "hardship",
)  # fmt: skip
"""What models may learn from, in the order used throughout."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Parameters
    ----------
    name : str
        Its name.
    dtype : {"id", "float", "int", "binary", "flag", "text", "date", "timestamp"}
        Canonical type: ``id`` int64 or str; ``float`` float64; ``int`` int64; ``binary`` int8 of 0 and 1; ``flag`` bool;
        ``text`` str; ``date`` and ``timestamp`` datetime64. With missing values int64, int8 and bool become pandas'
        nullable Int64, Int8 and boolean.
    unit : str
        "money" is the portfolio's currency; time is in days unless it says otherwise.
    description : str
        One line.
    required : bool
        Whether the table cannot do without it.
    nullable : bool
        Whether a value may be missing.
    low, high : float, optional
        Smallest and largest value allowed.
    low_open : bool
        Whether ``low`` itself is excluded.
    values : tuple of str
        The values allowed; empty for any.
    is_action : bool
        Whether it holds names of actions.
    """

    name: str
    dtype: DType
    unit: str
    description: str
    required: bool = False
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    low_open: bool = False
    values: tuple[str, ...] = ()
    is_action: bool = False

    @property
    def allowed(self) -> str:
        """The allowed values in words, empty where anything of the type goes."""
        if self.values:
            return "one of " + ", ".join(self.values)
        if self.low is None:
            return "0 or 1" if self.dtype == "binary" else ""
        if self.high is None:
            return f"{'>' if self.low_open else '>='} {self.low:g}"
        return f"in {'(' if self.low_open else '['}{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class Rule:
    """What must hold between columns of a row.

    Parameters
    ----------
    column : str
        The column named in the fault.
    needs : tuple of str
        The columns it reads; where one is absent the rule is silent.
    check : str
        The rule in words, following the column's name: "must be ...".
    holds : callable
        From the frame (canonical types) to one bool a row.
    """

    column: str
    needs: tuple[str, ...]
    check: str
    holds: Callable[[pd.DataFrame], pd.Series]


@dataclass(frozen=True)
class Table:
    """One table: its columns, its key (no two rows alike in it) and the rules between columns.

    ``may_be_empty`` is for logs of events: a month without a complaint is no fault, a portfolio without accounts is.
    """

    name: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    may_be_empty: bool = False


def _id(name: str, description: str, *, required: bool = True) -> Column:
    return Column(name, "id", "id", description, required)


def _money(name: str, description: str, *, required: bool = False, nullable: bool = False) -> Column:
    return Column(name, "float", "money", description, required, nullable, low=0)


def _count(name: str, description: str, unit: str = "count", *, required: bool = False) -> Column:
    return Column(name, "int", unit, description, required, low=0)


def _flag(name: str, description: str) -> Column:
    # Nullable: what is unknown stays unknown, and eligibility denies where it is.
    return Column(name, "flag", "yes/no", description, nullable=True)


_FEATURE_COLUMNS: tuple[Column, ...] = (
    Column("product", "text", "name", "Product: card, loan, overdraft."),
    _money("balance", "What is owed in all."),
    _money("arrears", "What is overdue."),
    _money("instalment", "Minimum due each month."),
    _count("days_past_due", "Days since the oldest unpaid due date.", "days"),
    _count("months_on_book", "Age of the account.", "months"),
    _count("worst_dpd_12m", "Worst days past due in 12 months.", "days"),
    _count("times_30_12m", "Times 30 or more days past due in 12 months."),
    _count("times_60_12m", "Times 60 or more days past due in 12 months."),
    _count("times_90_12m", "Times 90 or more days past due in 12 months."),
    Column("behaviour_score", "float", "points", "Behaviour score.", nullable=True, low=300, high=850),
    Column("income", "float", "money/month", "Stated or estimated income.", nullable=True, low=0),
    Column("utilisation", "float", "share", "Balance over limit (none: missing).", nullable=True, low=0, high=2),
    Column("days_since_last_payment", "int", "days", "Days since a payment.", nullable=True, low=0),
    _count("payments_12m", "Payments in 12 months."),
    _count("promises_kept", "Promises to pay that were kept."),
    _count("promises_broken", "Promises to pay that were broken."),
    _count("contacts_90d", "Contact attempts in 90 days."),
    _count("responses_90d", "Right-party contacts and responses in 90 days."),
    _flag("has_phone", "A landline or any phone number is held."),
    _flag("has_mobile", "A mobile number is held."),
    _flag("has_email", "An e-mail address is held."),
    _flag("has_address", "A postal address is held."),
    _flag("hardship", "Financial hardship is on record."),
)
_FEATURE = {column.name: column for column in _FEATURE_COLUMNS}

_ACCOUNTS: tuple[Column, ...] = (
    _id("account_id", "The account."),
    _id("customer_id", "The person who owes; may hold several accounts."),
    Column("as_of", "date", "date", "Day the snapshot describes.", required=True),
    _FEATURE["product"],
    Column("region", "text", "name", "Region of the customer's address."),
    Column("age_band", "text", "name", "Age band; a fairness group, not a feature."),
    _money("balance", "What is owed in all.", required=True),
    _FEATURE["arrears"],
    _FEATURE["instalment"],
    _count("days_past_due", "Days since the oldest unpaid due date.", "days", required=True),
    _count("bucket", "Delinquency bucket, ceil(days_past_due / 30)."),
    *(_FEATURE[name] for name in FEATURES[FEATURES.index("months_on_book") : FEATURES.index("has_phone")]),
    Column("best_hour", "int", "hour of day", "Last successful contact.", nullable=True, low=0, high=23),
    *(_FEATURE[name] for name in ("has_phone", "has_mobile", "has_email", "has_address")),
    *(_flag(f"consent_{channel}", f"Consent to contact by {channel}.") for channel in CHANNELS),
    *(_flag(f"optout_{channel}", f"Opted out of contact by {channel}.") for channel in CHANNELS),
    _FEATURE["hardship"],
    _flag("dispute", "The debt is disputed."),
    _flag("attorney", "An attorney represents the customer."),
    _flag("cease", "The customer asked that contact cease."),
    _flag("bankruptcy", "Bankruptcy or insolvency."),
    _flag("deceased", "The customer has died."),
    _flag("vulnerable", "Marked as vulnerable."),
    _flag("breathing_space", "A statutory breathing space runs."),
    _flag("complaint_open", "A complaint is open."),
    _flag("fraud", "Fraud is suspected or proven."),
    _flag("time_barred", "The debt is time-barred."),
    Column("committed_action", "text", "action", "Action the account is committed to.", nullable=True, is_action=True),
    Column("committed_until", "date", "date", "Day the commitment ends.", nullable=True),
)  # fmt: skip

_DECISIONS: tuple[Column, ...] = (
    _id("account_id", "The account decided on."),
    _id("customer_id", "The person who owes."),
    Column("decided_at", "date", "date", "Day of the decision; the features describe the account on it.", required=True),
    Column("features_as_of", "date", "date", "Day the features describe; never after the decision.", nullable=True),
    Column("action", "text", "action", "Action assigned (intention to treat).", required=True, is_action=True),
    Column("logging_propensity", "float", "probability", "Probability with which the action was assigned.",
           required=True, low=0, high=1, low_open=True),
    Column("paid", "binary", "0/1", "Whether anything was paid within the horizon.", required=True),
    _money("recovered", "Money paid within the horizon.", required=True),
    Column("complained", "binary", "0/1", "Whether the customer complained within the horizon."),
    _money("cost", "What carrying out the decision cost."),
    Column("executed_action", "text", "action", "Action in fact carried out.", nullable=True, is_action=True),
    *_FEATURE_COLUMNS,
)  # fmt: skip

_OUTCOMES = ("no_answer", "wrong_party", "right_party", "conversation", "promise", "refusal", "bounce", "delivered",
             "opened", "responded")  # fmt: skip

_CONTACTS: tuple[Column, ...] = (
    Column("ts", "timestamp", "local time", "When the attempt was made.", required=True),
    _id("account_id", "The account."),
    _id("customer_id", "The person who owes.", required=False),
    Column("action", "text", "action", "Action the attempt belongs to.", nullable=True, is_action=True),
    Column("channel", "text", "name", "Channel of the attempt.", required=True, values=CHANNELS),
    Column("tone", "text", "name", "Tone of the message.", nullable=True),
    Column("hour", "int", "hour of day", "Local hour of the attempt.", low=0, high=23),
    Column("outcome", "text", "name", "What came of it.", required=True, values=_OUTCOMES),
    Column("talk_minutes", "float", "minutes", "Talk time; missing where nobody talks.", nullable=True, low=0),
    _money("cost", "What the attempt cost."),
)

_PAYMENTS: tuple[Column, ...] = (
    Column("ts", "date", "date", "Day the money arrived.", required=True),
    _id("account_id", "The account."),
    Column("amount", "float", "money", "Amount.", required=True, low=0, low_open=True),
    _flag("reversal", "The payment was later reversed."),
    Column("decided_at", "date", "date", "Decision in whose horizon it falls.", nullable=True),
)

_COMPLAINTS: tuple[Column, ...] = (
    Column("ts", "date", "date", "Day of the complaint.", required=True),
    _id("account_id", "The account."),
    Column("channel", "text", "name", "Channel complained about.", nullable=True),
    _flag("upheld", "The complaint was upheld."),
)

_CAPACITY: tuple[Column, ...] = (
    Column("date", "date", "date", "Day.", required=True),
    Column("channel", "text", "name", "Channel or resource.", required=True),
    Column("team", "text", "name", "Team.", nullable=True),
    Column("capacity", "float", "as `unit` says", "What can be done on the day.", required=True, low=0),
    Column("unit", "text", "name", "Unit of the capacity.", required=True, values=("minutes", "items")),
)


def _paid_iff_recovered(frame: pd.DataFrame) -> pd.Series:
    known = frame["paid"].notna() & frame["recovered"].notna()
    return ((frame["recovered"] > 0) == (frame["paid"] == 1)).where(known, True).astype(bool)


def _known_by_then(frame: pd.DataFrame) -> pd.Series:
    late = frame["features_as_of"] > frame["decided_at"]  # what is missing is never late
    return pd.Series(~late.to_numpy(dtype=bool), index=frame.index)


def _bucket_of_days(frame: pd.DataFrame) -> pd.Series:
    days = frame["days_past_due"].to_numpy(dtype=np.float64, na_value=np.nan)
    bucket = frame["bucket"].to_numpy(dtype=np.float64, na_value=np.nan)
    return pd.Series((np.ceil(days / 30) == bucket) | np.isnan(days) | np.isnan(bucket), index=frame.index)


def _commitment_ends(frame: pd.DataFrame) -> pd.Series:
    return frame["committed_action"].notna() == frame["committed_until"].notna()


TABLES: Mapping[str, Table] = MappingProxyType({
    table.name: table
    for table in (
        Table("accounts", "Account snapshot: one row an account on the as-of day.", _ACCOUNTS, ("account_id",), (
            Rule("bucket", ("bucket", "days_past_due"), "must be ceil(days_past_due / 30)", _bucket_of_days),
            Rule("committed_until", ("committed_action", "committed_until"),
                 "must be given exactly where committed_action is", _commitment_ends),
        )),
        Table("decisions", "Decision log: one row a decision.", _DECISIONS, ("account_id", "decided_at"), (
            Rule("recovered", ("paid", "recovered"), "must be > 0 exactly where paid is 1", _paid_iff_recovered),
            Rule("features_as_of", ("features_as_of", "decided_at"), "must not be after decided_at: a model would learn from "
                 "what was not known yet", _known_by_then),
        )),
        Table("contacts", "Contact log: one row an attempt.", _CONTACTS, may_be_empty=True),
        Table("payments", "Payment log: one row a payment.", _PAYMENTS, may_be_empty=True),
        Table("complaints", "Complaint log: one row a complaint.", _COMPLAINTS, may_be_empty=True),
        Table("capacity", "Capacity calendar: day by channel by team.", _CAPACITY, key=("date", "channel", "team")),
    )
})  # fmt: skip
"""The six tables by name."""


def scoring_table(features: Sequence[str], levels: Collection[str] = ()) -> Table:
    """Contract of the snapshot a given model scores: the account id and its features are required, the rest as ever.

    Parameters
    ----------
    features : sequence of str
        Names of the account fields the model reads.
    levels : collection of str
        Those of them that hold text.

    Returns
    -------
    Table
        The contract of ``accounts``, and a column for each feature that contract does not name.
    """
    accounts = TABLES["accounts"]
    needed = {"account_id", *features}
    known = tuple(replace(c, required=c.name in needed) for c in accounts.columns)
    names = {c.name for c in known}
    further = tuple(
        Column(f, "text" if f in levels else "float", "as in training", "feature of the model", True, True)
        for f in features
        if f not in names
    )
    return replace(accounts, columns=known + further)
