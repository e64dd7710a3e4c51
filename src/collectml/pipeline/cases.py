"""Cases: accounts picked by a published rule, and for each why its action was taken and not the next best, in money."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.explain import (
    PricedRows,
    approved_dictionary,
    contrast,
    counterfactuals,
    price_rows,
)
from collectml.hashing import stable_hash
from collectml.policy import Assignment, PricedActions
from collectml.policy.exploration import incremental, usage_of
from collectml.strategy import permissions
from collectml.uplift.hurdle import HurdleLearner

from .drivers import account_reasons, recovered_contributions

if TYPE_CHECKING:
    from .strategy_model import StrategyModel

__all__ = ["case_studies", "contrast_of", "decide_at_prices", "pick_cases"]

Floats = NDArray[np.float64]
LEAST_MARGIN = 1e-3  # money: what is closer is no example, and a batch rounds values to 32 bits
A_ACTION = 20  # accounts explained for the mean of an action
MOST_CASES = 10
STEPS = (0.1, 0.25, 0.5, 0.75, 0.9)


def contrast_of(
    model: StrategyModel,
    assignment: Assignment,
    accounts: pd.DataFrame,
    rows: NDArray[np.intp],
    other: NDArray[np.intp],
    language: str = "en",
) -> pd.DataFrame:
    """Take the margin of each account's planned action over another apart.

    Parameters
    ----------
    model : StrategyModel
        What valued the actions.
    assignment : Assignment
        With plan and prices.
    accounts : DataFrame, n rows
        In the assignment's order.
    rows : ndarray of int, shape (m,)
        Which accounts.
    other : ndarray of int, shape (m,)
        Position of the action each is held against.
    language : {"en", "zh-CN"}
        Of the groups' names.

    Returns
    -------
    DataFrame, m accounts × parts
        As :func:`~collectml.explain.contrast`; ``margin`` is worked out from values and usage.
    """
    problem, objective = assignment.problem, model.strategy.objective
    chosen, some, at = assignment.plan.action[rows], accounts.iloc[rows], np.arange(len(rows))
    priced = model.price(some)
    usage = np.column_stack(
        [usage_of(incremental(x), len(problem.ids))[rows] for x in problem.limits] or [np.zeros((len(rows), 0))]
    ).reshape(len(rows), len(problem.limits), -1)
    used = usage[at, :, chosen] - usage[at, :, other]
    prices = assignment.plan.solution.shadow_prices
    one, two = problem.net[rows, chosen], problem.net[rows, other]
    margin = one - two - used @ prices
    kept = np.abs(one) + np.abs(two) + (np.abs(usage[at, :, chosen]) + np.abs(usage[at, :, other])) @ np.abs(prices)

    def differ(frame: pd.DataFrame) -> Floats:
        values = frame.to_numpy(dtype=float)
        return np.asarray(values[at, chosen] - values[at, other], dtype=np.float64)

    position = pd.Index(model.uplift.actions_).get_indexer(pd.Index(problem.strategy.action_names)).astype(np.intp)
    X = some[model.features].set_axis(pd.Index(some["account_id"]), axis="index")
    recovered = recovered_contributions(model.uplift, X, position[chosen], position[other])
    return contrast(
        recovered,
        groups=approved_dictionary().group_names(language),
        value_of_recovered=objective.value_of_recovered,
        cost=differ(priced.cost),
        complaints=differ(priced.complaints) * objective.cost_of_complaint,
        usage=used,
        prices=prices,
        limits=[x.name for x in problem.limits],
        margin=margin,
        rounding=float(np.finfo(np.float32).eps) * kept,
    )


def decide_at_prices(model: StrategyModel, assignment: Assignment) -> Callable[[pd.DataFrame], NDArray[np.object_]]:
    """Give the rule that the prices make of the strategy: an account's best permitted action, row by row.

    Parameters
    ----------
    model : StrategyModel
        What values actions.
    assignment : Assignment
        Whose prices count.

    Returns
    -------
    callable
        From accounts to the names of their actions.
    """
    strategy, prices = assignment.problem.strategy, assignment.plan.solution.shadow_prices
    names = np.array(strategy.action_names, dtype=object)
    unsupported = tuple(a for a in strategy.action_names[1:] if model.logged.get(a, 0) < strategy.min_logged)

    def decide(accounts: pd.DataFrame) -> NDArray[np.object_]:
        rows = accounts.reset_index(drop=True).assign(account_id=np.arange(len(accounts)))
        priced: PricedActions = model.price(rows)
        value = priced.net.to_numpy(dtype=float).copy()
        quantities = {k: f.to_numpy(dtype=float) for k, f in priced.quantities().items()}
        for limit, solved, price in zip(strategy.limits, assignment.problem.limits, prices, strict=True):
            if price:
                column = limit.compile(actions=strategy.actions, quantities=quantities, accounts=rows)
                if column.ratio is not None and solved.ratio is not None:
                    # a few accounts cannot tell how large the groups of the portfolio are
                    column = replace(column, usage=column.ratio.usage(solved.ratio.exchange))
                value -= price * usage_of(incremental(column), len(rows))
        value[~permissions(strategy, rows, unsupported=unsupported).allowed | ~np.isfinite(value)] = -np.inf
        return np.asarray(names[value.argmax(axis=1)], dtype=object)

    return decide


def case_studies(model: StrategyModel, assignment: Assignment, accounts: pd.DataFrame) -> dict[str, object]:
    """Explain accounts picked by rule, and the average account of every action.

    Parameters
    ----------
    model : StrategyModel
        With the hurdle learner; of others there is nothing to tell.
    assignment : Assignment
        What was assigned.
    accounts : DataFrame, n rows
        The accounts, in any order.

    Returns
    -------
    dict
        ``cases`` (list: rule, actions, parts of the margin, reasons, smallest change) and ``by_action`` (list: mean parts of
        each action against its accounts' next best), or ``refused``. No id of an account is in it.

    Notes
    -----
    The rule: of each action the account whose margin is the median of it; the closest call; the largest margin; the largest
    balance. Ties are settled by a hash of the account id, so the pick follows from the data alone.
    """
    if not isinstance(model.uplift.learner_, HurdleLearner):
        return {"refused": "the learner has no shared boosters to explain"}
    accounts = _in_order(assignment, accounts)
    priced = price_rows(assignment)
    usable = assignment.problem.free & np.isfinite(priced.margin) & (priced.margin > LEAST_MARGIN) & (priced.lost <= 0)
    known = np.isin(np.array(assignment.problem.strategy.action_names), model.uplift.actions_)
    usable &= known[assignment.plan.action]
    others = priced.adjusted.copy()
    others[np.arange(len(others)), assignment.plan.action] = -np.inf
    others[:, ~known] = -np.inf
    other = others.argmax(axis=1).astype(np.intp)
    usable &= np.isfinite(others.max(axis=1))
    return {
        "cases": _cases(model, assignment, accounts, priced, usable, other),
        "by_action": _by_action(model, assignment, accounts, usable, other),
    }


def pick_cases(assignment: Assignment, accounts: pd.DataFrame) -> list[tuple[int, str]]:
    """Pick the accounts to show, by the published rule.

    Parameters
    ----------
    assignment : Assignment
        What was assigned.
    accounts : DataFrame, n rows
        The accounts, in any order.

    Returns
    -------
    list of (int, str)
        Position among the assignment's accounts, and why it was picked; at most ten.
    """
    priced = price_rows(assignment)
    usable = assignment.problem.free & np.isfinite(priced.margin) & (priced.margin > 1e-6) & (priced.lost <= 0)
    return _pick(assignment, _in_order(assignment, accounts), priced, usable)


def _in_order(assignment: Assignment, accounts: pd.DataFrame) -> pd.DataFrame:
    return accounts.set_index("account_id", drop=False).loc[assignment.problem.ids].reset_index(drop=True)


def _pick(
    assignment: Assignment, accounts: pd.DataFrame, priced: PricedRows, usable: NDArray[np.bool_]
) -> list[tuple[int, str]]:
    names = assignment.problem.strategy.action_names
    tie = stable_hash(assignment.problem.ids, salt="cases", purpose="tie", cycle=assignment.problem.cycle)
    rows = np.flatnonzero(usable)
    if len(rows) == 0:
        return []
    by_margin = rows[np.lexsort((tie[rows], priced.margin[rows]))]
    picked: dict[int, str] = {}
    for a in range(len(names)):
        mine = by_margin[assignment.plan.action[by_margin] == a]
        if len(mine):
            picked.setdefault(int(mine[len(mine) // 2]), "typical")
    picked.setdefault(int(by_margin[0]), "closest call")
    picked.setdefault(int(by_margin[-1]), "largest margin")
    if "balance" in accounts:
        balance = accounts["balance"].to_numpy(dtype=float)[rows]
        picked.setdefault(int(rows[np.lexsort((tie[rows], -balance))[0]]), "largest balance")
    return list(picked.items())[:MOST_CASES]


def _cases(
    model: StrategyModel,
    assignment: Assignment,
    accounts: pd.DataFrame,
    priced: PricedRows,
    usable: NDArray[np.bool_],
    other: NDArray[np.intp],
) -> list[dict[str, object]]:
    picked = _pick(assignment, accounts, priced, usable)
    if not picked:
        return []
    rows = np.array([i for i, _ in picked], dtype=np.intp)
    names = assignment.problem.strategy.action_names
    parts = contrast_of(model, assignment, accounts, rows, other[rows])
    some = accounts.iloc[rows].reset_index(drop=True)
    candidates, scale = _candidates(model, accounts)
    told = _told(model, assignment, some, rows)
    changed = counterfactuals(some, decide_at_prices(model, assignment), candidates=candidates, scale=scale)
    return [
        {
            "case": k + 1,
            "rule": rule,
            "action": names[assignment.plan.action[i]],
            "other": names[other[i]],
            "margin": float(parts["margin"].iloc[k]),
            "parts": {str(c): float(v) for c, v in parts.iloc[k].drop("margin").items()},
            "reasons": told[k],
            "changed": [{"field": f, "from": _plain(a), "to": _plain(b)} for f, a, b in changed["changes"].iloc[k]],
            "changed_action": changed["other_action"].iloc[k],
        }
        for k, (i, rule) in enumerate(picked)
    ]


def _told(
    model: StrategyModel, assignment: Assignment, accounts: pd.DataFrame, rows: NDArray[np.intp]
) -> list[list[dict[str, object]]]:
    """Give the reasons that may be told of each account's action; of the control there is none."""
    words, strategy = approved_dictionary(), assignment.problem.strategy
    action = pd.Series(np.array(strategy.action_names, dtype=object)[assignment.plan.action[rows]])
    acted = (action != strategy.control).to_numpy()
    X = accounts[model.features].set_axis(np.arange(len(accounts)), axis="index")[acted]
    told = account_reasons(
        model.uplift, X, action[acted], dictionary=words.texts("en"), forbidden=words.forbidden,
        flips=model.evidence.tables.get("flip_rates"),
    )  # fmt: skip
    out: list[list[dict[str, object]]] = [[] for _ in range(len(accounts))]
    for k, reason, direction, weight in told[["account_id", "reason", "direction", "contribution"]].itertuples(index=False):
        out[int(k)].append({"reason": reason, "direction": direction, "contribution": float(weight)})
    return out


def _candidates(model: StrategyModel, accounts: pd.DataFrame) -> tuple[dict[str, list[object]], dict[str, float]]:
    candidates: dict[str, list[object]] = {}
    scale: dict[str, float] = {}
    for field in approved_dictionary().actionable:
        if field not in model.features or field not in accounts:
            continue
        column = accounts[field]
        if pd.api.types.is_bool_dtype(column.dtype):
            candidates[field], scale[field] = [True, False], 1.0
        elif pd.api.types.is_numeric_dtype(column.dtype):
            values = column.astype(float)
            levels = [float(v) for v in np.unique(values.quantile(list(STEPS)).dropna())]
            if pd.api.types.is_integer_dtype(column.dtype):
                levels = sorted({float(round(v)) for v in levels})
            candidates[field], scale[field] = list(levels), float(values.std()) or 1.0
    return candidates, scale


def _by_action(
    model: StrategyModel,
    assignment: Assignment,
    accounts: pd.DataFrame,
    usable: NDArray[np.bool_],
    other: NDArray[np.intp],
) -> list[dict[str, object]]:
    names = assignment.problem.strategy.action_names
    tie = stable_hash(assignment.problem.ids, salt="cases", purpose="tie", cycle=assignment.problem.cycle)
    out: list[dict[str, object]] = []
    for a, name in enumerate(names):
        rows = np.flatnonzero(usable & (assignment.plan.action == a))
        rows = rows[np.argsort(tie[rows], kind="stable")][:A_ACTION]
        if len(rows) == 0:
            continue
        parts = contrast_of(model, assignment, accounts, rows, other[rows])
        against = pd.Series(np.array(names, dtype=object)[other[rows]]).value_counts()
        out.append(
            {
                "action": name,
                "accounts": len(rows),
                "against": str(against.index[0]),
                "parts": {str(c): float(v) for c, v in parts.drop(columns="margin").mean().items()},
                "margin": float(parts["margin"].mean()),
            }
        )
    return out


def _plain(value: object) -> object:
    """Three digits of a number: enough to understand a change, too few to find the account by."""
    value = value.item() if hasattr(value, "item") else value
    value = float(f"{value:.3g}") if isinstance(value, (int, float)) and not isinstance(value, bool) else value
    return int(value) if isinstance(value, float) and value == int(value) else value
