"""Soundness: does the propensity to pay move with its fields as it is expected to, and never against a constraint."""

from __future__ import annotations

import numpy as np
import pandas as pd

from collectml.data import DecisionLog
from collectml.explain import approved_dictionary
from collectml.models import PropensityToPayModel

__all__ = ["sign_check"]

ROWS, STEPS = 200, 9
TOLERANCE = 1e-12


def sign_check(model: PropensityToPayModel, log: DecisionLog, *, seed: int) -> pd.DataFrame:
    """Move one field at a time along a grid, for a sample of accounts, and count the steps against its expected sign.

    Parameters
    ----------
    model : PropensityToPayModel
        Fitted.
    log : DecisionLog
        Decisions to sample from.
    seed : int
        Seed of the sample.

    Returns
    -------
    DataFrame
        By field with an expected sign or a constraint: ``expected`` and ``constraint`` (1, -1 or 0), ``steps`` of the grid
        over all accounts, ``against`` (those that move against the constraint, or where there is none against the
        expectation).

    Notes
    -----
    The grid is that of the field's own ninths, all else as it is: nothing is asked of the model outside its data in that
    field, though combinations may be rare.
    """
    X = log.X.iloc[np.sort(np.random.default_rng(seed).permutation(len(log))[:ROWS])]
    expected, constraints = approved_dictionary().expected_signs, dict(model.monotone or {})
    rows = []
    for field in X.columns:
        sign, constraint = expected.get(field, 0), int(constraints.get(field, 0))
        if not (sign or constraint) or not pd.api.types.is_numeric_dtype(X[field].dtype):
            continue
        values = log.X[field].astype(float)
        grid = np.unique(values.quantile(np.linspace(0.05, 0.95, STEPS), interpolation="nearest").dropna().to_numpy())
        if len(grid) < 2:
            continue
        moved = pd.concat([X.assign(**{field: np.full(len(X), v).astype(_kind(X[field]))}) for v in grid])
        p = model.predict_proba(moved)[:, 1].reshape(len(grid), len(X))
        steps = np.diff(p, axis=0) * (constraint or sign)
        rows.append((field, sign, constraint, int(steps.size), int((steps < -TOLERANCE).sum())))
    return pd.DataFrame(rows, columns=["field", "expected", "constraint", "steps", "against"])


def _kind(column: pd.Series) -> np.dtype:
    """Keep the field's own type where it can hold the grid."""
    return np.dtype("bool") if pd.api.types.is_bool_dtype(column.dtype) else np.dtype("float64")
