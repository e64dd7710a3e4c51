"""When a decision counts: its horizon must have passed, and the account must have been free to be decided on."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Mapping
from typing import Final, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.errors import ConfigurationError

DateLike: TypeAlias = str | datetime.date | np.datetime64 | pd.Timestamp

DAY: Final = np.timedelta64(86_400_000_000, "us")


def action_names(actions: Iterable[object]) -> tuple[str, ...]:
    """Name actions given as names or as objects with a ``name``; the first is the control."""
    if isinstance(actions, str):
        raise TypeError("actions: a sequence of names is needed, not one text")
    names = tuple(str(getattr(action, "name", action)) for action in actions)
    if not names:
        raise ConfigurationError("actions: at least the control is needed")
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(f"actions: named more than once: {', '.join(repeated)}")
    return names


def days_by_action(
    days: int | Mapping[str, int], actions: tuple[str, ...], *, what: str, default: int | None = None
) -> dict[str, int]:
    """Spell out one number of days per action; a mapping may hold ``"default"`` for the actions it does not name."""
    given = dict(days) if isinstance(days, Mapping) else {"default": days}
    fallback = given.pop("default", default)
    problems = [f"'{name}' is no action of the log" for name in given if name not in actions]
    spelt = {action: given.get(action, fallback) for action in actions}
    problems += [f"no days for '{action}' (name it or give 'default')" for action, n in spelt.items() if n is None]
    problems += [
        f"{n!r} days for '{action}' (whole days >= 0 are needed)"
        for action, n in spelt.items()
        if n is not None and (isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0)
    ]
    if problems:
        raise ConfigurationError(f"{what}: " + "; ".join(problems))
    return {action: int(n) for action, n in spelt.items() if n is not None}


def unseen_payoffs(horizons: Mapping[str, int], pays_off_after: Mapping[str, int], surrogates: Collection[str]) -> list[str]:
    """Say which actions pay off after their horizon without a surrogate, and which names are no actions."""
    problems = [f"'{name}' is no action of the log" for name in {*pays_off_after, *surrogates} if name not in horizons]
    return sorted(problems) + [
        f"'{action}' pays off after {days} days, its horizon is {horizons[action]}: give it its own in horizon_days or "
        "state a surrogate"
        for action, days in pays_off_after.items()
        if action in horizons and days > horizons[action] and action not in surrogates
    ]


def per_row(days: Mapping[str, int], action: pd.Series) -> NDArray[np.int64]:
    """Look up the days of each row's action, shape (n,)."""
    codes = pd.Index(list(days)).get_indexer(pd.Index(action))
    return np.fromiter(days.values(), dtype=np.int64, count=len(days))[codes]


def microseconds(moments: pd.Series) -> NDArray[np.datetime64]:
    """Write moments as NumPy's datetime64[us], shape (n,)."""
    return moments.to_numpy().astype("datetime64[us]")


def is_mature(decided_at: pd.Series, days: NDArray[np.int64], observed_until: pd.Timestamp | None) -> NDArray[np.bool_]:
    """Whether each decision's horizon had passed by ``observed_until``, shape (n,)."""
    if observed_until is None:
        return np.ones(len(decided_at), dtype=bool)
    until = observed_until.to_datetime64()
    return np.asarray(microseconds(decided_at) + days * DAY <= until)


def is_new_decision(account: pd.Series, decided_at: pd.Series, days: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether each row was decided freely: at or after the end of the account's last commitment.

    A row inside the commitment of the account's previous free decision is not free and starts no commitment itself.

    Parameters
    ----------
    account, decided_at : Series, length n
        Unique together.
    days : ndarray of int, shape (n,)
        How long the row's action commits the account.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    n = len(account)
    if not n or not days.any():
        return np.ones(n, dtype=bool)
    codes = pd.factorize(account)[0].astype(np.int64)
    moment = microseconds(decided_at)
    # ranks instead of moments: account and time then fit one sortable number, and searchsorted finds each next free row
    moments = np.unique(moment)
    rank = np.searchsorted(moments, moment)
    free_from = np.searchsorted(moments, moment + days * DAY)
    width = len(moments) + 1
    order = np.argsort(codes * width + rank, kind="stable")
    key = (codes * width + rank)[order]
    following = np.searchsorted(key, (codes * width + np.maximum(free_from, rank + 1))[order])
    starts = np.flatnonzero(np.diff(key // width, prepend=-1))
    ends = np.append(starts[1:], n)
    jump, free = following.tolist(), np.zeros(n, dtype=bool)
    kept: list[int] = []
    for row, end in zip(starts.tolist(), ends.tolist(), strict=True):
        while row < end:
            kept.append(row)
            row = jump[row]
    free[order[kept]] = True
    return free
