"""Last pass of a batch: rows are worked out, checked once more and written, block by block."""

from __future__ import annotations

import importlib.metadata
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from collectml import __version__
from collectml.errors import CollectMLError
from collectml.models.grading import GRADES
from collectml.policy import Assignment
from collectml.policy._usage import total

from .reading import Night

__all__ = ["LIBRARIES", "Written", "as_json", "manifest_of", "summary_of", "tables", "write_parquet", "write_rows"]

LIBRARIES = ("lightgbm", "numpy", "pandas", "scipy", "pyarrow")
ROWS_OF_A_GROUP = 131_072  # of the file written: a matter of its format, so that its bytes depend on its content alone


@dataclass
class Written:
    """What the rows added up to."""

    value: float = 0.0
    value_no_action: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    grades: Counter[str] = field(default_factory=Counter)


def tables(assignment: Assignment, night: Night) -> Iterator[pa.Table]:
    """Work out what ``assignments.parquet`` holds, a row group at a time.

    Parameters
    ----------
    assignment : Assignment
        What was decided.
    night : Night
        Of which accounts.

    Yields
    ------
    pyarrow.Table
    """
    grades = pa.array(GRADES)
    for start in range(0, len(night.grade), ROWS_OF_A_GROUP):
        rows = slice(start, min(start + ROWS_OF_A_GROUP, len(night.grade)))
        table = assignment.table(rows)
        table = table.append_column("risk_grade", grades.take(pa.array(night.grade[rows])))
        yield table.append_column("as_of", pa.repeat(assignment.problem.cycle, table.num_rows))


def write_rows(assignment: Assignment, night: Night, path: Path | None) -> Written:
    """Check every row, and write it where there is a path.

    Parameters
    ----------
    assignment : Assignment
        What was decided.
    night : Night
        Of which accounts.
    path : Path or None
        Parquet file to write.

    Returns
    -------
    Written

    Raises
    ------
    CollectMLError
        Where the result fails a check.
    OSError
        Where the file cannot be written.
    """
    done, check, writer = Written(), _Check(assignment), None
    try:
        for table in tables(assignment, night):
            check.see(table)
            done.value += pc.sum(table["value"]).as_py()
            done.value_no_action += pc.sum(table["value_no_action"]).as_py()
            done.reasons.update(_counts(table["reason"]))
            done.grades.update(_counts(table["risk_grade"]))
            if path is not None:
                writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd", use_dictionary=True)
                writer.write_table(table, row_group_size=ROWS_OF_A_GROUP)
    finally:
        if writer is not None:
            writer.close()
    check.close()
    return done


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """Write Parquet whose bytes depend on the content alone."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(table, path, compression="zstd", use_dictionary=True)


class _Check:
    """Look at the rows once more, apart from the code that made them: one action each, permitted, limits held."""

    def __init__(self, assignment: Assignment) -> None:
        self.assignment, self.faults = assignment, set[str]()
        self.action = np.empty(len(assignment.action), dtype=np.int16)
        self.seen = 0

    def see(self, table: pa.Table) -> None:
        problem, rows = self.assignment.problem, slice(self.seen, self.seen + table.num_rows)
        self.seen = rows.stop
        if not table["account_id"].to_pandas().equals(pd.Series(problem.ids[rows])):
            self.faults.add("accounts and assignments differ")
        names = pa.array(problem.strategy.action_names)
        action = pc.index_in(table["action"], names).to_numpy().astype(np.int16)
        if (action < 0).any() or not problem.permissions.allowed[rows][np.arange(len(action)), action].all():
            self.faults.add("an action was assigned that is not permitted")
        self.action[rows] = action
        probability = table["probability"].to_numpy()
        if not ((probability > 0) & (probability <= 1)).all():
            self.faults.add("a probability lies outside (0, 1]")

    def close(self) -> None:
        if self.seen != len(self.action):
            self.faults.add("accounts and assignments differ")
        for limit in self.assignment.problem.limits:
            used = total(limit.usage, self.action)
            low, high = (b if np.isfinite(b) else 0.0 for b in (limit.lower, limit.upper))
            if used > limit.upper + 1e-9 * max(1.0, abs(high)) or used < limit.lower - 1e-9 * max(1.0, abs(low)):
                self.faults.add("a limit is exceeded")
        if self.faults:
            told = "; ".join(sorted(self.faults))
            raise CollectMLError(f"the assignment failed its own checks: {told}; nothing was written")


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    return {str(entry["values"]): int(entry["counts"]) for entry in pc.value_counts(column).to_pylist()}


def summary_of(assignment: Assignment, night: Night, written: Written) -> dict[str, object]:
    """Sum up a batch: what ``summary.json`` holds."""
    solution = assignment.plan.solution
    conditions = assignment.problem.permissions.frame()
    return {
        "as_of": assignment.problem.cycle,
        "strategy": assignment.problem.strategy.name,
        "currency": assignment.problem.strategy.currency,
        "rows_read": night.rows,
        "accounts": len(night.grade),
        "rejects": len(night.rejects),
        "value": written.value,
        "value_no_action": written.value_no_action,
        "actions": _records(assignment.by_action().reset_index(names="action")),
        "reasons": dict(sorted(written.reasons.items())),
        "grades": dict(sorted(written.grades.items())),
        "limits": _records(assignment.limits()),
        "conditions": _records(conditions),
        "missing_fields": sorted({f for fields in conditions["missing_fields"] for f in fields.split(", ") if f}),
        "solution": {"status": solution.status, "gap": float(solution.gap), "upper_bound": float(solution.upper_bound)},
        "exploration": {"draws": assignment.counter + 1, "breach_bound": float(assignment.plan.breach_bound)},
    }


def manifest_of(
    assignment: Assignment,
    summary: Mapping[str, object],
    *,
    inputs: Mapping[str, Mapping[str, str]],
    model: str,
    outputs: Mapping[str, str],
) -> dict[str, object]:
    """Say what made a batch and what it made: hashes of inputs, model and outputs, versions."""
    return {
        "collectml": __version__,
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "as_of": summary["as_of"],
        "strategy": assignment.problem.strategy.model_dump(mode="json", exclude={"salts"}),
        "inputs": inputs,
        "model": model,
        "outputs": dict(sorted(outputs.items())),
        "exploration": summary["exploration"],
        "rows": {"read": summary["rows_read"], "assigned": summary["accounts"], "rejected": summary["rejects"]},
    }


def _records(table: pd.DataFrame) -> list[dict[str, object]]:
    """Turn a table into JSON-able records; what is not finite becomes null."""
    return [
        {str(k): (None if isinstance(v, float) and not np.isfinite(v) else v) for k, v in row.items()}
        for row in json.loads(table.to_json(orient="records", double_precision=15))
    ]


def as_json(value: object) -> bytes:
    """Write JSON whose bytes depend on the content alone."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"
