"""Accounts from files, as Arrow tables of so many rows each: never a whole file at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from collectml.data.tables import check_shards, is_csv, table_files
from collectml.errors import SchemaError

__all__ = ["as_frame", "file_blocks", "in_blocks"]

FIRST_READ = 64 << 20  # bytes of a CSV file from which the types of its columns are told


def file_blocks(source: str | Path, rows: int) -> Iterator[pa.Table]:
    """Read a Parquet file, a folder or pattern of them, or a CSV file.

    Parameters
    ----------
    source : str or Path
        As :func:`collectml.data.tables.table_files` reads it.
    rows : int
        Rows of a block; the last has what is left. At least one block comes, if an empty one.

    Yields
    ------
    pyarrow.Table

    Raises
    ------
    ConfigurationError
        Where there is no such file.
    SchemaError
        Naming the file that is damaged, empty or of other columns than the first.
    """
    files = table_files(source)
    check_shards(files)
    yield from in_blocks((batch for file in files for batch in _batches(file, rows)), rows)


def in_blocks(batches: Iterable[pa.RecordBatch | pa.Table], rows: int) -> Iterator[pa.Table]:
    """Cut and join batches so that each has so many rows; results do not depend on it, but small blocks take longer.

    Parameters
    ----------
    batches : iterable of RecordBatch or Table
        Of one schema; at least one.
    rows : int
        Rows of a block.

    Yields
    ------
    pyarrow.Table

    Examples
    --------
    >>> [b.num_rows for b in in_blocks([pa.table({"a": [1, 2, 3]}), pa.table({"a": [4, 5]})], 2)]
    [2, 2, 1]
    """
    held: list[pa.Table] = []
    count, sent = 0, False
    for batch in batches:
        table = pa.Table.from_batches([batch]) if isinstance(batch, pa.RecordBatch) else batch
        held.append(table)
        count += table.num_rows
        while count >= rows:
            joined = pa.concat_tables(held)
            yield joined.slice(0, rows)
            held, count, sent = [joined.slice(rows)], count - rows, True
    if count or not sent:
        yield pa.concat_tables(held)


def as_frame(table: pa.Table) -> pd.DataFrame:
    """Turn a block into a frame without loss: whole numbers with gaps stay whole, dates are dates.

    Parameters
    ----------
    table : pyarrow.Table
        A block.

    Returns
    -------
    DataFrame

    Raises
    ------
    SchemaError
        Where what stands there cannot be read: text that is none, dates past the calendar.
    """
    # what pandas wrote beside the columns is not needed, and may be damaged like anything else
    table = table.replace_schema_metadata(None)
    gaps = [i for i, c in enumerate(table.columns) if pa.types.is_signed_integer(c.type) and c.null_count]
    try:
        frame = table.select([i for i in range(table.num_columns) if i not in gaps]).to_pandas(date_as_object=False)
        for i in gaps:
            whole = table.column(i).to_pandas(types_mapper=lambda kind: pd.Int64Dtype())
            frame.insert(i, table.field(i).name, whole, allow_duplicates=True)
        return frame
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise SchemaError(f"accounts: rows cannot be read, the file is damaged: {type(error).__name__}") from None


def _batches(file: Path, rows: int) -> Iterator[pa.RecordBatch]:
    if file.stat().st_size == 0:
        raise SchemaError(f"{file} is empty")
    opened = _csv if is_csv(file) else _parquet
    try:
        yield from opened(file, rows)
    except (SchemaError, GeneratorExit):
        raise
    except Exception as error:  # whatever a reader raises on a damaged file, the person gets one line
        kind = "CSV" if is_csv(file) else "Parquet"
        raise SchemaError(f"{file} cannot be read as {kind}: {type(error).__name__}") from None


def _parquet(file: Path, rows: int) -> Iterator[pa.RecordBatch]:
    with pq.ParquetFile(file) as parquet:
        if parquet.metadata.num_rows == 0:
            yield from parquet.schema_arrow.empty_table().to_batches() or [_nothing(parquet.schema_arrow)]
        count = 0
        for batch in parquet.iter_batches(batch_size=rows, use_threads=False):
            count += batch.num_rows
            yield batch
        if count != parquet.metadata.num_rows:  # a damaged footer may leave rows out without a word
            raise SchemaError(f"{file} is damaged: {count:,} of {parquet.metadata.num_rows:,} rows can be read")


def _csv(file: Path, rows: int) -> Iterator[pa.RecordBatch]:
    """Tell the types from the beginning of the file; what comes later must keep to them."""
    read = pyarrow.csv.ReadOptions(block_size=FIRST_READ, use_threads=False)
    convert = pyarrow.csv.ConvertOptions(strings_can_be_null=True)
    options: dict[str, Any] = {"read_options": read, "convert_options": convert}
    with pyarrow.csv.open_csv(file, **options) as reader:
        some = False
        for batch in reader:
            some = True
            yield batch
        if not some:
            yield _nothing(reader.schema)


def _nothing(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([], type=kind) for kind in schema.types], schema=schema)
