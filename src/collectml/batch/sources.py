"""Where a batch's model, strategy and accounts come from."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow as pa

from collectml.artifact import file_digest
from collectml.data.digest import content_digest
from collectml.data.tables import check_shards, table_files
from collectml.engines.local import as_frame, file_blocks, in_blocks
from collectml.engines.postgres import describe_place, is_postgres, table_batches
from collectml.errors import ConfigurationError
from collectml.pipeline import StrategyModel
from collectml.strategy import Strategy

__all__ = ["AccountSource", "file_digests", "parse_day", "with_strategy"]


def parse_day(as_of: str | pd.Timestamp) -> pd.Timestamp:
    """Read the date of a decision."""
    iso = not isinstance(as_of, str) or re.fullmatch(r"\d{4}-\d\d-\d\d([T ].*)?", as_of, re.ASCII)
    day = pd.to_datetime(as_of, errors="coerce") if iso else None
    if not isinstance(day, pd.Timestamp):  # no date, or not-a-time
        raise ConfigurationError(f"--as-of {as_of!r} is no date (YYYY-MM-DD)")
    return day.normalize()


def with_strategy(model: StrategyModel, strategy: Strategy, path: str, allow_new_holdout: bool) -> StrategyModel:
    """Put the strategy of a file in place of the model's own, where the two belong together."""
    own = model.strategy
    if strategy.control != own.control:
        raise ConfigurationError(f"{path}: control {strategy.control!r}, but the model was trained against {own.control!r}")
    if own.holdout.share > 0 and strategy.salts.holdout != own.salts.holdout and not allow_new_holdout:
        raise ConfigurationError(
            f"{path}: the hold-out salt differs from the model's, which would mix held-out and treated customers; "
            "keep it, or say --allow-new-holdout"
        )
    return replace(model, strategy=strategy)


def file_digests(source: str | Path) -> dict[str, str]:
    """Say what files held, by name."""
    return {file.name: file_digest(file) for file in table_files(source)}


class AccountSource:
    """The accounts of a batch, block by block.

    Parameters
    ----------
    place : str or Path
        Files, or a table or query in PostgreSQL.
    rows : int
        Rows of a block.
    """

    def __init__(self, place: str | Path, rows: int) -> None:
        self.place, self.rows = place, rows
        self._seen = hashlib.sha256()

    def __iter__(self) -> Iterator[pd.DataFrame]:
        """Go through the accounts once, as frames."""
        blocks = in_blocks(self._table(), self.rows) if is_postgres(self.place) else file_blocks(self.place, self.rows)
        return map(as_frame, blocks)

    def check(self) -> None:
        """Find out at once where files are not there, or differ in columns."""
        if not is_postgres(self.place):
            check_shards(table_files(self.place))

    def whole(self) -> pd.DataFrame:
        """Read all accounts at once: for reports, which need them in memory."""
        return pd.concat(list(self), ignore_index=True)

    def digests(self) -> dict[str, str]:
        """Say what was read: the bytes of files, the content of what a database gave."""
        if is_postgres(self.place):
            return {describe_place(str(self.place)): self._seen.hexdigest()}
        return file_digests(self.place)

    def _table(self) -> Iterator[pa.RecordBatch]:
        for batch in table_batches(str(self.place)):
            self._seen.update(content_digest(as_frame(pa.Table.from_batches([batch]))).encode())
            yield batch
