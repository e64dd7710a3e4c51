"""``collectml rollback``."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command("rollback")
@click.option("--by", required=True, help="Who decides it; written down.")
@click.option("--why", required=True, help="The reason; written down.")
@click.option("--name", help="Registered model; may be left out where there is one only.")
@click.option("--tracking", type=click.Path(path_type=Path), default=Path("mlflow.yaml"), show_default=True)
def command(by: str, why: str, name: str | None, tracking: Path) -> None:
    """Make the previous champion champion again."""
    from collectml.tracking import open_store, roll_back

    done = roll_back(open_store(tracking), by=by, why=why, name=name)
    click.echo(f"version {done.version} of {done.name} is champion again, in place of version {done.left}")
