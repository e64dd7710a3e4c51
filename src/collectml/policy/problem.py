"""The assignment problem of one cycle: who takes part, what is permitted, what it is worth and what it uses."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.errors import SchemaError
from collectml.hashing import stable_hash
from collectml.room import kept, room
from collectml.strategy import CompiledLimit, Expression, Permissions, Strategy, Tally, permissions

from .exploration import exploration_distribution, exploration_weights, preferred
from .value import PricedActions

__all__ = ["AccountRows", "AssignmentProblem", "account_rows", "join_accounts", "pose"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AccountRows:
    """What accounts bring to the problem, each by itself: a batch reads them block by block.

    Parameters
    ----------
    net : ndarray, shape (n, A)
        Net values; 0 where unknown (and then not eligible).
    permissions : Permissions
        What the conditions allow.
    eligible : ndarray of bool, shape (n, A)
        What is allowed and has a known value.
    fixed : ndarray of int, shape (n,)
        Position of the action of accounts that are no decision; -1 elsewhere.
    mandatory : ndarray of bool, shape (n,)
        Whether that is a mandatory notice; else it is a running commitment.
    limits : tuple of Tally
        What each account counts in each limit.
    """

    net: Floats
    permissions: Permissions
    eligible: NDArray[np.bool_]
    fixed: NDArray[np.signedinteger]
    mandatory: NDArray[np.bool_]
    limits: tuple[Tally, ...]


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
    customer : Index, length n
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
    mandatory : ndarray of bool, shape (n,)
        Which of them are mandatory notices.
    weights : ndarray, shape (A,)
        Weight of each action in exploration.
    """

    strategy: Strategy
    cycle: str
    ids: pd.Index
    customer: pd.Index
    customer_code: NDArray[np.intp]
    tie: NDArray[np.uint64]
    net: Floats
    limits: tuple[CompiledLimit, ...]
    permissions: Permissions
    eligible: NDArray[np.bool_]
    fixed: NDArray[np.signedinteger]
    mandatory: NDArray[np.bool_]
    weights: Floats

    @cached_property
    def free(self) -> NDArray[np.bool_]:
        """The accounts that are decided, shape (n,)."""
        return self.fixed < 0

    @cached_property
    def household(self) -> NDArray[np.int32]:
        """Accounts that each account's customer has, shape (n,)."""
        return kept(np.bincount(self.customer_code).astype(np.int32)[self.customer_code])

    @cached_property
    def rivals(self) -> NDArray[np.int32]:
        """Accounts that each account's customer has and exploration could contact, 1 at least, shape (n,)."""
        count = np.ones(len(self.ids), dtype=np.int32)
        if self.strategy.one_contact_per_customer and len(shared := np.flatnonzero(self.household > 1)):
            code = self.customer_code[shared]
            count[shared] = np.maximum(np.bincount(code, self.contactable(shared))[code], 1)
        return kept(count)

    def contactable(self, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Say which of some accounts exploration could contact.

        Parameters
        ----------
        rows : ndarray of int, shape (m,)
            The accounts.

        Returns
        -------
        ndarray of bool, shape (m,)
        """
        return np.logical_or.reduce(self.explorable[rows][:, self.strategy.contact_mask], axis=1)

    @cached_property
    def explorable(self) -> NDArray[np.bool_]:
        """What exploration may give: what is permitted, and to accounts that are no decision the control, shape (n, A)."""
        explorable = np.logical_and(self.eligible, self.free[:, None], out=room(self.eligible.shape, np.bool_))
        explorable[:, 0] = True
        return explorable

    @property
    def exploration(self) -> Floats:
        """Exploration's distribution ``q`` over actions, shape (n, A); rows sum to 1."""
        return self.explored(slice(None))

    def explored(self, rows: slice | NDArray[np.intp]) -> Floats:
        """Give exploration's distribution for some accounts.

        Parameters
        ----------
        rows : slice or ndarray of int
            Which.

        Returns
        -------
        ndarray, shape (m, A)
        """
        return exploration_distribution(self.weights, preferred(self, rows), self.rivals[rows], self.strategy.contact_mask)


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
    aligned = PricedActions(*(getattr(priced, f.name).loc[ids] for f in fields(PricedActions)))
    rows = account_rows(strategy, aligned, accounts, day=day, unsupported=unsupported)
    customer = pd.Index(accounts["customer_id"]) if "customer_id" in accounts else ids
    return join_accounts(strategy, rows, ids, customer, day=day)


def account_rows(
    strategy: Strategy, priced: PricedActions, accounts: pd.DataFrame, *, day: pd.Timestamp, unsupported: tuple[str, ...]
) -> AccountRows:
    """Work out what each account brings to the problem, apart from all others.

    Parameters
    ----------
    strategy, accounts, day, unsupported
        As in :func:`pose`.
    priced : PricedActions
        Values and expected quantities, a row an account in the order of ``accounts``.

    Returns
    -------
    AccountRows

    Raises
    ------
    SchemaError
        Where the control has no value.
    """
    net = priced.net.to_numpy(dtype=float)
    quantities = {k: f.to_numpy(dtype=float) for k, f in priced.quantities().items()}
    known = np.isfinite(net)
    if not known[:, 0].all():
        raise SchemaError(f"values: {int((~known[:, 0]).sum()):,} accounts have no finite value for the control")
    allowed = permissions(strategy, accounts, unsupported=unsupported)
    fixed, mandatory = _fixed_actions(strategy, accounts, allowed.allowed, day)
    limits = tuple(x.tally(actions=strategy.actions, quantities=quantities, accounts=accounts) for x in strategy.limits)
    return AccountRows(np.where(known, net, 0.0), allowed, allowed.allowed & known, fixed, mandatory, limits)


def join_accounts(
    strategy: Strategy, rows: AccountRows, ids: pd.Index, customer: pd.Index, *, day: pd.Timestamp
) -> AssignmentProblem:
    """Add what accounts mean to one another: customers, limits, exploration.

    Parameters
    ----------
    strategy : Strategy
        With the capacities of the cycle.
    rows : AccountRows
        Of all accounts.
    ids, customer : Index, length n
        Account and customer ids.
    day : Timestamp
        The as-of date.

    Returns
    -------
    AssignmentProblem
    """
    cycle = f"{day:%Y-%m-%d}"
    codes = kept(pd.factorize(customer)[0].astype(np.intp, copy=False))
    tie = stable_hash(ids, salt=strategy.salts.tie, purpose="tie", cycle=cycle)
    problem = AssignmentProblem(
        strategy=strategy,
        cycle=cycle,
        ids=ids,
        customer=customer,
        customer_code=codes,
        tie=tie,
        net=rows.net,
        limits=tuple(x.close(m, strategy.actions) for x, m in zip(strategy.limits, rows.limits, strict=True)),
        permissions=rows.permissions,
        eligible=_uncontacted(strategy, rows, codes),
        fixed=rows.fixed,
        mandatory=rows.mandatory,
        weights=np.ones(len(strategy.actions)),
    )
    return replace(problem, weights=exploration_weights(problem))


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
) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Find the accounts that are no decision: mandatory notices, and commitments still running (-1: free)."""
    n = len(accounts)
    fixed, mandatory = np.full(n, -1, dtype=np.int16), np.zeros(n, dtype=bool)
    if {"committed_action", "committed_until"} <= set(accounts):
        running = (pd.to_datetime(accounts["committed_until"]) > day).to_numpy(dtype=bool)
        at = np.flatnonzero(running)
        action = pd.Index(strategy.action_names).get_indexer(pd.Index(accounts["committed_action"].iloc[at]))
        # an action that is no longer permitted is not continued: the account is decided afresh
        kept = (action >= 0) & allowed[at, np.maximum(action, 0)]
        fixed[at[kept]] = action[kept]
    for j, action_spec in enumerate(strategy.actions):
        if action_spec.mandatory_when is not None:
            must = Expression(action_spec.mandatory_when).allows(accounts) & allowed[:, j]
            fixed[must], mandatory[must] = j, True
    return fixed, mandatory


def _uncontacted(strategy: Strategy, rows: AccountRows, codes: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Take contacts from accounts whose customer is already contacted, by a commitment or a notice on another account."""
    if not strategy.one_contact_per_customer or not (rows.fixed >= 0).any():
        return rows.eligible
    contacted = np.zeros(int(codes.max()) + 1, dtype=bool)
    contacted[codes[(rows.fixed >= 0) & strategy.contact_mask[np.maximum(rows.fixed, 0)]]] = True
    eligible, free = kept(rows.eligible.copy()), ~contacted[codes]
    for j in np.flatnonzero(strategy.contact_mask):
        eligible[:, j] &= free
    return eligible
