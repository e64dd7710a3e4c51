"""The hot loops as machine code, by numba: one pass over the rows of a large portfolio, and Newton's sums over a sample.

Imported only for portfolios of `_compiled.FROM` rows or more. Every loop does the floating-point operations of its NumPy twin in the same
order (no fused or reordered arithmetic), so that choices and exact sums have the same bits on both ways.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectml.machine_code import machine_code

from ._usage import Floats, Ints

NEGLIGIBLE = 40.0  # exp(-40) of the best action's chance is below the rounding of a sum


@machine_code
def measure(table: NDArray[np.floating]) -> tuple[Floats, Floats, bool, int]:
    """Return the least and the largest entry of each column, whether all are whole, and how many are not finite."""
    n, actions = table.shape
    low, high = np.full(actions, np.inf), np.full(actions, -np.inf)
    whole, wrong = True, 0
    for r in range(n):
        for a in range(actions):
            x = table[r, a]
            low[a] = x if x < low[a] else low[a]
            high[a] = x if x > high[a] else high[a]
            whole &= x == np.rint(x)
            wrong += x - x != 0.0
    return low, high, whole, wrong


@machine_code
def stuck(eligible: NDArray[np.bool_]) -> int:
    """Count the rows without any eligible action."""
    n, actions = eligible.shape
    count = 0
    for r in range(n):
        some = False
        for a in range(actions):
            some |= eligible[r, a]
        count += not some
    return count


@machine_code
def charge(worth: Floats, values: NDArray[np.floating], flat: Floats) -> None:
    """Fill a block with values less what all rows pay alike."""
    for r in range(values.shape[0]):
        for a in range(values.shape[1]):
            worth[r, a] = values[r, a] - flat[a]


@machine_code
def charge_own(worth: Floats, rates: NDArray[np.floating], price: float, support: Ints) -> None:
    """Take off what each row pays for its own usage of one limit."""
    for r in range(rates.shape[0]):
        for a in support:
            worth[r, a] -= rates[r, a] * price


@machine_code
def charge_segment(worth: Floats, table: Floats, codes: Ints) -> None:
    """Take off what each row pays in its segment."""
    for r in range(codes.shape[0]):
        for a in range(table.shape[1]):
            worth[r, a] -= table[codes[r], a]


@machine_code
def choose(
    worth: Floats,
    eligible: NDArray[np.bool_],
    closeness: Floats,
    action: NDArray[np.signedinteger],
    margin: Floats,
    nearness: Floats,
) -> None:
    """Find each row's best action, its lead over the second best and, where asked, over any in units of doubt.

    Without eligibility, and without doubt, the arrays are empty.
    """
    actions = worth.shape[1]
    masked, asked = eligible.size > 0, closeness.size > 0
    for r in range(action.shape[0]):
        if masked:
            for a in range(actions):
                worth[r, a] = worth[r, a] if eligible[r, a] else -np.inf
        top, second, best = -np.inf, -np.inf, 0
        for a in range(actions):
            x = worth[r, a]
            better = x > top
            other = top if better else x
            second = other if other > second else second
            best = a if better else best
            top = x if better else top
        action[r] = best
        margin[r] = top - second
        if asked:
            close = np.inf
            for a in range(actions):
                x = (top - worth[r, a]) * closeness[a, best] if a != best else np.inf
                close = x if x < close else close
            nearness[r] = close


@machine_code
def picked(table: NDArray[np.floating], action: NDArray[np.signedinteger], out: Floats) -> None:
    """Look up each row's entry for its action."""
    for r in range(action.shape[0]):
        out[r] = table[r, action[r]]


@machine_code
def split_sums(x: Floats, sigmas: Floats, parts: Floats) -> None:
    """Add up what each power of two takes off the elements, one after another; each sum is exact."""
    for i in range(x.shape[0]):
        rest = x[i]
        for j in range(sigmas.shape[0]):
            high = (rest + sigmas[j]) - sigmas[j]
            parts[j] += high
            rest -= high


