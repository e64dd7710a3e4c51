"""HiGHS over the few rows whose choice is open: the linear programme that finds exact prices, or the integer programme."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize, sparse

from ._core import Core
from ._instance import Bools, mixed
from ._usage import Floats, Ints, exact_sum, excess

CUTS = 8  # solutions beyond a limit by less than HiGHS' tolerance that are excluded one by one before the limit is tightened


@dataclass(frozen=True)
class Types:
    """Rows of a core with the same options are one type with a count.

    Parameters
    ----------
    first : ndarray of int, shape (t,)
        A row of each type.
    member : ndarray of int, shape (m,)
        The type of each row.
    count : ndarray of int, shape (t,)
    """

    first: Ints
    member: Ints
    count: Ints


def types_of(core: Core, allowed: Bools) -> Types:
    """Find rows that differ in nothing that matters: their allowed actions, the values' differences and the usage."""
    m, s = len(core.rows), core.singles
    value = np.where(allowed, core.value, -np.inf)
    top = value.max(axis=0)
    quantum = 2.0**-40 * float(np.abs(value[np.isfinite(value)]).max(initial=0.0)) or 1.0
    parts = [np.where(allowed, np.round((core.value - top) / quantum), np.inf)]
    parts += [np.where(allowed, u, 0.0) for u in core.usage if u.shape[1] > 1]
    content = np.concatenate(parts)[:, :s] + 0.0
    code = np.zeros(s, dtype=np.uint64)
    for line in content:
        code = mixed(code + line.view(np.uint64))
    _, first, member = np.unique(code, return_index=True, return_inverse=True)
    order = np.argsort(first)  # types in the order of their first row, not of an arbitrary hash
    rank = np.empty(len(order), dtype=np.intp)
    rank[order] = np.arange(len(order))
    first, member = first[order], rank[member]
    if not (content[:, first][:, member] == content).all():  # two contents with one hash: leave all apart
        first = member = np.arange(s)
    rest = np.arange(s, m)
    member = np.concatenate([member, len(first) + rest - s])
    first = np.concatenate([first, rest])
    return Types(first, member, np.bincount(member, minlength=len(first)))


@dataclass(frozen=True)
class Settled:
    """What HiGHS found.

    Parameters
    ----------
    action : ndarray of int, shape (m,), optional
        An action for every row, rounded where the solution is fractional; None where there is no solution.
    price : ndarray, shape (K,), optional
        The limits' multipliers; only from the linear programme.
    proven : bool
        Whether HiGHS ran to the end: the optimum, or that there is none.
    """

    action: Ints | None
    price: Floats | None
    proven: bool


