"""Sound tables to break, made from the declarations themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from collectml.data import TABLES

ACTIONS = ("no_action", "sms", "call")


def _sound_table(table: str, n: int = 50, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    columns: dict[str, object] = {}
    for c in TABLES[table].columns:
        low = 0.0 if c.low is None else c.low + (0.1 if c.low_open else 0.0)
        high = 100.0 if c.high is None else c.high
        if c.name in ("account_id", "customer_id"):
            columns[c.name] = np.arange(n) + (1000 if c.name == "account_id" else 1)
        elif c.is_action:
            columns[c.name] = rng.choice(ACTIONS, n)
        elif c.dtype == "binary":
            columns[c.name] = rng.integers(0, 2, n).astype("int8")
        elif c.dtype == "flag":
            columns[c.name] = rng.random(n) < 0.5
        elif c.dtype == "float":
            columns[c.name] = rng.uniform(low, high, n).round(2)
        elif c.dtype == "int":
            columns[c.name] = rng.integers(int(low), int(high) + 1, n)
        elif c.dtype in ("date", "timestamp"):
            columns[c.name] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(n) % 28, unit="D")
        else:
            columns[c.name] = rng.choice(c.values or ("a", "b"), n)
    frame = pd.DataFrame(columns)
    if "bucket" in frame:
        frame["bucket"] = np.ceil(frame["days_past_due"] / 30).astype("int64")
    if "paid" in frame:
        frame["recovered"] = frame["recovered"].clip(lower=0.01).where(frame["paid"] == 1, 0.0)
    if table == "capacity":
        frame["team"] = [f"team_{i}" for i in range(n)]
    return frame


@pytest.fixture
def sound_table() -> Callable[..., pd.DataFrame]:
    """Make n sound rows of a table."""
    return _sound_table


@pytest.fixture
def accounts() -> pd.DataFrame:
    return _sound_table("accounts")


@pytest.fixture
def decisions() -> pd.DataFrame:
    """600 decisions: 200 accounts of 100 customers, a decision every 20 days."""
    n = 600
    frame = _sound_table("decisions", n)
    frame["account_id"] = 5000 + np.arange(n) % 200
    frame["customer_id"] = frame["account_id"] // 2
    frame["decided_at"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(20 * (np.arange(n) // 200), unit="D")
    frame["features_as_of"] = frame["decided_at"] - pd.to_timedelta(np.arange(n) % 3, unit="D")
    return frame
