"""Does the model put those first whom acting helps most? Areas under curves, with intervals, for any number of actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from collectml.errors import SchemaError

from ._clustered import Estimate, cluster_codes, estimate
from ._contrasts import contrasts
from ._ranking import AREAS, Floats, RankedScores, Statistic
from .scores import DoublyRobustScores

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["UpliftMetrics", "rank_weighted_average_effect", "uplift_metrics"]

METRICS = ("average_effect", "auuc", "qini", "autoc")
Target = Literal["autoc", "qini"]


@dataclass(frozen=True)
class UpliftMetrics:
    """Metrics of a ranking, by contrast.

    Attributes
    ----------
    table : DataFrame
        What :meth:`frame` returns.
    confidence : float
    """

    table: pd.DataFrame
    confidence: float

    def frame(self) -> pd.DataFrame:
        """Return one row per contrast and metric.

        Returns
        -------
        DataFrame
            ``contrast`` (an action against the control, or ``best_action``); ``metric`` (``average_effect``, ``auuc``,
            ``qini``, ``autoc``); ``value``, ``low``, ``high``, ``se`` in the outcome's unit per decision; ``p_value``
            (two-sided, of zero); ``n``; ``clusters``. With a baseline ``baseline_value``, ``difference``,
            ``difference_low``, ``difference_high``, ``difference_p_value``.
        """
        return self.table.copy()

    def plot(self, metric: str = "autoc") -> Figure:
        """Draw one metric of every contrast with its interval.

        Parameters
        ----------
        metric : str, default "autoc"

        Returns
        -------
        matplotlib.figure.Figure
        """
        from ._charts import interval_chart

        if metric not in METRICS:
            raise ValueError(f"metric must be one of {list(METRICS)}, not {metric!r}")
        rows = self.table[self.table["metric"] == metric]
        label = f"{metric} per decision ({self.confidence:.0%} interval)"
        return interval_chart(rows["contrast"].tolist(), rows["value"], rows["low"], rows["high"], label)


def uplift_metrics(
    effects: pd.DataFrame,
    scores: DoublyRobustScores,
    *,
    baseline: pd.DataFrame | None = None,
    actions: Sequence[str] | None = None,
    confidence: float = 0.95,
) -> UpliftMetrics:
    """Measure how well predicted effects rank decisions.

    Parameters
    ----------
    effects : DataFrame, decisions x actions
        Effects predicted by a model that has not seen these decisions' outcomes, indexed like the scores.
    scores : DoublyRobustScores
        From :func:`doubly_robust_scores`; from :func:`randomised_scores` for a plain experiment.
    baseline : DataFrame, optional
        Another model's effects: adds paired differences (effects less baseline) from the same scores.
    actions : sequence of str, optional
        Which; all but the control where not given.
    confidence : float, default 0.95

    Returns
    -------
    UpliftMetrics

    Notes
    -----
    Let ``G(u)`` be what treating the share u with the highest predicted effects adds, per decision of all (the uplift curve),
    and ``TOC(u) = G(u) / u - G(1)`` what the treated gain above the average. Then

    - ``average_effect`` is ``G(1)``,
    - ``auuc``, the area under the uplift curve, is the integral of ``G``: half the average effect for a ranking at random,
    - ``qini``, the Qini coefficient, is the area between ``G`` and the chord ``u G(1)``: the integral of ``u TOC(u)``,
      which is the rank-weighted average treatment effect with linear weights,
    - ``autoc`` is the integral of ``TOC``: the same with logarithmic weights, more sensitive to the very first.

    A ranking at random has Qini and AUTOC 0, a backwards one the opposite sign. None is divided by a "perfect" curve: that
    curve is made of outcomes, not of effects. Decisions predicted to be equal are one group, through which ``G`` runs straight.
    ``best_action`` ranks accounts by their highest predicted effect over actions and treats each with that action.
    Intervals rest on influence values, the estimated positions in the ranking included, added up by customer.

    References
    ----------
    Radcliffe (2007), Using control groups to target on predicted lift, Direct Marketing Analytics Journal (Qini).
    Rzepakowski and Jaroszewicz (2012), Decision trees for uplift modeling, Knowl. Inf. Syst. 32; Gutierrez and Gerardy
    (2017), Causal inference and uplift modelling, PMLR 67 (uplift curve, AUUC).
    Yadlowsky, Fleming, Shah, Brunskill and Wager (2025), Evaluating treatment prioritization rules via rank-weighted
    average treatment effects, JASA 120 (TOC, AUTOC, RATE).

    Examples
    --------
    >>> from collectml.uplift import randomised_scores
    >>> scores = randomised_scores(action=[0, 1, 0, 1], outcome=[0.0, 1.0, 0.0, 0.0])
    >>> effects = pd.DataFrame({"1": [0.9, 0.9, 0.1, 0.1]})
    >>> table = uplift_metrics(effects, scores).frame().set_index("metric")
    >>> table.loc[["average_effect", "auuc", "qini"], "value"].tolist()
    [0.5, 0.375, 0.125]
    """
    predicted = contrasts(effects, scores, actions)
    beside = contrasts(baseline, scores, actions) if baseline is not None else [None] * len(predicted)
    clusters = int(scores.customer.max(initial=-1)) + 1
    lines = []
    for ours, other in zip(predicted, beside, strict=True):
        # the best action differs between two models, and with it the scores: each is measured on its own
        mine = _statistics(ours.predicted, ours.score)
        theirs = {} if other is None else _statistics(other.predicted, other.score)
        for metric, statistic in mine.items():
            result = estimate(statistic.value, statistic.influence, scores.customer, clusters, confidence)
            line: dict[str, object] = {"contrast": ours.name, "metric": metric, **result._asdict()}
            line |= {"n": len(ours.score), "clusters": clusters}
            if theirs:
                step = Statistic(statistic.value - theirs[metric].value, statistic.influence - theirs[metric].influence)
                paired = estimate(step.value, step.influence, scores.customer, clusters, confidence)
                line |= {"baseline_value": theirs[metric].value, "difference": paired.value}
                line |= {"difference_low": paired.low, "difference_high": paired.high, "difference_p_value": paired.p_value}
            lines.append(line)
    return UpliftMetrics(pd.DataFrame(lines), confidence)


def rank_weighted_average_effect(
    priority: ArrayLike,
    score: ArrayLike,
    *,
    target: Target = "autoc",
    customer: ArrayLike | None = None,
    interval: Literal["influence", "half_sample"] = "influence",
    replicates: int = 200,
    random_state: int | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Estimate a rank-weighted average treatment effect (RATE) of any priority, from arrays.

    Parameters
    ----------
    priority : array-like, shape (n,)
        Who comes first: a predicted effect, a risk, a rule's points. Not learnt from these outcomes.
    score : array-like, shape (n,)
        Scores of the effect of treating, ``DoublyRobustScores.effects()["call"]`` say.
    target : {"autoc", "qini"}, default "autoc"
        Logarithmic or linear weights, see :func:`uplift_metrics`.
    customer : array-like, shape (n,), optional
        Unit of dependence.
    interval : {"influence", "half_sample"}, default "influence"
        Influence values; or the half-sample bootstrap of the reference, whole customers at a time.
    replicates : int, default 200
        Of the half-sample bootstrap.
    random_state : int, optional
        Of the half-sample bootstrap; 0 where not given.
    confidence : float, default 0.95

    Returns
    -------
    Estimate
        ``value, se, low, high, p_value``.

    References
    ----------
    Yadlowsky, Fleming, Shah, Brunskill and Wager (2025), JASA 120, section 3.

    Examples
    --------
    >>> rank_weighted_average_effect([1, 1, 1, 1], [5.0, 0.0, 1.0, 2.0]).value
    0.0
    """
    s, g = np.asarray(priority, dtype=np.float64), np.asarray(score, dtype=np.float64)
    if s.shape != g.shape or s.ndim != 1 or not len(s):
        raise SchemaError(f"priority and score must be rows of one table, not of shapes {s.shape} and {g.shape}")
    if not (np.isfinite(s).all() and np.isfinite(g).all()):
        raise SchemaError("priority or score is missing or not finite in some rows")
    if target not in ("autoc", "qini"):
        raise ValueError(f"target must be 'autoc' or 'qini', not {target!r}")
    codes, clusters = cluster_codes(customer, len(s))
    statistic = RankedScores(s, g).area(AREAS[target])
    if interval == "influence":
        return estimate(statistic.value, statistic.influence, codes, clusters, confidence)
    if interval != "half_sample":
        raise ValueError(f"interval must be 'influence' or 'half_sample', not {interval!r}")
    rng = np.random.default_rng(0 if random_state is None else random_state)
    half = np.empty(replicates)
    for b in range(replicates):
        kept = np.isin(codes, rng.permutation(clusters)[: clusters // 2])
        half[b] = RankedScores(s[kept], g[kept]).area(AREAS[target]).value
    se = float(np.sqrt(np.mean((half - statistic.value) ** 2)))
    if se == 0:
        return Estimate(statistic.value, 0.0, statistic.value, statistic.value, float(statistic.value == 0))
    reach = float(stats.norm.ppf((1 + confidence) / 2)) * se
    p = 2 * float(stats.norm.sf(abs(statistic.value) / se))
    return Estimate(statistic.value, se, statistic.value - reach, statistic.value + reach, p)


def _statistics(priority: Floats, score: Floats) -> dict[str, Statistic]:
    ranked = RankedScores(priority, score)
    areas = {name: ranked.area(AREAS[name]) for name in METRICS[1:]}
    return {"average_effect": ranked.gain(1.0), **areas}
