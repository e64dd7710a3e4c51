"""Projected Newton on the smoothed dual of a few thousand rows, at falling temperature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._compiled import kernels
from ._core import Core
from ._usage import Floats

FAR = 1e6  # a price per unit beyond which limits are taken to conflict, in multiples of the money at stake


class _Smooth:
    """Log-sum-exp of a core: value, usage and its covariance at prices, usage counted in units of each limit."""

    def __init__(self, core: Core, units: Floats) -> None:
        self.core, self.units = core, units
        self.flat = [k for k, u in enumerate(core.usage) if u.shape[1] == 1]
        self.own = [k for k, u in enumerate(core.usage) if u.shape[1] > 1]
        self.flat_usage = np.array([core.usage[k][:, 0] / units[k] for k in self.flat]).reshape(
            len(self.flat), len(core.value)
        )
        self.own_usage = np.array([core.usage[k] / units[k] for k in self.own]).reshape(len(self.own), *core.value.shape)
        self.kernels = kernels() if core.large and core.singles else None
        if self.kernels is not None:
            self.by_row = np.ascontiguousarray(core.value[:, : core.singles].T)
            self.own_by_row = np.ascontiguousarray(self.own_usage[:, :, : core.singles].transpose(0, 2, 1))

    def _means(self, chance: Floats, part: slice) -> Floats:
        """Return expected usage row by row, shape (K, m)."""
        out = np.empty((len(self.units), chance.shape[1]))
        out[self.flat] = np.einsum("ka,am->km", self.flat_usage, chance)
        for k, used in zip(self.own, self.own_usage, strict=True):
            out[k] = np.einsum("am,am->m", used[:, part], chance)
        return out

    def at(self, price: Floats, temperature: float) -> tuple[float, Floats, Floats]:
        """Return smoothed worth, usage (K,) and by how much usage falls in each price (K, K), summed over the rows."""
        core, k = self.core, len(self.units)
        total, usage, fall = 0.0, np.zeros(k), np.zeros((k, k))
        parts = [slice(0, core.singles), slice(core.singles, len(core.rows))]
        if self.kernels is not None:
            order = self.flat + self.own
            charged = price[self.flat] @ self.flat_usage
            total, usage[order], fall[np.ix_(order, order)] = self.kernels.soft(
                self.by_row, self.flat_usage, self.own_by_row, price[self.own], charged, temperature
            )
            parts = parts[1:]
        for part in parts:
            if part.start < part.stop:
                worth, used, spread = self._part(part, price, temperature)
                total, usage, fall = total + worth, usage + used, fall + spread
        return float(total), usage, fall / temperature

    def _part(self, part: slice, price: Floats, temperature: float) -> tuple[float, Floats, Floats]:
        """Return smoothed worth, usage (K,) and its covariance (K, K) of single rows or of whole customers."""
        core, k = self.core, len(self.units)
        adjusted = core.value[:, part] - (price[self.flat] @ self.flat_usage)[:, None]
        for p, used in zip(price[self.own], self.own_usage, strict=True):
            if p:
                adjusted -= p * used[:, part]
        chance = np.empty_like(adjusted)
        if part.start < core.singles:
            total = float(_soft(adjusted, temperature, chance)[0].sum())
            means = self._means(chance, part)
            spread = _products(means, means)
        else:
            total, spread = self._customers(adjusted, temperature, chance, part)
        usage = np.empty(k)
        action = chance.sum(axis=1)
        usage[self.flat] = self.flat_usage @ action
        second = np.empty((k, k))
        second[np.ix_(self.flat, self.flat)] = (self.flat_usage * action) @ self.flat_usage.T
        for i, ki in enumerate(self.own):
            weighted = self.own_usage[i][:, part] * chance
            by_action = weighted.sum(axis=1)
            usage[ki] = by_action.sum()
            second[ki, self.flat] = second[self.flat, ki] = self.flat_usage @ by_action
            for j in range(i + 1):
                kj = self.own[j]
                second[ki, kj] = second[kj, ki] = np.einsum("am,am->", weighted, self.own_usage[j][:, part])
        return total, usage, second - spread

    def _customers(self, adjusted: Floats, temperature: float, chance: Floats, part: slice) -> tuple[float, Floats]:
        """Fill `chance` of customers with several rows; return their worth and what to take off the second moments.

        A customer is silent or contacts one row; given that choice its rows are independent. The law of total
        covariance then needs each row's mean usage with and without contact only.
        """
        core, contact = self.core, self.core.contact
        starts, sizes = core.starts, core.sizes
        quiet, loud = adjusted[~contact], adjusted[contact]
        calm, busy = np.zeros_like(adjusted), np.zeros_like(adjusted)
        calm_part, busy_part = np.zeros_like(quiet), np.zeros_like(loud)
        without, with_ = _soft(quiet, temperature, calm_part)[0], _soft(loud, temperature, busy_part)[0]
        calm[~contact], busy[contact] = calm_part, busy_part
        size = float(np.abs(adjusted[np.isfinite(adjusted)]).max(initial=1.0))
        without = np.where(np.isfinite(without), without, with_ - 16.0 * size)
        gain = (with_ - without) / temperature
        top = np.maximum(0.0, np.maximum.reduceat(gain, starts))
        odds = np.exp(gain - np.repeat(top, sizes))
        share = np.exp(-top) + np.add.reduceat(odds, starts)
        taken = odds / np.repeat(share, sizes)
        chance[:] = calm * (1.0 - taken) + busy * taken
        worth = float(without.sum() + temperature * (top + np.log(share)).sum())
        mean_calm, mean_busy = self._means(calm, part), self._means(busy, part)
        step = mean_busy - mean_calm
        moved = np.add.reduceat(step * taken, starts, axis=1)
        minus = _products(mean_calm * (1.0 - taken), mean_calm) + _products(mean_busy * taken, mean_busy)
        return worth, minus - _products(step * taken, step) + _products(moved, moved)


def _products(x: Floats, y: Floats) -> Floats:
    """Return x @ y.T by a loop of one thread: the result must not depend on how many threads a BLAS was given."""
    return np.einsum("km,lm->kl", x, y)


def _soft(adjusted: Floats, temperature: float, chance: Floats) -> tuple[Floats, Floats]:
    """Fill `chance` with the softmax of every row and return the smoothed maxima; rows without any action are empty."""
    if not adjusted.size:
        return np.full(adjusted.shape[1], -np.inf), chance
    top = adjusted.max(axis=0)
    shift = np.where(np.isfinite(top), top, 0.0)
    np.subtract(adjusted, shift, out=chance)
    chance /= temperature
    np.exp(chance, out=chance)
    total = chance.sum(axis=0)
    some = np.where(total > 0, total, 1.0)
    chance /= some
    return np.where(total > 0, shift + temperature * np.log(some), -np.inf), chance


def newton(core: Core, units: Floats, price: Floats, temperatures: Sequence[float], steps: int = 12) -> Floats:
    """Minimise the smoothed dual of a core from given prices, temperature after temperature.

    Each finite bound has a multiplier >= 0; an upper bound's adds to the price, a lower bound's takes off it.

    References
    ----------
    Bertsekas (1982), Projected Newton methods for optimization problems with simple constraints, SIAM J. Control
    20(2).
    """
    smooth = _Smooth(core, units)
    has_upper, has_lower = np.isfinite(core.upper), np.isfinite(core.lower)
    limit = np.concatenate([np.flatnonzero(has_upper), np.flatnonzero(has_lower)])
    sign = np.repeat([1.0, -1.0], [has_upper.sum(), has_lower.sum()])
    if not len(limit):
        return np.zeros(len(units))
    room = np.concatenate([(core.upper / units)[has_upper], -(core.lower / units)[has_lower]])
    scaled = price * units
    multiplier = np.maximum(0.0, sign * scaled[limit])
    far = FAR * max(temperatures)

    def prices(x: Floats) -> Floats:
        out = np.zeros(len(units))
        np.add.at(out, limit, sign * x)
        return out

    for temperature in temperatures:
        worth, usage, fall = smooth.at(prices(multiplier), temperature)
        for _ in range(steps):
            gradient = room - sign * usage[limit]
            free = (multiplier > 0) | (gradient < 0)
            slack = np.abs(gradient[free]).max(initial=0.0)
            if slack <= 0.25 + 1e-9 * np.abs(room).max():
                break
            matrix = (fall[np.ix_(limit, limit)] * np.outer(sign, sign))[np.ix_(free, free)]
            matrix[np.diag_indices_from(matrix)] += 1e-8 * np.trace(matrix) / len(matrix) + 1e-12 / temperature
            step = np.zeros_like(multiplier)
            step[free] = -np.linalg.solve(matrix, gradient[free])
            reach = float(np.abs(step).max())
            step *= min(1.0, 100.0 * temperature / reach) if reach else 1.0
            value = worth + room @ multiplier
            for _ in range(25):
                trial = np.clip(multiplier + step, 0.0, far)
                worth_, usage_, fall_ = smooth.at(prices(trial), temperature)
                if worth_ + room @ trial <= value + 1e-4 * gradient @ (trial - multiplier):
                    break
                step *= 0.5
            else:
                break
            multiplier, worth, usage, fall = trial, worth_, usage_, fall_
    return prices(multiplier) / units


def reach(core: Core, units: Floats, price: Floats, temperature: float) -> Floats:
    """Estimate by how much the priced difference of two actions may be off for prices from a sample, shape (A, A).

    The usual sandwich: usage of a sample errs by its spread between rows, prices answer by the inverse of the dual's
    curvature. Limits that do not bind in the sample may do so elsewhere, hence the floor.
    """
    if not len(units):  # without limits nothing moves
        return np.full((len(core.value), len(core.value)), temperature)
    smooth = _Smooth(core, units)
    _, usage, fall = smooth.at(price * units, temperature)
    chance = np.empty_like(core.value)
    _soft(core.adjusted(price), temperature, chance)
    means = smooth._means(chance, slice(0, len(core.rows)))
    noise = _products(means, means) - np.outer(usage, usage) / len(core.rows)
    live = np.flatnonzero(price)
    spread = np.zeros((len(units), len(units)))
    if len(live):
        curve = fall[np.ix_(live, live)]
        curve[np.diag_indices_from(curve)] += 1e-4 * np.trace(curve) / len(live) + 1e-300
        inverse = np.linalg.inv(curve)
        spread[np.ix_(live, live)] = inverse @ noise[np.ix_(live, live)] @ inverse
    spread[np.diag_indices_from(spread)] += temperature**2
    typical = np.array([u.mean(axis=1) for u in core.usage]).reshape(len(units), -1) / units[:, None]
    step = typical[:, :, None] - typical[:, None, :]
    variance = np.einsum("kab,kl,lab->ab", step, spread, step)
    return np.sqrt(np.maximum(variance, 0.0)) + temperature
