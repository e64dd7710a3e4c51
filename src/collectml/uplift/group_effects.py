"""Do effects differ between accounts as the model says? A line through the scores, and groups sorted by predicted effect.

Both are statements about predictions, whatever made them: predicted effects are only a way to sort accounts, and the scores, from
decisions the predictions have not seen, say what is true of them (generic machine learning). They hold

- for predictions of a model trained on other customers,
- for predictions made in sequence, each fold's by a model that has seen earlier folds only (give ``fold``), and
- for several splits into halves, each evaluated by itself and put together by :func:`median_over_splits`.

They do not hold for ordinary cross-fitting pooled over folds: each fold's model has learnt from the outcomes of the others, so
that folds agree with one another even where there are no effects, and false alarms exceed their rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from collectml.errors import SchemaError

from ._clustered import Estimate, estimate
from ._contrasts import contrasts
from ._linear import fit_line
from ._ranking import Floats
from .calibration import quantile_groups
from .scores import DoublyRobustScores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "BestLinearPredictor",
    "SortedGroupEffects",
    "best_linear_predictor",
    "median_over_splits",
    "one_sided",
    "sorted_group_effects",
]


@dataclass(frozen=True)
class BestLinearPredictor:
    """The best linear prediction of effects from predicted effects, by contrast.

    Attributes
    ----------
    table : DataFrame
        What :meth:`frame` returns.
    confidence : float
    """

    table: pd.DataFrame
    confidence: float

    def frame(self) -> pd.DataFrame:
        """Return one row per contrast.

        Returns
        -------
        DataFrame
            ``contrast``; ``average_effect`` with ``average_low``, ``average_high``; ``slope`` with ``low``, ``high``, ``se``: by
            how much effects differ where predicted effects differ by one (1 where calibrated, 0 where predictions say
            nothing or do not vary); ``p_value``: one-sided, of a slope of zero or below; ``n``; ``clusters``.
        """
        return self.table.copy()

    def plot(self) -> Figure:
        """Draw the slopes with their intervals.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from ._charts import interval_chart

        t = self.table
        return interval_chart(
            t["contrast"].tolist(), t["slope"], t["low"], t["high"], f"slope ({self.confidence:.0%} interval)"
        )


