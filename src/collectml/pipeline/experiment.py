"""Experiments: one YAML file says what to learn from, how, and for which strategy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, model_validator

from collectml.data import DecisionLog, hillstrom_decisions, taiwan_accounts
from collectml.data.tables import read_table
from collectml.errors import ConfigurationError
from collectml.models import PropensityToPayModel
from collectml.simulation import Portfolio, make_portfolio
from collectml.strategy import Strategy
from collectml.strategy.reading import parse, read_yaml

from .strategy_model import StrategyModel
from .training import train
from .tuning import tune
from .tuning_result import TuningResult

__all__ = [
    "Experiment",
    "ExperimentData",
    "PropensityResult",
    "StrategyResult",
    "read_data",
    "read_experiment",
    "run_experiment",
]

_CLOSED = ConfigDict(extra="forbid", frozen=True)


class SimulatedData(BaseModel):
    """A simulated portfolio with known truth."""

    model_config = _CLOSED

    source: Literal["simulate"]
    world: Literal["card", "charged_off", "no_effect"] = "card"
    accounts: int = Field(default=20_000, ge=100, le=10_000_000)
    logging: Literal["randomised", "confounded"] = "randomised"
    seed: int = 0


class FileData(BaseModel):
    """Your own logs: Parquet or CSV, paths relative to the experiment file."""

    model_config = _CLOSED

    source: Literal["files"]
    decisions: str
    contacts: str | None = None
    accounts: str | None = None
    features: tuple[str, ...] | None = None
    logging_propensity: str | None = "logging_propensity"
    horizon_days: int = 30
    observed_until: str | None = None


class PublicData(BaseModel):
    """A public data set from the folder named by COLLECTML_DATA."""

    model_config = _CLOSED

    source: Literal["hillstrom", "taiwan_default"]


class TuningBudget(BaseModel):
    """How long to search for better parameters, and by what."""

    model_config = _CLOSED

    trials: int = Field(default=30, ge=1, le=100_000)
    minutes: float | None = Field(default=None, gt=0)
    objective: Literal["policy_value", "dr_loss"] = "policy_value"


Data = Annotated[SimulatedData | FileData | PublicData, Field(discriminator="source")]


class Experiment(BaseModel):
    """One experiment.

    Parameters
    ----------
    kind : {"strategy", "propensity_to_pay"}
        Whether a whole strategy is trained, or a single model.
    name : str
        What runs and registered models are called.
    data : mapping
        ``source: simulate``, ``files``, ``hillstrom`` or ``taiwan_default``, each with its own settings.
    learner : {"hurdle", "s", "t", "x", "dr", "ensemble"}
        How outcomes are learnt.
    test_share : float
        Share of customers kept out of training.
    robustness : bool
        Whether effects are learnt again on resampled customers, for the flip rates of reasons.
    seed : int
        Seed of everything.
    tuning : mapping, optional
        ``trials``, ``minutes``, ``objective`` (see :func:`collectml.pipeline.tune`); without it the defaults are used.
    strategy : mapping, optional
        The strategy; needed for ``kind: strategy``.
    """

    model_config = _CLOSED

    kind: Literal["strategy", "propensity_to_pay"]
    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,62}$")
    description: str = ""
    data: Data
    learner: Literal["hurdle", "s", "t", "x", "dr", "ensemble"] = "hurdle"
    test_share: float = Field(default=0.3, gt=0.01, lt=0.9)
    robustness: bool = False
    seed: int = 0
    tuning: TuningBudget | None = None
    strategy: Strategy | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.kind == "strategy" and self.strategy is None:
            raise ValueError("kind: strategy needs a section strategy:")
        if self.kind == "propensity_to_pay" and self.strategy is not None:
            raise ValueError("kind: propensity_to_pay has no strategy:")
        if self.kind == "propensity_to_pay" and self.tuning is not None:
            raise ValueError("kind: propensity_to_pay has no tuning:")
        if (self.kind == "propensity_to_pay") != (self.data.source == "taiwan_default"):
            raise ValueError(f"data source {self.data.source!r} does not serve kind {self.kind!r}")
        return self


@dataclass(frozen=True)
class StrategyResult:
    """What a strategy experiment yields.

    Parameters
    ----------
    model : StrategyModel
        Trained and valued.
    log : DecisionLog
        What it was trained and valued on.
    held_out : DecisionLog
        Customers it has not seen.
    accounts : DataFrame
        Tonight's accounts: the snapshot, where there is one, else the held-out decisions.
    capacity : DataFrame or None
        Capacity calendar, where there is one.
    portfolio : Portfolio or None
        The simulated world, where it was one.
    tuning : TuningResult or None
        What was tried, where the experiment asked for it.
    """

    model: StrategyModel
    log: DecisionLog
    held_out: DecisionLog
    accounts: pd.DataFrame
    capacity: pd.DataFrame | None
    portfolio: Portfolio | None
    tuning: TuningResult | None = None


@dataclass(frozen=True)
class PropensityResult:
    """What a propensity experiment yields.

    Parameters
    ----------
    model : PropensityToPayModel
        Fitted.
    metrics : dict of str to float
        Out-of-fold AUC, Brier score, calibration slope and intercept.
    calibration : DataFrame
        Out-of-fold calibration by decile.
    """

    model: PropensityToPayModel
    metrics: dict[str, float]
    calibration: pd.DataFrame


def read_experiment(path: str | Path) -> Experiment:
    """Read an experiment file.

    Parameters
    ----------
    path : str or Path
        YAML.

    Returns
    -------
    Experiment

    Raises
    ------
    ConfigurationError
        With every fault of the file.
    """
    return parse(Experiment, read_yaml(path), source=str(path))


def run_experiment(
    experiment: Experiment,
    *,
    folder: Path = Path(),
    study: Path | None = None,
    progress: Callable[[str], None] = lambda stage: None,
) -> StrategyResult | PropensityResult:
    """Run an experiment.

    Parameters
    ----------
    experiment : Experiment
        What to do.
    folder : Path
        Where the experiment's relative paths start.
    study : Path, optional
        SQLite file that keeps a tuning, so that it can be continued; in memory where not given.
    progress : callable, optional
        Told the name of each stage.

    Returns
    -------
    StrategyResult or PropensityResult
    """
    if experiment.kind == "propensity_to_pay":
        return _propensity(experiment, progress)
    progress("reading the data")
    strategy = experiment.strategy
    if strategy is None:
        raise ConfigurationError("a strategy experiment needs a strategy")
    data = read_data(experiment, strategy, folder)
    log, portfolio = data.log, data.portfolio
    tuning = None if experiment.tuning is None else _tune(experiment, experiment.tuning, log, strategy, study, progress)
    model = train(
        log,
        strategy,
        contacts=data.contacts,
        accounts=data.accounts,
        truth=None if portfolio is None else portfolio.truth,
        learner=experiment.learner,
        params=None if tuning is None else tuning.params,
        test_share=experiment.test_share,
        random_state=experiment.seed,
        robustness=experiment.robustness,
        progress=progress,
    )
    if tuning is not None:
        model.evidence.facts["tuning"] = dict(tuning.facts())
        model.evidence.tables["tuning"] = tuning.frame()
    held_out = log.split_by_customer(experiment.test_share, random_state=experiment.seed)[1]
    return StrategyResult(model, log, held_out, data.tonight(experiment), data.capacity, portfolio, tuning)


def _tune(
    experiment: Experiment,
    budget: TuningBudget,
    log: DecisionLog,
    strategy: Strategy,
    study: Path | None,
    progress: Callable[[str], None],
) -> TuningResult:
    """Tune on the customers that training will learn from; those it is valued on stay unseen."""
    rest = log.split_by_customer(experiment.test_share, random_state=experiment.seed)[0]
    return tune(
        rest,
        learner=experiment.learner,
        objective=budget.objective,
        trials=budget.trials,
        minutes=budget.minutes,
        storage=study,
        min_rows=strategy.min_logged,
        random_state=experiment.seed,
        progress=progress,
    )


@dataclass(frozen=True)
class ExperimentData:
    """What an experiment reads.

    Parameters
    ----------
    log : DecisionLog
        Decisions and outcomes.
    contacts, accounts, capacity : DataFrame or None
        Contact log, snapshot and capacity calendar, where there are any.
    portfolio : Portfolio or None
        The simulated world, where it was one.
    """

    log: DecisionLog
    contacts: pd.DataFrame | None = None
    accounts: pd.DataFrame | None = None
    capacity: pd.DataFrame | None = None
    portfolio: Portfolio | None = None

    def tonight(self, experiment: Experiment) -> pd.DataFrame:
        """Give the accounts a report is about: the snapshot, where there is one, else the decisions held out."""
        if self.accounts is not None:
            return self.accounts
        held_out = self.log.split_by_customer(experiment.test_share, random_state=experiment.seed)[1]
        return held_out.X.assign(account_id=held_out.account)

    def as_of(self, experiment: Experiment) -> pd.Timestamp | None:
        """Give the date of the report's decision; None where the accounts hold it."""
        return None if "as_of" in self.tonight(experiment) else self.log.decided_at.max()


