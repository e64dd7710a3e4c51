"""Tuning: parameters of the uplift model chosen by what its decisions are worth on customers it has not seen."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.data import DecisionLog
from collectml.errors import ConfigurationError, SchemaError
from collectml.evaluation.intervals import interval, ratio_of_sums
from collectml.evaluation.outcome_models import customer_folds
from collectml.uplift import UpliftModel
from collectml.uplift.scores import score_arrays

from .tuning_result import TrialRecord, TuningResult

__all__ = ["OBJECTIVES", "tune"]

Floats = NDArray[np.float64]

OBJECTIVES = ("policy_value", "dr_loss")
FEWEST_ROWS = 50
# where a dimension ends in "none": the point that stands for LightGBM's own default
_NO_DEPTH, _NO_PENALTY = 16, 1e-3
DEFAULTS = {
    "n_estimators": 600,
    "folds": 5,
    "max_depth": _NO_DEPTH,
    "reg_lambda": _NO_PENALTY,
    "colsample_bytree": 1.0,
    "subsample": 1.0,
}


def tune(
    log: DecisionLog,
    *,
    learner: str = "hurdle",
    objective: Literal["policy_value", "dr_loss"] = "policy_value",
    trials: int = 30,
    minutes: float | None = None,
    storage: str | Path | None = None,
    folds: int = 3,
    test_share: float = 0.3,
    min_rows: int = FEWEST_ROWS,
    confidence: float = 0.95,
    random_state: int | None = None,
    n_jobs: int | None = None,
    progress: Callable[[str], None] = lambda stage: None,
) -> TuningResult:
    """Search the uplift model's parameters, and keep the defaults unless something beats them on held-out customers.

    Parameters
    ----------
    log : DecisionLog
        Decisions to learn from, with logging propensities. Hold back what a later valuation shall use.
    learner : str, default "hurdle"
        As in :class:`collectml.UpliftModel`.
    objective : {"policy_value", "dr_loss"}, default "policy_value"
        ``"policy_value"``: money recovered per decision if every account got the action with the highest prediction, by
        doubly robust scores. ``"dr_loss"``: mean squared error of predicted effects against the effects' scores; less noisy,
        and less to the point. Both cross-fitted by customer; both are maximised (the loss with its sign turned).
    trials : int, default 30
        Trials of the study in all, those of earlier sittings included; the first is the defaults.
    minutes : float, optional
        No new trial is begun after so long.
    storage : str or Path, optional
        SQLite file that keeps the study: the same call continues it. In memory where not given.
    folds : int, default 3
        Folds of customers a trial is judged on; a trial well below the others after a fold is pruned.
    test_share : float, default 0.3
        Share of customers no trial sees, on whom the best trial meets the defaults.
    min_rows : int, default 50
        An action with fewer rows takes no part.
    confidence : float, default 0.95
        Of the interval of that difference.
    random_state : int, optional
        Seed of folds, models and search; the same seed gives the same study where `minutes` does not cut it.
    n_jobs : int, optional
        Threads of each fit; trials run one after the other.
    progress : callable, optional
        Told what is being done.

    Returns
    -------
    TuningResult
        ``params`` goes to ``UpliftModel(learner, **params)``.

    Raises
    ------
    ConfigurationError
        Where the objective is unknown, a budget is empty, or the log holds no logging propensities.
    SchemaError
        Where fewer than two actions have enough rows.

    Notes
    -----
    Scores use one fixed outcome prediction, the defaults', so that trials differ by their decisions alone. The study is
    named after data, learner, objective and seed: another log begins another study in the same file.

    References
    ----------
    Akiba, Sano, Yanase, Ohta and Koyama (2019), Optuna, KDD. Bergstra et al. (2011), Algorithms for hyper-parameter
    optimization, NeurIPS (TPE). Robins, Rotnitzky and Zhao (1994), JASA 89 (the scores); Nie and Wager (2021), Biometrika 108
    (choosing models of effects by a cross-fitted loss).

    Examples
    --------
    >>> import collectml as cm
    >>> portfolio = cm.make_portfolio(600, random_state=1)
    >>> log = cm.DecisionLog(portfolio.decisions, actions=portfolio.actions)
    >>> result = tune(log, learner="s", trials=1, folds=2, min_rows=20, random_state=1)
    >>> result.sentence(), result.params
    ('1 trial: none was better than the defaults, which stay.', {})
    """
    if objective not in OBJECTIVES:
        raise ConfigurationError(f"objective {objective!r} is unknown; choose one of {', '.join(OBJECTIVES)}")
    if trials < 1 or folds < 2 or (minutes is not None and minutes <= 0):
        raise ConfigurationError("tuning needs at least one trial, two folds, and minutes above 0 where given")
    if log.logging_propensity is None:
        raise ConfigurationError("tuning judges decisions by logging propensities, and the log holds none")
    rows = log.support()["rows"]
    known = rows.index[rows >= min_rows]
    if len(known) < 2 or log.control not in known:
        raise SchemaError(f"fewer than two actions (the control among them) have {min_rows:,} rows: nothing to tune on")
    seed = 0 if random_state is None else int(random_state)
    rest, held_out = log.select(log.action.isin(known).to_numpy()).split_by_customer(test_share, random_state=seed + 1)
    search = _Search(rest, learner, objective, folds, seed, n_jobs, progress)
    name = f"{objective}-{learner}-{folds}folds-seed{seed}-{log.digest()[:16]}"
    with _quiet_optuna():
        study = _open(storage, name, seed)
        _continue(study, search, trials, minutes)
        records = tuple(_record(t) for t in study.get_trials(deepcopy=False))
    draft = TuningResult({}, objective, records, 0.0, 0.0, 0.0, len(held_out), name)
    best = draft.best
    if not best.params:
        return draft
    progress("tuning: the best trial against the defaults, on held-out customers")
    value, low, high = search.compare(held_out, best.params, confidence)
    params = dict(best.params) if value > 0 else {}
    return TuningResult(params, objective, records, value, low, high, len(held_out), name)


class _Search:
    """What every trial of a study shares: rows, folds, and the scores they are judged by."""

    def __init__(
        self,
        log: DecisionLog,
        learner: str,
        objective: str,
        folds: int,
        seed: int,
        n_jobs: int | None,
        progress: Callable[[str], None],
    ) -> None:
        self.log, self.learner, self.objective = log, learner, objective
        self.seed, self.n_jobs, self.progress = seed, n_jobs, progress
        self.fold = customer_folds(log, folds)
        self._defaults: dict[int, Floats] = {}

    def judge(self, params: Mapping[str, object], told: Callable[[int, float], None]) -> float:
        """Return the mean score of one set of parameters; `told` hears the running mean after each fold, and may stop it."""
        total, seen = 0.0, 0
        for k in range(int(self.fold.max()) + 1):
            test = self.fold == k
            nuisance = self._default_predictions(k)
            predicted = self._predict(k, params) if params else nuisance
            scores = self._scores(self.log.select(test), nuisance)
            total += float(self._gains(predicted, scores).sum())
            seen += int(test.sum())
            told(k, total / seen)
        return total / seen

    def compare(self, held_out: DecisionLog, params: Mapping[str, object], confidence: float) -> tuple[float, float, float]:
        """Return how much better the parameters are than the defaults on held-out customers, with limits."""
        whole = np.ones(len(self.log), dtype=bool)
        nuisance = self._fit(whole, {}, held_out.X)
        scores = self._scores(held_out, nuisance)
        gain = self._gains(self._fit(whole, params, held_out.X), scores) - self._gains(nuisance, scores)
        codes, customers = pd.factorize(np.asarray(held_out.customer))
        ratio = ratio_of_sums(gain, np.ones(len(gain)), codes.astype(np.intp), len(customers))
        limits = interval(ratio.value, ratio.influence, confidence, one_sided_tail=False)
        return ratio.value, limits.low, limits.high

    def _default_predictions(self, k: int) -> Floats:
        if k not in self._defaults:
            self._defaults[k] = self._predict(k, {})
        return self._defaults[k]

    def _predict(self, k: int, params: Mapping[str, object]) -> Floats:
        return self._fit(self.fold != k, params, self.log.X[self.fold == k])

    def _fit(self, train: NDArray[np.bool_], params: Mapping[str, object], X: pd.DataFrame) -> Floats:
        """Learn on some rows and predict others; an action the rows do not hold is predicted as missing."""
        rows = self.log.select(train)
        model = (
            UpliftModel(self.learner, control=self.log.control, random_state=self.seed, n_jobs=self.n_jobs)
            .set_params(**params)
            .fit(
                rows.X,
                rows.recovered,
                action=rows.action,
                paid=rows.paid,
                logging_propensity=rows.logging_propensity,
                customer=rows.customer,
            )
        )
        return model.predict(X).reindex(columns=list(self.log.actions)).to_numpy(dtype=np.float64)

    def _scores(self, rows: DecisionLog, nuisance: Floats) -> Floats:
        logged = pd.Index(rows.actions).get_indexer(pd.Index(rows.action)).astype(np.intp)
        propensity = np.asarray(rows.logging_propensity, dtype=np.float64)
        return score_arrays(np.nan_to_num(nuisance), logged, rows.recovered.to_numpy(dtype=np.float64), propensity)

    def _gains(self, predicted: Floats, scores: Floats) -> Floats:
        """Return each row's contribution to the objective, larger being better."""
        if self.objective == "policy_value":
            chosen = np.where(np.isfinite(predicted), predicted, -np.inf).argmax(axis=1)
            return scores[np.arange(len(scores)), chosen]
        # the control's effect is 0 by definition
        usable = np.isfinite(predicted).all(axis=0) & (np.arange(predicted.shape[1]) > 0)
        off = (scores - scores[:, :1]) - (predicted - predicted[:, :1])
        return -np.mean(off[:, usable] ** 2, axis=1)


