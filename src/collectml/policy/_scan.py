"""What every row does at given prices, and the bound that certifies.

With a price per limit the problem falls apart into rows (or customers, where these share a contact): each takes the
action of highest ``value - price . usage``. The sum of these maxima plus the priced limits is the dual: no
assignment is worth more. All rows are passed over once; after that, at other prices, only those whose lead is
smaller than what the prices have moved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectml.room import kept, room

from ._instance import Bools, Instance
from ._usage import Floats, Ints

BLOCK = 4096  # rows whose working vectors stay in the cache
NOTHING = np.zeros((0, 0), dtype=np.bool_)
COUPLED = 3.0  # rows a customer's choice rests on: the one in question, the one contacted and the one that would be
MANY = 0.3  # share of rows to look at again from which a pass over all is as fast


@dataclass(frozen=True)
class Scan:
    """What every row does at given prices.

    Parameters
    ----------
    price : ndarray, shape (K,)
    action : ndarray of int, shape (n,)
        The best action of each row (of each customer, where coupled).
    margin : ndarray, shape (n,)
        What the row would lose at these prices by its second best action, or less.
    nearness : ndarray, shape (n,)
        How far each row is from another choice, in units of how uncertain the prices of that choice are; the margin
        where this was not asked.
    value : float
        What `action` is worth.
    usage : ndarray, shape (K,)
        What `action` uses.
    bound : float
        The dual: no assignment within the limits is worth more.
    """

    price: Floats
    action: NDArray[np.signedinteger]
    margin: Floats
    nearness: Floats
    value: float
    usage: Floats
    bound: float


def dual(instance: Instance, price: Floats, value: float, usage: Floats) -> float:
    """Return the dual, given what the best actions at these prices are worth and use."""
    at = np.where(price > 0, instance.upper, np.where(price < 0, instance.lower, 0.0))
    return value + float((price * (at - usage)).sum())


def losses(adjusted: Floats, starts: Ints, sizes: Ints, contact: Bools) -> tuple[Floats, Ints, Floats]:
    """Return what forcing each action on each row loses, the best actions and their worth, for whole customers.

    A customer takes the best action without contact in every row, but for the one row, if any, where contact gains
    most. The loss of forcing an action lets the customer's other rows answer as best they can.

    Parameters
    ----------
    adjusted : ndarray, shape (A, m)
        Value less priced usage, customer by customer.
    starts, sizes : ndarray of int
        Where each customer begins and how many rows it has.
    contact : ndarray of bool, shape (A,)

    Returns
    -------
    loss : ndarray, shape (A, m)
    action : ndarray of int, shape (m,)
    worth : ndarray, shape (m,)
    """
    quiet = np.where(contact[:, None], -np.inf, adjusted)
    loud = np.where(contact[:, None], adjusted, -np.inf)
    without, with_ = quiet.max(axis=0), loud.max(axis=0)
    # a row that can only be contacted: give the alternative a worth so low that the contact is always here
    size = float(np.abs(adjusted[np.isfinite(adjusted)]).max(initial=1.0))
    without = np.where(np.isfinite(without), without, with_ - _beyond(size))
    gain = with_ - without
    place = np.arange(len(gain))
    top = np.maximum.reduceat(gain, starts)
    taker = np.minimum.reduceat(np.where(gain == np.repeat(top, sizes), place, len(gain)), starts)
    others = gain.copy()
    others[taker] = -np.inf
    second = np.maximum.reduceat(others, starts)
    best = np.maximum(0.0, np.repeat(top, sizes))
    excluded = best.copy()
    excluded[taker] = np.maximum(0.0, second)
    loss = np.where(contact[:, None], without + best - adjusted, without + best - excluded - adjusted)
    takes = np.zeros(len(gain), dtype=bool)
    takes[taker[top > 0]] = True
    action = np.where(takes, loud.argmax(axis=0), quiet.argmax(axis=0))
    return np.maximum(loss, 0.0), action, adjusted[action, place]


def _beyond(size: float) -> float:
    """Return a sum beyond all money at stake, a power of two so that adding it rounds nothing away."""
    return float(2.0 ** (np.ceil(np.log2(size)) + 4))


@dataclass(frozen=True)
class _Charges:
    """Prices turned into what each action costs: alike for all rows, by segment, or by the row's own usage."""

    flat: Floats
    own: list[tuple[np.float64, NDArray[np.floating], Ints]]
    segments: list[tuple[Ints, Floats]]

    @classmethod
    def of(cls, instance: Instance, price: Floats) -> _Charges:
        actions = instance.values.shape[1]
        flat = np.zeros(actions)
        own = []
        segments: dict[int, tuple[Ints, Floats]] = {}
        for p, column in zip(price, instance.columns, strict=True):
            if not p:
                continue
            if column.shared:
                flat += p * column.table
            elif column.codes is None:
                own.append((np.float64(p), column.table, np.array(column.support, dtype=np.intp)))
            else:
                codes, table = segments.get(id(column.codes), (column.codes, np.zeros((1, actions))))
                total = np.zeros((max(len(table), len(column.table)), actions))
                total[: len(table)] += table
                total[: len(column.table)] += p * column.table
                segments[id(column.codes)] = (codes, total)
        return cls(flat, own, list(segments.values()))


