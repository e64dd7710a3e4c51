"""Rows taken out of the problem: what they may choose, and what the others leave them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from collectml.room import room

from ._instance import Bools, Instance
from ._scan import Scan, losses
from ._usage import Floats, Ints, exact_sum


@dataclass(frozen=True)
class Core:
    """Rows taken out of the problem, what they may choose and what the others leave them.

    Parameters
    ----------
    rows : ndarray of int, shape (m,)
        Single rows in canonical order, then whole customers.
    value : ndarray, shape (A, m)
        Minus infinity where not eligible.
    usage : tuple of ndarray, length K
        Each (A, 1) or (A, m).
    starts, sizes : ndarray of int
        The customers with several rows: where each begins, counted from the first of their rows, and how many it has.
    lower, upper : ndarray, shape (K,)
        What the rows outside leave of each limit.
    large : bool
        Whether the rows are of a portfolio large enough for compiled loops.
    """

    rows: Ints
    value: Floats
    usage: tuple[Floats, ...]
    starts: Ints
    sizes: Ints
    contact: Bools
    lower: Floats
    upper: Floats
    large: bool = False

    @property
    def singles(self) -> int:
        """Return how many rows come before the customers with several."""
        return len(self.rows) - int(self.sizes.sum())

    def adjusted(self, price: Floats) -> Floats:
        """Return value less priced usage, shape (A, m)."""
        out = self.value.copy()
        for p, used in zip(price, self.usage, strict=True):
            if p:
                out -= p * used
        return out

    def loss(self, price: Floats) -> tuple[Floats, Ints]:
        """Return what forcing each action loses at these prices, shape (A, m), and the best actions."""
        adjusted, s = self.adjusted(price), self.singles
        loss = adjusted.max(axis=0) - adjusted
        action = adjusted.argmax(axis=0)
        if len(self.starts):
            loss[:, s:], action[s:], _ = losses(adjusted[:, s:], self.starts, self.sizes, self.contact)
        return loss, action

    def use(self, action: NDArray[np.integer]) -> Floats:
        """Return the usage of an assignment of these rows."""
        place = np.arange(len(action))
        return np.array([exact_sum(np.broadcast_to(u, self.value.shape)[action, place]) for u in self.usage])


def core_of(instance: Instance, rows: Ints, at: Scan | None = None, share: float = 1.0) -> Core:
    """Take rows (canonical, whole customers) out.

    Parameters
    ----------
    instance : Instance
    rows : ndarray of int
        From `Instance.whole_customers` or `Instance.draw`.
    at : Scan, optional
        What the other rows do; nothing by default.
    share : float
        The part of the limits that is theirs, for a sample.
    """
    tail = np.zeros(0, dtype=np.intp)
    sizes = tail
    if len(instance.shared):
        unit = room(len(instance.values), np.intp)
        unit.fill(-1)
        unit[instance.shared] = np.repeat(np.arange(len(instance.starts)), instance.sizes)
        tail = unit[rows]
        tail = tail[tail >= 0]
        sizes = instance.sizes[tail[np.flatnonzero(np.diff(tail, prepend=-1))]]
    core = Core(
        rows, instance.money(rows), tuple(c.rows(rows) for c in instance.columns), np.cumsum(sizes) - sizes, sizes,
        instance.contact, instance.lower * share, instance.upper * share, instance.loops is not None,
    )  # fmt: skip
    if at is None:
        return core
    others = at.usage - core.use(at.action[rows])
    return replace(core, lower=core.lower - others, upper=core.upper - others)


def near(instance: Instance, at: Scan, size: int) -> Core:
    """Take out the rows nearest to another choice, ties included, with what the others leave them."""
    n = len(instance.values)
    if size >= n:
        return core_of(instance, instance.whole_customers(np.ones(n, dtype=bool)))
    edge = np.partition(at.nearness, size)[size]
    rows = instance.whole_customers(at.nearness <= edge)
    return core_of(instance, rows, at)
