"""The trials of a tuning, each a run of its own beneath the training's."""

from __future__ import annotations

import math

from collectml.pipeline import TuningResult

from .store import Store, mlflow_quiet

__all__ = ["log_trials"]

_STATUS = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


def log_trials(store: Store, parent: str, result: TuningResult) -> list[str]:
    """Log every trial of a tuning as a child run.

    Parameters
    ----------
    store : Store
        Opened store.
    parent : str
        Id of the training's run.
    result : TuningResult
        What was tried.

    Returns
    -------
    list of str
        Ids of the child runs, in the order of the trials: parameters, ``value``, ``seconds``, and ``value_so_far`` with a step
        for each fold. Pruned trials end as KILLED.
    """
    runs = []
    with mlflow_quiet():
        from mlflow.entities import Metric, Param

        for trial in result.trials:
            tags = {
                "mlflow.parentRunId": parent,
                "collectml.study": result.study,
                "collectml.trial": str(trial.number),
                "collectml.state": trial.state,
                "collectml.chosen": str(bool(result.params) and trial.number == result.best.number).lower(),
            }
            run = store.new_run(f"trial {trial.number}", tags)
            numbers = {"seconds": trial.seconds} | ({} if trial.value is None else {"value": trial.value})
            metrics = [Metric(k, v, 0, 0) for k, v in numbers.items() if math.isfinite(v)]
            metrics += [Metric("value_so_far", v, 0, step) for step, v in enumerate(trial.fold_values)]
            params = [Param("objective", result.objective), *(Param(k, str(v)) for k, v in trial.params.items())]
            store.client.log_batch(run, metrics=metrics, params=params)
            store.client.set_terminated(run, status=_STATUS[trial.state])
            runs.append(run)
    return runs
