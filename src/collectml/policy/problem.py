"""The assignment problem of one cycle: who takes part, what is permitted, what it is worth and what it uses."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.errors import SchemaError
from collectml.hashing import stable_hash
from collectml.strategy import CompiledLimit, Expression, Permissions, Strategy, permissions

from .exploration import exploration_distribution, exploration_preference, exploration_weights, incremental, usage_of
from .value import PricedActions

__all__ = ["AssignmentProblem", "pose"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AssignmentProblem:
    """Everything that is settled before anything is solved or drawn.

    Parameters
    ----------
    strategy : Strategy
        With the capacities of the cycle.
    cycle : str
        The as-of date.
    ids : Index, length n
        Account ids.
    customer : ndarray, shape (n,)
        Customer ids; the account id where there is none.
    customer_code : ndarray of int, shape (n,)
        The same, numbered from 0.
    tie : ndarray of uint64, shape (n,)
        Hashes that settle ties.
    net : ndarray, shape (n, A)
        Net values; 0 where unknown (and then not eligible).
    limits : tuple of CompiledLimit
        Usage columns and bounds.
    permissions : Permissions
        What the conditions allow.
    eligible : ndarray of bool, shape (n, A)
        What may be assigned: allowed, with evidence, and no second contact of a customer already committed to one.
    fixed : ndarray of int, shape (n,)
        Position of the action of accounts that are no decision (mandatory notice, running commitment); -1 elsewhere.
    fixed_reason : ndarray of str, shape (n,)
        Why.
    exploration : ndarray, shape (n, A)
        Exploration's distribution ``q``.
    """

    strategy: Strategy
    cycle: str
    ids: pd.Index
    customer: NDArray[np.object_]
    customer_code: NDArray[np.intp]
    tie: NDArray[np.uint64]
    net: Floats
    limits: tuple[CompiledLimit, ...]
    permissions: Permissions
    eligible: NDArray[np.bool_]
    fixed: NDArray[np.intp]
    fixed_reason: NDArray[np.object_]
    exploration: Floats

    @property
    def free(self) -> NDArray[np.bool_]:
        """The accounts that are decided, shape (n,)."""
        return self.fixed < 0


def pose(
    strategy: Strategy, priced: PricedActions, accounts: pd.DataFrame, *, day: pd.Timestamp, unsupported: tuple[str, ...]
) -> AssignmentProblem:
    """Set up the assignment problem of one cycle.

    Parameters
    ----------
    strategy : Strategy
        With the capacities of the cycle.
    priced : PricedActions
        Values and expected quantities, indexed by account id.
    accounts : DataFrame, n rows
        Account snapshot.
    day : Timestamp
        The as-of date.
    unsupported : tuple of str
        Actions without enough evidence.

    Returns
    -------
    AssignmentProblem

    Raises
    ------
    SchemaError
        Where accounts repeat, or values and accounts do not match.
    """
    ids = _matching_ids(priced, accounts)
    net = priced.net.loc[ids].to_numpy(dtype=float)
    quantities = {k: f.loc[ids].to_numpy(dtype=float) for k, f in priced.quantities().items()}
    allowed = permissions(strategy, accounts, unsupported=unsupported)
    fixed, fixed_reason = _fixed_actions(strategy, accounts, allowed.allowed, day)
    customer = (accounts["customer_id"] if "customer_id" in accounts else accounts["account_id"]).to_numpy(dtype=object)
    codes = pd.factorize(customer)[0].astype(np.intp)
    eligible = _eligible(strategy, allowed, net, fixed, codes)
    limits = tuple(
        limit.compile(actions=strategy.actions, quantities=quantities, accounts=accounts) for limit in strategy.limits
    )
    cycle = f"{day:%Y-%m-%d}"
    tie = stable_hash(ids, salt=strategy.salts.tie, purpose="tie", cycle=cycle)
    return AssignmentProblem(
        strategy=strategy,
        cycle=cycle,
        ids=ids,
        customer=customer,
        customer_code=codes,
        tie=tie,
        net=np.where(np.isfinite(net), net, 0.0),
        limits=limits,
        permissions=allowed,
        eligible=eligible,
        fixed=fixed,
        fixed_reason=fixed_reason,
        exploration=_exploration(strategy, limits, net, eligible, fixed, codes, tie),
    )


def _matching_ids(priced: PricedActions, accounts: pd.DataFrame) -> pd.Index:
    if "account_id" not in accounts:
        raise SchemaError("accounts: column 'account_id' is missing")
    ids = pd.Index(accounts["account_id"])
    if len(ids) == 0:
        raise SchemaError("accounts: there is no row, so there is nobody to decide about")
    repeated = int(ids.duplicated().sum())
    if repeated:
        raise SchemaError(f"accounts: {repeated:,} rows repeat an account_id; an account gets one action")
    absent = int((~ids.isin(priced.net.index)).sum())
    if absent or priced.net.index.has_duplicates:
        raise SchemaError(
            f"values: {absent:,} of {len(ids):,} accounts have no row, or rows repeat; index them by account_id"
        )
    return ids


def _fixed_actions(
    strategy: Strategy, accounts: pd.DataFrame, allowed: NDArray[np.bool_], day: pd.Timestamp
) -> tuple[NDArray[np.intp], NDArray[np.object_]]:
    """Find the accounts that are no decision: mandatory notices, and commitments still running (-1: free)."""
    n = len(accounts)
    fixed, reason = np.full(n, -1, dtype=np.intp), np.full(n, "", dtype=object)
    if {"committed_action", "committed_until"} <= set(accounts):
        running = (pd.to_datetime(accounts["committed_until"]) > day).to_numpy(dtype=bool)
        action = pd.Index(strategy.action_names).get_indexer(pd.Index(accounts["committed_action"]))
        # an action that is no longer permitted is not continued: the account is decided afresh
        running = running & (action >= 0) & allowed[np.arange(n), np.maximum(action, 0)]
        fixed[running], reason[running] = action[running], "commitment"
    for j, action_spec in enumerate(strategy.actions):
        if action_spec.mandatory_when is not None:
            must = Expression(action_spec.mandatory_when).allows(accounts) & allowed[:, j]
            fixed[must], reason[must] = j, "mandatory"
    return fixed, reason


def _eligible(
    strategy: Strategy,
    allowed: Permissions,
    net: Floats,
    fixed: NDArray[np.intp],
    codes: NDArray[np.intp],
) -> NDArray[np.bool_]:
    """Combine permissions, evidence and what the customer's other accounts are already committed to."""
    unknown = ~np.isfinite(net)
    unknown[:, 0] = False
    if not np.isfinite(net[:, 0]).all():
        raise SchemaError(f"values: {int((~np.isfinite(net[:, 0])).sum()):,} accounts have no finite value for the control")
    eligible = allowed.allowed & ~unknown
    if strategy.one_contact_per_customer:
        contacted = codes[(fixed >= 0) & strategy.contact_mask[np.maximum(fixed, 0)]]
        eligible &= ~(np.isin(codes, contacted)[:, None] & strategy.contact_mask)
    return eligible


