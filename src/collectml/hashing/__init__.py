"""The one source of reproducible randomness.

Hold-out, exploration and ties are decided by a keyed hash of an identifier, never by a random generator's state: the same
account gets the same number in another process, on another engine, in another row order, as int64 or as text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from collectml.room import room

__all__ = ["stable_hash", "uniform_hash"]

MANY = 50_000  # identifiers from which machine code is loaded; the solver loads it from as many accounts on


def _key(salt: str, purpose: str, cycle: str) -> bytes:
    """Fold salt, purpose and cycle into one BLAKE2b key; the lengths keep ("ab", "c") and ("a", "bc") apart."""
    parts = (salt, purpose, cycle)
    joined = b"".join(len(p.encode()).to_bytes(4, "little") + p.encode() for p in parts)
    return hashlib.blake2b(joined, digest_size=32).digest()


def _text(identifier: object) -> str:
    """Write an identifier as text so that 7, numpy's 7 and "7" agree; whole floats too, as a missing value upcasts."""
    if isinstance(identifier, (float, np.floating)) and float(identifier).is_integer():
        return str(int(identifier))
    return str(identifier)


def stable_hash(ids: Iterable[object], *, salt: str, purpose: str, cycle: str = "") -> NDArray[np.uint64]:
    """Hash identifiers to 64 bits, keyed by salt, purpose and cycle.

    Parameters
    ----------
    ids : iterable of int or str, length n
        Account or customer identifiers; hashed as text, so the dtype does not matter.
    salt : str
        The strategy's secret for this use.
    purpose : str
        ``"holdout"``, ``"explore"``, ``"tie"``: numbers of different purposes are independent.
    cycle : str, default ""
        The as-of date where the number must change from cycle to cycle; empty where it must not.

    Returns
    -------
    ndarray of uint64, shape (n,)

    References
    ----------
    Aumasson et al. (2013), BLAKE2: keyed mode, 8-byte digest.

    Examples
    --------
    >>> bool((stable_hash([7, 8], salt="s", purpose="tie") == stable_hash(["7", "8"], salt="s", purpose="tie")).all())
    True
    """
    key = _key(salt, purpose, cycle)
    fast = _by_machine_code(ids, key)
    if fast is not None:
        return fast
    base = hashlib.blake2b(key=key, digest_size=8)
    values = ids.tolist() if hasattr(ids, "tolist") else list(ids)
    digests = bytearray()
    for value in values:
        h = base.copy()
        h.update(_text(value).encode())
        digests += h.digest()
    return np.frombuffer(bytes(digests), dtype="<u8").astype(np.uint64)


def uniform_hash(ids: Iterable[object], *, salt: str, purpose: str, cycle: str = "") -> NDArray[np.float64]:
    """Turn :func:`stable_hash` into uniform numbers in [0, 1).

    Parameters
    ----------
    ids, salt, purpose, cycle
        As in :func:`stable_hash`.

    Returns
    -------
    ndarray of float64, shape (n,)
        Multiples of 2**-53: every value is exact in float64.

    Examples
    --------
    >>> u = uniform_hash(range(1000), salt="s", purpose="explore", cycle="2026-01-01")
    >>> bool(((u >= 0) & (u < 1)).all()), bool(abs(u.mean() - 0.5) < 0.05)
    (True, True)
    """
    bits = stable_hash(ids, salt=salt, purpose=purpose, cycle=cycle) >> np.uint64(11)
    return bits.astype(np.float64) * 2.0**-53


def _by_machine_code(ids: Iterable[object], key: bytes) -> NDArray[np.uint64] | None:
    """Hash many whole numbers or texts; None where there are few, they are something else, or there is no compiler."""
    if not isinstance(ids, np.ndarray | pd.Index | pd.Series) or len(ids) < MANY:
        return None
    try:
        from ._kernel import hash_numbers, hash_texts
    except ImportError:
        return None
    words, out = np.frombuffer(key, dtype="<u8").astype(np.uint64), room(len(ids), np.uint64)
    if isinstance(ids.dtype, np.dtype) and ids.dtype.kind == "i":
        hash_numbers(np.ascontiguousarray(ids, dtype=np.int64), words, out)
        return out
    if not isinstance(ids.dtype, pd.StringDtype):
        return None
    text = pa.array(ids, type=pa.large_string())
    if isinstance(text, pa.ChunkedArray):
        text = text.combine_chunks()
    if text.null_count:
        return None
    _, offsets, data = text.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int64)[text.offset : text.offset + len(text) + 1]
    content = np.zeros(1, dtype=np.uint8) if data is None or data.size == 0 else np.frombuffer(data, dtype=np.uint8)
    return None if hash_texts(content, bounds, words, out) else out
