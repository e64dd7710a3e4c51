"""``collectml score-and-assign``."""

from __future__ import annotations

from pathlib import Path

import click

from ._logging import logging_to
from ._progress import stages
from ._summary import assignment_summary

__all__ = ["command"]


@click.command("score-and-assign")
@click.option(
    "--accounts", required=True, help="Parquet file, folder or pattern of them, CSV, or postgresql://...#TABLE or #QUERY."
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write, whole or not at all.")
@click.option("--as-of", required=True, help="Date of the decision, YYYY-MM-DD.")
@click.option("--model", required=True, help="Folder of a saved model, or models:/NAME@champion.")
@click.option("--strategy", type=click.Path(path_type=Path), help="Strategy file in place of the model's own.")
@click.option("--capacity", type=click.Path(path_type=Path), help="Capacity calendar, Parquet or CSV.")
@click.option(
    "--tree", type=click.Path(path_type=Path), help="Strategy tree that makes the plan, as collectml tree wrote it."
)
@click.option("--reasons", is_flag=True, help="Write reasons.parquet too: why each account has its action.")
@click.option("--max-rejects", default="0", show_default=True, help="Rows with faults to set apart: 10, or a share, 0.1%.")
@click.option("--memory", default="2GiB", show_default=True, help="What the process may hold; the rest goes to files.")
@click.option(
    "--quality", type=click.Choice(["warn", "stop"]), default="warn", show_default=True, help="Where features have drifted."
)
@click.option("--log", type=click.Path(path_type=Path), help="File to add JSON lines to, one an event; - for stderr.")
@click.option("--dry-run", is_flag=True, help="Do everything but write.")
@click.option("--to-table", help="postgresql://...#TABLE that gets the assignments too, in one transaction.")
@click.option("--allow-new-holdout", is_flag=True, help="Accept another hold-out salt: held-out customers change.")
def command(
    accounts: str,
    out: Path,
    as_of: str,
    model: str,
    strategy: Path | None,
    capacity: Path | None,
    tree: Path | None,
    reasons: bool,
    max_rejects: str,
    memory: str,
    quality: str,
    log: Path | None,
    dry_run: bool,
    allow_new_holdout: bool,
    to_table: str | None,
) -> None:
    """Give every account its best permitted action within the limits."""
    from collectml.batch import score_and_assign

    with stages("score-and-assign") as tell, logging_to(log):
        result = score_and_assign(
            accounts,
            out,
            as_of=as_of,
            model=model,
            strategy=strategy,
            capacity=capacity,
            tree=tree,
            reasons=reasons,
            max_rejects=max_rejects,
            memory=memory,
            quality=quality,
            dry_run=dry_run,
            allow_new_holdout=allow_new_holdout,
            to_table=to_table,
            progress=tell,
        )
    click.echo(assignment_summary(result.assignment))
    if len(result.rejects):
        click.echo(f"{len(result.rejects):,} rows were rejected, see rejects.parquet")
    for fault in result.summary["drifted"]:  # type: ignore[attr-defined]
        click.echo(f"not as in training: {fault}")
    click.echo("dry run: nothing was written" if dry_run else f"written to {out}")
    if result.tracking == "queued":
        click.echo("the tracking store is away: send the run later by collectml sync")
