"""Faults of a table, told so that a person can act on them and nobody's data is shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from collectml.data._coerce import Mask
from collectml.errors import SchemaError

_EXAMPLES = 3


@dataclass(frozen=True)
class Fault:
    """One broken rule: where, what, and in which rows (none for a fault of the table as a whole)."""

    column: str
    check: str
    kind: Literal["structural", "row"]
    bad: Mask | None = None
    values: pd.Series | None = None

    @property
    def sentence(self) -> str:
        """The fault in words."""
        return f"column '{self.column}' {self.check}" if self.column else self.check


@dataclass(frozen=True)
class Inspection:
    """A table in canonical types and everything wrong with it."""

    table: str
    frame: pd.DataFrame
    faults: tuple[Fault, ...]
    ids: pd.Series | None

    def bad_rows(self) -> Mask:
        """Rows with at least one fault, shape (n,)."""
        bad = np.zeros(len(self.frame), dtype=bool)
        for fault in self.faults:
            if fault.bad is not None:
                bad |= fault.bad
        return bad

    def rows(self, first_row: int = 0) -> list[dict[str, object]]:
        """All faults, one a row; rows are numbered from ``first_row`` where the table is part of a longer one."""
        return [
            {
                "table": self.table,
                "column": fault.column,
                "check": fault.check,
                "rows": 0 if fault.bad is None else int(fault.bad.sum()),
                "examples": _examples(fault, self.ids, first_row),
                "kind": fault.kind,
            }
            for fault in self.faults
        ]

    def error(self) -> SchemaError:
        """All faults as one error: a line to act on, then a line a fault."""
        return faults_error(self.table, self.rows(), int(self.bad_rows().sum()), len(self.frame))


def faults_error(table: str, faults: list[dict[str, Any]], bad_rows: int, rows: int) -> SchemaError:
    """Tell faults of a table, given as :meth:`Inspection.rows` does, as one error."""
    faults = sorted(faults, key=lambda fault: fault["kind"] != "structural")
    structural = sum(fault["kind"] == "structural" for fault in faults)
    sentences = [f"column '{f['column']}' {f['check']}" if f["column"] else f["check"] for f in faults]
    lines = [
        f"{table}: {len(faults)} fault{'s' if len(faults) > 1 else ''} in {bad_rows:,} of "
        f"{rows:,} rows ({structural} structural); first: {sentences[0]}"
    ]
    for sentence, fault in zip(sentences, faults, strict=True):
        count = f"{fault['rows']:,} row{'s' if fault['rows'] != 1 else ''}"
        where = f" ({count}: {fault['examples']})" if fault["rows"] else ""
        lines.append(f"- {sentence}{where}")
    return SchemaError("\n".join(lines), pd.DataFrame(faults))


def is_showable(identifier: object) -> bool:
    """Whether an id is sure to be no name, phone or address: what is not is named by its row instead."""
    if isinstance(identifier, int | np.integer):
        return True
    text = str(identifier)
    letters, digits = sum(c.isalpha() for c in text), sum(c.isdigit() for c in text)
    return (
        re.fullmatch(r"[A-Za-z0-9_-]{1,40}", text) is not None
        and digits >= max(1, letters)
        and (text[0].isalpha() or letters > 1 or digits < 7)
    )


def _examples(fault: Fault, ids: pd.Series | None, first_row: int) -> str:
    if fault.bad is None:
        return ""
    examples = []
    for row in np.flatnonzero(fault.bad)[:_EXAMPLES]:
        identifier = None if ids is None else ids.iloc[row]
        known = identifier is not None and not pd.isna(identifier) and is_showable(identifier)
        example = f"account {identifier}" if known else f"row {first_row + row}"
        if fault.values is not None and not pd.isna(fault.values.iloc[row]):
            # six digits say what is wrong with an amount, and are too few to be anybody's phone number
            example += f" has {float(fault.values.iloc[row]):.6g}"
        examples.append(example)
    return ", ".join(examples)
