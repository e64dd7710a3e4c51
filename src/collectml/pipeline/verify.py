"""Verification: does what a report says still follow from the assignment file, and from the model."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd

from collectml.errors import ArtifactError
from collectml.policy import Assignment
from collectml.reports import assignment_digest, payload_digest, printed_checks

__all__ = ["verify_report"]

CENT = 0.005


def verify_report(folder: str | Path, *, again: Assignment | None = None) -> list[str]:
    """Recompute a report's figures from the assignment file beside it.

    Parameters
    ----------
    folder : str or Path
        With ``report.json`` and ``assignments.parquet``.
    again : Assignment, optional
        The same accounts assigned again by the model: must agree too.

    Returns
    -------
    list of str
        What was checked.

    Raises
    ------
    ArtifactError
        Naming everything that does not agree; a single changed byte is enough.
    """
    root = Path(folder)
    try:
        payload = json.loads((root / "report.json").read_text(encoding="utf-8"))
        frame = pd.read_parquet(root / "assignments.parquet")
        headline, stated = payload["decision"]["headline"], payload["assignment_digest"]
        table = next(
            t for s in payload["sections"] if s["id"] == "assignment" for t in s["tables"] if t["caption"] == "Actions"
        )
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise ArtifactError(f"{root}: report.json or assignments.parquet cannot be read ({type(error).__name__})") from None
    counted = frame.groupby("action")["value"].agg(["size", "sum"])
    rows = {str(r["action"]): r for r in table["rows"] if r["accounts"]}
    checks = {
        "the payload is as it was written": payload_digest(payload)[:16] == payload.get("report_id"),
        "the assignments are those of the report": assignment_digest(frame) == stated,
        "accounts and value are those of the file, to the cent": headline["accounts"] == len(frame)
        and math.isclose(headline["value"], float(frame["value"].sum()), abs_tol=CENT),
        "accounts and value by action are those of the file": set(rows) == set(counted.index)
        and all(
            rows[str(a)]["accounts"] == int(c["size"]) and abs(rows[str(a)]["value"] - c["sum"]) < CENT
            for a, c in counted.iterrows()
        ),
    }
    try:
        checks |= {f"printed: {c['identity']}": bool(c["holds"]) for c in printed_checks(payload)}
    except (KeyError, TypeError, ValueError):  # a payload so changed that it cannot be read
        checks["what is printed adds up"] = False
    if again is not None:
        checks["the model assigns the same again"] = assignment_digest(again.frame()) == stated
    failed = [name for name, holds in checks.items() if not holds]
    if failed:
        raise ArtifactError(f"{root} does not verify; not true: {'; '.join(failed)}")
    return list(checks)
