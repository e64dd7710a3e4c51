"""What we know: accounts as they stand, what was decided on them and with what probability, and what came of it.

Every table has a contract (:func:`describe`, :func:`validate`), checked as a whole before anything is learnt from it. The
:class:`DecisionLog` is what models learn from: one row is one decision, its features as of that day, its outcome within a
fixed horizon. Two public data sets stand in for a portfolio where none is at hand.
"""

from __future__ import annotations

from collectml.data.columns import CHANNELS, FEATURES, TABLES, Column, scoring_table
from collectml.data.digest import content_digest
from collectml.data.log import DecisionLog
from collectml.data.public import hillstrom_decisions, load_hillstrom, load_taiwan_default, taiwan_accounts
from collectml.data.schema import describe, pandera_schema, split_faults, validate

__all__ = [
    "CHANNELS",
    "FEATURES",
    "TABLES",
    "Column",
    "DecisionLog",
    "content_digest",
    "describe",
    "hillstrom_decisions",
    "load_hillstrom",
    "load_taiwan_default",
    "pandera_schema",
    "scoring_table",
    "split_faults",
    "taiwan_accounts",
    "validate",
]
