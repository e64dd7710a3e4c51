"""The batch from end to end: read and score, solve, check and write."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from collectml.artifact import file_digest, seal, write_folder
from collectml.data import split_faults, validate
from collectml.data.profile import drift_faults
from collectml.data.tables import read_table
from collectml.engines.ledger import Ledger
from collectml.engines.postgres import writing
from collectml.errors import CollectMLError, ConfigurationError, SchemaError
from collectml.folders import exclusive, staging
from collectml.pipeline import StrategyModel, load
from collectml.pipeline.drivers import explainable
from collectml.policy import Assignment, StrategyTree, TreatmentPolicy
from collectml.strategy import Strategy
from collectml.tracking import Registered, find_model, lineage_of, tracked_delivery

from .journal import Journal
from .reading import AllowedRejects, Night, account_table, read_accounts
from .reasons import write_reasons
from .sources import AccountSource, file_digests, parse_day, with_strategy
from .writing import as_json, manifest_of, summary_of, tables, write_parquet, write_rows

__all__ = ["BatchResult", "score_and_assign"]

BLOCK = 65_536  # rows read and scored together
LEAST_MEMORY = 256 << 20
UNITS = {"": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "KB": 10**3, "MB": 10**6, "GB": 10**9}


@dataclass(frozen=True)
class BatchResult:
    """What a batch did.

    Parameters
    ----------
    assignment : Assignment
        The assignment itself.
    model : StrategyModel
        What scored, with the strategy that was used.
    night : Night
        The accounts as the batch keeps them, and the rows left out.
    source : AccountSource
        Where they came from.
    summary : dict
        What ``summary.json`` holds.
    metrics : dict
        Rows, rejects, seconds by stage and peak memory in MiB: what differs from run to run and so stands in no file.
    folder : Path or None
        Where it was written; None for a dry run.
    tracking : {"logged", "queued", "none"}
        What became of the batch's run; ``"none"`` for a model that is not registered, and a dry run.
    """

    assignment: Assignment
    model: StrategyModel
    night: Night
    source: AccountSource
    summary: dict[str, object]
    metrics: dict[str, object]
    folder: Path | None
    tracking: str = "none"

    @property
    def rejects(self) -> pd.DataFrame:
        """Rows left out, with ``reject_reason``."""
        return self.night.rejects

    @cached_property
    def accounts(self) -> pd.DataFrame:
        """The accounts decided, read once more and held in memory whole: for reports on them."""
        table = account_table(self.model)
        return split_faults(self.source.whole(), table, actions=self.model.strategy.action_names)[0]

    @cached_property
    def assignments(self) -> pd.DataFrame:
        """What ``assignments.parquet`` holds."""
        return pa.concat_tables(tables(self.assignment, self.night)).to_pandas()


def score_and_assign(
    accounts: str | Path,
    out: str | Path,
    *,
    as_of: str | pd.Timestamp,
    model: str | Path,
    strategy: str | Path | None = None,
    capacity: str | Path | None = None,
    tree: str | Path | None = None,
    max_rejects: int | str = 0,
    memory: str | int = "2GiB",
    quality: str = "warn",
    dry_run: bool = False,
    allow_new_holdout: bool = False,
    to_table: str | None = None,
    reasons: bool = False,
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
    max_rejects : int or str, default 0
        So many rows with faults are set apart, or such a share of all rows (``"0.1%"``); more stop the batch.
    memory : str or int, default "2GiB"
        What the process may hold; numbers of accounts past it are kept in files beside the output. The result does not depend on
        it. More accounts than it can hold are refused.
    quality : {"warn", "stop"}, default "warn"
        What happens where features have drifted from training (:mod:`collectml.data.profile`): told in log and manifest, or
        the batch stops before anything is assigned.
    dry_run : bool, default False
        Do everything but write.
    allow_new_holdout : bool, default False
        Accept a strategy whose hold-out salt differs from the model's: the held-out customers change.
    to_table : str, optional
        ``postgresql://...#table`` that gets the assignments too, in one transaction; the same batch again replaces its rows.
    reasons : bool, default False
        Write ``reasons.parquet`` too: why the action of each account that gets one changes its chance of payment.
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
    day, allowed, bound = parse_day(as_of), _allowed(max_rejects), _bytes(memory)
    if quality not in ("warn", "stop"):
        raise ConfigurationError(f"--quality {quality!r} is neither 'warn' nor 'stop'")
    target = None if dry_run else Path(out)
    journal = Journal(progress)
    # held from the first read on: of two batches on one folder the second hears of it before it has worked for an hour
    with journal.noting_failure(), contextlib.nullcontext() if target is None else exclusive(target):
        journal.stage("reading model and strategy")
        # what people write by hand comes first: its faults are told at once
        planner = None if tree is None else StrategyTree.from_yaml(tree)
        own = None if strategy is None else Strategy.from_yaml(strategy)
        calendar = None if capacity is None else validate(read_table(capacity), "capacity")
        source = AccountSource(accounts, BLOCK)
        source.check()
        folder, registered = find_model(model)
        trained = load(folder)
        if reasons:
            explainable(trained.uplift)
        used = trained if own is None else with_strategy(trained, own, str(strategy), allow_new_holdout)
        tonight = used.strategy if calendar is None else used.strategy.with_capacity(calendar, as_of=day)
        policy = TreatmentPolicy(tonight, logged=used.logged, tree=planner)
        inputs = {"capacity": capacity, "strategy": strategy, "tree": tree}
        with _untouched(target), staging(target) as scratch:
            ledger = Ledger(scratch, bound)
            with ledger.watched():
                journal.stage("reading and scoring accounts")
                night = read_accounts(
                    source,
                    used,
                    tonight,
                    ledger,
                    day=day,
                    unsupported=policy.unsupported(),
                    allowed=allowed,
                    tree=planner,
                    keep_features=reasons,
                )
                journal.rows(night.rows, len(night.rejects), ledger.spilled)
                drifted = _drifted(night, journal, stop=quality == "stop")
                journal.stage("assigning")
                assignment = policy.decide(night.problem, night.leaf)
                journal.stage("checking and writing")
                path = None if target is None else scratch / "assignments.parquet"
                written = write_rows(assignment, night, path)
                if reasons:
                    journal.stage("telling reasons")
                    write_reasons(used, assignment, night, None if target is None else scratch / "reasons.parquet")
                summary = {**summary_of(assignment, night, written), "drifted": drifted}
                tracking = "none"
                if target is not None:
                    digests = {n: file_digests(given) for n, given in inputs.items() if given is not None}
                    tracking = _deliver(
                        assignment,
                        night,
                        summary,
                        inputs={"accounts": source.digests(), **digests},
                        model=file_digest(folder / "manifest.json"),
                        lineage=lineage_of(used, registered),
                        registered=registered,
                        measured=journal.so_far(),
                        scratch=scratch,
                        out=target,
                        to_table=to_table,
                    )
        metrics = journal.done()
    return BatchResult(assignment, used, night, source, summary, metrics, target, tracking)


def _deliver(
    assignment: Assignment,
    night: Night,
    summary: dict[str, object],
    *,
    inputs: dict[str, dict[str, str]],
    model: str,
    lineage: dict[str, str],
    registered: Registered | None,
    measured: dict[str, float],
    scratch: Path,
    out: Path,
    to_table: str | None,
) -> str:
    """Make folder and, where one is given, table appear together; say what became of the batch's run."""
    if len(night.rejects):
        write_parquet(night.rejects, scratch / "rejects.parquet")
    written = [scratch / f"{name}.parquet" for name in ("assignments", "reasons", "rejects")]
    files: dict[str, bytes | Path] = {"summary.json": as_json(summary)} | {p.name: p for p in written if p.exists()}
    outputs = {n: file_digest(x) if isinstance(x, Path) else hashlib.sha256(x).hexdigest() for n, x in files.items()}
    manifest = manifest_of(assignment, summary, inputs=inputs, model=model, outputs=outputs) | {"lineage": lineage}
    batch_id = f"{summary['as_of']}-{hashlib.sha256(seal(manifest)).hexdigest()[:16]}"
    rows = _row_groups(scratch / "assignments.parquet")
    tracked = tracked_delivery(batch_id, summary, lineage, registered, out, measured)
    # the rows are in the table but unseen until the folder stands; a failure of either undoes the rows
    with tracked as state, contextlib.nullcontext() if to_table is None else writing(to_table, rows, batch_id):
        write_folder(out, {**files, "manifest.json": seal({**manifest, "batch_id": batch_id, "tracking": state})})
    return state


