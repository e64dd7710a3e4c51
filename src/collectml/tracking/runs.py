"""Writing a training down as one MLflow run and, for a strategy, one registered version."""

from __future__ import annotations

import importlib.metadata
import json
import math
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collectml import __version__
from collectml.artifact import file_digest
from collectml.data.digest import value_digest
from collectml.pipeline import Experiment, PropensityResult, StrategyModel
from collectml.reports import inert_csv, payload_digest

from .signature import signature_of
from .store import Store, mlflow_quiet

__all__ = ["RunRecord", "commit_of_folder", "log_propensity", "log_strategy"]

PINNED = ("lightgbm", "numpy", "pandas", "scikit-learn", "scipy", "pydantic", "pyyaml", "pyarrow")


@dataclass(frozen=True)
class RunRecord:
    """Where a training was written down.

    Parameters
    ----------
    run_id : str
        MLflow's id of the run.
    model_name, version, alias : str or None
        Registered version and its alias, for a strategy.
    """

    run_id: str
    model_name: str | None = None
    version: str | None = None
    alias: str | None = None


def log_strategy(
    store: Store, experiment: Experiment, model: StrategyModel, folder: Path, artifacts: Sequence[Path] = ()
) -> RunRecord:
    """Log a trained strategy and register it.

    Parameters
    ----------
    store : Store
        Opened store.
    experiment : Experiment
        What was run.
    model : StrategyModel
        What came of it.
    folder : Path
        The saved model.
    artifacts : sequence of Path
        Further files: the report.

    Returns
    -------
    RunRecord
    """
    facts = model.evidence.facts
    log = facts.get("log", {})
    digest = str(log.get("digest", "")) if isinstance(log, dict) else ""
    with mlflow_quiet():
        import mlflow

        # a digest kept elsewhere than the report is what makes it worth something
        payloads = [json.loads(p.read_text(encoding="utf-8")) for p in artifacts if p.suffix == ".json"]
        anchored = {"report_payload_sha256": payload_digest(payloads[0])} if payloads else {}
        lineage = {
            "data_digest": digest,
            "model_sha256": file_digest(folder / "manifest.json"),
            "strategy_sha256": value_digest(model.strategy.model_dump(mode="json")),
            **anchored,
        }
        run = _start(store, experiment, model.evidence.metrics(), lineage)
        with mlflow.start_run(run_id=run):
            mlflow.log_input(_dataset(digest, len(model.features)), context="training")
            mlflow.log_dict(model.strategy.model_dump(mode="json"), "strategy.json")
            mlflow.log_dict(experiment.model_dump(mode="json"), "experiment.json")
            for name, table in model.evidence.tables.items():
                if name == "scores":  # row by row: stays with the model
                    continue
                mlflow.log_text(inert_csv(table), f"evidence/{name}.csv")
            for path in artifacts:
                mlflow.log_artifact(str(path), "report")
            info = mlflow.pyfunc.log_model(
                name="strategy",
                python_model=str(Path(__file__).with_name("pyfunc_model.py")),
                artifacts={"model": str(folder)},
                signature=signature_of(model),
                # the package itself, and what it runs on; given, so that MLflow need not guess by importing
                pip_requirements=[f"collectml=={__version__}", *_pinned()],
                metadata={"limits_enforced": False, "randomised": False, "note": "values and priced_action only"},
                registered_model_name=store.model_name(experiment.name),
            )
        return _with_alias(store, experiment, run, str(info.registered_model_version), lineage)


def log_propensity(store: Store, experiment: Experiment, result: PropensityResult) -> RunRecord:
    """Log a propensity model: metrics, calibration, boosters as text.

    Parameters
    ----------
    store : Store
        Opened store.
    experiment : Experiment
        What was run.
    result : PropensityResult
        What came of it.

    Returns
    -------
    RunRecord
    """
    parts = result.model.to_parts()
    with mlflow_quiet():
        import mlflow

        run = _start(store, experiment, result.metrics, {})
        with mlflow.start_run(run_id=run):
            mlflow.log_text(inert_csv(result.calibration.reset_index()), "calibration.csv")
            mlflow.log_dict({"kind": parts["kind"], "config": parts["config"]}, "model/config.json")
            boosters = parts["boosters"]
            for name, text in boosters.items() if isinstance(boosters, dict) else ():
                mlflow.log_text(text, f"model/{name}.txt")
    return RunRecord(run)


def _start(store: Store, experiment: Experiment, metrics: Mapping[str, float], tags: Mapping[str, str]) -> str:
    from mlflow.entities import Metric, Param

    commit, dirty = commit_of_folder()
    run = store.new_run(
        experiment.name, {"collectml.version": __version__, "collectml.commit": commit, "collectml.dirty": dirty, **tags}
    )
    values = {k: v for k, v in metrics.items() if math.isfinite(v)}
    store.client.log_batch(
        run,
        metrics=[Metric(k, v, 0, 0) for k, v in values.items()],
        params=[Param(k, str(v)[:480]) for k, v in _flat(experiment.model_dump(mode="json", exclude={"strategy"}))],
    )
    store.client.set_terminated(run)
    return run


def _flat(value: object, path: str = "") -> list[tuple[str, object]]:
    if isinstance(value, dict):
        return [pair for k, v in value.items() for pair in _flat(v, f"{path}.{k}" if path else str(k))]
    return [(path, value)]


def _dataset(digest: str, n_features: int) -> Any:
    """Name the data by its digest; no row of it goes to MLflow."""
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    return MetaDataset(
        CodeDatasetSource(tags={"features": str(n_features)}), name="decision_log", digest=digest[:36] or None
    )


def _with_alias(store: Store, experiment: Experiment, run: str, version: str, lineage: Mapping[str, str]) -> RunRecord:
    name, aliases = store.model_name(experiment.name), store.config.aliases
    for key, value in {**lineage, "gates": "not run"}.items():
        store.client.set_model_version_tag(name, version, key, value)
    held = store.client.get_registered_model(name).aliases
    alias = aliases.later if aliases.first in held else aliases.first
    store.client.set_registered_model_alias(name, alias, version)
    return RunRecord(run, name, version, alias)


def _pinned() -> list[str]:
    return [f"{name}=={importlib.metadata.version(name)}" for name in PINNED]


def commit_of_folder() -> tuple[str, str]:
    """Ask git for the commit of the working folder, and whether anything is changed.

    Returns
    -------
    commit, dirty : str
        ``"true"`` or ``"false"``; both ``"unknown"`` outside a checkout.
    """

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False, timeout=10)  # noqa: S603, S607
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "HEAD")
        return commit or "unknown", str(bool(git("status", "--porcelain"))).lower() if commit else "unknown"
    except (OSError, subprocess.TimeoutExpired):
        return "unknown", "unknown"
