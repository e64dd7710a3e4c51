"""Canonical types, reached without loss or not at all."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types as pdt

from collectml.data.columns import DType

Mask = NDArray[np.bool_]

NOUNS: Final[dict[DType, str]] = {
    "id": "ids (whole numbers or text, not both)",
    "float": "numbers",
    "int": "whole numbers",
    "binary": "0 or 1",
    "flag": "true or false (or 0 and 1)",
    "text": "text",
    "date": "dates (ISO, no time zone)",
    "timestamp": "times (ISO, no time zone)",
}

_CANONICAL: Final[dict[DType, np.dtype[Any]]] = {
    "id": np.dtype(np.int64),
    "float": np.dtype(np.float64),
    "int": np.dtype(np.int64),
    "flag": np.dtype(np.bool_),
}  # types that hold nothing wrong
_EXACT = 2.0**53  # from here on float64 does not hold every whole number
_ISO = r"\d{4}-\d{2}-\d{2}([T ].+)?"


def coerce(series: pd.Series, dtype: DType) -> tuple[pd.Series, Mask]:
    """Bring a column to its canonical type.

    Parameters
    ----------
    series : Series, length n
        As received: NumPy, nullable, Arrow-backed, categorical or object.
    dtype : str
        The canonical type of :class:`~collectml.data.columns.Column`.

    Returns
    -------
    canonical : Series
        Same index and name; of use only where no value is wrong.
    wrong : ndarray of bool, shape (n,)
        Where a value present cannot be written in the type without loss.
    """
    if series.dtype == _CANONICAL.get(dtype) and len(series) and not (dtype == "float" and series.isna().all()):
        return series, np.zeros(len(series), dtype=bool)
    series = plain(series)
    missing = series.isna().to_numpy()
    if missing.all():
        return _absent(series, dtype), np.zeros(len(series), dtype=bool)
    if dtype in ("date", "timestamp"):
        return _dates(series, missing)
    if dtype == "text" or (dtype == "id" and pdt.is_string_dtype(series)):
        return _text(series, missing)
    if dtype == "float":
        return _floats(series, missing)
    return _whole(series, missing, dtype)


def plain(series: pd.Series) -> pd.Series:
    """Undo categories and Arrow, and find the type of object columns (SQL and date32 arrive as such)."""
    if isinstance(series.dtype, pd.CategoricalDtype | pd.ArrowDtype):
        series = series.astype(object)
    if series.dtype == object:
        kind = pd.api.types.infer_dtype(series, skipna=True)
        try:
            if kind == "integer":
                return series.astype("Int64")
            if kind in ("date", "datetime", "datetime64"):
                return pd.to_datetime(series)
        except (OverflowError, ValueError):
            # too large for int64, or zones mixed: stays object, which no type accepts
            return series
        if kind == "floating":
            return series.astype("Float64")
        if kind == "mixed-integer-float":
            whole = pd.Series([v if isinstance(v, int | np.integer) else 0 for v in series], dtype=object)
            return series if (whole.abs() >= _EXACT).any() else series.astype("Float64")
        if kind == "boolean":
            return series.astype("boolean")
        if kind == "string":
            return series.astype("str")
    return series


def _absent(series: pd.Series, dtype: DType) -> pd.Series:
    empty = {"id": "str", "float": "float64", "int": "Int64", "binary": "Int8", "flag": "boolean", "text": "str"}
    target = empty.get(dtype, "datetime64[us]")
    if not len(series):
        target = {"Int64": "int64", "Int8": "int8", "boolean": "bool"}.get(target, target)
    return pd.Series(None, index=series.index, name=series.name, dtype=target)


def _all_wrong(series: pd.Series, missing: Mask) -> tuple[pd.Series, Mask]:
    return series, ~missing


def _text(series: pd.Series, missing: Mask) -> tuple[pd.Series, Mask]:
    if pdt.is_string_dtype(series) and series.dtype != object:
        return series.astype("str"), np.zeros(len(series), dtype=bool)
    if series.dtype != object:
        return _all_wrong(series, missing)
    return series, ~missing & np.fromiter((not isinstance(v, str) for v in series), dtype=bool, count=len(series))


def _floats(series: pd.Series, missing: Mask) -> tuple[pd.Series, Mask]:
    if not pdt.is_any_real_numeric_dtype(series):
        return _all_wrong(series, missing)
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = np.abs(values) >= _EXACT if pdt.is_integer_dtype(series) else np.zeros(len(series), dtype=bool)
    return pd.Series(values, index=series.index, name=series.name), wrong & ~missing


def _whole(series: pd.Series, missing: Mask, dtype: DType) -> tuple[pd.Series, Mask]:
    """Whole numbers, ids, 0/1 and flags: one path, since all are whole numbers in disguise."""
    is_bool = pdt.is_bool_dtype(series)
    if not (pdt.is_any_real_numeric_dtype(series) or (is_bool and dtype in ("flag", "binary"))):
        return _all_wrong(series, missing)
    if pdt.is_float_dtype(series):
        values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        # NaN compares false with everything, so the missing are never wrong here
        wrong = (np.abs(values) >= _EXACT) | (np.isfinite(values) & (values != np.floor(values))) | np.isinf(values)
        whole = np.where(missing | wrong, 0, values).astype(np.int64)
    else:
        filled = series.fillna(False if is_bool else 0) if missing.any() else series
        wrong = np.zeros(len(series), dtype=bool)
        if pdt.is_unsigned_integer_dtype(series):
            wrong = filled.to_numpy() > np.iinfo(np.int64).max
        whole = filled.to_numpy().astype(np.int64)
    if dtype == "flag":
        wrong = wrong | ((whole != 0) & (whole != 1))
    target = "int64"
    if dtype == "flag":
        target = "bool"
    elif dtype == "binary" and ((whole == 0) | (whole == 1)).all():
        target = "int8"
    canonical = pd.Series(whole.astype(target), index=series.index, name=series.name)
    if missing.any():
        nullable = {"bool": pd.BooleanDtype(), "int8": pd.Int8Dtype(), "int64": pd.Int64Dtype()}
        canonical = canonical.astype(nullable[target]).mask(missing)
    return canonical, wrong


def _dates(series: pd.Series, missing: Mask) -> tuple[pd.Series, Mask]:
    wrong = np.zeros(len(series), dtype=bool)
    if pdt.is_string_dtype(series) and series.dtype != object:
        iso = series.str.fullmatch(_ISO).to_numpy(dtype=bool, na_value=False)
        try:
            parsed = pd.to_datetime(series.where(iso), format="ISO8601", errors="coerce")
        except ValueError:  # zones mixed
            return _all_wrong(series, missing)
        wrong = parsed.isna().to_numpy() & ~missing
        series = parsed
    if not pdt.is_datetime64_dtype(series):
        return _all_wrong(series, missing)
    micro = series.astype("datetime64[us]")
    # nanoseconds that microseconds cannot hold are kept as they are
    return (micro if bool((micro == series)[~missing].all()) else series), wrong
