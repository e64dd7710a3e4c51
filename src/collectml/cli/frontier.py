"""``collectml frontier``."""

from __future__ import annotations

from pathlib import Path

import click

from ._progress import stages

__all__ = ["command"]


@click.command("frontier")
@click.option("--accounts", type=click.Path(path_type=Path), required=True, help="Parquet file, folder of them, or CSV.")
@click.option("--model", required=True, help="Folder of a saved model, or models:/NAME@champion.")
@click.option("--as-of", required=True, help="Date of the decision, YYYY-MM-DD.")
@click.option("--limit", required=True, help="Name of the limit to vary; it needs an upper bound.")
@click.option("--points", type=click.IntRange(2, 1000), default=50, show_default=True, help="How many bounds.")
@click.option("--from", "low", type=click.FloatRange(0), help="First bound, for the whole portfolio.")
@click.option("--to", "high", type=click.FloatRange(0), help="Last bound, for the whole portfolio.")
@click.option("--capacity", type=click.Path(path_type=Path), help="Capacity calendar, Parquet or CSV.")
@click.option("--strategy", type=click.Path(path_type=Path), help="Strategy file in place of the model's own.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write, whole or not at all.")
def command(
    accounts: Path,
    model: str,
    as_of: str,
    limit: str,
    points: int,
    low: float | None,
    high: float | None,
    capacity: Path | None,
    strategy: Path | None,
    out: Path,
) -> None:
    """Show what a tighter or looser limit would be worth: a table, who changes, and a drawing."""
    from collectml.artifact import write_folder
    from collectml.batch import score_and_assign

    with stages("frontier") as tell:
        result = score_and_assign(
            accounts, out, as_of=as_of, model=model, strategy=strategy, capacity=capacity, dry_run=True, progress=tell
        )
        tell("varying the limit")
        frontier = result.assignment.frontier(limit, points=points, low=low, high=high)
        tell("writing")
        files = {"frontier.parquet": frontier.frame(), "changes.parquet": frontier.changes()}
        contents = {name: table.to_parquet(index=False) for name, table in files.items()}
        write_folder(out, {**contents, "frontier.svg": frontier.to_svg().encode()})
    click.echo(frontier.sentence())
    click.echo(f"written to {out}")
