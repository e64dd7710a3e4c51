"""The nightly job: read accounts, score, price, assign, check, write; a folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from collectml import __version__
from collectml.artifact import file_digest, seal, write_folder
from collectml.data import scoring_table, split_faults, validate
from collectml.data.digest import content_digest
from collectml.data.tables import read_table, table_files
from collectml.engines.postgres import describe_place, is_postgres, read_accounts, writing
from collectml.errors import CollectMLError, ConfigurationError, SchemaError
from collectml.folders import exclusive
from collectml.pipeline import StrategyModel, load
from collectml.policy import Assignment, StrategyTree
from collectml.strategy import Strategy
from collectml.tracking import Registered, find_model, lineage_of, tracked_delivery

__all__ = ["BatchResult", "load_model", "score_and_assign"]

LIBRARIES = ("lightgbm", "numpy", "pandas", "scipy", "pyarrow")


@dataclass(frozen=True)
class BatchResult:
    """What a batch did.

    Parameters
    ----------
    assignment : Assignment
        The assignment itself.
    model : StrategyModel
        What scored, with the strategy that was used.
    accounts : DataFrame
        The accounts decided.
    assignments : DataFrame
        What ``assignments.parquet`` holds.
    rejects : DataFrame
        Rows left out, with ``reject_reason``.
    summary : dict
        What ``summary.json`` holds.
    folder : Path or None
        Where it was written; None for a dry run.
    tracking : {"logged", "queued", "none"}
        What became of the batch's run; ``"none"`` for a model that is not registered, and a dry run.
    """

    assignment: Assignment
    model: StrategyModel
    accounts: pd.DataFrame
    assignments: pd.DataFrame
    rejects: pd.DataFrame
    summary: dict[str, object]
    folder: Path | None
    tracking: str = "none"


def load_model(source: str | Path) -> tuple[StrategyModel, Path]:
    """Load a saved model, or the one a registered version holds.

    Parameters
    ----------
    source : str or Path
        A folder, or ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.

    Returns
    -------
    model : StrategyModel
    folder : Path
        Where it was read from.
    """
    folder, _ = find_model(source)
    return load(folder), folder


def score_and_assign(
    accounts: str | Path,
    out: str | Path,
    *,
    as_of: str | pd.Timestamp,
    model: str | Path,
    strategy: str | Path | None = None,
    capacity: str | Path | None = None,
    tree: str | Path | None = None,
    max_rejects: int = 0,
    dry_run: bool = False,
    allow_new_holdout: bool = False,
    to_table: str | None = None,
    progress: Callable[[str], None] = lambda stage: None,
) -> BatchResult:
    """Score a snapshot and assign an action to every account.

    Parameters
    ----------
    accounts : str or Path
        Parquet file, folder or pattern of Parquet files, CSV, or ``postgresql://...#table`` (or ``#SELECT ...``).
    out : str or Path
        Folder to write; replaced where it exists, whole or not at all.
    as_of : str or Timestamp
        Date of the decision.
    model : str or Path
        Saved model, or registered version.
    strategy : str or Path, optional
        Strategy file in place of the model's own.
    capacity : str or Path, optional
        Capacity calendar, Parquet or CSV.
    tree : str or Path, optional
        Strategy tree, YAML, that makes the plan in place of the full policy.
    max_rejects : int, default 0
        So many rows with faults are set apart; more stop the batch.
    dry_run : bool, default False
        Do everything but write.
    allow_new_holdout : bool, default False
        Accept a strategy whose hold-out salt differs from the model's: the held-out customers change.
    to_table : str, optional
        ``postgresql://...#table`` that gets the assignments too, in one transaction; the same batch again replaces its rows.
    progress : callable, optional
        Told the name of each stage.

    Returns
    -------
    BatchResult

    Raises
    ------
    ConfigurationError, SchemaError, InfeasibleStrategyError, ArtifactError
        With the exit codes of :mod:`collectml.errors`; nothing is written then.
    """
    day = _date(as_of)
    # held from the first read on: of two batches on one folder the second hears of it before it has worked for an hour
    with contextlib.nullcontext() if dry_run else exclusive(out):
        return _run(
            accounts,
            Path(out),
            day,
            model,
            strategy,
            tree,
            capacity,
            max_rejects,
            dry_run,
            allow_new_holdout,
            to_table,
            progress,
        )


def _run(
    accounts: str | Path,
    out: Path,
    day: pd.Timestamp,
    model: str | Path,
    strategy: str | Path | None,
    tree: str | Path | None,
    capacity: str | Path | None,
    max_rejects: int,
    dry_run: bool,
    allow_new_holdout: bool,
    to_table: str | None,
    progress: Callable[[str], None],
) -> BatchResult:
    progress("reading model and strategy")
    folder, registered = find_model(model)
    trained = load(folder)
    planner = None if tree is None else StrategyTree.from_yaml(tree)
    used = trained if strategy is None else _with_strategy(trained, Path(strategy), allow_new_holdout)
    progress("reading accounts")
    given = read_accounts(str(accounts)) if is_postgres(accounts) else read_table(accounts)
    levels = list(used.uplift.encoder_.levels_)
    good, rejects = split_faults(given, scoring_table(used.features, levels), actions=used.strategy.action_names)
    if len(rejects) > max_rejects:
        raise SchemaError(
            f"accounts: {len(rejects):,} of {len(given):,} rows have faults, more than --max-rejects {max_rejects}: "
            + "; ".join(f"{reason} ({n:,})" for reason, n in rejects["reject_reason"].value_counts().head(5).items()),
            _reject_table(rejects),
        )
    calendar = None if capacity is None else validate(read_table(capacity), "capacity")
    progress("scoring and assigning")
    assignment = used.assign(good, capacity=calendar, as_of=day, tree=planner)
    progress("checking")
    frame = assignment.frame()
    _check(assignment, frame, good)
    frame["risk_grade"] = used.grades(good).to_numpy()
    frame["as_of"] = f"{day:%Y-%m-%d}"
    summary = _summary(assignment, frame, good, rejects, f"{day:%Y-%m-%d}")
    result = BatchResult(assignment, used, good, frame, rejects, summary, None if dry_run else out)
    if not dry_run:
        progress("writing")
        sources = {"accounts": accounts, "capacity": capacity, "strategy": strategy, "tree": tree}
        try:
            digests = {name: _digests(source, given) for name, source in sorted(sources.items()) if source is not None}
            result = replace(result, tracking=_write(result, folder, registered, digests, out, to_table))
        except OSError as error:
            raise CollectMLError(f"{out} cannot be written ({error.strerror}); what stood there is untouched") from error
    return result


def _date(as_of: str | pd.Timestamp) -> pd.Timestamp:
    try:
        day = pd.Timestamp(as_of)
    except ValueError:
        raise ConfigurationError(f"--as-of {as_of!r} is no date (YYYY-MM-DD)") from None
    if pd.isna(day):
        raise ConfigurationError(f"--as-of {as_of!r} is no date (YYYY-MM-DD)")
    return day.normalize()


def _with_strategy(model: StrategyModel, path: Path, allow_new_holdout: bool) -> StrategyModel:
    strategy = Strategy.from_yaml(path)
    own = model.strategy
    if strategy.control != own.control:
        raise ConfigurationError(f"{path}: control {strategy.control!r}, but the model was trained against {own.control!r}")
    if own.holdout.share > 0 and strategy.salts.holdout != own.salts.holdout and not allow_new_holdout:
        raise ConfigurationError(
            f"{path}: the hold-out salt differs from the model's, which would mix held-out and treated customers; "
            "keep it, or say --allow-new-holdout"
        )
    return StrategyModel(
        strategy,
        model.uplift,
        model.propensity_to_pay,
        model.channel_response,
        model.complaints,
        model.grader,
        model.evidence,
    )


def _reject_table(rejects: pd.DataFrame) -> pd.DataFrame:
    counted = rejects.groupby("reject_reason", sort=False)["account_id"].agg(["size", _first_ids])
    return pd.DataFrame(
        {
            "table": "accounts",
            "column": "",
            "check": counted.index,
            "rows": counted["size"].to_numpy(),
            "examples": counted["_first_ids"].to_numpy(),
            "kind": "row",
        }
    )


def _first_ids(ids: pd.Series) -> str:
    return ", ".join(map(str, ids.iloc[:3]))


def _check(assignment: Assignment, frame: pd.DataFrame, accounts: pd.DataFrame) -> None:
    """Look at the result once more, apart from the code that made it: one action each, permitted, limits held."""
    faults = []
    if not frame["account_id"].equals(accounts["account_id"].reset_index(drop=True)):
        faults.append("accounts and assignments differ")
    problem = assignment.problem
    at = pd.Index(problem.strategy.action_names).get_indexer(pd.Index(frame["action"]))
    rows = np.arange(len(frame))
    if (at < 0).any() or not (problem.permissions.allowed[rows, at]).all():
        faults.append("an action was assigned that is not permitted")
    table = assignment.limits()
    slack = 1e-9 * np.maximum(1.0, np.abs(table[["lower", "upper"]].replace([np.inf, -np.inf], 0).to_numpy()))
    if ((table["used"] > table["upper"] + slack[:, 1]) | (table["used"] < table["lower"] - slack[:, 0])).any():
        faults.append("a limit is exceeded")
    if not frame["probability"].between(0, 1, inclusive="right").all():
        faults.append("a probability lies outside (0, 1]")
    if faults:
        raise CollectMLError(f"the assignment failed its own checks: {'; '.join(faults)}; nothing was written")


def _summary(
    assignment: Assignment, frame: pd.DataFrame, accounts: pd.DataFrame, rejects: pd.DataFrame, as_of: str
) -> dict[str, object]:
    solution = assignment.plan.solution
    conditions = assignment.problem.permissions.frame()
    return {
        "as_of": as_of,
        "strategy": assignment.problem.strategy.name,
        "currency": assignment.problem.strategy.currency,
        "accounts": len(frame),
        "rejects": len(rejects),
        "value": float(frame["value"].sum()),
        "value_no_action": float(frame["value_no_action"].sum()),
        "actions": _records(assignment.by_action().reset_index(names="action")),
        "reasons": {str(k): int(v) for k, v in frame["reason"].value_counts().sort_index().items()},
        "grades": {str(k): int(v) for k, v in frame["risk_grade"].value_counts().sort_index().items()},
        "limits": _records(assignment.limits()),
        "conditions": _records(conditions),
        "missing_fields": sorted({f for fields in conditions["missing_fields"] for f in fields.split(", ") if f}),
        "solution": {"status": solution.status, "gap": float(solution.gap), "upper_bound": float(solution.upper_bound)},
        "exploration": {"draws": assignment.counter + 1, "breach_bound": float(assignment.plan.breach_bound)},
    }


def _records(table: pd.DataFrame) -> list[dict[str, object]]:
    """Turn a table into JSON-able records; what is not finite becomes null."""
    return [
        {str(k): (None if isinstance(v, float) and not np.isfinite(v) else v) for k, v in row.items()}
        for row in json.loads(table.to_json(orient="records", double_precision=15))
    ]


def _digests(source: str | Path, read: pd.DataFrame) -> dict[str, str]:
    """Say what an input held: the bytes of files, the content of what a database gave."""
    if is_postgres(source):
        return {describe_place(str(source)): content_digest(read)}
    return {file.name: file_digest(file) for file in table_files(source)}


def _write(
    result: BatchResult,
    model_folder: Path,
    registered: Registered | None,
    inputs: Mapping[str, Mapping[str, str]],
    out: Path,
    to_table: str | None,
) -> str:
    files = {"assignments.parquet": _parquet(result.assignments), "summary.json": _json(result.summary)}
    if len(result.rejects):
        files["rejects.parquet"] = _parquet(result.rejects)
    lineage = lineage_of(result.model, registered)
    manifest = {
        "collectml": __version__,
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "as_of": result.summary["as_of"],
        "strategy": result.model.strategy.model_dump(mode="json", exclude={"salts"}),
        "inputs": inputs,
        "model": file_digest(model_folder / "manifest.json"),
        "lineage": lineage,
        "outputs": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
        "exploration": result.summary["exploration"],
    }
    batch_id = f"{result.summary['as_of']}-{hashlib.sha256(seal(manifest)).hexdigest()[:16]}"
    tracked = tracked_delivery(batch_id, result.summary, lineage, registered, out)
    # the rows are in the table but unseen until the folder stands; a failure of either undoes the rows
    with tracked as state, contextlib.nullcontext() if to_table is None else writing(to_table, result.assignments, batch_id):
        write_folder(out, {**files, "manifest.json": seal({**manifest, "batch_id": batch_id, "tracking": state})})
        return state


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _parquet(frame: pd.DataFrame) -> bytes:
    """Write Parquet whose bytes depend on the content alone."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", use_dictionary=True)
    return sink.getvalue()
