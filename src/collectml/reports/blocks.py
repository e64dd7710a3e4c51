"""What a section is made of: paragraphs, tables, charts. Numbers stay numbers until they are rendered."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import pandas as pd

from collectml.explain import PricedRows, price_rows
from collectml.policy import Assignment
from collectml.strategy import Strategy

__all__ = [
    "Approval",
    "Chart",
    "Column",
    "EvidenceLike",
    "Inputs",
    "ModelLike",
    "Section",
    "Sentence",
    "Table",
    "fact",
    "interval",
    "plain",
    "say",
    "table_of",
]

MOST_TEXT = 300
HIDDEN = {"Cc", "Cf", "Cs", "Co"}


class EvidenceLike(Protocol):
    """What a report needs of the evidence saved with a model."""

    @property
    def facts(self) -> dict[str, object]:
        """Nested facts."""
        ...

    @property
    def tables(self) -> dict[str, pd.DataFrame]:
        """Tables by name."""
        ...


class ModelLike(Protocol):
    """What a report needs of a model: its strategy and the evidence for it."""

    @property
    def strategy(self) -> Strategy:
        """The strategy."""
        ...

    @property
    def evidence(self) -> EvidenceLike:
        """The evidence."""
        ...


@dataclass(frozen=True)
class Approval:
    """What the committee brings to the report; what is missing keeps it a draft.

    Parameters
    ----------
    owners : sequence of str or None
        Owner of each condition, in their order.
    due, expires : str, optional
        Date the conditions are due, and date the approval ends.
    materiality : str, optional
        Tier of the model in the bank's own inventory.
    classification : str, optional
        Legal classification, as counsel settled it.
    findings : sequence of mapping
        Review findings: ``finding``, ``status`` and ``owner``.
    """

    owners: Sequence[str | None] = ()
    due: str | None = None
    expires: str | None = None
    materiality: str | None = None
    classification: str | None = None
    findings: Sequence[Mapping[str, str]] = ()


@dataclass(frozen=True)
class Inputs:
    """What a report may be given beside model and assignment.

    Parameters
    ----------
    accounts : DataFrame, optional
        The accounts decided, with groups, stages and balances.
    cases : dict
        Cases explained, as a model's ``cases`` gives them; empty where there are none.
    champion : Assignment, optional
        What the model in use assigns to the same accounts.
    approval : Approval
        What the committee brings.
    priced : PricedRows, optional
        The plan against its own prices, where it was worked out already.
    frame : DataFrame, optional
        The assignment's rows, likewise.
    shifted : DataFrame, optional
        Each limit a tenth tighter and looser, solved anew; None for a plan made by a strategy tree, which is not the best one.
    """

    accounts: pd.DataFrame | None = None
    cases: dict[str, Any] = field(default_factory=dict)
    champion: Assignment | None = None
    approval: Approval = Approval()
    priced: PricedRows | None = None
    frame: pd.DataFrame | None = None
    shifted: pd.DataFrame | None = None

    def decided(self, assignment: Assignment) -> pd.DataFrame:
        """Give the assignment's rows, a row an account.

        Parameters
        ----------
        assignment : Assignment
            What was assigned.

        Returns
        -------
        DataFrame
            As :meth:`~collectml.policy.Assignment.frame`; not to be changed.
        """
        return assignment.frame() if self.frame is None else self.frame

    def prices(self, assignment: Assignment) -> PricedRows:
        """Hold the plan against its own prices.

        Parameters
        ----------
        assignment : Assignment
            What was assigned.

        Returns
        -------
        PricedRows
        """
        return price_rows(assignment) if self.priced is None else self.priced

    def column(self, name: str, ids: pd.Index) -> pd.Series | None:
        """Give a field of the accounts in the order of the ids; None where it is not known.

        Parameters
        ----------
        name : str
            Field.
        ids : Index
            Account ids.

        Returns
        -------
        Series or None
        """
        if self.accounts is None or name not in self.accounts:
            return None
        known = pd.Index(self.accounts["account_id"])
        column = self.accounts[name].set_axis(known, axis="index")
        return column if known.equals(ids) else column.reindex(ids)


@dataclass(frozen=True)
class Sentence:
    """A sentence and the values in it; numbers stay numbers until it is rendered.

    Parameters
    ----------
    form : str
        As in ``str.format``: ``"{n:,} accounts were decided."``. It is ours, never from the data.
    values : dict
        What stands in its places.
    """

    form: str
    values: dict[str, object] = field(default_factory=dict)


def say(form: str, **values: object) -> Sentence:
    """Make a sentence.

    Parameters
    ----------
    form : str
        As in ``str.format``.
    **values : object
        What stands in its places; None and what is no finite number are written "not known".

    Returns
    -------
    Sentence

    Examples
    --------
    >>> say("{n:,} accounts", n=400).values
    {'n': 400}
    """
    return Sentence(form, {k: _plain(v) for k, v in values.items()})


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Parameters
    ----------
    key : str
        Name in the rows.
    label : str
        Header, with the unit.
    kind : str
        ``text``, ``list``, ``count``, ``money``, ``money2``, ``share``, ``number``: how it is written.
    upto : str, optional
        Name of the upper end in the rows, where the column is an interval.
    """

    key: str
    label: str
    kind: str = "text"
    upto: str | None = None


