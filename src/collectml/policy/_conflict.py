"""Why no assignment exists: a smallest set of limits that cannot hold together, proven on all rows."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from collectml.errors import InfeasibleStrategyError

from ._core import core_of, near
from ._instance import Instance
from ._scan import scan
from ._settle import Program
from ._usage import Floats

SAMPLE = 2000
ROUNDS = 6
SECONDS = 10.0  # the brake on each question of how much a limit must give


def proof(instance: Instance, seconds: float, only: int | None = None) -> Floats | None:
    """Return prices (K,) that show the limits cannot hold together, or None where none were found.

    With no value at stake the dual bounds the worth of any assignment, which is zero: a negative bound leaves none
    (Farkas). The prices come from a linear programme over a sample, then over the rows closest to a tie; the bound
    counts all rows. With `only`, they show by how much that limit must give while the others hold.
    """
    bare = instance.without_values()
    limit = time.monotonic() + seconds
    rows = bare.whole_customers(np.ones(len(bare.values), dtype=bool)) if len(bare.values) <= SAMPLE else bare.draw(SAMPLE)
    core = core_of(bare, rows, share=len(rows) / len(bare.values))
    for _ in range(ROUNDS):
        price = Program(core, np.isfinite(core.value), bare.units, 1.0).shortfall(limit - time.monotonic(), only)
        if price is None or not price.any():
            return None
        at = scan(bare, price)
        if at.bound < 0.0:
            return price
        if len(rows) == len(bare.values) or time.monotonic() > limit:
            return None
        core = near(bare, at, SAMPLE)
    return None


def explain(instance: Instance, impossible: Callable[[Instance], bool]) -> InfeasibleStrategyError | None:
    """Find a smallest set of limits that cannot hold together, by leaving out one after the other.

    What stays impossible without a limit does not need it.

    Parameters
    ----------
    instance : Instance
    impossible : callable
        Whether limits provably cannot hold; see `proof`.
    """
    crossed = np.flatnonzero(instance.lower > instance.upper)
    if len(crossed):
        names = tuple(instance.names[k] for k in crossed)
        gives = {instance.names[k]: float(instance.lower[k] - instance.upper[k]) for k in crossed}
        listed = ", ".join(f"{name} (by {_amount(gives[name])})" for name in names)
        return InfeasibleStrategyError(f"lower limits lie above upper limits: {listed}", names, gives)
    alone = [k for k in _bounded(instance) if not _attainable(instance, k)]
    kept = alone[:1]
    if not kept:
        kept = _bounded(instance)
        if not impossible(instance):
            return None
        for k in list(kept):
            rest = [x for x in kept if x != k]
            if rest and impossible(instance.under(rest)):
                kept = rest
    names = tuple(instance.names[k] for k in kept)
    if len(kept) == 1 and alone:
        low, high = least(instance, kept[0])
        give = max(low - float(instance.upper[kept[0]]), float(instance.lower[kept[0]]) - high)
        return InfeasibleStrategyError(
            f"{names[0]} cannot hold: assignments use between {low:.6g} and {high:.6g} of it, "
            f"allowed is {_range(float(instance.lower[kept[0]]), float(instance.upper[kept[0]]))}; "
            f"it must give by {_amount(give)}",
            names,
            {names[0]: give},
        )
    listed = ", ".join(f"{instance.names[k]} ({_range(instance.lower[k], instance.upper[k])})" for k in kept)
    gives = {instance.names[k]: give for k in kept if (give := least_give(instance.under(kept), k)) > 0}
    ways = " or ".join(f"{name} by {_amount(give)}" for name, give in gives.items())
    advice = f"if the others stay, one must give at least: {ways}" if ways else "loosen one of them"
    return InfeasibleStrategyError(f"no assignment satisfies these limits together: {listed}; {advice}", names, gives)


def least_give(instance: Instance, k: int) -> float:
    """Return by how much a limit must give at least, while the others in force hold; zero where that is not known.

    At the prices of a proof the dual without any value at stake is negative. Each unit that the limit gives adds its
    price, and no assignment exists before the dual is zero again.
    """
    price = proof(instance, SECONDS, k)
    if price is None or not price[k]:
        return 0.0
    give = -scan(instance.without_values(), price).bound / abs(float(price[k]))
    if instance.columns[k].whole:
        return float(np.ceil(give - 1e-9 * max(1.0, give)))
    bound = float(instance.upper[k] if price[k] > 0 else instance.lower[k])
    return give + 2e-9 * max(1.0, abs(bound))  # with the tolerance of limits on the side of enough


def least(instance: Instance, k: int) -> tuple[float, float]:
    """Return the least and the most that any assignment can use of a limit."""
    bare = instance.without_values().under([])
    price = np.zeros(len(instance.columns))
    price[k] = 1.0
    low, high = scan(bare, price).usage[k], scan(bare, -price).usage[k]
    return float(low), float(high)


def _attainable(instance: Instance, k: int) -> bool:
    """Return whether some assignment, of all that ignore the other limits, can hold this one."""
    low, high = least(instance, k)
    return low <= instance.upper[k] and high >= instance.lower[k]


def _bounded(instance: Instance) -> list[int]:
    """Return the limits with a finite bound."""
    return [int(k) for k in np.flatnonzero(np.isfinite(instance.lower) | np.isfinite(instance.upper))]


def _amount(give: float) -> str:
    """Write an amount for people, rounded up: what is said must be enough."""
    digits = 10.0 ** (np.floor(np.log10(give)) - 5) if give > 0 else 1.0
    return f"{np.ceil(give / digits * (1 - 1e-7)) * digits:.6g}"


def _range(lower: float, upper: float) -> str:
    """Write bounds for people."""
    if not np.isfinite(lower):
        return f"at most {upper:.6g}"
    return f"at least {lower:.6g}" if not np.isfinite(upper) else f"{lower:.6g} to {upper:.6g}"
