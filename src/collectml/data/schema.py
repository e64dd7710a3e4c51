"""The contract of every table: read it, check a frame against it, hear of all faults at once.

What may stand in a column is declared once (:mod:`collectml.data.columns`) and read here as checks, of which the pandera schema
is made as well. Tables are held against the checks themselves: importing pandera is slow, and imports pyspark where that is
installed.
"""

from __future__ import annotations

import functools
import operator
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from collectml.data._coerce import NOUNS, coerce
from collectml.data._faults import Fault, Inspection
from collectml.data.columns import FEATURES, TABLES, Column, Rule, Table

if TYPE_CHECKING:
    import pandera.pandas as pa

__all__ = ["FEATURES", "TABLES", "Column", "describe", "pandera_schema", "split_faults", "validate"]


def _pandera() -> Any:
    with warnings.catch_warnings():
        # pandera imports pyspark where it is installed, which warns about pandas 3; neither concerns the user's data
        warnings.simplefilter("ignore")
        import pandera.pandas as pa
    return pa


class _Check(NamedTuple):
    """What must hold of a value that is there: in words, and of a column of such values."""

    name: str
    holds: Callable[[pd.Series], pd.Series]


@functools.cache
def _checks(column: Column, actions: tuple[str, ...] | None) -> tuple[_Check, ...]:
    checks = []
    if column.dtype == "float":
        checks.append(_Check("must be finite", np.isfinite))
    if column.low is not None or column.dtype == "binary":
        low, high = (0.0, 1.0) if column.low is None else (column.low, column.high)
        above = operator.gt if column.low_open else operator.ge
        checks.append(
            _Check(f"must be {column.allowed}", lambda v: above(v, low) & (v <= high) if high is not None else above(v, low))
        )
    if column.values:
        checks.append(_Check(f"must be {column.allowed}", lambda v: v.isin(column.values)))
    if column.is_action and actions is not None:
        checks.append(_Check(f"must be one of the actions {', '.join(actions)}", lambda v: v.isin(actions)))
    return tuple(checks)


def _wide_check(rule: Rule) -> Any:
    def holds(frame: pd.DataFrame) -> pd.Series | bool:
        return rule.holds(frame) if set(rule.needs) <= set(frame.columns) else True

    return _pandera().Check(holds, name=rule.check, ignore_na=False)


def _table(table: str | Table) -> Table:
    if isinstance(table, Table):
        return table
    if table not in TABLES:
        raise ValueError(f"unknown table {table!r}: one of {', '.join(TABLES)}")
    return TABLES[table]


def pandera_schema(table: str | Table, *, actions: Iterable[str] | None = None) -> pa.DataFrameSchema:
    """Build the pandera schema of a table in canonical types.

    Parameters
    ----------
    table : str
        ``accounts``, ``decisions``, ``contacts``, ``payments``, ``complaints`` or ``capacity``.
    actions : iterable of str, optional
        The catalogue; without it any action is known.

    Returns
    -------
    pandera.DataFrameSchema
        Units in each column's ``title`` and ``metadata``; columns it does not name are allowed.

    Examples
    --------
    >>> pandera_schema("payments").columns["amount"].title
    'money'
    """
    pa = _pandera()
    spec = _table(table) if isinstance(table, str) else table
    names = None if actions is None else tuple(actions)
    return pa.DataFrameSchema(
        {
            column.name: pa.Column(
                None,
                [pa.Check(check.holds, name=check.name, ignore_na=True) for check in _checks(column, names)],
                nullable=column.nullable,
                required=column.required,
                title=column.unit,
                description=column.description,
                metadata={"unit": column.unit, "dtype": column.dtype},
            )
            for column in spec.columns
        },
        checks=[_wide_check(rule) for rule in spec.rules],
        unique=list(spec.key) or None,
        strict=False,
        name=spec.name,
        description=spec.description,
    )


def describe(table: str) -> pd.DataFrame:
    """Describe the columns of a table, for documentation.

    Parameters
    ----------
    table : str
        As in :func:`pandera_schema`.

    Returns
    -------
    DataFrame
        Index: column. Columns: ``dtype, unit, required, missing_allowed, allowed, feature, description``.

    Examples
    --------
    >>> describe("accounts").loc["balance", ["dtype", "unit", "allowed"]].tolist()
    ['float', 'money', '>= 0']
    """
    columns = _table(table).columns
    return pd.DataFrame(
        {
            "dtype": [c.dtype for c in columns],
            "unit": [c.unit for c in columns],
            "required": [c.required for c in columns],
            "missing_allowed": [c.nullable for c in columns],
            "allowed": [c.allowed for c in columns],
            "feature": [c.name in FEATURES for c in columns],
            "description": [c.description for c in columns],
        },
        index=pd.Index([c.name for c in columns], name="column"),
    )


