"""A saved model: a folder of LightGBM text, JSON and Parquet, checked against its hashes; never a pickle.

The room knows no model class: it turns parts (JSON-able values, booster texts, frames) into files and back.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pandas as pd

from collectml.data.digest import canonical_json
from collectml.errors import ArtifactError
from collectml.folders import write_folder

__all__ = [
    "FORMAT_VERSION",
    "Parts",
    "file_digest",
    "read_parts",
    "seal",
    "unseal",
    "verify_folder",
    "write_folder",
    "write_parts",
]

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.(json|txt|parquet)")


@dataclass(frozen=True)
class Parts:
    """What a saved model consists of.

    Parameters
    ----------
    values : dict of str to JSON-able
        One JSON file each.
    texts : dict of str to str
        One text file each: boosters, YAML.
    tables : dict of str to DataFrame
        One Parquet file each.
    """

    values: Mapping[str, object] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)


def file_digest(path: Path) -> str:
    """Digest a file's bytes.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    str
        SHA-256 in hexadecimal.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def seal(manifest: Mapping[str, object]) -> bytes:
    """Write a manifest with a digest of itself, so that a changed byte in it shows as well.

    Parameters
    ----------
    manifest : mapping
        JSON-able; hashes by file name under ``outputs`` or ``files``.

    Returns
    -------
    bytes
    """
    digest = hashlib.sha256(canonical_json(manifest)).hexdigest()
    return canonical_json({**manifest, "digest": digest})


def unseal(content: bytes) -> dict[str, object]:
    """Read what :func:`seal` wrote.

    Parameters
    ----------
    content : bytes
        All of it.

    Returns
    -------
    dict
        Without the digest.

    Raises
    ------
    ArtifactError
        Where a byte is missing or changed.

    Examples
    --------
    >>> unseal(seal({"a": 1}))
    {'a': 1}
    """
    try:
        value = json.loads(content)
        bare = {k: v for k, v in value.items() if k != "digest"}
        whole = content == seal(bare)
    except (ValueError, AttributeError):
        whole, bare = False, {}
    if not whole:
        raise ArtifactError("it was altered or is not whole")
    return bare


def verify_folder(folder: str | Path) -> int:
    """Hold a written folder against its manifest.

    Parameters
    ----------
    folder : str or Path
        What a batch or :func:`write_parts` wrote.

    Returns
    -------
    int
        Number of files checked, the manifest included.

    Raises
    ------
    ArtifactError
        Naming every file that is missing or has changed by as little as a byte.
    """
    root = Path(folder)
    try:
        content = (root / MANIFEST).read_bytes()
        manifest = json.loads(content)
        hashes = cast("dict[str, str]", manifest["outputs"] if "outputs" in manifest else manifest["files"])
        sealed = seal({k: v for k, v in manifest.items() if k != "digest"})
    except FileNotFoundError:
        raise ArtifactError(f"{root} has no {MANIFEST}: nothing says what it should hold") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ArtifactError(f"{root / MANIFEST} cannot be read: it is damaged") from None
    faults = [] if content == sealed else [f"{MANIFEST} was altered"]
    for name, digest in hashes.items():
        path = root / name
        if not path.is_file():
            faults.append(f"{name} is missing")
        elif file_digest(path) != digest:
            faults.append(f"{name} was altered")
    if faults:
        raise ArtifactError(f"{root} is not what was written: {', '.join(faults)}")
    return len(hashes) + 1


def write_parts(parts: Parts, folder: str | Path) -> Path:
    """Write parts as a folder with a manifest of hashes; it appears whole or not at all.

    Parameters
    ----------
    parts : Parts
        What to save.
    folder : str or Path
        Where to; replaced where it exists.

    Returns
    -------
    Path
        The folder.
    """
    files: dict[str, bytes] = {}
    for name, value in parts.values.items():
        files[f"{name}.json"] = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
    for name, text in parts.texts.items():
        files[f"{name}.txt"] = text.encode()
    for name, table in parts.tables.items():
        files[f"{name}.parquet"] = table.to_parquet(index=False)
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    manifest = {"format": "collectml", "format_version": FORMAT_VERSION, "files": hashes}
    files[MANIFEST] = seal(manifest)
    write_folder(Path(folder), files)
    return Path(folder)


def read_parts(folder: str | Path) -> Parts:
    """Read a folder back, refusing what is incomplete, altered, or of another format.

    Parameters
    ----------
    folder : str or Path
        As written by :func:`write_parts`.

    Returns
    -------
    Parts

    Raises
    ------
    ArtifactError
        Naming every file that is missing or altered, or the version that does not fit.
    """
    root = Path(folder)
    hashes = _listed(root)
    there = {p.name for p in root.iterdir()} - {MANIFEST}
    missing = [name for name in hashes if name not in there]
    altered = [name for name in hashes if name in there and file_digest(root / name) != hashes[name]]
    if missing or altered:
        faults = [*(f"{name} is missing" for name in missing), *(f"{name} was altered" for name in altered)]
        raise ArtifactError(f"{root} is not what was saved: {', '.join(faults)}")
    values, texts, tables = {}, {}, {}
    for name in hashes:
        path, stem = root / name, name.rsplit(".", 1)[0]
        if name.endswith(".json"):
            values[stem] = json.loads(path.read_text(encoding="utf-8"))
        elif name.endswith(".parquet"):
            tables[stem] = pd.read_parquet(path)
        else:
            texts[stem] = path.read_text(encoding="utf-8")
    return Parts(values, texts, tables)


def _listed(root: Path) -> dict[str, str]:
    """Read the manifest of a saved model: hashes by file name, all of them files of the folder itself."""
    try:
        content = (root / MANIFEST).read_bytes()
        manifest = json.loads(content)
        version, hashes, known = manifest["format_version"], manifest["files"], manifest["format"] == "collectml"
    except FileNotFoundError:
        raise ArtifactError(f"{root} is no saved model: it has no {MANIFEST}") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise ArtifactError(f"{root / MANIFEST} cannot be read: the saved model is damaged") from None
    if not known or not isinstance(version, int):
        raise ArtifactError(f"{root} is no saved model of collectml")
    if version != FORMAT_VERSION:
        what = "a newer collectml wrote it: update, or use the release that did"
        if version < FORMAT_VERSION:
            what = "it is too old to be read: use the release that wrote it, or train again"
        raise ArtifactError(f"{root} is of format version {version}; this collectml reads version {FORMAT_VERSION}; {what}")
    if content != seal({k: v for k, v in manifest.items() if k != "digest"}):
        raise ArtifactError(f"{root} is not what was saved: {MANIFEST} was altered")
    if not all(_FILE.fullmatch(name) for name in hashes):
        raise ArtifactError(f"{root} is not what was saved: {MANIFEST} names files outside of it")
    return cast("dict[str, str]", hashes)