def _parameters(trial: Any) -> dict[str, object]:
    """Suggest a point, and say it as parameters of the model; what equals the model's default is left out."""
    point = {
        "n_estimators": trial.suggest_int("n_estimators", 50, 1_500, log=True),
        "folds": trial.suggest_int("folds", 2, 10),
        "max_depth": trial.suggest_int("max_depth", 2, _NO_DEPTH),
        "reg_lambda": trial.suggest_float("reg_lambda", _NO_PENALTY, 100.0, log=True),
        "colsample_bytree": trial.suggest_float("colsample_bytree", 0.3, 1.0),
        "subsample": trial.suggest_float("subsample", 0.4, 1.0),
    }
    params: dict[str, object] = {k: v for k, v in point.items() if v != DEFAULTS[k]}
    if "subsample" in params:
        params["subsample_freq"] = 1  # without it LightGBM ignores the share
    return params


def _open(storage: str | Path | None, name: str, seed: int) -> Any:
    """Open or begin a study; its sampler's seed moves on with the trials already made, else it would repeat them."""
    import optuna

    url = None
    if storage is not None:
        path = Path(storage).resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{path}"
    study = optuna.create_study(
        storage=url,
        study_name=name,
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
    )
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    return study


def _continue(study: Any, search: _Search, trials: int, minutes: float | None) -> None:
    """Run what is left of the budget, the defaults first."""
    import optuna

    states = optuna.trial.TrialState
    for old in study.get_trials(deepcopy=False, states=(states.RUNNING,)):
        study.tell(old.number, state=states.FAIL)  # a sitting that was broken off
    waiting = bool(study.get_trials(deepcopy=False, states=(states.WAITING,)))
    judged = study.get_trials(deepcopy=False, states=(states.COMPLETE,))
    if not waiting and not any(t.user_attrs.get("params") == {} for t in judged):
        study.enqueue_trial(DEFAULTS)
        waiting = True

    def run(trial: Any) -> float:
        search.progress(f"tuning: trial {trial.number + 1} of {trials}")
        params = _parameters(trial)
        trial.set_user_attr("params", params)

        def told(fold: int, value: float) -> None:
            trial.report(value, fold)
            if params and trial.should_prune():
                raise optuna.TrialPruned

        return search.judge(params, told)

    begun = time.monotonic()
    if waiting:  # the defaults are always judged, however small the budget
        study.optimize(run, n_trials=1, n_jobs=1)
    left = trials - len(study.trials)
    rest = None if minutes is None else 60 * minutes - (time.monotonic() - begun)
    if left > 0 and (rest is None or rest > 0):
        study.optimize(run, n_trials=left, n_jobs=1, timeout=rest)


def _record(trial: Any) -> TrialRecord:
    steps = tuple(float(v) for _, v in sorted(trial.intermediate_values.items()))
    state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(trial.state.name, "failed")
    value = trial.value if trial.value is not None else (steps[-1] if steps else None)
    seconds = 0.0 if trial.duration is None else trial.duration.total_seconds()
    return TrialRecord(trial.number, state, value, dict(trial.user_attrs.get("params", {})), steps, seconds)


@contextlib.contextmanager
def _quiet_optuna() -> Iterator[None]:
    """Keep Optuna's own log from the person running a job: progress is told by the caller's callable."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