class Program:
    """The assignment of a core's rows to their allowed actions.

    Parameters
    ----------
    core : Core
    allowed : ndarray of bool, shape (A, m)
    units : ndarray, shape (K,)
        What usage is counted in.
    stake : float
        What money is counted in: HiGHS' tolerances are absolute, so that the differences that matter should be well
        above 1e-6 of it.
    """

    def __init__(self, core: Core, allowed: Bools, units: Floats, stake: float) -> None:
        self.core, self.allowed, self.units, self.stake = core, allowed, units, stake
        self.types = types_of(core, allowed)
        first = self.types.first
        self.kind, self.act = np.nonzero(allowed[:, first].T)
        row = first[self.kind]
        value = core.value[self.act, row]
        top = np.where(allowed, core.value, -np.inf)[:, first].max(axis=0)
        self.cost = (top[self.kind] - value) / stake
        used = [(u[self.act, row] if u.shape[1] > 1 else u[self.act, 0]) / d for u, d in zip(core.usage, units, strict=True)]
        self.used = np.array(used).reshape(len(units), len(row))
        self.has_upper, self.has_lower = np.isfinite(core.upper), np.isfinite(core.lower)
        ones, at = np.ones(len(row)), np.arange(len(row))
        self.each = sparse.csr_array((ones, (self.kind, at)), shape=(len(first), len(row)))
        self.once = sparse.csr_array((0, len(row)))
        if len(core.starts):
            owner = np.repeat(np.arange(len(core.starts)), core.sizes)
            touch = np.flatnonzero((row >= core.singles) & core.contact[self.act])
            shape = (len(core.starts), len(row))
            self.once = sparse.csr_array((np.ones(len(touch)), (owner[row[touch] - core.singles], touch)), shape=shape)

    def lost(self, action: Ints) -> float:
        """Return the objective of an assignment: what it gives up against each row's most valuable allowed action."""
        top = np.where(self.allowed, self.core.value, -np.inf).max(axis=0)
        return exact_sum(top - self.core.value[action, np.arange(len(action))]) / self.stake

    def _limits(self, upper: Floats, lower: Floats) -> tuple[sparse.csr_array, Floats]:
        """Return usage under upper limits, then lower ones turned over, and what they allow."""
        used = np.vstack([self.used[self.has_upper], -self.used[self.has_lower]])
        room = np.concatenate([(upper / self.units)[self.has_upper], (-lower / self.units)[self.has_lower]])
        return sparse.csr_array(used), room

    def _rows_of(self, upper: Floats, lower: Floats, cuts: list[Floats]) -> tuple[sparse.csr_array, Floats]:
        """Return the inequalities: limits, one contact per customer, and solutions cut off."""
        used, room = self._limits(upper, lower)
        matrix = sparse.vstack([used, self.once, *(sparse.csr_array(c[None, :]) for c in cuts)], format="csr")
        return matrix, np.concatenate([room, np.ones(self.once.shape[0]), [c.sum() - 1.0 for c in cuts]])

    def relaxed(self, seconds: float) -> Settled:
        """Solve the linear programme: prices, and an assignment rounded at the few fractional rows."""
        matrix, room = self._rows_of(self.core.upper, self.core.lower, [])
        count = self.types.count
        found = optimize.linprog(
            self.cost,
            A_ub=matrix,
            b_ub=room,
            A_eq=self.each,
            b_eq=count,
            bounds=np.column_stack([np.zeros(len(self.kind)), count[self.kind]]),
            method="highs-ds",
            options={"time_limit": max(0.01, seconds)},
        )
        if found.x is None or found.status != 0:
            return Settled(None, None, found.status == 2)
        return Settled(self._rows(found.x), self._price(found.ineqlin.marginals) * self.stake / self.units, True)

    def shortfall(self, seconds: float, only: int | None = None) -> Floats | None:
        """Return the prices (K,) that show by how much the limits must give: the multipliers of the least total excess.

        With `only`, of the excess of that limit while the others hold.
        """
        used, room = self._limits(self.core.upper, self.core.lower)
        limit = np.concatenate([np.flatnonzero(self.has_upper), np.flatnonzero(self.has_lower)])
        free = np.ones(len(limit), dtype=bool) if only is None else limit == only
        slack = sparse.vstack([-sparse.eye_array(len(room)), sparse.csr_array((self.once.shape[0], len(room)))])
        found = optimize.linprog(
            np.repeat([0.0, 1.0], [len(self.kind), len(room)]),
            A_ub=sparse.hstack([sparse.vstack([used, self.once]), slack], format="csr"),
            b_ub=np.concatenate([room, np.ones(self.once.shape[0])]),
            A_eq=sparse.hstack([self.each, sparse.csr_array((self.each.shape[0], len(room)))], format="csr"),
            b_eq=self.types.count,
            bounds=np.column_stack(
                [np.zeros(len(self.kind) + len(room)), np.append(np.full(len(self.kind), np.inf), np.where(free, np.inf, 0))]
            ),
            method="highs-ds",
            options={"time_limit": max(0.01, seconds)},
        )
        if found.status != 0:
            return None
        return self._price(found.ineqlin.marginals) / self.units

    def _price(self, marginal: Floats) -> Floats:
        """Turn the multipliers of upper and lower bounds into one signed price per limit."""
        price = np.zeros(len(self.units))
        split = int(self.has_upper.sum())
        worth = np.maximum(-marginal, 0.0)
        price[self.has_upper] += worth[:split]
        price[self.has_lower] -= worth[split : split + int(self.has_lower.sum())]
        return price

    def integral(self, seconds: float, nodes: int, gap: float = 0.0) -> Settled:
        """Solve the integer programme to a gap relative to its own objective, see `lost`, or until so many nodes were searched.

        Nodes are the limit that is meant, so that the same programme has the same answer on a busy machine; seconds are the brake.
        HiGHS' feasibility tolerance of 1e-6 is not ours, so its answers are checked and cut off.
        """
        upper, lower = self.core.upper.copy(), self.core.lower.copy()
        count = self.types.count
        cuts: list[Floats] = []
        exact = True
        for _ in range(3 * CUTS):
            matrix, room = self._rows_of(upper, lower, cuts)
            found = optimize.milp(
                self.cost,
                constraints=[
                    optimize.LinearConstraint(matrix, -np.inf, room),
                    optimize.LinearConstraint(self.each, count, count),
                ],
                bounds=optimize.Bounds(0, count[self.kind]),
                integrality=np.ones(len(self.kind)),
                options={"time_limit": max(0.01, seconds), "node_limit": nodes, "mip_rel_gap": gap},
            )
            if found.x is None:
                return Settled(None, None, exact and found.status == 2)
            action = self._rows(found.x)
            over = excess(self.core.use(action), self.core.lower, self.core.upper)
            if not over.any():
                return Settled(action, None, exact and found.status == 0)
            if len(cuts) < CUTS and (self.types.count == 1).all():
                cuts.append((found.x > 0.5).astype(np.float64))
            else:
                exact = False
                narrow = np.where(over > 0, 2.0 * over + 1e-7 * self.units, 0.0)
                upper, lower = upper - narrow, lower + narrow
        return Settled(None, None, False)

    def _rows(self, x: Floats) -> Ints:
        """Turn counts into one action per row; among rows of one type the smaller key gets the better action."""
        core, types = self.core, self.types
        whole = np.floor(x + 1e-6)
        short = types.count - np.bincount(self.kind, whole, minlength=len(types.count)).astype(np.intp)
        # the largest remainder of each type takes what is left, one by one
        order = np.lexsort((self.cost, -(x - whole), self.kind))
        begin = np.searchsorted(self.kind[order], np.arange(len(types.count)))
        place = np.arange(len(order)) - begin[self.kind[order]]
        width = np.bincount(self.kind, minlength=len(types.count))
        left = short[self.kind[order]]
        whole[order] += left // width[self.kind[order]] + (place < left % width[self.kind[order]])
        # rows of a type stand in canonical order; their actions from the best to the worst value
        best = np.lexsort((self.act, self.cost, self.kind))
        actions = np.repeat(self.act[best], np.maximum(whole[best], 0).astype(np.intp))
        rows = np.argsort(types.member, kind="stable")
        action = np.empty(len(core.rows), dtype=np.intp)
        action[rows] = actions
        return _one_contact(core, action)


def _one_contact(core: Core, action: Ints) -> Ints:
    """Leave each customer one contact, that of most value, where rounding gave two."""
    s = core.singles
    if not len(core.starts):
        return action
    value = core.value[:, s:]
    touched = core.contact[action[s:]]
    quiet = np.where(core.contact[:, None], -np.inf, value)
    other = quiet.max(axis=0)
    gain = np.where(touched, value[action[s:], np.arange(len(touched))] - other, -np.inf)
    owner = np.repeat(np.arange(len(core.starts)), core.sizes)
    order = np.lexsort((-gain, owner))
    spare = order[touched[order] & (np.arange(len(order)) > core.starts[owner[order]])]
    action[s + spare] = quiet.argmax(axis=0)[spare]
    return action