def read_data(experiment: Experiment, strategy: Strategy, folder: Path = Path()) -> ExperimentData:
    """Read what a strategy experiment learns from.

    Parameters
    ----------
    experiment : Experiment
        Names the source.
    strategy : Strategy
        Whose actions and commitments count.
    folder : Path
        Where the experiment's relative paths start.

    Returns
    -------
    ExperimentData
    """
    commitments = {a.name: a.commitment_days for a in strategy.actions if a.commitment_days}
    names = list(strategy.action_names)
    match experiment.data:
        case SimulatedData() as data:
            portfolio = make_portfolio(data.accounts, world=data.world, logging=data.logging, random_state=data.seed)
            log = DecisionLog(portfolio.decisions, actions=names, commitment_days=commitments)
            return ExperimentData(log, portfolio.contacts, portfolio.accounts, portfolio.capacity, portfolio)
        case FileData() as data:
            log = DecisionLog(
                read_table(folder / data.decisions),
                actions=names,
                features=data.features,
                logging_propensity=data.logging_propensity,
                horizon_days=data.horizon_days,
                observed_until=data.observed_until,
                commitment_days=commitments,
            )
            contacts = read_table(folder / data.contacts) if data.contacts else None
            accounts = read_table(folder / data.accounts) if data.accounts else None
            return ExperimentData(log, contacts, accounts)
        case _:
            return ExperimentData(DecisionLog(hillstrom_decisions(), actions=names, horizon_days=14))


def _propensity(experiment: Experiment, progress: Callable[[str], None]) -> PropensityResult:
    from sklearn.metrics import brier_score_loss, roc_auc_score

    progress("reading the data")
    X, y = taiwan_accounts()
    progress("propensity to pay")
    model = PropensityToPayModel(random_state=experiment.seed).fit(X, y)
    p = model.oof_proba_[:, 1]
    metrics = {
        "oof_auc": float(roc_auc_score(y, p)),
        "oof_brier": float(brier_score_loss(y, p)),
        "calibration_slope": float(model.calibration_slope_),
        "calibration_intercept": float(model.calibration_intercept_),
        "rows": float(len(y)),
        "paid_share": float(y.mean()),
    }
    return PropensityResult(model, metrics, model.calibration_frame())
