"""One assignment problem as the solver sees it, read in blocks or by rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from collectml.room import room

from ._compiled import chosen
from ._usage import Column, Floats, Ints, exact_sum, looked_up, with_tolerance

Bools: TypeAlias = NDArray[np.bool_]
Matrix: TypeAlias = NDArray[np.floating] | pd.DataFrame
Usage: TypeAlias = Matrix | Sequence[ArrayLike | pd.DataFrame | tuple[ArrayLike, ArrayLike]]


@dataclass(frozen=True)
class Instance:
    """Values, usage columns and limits of n rows, A actions and K limits.

    Parameters
    ----------
    values : ndarray, shape (n, A)
        Money; finite wherever eligible.
    columns : tuple of Column, length K
    lower, upper : ndarray, shape (K,)
        The limits, already widened by the tolerance with which a limit holds, and rounded inwards where usage comes
        in whole numbers.
    eligible : ndarray of bool, shape (n, A), optional
    tie_key : ndarray, shape (n,), optional
    contact : ndarray of bool, shape (A,)
        The actions of which a customer may get at most one; all False without customers.
    shared : ndarray of int
        Rows of customers with several rows, customer by customer, in canonical order within.
    starts : ndarray of int
        Where each of these customers begins in `shared`.
    names : tuple of str, length K
    apart : float
        What rows that are settled and left out are worth: part of the worth of every assignment.
    out_of : int
        How many rows there are with those left out; 0 where none is.
    """

    values: NDArray[np.floating]
    columns: tuple[Column, ...]
    lower: Floats
    upper: Floats
    eligible: Bools | None
    tie_key: NDArray[np.uint64] | NDArray[np.float64] | None
    contact: Bools
    shared: Ints
    starts: Ints
    names: tuple[str, ...]
    apart: float = 0.0
    out_of: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return n, A, K."""
        n, actions = self.values.shape
        return n, actions, len(self.columns)

    @property
    def units(self) -> Floats:
        """Return the largest usage of each limit, its unit of comparison."""
        return np.array([c.peak for c in self.columns])

    @property
    def loops(self) -> ModuleType | None:
        """Return the compiled loops where they pay: for all rows, and then for some of them too."""
        return chosen(max(len(self.values), self.out_of))

    def money(self, rows: Ints) -> Floats:
        """Return the values of some rows, shape (A, m), minus infinity where not eligible."""
        value = np.ascontiguousarray(self.values[rows].T, dtype=np.float64)
        if self.eligible is not None:
            value[~self.eligible[rows].T] = -np.inf
        return value

    def adjusted(self, rows: Ints, price: Floats) -> Floats:
        """Return value less priced usage of some rows, shape (A, m)."""
        value = self.money(rows)
        for p, column in zip(price, self.columns, strict=True):
            if p:
                value -= p * column.rows(rows)
        return value

    def usage(self, action: NDArray[np.integer]) -> Floats:
        """Return the exact usage of an assignment, shape (K,)."""
        counts = np.bincount(action, minlength=self.values.shape[1])
        return np.array([c.total(action, counts) for c in self.columns], dtype=np.float64)

    def worth(self, action: NDArray[np.integer]) -> float:
        """Return the exact value of an assignment."""
        return self.apart + exact_sum(looked_up(self.values, action))

    def after(
        self, value: float, usage: Floats, action: NDArray[np.integer], rows: Ints, changed: NDArray[np.integer]
    ) -> tuple[float, Floats]:
        """Return value and usage of an assignment once some rows have changed their action."""
        before = action[rows]
        gain = self.values[rows, changed].astype(np.float64) - self.values[rows, before].astype(np.float64)
        more = np.zeros(len(usage))
        place = np.arange(len(rows))
        for k, column in enumerate(self.columns):
            used = np.broadcast_to(column.rows(rows), (self.values.shape[1], len(rows)))
            more[k] = exact_sum(used[changed, place] - used[before, place])
        return value + exact_sum(gain), usage + more

    def fingerprint(self, rows: Ints | slice) -> NDArray[np.uint64]:
        """Hash the content of rows, so that rows without a tie key are told apart by what they are, not where they stand."""
        part = np.asarray(self.values[rows], dtype=np.float64)
        code = np.zeros(len(part), dtype=np.uint64)
        for a in range(part.shape[1]):
            code = mixed(code + (part[:, a] + 0.0).view(np.uint64))
        return code

    def canonical(self, rows: Ints) -> Ints:
        """Sort rows by tie key, then by content: an order that does not depend on where they stand."""
        if self.tie_key is None:
            return rows[np.argsort(self.fingerprint(rows), kind="stable")]
        key = self.tie_key[rows]
        order = np.argsort(key, kind="stable")
        if (np.diff(key[order]) != 0).all():
            return rows[order]
        return rows[np.lexsort((self.fingerprint(rows), key))]

    def selection(self, taken: Bools) -> tuple[Ints, Ints, Ints]:
        """Turn a mask of rows into rows: single ones, then whole customers, with each one's begin among these and size."""
        single = taken.copy()
        single[self.shared] = False
        rows = np.flatnonzero(single)
        if not len(self.shared):
            return rows, self.starts, self.starts
        keep = np.logical_or.reduceat(taken[self.shared], self.starts)
        sizes = self.sizes[keep]
        return np.concatenate([rows, self.shared[np.repeat(keep, self.sizes)]]), np.cumsum(sizes) - sizes, sizes

    def draw(self, size: int) -> Ints:
        """Draw about `size` rows, whole customers, by a hash of key or content; all rows where there are hardly more."""
        n = len(self.values)
        if n <= 2 * size:
            return self.whole_customers(np.ones(n, dtype=bool))
        step = 65536
        code = room(n, np.uint64)
        for s in range(0, n, step):
            block = slice(s, s + step)
            key = self.tie_key
            code[block] = self.fingerprint(block) if key is None else mixed(key[block].view(np.uint64))
        taken = code < np.uint64(size / n * 2.0**64)
        if not size / 2 <= np.count_nonzero(taken) <= 2 * size:  # few distinct rows: any regular sample is as good
            taken = np.arange(n) % (n // size) == 0
        # a customer is drawn by its first row alone: "any of its rows" would draw large customers too often
        taken[self.shared] = np.repeat(taken[self.shared[self.starts]], self.sizes)
        return self.whole_customers(taken)

    def whole_customers(self, taken: Bools) -> Ints:
        """Turn a mask of rows into canonical rows: single ones first, then every customer one of whose rows is taken."""
        single = taken.copy()
        single[self.shared] = False
        rows = self.canonical(np.flatnonzero(single))
        if not len(self.shared):
            return rows
        keep = np.logical_or.reduceat(taken[self.shared], self.starts)
        return np.concatenate([rows, self.shared[np.repeat(keep, self.sizes)]])

    @property
    def sizes(self) -> Ints:
        """Return the number of rows of each customer in `shared`."""
        return np.diff(np.append(self.starts, len(self.shared)))

    def perturbed(self, size: float) -> Instance:
        """Return the same problem with a little added to every value, by key or content: rows in a tie come apart."""
        n, actions, _ = self.shape
        seed = self.fingerprint(slice(None))
        if self.tie_key is not None:
            seed = mixed(seed + self.tie_key.view(np.uint64))
        extra = np.empty((n, actions))
        for a in range(actions):
            extra[:, a] = mixed(seed + np.uint64(a)) * (size * 2.0**-64)
        extra += self.values
        return replace(self, values=extra)

    def without_values(self) -> Instance:
        """Return the same limits with nothing at stake: the question whether they can hold at all."""
        return replace(self, values=np.broadcast_to(np.float64(0.0), self.values.shape), apart=0.0)

    def only(self, taken: Bools) -> tuple[Ints, Instance]:
        """Return the rows of a mask, customers whole, and the problem of these alone, under the same limits."""
        rows, starts, sizes = self.selection(taken)
        codes = {id(c.codes): c.codes[rows] for c in self.columns if c.codes is not None}  # shared ones stay shared
        part = replace(
            self,
            values=self.values[rows],
            columns=tuple(c.only(rows, codes.get(id(c.codes))) for c in self.columns),
            eligible=None if self.eligible is None else self.eligible[rows],
            tie_key=None if self.tie_key is None else self.tie_key[rows],
            shared=np.arange(len(rows) - int(sizes.sum()), len(rows)),
            starts=starts,
            out_of=max(len(self.values), self.out_of),
        )
        return rows, part

    def within(self, lower: Floats, upper: Floats) -> Instance:
        """Return the same problem with other limits, widened and rounded as `lower` and `upper` say."""
        low, high = with_tolerance(lower, upper)
        whole = np.array([c.whole for c in self.columns], dtype=bool)
        return replace(self, lower=np.where(whole, np.ceil(low), low), upper=np.where(whole, np.floor(high), high))

    def at_most(self, k: int, bound: float) -> Instance:
        """Return the same problem with another upper bound of one limit."""
        upper = self.upper.copy()
        upper[k] = self.within(self.lower, np.full(len(upper), bound)).upper[k]
        return replace(self, upper=upper)

    def under(self, kept: Sequence[int]) -> Instance:
        """Return the same problem with only some of the limits in force."""
        off = np.setdiff1d(np.arange(len(self.columns)), kept)
        lower, upper = self.lower.copy(), self.upper.copy()
        lower[off], upper[off] = -np.inf, np.inf
        return replace(self, lower=lower, upper=upper)


def mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit numbers (the finaliser of SplitMix64, Steele et al. 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
