"""Columns that grow block by block: in memory as long as they are small, in files past a bound.

A file is mapped into memory when it is read, so the solver sees arrays either way; what it has read of a file the system may
take back at any time, and a watcher gives it back as the bound comes near. Arrays that the solver itself needs an entry an account
of are mapped from files as well once the columns are.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import mmap
import os
import resource
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import DTypeLike, NDArray

from collectml.errors import ConfigurationError
from collectml.room import rooms

__all__ = ["Ledger", "give_back", "peak", "resident"]

PAUSE = 0.005  # seconds between two looks at the memory in use
FULL = 0.8  # of the bound: what is mapped of files is given back from here on,
MAPPED = 0.1  # and wherever it alone is so much: arrays in memory may be wanted faster than a watcher looks

SOLVING = 192  # bytes an account that assigning holds beside the columns, all in memory;
PASSING = 80  # and that are left of it in memory, for moments, where the rest is in files
LARGE = 1 << 20  # bytes from which an array goes into a file of its own


def resident() -> tuple[int, int]:
    """Return the memory that the process holds now, and how much of it is mapped from files, in bytes; 0 where nobody says."""
    try:
        _, held, mapped, *_ = map(int, Path("/proc/self/statm").read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return 0, 0
    page = os.sysconf("SC_PAGE_SIZE")
    return held * page, mapped * page


def peak() -> int:
    """Return the most memory that the process has held since it started, in bytes."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        # includes what a parent held when it started us
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def give_back() -> None:
    """Return to the system what was freed and is held for later: between stages it would only be in the way."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class Ledger:
    """Columns by name, written once, block by block, then read.

    Parameters
    ----------
    folder : Path
        Where files go, once they are needed; files may vanish while the columns are in use.
    memory : int
        Bytes the process may hold.

    Notes
    -----
    What the process needs beside the accounts (interpreter, libraries, machine code, models, a block of rows on its way) is the most
    it has held when the first block is done, which includes all of these. Columns stay in memory as long as they and what
    assigning needs fit beside that.

    Numbers of 32 bits come back with 64 as long as all is in memory: the values are the same, sums of them round less.
    """

    def __init__(self, folder: Path, memory: int) -> None:
        self.folder, self.memory = folder, memory
        self.spilled = False
        self._held: dict[str, list[NDArray[Any]]] = {}
        self._files: dict[str, IO[bytes]] = {}
        self._shapes: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        self._size = 0
        self._maps: weakref.WeakSet[mmap.mmap] = weakref.WeakSet()
        self._lock = threading.Lock()  # the watcher goes through the maps while others are added
        self._numbers = itertools.count()
        self._rows = self._beside = self._libraries = 0

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

    def end_block(self, rows: int) -> None:
        """Look whether all still fits into memory, once every column has a block's rows, and into files once it does not.

        Parameters
        ----------
        rows : int
            How many.

        Raises
        ------
        OSError
            Where a file cannot be written.
        ConfigurationError
            Where so many cannot be assigned within the memory: sooner than to hold more.
        """
        self._rows += rows
        if not self._beside:
            self._beside, self._libraries = peak(), resident()[1]
        if not self.spilled and self._beside + self._size + SOLVING * self._rows > self.memory:
            self.spilled = True
            for column in list(self._held):
                for part in self._held.pop(column):
                    self._write(column, part)

        needed = (self._beside + PASSING * self._rows) / (1 - 2 * MAPPED)
        if self.spilled and needed > self.memory:
            wanted = -(-int(needed) // (64 << 20)) * 64
            raise ConfigurationError(
                f"--memory {self.memory >> 20}MiB is too little for {self._rows:,} accounts and more: {wanted}MiB at least"
            )

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
        return self._mapped(path, dtype).reshape(-1, *width)

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
                self._look()

        watcher = threading.Thread(target=watch, name="memory", daemon=True)
        watcher.start()
        try:
            with rooms(self._room):
                yield
        finally:
            stop.set()
            watcher.join()
            for file in self._files.values():  # of a batch that ends before they were read
                file.close()

    def _look(self) -> None:
        """Give pages of files back where they are too many; holds no file beyond that, else none would ever be freed."""
        held, mapped = resident()
        if held > FULL * self.memory or mapped - self._libraries > MAPPED * self.memory:
            with self._lock:
                maps = list(self._maps)
            for file in maps:
                file.madvise(mmap.MADV_DONTNEED)  # the file has it all: the next look reads it again

    def _room(self, shape: Any, dtype: DTypeLike) -> NDArray[Any]:
        """Give room for an array: in a file once the columns are, whose blocks are taken now, not when it is filled."""
        kind = np.dtype(dtype)
        size = int(np.prod(shape)) * kind.itemsize
        if not self.spilled or size < LARGE:
            return np.empty(shape, kind)
        path = self.folder / f"room{next(self._numbers)}.bin"
        with path.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        return self._mapped(path, kind).reshape(shape)

    def _mapped(self, path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
        mapped = np.memmap(path, dtype=dtype, mode="r+")
        path.unlink()  # the mapping holds the content; nothing is left behind, however the process ends
        with self._lock:
            self._maps.add(mapped._mmap)  # type: ignore[attr-defined]
        return np.asarray(mapped)

    def _write(self, name: str, block: NDArray[Any]) -> None:
        file = self._files.get(name)
        if file is None:
            file = self._files[name] = (self.folder / f"{name}.bin").open("wb", buffering=1 << 16)
        file.write(block.tobytes() if block.size else b"")
