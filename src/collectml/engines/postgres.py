"""Accounts from PostgreSQL by a server-side cursor, assignments back in one transaction.

A place is written ``postgresql://user@host/database#schema.table``; for reading, what follows ``#`` may be a query instead. The
password comes from where libpq finds it (``PGPASSWORD``, ``~/.pgpass``), so that it stands in no command line.
"""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.csv

from collectml.errors import CollectMLError, ConfigurationError, SchemaError, ServiceUnavailableError

__all__ = ["describe_place", "is_postgres", "table_batches", "writing"]

ROWS_AT_ONCE = 50_000
KINDS = {
    "bool": pa.bool_(),
    "int2": pa.int64(),
    "int4": pa.int64(),
    "int8": pa.int64(),
    "float4": pa.float64(),
    "float8": pa.float64(),
    "numeric": pa.float64(),
    "text": pa.string(),
    "varchar": pa.string(),
    "bpchar": pa.string(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", tz="UTC"),
}


def is_postgres(place: object) -> bool:
    """Say whether a source or target is a place in PostgreSQL.

    Examples
    --------
    >>> is_postgres("postgresql://db/risk#night.accounts"), is_postgres("accounts.parquet")
    (True, False)
    """
    return str(place).startswith(("postgresql://", "postgres://"))


def describe_place(place: str) -> str:
    """Name a place without what may be secret: what follows ``#``.

    Examples
    --------
    >>> describe_place("postgresql://me:secret@db/risk#night.accounts")
    'night.accounts'
    """
    return _split(place)[1]


def table_batches(place: str) -> Iterator[pa.RecordBatch]:
    """Read a table or query by a server-side cursor, in one read-only snapshot, in the order of ``account_id``.

    Parameters
    ----------
    place : str
        ``postgresql://...#table`` or ``postgresql://...#SELECT ...``.

    Yields
    ------
    pyarrow.RecordBatch
        Of 50,000 rows but for the last; at least one.

    Raises
    ------
    ServiceUnavailableError
        Where the database cannot be reached, or is lost on the way.
    ConfigurationError
        Where there is no such table, or the query is wrong.
    SchemaError
        Where a column's type is not readable.
    """
    address, what = _split(place)
    with _talking(address, what) as (psycopg, connection):
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        sql = psycopg.sql
        is_query = what.split(None, 1)[0].lower() in ("select", "with", "table", "values")
        rows = sql.SQL("({}) AS accounts").format(sql.SQL(what.rstrip("; "))) if is_query else _identifier(psycopg, what)
        query = sql.SQL("SELECT * FROM {}").format(rows)
        schema = _schema(psycopg, connection.execute(sql.SQL("{} LIMIT 0").format(query)).description)
        if "account_id" in schema.names:  # a table has no order of its own; text is ordered alike by every server
            text = schema.field("account_id").type == pa.string()
            query += sql.SQL(' ORDER BY account_id COLLATE "C"' if text else " ORDER BY account_id")
        with connection.cursor(name="accounts") as cursor:
            cursor.itersize = ROWS_AT_ONCE
            cursor.execute(query)
            some = False
            while rows := cursor.fetchmany(ROWS_AT_ONCE):
                some = True
                columns = [_array(values, field.type) for values, field in zip(zip(*rows, strict=True), schema, strict=True)]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)
            if not some:
                yield pa.RecordBatch.from_arrays([pa.array([], type=kind) for kind in schema.types], schema=schema)


