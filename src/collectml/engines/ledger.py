"""Columns that grow block by block: in memory as long as they are small, in files past a bound.

A file is mapped into memory when it is read, so the solver sees arrays either way; what it has read of a file the system may
take back at any time, and a watcher gives it back before the bound is passed.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["Ledger", "resident"]

PAUSE = 0.05  # seconds between two looks at the memory in use


def resident() -> int:
    """Return the memory that the process holds now, in bytes; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


class Ledger:
    """Columns by name, written once, block by block, then read.

    Parameters
    ----------
    folder : Path
        Where files go, once they are needed; files may vanish while the columns are in use.
    memory : int
        Bytes the process may hold. A third of it is the columns'.

    Notes
    -----
    Numbers of 32 bits come back with 64 as long as all is in memory: the values are the same, sums of them round less.
    """

    def __init__(self, folder: Path, memory: int) -> None:
        self.folder, self.memory = folder, memory
        self.spilled = False
        self._held: dict[str, list[NDArray[Any]]] = {}
        self._files: dict[str, IO[bytes]] = {}
        self._shapes: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        self._size = 0
        self._maps: list[mmap.mmap] = []

    def append(self, name: str, block: NDArray[Any]) -> None:
        """Add rows to a column.

        Parameters
        ----------
        name : str
            The column.
        block : ndarray, shape (m, ...)
            Of the same type and width every time.

        Raises
        ------
        OSError
            Where a file cannot be written.
        """
        block = np.ascontiguousarray(block)
        self._shapes.setdefault(name, (block.dtype, block.shape[1:]))
        if self.spilled:
            self._write(name, block)
            return
        self._held.setdefault(name, []).append(block)
        self._size += block.nbytes * (2 if block.dtype == np.float32 else 1)
        if self._size > self.memory / 3:
            self.spilled = True
            for column in list(self._held):
                for part in self._held.pop(column):
                    self._write(column, part)

    def append_ids(self, name: str, ids: pd.Series) -> None:
        """Add whole numbers or texts to a column that :meth:`ids` returns.

        Parameters
        ----------
        name : str
            The column.
        ids : Series of int64 or str, length m
        """
        if ids.dtype == np.int64:
            self.append(name, ids.to_numpy())
            return
        text = pa.array(ids.astype("str"), type=pa.large_string())
        text = text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text
        _, offsets, data = text.buffers()
        bounds = np.frombuffer(offsets, dtype=np.int64)[text.offset : text.offset + len(text) + 1]
        content = np.zeros(0, dtype=np.uint8) if data is None else np.frombuffer(data, dtype=np.uint8)
        self.append(f"{name}.text", content[bounds[0] : bounds[-1]])
        self.append(f"{name}.size", np.diff(bounds).astype(np.int32))

    def column(self, name: str) -> NDArray[Any]:
        """Return a column; nothing can be added to it any more.

        Parameters
        ----------
        name : str
            The column.

        Returns
        -------
        ndarray, shape (n, ...)
        """
        dtype, width = self._shapes[name]
        if not self.spilled:
            parts = self._held.pop(name)
            out = np.empty((sum(map(len, parts)), *width), dtype=np.float64 if dtype == np.float32 else dtype)
            at = 0
            while parts:
                part = parts.pop(0)
                out[at : at + len(part)] = part
                at += len(part)
            return out
        file = self._files.pop(name)
        file.close()
        path = self.folder / f"{name}.bin"
        if path.stat().st_size == 0:
            return np.zeros((0, *width), dtype=dtype)
        mapped = np.memmap(path, dtype=dtype, mode="r+")
        path.unlink()  # the mapping holds the content; nothing is left behind, however the process ends
        self._maps.append(mapped._mmap)  # type: ignore[attr-defined]
        return np.asarray(mapped).reshape(-1, *width)

    def ids(self, name: str) -> pd.Index:
        """Return a column of ids.

        Parameters
        ----------
        name : str
            The column, as given to :meth:`append_ids`.

        Returns
        -------
        Index of int64 or str
        """
        if name in self._shapes:
            return pd.Index(self.column(name), copy=False)
        sizes = self.column(f"{name}.size")
        offsets = np.zeros(len(sizes) + 1, dtype=np.int64)
        np.cumsum(sizes, out=offsets[1:])
        buffers = [pa.py_buffer(offsets), pa.py_buffer(self.column(f"{name}.text"))]
        text = pa.LargeStringArray.from_buffers(len(sizes), *buffers)
        return pd.Index(pd.array(text, dtype=pd.StringDtype("pyarrow", na_value=np.nan)), copy=False)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Keep the process within its memory while the block runs: pages read from files are given back in time.

        Yields
        ------
        None
        """
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(PAUSE):
                if self._maps and resident() > 0.9 * self.memory:
                    for mapped in self._maps:
                        mapped.madvise(mmap.MADV_DONTNEED)  # the file has it all: the next look reads it again

        watcher = threading.Thread(target=watch, name="memory", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()

    def _write(self, name: str, block: NDArray[Any]) -> None:
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = (self.folder / f"{name}.bin").open("wb", buffering=1 << 16)
        file.write(block.tobytes() if block.size else b"")
