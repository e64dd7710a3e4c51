"""``collectml sync``."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command("sync")
@click.option("--tracking", type=click.Path(path_type=Path), default=Path("mlflow.yaml"), show_default=True)
def command(tracking: Path) -> None:
    """Send the runs of batches that were delivered while the tracking store was away, each once."""
    from collectml.tracking import sync

    done = sync(tracking)
    click.echo(f"{len(done.sent)} runs sent")
    if done.dropped:
        click.echo(f"{len(done.dropped)} left out: their batches were stopped before anything was delivered")
