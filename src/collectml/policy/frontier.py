"""What if a limit were tighter or looser: the value, the usage and the price at each bound, and who would be treated differently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.errors import ConfigurationError
from collectml.strategy.reading import nearest

from ._instance import Instance
from ._read import read
from .exploration import incremental
from .plan import Plan
from .problem import AssignmentProblem
from .solver import AssignmentSolution
from .sweep import solve_along

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Frontier", "program_of", "trace"]

Floats = NDArray[np.float64]

# Okabe and Ito's palette: told apart in every common form of colour blindness
_BLUE, _VERMILION, _GREY = "#0072B2", "#D55E00", "#666666"
_ONE_MORE = {"minutes": ("agent hour", 60.0), "items": ("item", 1.0), "accounts": ("account", 1.0)}
_ONE_MORE["complaints"] = ("expected complaint", 1.0)


@dataclass(frozen=True)
class Frontier:
    """The portfolio's value along the upper bound of one limit.

    Attributes
    ----------
    limit, unit, currency : str
        What was swept, what its usage is measured in, and the money of the values.
    limits : tuple of str, length K
        Names of all limits.
    ids : Index, length n
        Account ids.
    actions : tuple of str
        Names of the actions.
    upper : ndarray, shape (P,)
        The bounds, rising.
    value, bound : ndarray, shape (P,)
        Expected net value of the portfolio, and what no assignment could exceed; missing where the limits cannot hold.
    used, price : ndarray, shape (P, K)
        Expected usage and shadow price of every limit.
    planned : ndarray of int, shape (P, n)
        The plan's action of every account; -1 where the limits cannot hold.
    current : int or None
        Position of the bound in force; None where it lies outside the range.

    See Also
    --------
    collectml.policy.Assignment.frontier : Makes one.
    """

    limit: str
    unit: str
    currency: str
    limits: tuple[str, ...]
    ids: pd.Index
    actions: tuple[str, ...]
    upper: Floats
    value: Floats
    bound: Floats
    used: Floats
    price: Floats
    planned: NDArray[np.integer]
    current: int | None

    @property
    def _swept(self) -> int:
        return self.limits.index(self.limit)

    def frame(self) -> pd.DataFrame:
        """Return one row per bound.

        Returns
        -------
        DataFrame
            ``upper`` (in ``unit``, for the whole portfolio); ``value`` (expected net money), ``bound`` and ``gap`` (no
            assignment is worth more than the bound; relative); ``used`` of the limit, expected; ``shadow_price``, money per
            unit; ``binding``, the limits with a price; ``changed``, accounts whose action differs from the bound before;
            ``current``, whether this bound is in force. Values are missing where the limits cannot hold together.
        """
        k = self._swept
        known = np.isfinite(self.value)
        changed = np.zeros(len(self.upper), dtype=float)
        changed[1:] = (self.planned[1:] != self.planned[:-1]).sum(axis=1)
        changed[~known | ~np.r_[False, known[:-1]]] = np.nan
        binding = [", ".join(n for n, p in zip(self.limits, row, strict=True) if p and np.isfinite(p)) for row in self.price]
        return pd.DataFrame(
            {
                "limit": self.limit,
                "unit": self.unit,
                "upper": self.upper,
                "value": self.value,
                "bound": self.bound,
                "gap": (self.bound - self.value) / np.maximum(1.0, np.abs(self.value)),
                "used": self.used[:, k],
                "shadow_price": self.price[:, k],
                "binding": pd.Series(binding, dtype="str"),
                "changed": pd.Series(changed).astype("Int64"),
                "current": np.arange(len(self.upper)) == (-1 if self.current is None else self.current),
            }
        )

    def changes(self, *, accounts: bool = False) -> pd.DataFrame:
        """Say who is treated differently from one bound to the next.

        Parameters
        ----------
        accounts : bool, default False
            Name the accounts, a row each, instead of counting them.

        Returns
        -------
        DataFrame
            ``upper_from, upper_to, action_from, action_to``, and ``accounts`` (how many) or ``account_id``.
        """
        names = np.array(self.actions, dtype=object)
        parts = []
        for i in range(1, len(self.upper)):
            before, after = self.planned[i - 1], self.planned[i]
            moved = np.flatnonzero((before != after) & (before >= 0) & (after >= 0))
            part = pd.DataFrame(
                {
                    "upper_from": self.upper[i - 1],
                    "upper_to": self.upper[i],
                    "action_from": pd.Series(names[before[moved]], dtype="str"),
                    "action_to": pd.Series(names[after[moved]], dtype="str"),
                    "account_id": self.ids[moved],
                }
            )
            parts.append(part)
        table = pd.concat(parts, ignore_index=True)
        if accounts:
            return table
        keys = ["upper_from", "upper_to", "action_from", "action_to"]
        return table.groupby(keys, sort=False)["account_id"].size().rename("accounts").reset_index()

    def sentence(self) -> str:
        """Say what one more unit is worth, at the bound in force (else at the first that is possible).

        Returns
        -------
        str
        """
        possible = np.flatnonzero(np.isfinite(self.value))
        at = int(possible[0]) if self.current is None else self.current
        thing, size = _ONE_MORE.get(self.unit, (self.unit, 1.0))
        if self.unit == "money":
            thing = self.currency
        price, unit = self.price[at, self._swept] * size, self.currency if self.unit == "money" else self.unit
        where = f"{self.limit}, at {self.upper[at]:,.6g} {unit}"
        if price <= 0:
            return f"{where}: not scarce, one more {thing} is worth nothing"
        return f"{where}: one more {thing} is worth {price:,.2f} {self.currency}"

    def plot(self) -> Figure:
        """Draw value and shadow price along the limit, with the bound in force.

        Returns
        -------
        matplotlib.figure.Figure
            The numbers are those of :meth:`frame`.
        """
        from matplotlib.figure import Figure  # heavy, and most frontiers are only read

        unit = self.currency if self.unit == "money" else self.unit
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot(self.upper, self.value, "-o", color=_BLUE, markersize=3)
        left.set_ylabel(f"expected net value ({self.currency})")
        right.step(self.upper, self.price[:, self._swept], "-", where="mid", color=_VERMILION)
        right.set_ylabel(f"one more is worth ({self.currency} per {unit})")
        right.set_ylim(bottom=0)
        for ax in (left, right):
            if self.current is not None:
                ax.axvline(self.upper[self.current], color=_GREY, linewidth=0.8, linestyle="--", label="in force")
                ax.legend(frameon=False)
            ax.set_xlabel(f"{self.limit} ({unit})".replace("$", r"\$"))
            ax.spines[["top", "right"]].set_visible(False)
            ax.ticklabel_format(axis="both", style="plain", useOffset=False)
            ax.tick_params(axis="x", labelrotation=30)
        return figure

    def to_svg(self) -> str:
        """Draw :meth:`plot` as SVG; the same numbers give the same bytes.

        Returns
        -------
        str
        """
        import io

        from matplotlib import style

        sink = io.StringIO()
        settings = {"svg.fonttype": "none", "font.family": "sans-serif", "svg.hashsalt": "frontier"}
        with style.context(["default", settings]):
            self.plot().savefig(sink, format="svg", metadata={"Date": None, "Creator": None})
        return sink.getvalue()


def trace(
    problem: AssignmentProblem,
    plan: Plan,
    limit: str | None = None,
    *,
    points: int = 50,
    low: float | None = None,
    high: float | None = None,
) -> Frontier:
    """Solve the plan again at a grid of upper bounds of one limit.

    Parameters
    ----------
    problem : AssignmentProblem
        What was solved.
    plan : Plan
        The plan in force.
    limit : str, optional
        Name of a limit with an upper bound; the one with most money at stake (price times bound) by default.
    points : int, default 50
        How many bounds.
    low, high : float, optional
        First and last bound, in the limit's unit for the whole portfolio (see :meth:`~collectml.policy.Assignment.limits`);
        half of what is used now and one and a half times the bound in force by default.

    Returns
    -------
    Frontier

    Raises
    ------
    ConfigurationError
        Where there is no such limit, it has no upper bound, or the range is empty.
    InfeasibleStrategyError
        Where not even the last bound is possible.

    Notes
    -----
    Hold-out, exploration and the margins for chance stay as they are: a unit more of the limit is ``1 / keep`` units more
    for the plan, of which the share ``keep`` is carried out, so that the plan's shadow price is that of the limit itself.
    """
    k = _position(problem, plan, limit)
    chosen = problem.limits[k]
    grid, current = _grid(chosen.name, chosen.upper, float(plan.expected[k]), points, low, high)
    if not problem.free.any():
        raise ConfigurationError(
            "no account is decided: all are commitments or mandatory notices, so no limit can be varied"
        )
    keep = (1 - problem.strategy.holdout.share) * (1 - problem.strategy.exploration.share)
    program, gap = program_of(problem, plan)
    bounds = plan.upper[k] + (grid - chosen.upper) / keep
    known = {} if current is None else {current: plan.solution}
    solved = solve_along(program, k, bounds.tolist(), gap, known)
    return _gathered(problem, plan, k, grid, current, solved, keep)


def program_of(problem: AssignmentProblem, plan: Plan) -> tuple[Instance, float]:
    """Read the problem that a plan solved once more, to solve it at other bounds.

    Parameters
    ----------
    problem : AssignmentProblem
        With accounts that are free to be decided.
    plan : Plan
        The plan.

    Returns
    -------
    instance, gap
        The problem, and the relative gap to aim for.
    """
    strategy, free = problem.strategy, problem.free
    beyond = [incremental(x) for x in problem.limits]
    codes = problem.customer_code[free]
    shared = strategy.one_contact_per_customer and len(np.unique(codes)) < len(codes)
    program = read(
        problem.net[free],
        usage=[x.usage if x.usage.ndim == 1 else x.usage[free] for x in beyond],
        upper=plan.upper,
        lower=plan.lower,
        eligible=problem.eligible[free],
        customer=codes if shared else None,
        contact=strategy.contact_mask if shared else None,
        tie_key=problem.tie[free],
        names=[x.name for x in problem.limits],
    )
    # on small portfolios whole accounts leave more than the dual can close
    return program, max(1e-6, 0.1 / int(free.sum()))


def _position(problem: AssignmentProblem, plan: Plan, limit: str | None) -> int:
    names = [x.name for x in problem.limits]
    bounded = [k for k, x in enumerate(problem.limits) if np.isfinite(x.upper)]
    if not bounded:
        raise ConfigurationError(f"strategy {problem.strategy.name!r} has no limit with an upper bound")
    if limit is not None:
        if limit not in names:
            raise ConfigurationError(f"{limit!r} is no limit of strategy {problem.strategy.name!r}{nearest(limit, names)}")
        if names.index(limit) not in bounded:
            raise ConfigurationError(f"limit {limit!r} has no upper bound that could be varied")
        return names.index(limit)
    prices = plan.solution.shadow_prices
    return max(bounded, key=lambda k: prices[k] * problem.limits[k].upper)


def _grid(
    name: str, upper: float, used: float, points: int, low: float | None, high: float | None
) -> tuple[Floats, int | None]:
    """Space the bounds evenly; the one nearest to the bound in force is put on it."""
    if points < 2:
        raise ConfigurationError(f"a frontier needs at least 2 points, not {points}")
    first = 0.5 * min(upper, max(used, 0.0)) if low is None else low
    last = 1.5 * upper if high is None else high
    if not (0 <= first < last < np.inf):
        raise ConfigurationError(
            f"limit {name!r}: bounds must rise from at least 0; from {first:,.6g} to {last:,.6g} they do not"
        )
    grid = np.linspace(first, last, points)
    if not first <= upper <= last:
        return grid, None
    current = int(np.abs(grid - upper).argmin())
    grid[current] = upper
    return grid, current


def _gathered(
    problem: AssignmentProblem,
    plan: Plan,
    k: int,
    grid: Floats,
    current: int | None,
    solved: list[AssignmentSolution | None],
    keep: float,
) -> Frontier:
    """Turn the plan's solutions into what the portfolio is expected to bring: plan, exploration, hold-out, fixed accounts."""
    strategy, free = problem.strategy, problem.free
    h, e = strategy.holdout.share, strategy.exploration.share
    held = np.flatnonzero(~free)
    steady = float(problem.net[held, problem.fixed[held]].sum()) + h * float(problem.net[free, 0].sum())
    if e > 0:
        steady += (1 - h) * e * float(np.einsum("ia,ia->", problem.exploration[free], problem.net[free]))
    elsewhere = plan.expected - keep * plan.solution.usage
    count, limits = len(grid), len(problem.limits)
    value, bound = np.full(count, np.nan), np.full(count, np.nan)
    used, price = np.full((count, limits), np.nan), np.full((count, limits), np.nan)
    kind = np.int8 if len(strategy.actions) <= 127 else np.int16
    planned = np.full((count, len(problem.ids)), -1, dtype=kind)
    for i, point in enumerate(solved):
        if point is None:
            continue
        value[i], bound[i] = steady + keep * point.value, steady + keep * point.upper_bound
        used[i], price[i] = elsewhere + keep * point.usage, point.shadow_prices
        planned[i] = problem.fixed
        planned[i, free] = point.action
    chosen = problem.limits[k]
    names = tuple(x.name for x in problem.limits)
    return Frontier(
        chosen.name, chosen.unit, strategy.currency, names, problem.ids, strategy.action_names, grid, value, bound, used,
        price, planned, current,
    )  # fmt: skip
