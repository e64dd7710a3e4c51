"""The search: prices, then the rows whose choice is close, then whole numbers, keeping the best assignment and the best bound.

(1) Prices from a sample, by Newton's method on the smoothed dual, or yesterday's. (2) One pass over all rows, then Newton
again over the rows whose choice the error of the sample may change. (3) HiGHS' linear programme over the rows closest to
another choice gives exact prices and leaves one fractional row per limit at most; these are rounded and repaired by
exchanges. (4) A look at the rows that may change at these prices certifies the bound. Where the gap stays above its
target, and on small portfolios always, an integer programme runs over the rows and actions whose loss at the prices is
below the gap: no other can be part of a better assignment.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from collectml.errors import InfeasibleStrategyError

from ._conflict import explain, proof
from ._core import Core, core_of, near
from ._instance import Instance
from ._newton import newton, reach
from ._repair import Exchange
from ._scan import Scan, rescan, scan
from ._settle import Program, Settled
from ._usage import Floats, Ints, excess

SMALL = 5_000  # eligible pairs up to which the integer optimum is sought whatever the gap
WHOLE = 400  # rows up to which the linear programme takes all
SAMPLES = (4_000, 30_000)
NEAR = 1_500  # rows settled by the linear programme at first
GRACE = 60.0  # seconds beyond the deadline for a first assignment
ROWS = 20_000  # that Newton begins with
FOLLOWED = 4_000  # rows for Newton where prices follow on from those of a similar problem
FEW = 300  # and for the linear programme
ROUNDS = 6  # of Newton over the rows closest to another choice
SECONDS = 10.0  # the brake on each question of which limits conflict, once there is no assignment
DOUBT = 1.5  # standard errors of prices from a sample within which a row's choice may change
OPEN = 2_000  # pairs an integer programme may be asked to decide
FIRST = 20_000  # pairs of the rows it is made of, all of them open where there is no assignment yet
NODES = 50_000  # that it may search, over its pairs: work ends it and not the clock, so that the same inputs give the same answer
PATIENCE = 60.0  # seconds, the brake where a plan must not depend on the clock
ACCOUNTS_A_SECOND = 20_000  # and a fiftieth of an idle machine's pace for large portfolios


def patience(accounts: int) -> float:
    """Return the seconds after which a search that should end by its work is stopped all the same."""
    return max(PATIENCE, accounts / ACCOUNTS_A_SECOND)


class Search:
    """The best assignment and the best bound so far, and the steps that improve them.

    Parameters
    ----------
    instance : Instance
    gap : float
        Target of the relative gap.
    deadline : float
        By `time.monotonic`.
    start : ndarray, shape (K,), optional
        Prices to start from.
    """

    def __init__(self, instance: Instance, gap: float, deadline: float, start: Floats | None = None) -> None:
        self.instance, self.target, self.deadline = instance, gap, deadline
        self.found = False
        self.value = -np.inf
        self.edge = 1e-11 * np.maximum(1.0, np.maximum(_size(instance.lower), _size(instance.upper)))
        n, actions, limits = instance.shape
        self.small = n * actions <= SMALL
        self.reach: Floats | None = None
        self.warm = start is not None and n > WHOLE
        price = np.zeros(limits) if start is None else start
        if start is None and n > WHOLE:
            price = self.sampled_price(price)
        self.best: Scan = scan(instance, price, self.reach)
        if self.warm and self.imbalance() > NEAR:  # yesterday's prices are not close enough to today's
            self.warm = False
            self.certify(self.sampled_price(price), self.reach)
        self.impossible = False  # whether even fractions of actions cannot hold the limits
        self.refuted = False  # whether an integer programme over everything has no solution

    @property
    def left(self) -> float:
        """Seconds left; a first assignment gets more, for where machine code must be compiled before it can run."""
        return self.deadline + (0.0 if self.found else GRACE) - time.monotonic()

    @property
    def gap(self) -> float:
        """The certified relative gap; infinite without an assignment."""
        return max(0.0, self.best.bound - self.value) / max(1.0, abs(self.value)) if self.found else np.inf

    @property
    def slack(self) -> float:
        """The money the target leaves open."""
        return 0.1 * self.target * max(1.0, abs(self.best.bound))

    def run(self) -> bool:
        """Search until the target is met or the optimum proven, which it returns, or the time is up, `found` or not."""
        goal = min(self.target, 1e-12) if self.small else self.target
        self.approach()
        if not self.found and not self.impossible:
            # many rows in a tie leave the prices nothing to choose by: give each a preference too small to matter,
            # and try again
            typical = float(np.abs(self.best.bound)) / len(self.instance.values)
            other = Search(self.instance.perturbed(1e-8 * typical or 1.0), self.target, self.deadline)
            other.approach()
            if other.found:
                self.offer(other.action)
        proven = not self.impossible and self.prove(goal)
        return proven or self.gap <= self.target

    def approach(self) -> None:
        """Find prices, and the assignment they lead to."""
        n = len(self.instance.values)
        self.offer(self.best.action[:0], np.zeros(0, dtype=np.intp))
        if self.warm and self.gap > self.target:
            self.sharpen(FOLLOWED, FEW)
            self.settle(FEW)
        if self.gap > (self.target if self.warm else 0.0):
            if n > WHOLE:
                self.sharpen(ROWS, NEAR)
            self.settle(n if n <= WHOLE else NEAR)

    def sampled_price(self, price: Floats) -> Floats:
        """Find prices from samples of growing size, the limits scaled to their share, starting somewhere; and their `reach`."""
        instance = self.instance
        n = len(instance.values)
        for i, size in enumerate(SAMPLES):
            rows = instance.draw(size)
            core = core_of(instance, rows, share=len(rows) / n)
            scale = median_loss(core, price)
            heat = (1.0, 0.3, 0.1, 0.03) if i == 0 else (0.05, 0.01)
            price = newton(core, instance.units, price, [scale * x for x in heat])
            if len(rows) == n:
                break
        self.reach = reach(core, instance.units, price, 0.05 * scale)
        return price

    def sharpen(self, first: int, few: int) -> None:
        """Find prices from the rows whose choice is closest, the others fixed, until a linear programme over few can do the rest.

        It begins with `first` rows, or with more where prices are far off.
        Where the bound did not fall, the rows that stayed fixed were wanted too: more of them next time.
        """
        instance = self.instance
        n = len(instance.values)
        doubtful = 0 if self.reach is None else int(np.count_nonzero(self.best.nearness <= DOUBT))
        size = min(max(first, int(100 * self.imbalance()), doubtful), n // 2)
        for _ in range(ROUNDS):
            core = near(instance, self.best, size)
            scale = float(np.median(self.best.margin[core.rows]))
            if scale <= 0.0 or self.left <= 0:
                return  # ties only: for the linear programme, which counts them by type
            before = self.best.bound
            self.certify(newton(core, instance.units, self.best.price, [scale * x for x in (0.1, 0.01)]), self.reach)
            fell = self.best.bound < before
            if size >= n or (fell and self.imbalance() <= few / 10):
                return
            size = min(size if fell else 4 * size, n)

    def imbalance(self) -> float:
        """Count the rows that would have to change for limits to hold, and those with a price to be used up."""
        instance, at = self.instance, self.best
        over = excess(at.usage, instance.lower, instance.upper)
        idle = np.where(at.price > 0, instance.upper - at.usage, np.where(at.price < 0, at.usage - instance.lower, 0.0))
        return float((np.maximum(over, idle) / instance.units).max())

    def settle(self, size: int, largest: int = 16 * NEAR) -> None:
        """Settle the rows closest to a tie, more of them each time, until the gap is met."""
        instance = self.instance
        n, actions, _ = instance.shape
        while self.left > 0:
            before = self.best.bound
            core = near(instance, self.best, size)
            loss, _ = core.loss(self.best.price)
            allowed = np.isfinite(loss)
            if size < n and actions > 3:
                allowed &= loss <= np.partition(loss, 2, axis=0)[2]
            program = Program(core, allowed, instance.units, self.stake(loss))
            if size < n and len(program.types.first) > 4 * size:
                return  # ties all over that are not of a kind
            settled = program.relaxed(self.left)
            if settled.price is not None:
                self.certify(settled.price)
                self.round(core, settled)
                # where the bound no longer falls, what is left is a matter of whole numbers
                if self.gap <= self.target or (self.found and before - self.best.bound <= self.slack):
                    return
            elif settled.proven and (size >= n or (size > NEAR and proof(instance, self.left) is not None)):
                self.impossible = True
            if size >= min(n, largest) or self.impossible:
                return
            size = min(n, size * (2 if settled.price is not None else 4))

    def certify(self, price: Floats, reach: Floats | None = None) -> None:
        """Keep these prices if their bound is lower."""
        at = rescan(self.instance, self.best, price, reach)
        if at.bound < self.best.bound:
            self.best = at

    def round(self, core: Core, settled: Settled) -> None:
        """Make a rounded solution hold every limit and offer it."""
        if settled.action is None or settled.price is None:
            return
        exchange = Exchange(core, settled.action, settled.price, self.instance.units)
        if exchange.repair():
            self.offer(exchange.action, core.rows)
            if self.small or self.gap > 0.5 * self.target:
                exchange.improve()
                self.offer(exchange.action, core.rows)

    def offer(self, action: NDArray[np.integer], rows: Ints | None = None) -> None:
        """Keep an assignment, whole or of some rows with the others at their best, if it holds every limit and is worth more."""
        instance, at = self.instance, self.best
        if rows is None:
            value, usage = instance.worth(action), instance.usage(action)
        else:
            changed = np.flatnonzero(at.action[rows] != action)
            rows, action = rows[changed], action[changed]
            value, usage = instance.after(at.value, at.usage, at.action, rows, action)
        if (excess(usage, instance.lower, instance.upper) > self.edge).any() or (self.found and value <= self.value):
            return
        if rows is not None:
            whole = at.action.copy()
            whole[rows] = action
            action = whole
        self.found, self.action, self.value = True, action, value

    def stake(self, loss: Floats) -> float:
        """Return the money that matters in a programme: a hundredth of a typical loss."""
        some = loss[np.isfinite(loss) & (loss > 0)]
        return float(np.median(some)) / 100.0 if len(some) else 1.0

    def prove(self, goal: float) -> bool:
        """Solve integer programmes over what the gap leaves open; say whether the goal is met or the optimum proven.

        A better assignment differs from each row's best action at the prices only where the loss is below bound -
        value. Each programme may raise the value and so narrows the next.
        """
        for part in (1 / 64, 1 / 16, 1 / 4) if self.found else ():
            if self.gap > goal:
                self.open_up(part * (self.best.bound - self.value), goal)
        return self.gap <= goal or self.open_up(self.best.bound - self.value if self.found else np.inf, 0.0)

    def open_up(self, window: float, goal: float) -> bool:
        """Solve the integer programme over rows and actions with losses within a window; say whether it ran to its end."""
        instance = self.instance
        if np.isfinite(window):
            window += 1e-9 * max(self.best.bound - self.value, 1e-6 * abs(self.value), 1e-9)
        rows = instance.whole_customers(self.best.margin <= window)
        if self.left <= 0 or len(rows) * instance.shape[1] > FIRST:
            return False
        if not len(rows):
            return True
        core = core_of(instance, rows, self.best)
        loss, _ = core.loss(self.best.price)
        allowed = np.isfinite(loss) & (loss <= window)
        pairs = int(np.count_nonzero(allowed))
        if self.found and pairs > OPEN:
            return False
        program = Program(core, allowed, instance.units, self.stake(loss[allowed]))
        gap = 0.0
        if goal and self.found and (lost := program.lost(self.action[rows].astype(np.intp))) > 0:
            gap = 0.25 * goal * max(1.0, abs(self.value)) / (program.stake * lost)
        found = program.integral(self.left, max(NODES // pairs, 20), gap)
        if found.action is not None:
            self.offer(found.action, core.rows)
        elif not self.found:
            self.refuted = found.proven
        return found.proven

    def failure(self) -> InfeasibleStrategyError:
        """Say which limits cannot hold together, or that no assignment was found in time."""
        instance = self.instance

        def impossible(part: Instance) -> bool:
            if proof(part, SECONDS) is not None:
                return True
            if not self.refuted:
                return False
            core = core_of(part, part.whole_customers(np.ones(len(part.values), dtype=bool)))
            found = Program(core, np.isfinite(core.value), part.units, 1.0).integral(SECONDS, NODES)
            return found.proven and found.action is None

        error = explain(instance, impossible)
        if error is not None:
            return error
        return InfeasibleStrategyError(
            "no assignment within all limits was found in the time allowed, nor a proof that there is none; "
            "loosen a limit or allow more time",
            instance.names,
        )


def _size(bounds: Floats) -> Floats:
    """Return absolute values, zero for infinite ones."""
    return np.where(np.isfinite(bounds), np.abs(bounds), 0.0)


def median_loss(core: Core, price: Floats) -> float:
    """Return the typical money between a row's best and second best action."""
    if len(core.value) == 1:
        return 1.0
    margin = np.partition(core.loss(price)[0], 1, axis=0)[1]
    margin = margin[np.isfinite(margin) & (margin > 0)]
    return float(np.median(margin)) if len(margin) else 1.0
