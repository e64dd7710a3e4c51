"""The tracking store: configured by one YAML file, opened with bounded patience."""

from __future__ import annotations

import contextlib
import io
import os
import re
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from collectml.errors import ConfigurationError, ServiceUnavailableError
from collectml.pipeline import GateRules
from collectml.strategy.reading import parse, read_yaml

__all__ = ["Store", "TrackingConfig", "asking", "mlflow_quiet", "open_store", "read_config", "sent_once", "within"]

T = TypeVar("T")

RUN_KEY = "collectml.run_key"

# set before mlflow is imported: no telemetry, and an absent server is a word within seconds, not after four minutes
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",  # a server may ask for an hour
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}


class Aliases(BaseModel):
    """Aliases of registered versions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: str = "champion"
    later: str = "challenger"
    previous: str = "previous"


class TrackingConfig(BaseModel):
    """What ``mlflow.yaml`` says.

    Parameters
    ----------
    tracking_uri : str
        SQLite file or server; the environment's ``MLFLOW_TRACKING_URI`` wins.
    artifact_location : str
        Folder or URI of artifacts.
    experiment : str
        Name of the MLflow experiment.
    registered_model_prefix : str
        What registered models' names begin with.
    aliases : Aliases
        Of the first version, of later ones, and of the champion before the present one.
    gates : GateRules
        How strict the gates of a promotion are.
    local : str
        Folder for the models a batch has used and for runs that wait to be sent.
    patience_seconds : float
        How long a batch waits for the tracking store, all retries together, each time it needs it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tracking_uri: str = "sqlite:///data/mlflow.db"
    artifact_location: str = "data/mlartifacts"
    experiment: str = "collectml"
    registered_model_prefix: str = "collectml-"
    aliases: Aliases = Aliases()
    gates: GateRules = GateRules()
    local: str = "data/tracking"
    patience_seconds: float = Field(default=30.0, gt=0, le=600)


@dataclass(frozen=True)
class Store:
    """An opened store.

    Parameters
    ----------
    config : TrackingConfig
        Where it came from.
    uri : str
        Tracking URI in use.
    experiment_id : str
        MLflow's id of the experiment.
    client : mlflow.MlflowClient
        Bound to the URI.
    local : Path
        Folder for cached models and queued runs.
    """

    config: TrackingConfig
    uri: str
    experiment_id: str
    client: Any
    local: Path

    def new_run(self, name: str, tags: Mapping[str, str]) -> str:
        """Create a run, and only one, though the answer be lost.

        Parameters
        ----------
        name : str
            Of the run.
        tags : mapping of str to str
            Its tags; a key made here is put beside them.

        Returns
        -------
        str
            Id of the run.

        Notes
        -----
        A request without an answer may have been carried out: before it is sent again, the run is looked for by its key.
        """
        from mlflow.exceptions import MlflowException

        key = uuid.uuid4().hex
        for last in (False, True):
            try:
                with sent_once():
                    run = self.client.create_run(self.experiment_id, run_name=name, tags={**tags, RUN_KEY: key})
                return str(run.info.run_id)
            except (MlflowException, OSError):
                found = self.client.search_runs([self.experiment_id], f"tags.`{RUN_KEY}` = '{key}'")
                if found:
                    return str(found[0].info.run_id)
                if last:
                    raise
        raise AssertionError  # the loop returns or raises

    def model_name(self, experiment: str) -> str:
        """Name the registered model of an experiment.

        Parameters
        ----------
        experiment : str
            Name of the experiment.

        Returns
        -------
        str
        """
        return f"{self.config.registered_model_prefix}{experiment}"


