"""One digest of what a frame or a mapping says, whatever the file, the types or the order of keys it came in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import numpy as np
import pandas as pd
from pandas.api import types as pdt

from collectml.data._coerce import plain

__all__ = ["canonical_json", "content_digest", "value_digest"]


def content_digest(frame: pd.DataFrame) -> str:
    """Digest the content of a frame: its column names and values, in row order.

    Columns are taken in the order of their names and written canonically, so that the same content as CSV, gzipped CSV or
    Parquet, or as int64, float64, bool or nullable columns, has the same digest. The index and the order of columns do not
    count; the order of rows does (sort first where it should not).

    Numbers and flags are written as little-endian float64 (every NaN alike, no negative zero), whole numbers that float64
    cannot hold as text, dates as microseconds since 1970, everything else as UTF-8 text with its length; the missing are
    told apart from the empty.

    Parameters
    ----------
    frame : DataFrame, shape (n, k)
        Any frame of numbers, flags, text and dates.

    Returns
    -------
    str
        SHA-256 in hexadecimal.

    Examples
    --------
    >>> import pandas as pd
    >>> one = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    >>> content_digest(one) == content_digest(one[["b", "a"]].astype({"a": float, "b": object}))
    True
    >>> content_digest(one) == content_digest(one[::-1])
    False
    """
    digest = hashlib.sha256(f"rows={len(frame)}".encode())
    for name in sorted(map(str, frame.columns)):
        column = frame[name]
        kind, *buffers = _canonical(column)
        digest.update(f"\x00column={len(name)}:{name}:{kind}".encode())
        for buffer in buffers:
            digest.update(buffer)
    return digest.hexdigest()


def _canonical(column: pd.Series) -> tuple[str, *tuple[bytes, ...]]:
    column = plain(column)
    missing = column.isna().to_numpy()
    if missing.all():
        return ("missing",)
    if pdt.is_datetime64_any_dtype(column):
        naive = column.dt.tz_convert(None) if isinstance(column.dtype, pd.DatetimeTZDtype) else column
        return "date", missing.tobytes(), naive.astype("datetime64[us]").to_numpy().view("<i8").tobytes()
    if pdt.is_bool_dtype(column) or pdt.is_any_real_numeric_dtype(column):
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        if not pdt.is_integer_dtype(column) or bool((np.abs(values[~missing]) <= 2.0**53).all()):
            # adding zero turns -0.0 into 0.0; the constant gives every NaN the same bits
            return "number", np.where(missing, np.nan, values + 0.0).astype("<f8").tobytes()
    text = [b"" if gone else str(value).encode() for value, gone in zip(column.tolist(), missing.tolist(), strict=True)]
    lengths = np.fromiter((len(t) for t in text), dtype="<i8", count=len(text))
    return "text", missing.tobytes(), lengths.tobytes(), b"".join(text)


def canonical_json(value: Mapping[str, object]) -> bytes:
    """Write a JSON-able mapping as bytes that do not depend on the order of its keys.

    Parameters
    ----------
    value : mapping
        What JSON can hold; no infinities.

    Returns
    -------
    bytes
        UTF-8, indented.
    """
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def value_digest(value: Mapping[str, object]) -> str:
    """Digest a JSON-able mapping in canonical form, such as a strategy's ``model_dump(mode="json")``.

    Parameters
    ----------
    value : mapping
        The order of keys does not count.

    Returns
    -------
    str
        SHA-256 in hexadecimal.

    Examples
    --------
    >>> value_digest({"a": 1, "b": 2}) == value_digest({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(canonical_json(value)).hexdigest()
