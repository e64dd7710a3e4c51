"""From a rounded solution to one within every limit, and from there uphill, by exchanges among close rows."""

from __future__ import annotations

import numpy as np

from ._compiled import kernels
from ._core import Core
from ._usage import Floats, Ints, excess

PAIRS = 400  # moves of least loss that are tried two by two
EACH = 8  # and of each change from one action to another


class Exchange:
    """The assignment of a core's rows, changed one or two rows at a time.

    Parameters
    ----------
    core : Core
    action : ndarray of int, shape (m,)
        At most one contact per customer.
    price : ndarray, shape (K,)
    units : ndarray, shape (K,)
    """

    def __init__(self, core: Core, action: Ints, price: Floats, units: Floats) -> None:
        self.core, self.action, self.price, self.units = core, action.copy(), price, units
        self.place = np.arange(len(action))
        self.owner = np.concatenate([np.full(core.singles, -1), np.repeat(np.arange(len(core.starts)), core.sizes)])
        self.gain = np.empty_like(core.value)
        self.step = np.empty((len(units), *core.value.shape))
        self.possible = np.empty(core.value.shape, dtype=bool)
        self._renew(self.place)
        self.usage = core.use(self.action)

    def _renew(self, rows: Ints) -> None:
        """State what every move of these rows would change."""
        now, core = self.action[rows], self.core
        self.gain[:, rows] = core.value[:, rows] - core.value[now, rows]
        for k, used in enumerate(core.usage):
            mine = used[:, rows] if used.shape[1] > 1 else used
            here = used[now, rows] if used.shape[1] > 1 else used[now, 0]
            self.step[k][:, rows] = mine - here
        self.possible[:, rows] = np.isfinite(core.value[:, rows])
        self.possible[now, rows] = False
        if len(core.starts):
            busy = np.zeros(len(core.starts) + 1, dtype=bool)
            talks = core.contact[self.action] & (self.owner >= 0)
            busy[self.owner[talks]] = True
            blocked = busy[self.owner[rows]] & (self.owner[rows] >= 0) & ~core.contact[now]
            self.possible[:, rows] &= ~(core.contact[:, None] & blocked)

    def _move(self, *moves: tuple[int, int]) -> None:
        """Carry out moves (action, row)."""
        for action, row in moves:
            self.action[row] = action
        rows = np.array([row for _, row in moves])
        owners = np.unique(self.owner[rows])
        rows = np.union1d(rows, np.flatnonzero(np.isin(self.owner, owners[owners >= 0])))
        self._renew(rows)
        self.usage = self.core.use(self.action)

    def _over(self, usage: Floats) -> Floats:
        """Return the total excess of usages (K, ...), each limit in its units."""
        shape = (-1,) + (1,) * (usage.ndim - 1)
        over = excess(usage, self.core.lower.reshape(shape), self.core.upper.reshape(shape))
        return np.asarray((over / self.units.reshape(shape)).sum(axis=0))

    def repair(self, rounds: int = 300) -> bool:
        """Take the move that removes most excess per money lost until no limit is passed; say whether that was reached."""
        for _ in range(rounds):
            over = float(self._over(self.usage))
            if over == 0.0:
                return True
            removed = over - self._over(self.usage[:, None, None] + self.step)
            removed[~self.possible] = 0.0
            if removed.max() <= 0.0:
                return False
            paid = np.einsum("k,kam->am", self.price, self.step) - self.gain  # what the move loses at the prices
            scale = float(np.median(np.abs(paid[self.possible]))) or 1.0
            score = np.where(removed > 0, removed / (np.maximum(paid, 0.0) + 1e-6 * scale), -np.inf)
            self._move(*self._best(score))
        return float(self._over(self.usage)) == 0.0

    def _best(self, score: Floats) -> list[tuple[int, int]]:
        """Return the move with the highest score; the first row in canonical order among equals."""
        row, action = divmod(int(np.argmax(score.T)), len(score))
        return [(action, row)]

    def improve(self, rounds: int = 300) -> None:
        """Take the most valuable move, alone or in pairs, until none stays within the limits."""
        for _ in range(rounds):
            gain = np.where(self.possible & (self.gain > 0), self.gain, 0.0)
            trial = gain > 0
            if trial.any():
                a, r = np.nonzero(trial)
                fits = self._over(self.usage[:, None] + self.step[:, a, r]) == 0.0
                gain[a[~fits], r[~fits]] = 0.0
            if gain.max(initial=0.0) > 0.0:
                self._move(*self._best(gain))
            elif not (pair := self._pair()):
                return
            else:
                self._move(*pair)

    def _pair(self) -> list[tuple[int, int]]:
        """Return the best two moves of different rows that gain together and fit together."""
        lost = np.where(self.possible, np.einsum("k,kam->am", self.price, self.step) - self.gain, np.inf)
        near = self._nearest(lost)
        if len(near) < 2:
            return []
        row, action = np.divmod(near, len(self.core.value))
        gain, step, owner = self.gain[action, row], self.step[:, action, row], self.owner[row]
        machine = kernels() if self.core.large else None
        if machine is not None:
            i, j = machine.best_pair(gain, step, row, owner, self.usage, self.core.lower, self.core.upper)
            if i < 0 or gain[i] + gain[j] <= 1e-12 * float(np.abs(gain).max()):
                return []
            return [(int(action[x]), int(row[x])) for x in (i, j)]
        i, j = np.nonzero(np.triu(gain[:, None] + gain > 0, 1))
        apart = (row[i] != row[j]) & ((owner[i] != owner[j]) | (owner[i] < 0))
        i, j = i[apart], j[apart]
        fits = np.ones(len(i), dtype=bool)
        for k in range(len(self.units)):
            after = self.usage[k] + step[k][i] + step[k][j]
            fits &= (after <= self.core.upper[k]) & (after >= self.core.lower[k])
        i, j = i[fits], j[fits]
        if not len(i):
            return []
        best = int(np.argmax(gain[i] + gain[j]))
        if gain[i[best]] + gain[j[best]] <= 1e-12 * float(np.abs(gain).max()):
            return []
        return [(int(action[x[best]]), int(row[x[best]])) for x in (i, j)]

    def _nearest(self, lost: Floats) -> Ints:
        """Return the moves of least loss, and a few of every change from one action to another: slack needs all kinds."""
        actions = len(lost)
        flat = lost.T.ravel()
        count = min(PAIRS, int(np.isfinite(flat).sum()))
        if not count:
            return np.zeros(0, dtype=np.intp)
        near = [np.argpartition(flat, count - 1)[:count]]
        for now in range(actions):
            rows = np.flatnonzero(self.action == now)
            for to in range(actions):
                kind = lost[to, rows]
                few = rows[np.argsort(kind, kind="stable")[:EACH]]
                near.append(few[np.isfinite(lost[to, few])] * actions + to)
        return np.unique(np.concatenate(near))
