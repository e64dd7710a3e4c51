"""The rows an evaluation reads: log, policy and outcome brought into one order, every fault of theirs reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.errors import SchemaError

__all__ = ["EvaluationLog", "action_codes", "align", "customer_codes", "outcome_of", "policy_matrices", "propensities"]

ROW_SUM_TOLERANCE = 1e-9

Rows = TypeVar("Rows", "pd.DataFrame", "pd.Series")


class EvaluationLog(Protocol):
    """What an evaluation needs of a decision log; :class:`collectml.DecisionLog` has it."""

    @property
    def X(self) -> pd.DataFrame:  # noqa: N802 - the matrix's name in scikit-learn and in the log
        """Features as of the decision; its index is the log's."""
        ...

    @property
    def action(self) -> pd.Series:
        """Names of the actions assigned."""
        ...

    @property
    def paid(self) -> pd.Series:
        """Whether anything was paid within the horizon, 0 or 1."""
        ...

    @property
    def recovered(self) -> pd.Series:
        """Money recovered within the horizon."""
        ...

    @property
    def logging_propensity(self) -> pd.Series | None:
        """Probability with which the logged action was chosen."""
        ...

    @property
    def customer(self) -> pd.Series:
        """Customer of each decision: the unit of dependence."""
        ...

    @property
    def account(self) -> pd.Series:
        """Account of each decision."""
        ...

    @property
    def actions(self) -> tuple[str, ...]:
        """The catalogue; the first is the control."""
        ...

    @property
    def frame(self) -> pd.DataFrame:
        """All columns of the log."""
        ...

    def __len__(self) -> int:
        """Count the decisions."""
        ...


def align(rows: Rows, log: EvaluationLog, what: str) -> Rows:
    """Bring `rows` into the log's order: by the log's index, or by account id where each account has one decision.

    Where the index could be read both ways and the two disagree, an index named like the log's account column is read as
    account ids, and one equal to the log's own index as positions; anything else is refused rather than guessed.
    """
    index = pd.Index(log.X.index)
    account = pd.Index(np.asarray(log.account))
    as_log = _positions(rows.index, index)
    as_account = _positions(rows.index, account)
    if as_log is None or as_account is None or np.array_equal(as_log, as_account):
        order = as_account if as_log is None else as_log
    elif rows.index.name is not None and rows.index.name == log.account.name:
        order = as_account
    elif rows.index.equals(index):
        order = as_log
    else:
        raise ValueError(
            f"{what}: its index fits both the log's index and its account ids, in different orders; "
            f"name the index {str(log.account.name)!r} if it holds account ids"
        )
    if order is None:
        strangers = int((~rows.index.isin(index) & ~rows.index.isin(account)).sum())
        raise ValueError(
            f"{what}: its {len(rows)} rows cannot be matched to the log's {len(log)} decisions ({strangers} labels are "
            "unknown to it); index it like the log, or by account id where every account has exactly one decision"
        )
    return rows.iloc[order]


def _positions(labels: pd.Index, target: pd.Index) -> NDArray[np.intp] | None:
    """Return where each target label stands in `labels`, or None where the two do not match one to one."""
    if len(labels) != len(target):
        return None
    if labels.equals(target):  # also the only way duplicated labels can be matched
        return np.arange(len(target))
    if not labels.is_unique or not target.is_unique:
        return None
    order = labels.get_indexer(target)
    return None if (order < 0).any() else order


def policy_matrices(
    policies: Mapping[str, pd.DataFrame], log: EvaluationLog
) -> dict[str, tuple[NDArray[np.float64], tuple[str, ...]]]:
    """Return each policy's probabilities in the log's order, (n, A), over the log's actions and any of its own after them.

    Every fault of every policy is reported in one error. An action the log does not know is none by itself: it is refused
    later, for want of evidence; where there are faults it is named with them, as it may be a slip of the pen.
    """
    found, faults = {}, []
    for what, policy in policies.items():
        if not isinstance(policy, pd.DataFrame):
            raise TypeError(f"{what} must be a DataFrame decisions x actions of probabilities, not {type(policy).__name__}")
        columns = [str(c) for c in policy.columns]
        if len(set(columns)) < len(columns):
            raise ValueError(
                f"{what}: an action stands in two columns: {sorted({c for c in columns if columns.count(c) > 1})}"
            )
        strangers = tuple(c for c in columns if c not in log.actions)
        matrix, wrong = _probabilities(policy.set_axis(columns, axis="columns"), log, what, strangers)
        if wrong and strangers:
            wrong.append(f"actions unknown to the log: {sorted(strangers)}")
        faults += [f"{what}: {'; '.join(wrong)}"] if wrong else []
        found[what] = (matrix, (*log.actions, *strangers))
    if faults:
        raise ValueError(". ".join(faults))
    return found


