"""Is there any evidence that effects differ between accounts? One test over all actions, with a stated rate of false alarms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from sklearn.base import clone

from collectml.errors import SchemaError

from ._clustered import cluster_codes, estimate
from ._contrasts import contrasts
from ._linear import fit_line
from .cross_fit import decision_folds
from .group_effects import (
    BestLinearPredictor,
    SortedGroupEffects,
    best_linear_predictor,
    one_sided,
    sorted_group_effects,
    z_value,
)
from .scores import DoublyRobustScores, doubly_robust_scores
from .uplift_model import UpliftModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["HeterogeneityTest", "heterogeneity_test", "sequential_test"]


class OutcomesOfActions(Protocol):
    """A model of the outcome under every action: :class:`UpliftModel`, or another with its two methods."""

    def fit(self, X: pd.DataFrame, y: ArrayLike, *, action: ArrayLike, **rows: Any) -> Self:
        """Learn from logged decisions."""
        ...

    def predict(self, X: pd.DataFrame) -> pd.DataFrame:
        """Return the expected outcome, decisions x actions."""
        ...


@dataclass(frozen=True)
class HeterogeneityTest:
    """What the log says about differences in effects.

    Attributes
    ----------
    table : DataFrame
        What :meth:`frame` returns.
    verdict : str
        One line: "no evidence of heterogeneity ...", or for which contrasts there is.
    linear : BestLinearPredictor
    groups : SortedGroupEffects
    effects : DataFrame, decisions x actions
        The predictions tested: each fold's from earlier folds.
    scores : DoublyRobustScores
        Of the decisions tested.
    fold : ndarray of int
        Fold of each decision tested.
    left_out : tuple of str
        Actions with too few rows to be learnt from the first fold.
    error_rate : float
    """

    table: pd.DataFrame
    verdict: str
    linear: BestLinearPredictor
    groups: SortedGroupEffects
    effects: pd.DataFrame = field(repr=False)
    scores: DoublyRobustScores = field(repr=False)
    fold: NDArray[np.intp] = field(repr=False)
    left_out: tuple[str, ...] = ()
    error_rate: float = 0.05

    @property
    def evidence(self) -> bool:
        """Whether effects differ between accounts for some contrast, at the stated error rate over all of them."""
        return bool(self.table["evidence"].any())

    def frame(self) -> pd.DataFrame:
        """Return one row per contrast.

        Returns
        -------
        DataFrame
            ``contrast``; ``slope``, ``low``, ``high`` of the best linear predictor; ``difference`` between the highest and the
            lowest group; ``z``: the test's statistic; ``p_value`` (one-sided); ``adjusted``: the same for all contrasts
            together (Holm); ``evidence``: whether that lies below the error rate.
        """
        return self.table.copy()

    def plot(self) -> Figure:
        """Draw the sorted groups' effects.

        Returns
        -------
        matplotlib.figure.Figure
        """
        figure = self.groups.plot()
        figure.suptitle(self.verdict, fontsize="small")
        return figure


def heterogeneity_test(
    X: pd.DataFrame,
    y: ArrayLike,
    *,
    action: ArrayLike,
    logging_propensity: ArrayLike,
    customer: ArrayLike | None = None,
    model: OutcomesOfActions | None = None,
    folds: int = 5,
    groups: int = 5,
    error_rate: float = 0.05,
    random_state: int = 0,
) -> HeterogeneityTest:
    """Test whether effects differ between accounts in a way that can be learnt.

    Parameters
    ----------
    X : DataFrame, shape (n, p)
        Features as of the decision.
    y : array-like, shape (n,)
        Outcome.
    action : array-like of str, shape (n,)
        Logged action.
    logging_propensity : array-like, shape (n,)
        Probability of the logged action; used as given.
    customer : array-like, shape (n,), optional
        Unit of dependence.
    model : UpliftModel or the like, optional
        Cloned for each fold. A hurdle of at most 200 trees where not given (an S-learner where outcomes may be negative).
    folds : int, default 5
        At least three. Decisions of the first fold are learnt from and not tested.
    groups : int, default 5
        Sorted groups.
    error_rate : float, default 0.05
        Chance of claiming heterogeneity for any contrast where there is none for any.
    random_state : int, default 0

    Returns
    -------
    HeterogeneityTest

    Notes
    -----
    Folds are tested in sequence: a fold's effects and outcomes are predicted by a model of the earlier folds alone, and the slope
    of its scores on its predicted effects gives a p-value. Given the past each has its nominal distribution, so that their
    normal quantiles add up to one with variance ``folds - 1``; ordinary cross-fitting, in which every fold's model has learnt
    from all others, has no such guarantee. Contrasts are corrected by Holm's method. The test is one-sided: predictions that
    are wrong the other way are no evidence for them.

    References
    ----------
    Wager (2024), Sequential validation of treatment heterogeneity, arXiv 2405.05534.
    Chernozhukov, Demirer, Duflo and Fernandez-Val (2025), Econometrica 93. Holm (1979), Scand. J. Statist. 6.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"score": rng.normal(size=1000)})
    >>> action = rng.choice(["no_action", "call"], size=1000)
    >>> y = 100.0 * (rng.random(1000) < 0.3)  # paid whatever was done
    >>> test = heterogeneity_test(X, y, action=action, logging_propensity=np.full(1000, 0.5), folds=3)
    >>> test.verdict
    'no evidence of heterogeneity at an error rate of 5%'
    """
    if folds < 3:
        raise ValueError(f"there must be at least three folds, the first to learn from, not {folds}")
    outcome, names = np.asarray(y, dtype=np.float64), np.asarray(action).astype(str)
    p = np.asarray(logging_propensity, dtype=np.float64)
    n = len(X)
    if not outcome.shape == names.shape == p.shape == (n,):
        raise SchemaError(f"y, action and logging_propensity must have one entry for each of the {n:,} rows")
    units, _ = cluster_codes(customer, n)
    base = model
    if base is None:
        base = UpliftModel(
            "hurdle" if bool((outcome >= 0).all()) else "s", n_estimators=200, folds=3, random_state=random_state
        )
    codes = pd.factorize(names, sort=True)[0].astype(np.intp)
    fold = decision_folds(codes, outcome > 0, units, folds=folds, seed=random_state).astype(np.intp)
    parts, learnt = [], set(names.tolist())
    for k in range(1, folds):
        past, now = fold < k, fold == k
        given = {"action": names[past], "logging_propensity": p[past], "customer": units[past]}
        fitted = clone(base).fit(X[past], outcome[past], **given)
        predicted = fitted.predict(X[now]).set_axis(np.flatnonzero(now), axis="index")
        parts.append(predicted)
        learnt &= set(predicted.columns)
    rows = np.flatnonzero(fold > 0)
    control = str(parts[0].columns[0])
    left_out = tuple(sorted(set(names.tolist()) - learnt))
    order = [control, *(a for a in pd.unique(names).tolist() if a != control)]
    # an action without predictions has no score; its decisions still count for the others, as not having had them
    outcomes = pd.concat(parts).loc[rows].reindex(columns=order).set_axis(X.index[rows], axis="index")
    outcomes[list(left_out)] = np.nan
    scores = doubly_robust_scores(
        outcomes,
        action=names[rows],
        outcome=outcome[rows],
        logging_propensity=p[rows],
        customer=units[rows],
        control=control,
    )
    return sequential_test(
        outcomes.sub(outcomes[control], axis="index"),
        scores,
        fold=fold[rows],
        groups=groups,
        error_rate=error_rate,
        actions=[a for a in order if a in learnt and a != control],
        left_out=left_out,
    )


def sequential_test(
    effects: pd.DataFrame,
    scores: DoublyRobustScores,
    *,
    fold: ArrayLike,
    groups: int = 5,
    error_rate: float = 0.05,
    actions: Sequence[str] | None = None,
    left_out: tuple[str, ...] = (),
) -> HeterogeneityTest:
    """Test predictions that were made in sequence, or by one model on other customers (then ``fold`` is all zeros).

    Parameters
    ----------
    effects : DataFrame, decisions x actions
        Predicted effects; those of fold k from decisions of folds before k, or from none of these.
    scores : DoublyRobustScores
        Likewise.
    fold : array-like of int, shape (n,)
    groups, error_rate
        As in :func:`heterogeneity_test`.
    actions : sequence of str, optional
        Which contrasts.
    left_out : tuple of str
        Passed on to the result.

    Returns
    -------
    HeterogeneityTest
    """
    if not 0 < error_rate < 1:
        raise ValueError(f"error_rate must lie between 0 and 1, not {error_rate}")
    linear = best_linear_predictor(effects, scores, fold=fold, actions=actions)
    sorted_groups = sorted_group_effects(effects, scores, groups=groups, fold=fold, actions=actions)
    codes = pd.factorize(np.asarray(fold), sort=True)[0]
    lines = []
    for contrast in contrasts(effects, scores, actions):
        z = []
        for k in range(codes.max() + 1):
            now = codes == k
            slope = fit_line(contrast.predicted[now], contrast.score[now]).slope
            if np.isnan(slope.value):
                z.append(0.0)  # predictions that do not vary say nothing
                continue
            units, clusters = cluster_codes(scores.customer[now], int(now.sum()))
            z.append(z_value(one_sided(estimate(slope.value, slope.influence, units, clusters, 0.95))))
        total = float(np.sum(z)) / float(np.sqrt(len(z)))
        lines.append({"contrast": contrast.name, "z": total, "p_value": float(stats.norm.sf(total)) if any(z) else 1.0})
    table = linear.table[["contrast", "slope", "low", "high"]].merge(
        sorted_groups.difference[["contrast", "difference"]], on="contrast"
    )
    table = table.merge(pd.DataFrame(lines), on="contrast")
    table["adjusted"] = _holm(table["p_value"].to_numpy())
    table["evidence"] = table["adjusted"] < error_rate
    found = table.loc[table["evidence"], "contrast"].tolist()
    verdict = f"effects differ between accounts: {', '.join(found)}" if found else "no evidence of heterogeneity"
    return HeterogeneityTest(
        table,
        f"{verdict} at an error rate of {100 * error_rate:g}%",
        linear,
        sorted_groups,
        effects,
        scores,
        np.asarray(codes, dtype=np.intp),
        left_out,
        error_rate,
    )


def _holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return Holm's adjusted p-values."""
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * (len(p) - np.arange(len(p))))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