def _closeness(reach: Floats | None) -> Floats:
    """Return what turns money into units of doubt; empty where that is not asked."""
    return np.zeros((0, 0)) if reach is None else np.asarray(1.0 / reach, dtype=np.float64)


def scan(instance: Instance, price: Floats, reach: Floats | None = None) -> Scan:
    """Let every row choose at these prices; nothing of shape (n, A) is made.

    Parameters
    ----------
    instance : Instance
    price : ndarray, shape (K,)
    reach : ndarray, shape (A, A), optional
        By how much the priced difference between two actions may still move; asks for `Scan.nearness`.
    """
    action, margin, nearness = choices(instance, price, reach)
    value, usage = instance.worth(action), instance.usage(action)
    return Scan(price, action, margin, nearness, value, usage, dual(instance, price, value, usage))


def choices(
    instance: Instance, price: Floats, reach: Floats | None = None
) -> tuple[NDArray[np.signedinteger], Floats, Floats]:
    """Return `action`, `margin` and `nearness` of a :class:`Scan`, adding nothing up."""
    n, actions, _ = instance.shape
    margin = room(n)
    action: NDArray[np.signedinteger] = np.zeros(n, dtype=np.int8 if actions <= 127 else np.int16)
    nearness = margin if reach is None else room(n)
    closeness = _closeness(reach)
    _choose(instance, price, closeness, None, action, margin, nearness)
    if len(instance.shared):
        rows = instance.shared
        adjusted = instance.adjusted(rows, price)
        action[rows], margin[rows], nearness[rows] = _coupled(instance, adjusted, instance.starts, instance.sizes, closeness)
    return action, margin, nearness


def _choose(
    instance: Instance,
    price: Floats,
    closeness: Floats,
    rows: Ints | None,
    action: NDArray[np.signedinteger],
    margin: Floats,
    nearness: Floats,
) -> None:
    """Fill action, margin and nearness of some rows, or of all, each by itself."""
    charges, kernels = _Charges.of(instance, price), instance.loops
    for s in range(0, len(action), BLOCK):
        b = slice(s, min(len(action), s + BLOCK))
        at = b if rows is None else rows[b]
        values = instance.values[at]
        own = [(p, rates[at], support) for p, rates, support in charges.own]
        segments = [(table, codes[at]) for codes, table in charges.segments]
        eligible = None if instance.eligible is None else instance.eligible[at]
        if kernels is None:
            _by_vectors(values, charges.flat, own, segments, eligible, closeness, action[b], margin[b], nearness[b])
            continue
        worth = np.empty(values.shape)
        kernels.charge(worth, values, charges.flat)
        for p, rates, support in own:
            kernels.charge_own(worth, rates, p, support)
        for table, codes in segments:
            kernels.charge_segment(worth, table, codes)
        kernels.choose(worth, NOTHING if eligible is None else eligible, closeness, action[b], margin[b], nearness[b])


def _by_vectors(
    values: NDArray[np.floating],
    flat: Floats,
    own: list[tuple[np.float64, NDArray[np.floating], Ints]],
    segments: list[tuple[Floats, Ints]],
    eligible: Bools | None,
    closeness: Floats,
    action: NDArray[np.signedinteger],
    margin: Floats,
    nearness: Floats,
) -> None:
    """Do for a block what the compiled loops do, by vector operations, action by action."""
    m, actions = values.shape
    worth, x, top = np.empty((actions, m)), np.empty(m), np.full(m, -np.inf)
    f, i = np.empty(m, dtype=bool), np.empty(m, dtype=action.dtype)
    action.fill(0)
    margin.fill(-np.inf)
    for a in range(actions):
        w = worth[a]
        np.subtract(values[:, a], flat[a], out=w)
        for p, rates, support in own:
            if a in support:
                np.multiply(rates[:, a], p, out=x)
                np.subtract(w, x, out=w)
        for table, codes in segments:
            np.subtract(w, table[codes, a], out=w)
        if eligible is not None:
            np.logical_not(eligible[:, a], out=f)
            np.putmask(w, f, -np.inf)
        np.greater(w, top, out=f)
        np.minimum(w, top, out=x)
        np.maximum(margin, x, out=margin)
        np.maximum(top, w, out=top)
        # the last action to pass the best so far has the highest number: no masked write is needed
        np.multiply(f.view(np.int8), action.dtype.type(a), out=i)
        np.maximum(action, i, out=action)
    np.subtract(top, margin, out=margin)
    if not closeness.size:
        return
    nearness.fill(np.inf)
    for a in range(actions):
        np.subtract(top, worth[a], out=x)
        np.multiply(x, closeness[a].take(action), out=x)
        np.equal(action, a, out=f)
        np.putmask(x, f, np.inf)
        np.minimum(nearness, x, out=nearness)