@contextlib.contextmanager
def mlflow_quiet() -> Iterator[None]:
    """Keep MLflow's own talk (deprecations inside it, hints about types, who registered what) from the person running a job."""
    if threading.current_thread() is not threading.main_thread():
        yield  # what follows belongs to the process: whoever waits for this thread has seen to it
        return
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def asking(uri: str, missing: str | None = None) -> Iterator[None]:
    """Turn what MLflow raises into an error a person can act on.

    Parameters
    ----------
    uri : str
        Tracking URI.
    missing : str, optional
        What to say where the thing asked for does not exist.

    Raises
    ------
    ConfigurationError
        Where it does not exist.
    ServiceUnavailableError
        Where the store does not answer as it should.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, OSError) as error:
        code = getattr(error, "error_code", "")
        if missing is not None and code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}:
            raise ConfigurationError(missing) from None
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ServiceUnavailableError(_without_secrets(f"the tracking store {uri} cannot be used: {reason}")[:300]) from None


def within(seconds: float, ask: Callable[[], T]) -> T:
    """Ask something of the tracking store, and give up after a time, however it keeps one waiting.

    Parameters
    ----------
    seconds : float
        The time. Timeouts of requests start anew with every request and every byte; this one does not.
    ask : callable
        Runs in a thread that is left behind where it takes longer; so what it does must bear being done later, or twice.

    Returns
    -------
    object
        What ``ask`` returns.

    Raises
    ------
    ServiceUnavailableError
        Where there is no answer in time.

    Examples
    --------
    >>> within(5, lambda: 1 + 1)
    2
    """
    answer: list[T] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            answer.append(ask())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    with mlflow_quiet():
        thread.start()
        thread.join(seconds)
    if errors:
        raise errors[0]
    if not answer:
        raise ServiceUnavailableError(f"the tracking store did not answer within {seconds:g} seconds")
    return answer[0]


@contextlib.contextmanager
def sent_once() -> Iterator[None]:
    """Send no request a second time: an answer that was lost is no proof that nothing was done."""
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    before = os.environ.get(name)
    os.environ[name] = "0"
    try:
        yield
    finally:
        os.environ.pop(name) if before is None else os.environ.update({name: before})


def read_config(config_file: str | Path = "mlflow.yaml") -> tuple[TrackingConfig, Path]:
    """Read ``mlflow.yaml``.

    Parameters
    ----------
    config_file : str or Path
        Defaults count where there is none.

    Returns
    -------
    config : TrackingConfig
    local : Path
        Folder for cached models and queued runs.
    """
    path = Path(config_file)
    config = parse(TrackingConfig, read_yaml(path), source=str(path)) if path.is_file() else TrackingConfig()
    return config, path.resolve().parent / config.local


def open_store(config_file: str | Path = "mlflow.yaml") -> Store:
    """Open the tracking store, making the experiment where it does not exist.

    Parameters
    ----------
    config_file : str or Path
        ``mlflow.yaml``; defaults count where there is none.

    Returns
    -------
    Store

    Raises
    ------
    ServiceUnavailableError
        Where a tracking server or database does not answer.
    """
    config, local = read_config(config_file)
    root = Path(config_file).resolve().parent
    uri = os.environ.get("MLFLOW_TRACKING_URI") or _absolute_sqlite(config.tracking_uri, root)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with mlflow_quiet(), asking(uri):
        import mlflow

        if uri.startswith("sqlite:///"):
            Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        named = {name for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI") if name in os.environ}
        mlflow.set_tracking_uri(uri)
        mlflow.set_registry_uri(uri)
        for name in {"MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"} - named:
            os.environ.pop(
                name, None
            )  # mlflow sets them for child processes; here they would outrank the next store's own file
        client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
        found = client.get_experiment_by_name(config.experiment)
        if found is not None:
            return Store(config, uri, str(found.experiment_id), client, local)
        location = config.artifact_location
        if "://" not in location:
            location = (root / location).resolve().as_uri()
        remote = not uri.startswith("sqlite:///")  # a server knows better where its artifacts go
        made = client.create_experiment(config.experiment, artifact_location=None if remote else location)
        return Store(config, uri, str(made), client, local)


def _absolute_sqlite(uri: str, root: Path) -> str:
    path = uri.removeprefix("sqlite:///")
    if path == uri or Path(path).is_absolute():
        return uri
    return f"sqlite:///{(root / path).resolve()}"


def _without_secrets(text: str) -> str:
    """Drop user and password from every URI in a text that goes into an error."""
    return re.sub(r"://[^/\s]*@", "://", text)
