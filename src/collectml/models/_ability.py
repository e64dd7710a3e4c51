"""Ability and willingness to pay, read apart: two scores in [0, 1] from what an account snapshot holds."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.errors import SchemaError

__all__ = ["ability_score", "own_score", "willingness_score"]

Floats = NDArray[np.float64]
_ABILITY = ("income", "instalment", "utilisation", "arrears")
_WILLINGNESS = ("promises_kept", "promises_broken", "responses_90d", "contacts_90d", "payments_12m")
# the share of monthly income that, owed as the month's instalment, halves affordability
_BEARABLE_SHARE = 0.2


def ability_score(X: pd.DataFrame) -> Floats:
    """Score what an account can pay; see :class:`RiskGrader` for the formulas.

    Examples
    --------
    >>> ability_score(pd.DataFrame({"income": [2000.0], "instalment": [400.0], "utilisation": [0.7]})).round(3)
    array([0.4])
    """
    income, instalment, utilisation, arrears = _columns(X, _ABILITY)
    bearable = _BEARABLE_SHARE * income
    return _mean_of_known(
        _share(bearable, bearable + instalment),
        1.0 - np.clip(utilisation, 0.0, 1.0),
        _share(instalment, instalment + arrears),
    )


def willingness_score(X: pd.DataFrame) -> Floats:
    """Score what an account wants to pay; see :class:`RiskGrader` for the formulas.

    Examples
    --------
    >>> willingness_score(pd.DataFrame({"promises_kept": [3], "promises_broken": [0], "payments_12m": [6]}))
    array([0.65])
    """
    kept, broken, responses, contacts, payments = _columns(X, _WILLINGNESS)
    return _mean_of_known(
        (kept + 1.0) / (kept + broken + 2.0),
        np.minimum((responses + 1.0) / (contacts + 2.0), 1.0),
        np.minimum(payments, 12.0) / 12.0,
    )


def own_score(X: pd.DataFrame, column: str) -> Floats:
    """Take a score the user brings along, refusing one that is absent or outside [0, 1]."""
    if column not in X:
        raise SchemaError(f"missing columns: {column}")
    score = X[column].to_numpy(dtype=np.float64, na_value=np.nan)
    if not ((score >= 0) & (score <= 1)).all():
        raise SchemaError(f"{column} must lie between 0 and 1 for every account.")
    return score


def _columns(X: pd.DataFrame, names: tuple[str, ...]) -> list[Floats]:
    if not any(name in X for name in names):
        raise SchemaError(f"nothing to score from: none of the columns {', '.join(names)} is there.")
    absent = np.full(len(X), np.nan)
    return [X[name].to_numpy(dtype=np.float64, na_value=np.nan) if name in X else absent for name in names]


def _share(part: Floats, whole: Floats) -> Floats:
    # nothing of nothing says nothing
    share: Floats = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return share


def _mean_of_known(*parts: Floats) -> Floats:
    known = np.column_stack(parts)
    filled = ~np.isnan(known)
    count = filled.sum(axis=1)
    total = np.where(filled, known, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), 0.5)
