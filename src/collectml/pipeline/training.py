"""Training: learn on some customers, value the policy on the others, keep both together."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pandas as pd

from collectml.data import DecisionLog
from collectml.data._splits import customer_order
from collectml.data.profile import feature_profile
from collectml.errors import ConfigurationError, SchemaError
from collectml.evaluation._decisions import as_accounts
from collectml.models import ChannelResponseModel, ComplaintModel, PropensityToPayModel, RiskGrader
from collectml.strategy import Strategy
from collectml.uplift import UpliftModel

from .assessment import assess
from .drivers import effect_drivers
from .evidence import Evidence
from .robustness import out_of_time, refit_evidence
from .soundness import sign_check
from .strategy_model import StrategyModel
from .valuation import value_on

__all__ = ["train"]

REACHED = ("right_party", "conversation", "promise", "refusal", "opened", "responded")
FEWEST_ATTEMPTS = 500
FEWEST_COMPLAINTS = 20


def train(
    log: DecisionLog,
    strategy: Strategy,
    *,
    contacts: pd.DataFrame | None = None,
    accounts: pd.DataFrame | None = None,
    truth: pd.DataFrame | None = None,
    learner: str = "hurdle",
    params: Mapping[str, object] | None = None,
    test_share: float = 0.3,
    random_state: int | None = None,
    n_jobs: int | None = None,
    robustness: bool = False,
    champion: StrategyModel | None = None,
    progress: Callable[[str], None] = lambda stage: None,
) -> StrategyModel:
    """Train a strategy model on a decision log, and value it on customers it has not seen.

    Parameters
    ----------
    log : DecisionLog
        What was done, and what came of it.
    strategy : Strategy
        What may be done, within which limits, and what it is worth.
    contacts : DataFrame, optional
        Contact log (``account_id, ts, channel, outcome``, optionally ``hour``): teaches who is reached on which channel.
        Without it the strategy's stated figures count.
    accounts : DataFrame, optional
        Snapshot with the fields that the strategy's conditions read, where the log does not hold them itself; joined by
        ``account_id``. A field found in neither denies.
    truth : DataFrame, accounts × actions, optional
        Expected recovered money of every action (simulated portfolios): printed beside the estimates.
    learner : {"hurdle", "s", "t", "x", "dr", "ensemble"}, default "hurdle"
        How outcomes are learnt.
    params : mapping, optional
        Further parameters of :class:`collectml.UpliftModel` (see :func:`collectml.pipeline.tune`).
    test_share : float, default 0.3
        Share of customers kept out of training.
    random_state : int, optional
        Seed of everything.
    n_jobs : int, optional
        Threads.
    robustness : bool, default False
        Learn the effects again on resampled customers and with other seeds, so that reasons have flip rates, and the
        propensity to pay on the earlier decisions alone (a minute).
    champion : StrategyModel, optional
        The model in use: held against this one on the same held-out decisions.
    progress : callable, optional
        Told the name of each stage.

    Returns
    -------
    StrategyModel

    Raises
    ------
    ConfigurationError
        Where log and strategy do not fit: unknown actions, another control, actions that pay off after the horizon.
    SchemaError
        Where the log holds too little.

    Examples
    --------
    >>> import collectml as cm
    >>> portfolio = cm.make_portfolio(1_500, random_state=1)
    >>> strategy = cm.Strategy.model_validate({
    ...     "name": "calls", "currency": "USD", "min_logged": 100,
    ...     "actions": [{"name": "no_action"}, {"name": "sms", "channel": "sms", "unit_cost": 0.05},
    ...                 {"name": "soft_call", "channel": "call", "talk_minutes": 6, "stated_reach": 0.3}],
    ...     "limits": [{"name": "calls", "kind": "capacity", "actions": ["soft_call"], "upper": 60}]})
    >>> known = portfolio.decisions[portfolio.decisions["action"].isin(strategy.action_names)]
    >>> model = cm.train(cm.DecisionLog(known, actions=strategy.action_names), strategy, random_state=1)
    >>> model.score(portfolio.accounts).columns.tolist()
    ['no_action', 'sms', 'soft_call']
    >>> assignment = model.assign(portfolio.accounts)
    >>> assignment.limits()[["limit", "upper", "used"]]
       limit  upper  used
    0  calls   60.0  60.0
    >>> int(assignment.by_action().loc["soft_call", "accounts"])
    60
    """
    _check_fit(log, strategy)
    seed = 0 if random_state is None else int(random_state)
    rest, held_out = log.split_by_customer(test_share, random_state=seed)
    support = rest.support().reset_index()
    support["supported"] = support["rows"] >= strategy.min_logged
    few = support.loc[~support["supported"] & (support["action"] == strategy.control), "rows"]
    if len(few):
        raise SchemaError(
            f"the control {strategy.control!r} was logged {int(few.iloc[0]):,} times among the training customers, "
            f"fewer than min_logged = {strategy.min_logged:,}: nothing can be compared with it"
        )

    progress("what every action brings")
    learnt = rest.select(rest.action.isin(support.loc[support["supported"], "action"]).to_numpy())
    uplift = (
        UpliftModel(learner, control=strategy.control, random_state=seed, n_jobs=n_jobs)
        .set_params(**(params or {}))
        .fit(
            learnt.X,
            learnt.recovered,
            action=learnt.action,
            paid=learnt.paid,
            logging_propensity=learnt.logging_propensity,
            customer=learnt.customer,
        )
    )
    progress("propensity to pay")
    propensity = PropensityToPayModel(random_state=seed, n_jobs=n_jobs).fit(rest.X, rest.paid, customer=rest.customer)
    progress("who is reached, who complains")
    response = _channel_response(rest, strategy, contacts, seed, n_jobs)
    complaints = _complaints(rest, strategy, seed, n_jobs)
    grader = _grader(rest, strategy, propensity)

    unproven = StrategyModel(
        strategy, uplift, propensity, response, complaints, grader, Evidence(tables={"support": support})
    )
    progress("value on customers not seen")
    tables, facts = value_on(held_out, unproven, accounts=accounts, truth=truth, portfolio_rows=len(log), champion=champion)
    progress("drivers")
    drivers, facts["drivers"] = effect_drivers(uplift, held_out, seed=seed)
    tables |= drivers
    tables["signs"] = sign_check(propensity, held_out, seed=seed)
    tables["calibration"] = propensity.calibration_frame(held_out.X, held_out.paid).reset_index(names="bin")
    tables["support"] = support
    tables["profile"] = feature_profile(rest.X)
    assessed, facts["assessment"] = assess(held_out, unproven, as_accounts(held_out, accounts), champion)
    tables |= assessed
    if robustness:
        progress("how reasons hold under refits")
        refitted, facts["refits"] = refit_evidence(uplift, learnt, seed=seed)
        tables |= refitted
        facts["out_of_time"] = out_of_time(rest, held_out, propensity, seed=seed, n_jobs=n_jobs)
    facts["log"] = {
        "decisions": len(log),
        "training_decisions": len(rest),
        "held_out_decisions": len(held_out),
        "customers": int(log.customer.nunique()),
        "left_out": {str(k): int(v) for k, v in log.left_out.items()},
        "first_decision": f"{log.decided_at.min():%Y-%m-%d}",
        "last_decision": f"{log.decided_at.max():%Y-%m-%d}",
        "digest": log.digest(),
        # who was held out can be told in any later log of the same customers, too
        "held_out_up_to": f"{int(customer_order(held_out.customer, seed).max()):016x}",
        **_known_when(log),
    }
    facts["settings"] = {
        "learner": learner,
        "params": dict(params or {}),
        "random_state": seed,
        "test_share": test_share,
        "reach": "learnt" if response is not None else "stated",
        "complaint_rates": "learnt" if complaints is not None else "stated",
    }
    facts["uplift"] = uplift.diagnostics_
    facts["propensity_to_pay"] = _propensity_facts(propensity, held_out)
    return StrategyModel(strategy, uplift, propensity, response, complaints, grader, Evidence(facts, tables))


def _known_when(log: DecisionLog) -> dict[str, int]:
    """Count the decisions whose features are dated, and the days from features to decision."""
    if log.features_as_of is None:
        return {}
    age = (log.decided_at - log.features_as_of).dt.days.dropna()
    return {"features_dated": len(age), "features_oldest_days": int(age.max()), "features_late": int((age < 0).sum())}


def _check_fit(log: DecisionLog, strategy: Strategy) -> None:
    unknown = [a for a in log.actions if a not in strategy.action_names]
    if unknown:
        raise ConfigurationError(f"the log's actions {', '.join(unknown)} are none of strategy {strategy.name!r}")
    if log.control != strategy.control:
        raise ConfigurationError(f"the log's control is {log.control!r}, the strategy's {strategy.control!r}")
    late = {a.name: a.pays_off_after_days for a in strategy.actions if a.name in log.actions and a.pays_off_after_days > 0}
    log.require_horizons(late, surrogates=[a.name for a in strategy.actions if a.surrogate])


def _channel_response(
    log: DecisionLog, strategy: Strategy, contacts: pd.DataFrame | None, seed: int, n_jobs: int | None
) -> ChannelResponseModel | None:
    """Learn reach on the channels where it decides minutes or attempts, from the training customers' attempts."""
    matters = {a.channel for a in strategy.actions if a.channel and (a.attempts > 1 or a.talk_minutes > 0)}
    if contacts is None or not matters:
        return None
    attempts = contacts.loc[contacts["channel"].isin(matters)].copy()
    attempts["decided_at"] = pd.to_datetime(attempts["ts"]).astype(log.decided_at.dtype)
    decisions = log.X.assign(account_id=log.account, decided_at=log.decided_at, customer=log.customer)
    # each attempt belongs to the account's last decision before it
    joined = pd.merge_asof(
        attempts.sort_values("decided_at", kind="stable")[
            ["decided_at", "account_id", "channel", "outcome", *_hour(attempts)]
        ],
        decisions.sort_values("decided_at", kind="stable"),
        on="decided_at",
        by="account_id",
    ).dropna(subset=["customer"])
    reached = joined["outcome"].isin(REACHED).astype(int)
    if len(joined) < FEWEST_ATTEMPTS or reached.nunique() < 2:
        return None
    return ChannelResponseModel(random_state=seed, n_jobs=n_jobs).fit(
        joined[list(log.X.columns)],
        reached,
        channel=joined["channel"],
        hour=joined.get("hour"),
        customer=joined["customer"],
    )


