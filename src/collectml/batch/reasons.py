"""Reasons of a batch: why each account's action changes its chance of payment as much as it does, in approved words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from collectml.pipeline import StrategyModel
from collectml.pipeline.drivers import approved_reasons
from collectml.policy import Assignment

from .reading import Night
from .writing import ROWS_OF_A_GROUP

__all__ = ["write_reasons"]

PART = ROWS_OF_A_GROUP // 4  # accounts explained together: what is needed beside them stays small


def write_reasons(model: StrategyModel, assignment: Assignment, night: Night, path: Path | None) -> None:
    """Tell the reasons of every account that gets an action, and write them where there is a path.

    Parameters
    ----------
    model : StrategyModel
        What valued the actions, with the hurdle learner.
    assignment : Assignment
        What was decided.
    night : Night
        Of which accounts, with their features.
    path : Path or None
        Parquet file to write: up to four rows an account.

    Raises
    ------
    CollectMLError
        Where contributions do not add up.
    OSError
        Where the file cannot be written.
    """
    assert night.features is not None  # noqa: S101  (kept where reasons are asked for)
    ids, actions = assignment.problem.ids, model.uplift.actions_
    position = pd.Index(actions).get_indexer(pd.Index(assignment.problem.strategy.action_names))
    writer = None
    try:
        for start in range(0, len(ids), ROWS_OF_A_GROUP):
            tables = []
            for first in range(start, min(start + ROWS_OF_A_GROUP, len(ids)), PART):
                rows = slice(first, min(first + PART, start + ROWS_OF_A_GROUP))
                action = position[assignment.action[rows]].astype(np.intp)
                tables.append(_table(approved_reasons(model, night.features[rows], ids[rows], action)))
            if path is not None:
                group = pa.concat_tables(tables)
                writer = writer or pq.ParquetWriter(path, group.schema, compression="zstd", use_dictionary=True)
                writer.write_table(group, row_group_size=max(1, group.num_rows))
    finally:
        if writer is not None:
            writer.close()


def _table(told: pd.DataFrame) -> pa.Table:
    """Fix the types: a part without reasons has the schema of the others."""
    ids = pa.array(told["account_id"])
    kind = ids.type if pa.types.is_integer(ids.type) else pa.string()
    words = [pa.field(name, pa.string()) for name in ("reason", "reason_zh", "direction")]
    numbers = [pa.field("contribution", pa.float64()), pa.field("flip_rate", pa.float64())]
    schema = pa.schema([pa.field("account_id", kind), pa.field("rank", pa.int8()), *words, *numbers])
    return pa.Table.from_pandas(told, schema=schema, preserve_index=False).replace_schema_metadata(None)
