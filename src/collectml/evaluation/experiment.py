"""Champion against challenger: how many accounts, how long, and what the hold-out costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from collectml.evaluation._cuped import adjust
from collectml.evaluation.intervals import ratio_of_sums

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["ExperimentDesign", "OutcomeSpread", "design_experiment"]

_BLUE, _VERMILION, _GREY = "#0072B2", "#D55E00", "#666666"

# Kohavi et al. (2014), rule 7: so many customers an arm, times the squared skewness, until a mean is close enough to normal
_ROWS_PER_SQUARED_SKEWNESS = 355


@dataclass(frozen=True)
class OutcomeSpread:
    """What an outcome's mean is, and how much it varies: all that a sample size needs to know of it.

    Attributes
    ----------
    mean : float
        Per account, in the outcome's unit.
    variance : float
        Per account, what customers' accounts have in common included: n times the variance of a mean over n accounts.
    skewness : float
        Of customers' totals.
    proportion : bool
        Whether it is a rate: then its variance moves with its mean.
    correlation : float or None
        Between the outcome and what was known before (CUPED); None where not measured.
    design_effect : float
        By how much dependence within customers multiplies the variance.
    """

    mean: float
    variance: float
    skewness: float = 0.0
    proportion: bool = False
    correlation: float | None = None
    design_effect: float = 1.0

    @classmethod
    def of_rate(cls, rate: float, *, accounts_per_customer: float = 1.0, similarity: float = 0.0) -> Self:
        """Describe a proportion, such as the share of accounts that pay.

        Parameters
        ----------
        rate : float in (0, 1)
        accounts_per_customer : float, default 1
            Mean number of accounts of one customer.
        similarity : float in [0, 1], default 0
            Correlation between the outcomes of one customer's accounts (intra-class correlation).

        Returns
        -------
        OutcomeSpread
        """
        if not 0 < rate < 1:
            raise ValueError(f"rate must lie between 0 and 1, not {rate}")
        effect = _design_effect(accounts_per_customer, similarity)
        variance = rate * (1 - rate)
        return cls(rate, effect * variance, (1 - 2 * rate) / math.sqrt(variance), proportion=True, design_effect=effect)

    @classmethod
    def of_money(
        cls,
        payer_rate: float,
        mean_paid: float,
        sd_paid: float,
        *,
        accounts_per_customer: float = 1.0,
        similarity: float = 0.0,
    ) -> Self:
        """Describe money that most accounts do not pay: nothing, or an amount.

        Parameters
        ----------
        payer_rate : float in (0, 1]
            Share of accounts that pay anything.
        mean_paid, sd_paid : float
            Of the amount, among those who pay.
        accounts_per_customer, similarity
            As in :meth:`of_rate`.

        Returns
        -------
        OutcomeSpread
            Its skewness is that of amounts spread like a lognormal; from data it is measured (:meth:`of_values`).
        """
        if not 0 < payer_rate <= 1 or mean_paid <= 0 or sd_paid < 0:
            raise ValueError("payer_rate must lie in (0, 1], mean_paid above 0, sd_paid at 0 or above")
        q, mean = payer_rate, payer_rate * mean_paid
        relative = 1 + (sd_paid / mean_paid) ** 2
        second, third = q * mean_paid**2 * relative, q * mean_paid**3 * relative**3
        variance = second - mean**2
        skewness = (third - 3 * mean * second + 2 * mean**3) / variance**1.5 if variance > 0 else 0.0
        effect = _design_effect(accounts_per_customer, similarity)
        return cls(mean, effect * variance, skewness, design_effect=effect)

    @classmethod
    def of_values(cls, values: ArrayLike, *, customer: ArrayLike | None = None, covariate: ArrayLike | None = None) -> Self:
        """Measure an outcome on past accounts, with its own zeros, tails and customers.

        Parameters
        ----------
        values : array-like, shape (n,)
            Outcomes over the horizon the experiment will use.
        customer : array-like, shape (n,), optional
            Unit that will be randomised; each account its own where not given.
        covariate : array-like, shape (n,) or (n, k), optional
            Known before: the same outcome a period earlier, a score. Measures the correlation for CUPED.

        Returns
        -------
        OutcomeSpread
        """
        y = _numbers(values)
        codes, groups = _customers(customer, len(y))
        mean, variance, skewness = _per_account(y, codes, groups)
        if variance <= 0:
            raise ValueError("the values do not vary: there is nothing to measure a difference of")
        correlation = None
        if covariate is not None:
            left = _per_account(adjust(y, covariate, codes, groups), codes, groups)[1]
            correlation = math.sqrt(max(0.0, 1 - left / variance))
        proportion = bool(np.isin(y, (0.0, 1.0)).all())
        return cls(mean, variance, skewness, proportion, correlation, variance / float(np.var(y)))


def design_experiment(
    spread: OutcomeSpread,
    *,
    effect: float,
    holdout_share: float = 0.5,
    alpha: float = 0.05,
    power: float = 0.8,
    correlation: float | None = None,
    accounts_per_day: float | None = None,
    horizon_days: int = 30,
    money_per_unit: float = 1.0,
) -> ExperimentDesign:
    """Size an experiment of a challenger against a champion, or of a strategy against its hold-out.

    Parameters
    ----------
    spread : OutcomeSpread
        Of the outcome under the control.
    effect : float
        Smallest difference worth finding, in the outcome's unit (0.01 is one percentage point of a rate).
    holdout_share : float in (0, 1), default 0.5
        Share of the accounts that become controls.
    alpha : float, default 0.05
        Two-sided error rate.
    power : float, default 0.8
        Chance of finding a true difference of `effect`.
    correlation : float in [0, 1), optional
        Between the outcome and a covariate known before; the spread's own where measured. Adds a row with CUPED.
    accounts_per_day : float, optional
        New decisions a day: gives the duration.
    horizon_days : int, default 30
        Days until the last account's outcome is known.
    money_per_unit : float, default 1
        Money a unit of the outcome is worth (what a payer pays, for a rate): prices the hold-out.

    Returns
    -------
    ExperimentDesign

    Notes
    -----
    With h the controls' share and v the variance of one account, the accounts needed are
    ``(z_{1 - alpha/2} + z_power)**2 v / (h (1 - h) effect**2)``. For a rate v is the mean of the two arms' variances, for either
    arm may turn out to be the better one; for money v is the control's. CUPED with a correlation rho multiplies v
    by ``1 - rho**2``.

    References
    ----------
    Deng, Xu, Kohavi and Walker (2013), Improving the sensitivity of online controlled experiments by utilizing
    pre-experiment data, WSDM (CUPED). Kohavi et al. (2014), Seven rules of thumb for web site experimenters, KDD.

    Examples
    --------
    From 20 % to 21 % of accounts paying, at 80 % power: half and half, then a hold-out of a tenth, with CUPED beside it.

    >>> rate = OutcomeSpread.of_rate(0.20)
    >>> design_experiment(rate, effect=0.01).frame()[["method", "controls", "treated", "accounts"]]
      method  controls  treated  accounts
    0  plain     25580    25580     51160
    >>> design_experiment(rate, effect=0.01, holdout_share=0.1, correlation=0.5).frame()[["method", "controls", "accounts"]]
      method  controls  accounts
    0  plain     14211    142109
    1  cuped     10659    106583
    """
    _between(holdout_share=holdout_share, alpha=alpha, power=power)
    if effect == 0 or not math.isfinite(effect):
        raise ValueError("effect must be finite and not 0: how large a difference is worth finding?")
    rho = spread.correlation if correlation is None else correlation
    if rho is not None and not 0 <= abs(rho) < 1:
        raise ValueError(f"correlation must lie between -1 and 1, not {rho}")
    variance = spread.variance
    if spread.proportion:
        other = spread.mean + effect
        if not 0 < other < 1:
            raise ValueError(f"a rate of {spread.mean:g} cannot change by {effect:g}")
        own = spread.mean * (1 - spread.mean)
        variance *= (own + other * (1 - other)) / (2 * own)
    quantiles = float(stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(power))
    methods = {"plain": variance} | ({} if rho is None else {"cuped": variance * (1 - rho**2)})
    lines = []
    for method, v in methods.items():
        per_share = quantiles**2 * v / effect**2 / (holdout_share * (1 - holdout_share))
        controls, treated = (math.ceil(per_share * s - 1e-9) for s in (holdout_share, 1 - holdout_share))
        days = math.nan if accounts_per_day is None else math.ceil((controls + treated) / accounts_per_day) + horizon_days
        lines.append((method, controls, treated, controls + treated, days, controls * abs(effect) * money_per_unit))
    columns = ["method", "controls", "treated", "accounts", "days", "forgone_recovery"]
    smallest = math.ceil(_ROWS_PER_SQUARED_SKEWNESS * spread.skewness**2 * spread.design_effect)
    return ExperimentDesign(
        pd.DataFrame(lines, columns=columns), spread, effect, holdout_share, alpha, power, methods, smallest
    )


@dataclass(frozen=True)
class ExperimentDesign:
    """The size of an experiment, with and without CUPED, and what it costs.

    Attributes
    ----------
    sizes : DataFrame
        What :meth:`frame` returns.
    spread : OutcomeSpread
    effect, holdout_share, alpha, power : float
        What was asked for.
    variances : dict of str to float
        Variance of one account, by method.
    smallest_arm : int
        Accounts the smaller arm needs before the mean of so skewed an outcome is close to normal (355 squared
        skewnesses); an arm planned below it gives intervals that miss too often.
    """

    sizes: pd.DataFrame
    spread: OutcomeSpread
    effect: float
    holdout_share: float
    alpha: float
    power: float
    variances: dict[str, float]
    smallest_arm: int

    def frame(self) -> pd.DataFrame:
        """Return one row per method.

        Returns
        -------
        DataFrame
            ``method`` (plain, cuped); ``controls``, ``treated``, ``accounts``; ``days`` from the first decision to the last
            outcome (missing without ``accounts_per_day``); ``forgone_recovery``: money the controls would have brought in
            beyond what they will, if the difference is as large as the experiment is sized for.
        """
        return self.sizes.copy()

    @property
    def enough_for_tails(self) -> pd.Series:
        """Whether the smaller arm is large enough for the outcome's skewness, by method."""
        smaller = self.sizes[["controls", "treated"]].min(axis="columns")
        return (smaller >= self.smallest_arm).set_axis(self.sizes["method"])

    def detectable_effect(self, accounts: ArrayLike, *, method: str = "plain") -> np.ndarray:
        """Return the smallest effect found with the asked power by so many accounts in all.

        Parameters
        ----------
        accounts : array-like
            Controls and treated together.
        method : {"plain", "cuped"}

        Returns
        -------
        ndarray
            In the outcome's unit.
        """
        if method not in self.variances:
            raise ValueError(f"method must be one of {list(self.variances)}, not {method!r}")
        quantiles = float(stats.norm.ppf(1 - self.alpha / 2) + stats.norm.ppf(self.power))
        share = self.holdout_share * (1 - self.holdout_share)
        return quantiles * np.sqrt(self.variances[method] / (share * np.asarray(accounts, dtype=np.float64)))

    def plot(self) -> Figure:
        """Draw the smallest effect that so many accounts can show, and where the plan stands.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from matplotlib.figure import Figure  # heavy, and most designs are only read

        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        ax = figure.subplots()
        planned = self.sizes.set_index("method")["accounts"]
        at = np.geomspace(planned.min() / 10, planned.max() * 4, 80)
        for method, colour in zip(self.variances, (_BLUE, _VERMILION), strict=False):
            ax.plot(at, self.detectable_effect(at, method=method), color=colour, label=method)
            ax.plot([planned[method]], [abs(self.effect)], "o", color=colour)
            ax.annotate(
                f"{planned[method]:,}", (planned[method], abs(self.effect)), xytext=(4, 4), textcoords="offset points"
            )
        ax.axhline(abs(self.effect), color=_GREY, linewidth=0.8, linestyle="--")
        ax.set_xscale("log")
        ax.set_xlabel(f"accounts, {self.holdout_share:.0%} of them controls")
        ax.set_ylabel(f"smallest difference found\n(power {self.power:.0%}, error rate {self.alpha:.0%})")
        ax.legend(frameon=False)
        ax.spines[["top", "right"]].set_visible(False)
        return figure


def _design_effect(accounts_per_customer: float, similarity: float) -> float:
    if accounts_per_customer < 1 or not 0 <= similarity <= 1:
        raise ValueError("accounts_per_customer must be at least 1, similarity between 0 and 1")
    return 1 + (accounts_per_customer - 1) * similarity


def _per_account(y: np.ndarray, codes: np.ndarray, groups: int) -> tuple[float, float, float]:
    """Return the mean, n times the variance of that mean (customers kept whole), and the customers' skewness."""
    ratio = ratio_of_sums(y, np.ones(len(y)), codes, groups)
    influence = ratio.influence
    variance = float(len(y) * (groups - 1) / groups * np.sum(influence**2))
    return ratio.value, variance, float(stats.skew(influence)) if variance > 0 else 0.0


def _customers(customer: ArrayLike | None, n: int) -> tuple[np.ndarray, int]:
    codes = np.arange(n) if customer is None else pd.factorize(np.asarray(customer))[0]
    if len(codes) != n or (codes < 0).any():
        raise ValueError("customer must have one entry for each value, none missing")
    return codes, int(codes.max(initial=-1)) + 1


def _numbers(values: ArrayLike) -> np.ndarray:
    y = np.asarray(values, dtype=np.float64)
    if y.ndim != 1 or len(y) < 2 or not np.isfinite(y).all():
        raise ValueError("values must be at least two finite numbers")
    return y


def _between(**given: float) -> None:
    for name, value in given.items():
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie between 0 and 1, not {value}")
