"""Acting on uncertain effects: shrinking them, or subtracting standard errors, so that promises are kept.

Whoever takes the best of many estimates takes, more often than not, one that erred upward: what the chosen actions promise
exceeds what they bring (the optimiser's curse), the more so the noisier the estimates. Where errors differ between accounts it
costs money too, since noise crowds out what is certain.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from collectml.errors import SchemaError
from collectml.strategy import Caution

__all__ = ["cautious", "shrink_effects"]


def shrink_effects(effects: pd.DataFrame, standard_errors: pd.DataFrame) -> pd.DataFrame:
    """Draw each effect towards the mean effect of its action, by how much of its spread is error.

    Parameters
    ----------
    effects : DataFrame, accounts × actions
        Estimated effects.
    standard_errors : DataFrame, accounts × actions
        Their standard errors, >= 0. Missing ones leave an effect missing.

    Returns
    -------
    DataFrame, accounts × actions

    Notes
    -----
    Empirical Bayes, action by action: with effects spread normally around ``m`` with variance ``t²`` and an estimate's error
    ``s``, the expected effect is ``m + t² / (t² + s²) (estimate - m)``. ``t²`` solves the moment equation
    ``sum of (estimate - m)² / (t² + s²) = n - 1`` with ``m`` weighted alike; 0 where the spread is no more than error.
    Acting on these, the best of many no longer promises more than it brings, as far as spread and errors are normal.
    The estimates are taken to be unbiased. Posterior means, as the hurdle learner's effects are, have been drawn in already, and
    would be a second time.

    References
    ----------
    Smith and Winkler (2006), The optimizer's curse, Management Science 52. Morris (1983), Parametric empirical Bayes
    inference, JASA 78; Paule and Mandel (1982), J. Res. NBS 87 (the moment equation).

    Examples
    --------
    Where errors are as large as the spread, half of the distance to the mean remains.

    >>> effects = pd.DataFrame({"call": [-2.0, 0.0, 2.0]})
    >>> errors = pd.DataFrame({"call": [2.0**0.5] * 3})
    >>> shrink_effects(effects, errors)["call"].round(3).tolist()
    [-1.0, 0.0, 1.0]
    """
    out = effects.astype(float).copy()
    for action in effects.columns:
        e, s = effects[action].to_numpy(dtype=float), standard_errors[action].to_numpy(dtype=float)
        known = np.isfinite(e) & np.isfinite(s)
        t2 = _spread(e[known], s[known] ** 2)
        if t2 == 0.0:
            weight, mean = (s == 0).astype(float), _mean(e[known], np.maximum(s[known] ** 2, 1e-300))
        else:
            weight, mean = t2 / (t2 + s**2), _mean(e[known], t2 + s[known] ** 2)
        out[action] = mean + weight * (e - mean)
    return out


def _mean(e: np.ndarray, variance: np.ndarray) -> float:
    return float(np.average(e, weights=1.0 / variance)) if len(e) else 0.0


def _spread(e: np.ndarray, s2: np.ndarray) -> float:
    """Solve the moment equation for the variance of true effects by bisection; the left side falls in it."""
    if len(e) < 2:
        return 0.0

    def excess(t2: float) -> float:
        variance = np.maximum(t2 + s2, 1e-300)
        return float(np.sum((e - _mean(e, variance)) ** 2 / variance)) - (len(e) - 1)

    low, high = 0.0, float(e.var(ddof=1)) + float(s2.max())
    if high == 0.0 or excess(0.0) <= 0:
        return 0.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return (low + high) / 2


def cautious(recovered: pd.DataFrame, standard_errors: pd.DataFrame, caution: Caution, *, control: str) -> pd.DataFrame:
    """Restate expected recoveries with cautious effects; the control's stay.

    Parameters
    ----------
    recovered : DataFrame, accounts × actions
        Expected recovered money.
    standard_errors : DataFrame, accounts × actions
        Standard errors of the effects against the control, in the same money; any column order, indexed alike.
    caution : Caution
        Shrink, or subtract errors.
    control : str
        The action that effects are counted from.

    Returns
    -------
    DataFrame, accounts × actions

    Raises
    ------
    SchemaError
        Where standard errors lack an action or an account, or are negative.

    Examples
    --------
    >>> recovered = pd.DataFrame({"no_action": [10.0], "call": [16.0]}, index=[7])
    >>> errors = pd.DataFrame({"call": [2.0]}, index=[7])
    >>> cautious(recovered, errors, Caution(method="lower_bound", errors=1.5), control="no_action")
       no_action  call
    7       10.0  13.0
    """
    actions = [a for a in recovered.columns if a != control]
    lacking = [a for a in actions if a not in standard_errors.columns]
    absent = int((~recovered.index.isin(standard_errors.index)).sum())
    if lacking or absent:
        what = f"actions {', '.join(lacking)}" if lacking else f"{absent:,} accounts"
        raise SchemaError(f"standard errors are missing for {what}")
    errors = standard_errors.loc[recovered.index, actions]
    if (errors.to_numpy(dtype=float) < 0).any():
        raise SchemaError("standard errors are negative")
    effects = recovered[actions].sub(recovered[control], axis="index")
    adjusted = shrink_effects(effects, errors) if caution.method == "shrink" else effects - caution.errors * errors
    out = recovered.astype(float).copy()
    out[actions] = adjusted.add(recovered[control], axis="index")
    return out