def _hour(attempts: pd.DataFrame) -> list[str]:
    return ["hour"] if "hour" in attempts else []


def _complaints(log: DecisionLog, strategy: Strategy, seed: int, n_jobs: int | None) -> ComplaintModel | None:
    if log.complained is None or int(log.complained.sum()) < FEWEST_COMPLAINTS:
        return None
    return ComplaintModel(random_state=seed, n_jobs=n_jobs).fit(
        log.X, log.complained, action=log.action, control=strategy.control, customer=log.customer
    )


def _grader(log: DecisionLog, strategy: Strategy, propensity: PropensityToPayModel) -> RiskGrader:
    grades = strategy.grades
    if grades.method == "ability_willingness":
        return RiskGrader(method=grades.method).fit(log.X)
    p = pd.Series(propensity.oof_proba_[:, 1], index=log.X.index)
    large = grades.large_balance if "balance" in log.X else None  # a log in which nothing is owed: propensity alone decides
    grader = RiskGrader(method=grades.method, propensity_cuts=grades.cuts, balance_cuts=(None, large))
    return grader.fit(log.X, propensity_to_pay=p)


def _propensity_facts(model: PropensityToPayModel, held_out: DecisionLog) -> Mapping[str, float]:
    from sklearn.metrics import brier_score_loss, roc_auc_score

    p = model.predict_proba(held_out.X)[:, 1]
    return {
        "auc": float(roc_auc_score(held_out.paid, p)),
        "brier": float(brier_score_loss(held_out.paid, p)),
        "calibration_slope": float(model.calibration_slope_),
        "calibration_intercept": float(model.calibration_intercept_),
    }