@machine_code
def largest_finite(table: Floats) -> float:
    """Return the largest absolute value that is finite, 1 at least."""
    largest = 1.0
    for r in range(table.shape[0]):
        for i in range(table.shape[1]):
            size = abs(table[r, i])
            largest = size if size > largest and size < np.inf else largest
    return largest


@machine_code
def couple(
    adjusted: Floats,
    starts: Ints,
    sizes: Ints,
    contact: NDArray[np.bool_],
    floor: float,
    closeness: Floats,
    action: Ints,
    margin: Floats,
    nearness: Floats,
) -> None:
    """Find best action, lead and nearness of the rows of customers who get one contact at most; see `_scan.losses`.

    Parameters
    ----------
    adjusted : ndarray, shape (A, m)
    starts, sizes : ndarray of int
    contact : ndarray of bool, shape (A,)
    floor : float
        How much worse than contact it is not to contact a row that can only be contacted.
    closeness : ndarray, shape (A, A)
        Empty where nearness is not asked.
    action, margin, nearness : ndarray, shape (m,)
        To be filled.
    """
    actions, asked = adjusted.shape[0], closeness.size > 0
    largest = sizes.max()
    without, gain = np.empty(largest), np.empty(largest)
    calm, busy = np.empty(largest, np.int64), np.empty(largest, np.int64)
    for c in range(starts.shape[0]):
        begin, size = starts[c], sizes[c]
        top, second, taker = -np.inf, -np.inf, -1
        for i in range(size):
            quiet, loud, calm[i], busy[i] = -np.inf, -np.inf, 0, 0
            for a in range(actions):
                x = adjusted[a, begin + i]
                if contact[a]:
                    if x > loud:
                        loud, busy[i] = x, a
                elif x > quiet:
                    quiet, calm[i] = x, a
            without[i] = quiet if quiet > -np.inf else loud - floor
            gain[i] = loud - without[i]
            if gain[i] > top:
                top, second, taker = gain[i], top, i
            elif gain[i] > second:
                second = gain[i]
        for i in range(size):
            r = begin + i
            best = max(0.0, top)
            others = max(0.0, second) if i == taker else best
            action[r] = busy[i] if i == taker and top > 0 else calm[i]
            least, next_, close = np.inf, np.inf, np.inf
            for a in range(actions):
                loss = without[i] + best - adjusted[a, r] if contact[a] else without[i] + best - others - adjusted[a, r]
                loss = max(loss, 0.0)
                if loss < least:
                    least, next_ = loss, least
                elif loss < next_:
                    next_ = loss
                if asked and a != action[r]:
                    close = min(close, loss * closeness[a, action[r]])
            margin[r] = next_
            nearness[r] = close if asked else next_


@machine_code
def best_pair(
    gain: Floats, step: Floats, row: Ints, owner: Ints, usage: Floats, lower: Floats, upper: Floats
) -> tuple[int, int]:
    """Return the two moves of different rows and customers that gain most together and leave all limits kept; (-1, -1) if none.

    Parameters
    ----------
    gain : ndarray, shape (m,)
    step : ndarray, shape (K, m)
        What each move uses more of each limit.
    row, owner : ndarray of int, shape (m,)
        Whose move it is; the owner is negative for customers with one row.
    usage, lower, upper : ndarray, shape (K,)
    """
    first, second, most = -1, -1, 0.0
    for i in range(gain.shape[0]):
        for j in range(i + 1, gain.shape[0]):
            together = gain[i] + gain[j]
            if together <= most or row[i] == row[j] or (owner[i] == owner[j] and owner[i] >= 0):
                continue
            fits = True
            for k in range(usage.shape[0]):
                after = usage[k] + step[k, i] + step[k, j]
                if after > upper[k] or after < lower[k]:
                    fits = False
                    break
            if fits:
                first, second, most = i, j, together
    return first, second


