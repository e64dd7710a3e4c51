"""First pass of a batch: every block of accounts is checked, scored, and what the assignment needs of it put into a ledger."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.data import scoring_table
from collectml.data._faults import faults_error, is_showable
from collectml.data.columns import Table
from collectml.data.profile import Drift
from collectml.data.schema import inspect_table, sound_rows
from collectml.engines.ledger import Ledger, give_back
from collectml.errors import SchemaError
from collectml.hashing import stable_hash
from collectml.models.grading import GRADES
from collectml.pipeline import StrategyModel
from collectml.policy import AccountRows, StrategyTree, account_rows, join_accounts
from collectml.policy.problem import AssignmentProblem
from collectml.strategy import Permissions, Strategy, Tally

from .sources import AccountSource

__all__ = ["AllowedRejects", "Night", "account_table", "read_accounts"]

MOST_REJECTS_KEPT = 1_000_000  # past so many the batch stops, whatever was allowed: rejects are held in memory


@dataclass(frozen=True)
class AllowedRejects:
    """How many rows with faults a batch sets apart before it stops.

    Parameters
    ----------
    count : int
        So many rows.
    share : float, optional
        So many of all rows, 0.001 for one in a thousand; in place of the count.
    """

    count: int = 0
    share: float | None = None

    def exceeded(self, rejects: int, rows: int | None) -> bool:
        """Say whether there are too many; of a share that is known only once all rows are (None: not yet)."""
        if rejects > MOST_REJECTS_KEPT:
            return True
        if self.share is None:
            return rejects > self.count
        return rows is not None and rejects > self.share * rows

    def __str__(self) -> str:
        """Write it as the option is written."""
        return str(self.count) if self.share is None else f"{100 * self.share:g}%"


@dataclass(frozen=True)
class Night:
    """Accounts read and scored.

    Parameters
    ----------
    problem : AssignmentProblem
        What is to be solved.
    leaf : ndarray of int, shape (n,), or None
        Leaf of the strategy tree, where there is one.
    grade : ndarray of int, shape (n,)
        Position of each account's risk grade among the four.
    rejects : DataFrame
        Rows left out, with ``reject_reason``.
    rows : int
        Rows read.
    drift : DataFrame or None
        How far each feature is from training; None for a model saved without a profile.
    features : ndarray, shape (n, p), or None
        Encoded features, where reasons were asked for.
    """

    problem: AssignmentProblem
    leaf: NDArray[np.signedinteger] | None
    grade: NDArray[np.int8]
    rejects: pd.DataFrame
    rows: int
    drift: pd.DataFrame | None
    features: NDArray[np.float64] | None


def read_accounts(
    source: AccountSource,
    model: StrategyModel,
    strategy: Strategy,
    ledger: Ledger,
    *,
    day: pd.Timestamp,
    unsupported: tuple[str, ...],
    allowed: AllowedRejects,
    tree: StrategyTree | None = None,
    keep_features: bool = False,
) -> Night:
    """Check and score all accounts, and set up the problem of the night.

    Parameters
    ----------
    source : AccountSource
        Where they come from.
    model : StrategyModel
        What scores them.
    strategy : Strategy
        With the capacities of the night.
    ledger : Ledger
        Where numbers are kept.
    day : Timestamp
        The as-of date.
    unsupported : tuple of str
        Actions without enough evidence.
    allowed : AllowedRejects
        How many rows may have faults.
    tree : StrategyTree, optional
        Which makes the plan.
    keep_features : bool, default False
        Whether encoded features are kept, for reasons: 8 bytes a feature and account.

    Returns
    -------
    Night

    Raises
    ------
    SchemaError
        With all faults of all rows: where one is found, the rest is still read and checked, but scored no more.
    """
    reader = _Reader(model, strategy, ledger, day, unsupported, allowed, tree, keep_features)
    for block in source:
        reader.take(block)
    give_back()
    return reader.close()


def account_table(model: StrategyModel) -> Table:
    """Give the contract of the accounts that a model scores."""
    return scoring_table(model.features, list(model.uplift.encoder_.levels_))


class _Reader:
    """What is known so far of the accounts."""

    def __init__(
        self,
        model: StrategyModel,
        strategy: Strategy,
        ledger: Ledger,
        day: pd.Timestamp,
        unsupported: tuple[str, ...],
        allowed: AllowedRejects,
        tree: StrategyTree | None,
        keep_features: bool,
    ) -> None:
        self.model, self.strategy, self.ledger, self.day = model, strategy, ledger, day
        self.keep_features = keep_features
        self.unsupported, self.allowed, self.tree = unsupported, allowed, tree
        # ids repeat across blocks, and one block may be empty: both are looked at when all rows are known
        self.table = replace(account_table(model), key=(), may_be_empty=True)
        self.rows = self.bad = 0
        self.faults: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.doomed = False
        self.rejects: list[pd.DataFrame] = []
        self.last: AccountRows | None = None
        self.counted: Counter[int] = Counter()
        self.has_customers = False
        profile = model.evidence.tables.get("profile")
        self.drift = None if profile is None else Drift(profile)

    def take(self, frame: pd.DataFrame) -> None:
        """Check a block, and score it unless the batch cannot succeed any more."""
        inspection = inspect_table(frame, self.table, actions=self.strategy.action_names)
        for fault in inspection.rows(self.rows):
            self._add(fault)
        self.rows += len(frame)
        self.bad += int(inspection.bad_rows().sum())
        self.doomed |= self.allowed.exceeded(self.bad, None)
        if self.doomed:
            return
        good, rejects = sound_rows(inspection, frame, self.table)
        if len(rejects):
            self.rejects.append(rejects)
        self.ledger.append_ids("id", good["account_id"])
        if len(good):
            if self.drift is not None:
                self.drift.add(good)
            self._score(good)

    def close(self) -> Night:
        """Look at what can only be seen once all rows are known, and join them."""
        if not self.rows:
            self._add(_fault("", "the table has no rows", 0, ""))
        ids = None if self.doomed else self.ledger.ids("id")
        if ids is not None:
            self._look_for_repeated(ids)
        if any(fault["kind"] == "structural" for fault in self.faults.values()):
            raise faults_error("accounts", list(self.faults.values()), self.bad, self.rows)
        if self.allowed.exceeded(self.bad, self.rows):
            raise self._too_many_rejects()
        if self.last is None or ids is None or not len(ids):
            raise SchemaError(f"accounts: all {self.rows:,} rows have faults, so there is nobody to decide about")
        customer = self.ledger.ids("customer") if self.has_customers else ids
        problem = join_accounts(self.strategy, self._joined(self.last), ids, customer, day=self.day)
        leaf = None if self.tree is None else self.ledger.column("leaf")
        rejects = pd.concat(self.rejects) if self.rejects else pd.DataFrame({"reject_reason": pd.Series(dtype="str")})
        drift = None if self.drift is None else self.drift.frame()
        features = self.ledger.column("features") if self.keep_features else None
        return Night(problem, leaf, self.ledger.column("grade"), rejects, self.rows, drift, features)

    def _add(self, fault: dict[str, Any]) -> None:
        self.doomed |= fault["kind"] == "structural"
        known = self.faults.setdefault((fault["column"], fault["check"], fault["kind"]), fault)
        if known is not fault:
            known["rows"] += fault["rows"]
            examples = [e for e in (known["examples"], fault["examples"]) if e]
            known["examples"] = ", ".join(", ".join(examples).split(", ")[:3])

    def _score(self, good: pd.DataFrame) -> None:
        # values are wanted in the order of the rows: numbers in place of ids save a look-up by id for each frame
        numbered = good.assign(account_id=np.arange(len(good)))
        priced = self.model.price(numbered)
        rows = account_rows(self.strategy, priced, good, day=self.day, unsupported=self.unsupported)
        ledger, self.last = self.ledger, rows
        ledger.append("net", rows.net.astype(np.float32))
        ledger.append("allowed", rows.permissions.allowed)
        ledger.append("eligible", rows.eligible)
        ledger.append("fixed", rows.fixed)
        ledger.append("mandatory", rows.mandatory)
        for name, denied in rows.permissions.denied.items():
            ledger.append(f"denied.{name}", denied)
        for k, tally in enumerate(rows.limits):
            self.counted[k] += tally.accounts
            for part, values in (("usage", tally.usage), ("top", tally.top), ("bottom", tally.bottom)):
                if values is not None and len(values) == len(good) and (part != "usage" or values.ndim == 2):
                    ledger.append(f"limit{k}.{part}", values.astype(np.float32) if part == "usage" else values)
        if "customer_id" in good:
            self.has_customers = True
            ledger.append_ids("customer", good["customer_id"])
        if self.tree is not None:
            ledger.append("leaf", self.tree.leaf_of(good).astype(np.int16))
        if self.keep_features:
            ledger.append("features", self.model.uplift.encoder_.transform(good[self.model.features]))
        grades = pd.Index(GRADES).get_indexer(pd.Index(self.model.grades(numbered)))
        ledger.append("grade", grades.astype(np.int8))
        ledger.end_block(len(good))

    def _joined(self, last: AccountRows) -> AccountRows:
        """Take all columns out of the ledger, in the shape of one block's."""
        column = self.ledger.column
        limits = []
        for k, tally in enumerate(last.limits):
            own = tally.usage is not None and tally.usage.ndim == 2
            limits.append(
                Tally(
                    self.counted[k],
                    column(f"limit{k}.usage") if own else tally.usage,
                    None if tally.top is None else column(f"limit{k}.top"),
                    None if tally.bottom is None else column(f"limit{k}.bottom"),
                )
            )
        p = last.permissions
        permitted = Permissions(column("allowed"), {n: column(f"denied.{n}") for n in p.denied}, p.covers, p.missing)
        return AccountRows(column("net"), permitted, column("eligible"), column("fixed"), column("mandatory"), tuple(limits))

    def _look_for_repeated(self, ids: pd.Index) -> None:
        # equal ids have equal hashes; so few have that by chance that those alone are compared
        code = ids.to_numpy() if ids.dtype == np.int64 else stable_hash(ids, salt="", purpose="repeated")
        ordered = np.sort(code)
        twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
        if not len(twice):
            return
        some = ids[np.isin(code, twice)]
        repeated = some[some.duplicated(keep=False)]
        if len(repeated):
            shown = [f"account {x}" for x in repeated.unique()[:3] if is_showable(x)]
            self._add(_fault("account_id", "must be unique", len(repeated), ", ".join(shown) or "not shown"))

    def _too_many_rejects(self) -> SchemaError:
        faults = sorted(self.faults.values(), key=lambda fault: -cast("int", fault["rows"]))
        told = "; ".join(f"column '{f['column']}' {f['check']} ({f['rows']:,})" for f in faults[:5])
        return SchemaError(
            f"accounts: {self.bad:,} of {self.rows:,} rows have faults, more than --max-rejects {self.allowed}: {told}",
            pd.DataFrame(faults),
        )


def _fault(column: str, check: str, rows: int, examples: str) -> dict[str, Any]:
    return {
        "table": "accounts", "column": column, "check": check, "rows": rows, "examples": examples, "kind": "structural"
    }  # fmt: skip
