"""Reading tables people hand in: a Parquet file, a folder of them, or CSV; a clear word where it is neither."""

from __future__ import annotations

import glob
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from collectml.errors import ConfigurationError, SchemaError

__all__ = ["check_shards", "is_csv", "read_table", "table_files"]

CSV = (".csv", ".csv.gz")


def table_files(path: str | Path) -> list[Path]:
    """List the files a table consists of, in name order.

    Parameters
    ----------
    path : str or Path
        A Parquet or CSV file, a folder of Parquet files, or a pattern (``night/part-*.parquet``).

    Returns
    -------
    list of Path

    Raises
    ------
    ConfigurationError
        Where there is nothing.
    """
    source = Path(path)
    if source.is_dir():
        files = sorted(source.glob("*.parquet"))
        if not files:
            raise ConfigurationError(f"{source} holds no .parquet file")
        return files
    if not source.exists() and glob.has_magic(str(source)):
        matched = sorted(Path(p) for p in glob.glob(str(source)) if Path(p).is_file())
        if not matched:
            raise ConfigurationError(f"{source} matches no file")
        return matched
    if not source.is_file():
        raise ConfigurationError(f"{source}: no such file")
    return [source]


def read_table(path: str | Path) -> pd.DataFrame:
    """Read a table.

    Parameters
    ----------
    path : str or Path
        A Parquet file, a folder of Parquet files of one schema, or a CSV file (``.csv``, ``.csv.gz``).

    Returns
    -------
    DataFrame

    Raises
    ------
    ConfigurationError
        Where there is no such file.
    SchemaError
        Where a file is empty, or not what its name says, or files of a folder differ in columns.
    """
    files = table_files(path)
    check_shards(files)
    frames = [_read(file) for file in files]
    return frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def is_csv(file: Path) -> bool:
    """Say whether a file's name says CSV."""
    return file.name.endswith(CSV)


def check_shards(files: list[Path]) -> None:
    """Hold the columns and types of every shard against the first, before any row is read.

    Parameters
    ----------
    files : list of Path
        What a table consists of.

    Raises
    ------
    SchemaError
        Naming the shard and what differs.
    """
    shards = [file for file in files if not is_csv(file)]
    if len(files) > 1 and len(shards) < len(files):
        raise SchemaError("several CSV files do not say whether their columns mean the same; use Parquet, or one CSV file")
    if len(shards) < 2:
        return
    first = _columns(shards[0])
    for file in shards[1:]:
        own = _columns(file)
        drift = [
            *(f"{name} is missing" for name in first if name not in own),
            *(f"{name} is new" for name in own if name not in first),
            *(f"{name} is {own[name]}, was {kind}" for name, kind in first.items() if own.get(name, kind) != kind),
        ]
        if drift:
            raise SchemaError(f"{file.name} has other columns than {shards[0].name}: {'; '.join(drift)}")
        if list(own) != list(first):
            raise SchemaError(f"{file.name} has its columns in another order than {shards[0].name}")


def _columns(file: Path) -> dict[str, str]:
    try:
        schema = pq.read_schema(file)
    except Exception as error:  # whatever a reader raises on a damaged file, the person gets one line
        if file.is_file() and file.stat().st_size == 0:
            raise SchemaError(f"{file} is empty") from None
        raise SchemaError(f"{file} cannot be read as Parquet: {type(error).__name__}") from None
    return {name: str(kind) for name, kind in zip(schema.names, schema.types, strict=True)}


def _read(file: Path) -> pd.DataFrame:
    if file.stat().st_size == 0:
        raise SchemaError(f"{file} is empty")
    csv = is_csv(file)
    try:
        return pd.read_csv(file) if csv else pd.read_parquet(file)
    except Exception as error:  # whatever a reader raises on a damaged file, the person gets one line
        kind = "CSV" if csv else "Parquet"
        raise SchemaError(f"{file} cannot be read as {kind}: {type(error).__name__}") from None
