"""Exploration and hold-out with probabilities that depend on no draw.

A share of customers is held out for good; of the rest a share is explored each cycle, its action drawn in proportion to
weights that are fixed before any draw so that exploration's expected usage stays within a stated share of every limit.
What the plan may use is what remains of each limit, less a margin for chance; the margin comes from a Bernstein bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from collectml.hashing import uniform_hash
from collectml.strategy import CompiledLimit, Strategy

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
    drawn: NDArray[np.intp]


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


def exploration_distribution(weights: Floats, eligible: NDArray[np.bool_] | Floats) -> Floats:
    """Spread weights over each account's eligible actions.

    Parameters
    ----------
    weights : ndarray, shape (A,)
        Fixed weights of the actions; the control's is positive.
    eligible : ndarray of bool or float, shape (n, A)
        What is permitted, or the account's own preference between actions, 0 where not permitted; the control always is.

    Returns
    -------
    ndarray, shape (n, A)
        ``q``: rows sum to 1, zero where not eligible.
    """
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


def exploration_weights(
    strategy: Strategy,
    limits: Sequence[CompiledLimit],
    room: Sequence[float],
    eligible: NDArray[np.bool_] | Floats,
    cluster: NDArray[np.intp],
) -> Floats:
    """Fix the weight of each action in exploration before anything is drawn.

    Parameters
    ----------
    strategy : Strategy
        Shares of hold-out and exploration, and the share of each limit that exploration may be expected to use.
    limits : sequence of CompiledLimit
        The limits in what is used beyond the control, restricted to the accounts that take part.
    room : sequence of float
        What fixed accounts and the control leave of each limit's upper bound.
    eligible : ndarray of bool or float, shape (n, A)
        Permitted actions, or preferences between them, of the accounts that take part.
    cluster : ndarray of int, shape (n,)
        Customers, numbered from 0.

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
    n, n_actions = eligible.shape
    weights = np.ones(n_actions)
    if strategy.exploration.share == 0 or n == 0:
        return weights
    share = (1 - strategy.holdout.share) * strategy.exploration.share
    for _ in range(200):
        q = exploration_distribution(weights, eligible)
        changed = False
        for limit, left in zip(limits, room, strict=True):
            if not np.isfinite(limit.upper) or limit.ratio is not None:
                continue
            usage = usage_of(limit, n)
            users = (np.abs(usage) * eligible).max(axis=0) > 0
            users[0] = False
            if not (users & (weights > 0)).any():
                continue
            allowed = strategy.exploration.usage_share * limit.upper
            mean, variance, largest = exploration_moments(q, usage, share, cluster)
            if mean <= allowed and mean + bernstein_margin(variance, largest, BREACH_PROBABILITY) <= 0.5 * left:
                continue
            changed = True
            ratio = min(allowed / mean if mean > 0 else 1.0, 0.9)
            weights[users] *= ratio
            weights[users & (weights < 1e-3)] = 0.0
        if not changed:
            break
    return weights


def exploration_moments(q: Floats, usage: Floats, share: float, cluster: NDArray[np.intp]) -> tuple[float, float, float]:
    """Work out the spread of what exploration uses of a limit; accounts of a customer are explored together.

    Parameters
    ----------
    q : ndarray, shape (n, A)
        Exploration's distribution.
    usage : ndarray, shape (n, A)
        What each action uses beyond the control.
    share : float
        Probability that a customer is explored.
    cluster : ndarray of int, shape (n,)
        Customers, numbered from 0.

    Returns
    -------
    mean, variance, largest : float
        Expected usage, a bound on its variance, and the most one customer can use.
    """
    mean = share * np.einsum("ia,ia->", q, usage)
    per_customer = np.bincount(cluster, np.max(np.where(q > 0, np.abs(usage), 0.0), axis=1))
    second = share * np.bincount(cluster, np.einsum("ia,ia->i", q, usage * usage))
    size = np.bincount(cluster)
    # (sum of m terms)^2 <= m * sum of squares
    return float(mean), float(np.sum(second * size)), float(per_customer.max(initial=0.0))


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
    strategy, salts, q = problem.strategy, problem.strategy.salts, problem.exploration
    cycle = problem.cycle if counter == 0 else f"{problem.cycle}#{counter}"
    held_out = uniform_hash(problem.customer, salt=salts.holdout, purpose="holdout") < strategy.holdout.share
    u = uniform_hash(problem.customer, salt=salts.explore, purpose="explore", cycle=cycle)
    explored = u < strategy.exploration.share
    drawn = np.zeros(len(u), dtype=np.intp)
    who = np.flatnonzero(explored)
    v = uniform_hash(problem.ids[who], salt=salts.explore, purpose="explore", cycle=f"{cycle}/action")
    # the last eligible action takes what rounding leaves of the unit interval
    last = q.shape[1] - 1 - (q[who, ::-1] > 0).argmax(axis=1)
    drawn[who] = np.minimum((v[:, None] >= np.cumsum(q[who], axis=1)).sum(axis=1), last)
    return Randomisation(held_out & problem.free, explored & ~held_out & problem.free, drawn)
