"""``collectml train``."""

from __future__ import annotations

from pathlib import Path

import click

from ._progress import stages

__all__ = ["command"]


@click.command("train")
@click.option("--config", type=click.Path(path_type=Path), required=True, help="Experiment file.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for model, report and tables  [default: data/NAME]")
@click.option("--tracking", type=click.Path(path_type=Path), default=Path("mlflow.yaml"), show_default=True)
def command(config: Path, out: Path | None, tracking: Path) -> None:
    """Run an experiment: train, value, report, and write it down as one MLflow run."""
    from collectml.pipeline import PropensityResult, read_experiment, run_experiment

    experiment = read_experiment(config)
    target = out or Path("data") / experiment.name
    with stages("train") as tell:
        from collectml.tracking import log_propensity, log_strategy, log_trials, open_store

        tell("opening the tracking store")
        store = open_store(tracking)  # first: a store that is away is better known before than after the training
        result = run_experiment(experiment, folder=config.parent, study=target / "tuning.db", progress=tell)
        if isinstance(result, PropensityResult):
            record = log_propensity(store, experiment, result)
        else:
            from ._train_output import write_training

            report = write_training(result, target, tell)
            record = log_strategy(store, experiment, result.model, target / "model", [report, report.with_suffix(".json")])
            if result.tuning is not None:
                log_trials(store, record.run_id, result.tuning)
    if isinstance(result, PropensityResult):
        click.echo("\n".join(f"{name}: {value:,.4f}" for name, value in result.metrics.items()))
    else:
        from ._summary import value_summary

        click.echo(value_summary(result.model))
        if result.tuning is not None:
            click.echo(result.tuning.sentence())
        click.echo(f"model, report and tonight's accounts are in {target}")
        click.echo(f"registered as {record.model_name} version {record.version}, alias {record.alias}")
    click.echo(f"MLflow run {record.run_id} in {store.uri}")
