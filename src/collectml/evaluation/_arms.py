"""The rows of an experiment, and the difference of one arm from the control, by customers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from collectml.errors import SchemaError
from collectml.evaluation._cuped import adjust
from collectml.evaluation.intervals import Ratio, ratio_of_sums

__all__ = ["Arms", "anytime_half_width"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Arms:
    """Outcomes, arms (the control is 0) and customers, in one order."""

    y: Floats
    arm: NDArray[np.intp]
    names: tuple[str, ...]
    customer: NDArray[np.intp]
    n_customers: int
    covariate: Floats | None

    @classmethod
    def of(
        cls, outcome: ArrayLike, arm: ArrayLike, control: str, customer: ArrayLike | None, covariate: ArrayLike | None
    ) -> Self:
        """Check and code the rows; every fault is reported in one error."""
        y = np.asarray(outcome, dtype=np.float64)
        labels = pd.Series(np.asarray(arm)).astype("str")
        found = sorted(labels.dropna().unique())
        if len(labels) != len(y) or control not in found or len(found) < 2:
            raise ValueError(f"each outcome needs an arm, the control {control!r} and another among them; arms: {found}")
        names = (control, *(a for a in found if a != control))
        codes = pd.Index(names).get_indexer(pd.Index(labels))
        units = np.arange(len(y)) if customer is None else pd.factorize(np.asarray(customer))[0]
        if len(units) != len(y):
            raise ValueError(f"customer must have one entry for each of the {len(y)} outcomes, not {len(units)}")
        faults = []
        if not np.isfinite(y).all():
            faults.append(f"{int((~np.isfinite(y)).sum())} outcomes are missing or not finite")
        if (codes < 0).any():
            faults.append(f"{int((codes < 0).sum())} rows have no arm")
        if (units < 0).any():
            faults.append(f"{int((units < 0).sum())} rows have no customer")
        places = np.unique(np.column_stack([units, codes]), axis=0)
        mixed = int((np.unique(places[:, 0], return_counts=True)[1] > 1).sum())
        if mixed:
            faults.append(f"{mixed} customers stand in more than one arm: draw arms by customer")
        if faults:
            raise SchemaError("; ".join(faults))
        known = None if covariate is None else np.asarray(covariate, dtype=np.float64)
        return cls(y, codes, names, units.astype(np.intp), int(units.max()) + 1, known)

    def customers(self) -> dict[str, int]:
        """Count the customers of each arm."""
        pairs = np.unique(np.column_stack([self.arm, self.customer]), axis=0)
        return dict(zip(self.names, np.bincount(pairs[:, 0], minlength=len(self.names)).tolist(), strict=True))

    def pair(self, name: str) -> Arms:
        """Keep one arm and the control."""
        keep = (self.arm == 0) | (self.arm == self.names.index(name))
        return self.take(keep)

    def take(self, keep: NDArray[np.bool_]) -> Arms:
        """Keep some rows; customers are counted anew."""
        codes, units = pd.factorize(self.customer[keep])
        covariate = None if self.covariate is None else self.covariate[keep]
        return replace(
            self,
            y=self.y[keep],
            arm=self.arm[keep],
            customer=codes.astype(np.intp),
            n_customers=len(units),
            covariate=covariate,
        )

    def adjusted(self) -> Arms:
        """Take out of the outcomes what the covariates explain."""
        if self.covariate is None:
            return self
        return replace(self, y=adjust(self.y, self.covariate, self.customer, self.n_customers, self.arm))

    def difference(self) -> Ratio:
        """Return mean of the arm less mean of the control, of a pair of arms, with influence values by customer."""
        means = []
        for chosen in (self.arm > 0, self.arm == 0):
            ones = chosen.astype(np.float64)
            means.append(ratio_of_sums(self.y * ones, ones, self.customer, self.n_customers))
        return Ratio(means[0].value - means[1].value, means[0].influence - means[1].influence)


def anytime_half_width(se: float, n: int, alpha: float, planned: int) -> float:
    """Return half the width of an asymptotic confidence sequence.

    Parameters
    ----------
    se : float
        Standard error of the estimate from `n` customers.
    n : int
        Customers so far.
    alpha : float
        Error rate over all looks together.
    planned : int
        Number of customers at which it is narrowest.

    Returns
    -------
    float
        ``sigma sqrt(2 (n r + 1) / (n**2 r) log(sqrt(n r + 1) / alpha))`` with ``sigma = se sqrt(n)`` and r (rho squared) chosen
        for `planned`.

    References
    ----------
    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024), Time-uniform central limit theory and asymptotic confidence
    sequences, Ann. Statist. 52; theorem 2.2 and the choice of rho after it.
    """
    log = -2 * math.log(alpha)
    r = (log + math.log(log + 1)) / planned
    spread = n * r + 1
    return se * math.sqrt(n) * math.sqrt(2 * spread / (n**2 * r) * math.log(math.sqrt(spread) / alpha))