def _coupled(
    instance: Instance, adjusted: Floats, starts: Ints, sizes: Ints, closeness: Floats
) -> tuple[Ints, Floats, Floats]:
    """Return action, margin and nearness of whole customers, given value less priced usage, shape (A, m)."""
    kernels = instance.loops
    if kernels is not None and len(adjusted) > 1:
        m = adjusted.shape[1]
        chosen_action, lead = np.empty(m, dtype=np.intp), np.empty(m)
        near = lead if not closeness.size else np.empty(m)
        floor = _beyond(kernels.largest_finite(adjusted))
        kernels.couple(adjusted, starts, sizes, instance.contact, floor, closeness, chosen_action, lead, near)
        return chosen_action, lead, near
    loss, action, _ = losses(adjusted, starts, sizes, instance.contact)
    margin = np.partition(loss, 1, axis=0)[1] if len(loss) > 1 else np.full(len(action), np.inf)
    if not closeness.size:
        return action, margin, margin
    loss[action, np.arange(len(action))] = np.inf
    return action, margin, (loss * closeness[:, action]).min(axis=0)


def rescan(instance: Instance, at: Scan, price: Floats, reach: Floats | None = None) -> Scan:
    """Return what `scan` would at prices near those of an earlier scan, looking only at rows that may change.

    No action gains more on another than the prices' move allows, given the least and most that any row uses of each
    limit. Rows that lead by twice as much keep their action and a margin at least half as large.
    """
    n = len(instance.values)
    move = largest_moves(instance, price - at.price)
    again = at.margin <= (2.0 * move)[at.action]
    if len(instance.shared):
        largest = COUPLED * float(move.max())
        again[instance.shared] = at.margin[instance.shared] <= 2.0 * largest
    if np.count_nonzero(again) > MANY * n:
        return scan(instance, price, reach)
    rows, starts, sizes = instance.selection(again)
    alone = len(rows) - int(sizes.sum())
    closeness = _closeness(reach)
    found, margin = np.empty(len(rows), dtype=at.action.dtype), np.empty(len(rows))
    nearness = margin if reach is None else np.empty(len(rows))
    _choose(instance, price, closeness, rows[:alone], found[:alone], margin[:alone], nearness[:alone])
    if len(starts):
        adjusted = instance.adjusted(rows[alone:], price)
        found[alone:], margin[alone:], nearness[alone:] = _coupled(instance, adjusted, starts, sizes, closeness)
    margins = np.subtract(at.margin, move[at.action], out=room(n))
    if len(instance.shared):
        margins[instance.shared] = at.margin[instance.shared] - largest
    margins[rows] = margin
    nearnesses = margins
    if reach is not None:
        nearnesses = kept(at.nearness.copy())
        nearnesses[rows] = nearness
    changed = np.flatnonzero(found != at.action[rows])
    action = at.action.copy()
    action[rows[changed]] = found[changed]
    value, usage = instance.after(at.value, at.usage, at.action, rows[changed], found[changed])
    return Scan(price, action, margins, nearnesses, value, usage, dual(instance, price, value, usage))


def largest_moves(instance: Instance, step: Floats) -> Floats:
    """Return the most that any action may gain on each action, shape (A,), when prices move by `step` (K,)."""
    low = np.array([c.low for c in instance.columns]).reshape(len(step), -1)
    high = np.array([c.high for c in instance.columns]).reshape(len(step), -1)
    up, down = np.maximum(step, 0.0)[:, None], np.minimum(step, 0.0)[:, None]
    # what an action of the row comes to pay at most, and what another saves at most
    pays, saves = (up * high + down * low), (up * low + down * high)
    gain = np.zeros((instance.values.shape[1],) * 2)
    for k in range(len(step)):
        gain += pays[k][:, None] - saves[k][None, :]
    np.fill_diagonal(gain, 0.0)
    return np.maximum(gain.max(axis=1), 0.0)