def _exploration(
    strategy: Strategy,
    limits: tuple[CompiledLimit, ...],
    net: Floats,
    eligible: NDArray[np.bool_],
    fixed: NDArray[np.intp],
    codes: NDArray[np.intp],
    tie: NDArray[np.uint64],
) -> Floats:
    """Exploration's distribution over actions; of a customer's accounts only one may be contacted."""
    free, held = np.flatnonzero(fixed < 0), np.flatnonzero(fixed >= 0)
    explorable = eligible.copy()
    explorable[held] = False
    explorable[:, 0] = True
    if strategy.one_contact_per_customer:
        order = np.lexsort((tie, codes))
        leads = np.zeros(len(codes), dtype=bool)
        leads[order[np.r_[True, np.diff(codes[order]) > 0][: len(order)]]] = True
        explorable &= leads[:, None] | ~strategy.contact_mask
    elsewhere = [usage_of(x, len(fixed))[held, fixed[held]].sum() + usage_of(x, len(fixed))[free, 0].sum() for x in limits]
    room = [x.upper - used for x, used in zip(limits, elsewhere, strict=True)]
    beyond = [incremental(x) for x in limits]
    taking_part = [replace(x, usage=x.usage if x.usage.ndim == 1 else x.usage[free]) for x in beyond]
    customer = np.unique(codes[free], return_inverse=True)[1]
    preferred: NDArray[np.bool_] | Floats = explorable
    if strategy.exploration.weighting == "value":
        preferred = exploration_preference(np.where(np.isfinite(net), net, 0.0), explorable, strategy.exploration.floor)
    weights = exploration_weights(strategy, taking_part, room, preferred[free], customer)
    return exploration_distribution(weights, preferred)