def interval(kind: str, of: str = "") -> Column:
    """Make the column of a 95 % interval, which stands beside its estimate.

    Parameters
    ----------
    kind : str
        How its ends are written.
    of : str
        What their names in the rows begin with: ``"gain_"`` for ``gain_low`` and ``gain_high``.

    Returns
    -------
    Column

    Examples
    --------
    >>> interval("share", "contacted_").upto
    'contacted_high'
    """
    return Column(f"{of}low", "95 % interval", kind, f"{of}high")


@dataclass(frozen=True)
class Table:
    """A table with a caption.

    Parameters
    ----------
    caption : str
        What it shows.
    columns : sequence of Column
        Its columns.
    rows : list of dict
        Its rows; what is not finite is None.
    """

    caption: str
    columns: Sequence[Column]
    rows: list[dict[str, object]]


@dataclass(frozen=True)
class Chart:
    """A horizontal bar chart, or bars with intervals; the table it stands beside holds its data.

    Parameters
    ----------
    title, description : str
        What it shows, and in words what is to be seen.
    labels : list of str
        One a bar.
    values : list of float
        Lengths.
    low, high : list of float, optional
        Ends of intervals.
    unit : str
        Of the axis.
    reference : list of float, optional
        A mark for each bar (a limit, say).
    """

    title: str
    description: str
    labels: list[str]
    values: list[float]
    unit: str
    low: list[float] | None = None
    high: list[float] | None = None
    reference: list[float] | None = None


@dataclass(frozen=True)
class Section:
    """A section of the report.

    Parameters
    ----------
    id, title : str
        Anchor and heading.
    paragraphs : list of Sentence
        Plain text.
    tables : list of Table
        Its tables.
    charts : list of Chart
        Its charts.
    """

    id: str
    title: str
    paragraphs: list[Sentence] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)


def table_of(caption: str, frame: pd.DataFrame, columns: Sequence[Column]) -> Table:
    """Make a table of a frame.

    Parameters
    ----------
    caption : str
        What it shows.
    frame : DataFrame
        The data.
    columns : sequence of Column
        Which columns, and how they are written.

    Returns
    -------
    Table
    """
    kinds = {key: c.kind for c in columns for key in (c.key, c.upto) if key is not None}
    rows = [
        {key: _counted(row[key]) if kind == "count" else _plain(row[key]) for key, kind in kinds.items()}
        for row in frame.to_dict("records")
    ]
    return Table(caption, columns, rows)


def _counted(value: object) -> object:
    """Write a count as a whole number, also where gaps among the rows made floats of it."""
    value = _plain(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _plain(value: object) -> object:
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (int, float, str, bool)) or value is None else str(value)


def plain(text: str, most: int = MOST_TEXT) -> str:
    """Strip what could turn writing round or hide in it, and shorten what no table can hold.

    Parameters
    ----------
    text : str
        From the data.
    most : int
        Characters kept.

    Returns
    -------
    str
    """
    kept = "".join(c for c in text if unicodedata.category(c) not in HIDDEN or c in "\n\t")
    return kept if len(kept) <= most else kept[: most - 1] + "…"


def fact(model: ModelLike, *path: str) -> object:
    """Look a fact up.

    Parameters
    ----------
    model : ModelLike
        Whose evidence.
    *path : str
        Keys.

    Returns
    -------
    object
        None where there is no such fact.
    """
    value: object = model.evidence.facts
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value
