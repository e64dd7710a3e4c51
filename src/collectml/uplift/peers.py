"""Other libraries' uplift numbers on the same data, so that figures reported elsewhere can be read beside ours.

Each function gives what the named library's function gives, in its own unit and with its own normalisation; the golden numbers
of the tests were made by the libraries themselves (``experiments/peer_metrics.py``). Their scales differ: on one and the same
ranking "the Qini" can be 0.07, 0.30 or 0.014. Nothing here has an interval, knows known propensities that differ between
rows, or more than one action; :func:`collectml.uplift.uplift_metrics` does.

Where a library's number depends on the order of rows, ours does not, and differs from it:

- causalml breaks ties by the order of rows: a constant score on rows sorted by outcome has a "Qini" far above that of the true
  effects. Here the curve runs straight through a tie, so that a constant score has 0. Without ties the numbers are equal.
- causalml divides by the absolute average effect, so that a normalised score grows beyond any bound where that is near zero.
- scikit-uplift's ``uplift_at_k`` cuts through ties by the order of rows; here a tie at the cut-off counts in part.
- scikit-uplift reads the mean of an arm without rows as zero; with few rows at the top this bends its curves. It is kept.
- EconML's p-value takes the absolute value of the coefficient, so that a significantly backwards model looks significant; the
  one given here is that of a coefficient above zero. Its integral covers 5 to 95 % of the decisions only; that is kept.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from collectml.errors import SchemaError

__all__ = [
    "EconMLCoefficient",
    "causalml_auuc_score",
    "causalml_qini_score",
    "econml_uplift_coefficient",
    "sklift_qini_auc_score",
    "sklift_uplift_at_k",
    "sklift_uplift_auc_score",
    "ydf_auuc",
    "ydf_qini",
]

Floats = NDArray[np.float64]


class _Cumulated(NamedTuple):
    """Rows and outcomes of both arms down to the end of each group of equal predictions, highest first; zero on top."""

    rows: Floats
    treated: Floats
    control: Floats
    treated_sum: Floats
    control_sum: Floats


class EconMLCoefficient(NamedTuple):
    """EconML's uplift coefficient, its standard error, and the one-sided p-value of a coefficient above zero."""

    coefficient: float
    se: float
    p_value: float


def sklift_qini_auc_score(
    outcome: ArrayLike, effect: ArrayLike, treated: ArrayLike, *, negative_effect: bool = True
) -> float:
    """Reproduce scikit-uplift's ``qini_auc_score`` (0.5.1).

    Parameters
    ----------
    outcome : array-like of 0 and 1, shape (n,)
    effect : array-like, shape (n,)
        Predicted effect.
    treated : array-like of 0 and 1, shape (n,)
    negative_effect : bool, default True
        Whether the perfect curve, by which the area is divided, may fall.

    Returns
    -------
    float
        Area of Radcliffe's curve above its chord over the same of the perfect curve.

    References
    ----------
    Radcliffe (2007); Devriendt, Guns and Verbeke (2020), Learning to rank for uplift modeling.
    """
    y, s, t = _binary(outcome, effect, treated)
    actual, end = _area(_radcliffe(_cumulate(y, s, t)))
    if negative_effect:
        perfect, _ = _area(_radcliffe(_cumulate(y, y * t - y * (1 - t), t)))
    else:
        perfect = len(y) * end - end * end / 2
    chord = len(y) * end / 2
    return (actual - chord) / (perfect - chord)


def sklift_uplift_auc_score(outcome: ArrayLike, effect: ArrayLike, treated: ArrayLike) -> float:
    """Reproduce scikit-uplift's ``uplift_auc_score`` (0.5.1).

    Parameters
    ----------
    outcome, effect, treated
        As in :func:`sklift_qini_auc_score`.

    Returns
    -------
    float
        Area of the uplift curve (difference of arm means at the top, times rows) above its chord over that of the perfect one.
    """
    y, s, t = _binary(outcome, effect, treated)
    more_losers = float(np.sum((y == 1) & (t == 0))) > float(np.sum((y == 0) & (t == 1)))
    best = 2.0 * (y == t) + (y if more_losers else t)
    actual, end = _area(_uplift_of_rows(_cumulate(y, s, t)))
    perfect, _ = _area(_uplift_of_rows(_cumulate(y, best, t)))
    chord = len(y) * end / 2
    return (actual - chord) / (perfect - chord)


