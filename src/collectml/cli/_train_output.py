"""What a training leaves on disk: the saved model, its report, and the accounts a batch can run on."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

from collectml.artifact import write_folder
from collectml.pipeline import StrategyResult
from collectml.reports import CommitteeReport

__all__ = ["write_training"]


def write_training(result: StrategyResult, target: Path, tell: Callable[[str], None]) -> Path:
    """Write model, report, accounts and capacity.

    Parameters
    ----------
    result : StrategyResult
        Of a strategy experiment.
    target : Path
        Folder.
    tell : callable
        Told the name of each stage.

    Returns
    -------
    Path
        The report.
    """
    tell("assigning tonight's accounts")
    as_of = None if "as_of" in result.accounts else result.log.decided_at.max()
    assignment = result.model.assign(result.accounts, capacity=result.capacity, as_of=as_of)
    tell("writing the report")
    result.model.save(target / "model")
    tables = {"accounts": result.accounts} | ({} if result.capacity is None else {"capacity": result.capacity})
    files: dict[str, bytes | Path] = {}
    for name, table in tables.items():
        sink = io.BytesIO()
        table.to_parquet(sink, index=False)
        files[f"{name}.parquet"] = sink.getvalue()
    write_folder(target / "batch", files)
    return CommitteeReport(result.model, assignment, accounts=result.accounts).write(target / "report.html")
