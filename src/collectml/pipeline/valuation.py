"""What the policy is worth on customers the models have not seen, against what was done, nothing, and one action for all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from collectml.data import DecisionLog
from collectml.evaluation import constant_policy, evaluate_policy
from collectml.evaluation._decisions import as_accounts, net_outcome
from collectml.policy import Assignment, PricedActions, TreatmentPolicy

from .strategy_model import StrategyModel

__all__ = ["PlanOnLog", "arms_of", "plan_on", "value_on"]

ESTIMATORS = ("dr", "snips", "ips")
FEW_ACTIONS = 4


def value_on(
    held_out: DecisionLog,
    model: StrategyModel,
    *,
    accounts: pd.DataFrame | None,
    truth: pd.DataFrame | None,
    portfolio_rows: int,
    champion: StrategyModel | None = None,
) -> tuple[dict[str, pd.DataFrame], dict[str, object]]:
    """Assign the held-out decisions under the limits of their share, and value the plan off-policy.

    Parameters
    ----------
    held_out : DecisionLog
        Decisions of customers not trained on.
    model : StrategyModel
        Trained on the others.
    accounts : DataFrame, optional
        Fields for the conditions, by ``account_id``.
    truth : DataFrame, accounts × actions, optional
        Expected recovered money of every action.
    portfolio_rows : int
        Decisions the limits were written for; those of the whole portfolio are scaled by the share held out.
    champion : StrategyModel, optional
        The model in use: its plan for the same decisions, under limits scaled alike, is one of the comparisons. Customers it
        was trained on may be among them, which is in its favour.

    Returns
    -------
    tables, facts
        Parts of :class:`~collectml.pipeline.Evidence`.
    """
    strategy = model.strategy
    plan = plan_on(held_out, model, accounts=accounts, portfolio_rows=portfolio_rows)
    priced, assignment, policy = plan.priced, plan.assignment, plan.policy
    tables = {
        "assignment": assignment.by_action().reset_index(names="action"),
        "limits": assignment.limits(),
        "conditions": assignment.problem.permissions.frame(),
        "effects": _mean_effects(priced, strategy.control),
    }
    facts: dict[str, object] = {
        "assignment": {
            "gap": float(assignment.plan.solution.gap),
            "status": assignment.plan.solution.status,
            "value": float(assignment.plan.solution.value),
            "upper_bound": float(assignment.plan.solution.upper_bound),
        },
        "prices": {
            "as_of": f"{held_out.decided_at.max():%Y-%m-%d}",
            "by_limit": {str(k): float(v) for k, v in assignment.shadow_prices.items()},
            # what turns rates into sums needs the sizes of groups, which accounts seen one by one cannot tell
            "exchange": {x.name: x.ratio.exchange for x in assignment.problem.limits if x.ratio is not None},
        },
    }
    if held_out.logging_propensity is None:
        facts["policy_value"] = {"refused": "the log holds no logging propensities"}
        return tables, facts
    net, predicted = net_outcome(held_out, priced, strategy), priced.net.set_axis(held_out.X.index)[list(held_out.actions)]
    best = _best_single_action(held_out, net, strategy.control)
    baselines: dict[str, pd.DataFrame | Literal["logged"]] = {
        "today's policy (as logged)": "logged",
        f"{strategy.control} for all": constant_policy(held_out, strategy.control),
        f"best single action ({best}) for all": constant_policy(held_out, best),
        "actions at random": _at_random(policy, predicted),
    }
    if champion is not None:
        theirs = plan_on(held_out, champion, accounts=accounts, portfolio_rows=portfolio_rows)
        baselines["the champion"] = theirs.policy
    if len(held_out.actions) <= FEW_ACTIONS:  # a trial of a few arms: the policy against each of them
        others = (a for a in held_out.actions if a not in {strategy.control, best})
        baselines |= {f"{a} for all": constant_policy(held_out, a) for a in others}
    tables["policy_value"] = _values(
        held_out, policy, baselines, net, predicted, truth, priced, strategy.objective.value_of_recovered
    )
    tables["arms"] = arms_of(held_out, net)
    first = tables["policy_value"].query("estimator == 'dr'").iloc[0]
    facts["policy_value"] = {
        "net_per_decision": float(first["value"]),
        "low": float(first["low"]),
        "high": float(first["high"]),
        "gain_over_logged": float(first["difference"]),
        "gain_over_logged_low": float(first["difference_low"]),
        "gain_over_logged_high": float(first["difference_high"]),
        "ess": float(first["ess"]),
    }
    return tables, facts


@dataclass(frozen=True)
class PlanOnLog:
    """What a model would have done with logged decisions.

    Parameters
    ----------
    priced : PricedActions
        Its prices of every action.
    assignment : Assignment
        Its plan within the limits of the decisions' share.
    policy : DataFrame, decisions × actions
        1 at the action it plans.
    """

    priced: PricedActions
    assignment: Assignment
    policy: pd.DataFrame


def plan_on(log: DecisionLog, model: StrategyModel, *, accounts: pd.DataFrame | None, portfolio_rows: int) -> PlanOnLog:
    """Plan logged decisions anew, under the limits of their share of the portfolio.

    Parameters
    ----------
    log : DecisionLog
        Decisions the model has not seen.
    model : StrategyModel
        Whose plan it is.
    accounts : DataFrame, optional
        Fields for the conditions, by ``account_id``.
    portfolio_rows : int
        Decisions the limits were written for.

    Returns
    -------
    PlanOnLog
    """
    decisions = as_accounts(log, accounts)
    priced = model.price(decisions)
    scaled = model.strategy.without_randomisation().scaled(len(log) / portfolio_rows)
    assignment = TreatmentPolicy(scaled, logged=model.logged).assign(priced, decisions, as_of=log.decided_at.max())
    return PlanOnLog(priced, assignment, _one_hot(assignment.planned(), log))


def _at_random(policy: pd.DataFrame, predicted: pd.DataFrame) -> pd.DataFrame:
    """Give every action that there is evidence for the same probability."""
    known = predicted.notna().all().astype(float)
    return policy * 0 + known / known.sum()


def arms_of(log: DecisionLog, net: pd.Series) -> pd.DataFrame:
    """Say what every logged action brought, as it was and weighted as if everybody had got it.

    Parameters
    ----------
    log : DecisionLog
        With logged propensities.
    net : Series, length n
        Outcome in money.

    Returns
    -------
    DataFrame
        ``action, n, mean``; ``value, low, high`` (self-normalised weights); ``same_propensity``: whether all who got it had
        the same probability of it; then weighting changes nothing.
    """
    propensity = log.logging_propensity.to_numpy(dtype=float)  # type: ignore[union-attr]
    rows = []
    for action in log.actions:
        mine = (log.action == action).to_numpy()
        if mine.any():
            weighted = evaluate_policy(log, constant_policy(log, action), outcome=net, estimators=("snips",)).frame().iloc[0]
            same = bool(np.ptp(propensity[mine]) < 1e-12)
            found = [float(weighted[c]) for c in ("value", "low", "high")]
            rows.append((action, int(mine.sum()), float(net[mine].mean()), *found, same))
    return pd.DataFrame(rows, columns=["action", "n", "mean", "value", "low", "high", "same_propensity"])


def _one_hot(planned: pd.Series, log: DecisionLog) -> pd.DataFrame:
    columns = list(log.actions)
    matrix = (planned.to_numpy(dtype=object)[:, None] == np.array(columns, dtype=object)).astype(float)
    return pd.DataFrame(matrix, index=log.X.index, columns=columns)


def _best_single_action(log: DecisionLog, net: pd.Series, control: str) -> str:
    """Find the action worth most if everybody got it, by self-normalised weights; generous, as it is chosen on these rows."""
    weight = 1.0 / log.logging_propensity.to_numpy(dtype=float)  # type: ignore[union-attr]
    sums = (
        pd.DataFrame({"action": log.action.to_numpy(), "w": weight, "wy": weight * net.to_numpy()}).groupby("action").sum()
    )
    means = (sums["wy"] / sums["w"]).drop(index=control, errors="ignore")
    return str(means.idxmax())


def _values(
    log: DecisionLog,
    policy: pd.DataFrame,
    baselines: Mapping[str, pd.DataFrame | Literal["logged"]],
    net: pd.Series,
    predicted: pd.DataFrame,
    truth: pd.DataFrame | None,
    priced: PricedActions,
    value_of_recovered: float,
) -> pd.DataFrame:
    frames = []
    for name, baseline in baselines.items():
        result = evaluate_policy(
            log, policy, baseline=baseline, outcome=net, outcome_model=predicted, estimators=ESTIMATORS
        ).frame()
        result.insert(0, "baseline", name)
        if truth is not None:
            true_policy = _true_value(log, policy, truth, priced, value_of_recovered)
            other = _logged_as_frame(log) if isinstance(baseline, str) else baseline
            result["true_value"] = true_policy
            result["true_difference"] = true_policy - _true_value(log, other, truth, priced, value_of_recovered)
        frames.append(result)
    return pd.concat(frames, ignore_index=True)


def _logged_as_frame(log: DecisionLog) -> pd.DataFrame:
    columns = list(log.actions)
    taken = log.action.to_numpy(dtype=object)[:, None] == np.array(columns, dtype=object)
    return pd.DataFrame(taken.astype(float), index=log.X.index, columns=columns)


def _true_value(
    log: DecisionLog, policy: pd.DataFrame, truth: pd.DataFrame, priced: PricedActions, value_of_recovered: float
) -> float:
    """Average the net value per decision: true recovery, less the costs and complaints the models expect."""
    columns = list(policy.columns)
    recovered = truth.reindex(pd.Index(log.account))[columns].to_numpy() * value_of_recovered
    charges = priced.recovered[columns].to_numpy() * value_of_recovered - priced.net[columns].to_numpy()
    return float(np.sum(policy.to_numpy() * (recovered - charges), axis=1).mean())


def _mean_effects(priced: PricedActions, control: str) -> pd.DataFrame:
    def effect(frame: pd.DataFrame) -> pd.Series:
        return frame.mean() - frame[control].mean()

    return pd.DataFrame(
        {
            "recovered": effect(priced.recovered),
            "cost": effect(priced.cost),
            "minutes": effect(priced.minutes),
            "complaints_per_1000": 1000 * effect(priced.complaints),
            "net_value": effect(priced.net),
        }
    ).reset_index(names="action")