def sklift_uplift_at_k(
    outcome: ArrayLike,
    effect: ArrayLike,
    treated: ArrayLike,
    *,
    k: float = 0.3,
    strategy: Literal["overall", "by_group"] = "overall",
) -> float:
    """Reproduce scikit-uplift's ``uplift_at_k`` (0.5.1); a tie at the cut-off counts in part.

    Parameters
    ----------
    outcome, effect, treated
        As in :func:`sklift_qini_auc_score`; any outcome.
    k : float, default 0.3
        Share of the rows, in (0, 1).
    strategy : {"overall", "by_group"}
        Top share of all rows, or of each arm's.

    Returns
    -------
    float
        Difference between the arms' mean outcomes at the top.
    """
    y, s, t = _rows(outcome, effect, treated)
    if not 0 < k < 1:
        raise ValueError(f"k must be a share between 0 and 1, not {k}")
    if strategy not in ("overall", "by_group"):
        raise ValueError(f"strategy must be 'overall' or 'by_group', not {strategy!r}")
    means = []
    for arm in (1, 0):
        inside = t == arm
        weight = _top(s, int(len(y) * k))[inside] if strategy == "overall" else _top(s[inside], int(inside.sum() * k))
        means.append(float(np.sum(weight * y[inside])) / float(weight.sum()) if weight.sum() > 0 else np.nan)
    return means[0] - means[1]


def causalml_qini_score(outcome: ArrayLike, effect: ArrayLike, treated: ArrayLike, *, normalize: bool = True) -> float:
    """Reproduce causalml's ``qini_score`` (0.17.0) where predictions differ; 0 for a constant prediction.

    Parameters
    ----------
    outcome, effect, treated
        As in :func:`sklift_qini_auc_score`; any outcome.
    normalize : bool, default True
        Divide the curve by the absolute value at its end.

    Returns
    -------
    float
        Mean distance of Radcliffe's curve, row by row, from its chord.
    """
    c = _cumulate(*_rows(outcome, effect, treated))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = c.treated_sum - c.control_sum * c.treated / c.control
    value[0] = 0.0
    curve = _every_row(c.rows, _without_gaps(c.rows, value))
    if normalize:
        curve = curve / abs(curve[-1])
    return float(np.mean(curve - np.linspace(0.0, curve[-1], len(curve))))


def causalml_auuc_score(outcome: ArrayLike, effect: ArrayLike, treated: ArrayLike, *, normalize: bool = True) -> float:
    """Reproduce causalml's ``auuc_score`` (0.17.0) where predictions differ.

    Parameters
    ----------
    outcome, effect, treated, normalize
        As in :func:`causalml_qini_score`.

    Returns
    -------
    float
        Mean height of the uplift curve, row by row; a ranking at random has about half its end, 0.5 where normalised (and
        the average effect is positive).
    """
    c = _cumulate(*_rows(outcome, effect, treated))
    with np.errstate(divide="ignore", invalid="ignore"):
        lift = c.treated_sum / c.treated - c.control_sum / c.control
    lift[0] = 0.0
    curve = _every_row(c.rows, _without_gaps(c.rows, lift) * c.rows)
    if normalize:
        curve = curve / abs(curve[-1])
    return float(np.mean(curve))


def econml_uplift_coefficient(
    score: ArrayLike,
    effect: ArrayLike,
    *,
    effect_train: ArrayLike | None = None,
    metric: Literal["qini", "toc"] = "qini",
    percentiles: ArrayLike | None = None,
) -> EconMLCoefficient:
    """Reproduce the coefficient and standard error of EconML's ``DRTester.evaluate_uplift`` (0.17.0).

    Parameters
    ----------
    score : array-like, shape (n,)
        Doubly robust scores of the effect.
    effect : array-like, shape (n,)
        Predicted effect.
    effect_train : array-like, optional
        Predictions of the training rows, whose quantiles are the cut-offs; those of `effect` where not given.
    metric : {"qini", "toc"}
    percentiles : array-like, optional
        50 from 5 to 95 where not given.

    Returns
    -------
    EconMLCoefficient
        Missing where no row lies above a cut-off. Same ordering rule as EconML: rows at a cut-off are above it.
    """
    g, s = np.asarray(score, dtype=np.float64), np.asarray(effect, dtype=np.float64)
    if g.shape != s.shape or g.ndim != 1:
        raise SchemaError(f"score and effect must be rows of one table, not of shapes {g.shape} and {s.shape}")
    if metric not in ("qini", "toc"):
        raise ValueError(f"metric must be 'qini' or 'toc', not {metric!r}")
    points = np.linspace(5, 95, 50) if percentiles is None else np.asarray(percentiles, dtype=np.float64)
    cuts = np.percentile(s if effect_train is None else np.asarray(effect_train, dtype=np.float64), points)
    width = np.diff(points) / 100
    ate = float(g.mean())
    coefficient, influence = 0.0, np.zeros(len(g))
    for cut, step in zip(cuts[:-1], width, strict=True):
        above = s >= cut
        share = float(above.mean())
        if share == 0:
            return EconMLCoefficient(np.nan, np.nan, np.nan)
        scale = share if metric == "qini" else 1.0
        value = scale * (float(g[above].mean()) - ate)
        coefficient += step * value
        influence += step * ((g - ate) * (above / share - 1) * scale - value)
    se = float(np.sqrt(np.mean(influence**2) / len(g)))
    p = float(stats.norm.sf(coefficient / se)) if se > 0 else 0.5
    return EconMLCoefficient(float(coefficient), se, p)


