"""Counterfactuals: the smallest change of what can change that would have led to another action, asked of the model again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.errors import CollectMLError, ConfigurationError

__all__ = ["counterfactuals"]

Decide = Callable[[pd.DataFrame], NDArray[np.object_]]
MOST_PAIRS = 400


def counterfactuals(
    accounts: pd.DataFrame, decide: Decide, *, candidates: Mapping[str, Sequence[object]], scale: Mapping[str, float]
) -> pd.DataFrame:
    """Find the smallest change that leads to another action: of one field, else of two.

    Parameters
    ----------
    accounts : DataFrame, n rows
        Accounts with ``account_id`` and their fields.
    decide : callable
        From such a frame (of any length) to the action of every row; asked again about everything that is claimed.
    candidates : mapping of str to sequence
        Values that each actionable field may take.
    scale : mapping of str to float
        What counts as one step of each field; a flag's change is one step.

    Returns
    -------
    DataFrame
        A row an account: ``account_id, action, other_action, changes`` (list of ``(field, from, to)``), ``steps``; no
        changes and ``steps`` missing where no such change leads to another action.

    Raises
    ------
    ConfigurationError
        Where a field is none of the accounts'.
    CollectMLError
        Where a change that was found does not hold when it is asked again.

    Notes
    -----
    All changes of one field are tried first, in order of their size; pairs only where no single change does, built from the
    smallest changes of each field.

    References
    ----------
    Wachter, Mittelstadt & Russell (2018), Counterfactual explanations without opening the black box.

    Examples
    --------
    >>> accounts = pd.DataFrame({"account_id": [1, 2], "arrears": [500.0, 90.0], "kept": [0, 0]})
    >>> decide = lambda rows: np.where(rows["arrears"] > 100, "call", "sms").astype(object)
    >>> found = counterfactuals(accounts, decide, candidates={"arrears": [50.0, 200.0], "kept": [0, 1]},
    ...     scale={"arrears": 100.0, "kept": 1.0})
    >>> found[["action", "other_action", "steps"]].values.tolist()
    [['call', 'sms', 4.5], ['sms', 'call', 1.1]]
    """
    unknown = [f for f in candidates if f not in accounts]
    if unknown:
        raise ConfigurationError(f"accounts have no field {', '.join(unknown)}")
    accounts = accounts.reset_index(drop=True)
    now = np.asarray(decide(accounts), dtype=object)
    singles = [_moves(accounts.iloc[i], candidates, scale) for i in range(len(accounts))]
    found: dict[int, tuple[float, list[tuple[str, object, object]], object]] = {}
    _search(accounts, now, decide, {i: [(s, [m]) for s, m in moves] for i, moves in enumerate(singles)}, found)
    left = [i for i in range(len(accounts)) if i not in found]
    _search(accounts, now, decide, {i: _pairs(singles[i]) for i in left}, found)
    rows = []
    for i, account in enumerate(accounts["account_id"]):
        steps, changes, other = found.get(i, (np.nan, [], None))
        rows.append((account, now[i], other, changes, steps))
    table = pd.DataFrame(rows, columns=["account_id", "action", "other_action", "changes", "steps"])
    _ask_again(accounts, decide, table)
    return table


def _moves(
    row: pd.Series, candidates: Mapping[str, Sequence[object]], scale: Mapping[str, float]
) -> list[tuple[float, tuple[str, object, object]]]:
    """List the changes of one field, smallest first."""
    moves: list[tuple[float, tuple[str, object, object]]] = []
    for field, values in candidates.items():
        present = row[field]
        for value in values:
            if pd.isna(present) or value == present:
                continue
            size = 1.0 if isinstance(value, (bool, np.bool_)) else abs(float(value) - float(present)) / scale[field]  # type: ignore[arg-type]
            moves.append((float(size), (field, present, value)))
    return sorted(moves, key=lambda move: (move[0], move[1][0]))


def _pairs(
    moves: list[tuple[float, tuple[str, object, object]]],
) -> list[tuple[float, list[tuple[str, object, object]]]]:
    pairs = [(a[0] + b[0], [a[1], b[1]]) for a, b in combinations(moves, 2) if a[1][0] != b[1][0]]
    return sorted(pairs, key=lambda pair: pair[0])[:MOST_PAIRS]


def _search(
    accounts: pd.DataFrame,
    now: NDArray[np.object_],
    decide: Decide,
    tries: Mapping[int, list[tuple[float, list[tuple[str, object, object]]]]],
    found: dict[int, tuple[float, list[tuple[str, object, object]], object]],
) -> None:
    """Ask about all tries at once, and keep each account's smallest that leads elsewhere."""
    flat = [(i, steps, changes) for i, some in tries.items() for steps, changes in some]
    if not flat:
        return
    asked = np.asarray(decide(_changed(accounts, [(i, c) for i, _, c in flat])), dtype=object)
    for (i, steps, changes), action in zip(flat, asked, strict=True):
        if action != now[i] and (i not in found or steps < found[i][0]):
            found[i] = (steps, changes, action)


def _changed(accounts: pd.DataFrame, tries: list[tuple[int, list[tuple[str, object, object]]]]) -> pd.DataFrame:
    rows = accounts.iloc[[i for i, _ in tries]].reset_index(drop=True)
    for field in {f for _, changes in tries for f, _, _ in changes}:
        column = rows[field].to_numpy(dtype=object).copy()
        for j, (_, changes) in enumerate(tries):
            for name, _, value in changes:
                if name == field:
                    column[j] = value
        between = any(isinstance(v, float) and np.isfinite(v) and v != int(v) for v in column)
        # a counted field may take a value between counts when it is a candidate
        kind = np.dtype("float64") if between and pd.api.types.is_integer_dtype(rows[field].dtype) else rows[field].dtype
        rows[field] = pd.Series(column, index=rows.index).astype(kind)
    return rows


def _ask_again(accounts: pd.DataFrame, decide: Decide, table: pd.DataFrame) -> None:
    held = table.index[table["steps"].notna()]
    if len(held) == 0:
        return
    again = np.asarray(decide(_changed(accounts, [(int(i), table["changes"].iloc[int(i)]) for i in held])), dtype=object)
    if (again == table.loc[held, "action"].to_numpy(dtype=object)).any() or (
        again != table.loc[held, "other_action"].to_numpy(dtype=object)
    ).any():
        raise CollectMLError("a counterfactual does not lead to the action it names when it is asked again")