@dataclass(frozen=True)
class SortedGroupEffects:
    """Average effects of groups sorted by predicted effect (GATES), by contrast.

    Attributes
    ----------
    table : DataFrame
        What :meth:`frame` returns.
    difference : DataFrame, one row per contrast
        ``contrast``; ``difference`` of the highest group from the lowest with ``low``, ``high``, ``se``; ``p_value``: one-sided, of a
        difference of zero or below.
    confidence : float
    groups : dict of str to ndarray of int
        Each contrast's groups, one entry per decision.
    customer : ndarray of int
    """

    table: pd.DataFrame
    difference: pd.DataFrame
    confidence: float
    groups: dict[str, NDArray[np.intp]] = field(repr=False)
    customer: NDArray[np.intp] = field(repr=False)

    def frame(self) -> pd.DataFrame:
        """Return one row per contrast and group.

        Returns
        -------
        DataFrame
            ``contrast``; ``group`` (1 holds the lowest predictions); ``n``; ``predicted``: mean predicted effect; ``effect`` with
            ``low``, ``high``, ``se``, in the outcome's unit per decision. Equal predictions are never in two groups.
        """
        return self.table.copy()

    def profile(self, features: pd.DataFrame) -> pd.DataFrame:
        """Compare who is in the highest and who in the lowest group (classification analysis, CLAN).

        Parameters
        ----------
        features : DataFrame, shape (n, p)
            In the order of the decisions; numbers, missing values left out.

        Returns
        -------
        DataFrame
            ``contrast``, ``feature``, ``lowest``, ``highest``, ``difference`` with ``low``, ``high``, ``se``.
        """
        clusters = int(self.customer.max(initial=-1)) + 1
        lines = []
        for contrast, group in self.groups.items():
            if len(features) != len(group):
                raise SchemaError(f"features must have one row for each of the {len(group):,} decisions")
            for name, column in features.items():
                values = column.to_numpy(dtype=np.float64, na_value=np.nan)
                means, result = _top_less_bottom(values, group, ~np.isnan(values), self.customer, clusters, self.confidence)
                lines.append(
                    {"contrast": contrast, "feature": name, "lowest": means[0], "highest": means[1]}
                    | {"difference": result.value, "low": result.low, "high": result.high, "se": result.se}
                )
        return pd.DataFrame(lines)

    def plot(self) -> Figure:
        """Draw the groups' effects with their intervals over their predicted effects; what was predicted is dashed.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from ._charts import curve_chart

        return curve_chart(
            self.table,
            by="contrast",
            x="predicted",
            y="effect",
            reference="predicted",
            x_label="predicted effect per decision, group mean",
            y_label=f"effect per decision ({self.confidence:.0%} interval)",
            points=True,
        )


def best_linear_predictor(
    effects: pd.DataFrame,
    scores: DoublyRobustScores,
    *,
    fold: ArrayLike | None = None,
    actions: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> BestLinearPredictor:
    """Regress scores of effects on predicted effects (BLP).

    Parameters
    ----------
    effects : DataFrame, decisions x actions
        Predicted effects, indexed like the scores; see the module on where they may come from.
    scores : DoublyRobustScores
    fold : array-like of int, shape (n,), optional
        Which model made a row's predictions: predictions are compared within folds only.
    actions : sequence of str, optional
        Which; all but the control where not given. With several, ``best_action`` is each account's best.
    confidence : float, default 0.95

    Returns
    -------
    BestLinearPredictor

    References
    ----------
    Chernozhukov, Demirer, Duflo and Fernandez-Val (2025), Fisher-Schultz lecture: Generic machine learning inference on
    heterogeneous treatment effects in randomized experiments, Econometrica 93; Semenova and Chernozhukov (2021), Debiased
    machine learning of conditional average treatment effects, Econometrics Journal 24 (doubly robust scores).

    Examples
    --------
    >>> from collectml.uplift import randomised_scores
    >>> rng = np.random.default_rng(0)
    >>> x, called = rng.normal(size=2000), rng.integers(2, size=2000)
    >>> scores = randomised_scores(action=called, outcome=x * called + rng.normal(size=2000))
    >>> table = best_linear_predictor(pd.DataFrame({"1": x}), scores).frame()
    >>> bool(0.8 < table["slope"][0] < 1.2), bool(table["p_value"][0] < 0.001)
    (True, True)
    """
    clusters = int(scores.customer.max(initial=-1)) + 1
    codes = _folds(fold, len(scores.scores))
    lines = []
    for contrast in contrasts(effects, scores, actions):
        line = fit_line(contrast.predicted, contrast.score, codes)
        mean = estimate(line.height.value, line.height.influence, scores.customer, clusters, confidence)
        if np.isnan(line.slope.value):  # predictions that do not vary say nothing
            slope, p = Estimate(0.0, np.nan, np.nan, np.nan, np.nan), 1.0
        else:
            slope = estimate(line.slope.value, line.slope.influence, scores.customer, clusters, confidence)
            p = one_sided(slope)
        lines.append(
            {"contrast": contrast.name, "average_effect": mean.value, "average_low": mean.low, "average_high": mean.high}
            | {"slope": slope.value, "low": slope.low, "high": slope.high, "se": slope.se, "p_value": p}
            | {"n": len(contrast.score), "clusters": clusters}
        )
    return BestLinearPredictor(pd.DataFrame(lines), confidence)


def sorted_group_effects(
    effects: pd.DataFrame,
    scores: DoublyRobustScores,
    *,
    groups: int = 5,
    fold: ArrayLike | None = None,
    actions: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> SortedGroupEffects:
    """Average the scores of effects in groups sorted by predicted effect (GATES).

    Parameters
    ----------
    effects, scores, fold, actions, confidence
        As in :func:`best_linear_predictor`; groups are cut within folds.
    groups : int, default 5
        Of about equal size.

    Returns
    -------
    SortedGroupEffects
        Each interval by itself: 95 % of them hold, not all at once.

    References
    ----------
    Chernozhukov, Demirer, Duflo and Fernandez-Val (2025), Econometrica 93.

    Examples
    --------
    >>> from collectml.uplift import randomised_scores
    >>> scores = randomised_scores(action=[0, 1, 0, 1], outcome=[0.0, 1.0, 0.0, 0.0])
    >>> effects = pd.DataFrame({"1": [0.9, 0.9, 0.1, 0.1]})
    >>> sorted_group_effects(effects, scores, groups=2).frame()["effect"].tolist()
    [0.0, 1.0]
    """
    if groups < 2:
        raise ValueError(f"there must be at least two groups, not {groups}")
    n, clusters = len(scores.scores), int(scores.customer.max(initial=-1)) + 1
    codes = _folds(fold, n)
    lines, differences, members = [], [], {}
    for contrast in contrasts(effects, scores, actions):
        group = np.empty(n, dtype=np.intp)
        for k in np.unique(codes):
            group[codes == k] = quantile_groups(contrast.predicted[codes == k], groups)
        members[contrast.name] = group
        for g in np.unique(group):
            inside = group == g
            mean = float(contrast.score[inside].mean())
            influence = np.where(inside, contrast.score - mean, 0.0) * n / inside.sum()
            result = estimate(mean, influence, scores.customer, clusters, confidence)
            lines.append(
                {"contrast": contrast.name, "group": int(g) + 1, "n": int(inside.sum())}
                | {"predicted": float(contrast.predicted[inside].mean()), "effect": result.value}
                | {"low": result.low, "high": result.high, "se": result.se}
            )
        everyone = np.ones(n, dtype=np.bool_)
        _, result = _top_less_bottom(contrast.score, group, everyone, scores.customer, clusters, confidence)
        differences.append(
            {"contrast": contrast.name, "difference": result.value, "low": result.low, "high": result.high}
            | {"se": result.se, "p_value": one_sided(result)}
        )
    return SortedGroupEffects(pd.DataFrame(lines), pd.DataFrame(differences), confidence, members, scores.customer)


Result = TypeVar("Result", BestLinearPredictor, SortedGroupEffects)


def median_over_splits(results: Sequence[Result]) -> Result:
    """Put the results of several random splits together by medians.

    Parameters
    ----------
    results : sequence of BestLinearPredictor or of SortedGroupEffects
        One of each split, its model trained on one part and evaluated on the other; all with one confidence.

    Returns
    -------
    BestLinearPredictor or SortedGroupEffects
        Medians of estimates and limits; p-values are twice the median. Its confidence counts errors twice: results at 97.5 % make
        one at 95 %.

    References
    ----------
    Chernozhukov, Demirer, Duflo and Fernandez-Val (2025), Econometrica 93, section 3 (variational estimation and inference).
    """
    if not results or len({r.confidence for r in results}) > 1:
        raise ValueError("give at least one result, all with one confidence")
    confidence = 1 - 2 * (1 - results[0].confidence)
    first = results[0]
    changed: dict[str, Any] = {"table": _median([r.table for r in results]), "confidence": confidence}
    if isinstance(first, SortedGroupEffects):
        changed |= {
            "difference": _median([r.difference for r in results if isinstance(r, SortedGroupEffects)]),
            "groups": {},
        }
    return replace(first, **changed)


def one_sided(result: Estimate) -> float:
    """Return the p-value of a value of zero or below: small only where the value is positive."""
    if np.isnan(result.p_value):
        return 1.0
    return result.p_value / 2 if result.value > 0 else 1 - result.p_value / 2


def z_value(p: float) -> float:
    """Return the normal quantile of a one-sided p-value, kept finite."""
    return float(stats.norm.isf(np.clip(p, 1e-300, 1 - 1e-16)))


def _median(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    keys = [c for c in ("contrast", "group") if c in tables[0]]
    stacked = pd.concat(tables, ignore_index=True)
    medians = stacked.groupby(keys, sort=False).median().reset_index()
    if "p_value" in medians:
        medians["p_value"] = np.minimum(1.0, 2 * medians["p_value"])
    return medians[tables[0].columns.tolist()]


def _top_less_bottom(
    values: Floats,
    group: NDArray[np.intp],
    known: NDArray[np.bool_],
    customer: NDArray[np.intp],
    clusters: int,
    confidence: float,
) -> tuple[tuple[float, float], Estimate]:
    """Return the means of the lowest and the highest group, and their difference."""
    low, high = group.min(), group.max()
    means, influence = [], np.zeros(len(values))
    for g, sign in ((low, -1.0), (high, 1.0)):
        inside = (group == g) & known
        if low == high or not inside.any():
            nothing = float(values[inside].mean()) if inside.any() else np.nan
            return (nothing, nothing), Estimate(0.0, np.nan, np.nan, np.nan, np.nan)
        means.append(float(values[inside].mean()))
        influence[inside] += sign * (values[inside] - means[-1]) * len(values) / inside.sum()
    return (means[0], means[1]), estimate(means[1] - means[0], influence, customer, clusters, confidence)


def _folds(fold: ArrayLike | None, n: int) -> NDArray[np.intp]:
    if fold is None:
        return np.zeros(n, dtype=np.intp)
    values = np.asarray(fold)
    if values.shape != (n,):
        raise SchemaError(f"fold must have one entry for each of the {n:,} rows, not shape {values.shape}")
    return pd.factorize(values)[0].astype(np.intp)
