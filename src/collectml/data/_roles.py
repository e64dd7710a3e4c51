"""Reading a decision log whose columns may be called anything."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd
from pandas.api import types as pdt

from collectml.data._coerce import plain
from collectml.data._faults import Fault
from collectml.data.columns import FEATURES, TABLES
from collectml.data.schema import inspect_table
from collectml.errors import ConfigurationError

_DECISIONS: Final = TABLES["decisions"]
_ROLES: Final = {column.name: column for column in _DECISIONS.columns if column.name not in FEATURES}
_DATES: Final = frozenset(c.name for t in TABLES.values() for c in t.columns if c.dtype in ("date", "timestamp"))
_BY_NAME: Final = ("customer_id", "features_as_of", "complained", "cost", "executed_action")
_NAMED: Final = 10
_MOST_LEVELS: Final = 1_000


def read_roles(
    frame: pd.DataFrame, asked: Mapping[str, str | None], features: Sequence[str] | None, actions: tuple[str, ...]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the roles of a log in canonical types, or raise all faults of roles and features at once.

    Parameters
    ----------
    frame : DataFrame, shape (n, k)
        The log as received.
    asked : mapping of str to str or None
        From role to column; None for a role without one, or found by its own name where that is optional.
    features : sequence of str, optional
        Columns asked for as features.
    actions : tuple of str
        The catalogue.

    Returns
    -------
    roles : DataFrame, shape (n, roles)
        One column a role, the frame's index; ``paid`` derived where it has no column.
    features : tuple of str
        Those asked for, else every column that qualifies.
    """
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"decision log: a DataFrame is needed, not {type(frame).__name__}")
    names = {role: name for role, name in asked.items() if name is not None}
    names |= {role: role for role in _BY_NAME if asked[role] is None and role in frame.columns}
    if leaks := sorted(set(features or ()) & set(names.values())):
        raise ConfigurationError(f"features: {', '.join(leaks)} hold roles of the decision log (outcomes among them)")
    found = [(role, at) for role, name in names.items() for at in np.flatnonzero(frame.columns == name).tolist()]
    table = frame.take([at for _, at in found], axis="columns").set_axis([role for role, _ in found], axis="columns")
    spec = replace(_DECISIONS, name="decision log", columns=tuple(replace(_ROLES[role], required=True) for role in names))
    inspection = inspect_table(table, spec, names=names)
    faults = [_with_way_out(fault, names) for fault in inspection.faults]
    wrong = {fault.column for fault in faults if fault.kind == "structural"}
    for role in ("action", "executed_action"):
        if role in inspection.frame and names[role] not in wrong:
            faults += _unknown_actions(inspection.frame[role], names[role], actions)
    chosen = _default_features(frame, names) if features is None else tuple(features)
    faults += _feature_faults(frame, chosen)
    if faults:
        raise replace(inspection, faults=tuple(faults)).error()
    roles = inspection.frame
    return (roles if "paid" in roles else roles.assign(paid=(roles["recovered"] > 0).astype("int8"))), chosen


def _default_features(frame: pd.DataFrame, names: Mapping[str, str]) -> tuple[str, ...]:
    """Every column that has no role, mapped or by its name, is no id and no date, and that the contract does not set apart."""
    taken = set(names.values()) | set(_ROLES) | _DATES | {"id"}
    # flags, consents and fairness groups decide what may be done, and to whom; what is learnt must not depend on them unasked
    taken |= {c.name for c in TABLES["accounts"].columns} - set(FEATURES)
    return tuple(
        name
        for name in dict.fromkeys(frame.columns)
        if name not in taken and not str(name).endswith("_id") and not _is_date(frame, name)
    )


def _is_date(frame: pd.DataFrame, name: str) -> bool:
    column = frame[name]
    return isinstance(column, pd.Series) and pdt.is_datetime64_any_dtype(
        plain(column) if column.dtype == object or isinstance(column.dtype, pd.ArrowDtype) else column
    )


def _with_way_out(fault: Fault, names: Mapping[str, str]) -> Fault:
    """Say how to do without a column where one can."""
    ways = {
        "paid": "pass paid=None to derive it as recovered > 0",
        "logging_propensity": "pass logging_propensity=None if the probabilities are not known",
    }
    for role, way in ways.items():
        if fault.column == names.get(role) and fault.check == "is missing":
            return replace(fault, check=f"is missing: {way}")
    return fault


def _unknown_actions(values: pd.Series, name: str, actions: tuple[str, ...]) -> Iterable[Fault]:
    unknown = ~values.isin(actions) & values.notna()
    if not unknown.any():
        return
    counts = values[unknown].value_counts().sort_index().sort_values(ascending=False, kind="stable")
    # A wrongly mapped column may hold names or phone numbers: only what looks like an action's name is shown.
    plain_names = [n for n in counts.index if re.fullmatch(r"[a-z][a-z0-9_]{0,39}", n) and not re.search(r"\d{5}", n)]
    told = [f"'{n}' ({counts[n]:,} rows)" for n in plain_names[:_NAMED]]
    if rest := len(counts) - len(told):
        told.append(f"{rest:,} other values ({counts.drop(plain_names[:_NAMED]).sum():,} rows)")
    yield Fault(name, f"must be one of the actions {', '.join(actions)}; is {', '.join(told)}", "row", unknown.to_numpy())


def _feature_faults(frame: pd.DataFrame, features: Sequence[str]) -> Iterable[Fault]:
    for name in features:
        times = int((frame.columns == name).sum())
        if times != 1:
            yield Fault(name, f"is there {times} times" if times else "is missing", "structural")
        elif pdt.is_float_dtype(frame[name]):
            values = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
            if (bad := np.isinf(values)).any():
                yield Fault(name, "must be finite", "row", bad)
        elif pdt.is_string_dtype(frame[name]) and (levels := frame[name].nunique()) > _MOST_LEVELS:
            # names, phones and addresses would also be kept in the model as levels
            yield Fault(name, f"holds {levels:,} different texts, more than {_MOST_LEVELS:,}: no feature", "structural")
