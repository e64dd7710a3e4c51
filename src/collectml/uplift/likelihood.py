"""What a regression of effects is fitted to: outcomes beside a baseline, under a likelihood with its canonical link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from collectml.models._lightgbm import rows_of

__all__ = ["BINOMIAL", "POISSON", "Family", "Response"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Family:
    """An exponential family with its canonical link: a row at margin m adds ``y m - cumulant(m)`` to the log-likelihood.

    Parameters
    ----------
    cumulant, mean : callable
        Of the margin.
    variance : callable
        Of the mean.

    References
    ----------
    McCullagh & Nelder (1989), Generalized Linear Models, section 2.2.
    """

    cumulant: Callable[[Floats], Floats]
    mean: Callable[[Floats], Floats]
    variance: Callable[[Floats], Floats]


BINOMIAL = Family(lambda m: np.logaddexp(0.0, m), lambda m: np.asarray(expit(m)), lambda p: p * (1.0 - p))
POISSON = Family(lambda m: np.exp(m), lambda m: np.exp(m), lambda mu: mu)


@dataclass(frozen=True)
class Response:
    """Outcomes beside a baseline, and the actions that may have changed them.

    Parameters
    ----------
    action : ndarray of int, shape (n,)
        Position of the action taken.
    y : ndarray, shape (n,)
        Outcome: payment (0 or 1), or an amount.
    offset : ndarray, shape (n,)
        The baseline's margin.
    n_actions : int
        Number of actions.
    family : Family
        Likelihood of the outcome.
    weight : ndarray, shape (n,), optional
        Row weights, over the dispersion where the likelihood is a quasi-likelihood; 0 where nothing was observed.
    """

    action: NDArray[np.intp]
    y: Floats
    offset: Floats
    n_actions: int
    family: Family = field(default=BINOMIAL, kw_only=True)
    weight: Floats | None = field(default=None, kw_only=True)

    def rows(self, which: NDArray[np.bool_] | NDArray[np.intp]) -> Response:
        """Return those of some rows."""
        weight = rows_of(self.weight, which)
        return replace(self, action=self.action[which], y=self.y[which], offset=self.offset[which], weight=weight)

    def of(self, action: int) -> NDArray[np.intp]:
        """Return the rows of an action in which something was observed."""
        seen = self.action == action
        return np.flatnonzero(seen if self.weight is None else seen & (self.weight > 0))

    def beside(self, effect: Floats) -> Response:
        """Return the same outcomes beside a baseline raised by an effect, shape (n,)."""
        return replace(self, offset=self.offset + effect)

    def whatever_the_action(self) -> Response:
        """Return the same outcomes as if all actions were one."""
        return replace(self, action=np.zeros_like(self.action), n_actions=1)

    def log_likelihood(self, effects: Floats) -> float:
        """Return the log-likelihood under effects on the margin.

        Parameters
        ----------
        effects : ndarray, shape (n, A)

        Returns
        -------
        float
        """
        total, _ = self.slope(effects[np.arange(len(self.y)), self.action])
        return total

    def slope(self, effect: Floats) -> tuple[float, Floats]:
        """Return the log-likelihood under an effect on each row's margin, and its derivative by that.

        Parameters
        ----------
        effect : ndarray, shape (n,)

        Returns
        -------
        float
        ndarray, shape (n,)
        """
        margin = self.offset + effect
        each, uphill = self.y * margin - self.family.cumulant(margin), self.y - self.family.mean(margin)
        if self.weight is not None:
            each, uphill = self.weight * each, self.weight * uphill
        return float(np.sum(each)), uphill

    def curvature(self) -> Floats:
        """Return the curvature of the negative log-likelihood in each row's margin at the baseline, shape (n,)."""
        curvature = self.family.variance(self.family.mean(self.offset))
        return curvature if self.weight is None else self.weight * curvature
