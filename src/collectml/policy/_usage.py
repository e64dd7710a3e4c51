"""How much of each limit an action uses: columns, never a dense cube, and sums that depend on no order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from collectml.room import room

from ._compiled import chosen

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# Slightly inside the published 1e-9, so that whoever adds up the same usage in another order agrees that the limit
# holds.
TOLERANCE = 0.99e-9
STEP = 65_536  # rows looked at together where a temporary of the size of a column would be needed


def exact_sum(x: Floats) -> float:
    """Sum to the last bit or nearly so, with the same result in every order of the elements.

    Each element is split at a power of two common to all, so that the high parts add up without any rounding; what
    is left is split and added once more. With a million elements some 66 bits below the largest element survive.

    References
    ----------
    Rump, Ogita and Oishi (2008), Accurate floating-point summation, part I; Demmel and Nguyen (2013), Fast
    reproducible summation.

    Examples
    --------
    >>> exact_sum(np.array([1e16, 1.0, -1e16]))
    1.0
    """
    peak = float(max(x.max(initial=0.0), -x.min(initial=0.0)))
    if peak == 0.0 or not math.isfinite(peak):
        return float(x.sum()) if peak else 0.0
    spread = 2.0 ** math.ceil(math.log2(len(x) + 2))
    sigma = spread * 2.0 ** (math.frexp(peak)[1])
    sigmas = [sigma]
    while len(sigmas) < 3 and sigmas[-1] * spread * 2.0**-53 >= 1e-290:
        sigmas.append(sigmas[-1] * spread * 2.0**-53)
    parts = np.zeros(len(sigmas))
    if (kernels := chosen(len(x))) is not None:
        kernels.split_sums(x, np.array(sigmas), parts)
        return math.fsum(parts)
    for s in range(0, len(x), STEP):
        rest = x[s : s + STEP]
        for i, sigma in enumerate(sigmas):
            high = rest + sigma
            high -= sigma
            parts[i] += high.sum()
            rest = rest - high
    return math.fsum(parts)


def blocks(n: int) -> Iterator[slice]:
    """Go through n rows in steps of a fixed size, so that no temporary grows with them and no sum depends on anything else."""
    for start in range(0, n, STEP):
        yield slice(start, min(n, start + STEP))


def total(table: NDArray[np.floating], action: NDArray[np.integer]) -> float:
    """Return the exact usage of an assignment, given what actions (A,), or actions of rows (n, A), use."""
    if table.ndim == 1:
        return exact_sum(np.asarray(np.bincount(action, minlength=len(table)) * table, dtype=np.float64))
    return exact_sum(looked_up(table, action))


@dataclass(frozen=True)
class Column:
    """What every action uses of one limit.

    Parameters
    ----------
    table : ndarray
        (A,) the same for all rows, (n, A) each row's own, or (S, A) a line for each segment.
    codes : ndarray of int, shape (n,), optional
        The segment of each row; only with (S, A).
    low, high : ndarray, shape (A,)
        The least and the most that any row uses by each action.
    peak : float
        The largest absolute usage, 1 where there is none: the unit in which prices are compared.
    support : tuple of int
        The actions that use anything at all; the others cost nothing to price.
    whole : bool
        Whether usage comes in whole numbers: a limit of 10.3 is then one of 10.
    wrong : int
        How many entries are missing or infinite.
    """

    table: NDArray[np.floating]
    codes: Ints | None
    low: Floats
    high: Floats
    peak: float
    support: tuple[int, ...]
    whole: bool
    wrong: int

    @classmethod
    def of(cls, table: NDArray[np.floating], codes: Ints | None = None) -> Column:
        """Measure the table once."""
        lines = table.reshape(-1, table.shape[-1])
        kernels = chosen(len(lines))
        low, high, whole, wrong = _measured(lines) if kernels is None else kernels.measure(lines)
        size = np.maximum(high, -low)
        support = tuple(int(a) for a in np.flatnonzero(size))
        return cls(table, codes, low, high, float(size.max(initial=0.0)) or 1.0, support, bool(whole), int(wrong))

    @property
    def shared(self) -> bool:
        """Whether all rows use the same."""
        return self.table.ndim == 1

    def rows(self, rows: Ints) -> Floats:
        """Return the usage of some rows, shape (A, m), or (A, 1) where it is the same for all."""
        if self.shared:
            return self.table.astype(np.float64)[:, None]
        at = rows if self.codes is None else self.codes[rows]
        return np.ascontiguousarray(self.table[at].T, dtype=np.float64)

    def only(self, rows: Ints, codes: Ints | None) -> Column:
        """Return the column of some rows and their codes; what was measured over all rows holds for these."""
        own = not self.shared and self.codes is None
        return replace(self, table=self.table[rows] if own else self.table, codes=codes)

    def total(self, action: NDArray[np.integer], counts: Ints) -> float:
        """Return the exact usage of an assignment; `counts` says how often each action occurs in it."""
        actions = self.table.shape[-1]
        if self.shared:
            return exact_sum(np.asarray(counts * self.table, dtype=np.float64))
        if self.codes is not None:
            cells = np.bincount(self.codes * actions + action, minlength=self.table.size)
            return exact_sum(cells * self.table.astype(np.float64).ravel())
        return exact_sum(looked_up(self.table, action))


def looked_up(table: NDArray[np.floating], action: NDArray[np.integer]) -> Floats:
    """Return each row's entry for its action, shape (n,)."""
    kernels = chosen(len(action))
    if kernels is None:
        return table[np.arange(len(action)), action].astype(np.float64)
    out = room(len(action))
    kernels.picked(table, action, out)
    return out


def _measured(lines: NDArray[np.floating]) -> tuple[Floats, Floats, bool, int]:
    """Return the least and the largest entry of each column, whether all are whole, and how many are not finite."""
    low, high = lines.min(axis=0).astype(np.float64), lines.max(axis=0).astype(np.float64)
    whole, wrong = True, 0
    if not (np.isfinite(low) & np.isfinite(high)).all():
        wrong = int(np.count_nonzero(~np.isfinite(lines)))
    for s in range(0, len(lines), STEP):
        part = lines[s : s + STEP]
        whole = whole and bool((part == np.rint(part)).all())
    return low, high, whole, wrong


def excess(usage: Floats, lower: Floats, upper: Floats) -> Floats:
    """Return by how much each limit is passed beyond the tolerance, shape of `usage`; zero where it holds."""
    return np.maximum(0.0, np.maximum(usage - upper, lower - usage))


def with_tolerance(lower: Floats, upper: Floats) -> tuple[Floats, Floats]:
    """Widen limits by what still counts as holding."""
    low = np.where(np.isfinite(lower), lower - TOLERANCE * np.maximum(1.0, np.abs(lower)), lower)
    high = np.where(np.isfinite(upper), upper + TOLERANCE * np.maximum(1.0, np.abs(upper)), upper)
    return low, high
