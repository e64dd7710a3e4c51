"""Batches as runs: one for each batch id, whatever the server does; what cannot be sent waits on the disk for ``collectml sync``."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from collectml.artifact import seal, unseal
from collectml.data.digest import value_digest
from collectml.errors import ArtifactError, CollectMLError, ServiceUnavailableError
from collectml.folders import exclusive, write_file
from collectml.pipeline import StrategyModel

from .registry import Registered
from .store import Store, asking, mlflow_quiet, open_store, read_config, sent_once, within

__all__ = ["BatchRecord", "SyncResult", "delivery", "lineage_of", "sync", "tracked_delivery"]

BATCH_ID = "collectml.batch_id"
QUEUED, BEGUN = ".json", ".begun"  # of a batch delivered; of one whose folder may never have come to stand


@dataclass(frozen=True)
class BatchRecord:
    """What the run of a batch says.

    Parameters
    ----------
    batch_id : str
        The same batch run again has the same.
    tags, params : mapping of str to str
        Lineage; settings.
    metrics : mapping of str to float
        Counts and money, no account.
    documents : mapping of str to dict
        JSON artifacts by name.
    """

    batch_id: str
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    documents: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class SyncResult:
    """What a synchronisation did.

    Parameters
    ----------
    sent : tuple of str
        Batch ids whose runs are in the store now.
    dropped : tuple of str
        Batches that were begun and never delivered.
    """

    sent: tuple[str, ...]
    dropped: tuple[str, ...]


@contextlib.contextmanager
def delivery(
    record: BatchRecord, model: Registered, out: Path, config_file: str | Path = "mlflow.yaml"
) -> Iterator[Literal["logged", "queued"]]:
    """Write a batch's run around its delivery: begun before the folder stands, ended after.

    Parameters
    ----------
    record : BatchRecord
        What to write.
    model : Registered
        The model; where the registry was away a moment ago, the run is queued without asking again.
    out : Path
        The folder the batch writes.
    config_file : str or Path
        ``mlflow.yaml``.

    Yields
    ------
    {"logged", "queued"}
        For the manifest. A tracking store that is away never stops a batch.
    """
    config, local = read_config(config_file)
    queue, run_id = local / "queue", None
    if model.reached:
        with contextlib.suppress(ServiceUnavailableError):
            run_id = within(config.patience_seconds, lambda: _begin(open_store(config_file), record))
    if run_id is None:
        _put(queue, record, out, BEGUN)
    try:
        yield "queued" if run_id is None else "logged"
    except BaseException:
        _drop(queue, record)
        if run_id is not None:
            with contextlib.suppress(ServiceUnavailableError):
                within(config.patience_seconds, lambda: _end(open_store(config_file), run_id, "FAILED"))
        raise
    if run_id is not None:
        try:
            within(config.patience_seconds, lambda: _end(open_store(config_file), run_id, "FINISHED"))
            return
        except ServiceUnavailableError:
            pass  # the run is there; sync finds it by its batch id and ends it
    _put(queue, record, out, QUEUED)


def lineage_of(model: StrategyModel, registered: Registered | None) -> dict[str, str]:
    """Say what a batch goes back to: strategy and log, and, where the model is registered, version, run and code.

    Parameters
    ----------
    model : StrategyModel
        What scored, with the strategy that was used.
    registered : Registered or None
        Where it comes from.

    Returns
    -------
    dict of str to str
    """
    log = cast("Mapping[str, object]", model.evidence.facts.get("log", {}))
    told = {
        "data_digest": str(log.get("digest", "unknown")),
        "strategy_sha256": value_digest(model.strategy.model_dump(mode="json")),
    }
    if registered is None:
        return told
    origin = registered.origin
    return told | {
        "registered_model": origin.name,
        "version": origin.version,
        "run_id": origin.run_id,
        "commit": origin.commit,
        "dirty": origin.dirty,
    }


def tracked_delivery(
    batch_id: str,
    summary: Mapping[str, object],
    lineage: Mapping[str, str],
    registered: Registered | None,
    out: Path,
    measured: Mapping[str, float],
) -> contextlib.AbstractContextManager[str]:
    """Write a batch's run around its delivery; the batch of a model that is not registered has none.

    Parameters
    ----------
    batch_id : str
        Of the batch.
    summary : mapping
        What ``summary.json`` holds.
    lineage : mapping of str to str
        From :func:`lineage_of`.
    registered : Registered or None
        Where the model comes from.
    out : Path
        The folder the batch writes.
    measured : mapping of str to float
        Rows, seconds and the like: they go to the run alone, as they differ from run to run.

    Returns
    -------
    context manager
        Yields ``"logged"``, ``"queued"`` or ``"none"``, for the manifest.
    """
    if registered is None:
        return contextlib.nullcontext("none")
    numbers = {k: float(v) for k, v in summary.items() if isinstance(v, (int, float)) and math.isfinite(v)}
    numbers |= {k: float(v) for k, v in measured.items() if math.isfinite(v)}
    numbers |= {f"accounts.{a['action']}": float(a["accounts"]) for a in cast("list[dict[str, float]]", summary["actions"])}
    tags = {f"collectml.{k}": v for k, v in lineage.items()}
    params = {"as_of": str(summary["as_of"]), "strategy": str(summary["strategy"])}
    return delivery(BatchRecord(batch_id, tags, params, numbers, {"summary.json": summary}), registered, out)


def sync(config_file: str | Path = "mlflow.yaml") -> SyncResult:
    """Send the runs that wait, each once: a run that is there already is found by its batch id.

    Parameters
    ----------
    config_file : str or Path
        ``mlflow.yaml``.

    Returns
    -------
    SyncResult

    Raises
    ------
    ServiceUnavailableError
        Where the tracking store is still away; what was sent is sent, what was not waits on.
    CollectMLError
        Where another sync is at work, or an entry of the queue is damaged; the others are sent.
    """
    config, local = read_config(config_file)
    queue = local / "queue"
    sent, dropped, damaged = [], [], []
    with exclusive(queue):
        entries = sorted(p for p in queue.glob("*") if p.suffix in (QUEUED, BEGUN)) if queue.is_dir() else []
        store = open_store(config_file) if entries else None
        for path in entries:
            try:
                record, out = _read(path)
            except (ArtifactError, OSError):
                damaged.append(path.name)
                continue
            if path.suffix == BEGUN and not _stands(out, record.batch_id):
                dropped.append(record.batch_id)
            else:
                within(config.patience_seconds, lambda record=record: _send(cast("Store", store), record))  # type: ignore[misc]
                sent.append(record.batch_id)
            path.unlink()
    if damaged:
        raise CollectMLError(f"{queue}: {', '.join(damaged)} cannot be read; {len(sent)} runs sent, these are left")
    return SyncResult(tuple(sent), tuple(dropped))


def _begin(store: Store, record: BatchRecord) -> str:
    """Write all of a run but its end; of a batch that was run before, into the run it has."""
    from mlflow.entities import Metric, Param

    with mlflow_quiet(), asking(store.uri), sent_once():
        run_id, *extra = _runs(store, record.batch_id) or [_create(store, record)]
        for other in extra:  # two machines, the same batch, the same moment
            store.client.delete_run(other)
        store.client.log_batch(
            run_id,
            metrics=[Metric(k, v, 0, 0) for k, v in record.metrics.items() if math.isfinite(v)],
            params=[Param(k, str(v)[:480]) for k, v in record.params.items()],
        )
        for name, document in record.documents.items():
            store.client.log_dict(run_id, document, name)
    return run_id


def _create(store: Store, record: BatchRecord) -> str:
    tags = {**record.tags, BATCH_ID: record.batch_id}
    return str(store.client.create_run(store.experiment_id, run_name=f"batch {record.batch_id}", tags=tags).info.run_id)


def _runs(store: Store, batch_id: str) -> list[str]:
    found = store.client.search_runs(
        [store.experiment_id], f"tags.`{BATCH_ID}` = '{batch_id}'", order_by=["attributes.start_time ASC"]
    )
    return [str(run.info.run_id) for run in found]


def _end(store: Store, run_id: str, status: str) -> None:
    with mlflow_quiet(), asking(store.uri):
        store.client.set_terminated(run_id, status=status)


def _send(store: Store, record: BatchRecord) -> None:
    _end(store, _begin(store, record), "FINISHED")


def _put(queue: Path, record: BatchRecord, out: Path, suffix: str) -> None:
    write_file(queue / f"{record.batch_id}{suffix}", seal({**asdict(record), "out": str(out.resolve())}))
    if suffix == QUEUED:
        (queue / f"{record.batch_id}{BEGUN}").unlink(missing_ok=True)


def _drop(queue: Path, record: BatchRecord) -> None:
    (queue / f"{record.batch_id}{BEGUN}").unlink(missing_ok=True)


def _read(path: Path) -> tuple[BatchRecord, Path]:
    content: dict[str, Any] = unseal(path.read_bytes())
    out = Path(str(content.pop("out")))
    return BatchRecord(**content), out


def _stands(out: Path, batch_id: str) -> bool:
    try:
        return unseal((out / "manifest.json").read_bytes()).get("batch_id") == batch_id
    except (ArtifactError, OSError):
        return False
