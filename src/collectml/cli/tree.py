"""``collectml tree``."""

from __future__ import annotations

from pathlib import Path

import click

from ._progress import stages

__all__ = ["command"]


@click.command("tree")
@click.option("--accounts", type=click.Path(path_type=Path), required=True, help="Parquet file, folder of them, or CSV.")
@click.option("--model", required=True, help="Folder of a saved model, or models:/NAME@champion.")
@click.option("--as-of", required=True, help="Date of the decision, YYYY-MM-DD.")
@click.option("--depth", type=click.IntRange(1, 4), default=3, show_default=True, help="Questions in a row, at most.")
@click.option("--min-leaf", type=click.IntRange(1), help="Accounts a leaf has at least; 1 in 100 by default.")
@click.option(
    "--field", "fields", multiple=True, help="Field to ask about (again for more); the model's features by default."
)
@click.option("--capacity", type=click.Path(path_type=Path), help="Capacity calendar, Parquet or CSV.")
@click.option("--strategy", type=click.Path(path_type=Path), help="Strategy file in place of the model's own.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to write, whole or not at all.")
def command(
    accounts: Path,
    model: str,
    as_of: str,
    depth: int,
    min_leaf: int | None,
    fields: tuple[str, ...],
    capacity: Path | None,
    strategy: Path | None,
    out: Path,
) -> None:
    """Distil the best plan into a tree: tree.yaml (for score-and-assign --tree), tree.svg and rules.parquet."""
    from collectml.artifact import write_folder
    from collectml.batch import score_and_assign

    with stages("tree") as tell:
        result = score_and_assign(
            accounts, out, as_of=as_of, model=model, strategy=strategy, capacity=capacity, dry_run=True, progress=tell
        )
        tell("searching")
        asked = list(fields) or result.model.features
        tree = result.assignment.tree(result.accounts, depth=depth, fields=asked, min_leaf=min_leaf)
        tell("writing")
        rules = tree.frame()
        files = {"tree.yaml": tree.to_yaml().encode(), "tree.svg": tree.to_svg().encode()}
        write_folder(out, {**files, "rules.parquet": rules.to_parquet(index=False)})
    for row in rules.to_dict("records"):
        click.echo(f"{row['leaf']}. {row['rule']}: {row['first']} ({row['accounts']:,} accounts)")
    gain = tree.optimum - tree.value_control
    share = f", {tree.given_up / gain:.1%} of what the best plan gains" if gain > 0 else ""
    click.echo(f"the tree gives up {tree.given_up:,.0f} {tree.currency}{share}")
    if not tree.exact:
        click.echo("the search for its questions was cut off: others may give up less; name fewer fields (--field)")
    click.echo(f"written to {out}")