def ydf_auuc(outcome: ArrayLike, effect: ArrayLike, treated: ArrayLike) -> float:
    """Reproduce the AUUC of Yggdrasil Decision Forests.

    Parameters
    ----------
    outcome, effect, treated
        As in :func:`sklift_qini_auc_score`; any outcome.

    Returns
    -------
    float
        Area under the curve of each arm's cumulated outcome over the arm's size. It is our ``auuc`` with zero predictions and
        arm shares as propensities.

    References
    ----------
    Guelman (2015), Optimal personalized treatment learning models with insurance applications, section 7.2.

    Examples
    --------
    >>> ydf_auuc([1, 0, 0, 1], [0.8, 0.5, 0.9, 0.4], [0, 0, 1, 1])
    -0.25
    """
    return _ydf(outcome, effect, treated)[0]


def ydf_qini(outcome: ArrayLike, effect: ArrayLike, treated: ArrayLike) -> float:
    """Reproduce the Qini of Yggdrasil Decision Forests: its AUUC less half the curve's end.

    Parameters
    ----------
    outcome, effect, treated
        As in :func:`ydf_auuc`.

    Returns
    -------
    float

    Examples
    --------
    >>> round(ydf_qini([0, 1, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [0, 0, 0, 1, 1, 1]), 7)
    0.3055556
    """
    area, end = _ydf(outcome, effect, treated)
    return area - end / 2


def _ydf(outcome: ArrayLike, effect: ArrayLike, treated: ArrayLike) -> tuple[float, float]:
    c = _cumulate(*_rows(outcome, effect, treated))
    curve = c.treated_sum / c.treated[-1] - c.control_sum / c.control[-1]
    return float(np.trapezoid(curve, c.rows / c.rows[-1])), float(curve[-1])


def _rows(outcome: ArrayLike, effect: ArrayLike, treated: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Return outcome, predicted effect and treatment as arrays of one length, both arms present."""
    y, s, t = (np.asarray(v, dtype=np.float64) for v in (outcome, effect, treated))
    if not y.shape == s.shape == t.shape or y.ndim != 1:
        raise SchemaError(
            f"outcome, effect and treated must be rows of one table, not of shapes {y.shape}, {s.shape}, {t.shape}"
        )
    if not (np.isfinite(y).all() and np.isfinite(s).all()):
        raise SchemaError("outcomes or predicted effects are missing or not finite in some rows")
    if not np.array_equal(np.unique(t), (0.0, 1.0)):
        raise SchemaError("treated must hold 0 and 1, both of them")
    return y, s, t


def _binary(outcome: ArrayLike, effect: ArrayLike, treated: ArrayLike) -> tuple[Floats, Floats, Floats]:
    y, s, t = _rows(outcome, effect, treated)
    if not np.isin(y, (0.0, 1.0)).all():
        raise SchemaError("scikit-uplift's perfect curve exists for outcomes 0 and 1 only; uplift_metrics takes any")
    return y, s, t


def _cumulate(y: Floats, s: Floats, t: Floats) -> _Cumulated:
    _, group = np.unique(-s, return_inverse=True)
    parts = [np.r_[0.0, np.cumsum(np.bincount(group, weights=w))] for w in (np.ones_like(t), t, 1 - t, y * t, y * (1 - t))]
    return _Cumulated(*parts)


def _radcliffe(c: _Cumulated) -> tuple[Floats, Floats]:
    """Return rows and scikit-uplift's Qini curve; without control rows the treated alone count."""
    ratio = np.divide(c.treated, c.control, out=np.zeros_like(c.treated), where=c.control > 0)
    return c.rows, c.treated_sum - c.control_sum * ratio


def _uplift_of_rows(c: _Cumulated) -> tuple[Floats, Floats]:
    """Return rows and scikit-uplift's uplift curve; an absent arm's mean is zero."""
    means = [
        np.divide(total, count, out=np.zeros_like(total), where=count > 0)
        for total, count in ((c.treated_sum, c.treated), (c.control_sum, c.control))
    ]
    return c.rows, (means[0] - means[1]) * c.rows


def _area(curve: tuple[Floats, Floats]) -> tuple[float, float]:
    """Return the area under a curve, and its end."""
    rows, value = curve
    return float(np.trapezoid(value, rows)), float(value[-1])


def _without_gaps(rows: Floats, value: Floats) -> Floats:
    """Fill what an absent arm left missing, on a straight line between its neighbours."""
    known = np.isfinite(value)
    return np.interp(rows, rows[known], value[known])


def _every_row(rows: Floats, value: Floats) -> Floats:
    return np.interp(np.arange(rows[-1] + 1), rows, value)


def _top(s: Floats, size: int) -> Floats:
    """Weigh the `size` highest rows with one; those tied at the cut-off share what is left."""
    _, group, count = np.unique(-s, return_inverse=True, return_counts=True)
    begin = np.cumsum(count) - count
    return np.clip((size - begin) / count, 0.0, 1.0)[group]