@machine_code
def soft(
    value: Floats, flat: Floats, own: Floats, own_price: Floats, charged: Floats, temperature: float
) -> tuple[float, Floats, Floats]:
    """Return smoothed worth, expected usage (K,) and its covariance (K, K), summed over rows; shared limits come first.

    Parameters
    ----------
    value : ndarray, shape (m, A)
    flat : ndarray, shape (F, A)
        What all rows use alike.
    own : ndarray, shape (O, m, A)
        What each uses by itself.
    own_price : ndarray, shape (O,)
    charged : ndarray, shape (A,)
        What all rows pay alike.
    temperature : float
    """
    m, actions = value.shape
    shared, single = flat.shape[0], own.shape[0]
    limits = shared + single
    worth, certain, torn = 0.0, np.zeros(actions), np.zeros(actions)
    usage, spread = np.zeros(limits), np.zeros((limits, limits))
    torn_own, second = np.zeros((single, actions)), np.zeros((single, single))
    adjusted, chance, mean = np.empty(actions), np.empty(actions), np.empty(limits)
    sharp = 1.0 / temperature
    for r in range(m):
        for a in range(actions):
            adjusted[a] = value[r, a] - charged[a]
        for j in range(single):
            for a in range(actions):
                adjusted[a] -= own_price[j] * own[j, r, a]
        top, best = -np.inf, 0
        for a in range(actions):
            best = a if adjusted[a] > top else best
            top = adjusted[a] if adjusted[a] > top else top
        total = 0.0
        for a in range(actions):
            x = (adjusted[a] - top) * sharp
            chance[a] = math.exp(x) if x > -NEGLIGIBLE else 0.0
            total += chance[a]
        if total == 1.0:  # no spread
            worth += top
            certain[best] += 1.0
            for j in range(single):
                usage[shared + j] += own[j, r, best]
            continue
        worth += top + temperature * math.log(total)
        mean[:] = 0.0
        for a in range(actions):
            share = chance[a] / total
            if share == 0.0:
                continue
            torn[a] += share
            for k in range(shared):
                mean[k] += share * flat[k, a]
            for j in range(single):
                used = share * own[j, r, a]
                mean[shared + j] += used
                torn_own[j, a] += used
                for i in range(j + 1):
                    second[j, i] += used * own[i, r, a]
        for k in range(limits):
            for i in range(k + 1):
                spread[k, i] -= mean[k] * mean[i]
        for j in range(single):
            usage[shared + j] += mean[shared + j]
    for a in range(actions):
        for k in range(shared):
            usage[k] += (certain[a] + torn[a]) * flat[k, a]
            for i in range(k + 1):
                spread[k, i] += torn[a] * flat[k, a] * flat[i, a]
        for j in range(single):
            for i in range(shared):
                spread[shared + j, i] += torn_own[j, a] * flat[i, a]
    for j in range(single):
        for i in range(j + 1):
            spread[shared + j, shared + i] += second[j, i]
    for k in range(limits):
        for i in range(k):
            spread[i, k] = spread[k, i]
    return worth, usage, spread


@machine_code
def moments(
    preference: NDArray[Any],
    weights: Floats,
    usage: NDArray[np.floating],
    household: NDArray[np.int32],
    rivals: NDArray[np.int32],
    contact: NDArray[np.bool_],
    most: Floats,
) -> tuple[float, float]:
    """Sum what exploration is expected to use of a limit, and its squares; see the twin in `exploration`."""
    first, second = 0.0, 0.0
    for r in range(preference.shape[0]):
        line = r if usage.shape[0] > 1 else 0  # one line where all accounts use alike
        # all actions, and those that are no contact
        whole, mean, square, largest = 0.0, 0.0, 0.0, 0.0
        rest, mean_rest, square_rest = 0.0, 0.0, 0.0
        control = np.float64(usage[line, 0])
        for a in range(weights.shape[0]):
            q = preference[r, a] * weights[a]
            beyond = usage[line, a] - control
            other = 0.0 if contact[a] else q
            whole += q
            mean += q * beyond
            square += q * (beyond * beyond)
            rest += other
            mean_rest += other * beyond
            square_rest += other * (beyond * beyond)
            size = abs(beyond) if q > 0 else 0.0
            largest = size if size > largest else largest
        turn = 1.0 / rivals[r]
        first += turn * mean / whole + (1.0 - turn) * mean_rest / rest
        second += (turn * square / whole + (1.0 - turn) * square_rest / rest) * household[r]
        most[r] = largest
    return first, second