def _drifted(night: Night, journal: Journal, *, stop: bool) -> list[str]:
    """Tell which features have drifted, and stop where that was asked."""
    if night.drift is None:
        journal.note("quality", {"profile": "none"})
        return []
    faults = drift_faults(night.drift)
    journal.note("quality", {"drifted": faults}, logging.WARNING if faults else logging.INFO)
    if faults and stop:
        raise SchemaError(
            f"accounts: {len(faults)} of {len(night.drift)} features are not as in training (--quality stop): "
            f"{'; '.join(faults[:5])}"
        )
    return faults


def _row_groups(path: Path) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as written:
        for group in range(written.num_row_groups):
            yield written.read_row_group(group)


@contextlib.contextmanager
def _untouched(target: Path | None) -> Iterator[None]:
    """Say of a disk that is full, or a folder that may not be written to, what it means."""
    try:
        yield
    except OSError as error:
        what = "the temporary folder" if target is None else target
        why = os.strerror(error.errno) if error.errno else type(error).__name__
        raise CollectMLError(f"{what} cannot be written ({why}); what stood there is untouched") from error


def _allowed(given: int | str) -> AllowedRejects:
    text = str(given).strip()
    if re.fullmatch(r"[0-9]{1,12}", text):
        return AllowedRejects(int(text))
    if re.fullmatch(r"[0-9]{1,3}(\.[0-9]+)?%", text) and float(text[:-1]) <= 100:
        return AllowedRejects(0, float(text[:-1]) / 100)
    raise ConfigurationError(f"--max-rejects {text!r} is no number of rows (10) nor a share of them (0.1%)")


def _bytes(given: str | int) -> int:
    read = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]+)?) *((?:[KMG]I?B)?)", str(given).strip().upper())
    if read is None:
        raise ConfigurationError(f"--memory {str(given)!r} is no size such as 2GiB or 800MiB")
    size = int(float(read[1]) * UNITS[read[2]])
    if size < LEAST_MEMORY:
        raise ConfigurationError(f"--memory {str(given)!r} is too little: {LEAST_MEMORY >> 20}MiB at least")
    return size
