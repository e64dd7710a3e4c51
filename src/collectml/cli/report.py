"""``collectml report``."""

from __future__ import annotations

from pathlib import Path

import click

from ._progress import stages

__all__ = ["command"]


@click.command("report")
@click.option("--model", required=True, help="Folder of a saved model, or models:/NAME@champion.")
@click.option("--accounts", type=click.Path(path_type=Path), required=True, help="The snapshot to assign and report on.")
@click.option("--as-of", required=True, help="Date of the decision, YYYY-MM-DD.")
@click.option("--capacity", type=click.Path(path_type=Path), help="Capacity calendar, Parquet or CSV.")
@click.option("--strategy", type=click.Path(path_type=Path), help="Strategy file in place of the model's own.")
@click.option("--language", type=click.Choice(["en", "zh-CN", "both"]), default="en", show_default=True)
@click.option("--pdf", is_flag=True, help="Write the PDF beside it (extra: report).")
@click.option("--owner", multiple=True, help="Owner of a condition; once for each, in their order.")
@click.option("--due", help="Date the conditions are due.")
@click.option("--expires", help="Date the approval ends.")
@click.option("--materiality", help="Tier of the model in your inventory.")
@click.option("--classification", help="Legal classification, as counsel settled it.")
@click.option("--champion", help="Model in use, folder or models:/NAME@champion: what changes against it is shown.")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="HTML file to write; its payload goes beside it."
)
def command(
    model: str,
    accounts: Path,
    as_of: str,
    capacity: Path | None,
    strategy: Path | None,
    language: str,
    pdf: bool,
    owner: tuple[str, ...],
    due: str | None,
    expires: str | None,
    materiality: str | None,
    classification: str | None,
    champion: str | None,
    out: Path,
) -> None:
    """Write the committee report of a model and a snapshot; assigns anew, to the same result as the batch."""
    from collectml import __version__
    from collectml.batch import score_and_assign
    from collectml.reports import Approval, CommitteeReport

    with stages("report") as tell:
        result = score_and_assign(
            accounts,
            out,
            as_of=as_of,
            model=model,
            strategy=strategy,
            capacity=capacity,
            dry_run=True,
            progress=tell,
        )
        theirs = None
        if champion is not None:
            tell("the champion's plan")
            theirs = score_and_assign(accounts, out, as_of=as_of, model=champion, capacity=capacity, dry_run=True).assignment
        tell("writing the report")
        report = CommitteeReport(
            result.model,
            result.assignment,
            accounts=result.accounts,
            approval=Approval(owner, due, expires, materiality, classification),
            champion=theirs,
            provenance={"model": model, "collectml": __version__, "commit": _commit()},
        )
        path = report.write(out, language=language, pdf=pdf)
    click.echo(f"report written to {path}")


def _commit() -> str:
    from collectml.tracking.runs import commit_of_folder

    commit, dirty = commit_of_folder()
    return commit[:12] + ("+dirty" if dirty == "true" else "")
