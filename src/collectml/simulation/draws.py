"""Random numbers that belong to an account, not to a generator's state.

Every draw is a keyed hash of (seed, purpose, cycle, identifier). So an account meets the same chances whatever the size, order or
chunking of the portfolio, and whatever policy is played: two policies run over months differ by what they do, not by luck.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from collectml.hashing import stable_hash

__all__ = ["Draws"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64 bits (the finaliser of SplitMix64, in place)."""
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


@dataclass(frozen=True)
class Draws:
    """Draws for a set of identifiers.

    Parameters
    ----------
    ids : ndarray of int64, shape (n,)
        Account or customer identifiers.
    seed : int
        The portfolio's seed.
    cycle : str, default ""
        What makes the draws of one month differ from those of another; empty for what never changes.

    References
    ----------
    Steele, Lea, Flood (2014), Fast splittable pseudorandom number generators (SplitMix64).

    Examples
    --------
    >>> import numpy as np
    >>> forward = Draws(np.array([1, 2, 3]), seed=7).uniform("pay")
    >>> backward = Draws(np.array([3, 2, 1]), seed=7).uniform("pay")
    >>> bool((forward == backward[::-1]).all())
    True
    """

    ids: Ints
    seed: int
    cycle: str = ""

    def uniform(self, purpose: str) -> Floats:
        """Draw from the open interval (0, 1), shape (n,)."""
        key = stable_hash([purpose], salt=str(self.seed), purpose="simulation", cycle=self.cycle)[0]
        x = self.ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        bits = _mix(_mix(x ^ key) + key)
        # half a step up: neither 0 nor 1 can occur, so that the normal quantile stays finite
        return (bits >> np.uint64(12)).astype(np.float64) * 2.0**-52 + 2.0**-53

    def normal(self, purpose: str) -> Floats:
        """Draw standard normal numbers, shape (n,)."""
        return np.asarray(ndtri(self.uniform(purpose)), dtype=np.float64)

    def flag(self, purpose: str, probability: Floats | float) -> NDArray[np.bool_]:
        """Draw True with the given probability, shape (n,)."""
        return self.uniform(purpose) < probability

    def choice(self, purpose: str, shares: tuple[float, ...]) -> Ints:
        """Draw a position with the given shares (they need not sum to one), shape (n,)."""
        edges = np.cumsum(shares)[:-1] / float(np.sum(shares))
        return np.searchsorted(edges, self.uniform(purpose), side="right").astype(np.int64)

    def binomial(self, purpose: str, trials: Ints, probability: Floats | float) -> Ints:
        """Draw the number of successes in a few trials, shape (n,)."""
        count = np.zeros(len(self.ids), dtype=np.int64)
        for k in range(int(trials.max(initial=0))):
            count += (self.uniform(f"{purpose}/{k}") < probability) & (k < trials)
        return count

    def poisson(self, purpose: str, mean: Floats, most: int = 24) -> Ints:
        """Draw Poisson counts by inversion, cut at `most`, shape (n,)."""
        u = self.uniform(purpose)
        term = np.exp(-mean)
        cumulative = term.copy()
        count = np.zeros(len(self.ids), dtype=np.int64)
        for k in range(1, most + 1):
            above = u > cumulative
            if not above.any():
                break
            count += above
            term *= mean / k
            cumulative += term
        return count
