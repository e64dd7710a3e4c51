"""Which way the hot loops go: NumPy for small portfolios, machine code for large ones."""

from __future__ import annotations

import functools
from types import ModuleType

FROM = 50_000  # rows below which loading the machine code takes longer than it saves


@functools.cache
def kernels() -> ModuleType | None:
    """Load the compiled loops; None on the few systems numba is not made for, where NumPy does the same more slowly."""
    try:
        from . import _kernels
    except ImportError:
        return None
    return _kernels


def chosen(rows: int) -> ModuleType | None:
    """Return the compiled loops where they pay, a matter of size alone: the same problem always goes the same way."""
    return kernels() if rows >= FROM else None
