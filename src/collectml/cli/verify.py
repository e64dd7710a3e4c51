"""``collectml verify``."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command("verify")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--model", help="Folder of a saved model, or models:/NAME@champion: assign again and compare.")
@click.option("--accounts", type=click.Path(path_type=Path), help="The snapshot, with --model.")
@click.option("--capacity", type=click.Path(path_type=Path), help="Capacity calendar, with --model.")
@click.option("--strategy", type=click.Path(path_type=Path), help="Strategy file, with --model.")
def command(folder: Path, model: str | None, accounts: Path | None, capacity: Path | None, strategy: Path | None) -> None:
    """Compute the hashes of a written FOLDER again, and its report from the assignment file; a changed byte ends with exit code 1."""
    import json

    from collectml.artifact import verify_folder
    from collectml.errors import ConfigurationError
    from collectml.pipeline.verify import verify_report

    has_report = (folder / "report.json").is_file()
    if (folder / "manifest.json").is_file() or not has_report:
        click.echo(f"{folder}: {verify_folder(folder)} files as written")
    if not has_report:
        return
    again = None
    if model is not None:
        from collectml.batch import score_and_assign

        if accounts is None:
            raise ConfigurationError("--model needs --accounts: there is nothing to assign again")
        try:
            day = json.loads((folder / "report.json").read_text(encoding="utf-8"))["as_of"]
        except (ValueError, KeyError):
            raise ConfigurationError(f"{folder}: report.json is no report") from None
        again = score_and_assign(
            accounts, folder, as_of=day, model=model, strategy=strategy, capacity=capacity, dry_run=True
        ).assignment
    for checked in verify_report(folder, again=again):
        click.echo(f"verified: {checked}")
