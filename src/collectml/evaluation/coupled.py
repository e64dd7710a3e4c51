"""What a strategy is worth when its limits couple the accounts: values from other folds, prices solved anew, both in the error.

One account's action depends on all others through the limits, so the plan of one sample is no policy that could be judged by
itself. What can be judged is the rule behind it: every account takes its best action at the limits' prices, and the prices
are those at which the limits per decision are just kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.data import DecisionLog
from collectml.errors import SchemaError
from collectml.evaluation._decisions import as_accounts, check_fit, net_outcome
from collectml.evaluation._fold_values import Fold, ValueModel, given_values, learnt_values
from collectml.evaluation._half_samples import half_sample_errors
from collectml.evaluation._lines import estimate_line, with_difference
from collectml.evaluation._price_policy import PricePolicy, price_policy
from collectml.evaluation._rows import action_codes, customer_codes, propensities
from collectml.evaluation._scores import ESTIMATORS, LogRows, PolicyScores
from collectml.evaluation.intervals import Ratio
from collectml.evaluation.outcome_models import customer_folds
from collectml.evaluation.policy_value import BASE_COLUMNS, DIFFERENCE_COLUMNS, PolicyValue
from collectml.policy import PricedActions
from collectml.strategy import Strategy

__all__ = ["LOGGED", "StrategyValue", "evaluate_strategy"]

DEFAULT_ESTIMATORS = ("ips", "snips", "dr", "sndr")
LOGGED = "logged"


@dataclass(frozen=True)
class StrategyValue(PolicyValue):
    """What the price policy of a strategy is worth per decision.

    Attributes
    ----------
    comparisons : DataFrame
        Paired differences from the same scores, one row per ``estimator`` and ``baseline``: ``baseline_value, difference,
        difference_low, difference_high, difference_se, note``. Baselines: ``"logged"`` (what was done), the control's name
        (nothing for anybody) and ``"best single action"`` (the one worth most to the other folds, wherever it is permitted,
        whatever the limits say).
    prices : DataFrame
        By ``fold`` and ``limit``: the solved ``price`` of a unit, and what was ``allowed`` and ``used`` per decision, beyond
        what the control uses (missing where a limit has no bound on that side).
    planned : Series
        The action of each decision, indexed like the log.
    single_action : tuple of str
        The best single action, fold by fold.
    """

    comparisons: pd.DataFrame
    prices: pd.DataFrame
    planned: pd.Series
    single_action: tuple[str, ...]


def evaluate_strategy(
    log: DecisionLog,
    strategy: Strategy,
    *,
    learner: str | ValueModel = "hurdle",
    folds: int = 5,
    random_state: int | None = None,
    values: pd.DataFrame | PricedActions | None = None,
    accounts: pd.DataFrame | None = None,
    portfolio_rows: int | None = None,
    estimators: Sequence[str] = DEFAULT_ESTIMATORS,
    errors: Literal["scores", "half_samples"] = "scores",
    half_samples: int = 100,
    confidence: float = 0.95,
    n_jobs: int | None = None,
) -> StrategyValue:
    """Estimate the net value per decision of a strategy's price policy, its models and its prices estimated too.

    Parameters
    ----------
    log : DecisionLog
        With logging propensities.
    strategy : Strategy
        Limits are those of the portfolio. Hold-out and exploration take no part: the plan is judged.
    learner : str or callable, default "hurdle"
        How values are learnt from the other folds: a learner of :class:`collectml.UpliftModel`, or a function
        ``(train, test) -> values`` of two logs that returns net values, decisions x actions in the order of `test`, as a frame
        or :class:`collectml.PricedActions`.
    folds : int, default 5
        Whole customers. Each is valued by models of the others, and its prices are solved by itself.
    random_state : int, optional
        Seed of the models and of the half-samples.
    values : DataFrame or PricedActions, optional
        Values from elsewhere, of models that have not seen these decisions, in place of learning: indexed like the log (or by
        account id where each has one decision). The log is then one fold.
    accounts : DataFrame, optional
        Snapshot with fields that conditions read and the log does not hold, by ``account_id``.
    portfolio_rows : int, optional
        Decisions of a cycle that the limits were written for; by default those of the log. A limit for the portfolio allows
        each decision its ``portfolio_rows``-th part.
    estimators : sequence of str
        As in :func:`evaluate_policy`; values serve as the outcome model.
    errors : {"scores", "half_samples"}, default "scores"
        Where the error of the prices comes from: the scores, each less price times what the decision uses beyond its
        allowance; or half-samples of the customers, with the prices solved again in each.
    half_samples : int, default 100
        How many, two by two complementary.
    confidence : float, default 0.95
        Of each two-sided interval.
    n_jobs : int, optional
        Threads of the learners.

    Returns
    -------
    StrategyValue
        A :class:`PolicyValue`; the differences of its frame are against what was done, those against the other baselines are
        in ``comparisons``. What the log cannot support is refused, with reasons, in ``refusals`` and in the notes.

    Raises
    ------
    SchemaError
        Where the log has no usable logging propensities.
    ConfigurationError
        Where log and strategy name different actions.
    InfeasibleStrategyError
        Where no assignment of a fold keeps the limits.

    Notes
    -----
    The estimand is the mean, over folds, of ``E[net value of pi_k(X)]`` with ``pi_k`` the price rule on values learnt without
    fold k, at the prices that just keep the limits per decision in the whole population. With prices ``p``, usage ``u`` and
    allowance ``b`` the influence of a decision is ``score - p (u - b)`` less its mean: a sample whose accounts happen to want
    more of a limit than the population gets higher prices, and loses by them what the limit is worth. That is exact where
    values are right at the margin, for then a price is what a limit is worth; where they are wrong the price is, too, and
    ``errors="half_samples"``, which assumes nothing of the kind, says whether it matters.

    The value is that of whatever values are given, wrong ones included: a policy of wrong values is worth what it is worth.
    Costs and complaints of logged decisions are the log's where it holds them, else the expected ones.

    References
    ----------
    Luedtke and van der Laan (2016), Optimal individualized treatments in resource-limited settings, Int. J. Biostatistics 12:
    the influence function under one limit. Sverdrup, Wu, Athey and Wager (2025), Qini curves for multi-armed treatment rules
    (maq): half-samples, costs. Chernozhukov et al. (2018), Double/debiased machine learning, Econometrics J. 21: cross-fitting.

    Examples
    --------
    >>> import collectml as cm
    >>> portfolio = cm.make_portfolio(2_000, random_state=1)
    >>> log = cm.DecisionLog(portfolio.decisions, actions=portfolio.actions)
    >>> strategy = cm.Strategy.model_validate({"name": "s", "currency": "USD", "min_logged": 50,
    ...     "actions": [{"name": a, "channel": "call" if "call" in a else None, "unit_cost": 2.0 * ("call" in a)}
    ...                 for a in portfolio.actions],
    ...     "limits": [{"name": "calls", "kind": "capacity", "channels": ["call"], "upper": 300}]})
    >>> value = cm.evaluate_strategy(log, strategy, values=portfolio.truth)
    >>> value.planned.isin(["soft_call", "firm_call"]).sum()
    np.int64(300)
    >>> value.comparisons["baseline"].unique().tolist()
    ['logged', 'no_action', 'best single action']
    """
    wanted = (estimators,) if isinstance(estimators, str) else tuple(dict.fromkeys(estimators))
    if not wanted or not set(wanted) <= set(ESTIMATORS):
        raise ValueError(f"estimators must be among {list(ESTIMATORS)}, not {list(wanted)}")
    if errors not in ("scores", "half_samples"):
        raise ValueError(f'errors must be "scores" or "half_samples", not {errors!r}')
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    check_fit(log, strategy)
    propensity, why = propensities(log)
    if propensity is None:
        raise SchemaError(f"a strategy is valued by logging propensities, and {why}")
    seed = 0 if random_state is None else int(random_state)
    if values is None:
        fold = customer_folds(log, folds)
        parts = learnt_values(log, strategy, fold, learner=learner, random_state=seed, n_jobs=n_jobs)
    else:
        parts = given_values(log, strategy, values)
    return _judge(_Case(log, strategy, parts, accounts, portfolio_rows or len(log), propensity), wanted, errors, half_samples,
                  seed, confidence)  # fmt: skip


class _Case:
    """A log, its values and its solved policy, in the log's order."""

    def __init__(
        self,
        log: DecisionLog,
        strategy: Strategy,
        parts: list[Fold],
        accounts: pd.DataFrame | None,
        portfolio_rows: int,
        propensity: NDArray[np.float64],
    ) -> None:
        self.log, self.parts = log, parts
        n, self.names = len(log), strategy.action_names
        decisions, day = as_accounts(log, accounts), log.decided_at.max()
        priced = PricedActions(
            *(
                pd.concat([getattr(part.priced, what) for part in parts]).sort_index()
                for what in ("net", "recovered", "cost", "minutes", "complaints")
            )
        )
        self.net = net_outcome(log, priced, strategy)
        logged = pd.Index(self.names).get_indexer(pd.Index(log.actions))[action_codes(log)]
        received = log.recovered.to_numpy(dtype=np.float64)
        self.rows = LogRows(self.net.to_numpy(), logged, propensity, *customer_codes(log), received, log.X)
        self.predicted = priced.net.to_numpy(dtype=np.float64)
        self.rules: list[PricePolicy] = []
        self.action, self.excess = np.zeros(n, dtype=np.intp), np.zeros(n)
        self.permitted = np.zeros((n, len(self.names)), dtype=bool)
        lines = []
        for k, part in enumerate(parts):
            rule = price_policy(
                strategy,
                part.priced,
                decisions.iloc[part.rows],
                day=day,
                unsupported=part.unsupported,
                portfolio_rows=portfolio_rows,
            )
            action, prices = rule.solve()
            self.rules.append(rule)
            self.action[part.rows], self.permitted[part.rows] = action, rule.eligible
            self.excess[part.rows] = rule.excess(action, prices)
            lines += rule.lines(k, action, prices)
        self.prices = pd.DataFrame(lines, columns=["fold", "limit", "price", "allowed_low", "allowed", "used"])
        self.single = tuple(self._best_single(part) for part in parts)

    def scores(self, what: str, action: NDArray[np.intp]) -> PolicyScores:
        """Judge one action for each decision."""
        matrix = np.zeros((len(action), len(self.names)))
        matrix[np.arange(len(action)), action] = 1.0
        return PolicyScores(what, matrix, self.names, self.rows, self.predicted, own_model=True)

    def single_action(self) -> NDArray[np.intp]:
        """Give the best single action wherever it is permitted, else the control."""
        action = np.zeros(len(self.action), dtype=np.intp)
        for part, name in zip(self.parts, self.single, strict=True):
            a = self.names.index(name)
            action[part.rows] = np.where(self.permitted[part.rows, a], a, 0)
        return action

    def _best_single(self, part: Fold) -> str:
        """Find the action worth most to the customers of the other folds (to all, where there is one fold)."""
        others = np.ones(len(self.log), dtype=bool)
        if len(self.parts) > 1:
            others[part.rows] = False
        y, logged, p = self.rows.y, self.rows.logged, self.rows.propensity
        assert p is not None  # noqa: S101 - evaluate_strategy has seen to it
        worth = np.full(len(self.names), -np.inf)
        for a in np.unique(logged[others]):
            if a == 0 or self.names[a] in part.unsupported:
                continue
            q = np.where(np.isfinite(self.predicted[:, a]), self.predicted[:, a], 0.0)
            score = q + np.where(logged == a, (y - q) / p, 0.0)
            worth[a] = score[others].mean()
        return self.names[int(np.argmax(worth))]