def inspect_table(
    frame: pd.DataFrame,
    spec: Table,
    *,
    actions: Iterable[str] | None = None,
    names: Mapping[str, str] | None = None,
) -> Inspection:
    """Bring a frame to canonical types and collect every fault; ``names`` says what to call a column in them."""
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"{spec.name}: a DataFrame is needed, not {type(frame).__name__}")
    called = {column.name: column.name for column in spec.columns} | dict(names or {})
    faults: list[Fault] = []
    if not len(frame) and not spec.may_be_empty:
        faults.append(Fault("", "the table has no rows", "structural"))
    sound: dict[str, pd.Series] = {}
    given_as: dict[str, pd.Series] = {}
    columns = list(frame.columns)
    for column in spec.columns:
        name = called[column.name]
        if column.name not in columns:
            if column.required:
                faults.append(Fault(name, "is missing", "structural"))
            continue
        if (times := columns.count(column.name)) > 1:
            faults.append(Fault(name, f"is there {times} times", "structural"))
            continue
        given = frame[column.name]
        canonical, wrong = coerce(given, column.dtype)
        if wrong.any():
            told = f"must hold {NOUNS[column.dtype]}, has type {given.dtype.name}"
            faults.append(Fault(name, told, "structural", wrong))
        else:
            sound[column.name], given_as[column.name] = canonical, given
    clean = frame.assign(**{name: values for name, values in sound.items() if values is not given_as[name]})
    names_of_actions = None if actions is None else tuple(actions)
    for column in spec.columns:
        if column.name not in sound:
            continue
        values, name = sound[column.name], called[column.name]
        missing = values.isna().to_numpy()
        if missing.any() and not column.nullable:
            faults.append(Fault(name, "must not be missing", "row", missing))
        present = values[~missing] if missing.any() else values
        for check in _checks(column, names_of_actions):
            holds = check.holds(present).to_numpy(dtype=bool)
            if not holds.all():
                bad = np.zeros(len(values), dtype=bool)
                bad[~missing] = ~holds
                shown = values if column.dtype in ("float", "int", "binary") else None
                faults.append(Fault(name, check.name, "row", bad, shown))
    for rule in spec.rules:
        if set(rule.needs) <= set(sound):
            # positions, not labels: the frame's own index may repeat
            holds = rule.holds(clean[list(rule.needs)].reset_index(drop=True)).to_numpy(dtype=bool)
            if not holds.all():
                text = re.sub(r"\w+", lambda word: called.get(word[0], word[0]), rule.check)
                faults.append(Fault(called[rule.column], text, "row", ~holds))
    if spec.key and set(spec.key) <= set(sound):
        key = clean[list(spec.key)]
        twice = key.duplicated(keep=False).to_numpy() & key[spec.key[0]].notna().to_numpy()
        if twice.any():
            labels = ", ".join(called[name] for name in spec.key)
            faults.append(Fault(labels, "must be unique", "structural", twice))
    return Inspection(spec.name, clean, tuple(faults), sound.get("account_id"))


def validate(frame: pd.DataFrame, table: str, *, actions: Iterable[str] | None = None) -> pd.DataFrame:
    """Check a table against its contract and return it in canonical types.

    Only what loses nothing is converted: whole numbers to floats and back, 0/1 to flags, ISO text to dates. What is missing
    stays missing. Columns the contract does not name are kept as they are. The frame given is not changed.

    Parameters
    ----------
    frame : DataFrame, shape (n, k)
        The table as received.
    table : str
        As in :func:`pandera_schema`.
    actions : iterable of str, optional
        The catalogue; where given, any other action is a fault.

    Returns
    -------
    DataFrame, shape (n, k)
        Same index and columns; whole numbers int64 and flags bool, or Int64 and boolean where values are missing; ids int64
        or str; dates datetime64 without time zone.

    Raises
    ------
    SchemaError
        All faults at once (``.faults``). Its first line says how many and names the first; no text of the data is shown.

    Examples
    --------
    >>> import pandas as pd
    >>> payments = pd.DataFrame({"ts": ["2026-01-05"], "account_id": [7], "amount": [-3]})
    >>> validate(payments, "payments")
    Traceback (most recent call last):
    ...
    collectml.errors.SchemaError: payments: 1 fault in 1 of 1 rows (0 structural); first: column 'amount' must be > 0
    - column 'amount' must be > 0 (1 row: account 7 has -3)
    """
    inspection = inspect_table(frame, _table(table), actions=actions)
    if inspection.faults:
        raise inspection.error()
    return inspection.frame


def split_faults(
    frame: pd.DataFrame, table: str | Table, *, actions: Iterable[str] | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Set rows with faults apart; faults of the table as a whole still raise.

    Parameters
    ----------
    frame, table, actions
        As in :func:`validate`.

    Returns
    -------
    good : DataFrame
        The sound rows in canonical types, as :func:`validate` returns them.
    rejects : DataFrame
        The other rows as received, and ``reject_reason``: the faults in words, joined by "; ".

    Raises
    ------
    SchemaError
        A column missing or of the wrong type, duplicate ids, no rows: with the faults of rows, too.

    Examples
    --------
    >>> import pandas as pd
    >>> payments = pd.DataFrame({"ts": ["2026-01-05"] * 2, "account_id": [7, 8], "amount": [-3, 10]})
    >>> good, rejects = split_faults(payments, "payments")
    >>> good["account_id"].tolist(), rejects["reject_reason"].tolist()
    ([8], ["column 'amount' must be > 0"])
    """
    spec = _table(table)
    inspection = inspect_table(frame, spec, actions=actions)
    if any(fault.kind == "structural" for fault in inspection.faults):
        raise inspection.error()
    return sound_rows(inspection, frame, spec)


def sound_rows(inspection: Inspection, frame: pd.DataFrame, spec: Table) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Part the sound rows of an inspected frame without structural faults from the others, as :func:`split_faults` does."""
    bad = inspection.bad_rows()
    if not bad.any():
        return inspection.frame, frame.iloc[:0].assign(reject_reason=pd.Series(dtype="str"))
    reasons: list[str] = [""] * int(bad.sum())
    position = np.cumsum(bad) - 1
    for fault in inspection.faults:
        for row in position[fault.bad]:
            reasons[row] += ("; " if reasons[row] else "") + fault.sentence
    # once more, since types depend on what is missing and the rows that missed something may have gone
    good = inspect_table(inspection.frame[~bad], replace(spec, may_be_empty=True))
    return good.frame, frame[bad].assign(reject_reason=pd.array(reasons, dtype="str"))
