"""``collectml demo``."""

from __future__ import annotations

from pathlib import Path

import click

from ._progress import stages

__all__ = ["command"]


@click.command("demo")
@click.option("--accounts", type=click.IntRange(2_000, 1_000_000), default=20_000, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("data/demo"), show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
def command(accounts: int, out: Path, seed: int) -> None:
    """Simulate a card portfolio, learn from its log, assign tonight's accounts, and say what it is worth."""
    from ._demo_story import play

    with stages("demo") as tell:
        text = play(accounts, out, seed, tell)
    click.echo(text)
