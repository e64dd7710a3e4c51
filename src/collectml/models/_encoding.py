"""Account features as the matrix LightGBM reads: columns by name, levels as codes, everything else refused by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pandas.api import types as ptypes

from collectml.errors import NotFittedError, SchemaError

__all__ = ["FeatureEncoder"]

Fault = tuple[str, str, int, str]
Level = str | int | float | bool


class FeatureEncoder:
    """Account features as the float64 matrix LightGBM reads, matched by column name.

    Numbers stay as they are, booleans become 0 and 1, text and categories become level codes; missing values
    and levels not seen at fit become NaN, which LightGBM treats as missing. Reordered and additional columns
    are fine, missing ones are refused, all at once. Plain arrays are matched by position.

    Attributes
    ----------
    columns_ : list of str
        Column names in training order; ``x0, x1, ...`` for plain arrays.
    levels_ : dict of str to list
        Sorted levels of each categorical column.
    categorical_indices_ : list of int
        Positions of the categorical columns.

    Examples
    --------
    >>> X = pd.DataFrame({"product": ["card", "loan", None], "balance": [10.0, 20.0, 30.0]})
    >>> encoder = FeatureEncoder().fit(X)
    >>> encoder.transform(pd.DataFrame({"balance": [1.0, 2.0], "product": ["loan", "overdraft"]}))
    array([[ 1.,  1.],
           [nan,  2.]])
    """

    columns_: list[str]
    levels_: dict[str, list[Level]]
    categorical_indices_: list[int]
    _by_name: bool

    def fit(self, X: pd.DataFrame | NDArray[np.generic]) -> Self:
        """Learn the column order and the levels of text and category columns.

        Parameters
        ----------
        X : DataFrame or ndarray, shape (n, p)

        Returns
        -------
        self

        Raises
        ------
        SchemaError
            Where columns repeat or hold what no model can read (dates, mixed types); all of them are named.
        """
        if not isinstance(X, pd.DataFrame):
            self.columns_ = [f"x{i}" for i in range(_matrix(X).shape[1])]
            self.levels_, self._by_name = {}, False
        else:
            names = [str(name) for name in X.columns]
            repeated = sorted({name for name in names if names.count(name) > 1})
            if repeated:
                raise _schema_error([(name, "repeated column", 0, "") for name in repeated])
            self.columns_, self.levels_, self._by_name = names, {}, True
            faults: list[Fault] = []
            for position, name in enumerate(names):
                column = _plain(X.iloc[:, position])
                fault = _unreadable(column)
                if fault is not None:
                    faults.append((name, fault, len(column), str(column.dtype)))
                elif _is_categorical(column):
                    self.levels_[name] = _levels_of(column)
            if faults:
                raise _schema_error(faults)
        self.categorical_indices_ = [i for i, name in enumerate(self.columns_) if name in self.levels_]
        return self

    def transform(self, X: pd.DataFrame | NDArray[np.generic]) -> NDArray[np.float64]:
        """Encode rows in training order.

        Parameters
        ----------
        X : DataFrame or ndarray, shape (n, at least p)

        Returns
        -------
        ndarray of float64, shape (n, p), C-contiguous

        Raises
        ------
        SchemaError
            Naming every column that is missing, given twice or of another kind than at fit.
        """
        if not hasattr(self, "columns_"):
            raise NotFittedError("this FeatureEncoder is not fitted yet; call fit(X) first.")
        if not isinstance(X, pd.DataFrame):
            return self._by_position(_matrix(X))
        if not self._by_name:
            return self._by_position(np.column_stack([_encode_number(_plain(X.iloc[:, i])) for i in range(X.shape[1])]))
        where = {str(name): position for position, name in enumerate(X.columns)}
        faults: list[Fault] = [(name, "missing column", 0, "") for name in self.columns_ if name not in where]
        given = [str(name) for name in X.columns]
        if len(where) < len(given):  # which of the two is meant nobody can tell; additional columns do not matter
            faults += [(name, "repeated column", 0, "") for name in self.columns_ if given.count(name) > 1]
        out = np.empty((len(X), len(self.columns_)), dtype=np.float64)
        for position, name in enumerate(self.columns_):
            if name not in where:
                continue
            column = _plain(X.iloc[:, where[name]])
            fault = _unreadable(column) or self._changed_kind(name, column)
            if fault is not None:
                faults.append((name, fault, len(column), str(column.dtype)))
            elif name in self.levels_:
                out[:, position] = _encode_levels(column, self.levels_[name])
            else:
                out[:, position] = _encode_number(column)
        if faults:
            raise _schema_error(faults)
        return out

    def transform_one(self, account: Mapping[str, object]) -> NDArray[np.float64]:
        """Encode a single account, without the cost of a frame around it.

        Parameters
        ----------
        account : mapping of str to scalar
            Fields by name; None and NaN are missing.

        Returns
        -------
        ndarray of float64, shape (1, p)
            As :meth:`transform` gives for a frame of that one row.

        Raises
        ------
        SchemaError
            Naming every field that is missing or of another kind than at fit.

        Examples
        --------
        >>> encoder = FeatureEncoder().fit(pd.DataFrame({"product": ["card", "loan"], "balance": [10.0, 20.0]}))
        >>> encoder.transform_one({"balance": 5, "product": "loan"})
        array([[1., 5.]])
        """
        out = np.full((1, len(self.columns_)), np.nan)
        faults: list[Fault] = []
        for position, name in enumerate(self.columns_):
            if name not in account:
                faults.append((name, "missing column", 0, ""))
                continue
            value = account[name]
            if is_missing(value):
                continue
            levels = self.levels_.get(name)
            if levels is not None:
                if levels and isinstance(levels[0], str) and not isinstance(value, str):
                    faults.append((name, "was text at fit and is numeric now", 1, type(value).__name__))
                elif value in levels:
                    out[0, position] = levels.index(value)
            elif isinstance(value, (int, float, np.number, np.bool_)):
                out[0, position] = float(value)
            else:
                faults.append((name, "was numeric at fit and is text now", 1, type(value).__name__))
        if faults:
            raise _schema_error(faults)
        return out

    def fit_transform(self, X: pd.DataFrame | NDArray[np.generic]) -> NDArray[np.float64]:
        """Learn and encode in one go."""
        return self.fit(X).transform(X)

    def to_json(self) -> dict[str, object]:
        """Return what was learnt as values JSON can hold."""
        return {"columns": list(self.columns_), "levels": self.levels_, "by_name": self._by_name}

    @classmethod
    def from_json(cls, state: Mapping[str, object]) -> Self:
        """Rebuild an encoder from :meth:`to_json`."""
        encoder = cls()
        columns, levels = state["columns"], state["levels"]
        if not isinstance(columns, Sequence) or not isinstance(levels, Mapping):
            raise SchemaError("the stored feature encoder is damaged: columns and levels are not lists.")
        encoder.columns_ = [str(name) for name in columns]
        encoder.levels_ = {str(name): list(values) for name, values in levels.items()}
        encoder._by_name = bool(state["by_name"])
        encoder.categorical_indices_ = [i for i, name in enumerate(encoder.columns_) if name in encoder.levels_]
        return encoder

    def _by_position(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        if X.shape[1] != len(self.columns_):
            raise SchemaError(f"X has {X.shape[1]} features, but {len(self.columns_)} features were seen at fit.")
        if self.levels_:
            raise SchemaError(f"X must be a DataFrame: a plain array cannot carry the levels of {', '.join(self.levels_)}.")
        return np.ascontiguousarray(X)

    def _changed_kind(self, name: str, column: pd.Series) -> str | None:
        if bool(column.isna().all()):
            return None
        if name not in self.levels_:
            return "was numeric at fit and is text now" if _is_categorical(column) else None
        text = any(isinstance(level, str) for level in self.levels_[name])
        return "was text at fit and is numeric now" if text and not _is_categorical(column) else None


def is_missing(value: object) -> bool:
    """Say whether a scalar stands for nothing: None, NaN, NaT or NA."""
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, (float, np.floating)) and value != value)


def _matrix(X: ArrayLike) -> NDArray[np.float64]:
    matrix = np.asarray(X, dtype=np.float64)
    if matrix.ndim != 2:
        raise SchemaError(f"X must have two dimensions (rows, columns), not {matrix.ndim}.")
    return matrix


def _plain(column: pd.Series) -> pd.Series:
    """Take the content of an object or Arrow dictionary column for what it is; the container says little."""
    if column.dtype == object:
        column = column.infer_objects()
        if column.dtype == object and pd.api.types.infer_dtype(column, skipna=True) in {
            "boolean",
            "integer",
            "floating",
        }:
            column = column.convert_dtypes()
    if isinstance(column.dtype, pd.ArrowDtype) and str(column.dtype).startswith("dictionary"):
        column = column.astype(pd.ArrowDtype(column.dtype.pyarrow_dtype.value_type))
    return column


def _is_categorical(column: pd.Series) -> bool:
    return isinstance(column.dtype, pd.CategoricalDtype) or ptypes.is_string_dtype(column.dtype) or column.dtype == object


def _unreadable(column: pd.Series) -> str | None:
    """Say why a column cannot be a feature, or None where it can."""
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        dtype = dtype.categories.dtype
        if isinstance(dtype, pd.IntervalDtype) or ptypes.is_datetime64_any_dtype(dtype):
            return f"categories of {dtype} are not readable; use text or numbers"
        return None
    temporal = (
        ptypes.is_datetime64_any_dtype(dtype) or ptypes.is_timedelta64_dtype(dtype) or isinstance(dtype, pd.PeriodDtype)
    )
    arrow_date = isinstance(dtype, pd.ArrowDtype) and str(dtype).startswith(("date", "time", "duration"))
    if temporal or arrow_date:
        return "dates cannot be features; use a number of days before the as-of date"
    if ptypes.is_object_dtype(dtype):
        kind = pd.api.types.infer_dtype(column, skipna=True)
        if kind not in {"string", "empty"}:
            return f"mixed or unreadable content ({kind}); use one type per column"
        return None
    if ptypes.is_string_dtype(dtype) or ptypes.is_bool_dtype(dtype):
        return None
    if not ptypes.is_numeric_dtype(dtype) or ptypes.is_complex_dtype(dtype):
        return f"dtype {dtype} is not readable; use numbers, booleans or text"
    return None


def _levels_of(column: pd.Series) -> list[Level]:
    present = [value.item() if isinstance(value, np.generic) else value for value in pd.unique(column.dropna())]
    # sorted, not as they appear: the same values as text or as category must give the same codes
    return sorted(present, key=lambda value: (type(value).__name__, value))


def _encode_levels(column: pd.Series, levels: Sequence[Level]) -> NDArray[np.float64]:
    codes, seen = pd.factorize(column, use_na_sentinel=True)
    target = {level: float(code) for code, level in enumerate(levels)}
    table = np.array([target.get(value, np.nan) for value in seen] + [np.nan])
    # a factorised missing value is -1 and so reads the last entry
    return np.asarray(table[codes], dtype=np.float64)


def _encode_number(column: pd.Series) -> NDArray[np.float64]:
    if ptypes.is_extension_array_dtype(column.dtype):
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
    return np.asarray(column.to_numpy(), dtype=np.float64)


def _schema_error(faults: Sequence[Fault]) -> SchemaError:
    missing = [name for name, check, _, _ in faults if check == "missing column"]
    others = [f"{name}: {check}" for name, check, _, _ in faults if check != "missing column"]
    parts = ([f"missing columns: {', '.join(missing)}"] if missing else []) + others
    frame = pd.DataFrame(
        [("features", name, check, rows, examples, "structural") for name, check, rows, examples in faults],
        columns=["table", "column", "check", "rows", "examples", "kind"],
    )
    return SchemaError(f"the features cannot be read: {'; '.join(parts)}.", frame)
