"""Folders that appear whole or not at all, whatever stops the process that writes them."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from collectml.errors import CollectMLError

__all__ = ["exclusive", "staging", "write_file", "write_folder"]

AT_WORKING_DIRECTORY, EXCHANGE = -100, 2  # of renameat2


@contextlib.contextmanager
def exclusive(target: str | Path) -> Iterator[None]:
    """Hold the right to write a folder, and clear away what a killed writer left beside it.

    Parameters
    ----------
    target : str or Path
        The folder; need not exist.

    Yields
    ------
    None
        While the right is held. The system takes it from a process that dies.

    Raises
    ------
    CollectMLError
        Where another process holds it.
    """
    target = Path(target)
    made = [p for p in target.parents if not p.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = target.parent / f".{target.name}.lock"
    handle = _locked(lock, target)
    try:
        _clear(target)
        yield
    finally:
        lock.unlink(missing_ok=True)  # while still held: who opened it meanwhile finds another file there and tries again
        os.close(handle)
        for parent in made:
            with contextlib.suppress(OSError):  # something stands in it
                parent.rmdir()


@contextlib.contextmanager
def staging(target: str | Path | None) -> Iterator[Path]:
    """Give a folder to work in on the file system of a target; a killed process' one is cleared by :func:`exclusive`.

    Parameters
    ----------
    target : str or Path, optional
        The folder that will be written; the system's place for temporary files where there is none.

    Yields
    ------
    Path
        Gone when the block ends.
    """
    if target is None:
        folder = Path(tempfile.mkdtemp(prefix="collectml-"))
    else:
        target = Path(target)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=target.parent))
    try:
        yield folder
    finally:
        _remove(folder)


def write_folder(target: str | Path, files: Mapping[str, bytes | Path]) -> None:
    """Make a folder appear whole or not at all.

    Parameters
    ----------
    target : str or Path
        The folder; replaced where it exists.
    files : mapping of str to bytes or Path
        Contents by file name, or files to be moved in.

    Raises
    ------
    OSError
        Where writing fails; what stood there before is untouched.

    Notes
    -----
    Everything is written beside the target and forced to the disk; then old and new change places in one step of the file
    system (where it has no such step, in two). A process killed at any moment leaves the old folder or the new one, and
    perhaps a hidden folder beside it, which the next writer under :func:`exclusive` removes.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.new-", dir=target.parent))
    try:
        folders = {staging}
        for name, content in files.items():
            path = staging / name
            path.parent.mkdir(parents=True, exist_ok=True)
            folders |= {p for p in path.parents if p.is_relative_to(staging)}
            if isinstance(content, Path):
                shutil.move(content, path)
            else:
                path.write_bytes(content)
            _force(path)
        staging.chmod(0o755)  # mkdtemp makes folders nobody else may read
        for folder in sorted(folders, reverse=True):
            _force(folder)
        if target.exists():
            if not _exchanged(staging, target):
                _replace_in_two_steps(staging, target)
        else:
            staging.rename(target)
        _force(target.parent)
    finally:
        _remove(staging)  # what was begun, or, after the exchange, what stood there before


def write_file(target: str | Path, content: bytes) -> None:
    """Make a file appear whole or not at all, forced to the disk.

    Parameters
    ----------
    target : str or Path
        The file; replaced where it exists.
    content : bytes
        What it holds.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.new-", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        staging = Path(name)
        staging.chmod(0o644)
        _force(staging)
        staging.replace(target)
        _force(target.parent)
    finally:
        Path(name).unlink(missing_ok=True)


def _locked(lock: Path, target: Path) -> int:
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), lock.stat()):
                return handle
        except BlockingIOError:
            os.close(handle)
            raise CollectMLError(
                f"another process is writing {target}; wait for it to end, or choose another folder"
            ) from None
        except FileNotFoundError:
            pass
        os.close(handle)  # the last holder removed the file between opening and locking it


def _clear(target: Path) -> None:
    """Put back what a writer killed between two steps had moved aside, and remove what it had begun."""
    mark = re.compile(rf"\.{re.escape(target.name)}\.(new|old)-[a-z0-9_]{{8}}")
    for path in sorted(target.parent.iterdir()):
        kind = mark.fullmatch(path.name)
        if kind is None:
            continue
        aside = path / target.name
        if kind.group(1) == "old" and aside.exists() and not target.exists():
            aside.rename(target)
        _remove(path)


def _exchanged(one: Path, other: Path) -> bool:
    """Let two paths change places in one step; False where system or file system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    if rename(AT_WORKING_DIRECTORY, os.fsencode(one), AT_WORKING_DIRECTORY, os.fsencode(other), EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.EPERM):
        return False
    raise OSError(code, os.strerror(code), str(other))


def _replace_in_two_steps(staging: Path, target: Path) -> None:
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
    target.rename(aside / target.name)
    try:
        staging.rename(target)
    except BaseException:
        (aside / target.name).rename(target)
        raise
    finally:
        _remove(aside)


def _force(path: Path) -> None:
    """Force a file or folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