def _judge(
    case: _Case, wanted: tuple[str, ...], errors: str, half_samples: int, seed: int, confidence: float
) -> StrategyValue:
    """Score the policy and its baselines, and write down every row."""
    n_rows = len(case.log)
    judged = case.scores("policy", case.action)
    control, single = case.names[0], case.single_action()
    others = {
        control: case.scores(f"baseline {control}", np.zeros(n_rows, dtype=np.intp)),
        "best single action": case.scores("baseline best single action", single),
    }
    priced = case.rows.mean(case.excess)
    lines, comparisons = [], []
    measured = {}
    if errors == "half_samples":
        measured = half_sample_errors(
            case.rules, [p.rows for p in case.parts], case.rows, case.predicted,
            {LOGGED: None, control: np.zeros(n_rows, dtype=np.intp), "best single action": single},
            wanted, half_samples, seed,
        )  # fmt: skip
    for estimator in wanted:
        estimate = judged.ratio(estimator)
        besides: dict[str, Ratio | str] = {LOGGED: case.rows.mean(case.rows.y)}
        besides |= {name: side.ratio(estimator) for name, side in others.items()}
        if not isinstance(estimate, str):
            estimate = Ratio(estimate.value - priced.value, estimate.influence - priced.influence)
        line = estimate_line(judged, estimator, estimate, confidence, se=measured.get((estimator, "")))
        for name, beside in besides.items():
            paired = with_difference(dict(line, note=""), estimate, beside, confidence, se=measured.get((estimator, name)))
            kept = {column: paired[column] for column in (*DIFFERENCE_COLUMNS, "note")}
            comparisons.append({"estimator": estimator, "baseline": name} | kept)
            if name == LOGGED:
                note = "; ".join(filter(None, [str(line["note"]), str(paired["note"])]))
                lines.append(line | {column: paired[column] for column in DIFFERENCE_COLUMNS} | {"note": note})
    return StrategyValue(
        estimates=pd.DataFrame(lines, columns=BASE_COLUMNS + DIFFERENCE_COLUMNS),
        support=judged.support,
        baseline_support=None,
        refusals=judged.refusals + judged.unpredicted,
        outcome="net value",
        confidence=confidence,
        comparisons=pd.DataFrame(comparisons),
        prices=case.prices,
        planned=pd.Series(
            np.array(case.names, dtype=object)[case.action], index=case.log.X.index, name="planned", dtype="str"
        ),
        single_action=case.single,
    )
