"""Compile hot loops by numba; imported only by modules of such loops, which are themselves loaded only where they pay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.core.errors import NumbaError

__all__ = ["machine_code"]

F = TypeVar("F", bound=Callable[..., Any])


def machine_code(function: F) -> F:
    """Compile a function on first use, and keep the result on disk where there is a place for it.

    Parameters
    ----------
    function : callable
        Loops over arrays.

    Returns
    -------
    callable
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return cast(F, numba.njit(cache=True, **options)(function))
    except (NumbaError, RuntimeError):  # neither the package's folder nor the user's can be written to
        return cast(F, numba.njit(**options)(function))
