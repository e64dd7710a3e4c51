"""A first look at a single account: is it evidently sound, or does it need the whole inspection."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from collectml.data.columns import Column, Table

__all__ = ["evidently_sound"]


def evidently_sound(account: Mapping[str, object], table: Table) -> bool:
    """Say whether an account keeps a table's contract beyond doubt, at the cost of a glance.

    Parameters
    ----------
    account : mapping of str to scalar
        Fields by name; None and NaN are missing.
    table : Table
        The contract.

    Returns
    -------
    bool
        False also where only :func:`~collectml.data.schema.inspect_table` can tell: text that may be a date, rules between
        columns.

    Examples
    --------
    >>> from collectml.data.columns import scoring_table
    >>> contract = scoring_table(["balance"])
    >>> evidently_sound({"account_id": 7, "balance": 10.5}, contract), evidently_sound({"account_id": 7, "balance": -1}, contract)
    (True, False)
    """
    if any(set(rule.needs) <= account.keys() for rule in table.rules):
        return False
    return all(_holds(account[c.name], c) if c.name in account else not c.required for c in table.columns)


def _holds(value: object, column: Column) -> bool:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return column.nullable
    if column.values or column.is_action:
        return False
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, (bool, np.bool_))
    match column.dtype:
        case "id":
            return (isinstance(value, (int, np.integer)) and number) or (isinstance(value, str) and value.strip() != "")
        case "text":
            return isinstance(value, str)
        case "flag":
            return isinstance(value, (bool, np.bool_))
        case "float" | "int":
            if not number or not math.isfinite(value):  # type: ignore[arg-type]
                return False
            inside = (column.low is None or value >= column.low) and (column.high is None or value <= column.high)  # type: ignore[operator]
            whole = column.dtype == "float" or float(value).is_integer()  # type: ignore[arg-type]
            return inside and whole and not column.low_open
    return False
