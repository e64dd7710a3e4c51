"""``collectml simulate``."""

from __future__ import annotations

import io
from pathlib import Path

import click

from ._progress import stages

__all__ = ["command"]


@click.command("simulate")
@click.option("--accounts", type=click.IntRange(1, 10_000_000), required=True, help="Number of accounts.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write.")
@click.option("--world", type=click.Choice(["card", "charged_off", "no_effect"]), default="card", show_default=True)
@click.option("--logging", type=click.Choice(["randomised", "confounded"]), default="randomised", show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def command(accounts: int, out: Path, world: str, logging: str, seed: int) -> None:
    """Write a simulated portfolio as Parquet: its tables, and the true outcome of every action."""
    from collectml.artifact import write_folder
    from collectml.simulation import make_portfolio

    with stages("simulate") as tell:
        tell("making the portfolio")
        portfolio = make_portfolio(accounts, world=world, logging=logging, random_state=seed)
        tables = {
            t: getattr(portfolio, t) for t in ("accounts", "decisions", "contacts", "payments", "complaints", "capacity")
        }
        tables["truth"] = portfolio.truth.reset_index(names="account_id")
        tell("writing")
        files: dict[str, bytes | Path] = {}
        for name, table in tables.items():
            sink = io.BytesIO()
            table.to_parquet(sink, index=False)
            files[f"{name}.parquet"] = sink.getvalue()
        write_folder(out, files)
    click.echo(f"{accounts:,} accounts of world {world!r} in {out}: {', '.join(sorted(files))}")
