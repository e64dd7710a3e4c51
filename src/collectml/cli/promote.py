"""``collectml promote``."""

from __future__ import annotations

from pathlib import Path

import click

from ._progress import stages

__all__ = ["command"]


@click.command("promote")
@click.argument("version")
@click.option("--approved-by", required=True, help="Who answers for it; written down with the version.")
@click.option("--name", help="Registered model; may be left out where there is one only.")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="Experiment file that names the log to compare on  [default: the run's]",
)
@click.option(
    "--report", type=click.Path(path_type=Path), help="report.json, where it was written anew  [default: the run's]"
)
@click.option("--tracking", type=click.Path(path_type=Path), default=Path("mlflow.yaml"), show_default=True)
def command(
    version: str, approved_by: str, name: str | None, config: Path | None, report: Path | None, tracking: Path
) -> None:
    """Make VERSION champion if every gate holds; else exit with 6 and a line for each that does not."""
    from collectml.tracking import open_store, promote

    with stages("promote") as tell:
        tell("checking the gates")
        done = promote(open_store(tracking), version, approved_by=approved_by, name=name, config=config, report=report)
    for gate in done.gates:
        click.echo(f"passed: {gate.name}: {gate.found}")
    before = "" if done.previous is None else f"; version {done.previous} is kept as the one before"
    click.echo(f"version {done.version} of {done.name} is champion{before}")
