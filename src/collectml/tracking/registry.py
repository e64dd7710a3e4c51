"""Registered models as a batch gets them: from the registry, or, where that is away, from what it gave last."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from collectml.artifact import file_digest, seal, unseal, verify_folder
from collectml.errors import ArtifactError, ConfigurationError, ServiceUnavailableError
from collectml.folders import write_file, write_folder

from .store import Store, asking, mlflow_quiet, open_store, read_config, within

__all__ = ["Origin", "Registered", "fetch", "find_model", "registered_folder", "registered_model"]

_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")


@dataclass(frozen=True)
class Origin:
    """Where a registered model comes from.

    Parameters
    ----------
    name, version : str
        The registered version.
    run_id : str
        The training's run.
    data_digest : str
        Of the log it learnt from.
    commit, dirty : str
        Code it was trained with, and whether that was changed.
    model_sha256 : str
        Digest of the saved model's manifest, which holds those of all its files.
    """

    name: str
    version: str
    run_id: str
    data_digest: str
    commit: str
    dirty: str
    model_sha256: str


@dataclass(frozen=True)
class Registered:
    """A registered model on this machine.

    Parameters
    ----------
    folder : Path
        What :func:`collectml.load` reads.
    origin : Origin
        Where it comes from.
    reached : bool
        Whether the registry answered; else it is what the name stood for when it last did.
    """

    folder: Path
    origin: Origin
    reached: bool


def registered_model(model_uri: str, config_file: str | Path = "mlflow.yaml") -> Registered:
    """Get the model a registered name stands for; from the cache where the registry does not answer in time.

    Parameters
    ----------
    model_uri : str
        ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.
    config_file : str or Path
        ``mlflow.yaml``: where the registry is, how long to wait for it, where the cache is.

    Returns
    -------
    Registered

    Raises
    ------
    ConfigurationError
        Where the registry says that there is no such version.
    ServiceUnavailableError
        Where it does not answer, and this machine has never had the model.
    ArtifactError
        Where what is there is not what was registered.
    """
    name, alias, version = _parts(model_uri)
    config, local = read_config(config_file)
    pointer = local / "cache" / f"{name}{'@' + alias if alias else '-' + str(version)}.json"

    def ask() -> tuple[Path, Origin]:
        store = open_store(config_file)
        number = version
        if number is None:
            with mlflow_quiet(), asking(store.uri, f"{model_uri}: there is no such version"):
                number = str(store.client.get_model_version_by_alias(name, alias).version)
        return fetch(store, name, number)

    try:
        folder, origin = within(config.patience_seconds, ask)
    except ServiceUnavailableError as error:
        return _cached(pointer, error)
    write_file(pointer, seal(asdict(origin)))
    return Registered(folder, origin, reached=True)


def find_model(source: str | Path, config_file: str | Path = "mlflow.yaml") -> tuple[Path, Registered | None]:
    """Find the folder of a model, and where it is registered, if it is.

    Parameters
    ----------
    source : str or Path
        A folder, or ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.
    config_file : str or Path
        ``mlflow.yaml``.

    Returns
    -------
    folder : Path
    registered : Registered or None
    """
    if str(source).startswith("models:/"):
        registered = registered_model(str(source), config_file)
        return registered.folder, registered
    folder = Path(source)
    if not folder.is_dir():
        raise ConfigurationError(f"{folder}: no saved model there")
    return folder, None


def registered_folder(model_uri: str, config_file: str | Path = "mlflow.yaml") -> Path:
    """Fetch the saved model of a registered version.

    Parameters
    ----------
    model_uri, config_file
        As in :func:`registered_model`.

    Returns
    -------
    Path
        Folder that :func:`collectml.load` reads.
    """
    return registered_model(model_uri, config_file).folder


def fetch(store: Store, name: str, version: str) -> tuple[Path, Origin]:
    """Get the files of a version, unless they are here, and hold them against the hash in the registry.

    Parameters
    ----------
    store : Store
        Opened store.
    name, version : str
        The version.

    Returns
    -------
    folder : Path
    origin : Origin
    """
    uri = f"models:/{name}/{version}"
    with mlflow_quiet(), asking(store.uri, f"{uri}: there is no such version"):
        held = store.client.get_model_version(name, version)
        tags: Mapping[str, str] = {**store.client.get_run(held.run_id).data.tags, **held.tags}
    known = tags.get("model_sha256", "")
    if known and (folder := _place(store.local, known)).is_dir() and _is_whole(folder, known):
        return folder, _origin(held.run_id, name, version, tags, known)
    with tempfile.TemporaryDirectory() as scratch, mlflow_quiet(), asking(store.uri):
        import mlflow

        root = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=scratch))
        manifests = list((root / "artifacts").glob("*/manifest.json"))  # MLflow calls the folder what it was saved as
        if len(manifests) != 1:
            raise ConfigurationError(f"{uri} is no collectml strategy model")
        got, found = manifests[0].parent, file_digest(manifests[0])
        if known not in ("", found):
            raise ArtifactError(f"{uri} is not what was registered: its manifest was altered")
        verify_folder(got)
        folder = _place(store.local, found)
        write_folder(folder, {p.name: p for p in sorted(got.iterdir())})
    return folder, _origin(held.run_id, name, version, tags, found)


def _parts(model_uri: str) -> tuple[str, str | None, str | None]:
    match = _URI.fullmatch(model_uri)
    if match is None:
        raise ConfigurationError(f"{model_uri}: models:/NAME@ALIAS or models:/NAME/VERSION is needed")
    return match["name"], match["alias"], match["version"]


def _place(local: Path, sha256: str) -> Path:
    return local / "cache" / "models" / sha256[:32]


def _origin(run_id: str, name: str, version: str, tags: Mapping[str, str], sha256: str) -> Origin:
    digest, commit, dirty = (tags.get(k, "unknown") for k in ("data_digest", "collectml.commit", "collectml.dirty"))
    return Origin(name, str(version), str(run_id), digest, commit, dirty, sha256)


def _is_whole(folder: Path, sha256: str) -> bool:
    try:
        verify_folder(folder)
    except ArtifactError:
        return False  # fetched again, where that is possible
    return file_digest(folder / "manifest.json") == sha256


def _cached(pointer: Path, away: ServiceUnavailableError) -> Registered:
    try:
        content = pointer.read_bytes()
    except OSError:
        raise ServiceUnavailableError(f"{away}; and no model is kept here from an earlier batch") from None
    try:
        origin = Origin(**cast("dict[str, str]", unseal(content)))
    except (ArtifactError, TypeError):
        raise ArtifactError(f"{pointer} cannot be used, and {away}") from None
    folder = _place(pointer.parent.parent, origin.model_sha256)
    if not _is_whole(folder, origin.model_sha256):
        raise ArtifactError(f"{folder} is not the model that was cached, and {away}")
    return Registered(folder, origin, reached=False)