@contextlib.contextmanager
def writing(place: str, rows: Iterable[pa.Table], batch_id: str) -> Iterator[None]:
    """Write rows to a table in one transaction, which ends when the block does: with it, or not at all.

    Parameters
    ----------
    place : str
        ``postgresql://...#table``; the table is made where it does not exist.
    rows : iterable of pyarrow.Table
        What to write, block by block, at least one; ``batch_id`` is put beside its columns.
    batch_id : str
        The same id again replaces what it wrote before.

    Yields
    ------
    None
        When all rows are in the table, seen by nobody else yet.

    Raises
    ------
    ServiceUnavailableError, ConfigurationError
        As in :func:`table_batches`; nothing is written then.
    """
    address, table = _split(place)
    with _talking(address, table) as (psycopg, connection):
        sql, name = psycopg.sql, _identifier(psycopg, table)
        blocks = iter(rows)
        first = next(blocks)
        columns = [("batch_id", "text"), *((field.name, _kind_of(field.type)) for field in first.schema)]
        described = sql.SQL(", ").join(sql.SQL("{} {} NOT NULL").format(sql.Identifier(c), sql.SQL(k)) for c, k in columns)
        order = sql.SQL(", ").join(sql.Identifier(c) for c in [*first.column_names, "batch_id"])
        as_written = pyarrow.csv.WriteOptions(include_header=False)
        with connection.cursor() as cursor:
            # two batches with one id wait for each other instead of both writing
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (f"{table}/{batch_id}",))
            made = "CREATE TABLE IF NOT EXISTS {} ({}, PRIMARY KEY (batch_id, account_id))"
            cursor.execute(sql.SQL(made).format(name, described))
            cursor.execute(sql.SQL("DELETE FROM {} WHERE batch_id = %s").format(name), (batch_id,))
            with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(name, order)) as copy:
                for block in itertools.chain([first], blocks):
                    content = io.BytesIO()
                    whole = block.append_column("batch_id", pa.repeat(batch_id, block.num_rows))
                    pyarrow.csv.write_csv(whole, content, as_written)
                    copy.write(content.getvalue())
        yield
        connection.commit()


def _split(place: str) -> tuple[str, str]:
    address, _, what = str(place).partition("#")
    if not what.strip():
        raise ConfigurationError("a place in PostgreSQL is written postgresql://host/database#schema.table")
    return address, what.strip()


@contextlib.contextmanager
def _talking(address: str, what: str) -> Iterator[tuple[Any, Any]]:
    """Connect, and turn the driver's errors into ours; an error, or a block that does not commit, undoes everything."""
    try:
        import psycopg
        import psycopg.sql
    except ImportError:
        raise ConfigurationError("PostgreSQL needs the extra 'postgres': pip install 'collectml[postgres]'") from None
    try:
        with contextlib.closing(psycopg.connect(address, connect_timeout=10)) as connection:
            yield psycopg, connection
    except psycopg.OperationalError as error:
        raise ServiceUnavailableError(f"PostgreSQL cannot be reached for {what}: {_kind(error)}; try again later") from error
    except (psycopg.ProgrammingError, psycopg.NotSupportedError) as error:
        # the server's text may quote data; its class says what is wrong
        raise ConfigurationError(f"PostgreSQL refuses {what}: {_kind(error)}") from error
    except psycopg.Error as error:
        raise CollectMLError(f"PostgreSQL failed at {what}: {_kind(error)}; nothing was written") from error


def _kind(error: BaseException) -> str:
    return type(error).__name__


def _identifier(psycopg: Any, name: str) -> Any:
    return psycopg.sql.Identifier(*name.split("."))


def _schema(psycopg: Any, description: Sequence[Any]) -> pa.Schema:
    names = [(column.name, psycopg.adapters.types.get(column.type_code)) for column in description]
    kinds = [(column, "unknown" if kind is None else kind.name) for column, kind in names]
    unreadable = [f"{column} ({kind})" for column, kind in kinds if kind not in KINDS]
    if unreadable:
        raise SchemaError(f"accounts: columns of a type that is not read: {', '.join(unreadable)}; cast or leave them out")
    return pa.schema([(column, KINDS[kind]) for column, kind in kinds])


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_floating(kind):  # numeric arrives as Decimal
        return pa.array([None if v is None else float(v) for v in values], type=kind)
    return pa.array(values, type=kind)


def _kind_of(kind: pa.DataType) -> str:
    if pa.types.is_integer(kind):
        return "bigint"
    if pa.types.is_floating(kind):
        return "double precision"
    return "text"
