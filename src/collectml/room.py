"""Room for arrays with an entry an account: memory, unless a batch that is short of it gives files mapped into memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["kept", "room", "rooms"]

Give = Callable[[Any, DTypeLike], NDArray[Any]]
A = TypeVar("A", bound=NDArray[Any])

_GIVE: ContextVar[Give | None] = ContextVar("room", default=None)


def room(shape: int | tuple[int, ...], dtype: DTypeLike = np.float64) -> NDArray[Any]:
    """Return an array to be filled.

    Parameters
    ----------
    shape : int or tuple of int
        Its shape.
    dtype : dtype
        Its type.

    Returns
    -------
    ndarray
        Whatever stands in it means nothing.
    """
    give = _GIVE.get()
    return np.empty(shape, dtype) if give is None else give(shape, dtype)


def kept(values: A) -> A:
    """Return values that stay for long: as they are, or a copy where room is given elsewhere.

    Parameters
    ----------
    values : ndarray
        Just worked out.

    Returns
    -------
    ndarray

    Examples
    --------
    >>> values = np.arange(3)
    >>> kept(values) is values
    True
    """
    give = _GIVE.get()
    if give is None:
        return values
    out = give(values.shape, values.dtype)
    out[...] = values
    return out  # type: ignore[return-value]


@contextlib.contextmanager
def rooms(give: Give) -> Iterator[None]:
    """Let somebody else give room while the block runs.

    Parameters
    ----------
    give : callable
        From shape and type to an array.

    Yields
    ------
    None
    """
    token = _GIVE.set(give)
    try:
        yield
    finally:
        _GIVE.reset(token)