def _probabilities(
    policy: pd.DataFrame, log: EvaluationLog, what: str, strangers: tuple[str, ...]
) -> tuple[NDArray[np.float64], list[str]]:
    """Return one policy's probabilities, and what is wrong with them."""
    faults = []
    try:
        policy = align(policy, log, what)
    except ValueError as reason:
        faults.append(str(reason).removeprefix(f"{what}: "))
    if texts := [str(c) for c, dtype in policy.dtypes.items() if not pd.api.types.is_numeric_dtype(dtype)]:
        return np.empty((0, 0)), [*faults, f"probabilities are not numbers in the columns {sorted(texts)}"]
    names = pd.Index((*log.actions, *strangers))
    matrix = policy.reindex(columns=names, fill_value=0.0).to_numpy(dtype=np.float64, na_value=np.nan)
    finite = np.isfinite(matrix).all(axis=1)
    off = np.abs(np.where(finite, matrix.sum(axis=1, where=np.isfinite(matrix)) - 1, 0.0))
    bad = {
        "probabilities are missing or not finite": ~finite,
        "probabilities are negative": (matrix < 0).any(axis=1),
        f"probabilities do not sum to 1 within {ROW_SUM_TOLERANCE:g}": off > ROW_SUM_TOLERANCE,
    }
    faults += [f"{text} in {int(rows.sum())} rows" for text, rows in bad.items() if rows.any()]
    if 0 < off.max(initial=0.0) < 1e-5 and (off > ROW_SUM_TOLERANCE).any():
        faults[-1] += " (float32 probabilities? convert to float64 and renormalise)"
    return matrix, faults


def action_codes(log: EvaluationLog) -> NDArray[np.intp]:
    """Return the position of each logged action in the catalogue, (n,)."""
    codes = pd.Index(log.actions).get_indexer(pd.Index(np.asarray(log.action)))
    if (codes < 0).any():
        raise SchemaError(f"{int((codes < 0).sum())} logged actions are not in the log's catalogue {list(log.actions)}")
    return codes


def customer_codes(log: EvaluationLog) -> tuple[NDArray[np.intp], int]:
    """Return each decision's customer as a code, (n,), and the number of customers; two at least."""
    codes, customers = pd.factorize(np.asarray(log.customer))
    if (codes < 0).any():
        raise SchemaError(f"{int((codes < 0).sum())} decisions have no customer: the unit of dependence must be known")
    if len(customers) < 2:
        raise ValueError(f"an interval needs at least two customers; the log has {len(customers)}")
    return codes, len(customers)


def propensities(log: EvaluationLog) -> tuple[NDArray[np.float64] | None, str]:
    """Return the logging propensities, or None and why they cannot be used."""
    series = log.logging_propensity
    if series is None:
        return None, "the log has no logging propensities"
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    missing = np.isnan(values)
    outside = ~missing & ~((values > 0) & (values <= 1))
    faults = []
    if missing.any():
        faults.append(f"logging propensities are missing in {int(missing.sum())} of {len(values)} decisions")
    if outside.any():
        examples = np.asarray(log.account)[outside][:3].tolist()
        faults.append(f"logging propensities lie outside (0, 1] in {int(outside.sum())} decisions (accounts {examples})")
    return (None, "; ".join(faults)) if faults else (values, "")


def outcome_of(log: EvaluationLog, outcome: str | pd.Series) -> tuple[pd.Series, str]:
    """Return the outcome in the log's order, and its name."""
    if isinstance(outcome, str):
        if outcome in ("paid", "recovered"):
            series = log.paid if outcome == "paid" else log.recovered
        elif outcome in log.frame.columns:
            series = log.frame[outcome]
        else:
            raise ValueError(
                f"outcome {outcome!r} is no column of the log; give 'recovered', 'paid', one of {list(log.frame.columns)} "
                "or a Series of your own"
            )
        name = outcome
    elif not isinstance(outcome, pd.Series):
        raise TypeError(
            f"outcome must be the name of a column or a Series indexed like the log, not {type(outcome).__name__}"
        )
    else:
        series, name = align(outcome, log, "outcome"), str(outcome.name or "outcome")
    values = series.to_numpy(dtype=np.float64, na_value=np.nan)
    if not np.isfinite(values).all():
        raise SchemaError(f"outcome {name!r} is missing or not finite in {int((~np.isfinite(values)).sum())} decisions")
    return pd.Series(values, index=log.X.index, name=name), name
