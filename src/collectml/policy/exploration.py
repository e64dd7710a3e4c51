"""Exploration and hold-out with probabilities that depend on no draw.

A share of customers is held out for good; of the rest a share is explored each cycle, its action drawn in proportion to
weights that are fixed before any draw so that exploration's expected usage stays within a stated share of every limit.
What the plan may use is what remains of each limit, less a margin for chance; the margin comes from a Bernstein bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from collectml.hashing import stable_hash, uniform_hash
from collectml.room import room
from collectml.strategy import CompiledLimit

from ._compiled import chosen
from ._usage import blocks, total

if TYPE_CHECKING:
    from .problem import AssignmentProblem

__all__ = [
    "BREACH_PROBABILITY",
    "Randomisation",
    "bernstein_margin",
    "bernstein_tail",
    "exploration_distribution",
    "exploration_moments",
    "exploration_preference",
    "exploration_weights",
    "incremental",
    "preferred",
    "randomise",
    "usage_of",
]

Floats = NDArray[np.float64]

BREACH_PROBABILITY = 1e-6


@dataclass(frozen=True)
class Randomisation:
    """Who is held out and who is explored, and what the explored get.

    Parameters
    ----------
    held_out, explored : ndarray of bool, shape (n,)
        Never both.
    drawn : ndarray of int, shape (n,)
        Position of the action that exploration draws; meaningful where ``explored``.
    """

    held_out: NDArray[np.bool_]
    explored: NDArray[np.bool_]
    drawn: NDArray[np.signedinteger]


def usage_of(limit: CompiledLimit, n: int) -> Floats:
    """Give a limit's usage as a matrix of accounts by actions, without copying.

    Parameters
    ----------
    limit : CompiledLimit
        The limit.
    n : int
        Number of accounts.

    Returns
    -------
    ndarray, shape (n, A)
        A read-only view where usage does not depend on the account.
    """
    return np.broadcast_to(limit.usage, (n, limit.usage.shape[-1]))


def incremental(limit: CompiledLimit) -> CompiledLimit:
    """Restate a limit in what actions use beyond the control.

    Parameters
    ----------
    limit : CompiledLimit
        The limit; the control may use some of it itself, as complaints come without contact too.

    Returns
    -------
    CompiledLimit
        With usage less that of the control. Its bounds are the limit's own: what the control uses must be taken off by
        whoever knows the accounts.
    """
    control = limit.usage[..., :1]
    return limit if not control.any() else replace(limit, usage=limit.usage - control)


def exploration_preference(net: Floats, eligible: NDArray[np.bool_], floor: float) -> Floats:
    """Prefer actions by what they are worth to the account: from ``floor`` for the least to 1 for the most.

    Parameters
    ----------
    net : ndarray, shape (n, A)
        Net values, known before anything is drawn.
    eligible : ndarray of bool, shape (n, A)
        What is permitted; the control always is.
    floor : float
        In (0, 1]; so that every permitted action stays possible.

    Returns
    -------
    ndarray, shape (n, A)
        Zero where not permitted. An account with one permitted action, or all worth the same, prefers none.

    Examples
    --------
    >>> exploration_preference(np.array([[0.0, 5.0, 10.0]]), np.array([[True, True, True]]), 0.2)
    array([[0.2, 0.6, 1. ]])
    """
    low = np.where(eligible, net, np.inf).min(axis=1, keepdims=True)
    high = np.where(eligible, net, -np.inf).max(axis=1, keepdims=True)
    spread = np.where(high > low, high - low, 1.0)
    relative = np.where(high > low, (net - low) / spread, 1.0)
    return np.where(eligible, floor + (1 - floor) * relative, 0.0)


def exploration_distribution(
    weights: Floats,
    eligible: NDArray[np.bool_] | Floats,
    rivals: NDArray[np.int32],
    contact: NDArray[np.bool_],
) -> Floats:
    """Spread weights over each account's eligible actions.

    Parameters
    ----------
    weights : ndarray, shape (A,)
        Fixed weights of the actions; the control's is positive.
    eligible : ndarray of bool or float, shape (n, A)
        What is permitted, or the account's own preference between actions, 0 where not permitted; the control always is.
    rivals : ndarray of int, shape (n,)
        Accounts of the customer of which one, drawn with equal chances, may be contacted; 1 where that is the only one.
    contact : ndarray of bool, shape (A,)
        Which actions contact the customer; the control does not.

    Returns
    -------
    ndarray, shape (n, A)
        ``q``: rows sum to 1, zero where not eligible. One of m rivals is spread over all its actions with chance 1 / m,
        else over those that are no contact.

    Examples
    --------
    >>> exploration_distribution(np.ones(2), np.ones((2, 2), bool), np.array([1, 2]), np.array([False, True]))
    array([[0.5 , 0.5 ],
           [0.75, 0.25]])
    """
    q = _spread(weights, eligible)
    if len(shared := np.flatnonzero(rivals > 1)):
        turn = 1 / rivals[shared, None]
        q[shared] = turn * q[shared] + (1 - turn) * _spread(weights * ~contact, eligible[shared])
    return q


def _spread(weights: Floats, eligible: NDArray[np.bool_] | Floats) -> Floats:
    q = eligible * weights
    q /= q.sum(axis=1, keepdims=True)
    return q


def bernstein_margin(variance: float, largest: float, probability: float) -> float:
    """Bound how far a sum of independent terms exceeds its mean.

    Parameters
    ----------
    variance : float
        Variance of the sum.
    largest : float
        Largest deviation of one term from its mean.
    probability : float
        That the bound may fail with.

    Returns
    -------
    float
        ``t`` with ``P(sum - mean >= t) <= probability``.

    References
    ----------
    Boucheron, Lugosi & Massart (2013), Concentration Inequalities, section 2.8 (Bernstein's inequality).

    Examples
    --------
    >>> round(bernstein_margin(100.0, 1.0, 1e-6), 1)
    57.4
    """
    log = -np.log(probability)
    return float(largest * log / 3 + np.sqrt((largest * log / 3) ** 2 + 2 * log * variance))


def bernstein_tail(excess: float, variance: float, largest: float) -> float:
    """Bound the probability that a sum of independent terms exceeds its mean by an amount; inverse of the margin.

    Parameters
    ----------
    excess : float
        The amount.
    variance : float
        Variance of the sum.
    largest : float
        Largest deviation of one term from its mean.

    Returns
    -------
    float
        Between 0 and 1.

    Examples
    --------
    >>> f"{bernstein_tail(bernstein_margin(100.0, 1.0, 1e-6), 100.0, 1.0):.0e}"
    '1e-06'
    """
    if np.isinf(excess) or (variance == 0 and excess >= 0):
        return 0.0
    if excess <= 0:
        return 1.0
    return float(np.exp(-(excess**2) / (2 * (variance + largest * excess / 3))))


def preferred(problem: AssignmentProblem, rows: slice | NDArray[np.intp]) -> NDArray[np.bool_] | Floats:
    """Say what exploration may give some accounts, and how much it prefers each.

    Parameters
    ----------
    problem : AssignmentProblem
        Who takes part: accounts that are no decision can only be left alone.
    rows : slice or ndarray of int
        Which accounts.

    Returns
    -------
    ndarray of bool or float, shape (m, A)
        As :func:`exploration_distribution` reads it.
    """
    if problem.strategy.exploration.weighting == "value":
        return exploration_preference(problem.net[rows], problem.explorable[rows], problem.strategy.exploration.floor)
    return problem.explorable[rows]


def exploration_weights(problem: AssignmentProblem) -> Floats:
    """Fix the weight of each action in exploration before anything is drawn.

    Parameters
    ----------
    problem : AssignmentProblem
        Who takes part, and the limits.

    Returns
    -------
    ndarray, shape (A,)
        Weights; 1 for the control. Actions that need a limit too small to explore within get 0.

    Notes
    -----
    Expected usage under a weight vector falls when the weights of the actions that use a limit fall. Starting from equal
    weights, each limit that is overused scales the actions that use it, until all hold. Where even the breach allowance
    of a limit exceeds what exploration may use, those actions are not explored at all: a handful of units cannot be
    reserved for chance. A limit that compares two sums has no share to give: what exploration adds to it, and its spread,
    is left to the plan to make up.
    """
    strategy = problem.strategy
    weights = np.ones(len(strategy.actions))
    if strategy.exploration.share == 0 or not problem.free.any():
        return weights
    limits = [x for x in problem.limits if np.isfinite(x.upper) and x.ratio is None]
    base = np.maximum(problem.fixed, 0)
    room = [x.upper - total(x.usage, base) for x in limits]
    users = [_users(problem, x) for x in limits]
    for _ in range(200):
        before = weights.copy()
        for limit, left, who in zip(limits, room, users, strict=True):
            if not (who & (weights > 0)).any():
                continue
            allowed = strategy.exploration.usage_share * limit.upper
            mean, variance, largest = exploration_moments(problem, limit, before)
            if mean <= allowed and mean + bernstein_margin(variance, largest, BREACH_PROBABILITY) <= 0.5 * left:
                continue
            weights[who] *= min(allowed / mean if mean > 0 else 1.0, 0.9)
            weights[who & (weights < 1e-3)] = 0.0
        if (weights == before).all():
            break
    return weights


def _users(problem: AssignmentProblem, limit: CompiledLimit) -> NDArray[np.bool_]:
    """Find the actions that use a limit otherwise than the control does, for anybody who may be given them."""
    users = np.zeros(limit.usage.shape[-1], dtype=bool)
    for rows in blocks(len(problem.ids)):
        usage = limit.usage if limit.usage.ndim == 1 else limit.usage[rows]
        users |= ((usage != usage[..., :1]) & (preferred(problem, rows) > 0)).any(axis=0)
    users[0] = False
    return users


def exploration_moments(problem: AssignmentProblem, limit: CompiledLimit, weights: Floats) -> tuple[float, float, float]:
    """Work out the spread of what exploration uses of a limit; accounts of a customer are explored together.

    Parameters
    ----------
    problem : AssignmentProblem
        Who takes part.
    limit : CompiledLimit
        The limit, counted beyond the control's usage.
    weights : ndarray, shape (A,)
        Weights of the actions in exploration.

    Returns
    -------
    mean, variance, largest : float
        Expected usage, a bound on its variance, and the most one customer can use.
    """
    n, strategy = len(problem.ids), problem.strategy
    share = (1 - strategy.holdout.share) * strategy.exploration.share
    most, means, seconds = room(n), [], []
    moments = _moments if (kernels := chosen(n)) is None else kernels.moments
    for rows in blocks(n):
        usage = np.atleast_2d(limit.usage) if limit.usage.ndim == 1 else limit.usage[rows]
        # (sum of m terms)^2 <= m * sum of squares
        of = preferred(problem, rows), weights, usage, problem.household[rows], problem.rivals[rows]
        mean, second = moments(*of, problem.strategy.contact_mask, most[rows])
        means.append(mean)
        seconds.append(second)
    largest = float(np.bincount(problem.customer_code, most).max(initial=0.0))
    return share * math.fsum(means), share * math.fsum(seconds), largest


def _moments(
    preference: NDArray[np.bool_] | Floats,
    weights: Floats,
    usage: Floats,
    household: NDArray[np.int32],
    rivals: NDArray[np.int32],
    contact: NDArray[np.bool_],
    most: Floats,
) -> tuple[float, float]:
    """Sum expected usage and expected squares times the customer's accounts; fill in the most each account can use."""
    q = exploration_distribution(weights, preference, rivals, contact)
    beyond = usage - usage[:, :1].astype(np.float64)
    most[:] = np.where(q > 0, np.abs(beyond), 0.0).max(axis=1)
    second = (q * (beyond * beyond)).sum(axis=1)
    return float((q * beyond).sum()), float(second @ household)


def randomise(problem: AssignmentProblem, *, counter: int) -> Randomisation:
    """Draw hold-out and exploration by hash.

    Parameters
    ----------
    problem : AssignmentProblem
        Who takes part, and exploration's distribution.
    counter : int
        0, or how often exploration was drawn before and broke a limit.

    Returns
    -------
    Randomisation
    """
    strategy, salts = problem.strategy, problem.strategy.salts
    cycle = problem.cycle if counter == 0 else f"{problem.cycle}#{counter}"
    held_out = uniform_hash(problem.customer, salt=salts.holdout, purpose="holdout") < strategy.holdout.share
    u = uniform_hash(problem.customer, salt=salts.explore, purpose="explore", cycle=cycle)
    explored = u < strategy.exploration.share
    drawn = np.zeros(len(u), dtype=np.int16)
    who = np.flatnonzero(explored)
    may = _turns(problem, who, cycle)[:, None] | ~strategy.contact_mask
    q = _spread(problem.weights, preferred(problem, who) * may)
    v = uniform_hash(problem.ids[who], salt=salts.explore, purpose="explore", cycle=f"{cycle}/action")
    # the last eligible action takes what rounding leaves of the unit interval
    last = q.shape[1] - 1 - (q[:, ::-1] > 0).argmax(axis=1)
    drawn[who] = np.minimum((v[:, None] >= np.cumsum(q, axis=1)).sum(axis=1), last)
    return Randomisation(held_out & problem.free, explored & ~held_out & problem.free, drawn)


def _turns(problem: AssignmentProblem, who: NDArray[np.intp], cycle: str) -> NDArray[np.bool_]:
    """Draw which of each explored customer's rivals may be contacted: the one with the smallest hash."""
    turns = np.ones(len(who), dtype=bool)
    if len(shared := np.flatnonzero((problem.rivals[who] > 1) & problem.contactable(who))):
        rows = who[shared]
        v = stable_hash(problem.ids[rows], salt=problem.strategy.salts.explore, purpose="explore", cycle=f"{cycle}/account")
        order = np.lexsort((v, problem.customer_code[rows]))
        turns[shared[order[1:]]] = np.diff(problem.customer_code[rows[order]]) != 0
    return turns
