"""The tracking store: configured by one YAML file, opened with bounded patience."""

from __future__ import annotations

import contextlib
import io
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from collectml.errors import ConfigurationError, ServiceUnavailableError
from collectml.strategy.reading import parse, read_yaml

__all__ = ["Store", "TrackingConfig", "mlflow_quiet", "open_store", "registered_folder"]

# set before mlflow is imported: no telemetry, and an absent server is a word within seconds, not after four minutes
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}


class Aliases(BaseModel):
    """Aliases of registered versions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: str = "champion"
    later: str = "challenger"


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
        Of the first version, and of later ones.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tracking_uri: str = "sqlite:///data/mlflow.db"
    artifact_location: str = "data/mlartifacts"
    experiment: str = "collectml"
    registered_model_prefix: str = "collectml-"
    aliases: Aliases = Aliases()


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
    """

    config: TrackingConfig
    uri: str
    experiment_id: str
    client: Any

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
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


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
    path = Path(config_file)
    config = parse(TrackingConfig, read_yaml(path), source=str(path)) if path.is_file() else TrackingConfig()
    root = path.resolve().parent
    uri = os.environ.get("MLFLOW_TRACKING_URI") or _absolute_sqlite(config.tracking_uri, root)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with mlflow_quiet():
        import mlflow
        from mlflow.exceptions import MlflowException

        try:
            if uri.startswith("sqlite:///"):
                Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
            named = os.environ.get("MLFLOW_TRACKING_URI")
            mlflow.set_tracking_uri(uri)
            mlflow.set_registry_uri(uri)
            if named is None:  # mlflow sets it for child processes; here it would outrank the next store's own file
                os.environ.pop("MLFLOW_TRACKING_URI", None)
            client = mlflow.MlflowClient(tracking_uri=uri, registry_uri=uri)
            found = client.get_experiment_by_name(config.experiment)
            if found is not None:
                return Store(config, uri, str(found.experiment_id), client)
            location = config.artifact_location
            if "://" not in location:
                location = (root / location).resolve().as_uri()
            remote = not uri.startswith("sqlite:///")  # a server knows better where its artifacts go
            made = client.create_experiment(config.experiment, artifact_location=None if remote else location)
            return Store(config, uri, str(made), client)
        except (MlflowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise ServiceUnavailableError(
                _without_secrets(f"the tracking store {uri} cannot be used: {reason}")[:300]
            ) from None


def registered_folder(model_uri: str, config_file: str | Path = "mlflow.yaml") -> Path:
    """Fetch the saved model of a registered version.

    Parameters
    ----------
    model_uri : str
        Such as ``models:/collectml-card_early_stage@champion``.
    config_file : str or Path
        ``mlflow.yaml``.

    Returns
    -------
    Path
        Folder that :func:`collectml.load` reads.

    Raises
    ------
    ConfigurationError
        Where there is no such version.
    """
    open_store(config_file)
    with mlflow_quiet():
        import mlflow
        from mlflow.exceptions import MlflowException

        try:
            local = Path(mlflow.artifacts.download_artifacts(artifact_uri=model_uri))
        except MlflowException as error:
            raise ConfigurationError(f"{model_uri}: {_without_secrets(str(error).splitlines()[0])[:160]}") from None
    folder = local / "artifacts" / "model"
    if not folder.is_dir():
        raise ConfigurationError(f"{model_uri} is no collectml strategy model")
    return folder


def _absolute_sqlite(uri: str, root: Path) -> str:
    path = uri.removeprefix("sqlite:///")
    if path == uri or Path(path).is_absolute():
        return uri
    return f"sqlite:///{(root / path).resolve()}"


def _without_secrets(text: str) -> str:
    """Drop user and password from every URI in a text that goes into an error."""
    return re.sub(r"://[^/\s]*@", "://", text)
