"""Doubly robust scores: for each decision and action one noisy, unbiased number for what the action would have brought.

The average of an action's scores over any set of decisions chosen without looking at outcomes estimates what that action would
have recovered there. Metrics, group effects, tests of heterogeneity and policy learners all rest on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from collectml.errors import ConfigurationError, SchemaError

from ._clustered import cluster_codes, estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DoublyRobustScores", "doubly_robust_scores", "randomised_scores", "score_arrays"]

Floats = NDArray[np.float64]


def score_arrays(predicted: Floats, logged: NDArray[np.intp], outcome: Floats, propensity: Floats) -> Floats:
    """Compute doubly robust scores from arrays; nothing is checked or clipped.

    Parameters
    ----------
    predicted : ndarray, shape (n, A)
        Outcome predicted under every action, by a model that has not seen the row.
    logged : ndarray of int, shape (n,)
        Position of the logged action.
    outcome : ndarray, shape (n,)
    propensity : ndarray, shape (n,)
        Probability with which the logged action was chosen.

    Returns
    -------
    ndarray, shape (n, A)
        ``predicted + 1[a = logged] (outcome - predicted) / propensity``.

    Examples
    --------
    >>> score_arrays(np.array([[1.0, 2.0]]), np.array([1]), np.array([3.0]), np.array([0.5]))
    array([[1., 4.]])
    """
    scores = np.array(predicted, dtype=np.float64)
    rows = np.arange(len(scores))
    scores[rows, logged] += (outcome - scores[rows, logged]) / propensity
    return scores


@dataclass(frozen=True)
class DoublyRobustScores:
    """Scores of every action for every decision, and what they rest on.

    Attributes
    ----------
    scores : DataFrame, decisions x actions
        What :meth:`frame` returns.
    support : DataFrame, one row per action
        ``rows`` logged; ``ess``: effective sample size of the weights 1/p; ``max_weight``; ``covered``: sum of the
        weights over the number of decisions (1 but for chance where the propensities are right and the action always had
        a chance); ``little_support_rows``: rows logged with a probability below ``little_support``;
        ``little_support_weight``: their share of the action's weight; ``no_chance_rows``: decisions in which another
        action was certain, where the score is the prediction alone; ``unpredicted_rows``: missing predictions.
    control : str
        Action that effects are measured against.
    customer : ndarray of int, shape (n,)
        Customer code of each decision.
    little_support : float
    """

    scores: pd.DataFrame
    support: pd.DataFrame
    control: str
    customer: NDArray[np.intp]
    little_support: float

    @property
    def actions(self) -> tuple[str, ...]:
        """Names of the actions other than the control."""
        return tuple(c for c in self.scores.columns if c != self.control)

    def frame(self) -> pd.DataFrame:
        """Return the scores, decisions x actions, in the outcome's unit."""
        return self.scores.copy()

    def effects(self) -> pd.DataFrame:
        """Return scores of effects: each action's less the control's, decisions x other actions."""
        return self.scores[list(self.actions)].sub(self.scores[self.control], axis="index")

    def policy(self, probabilities: pd.DataFrame) -> pd.Series:
        """Return each decision's score under a policy.

        Parameters
        ----------
        probabilities : DataFrame, decisions x actions
            Indexed like the scores; an action without a column has probability zero.

        Returns
        -------
        Series, length n
            Its mean estimates the policy's value per decision.
        """
        strangers = sorted(set(probabilities.columns) - set(self.scores.columns))
        if strangers:
            raise ValueError(f"actions without scores: {strangers}")
        if not probabilities.index.equals(self.scores.index):
            raise ValueError("the policy must be indexed like the scores")
        weight = probabilities.reindex(columns=self.scores.columns, fill_value=0.0).to_numpy(dtype=np.float64)
        # an action that is not used may be without a score
        used = np.where(weight == 0, 0.0, self.scores.to_numpy())
        return pd.Series((weight * used).sum(axis=1), index=self.scores.index, name="score")

    def means(self, confidence: float = 0.95) -> pd.DataFrame:
        """Return what every action would bring per decision if all got it.

        Parameters
        ----------
        confidence : float, default 0.95

        Returns
        -------
        DataFrame, one row per action
            ``action``, ``mean``, ``low``, ``high``, ``se`` (clustered by customer).
        """
        n_clusters = int(self.customer.max(initial=-1)) + 1
        rows = []
        for name, column in self.scores.items():
            values = column.to_numpy()
            result = estimate(values.mean(), values - values.mean(), self.customer, n_clusters, confidence)
            rows.append({"action": name, "mean": result.value, "low": result.low, "high": result.high, "se": result.se})
        return pd.DataFrame(rows)

    def plot(self, confidence: float = 0.95) -> Figure:
        """Draw :meth:`means`.

        Parameters
        ----------
        confidence : float, default 0.95

        Returns
        -------
        matplotlib.figure.Figure
        """
        from ._charts import interval_chart

        rows = self.means(confidence)
        return interval_chart(
            rows["action"].tolist(),
            rows["mean"],
            rows["low"],
            rows["high"],
            f"mean score per decision ({confidence:.0%} interval)",
        )


def doubly_robust_scores(
    predicted: pd.DataFrame,
    *,
    action: ArrayLike,
    outcome: ArrayLike,
    logging_propensity: ArrayLike,
    customer: ArrayLike | None = None,
    control: str | None = None,
    little_support: float = 0.02,
) -> DoublyRobustScores:
    """Score every action for every logged decision.

    Parameters
    ----------
    predicted : DataFrame, decisions x actions
        Outcomes predicted by a model that has not seen the row: ``UpliftModel.oof_outcomes_``, or predictions for
        decisions of other customers. All zeros give inverse propensity scores.
    action : array-like of str, shape (n,)
        Logged action.
    outcome : array-like, shape (n,)
    logging_propensity : array-like, shape (n,)
        Probability with which the logged action was chosen. Used as given: never estimated, floored or clipped.
    customer : array-like, shape (n,), optional
        Unit of dependence; each row its own where not given.
    control : str, optional
        ``"no_action"`` where there is such a column, else the first.
    little_support : float, default 0.02
        Below this logging probability a row is counted as having little support.

    Returns
    -------
    DoublyRobustScores

    Raises
    ------
    SchemaError
        All that is wrong with the rows, at once.
    ConfigurationError
        Where the control has no column.

    References
    ----------
    Robins, Rotnitzky and Zhao (1994), Estimation of regression coefficients when some regressors are not always
    observed, JASA 89; Chernozhukov et al. (2018), Double/debiased machine learning, Econometrics Journal 21
    (cross-fitting).

    Examples
    --------
    >>> predicted = pd.DataFrame({"no_action": [1.0, 1.0], "call": [2.0, 2.0]})
    >>> scores = doubly_robust_scores(predicted, action=["call", "no_action"], outcome=[3, 1], logging_propensity=[0.5, 0.5])
    >>> scores.frame()
       no_action  call
    0        1.0   4.0
    1        1.0   2.0
    """
    columns = [str(c) for c in predicted.columns]
    n = len(predicted)
    faults = [f"action {c!r} has two columns" for c in sorted({c for c in columns if columns.count(c) > 1})]
    given = {"action": action, "outcome": outcome, "logging_propensity": logging_propensity}
    rows = {name: np.asarray(values) for name, values in given.items()}
    faults += [
        f"{k} must have one entry for each of the {n:,} rows, not shape {v.shape}"
        for k, v in rows.items()
        if v.shape != (n,)
    ]
    if faults:
        raise SchemaError("; ".join(faults))
    logged = pd.Index(columns).get_indexer(pd.Index(rows["action"].astype(str)))
    y, p = rows["outcome"].astype(np.float64), rows["logging_propensity"].astype(np.float64)
    q = predicted.to_numpy(dtype=np.float64, na_value=np.nan)
    bad = {
        "rows have an action without predictions": logged < 0,
        "outcomes are missing or not finite": ~np.isfinite(y),
        "logging propensities are missing or outside (0, 1]": ~((p > 0) & (p <= 1)),
        "predictions are infinite": np.isinf(q),
    }
    faults = [f"{int(where.sum()):,} {text}" for text, where in bad.items() if where.any()]
    if faults:
        raise SchemaError("; ".join(faults))
    chosen = control or ("no_action" if "no_action" in columns else columns[0])
    if chosen not in columns:
        raise ConfigurationError(f"the control {chosen!r} has no predictions; there are {columns}")
    frame = pd.DataFrame(score_arrays(q, logged, y, p), index=predicted.index, columns=columns)
    support = _support(columns, logged, p, np.isnan(q).sum(axis=0), little_support)
    return DoublyRobustScores(frame, support, chosen, cluster_codes(customer, n)[0], little_support)


def randomised_scores(
    *,
    action: ArrayLike,
    outcome: ArrayLike,
    customer: ArrayLike | None = None,
    control: str | None = None,
    actions: Sequence[str] | None = None,
) -> DoublyRobustScores:
    """Score a plain experiment, in which everybody had the same chances: arm means as predictions, arm shares as propensities.

    Parameters
    ----------
    action : array-like, shape (n,)
        Arm drawn; 0 and 1 will do.
    outcome : array-like, shape (n,)
    customer, control
        As in :func:`doubly_robust_scores`.
    actions : sequence of str, optional
        Order of the columns; sorted by name where not given.

    Returns
    -------
    DoublyRobustScores
        Its mean effects are the differences between arm means.

    Notes
    -----
    The shares are estimated, which needs no correction: at arm means the scores do not react to them (Neyman orthogonality).

    Examples
    --------
    >>> scores = randomised_scores(action=[0, 0, 1, 1], outcome=[1.0, 0.0, 0.0, 1.0])
    >>> scores.effects()["1"].tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """
    names, y = np.asarray(action).astype(str), np.asarray(outcome, dtype=np.float64)
    order = list(actions) if actions is not None else sorted(set(names.tolist()))
    if names.shape != y.shape or y.ndim != 1:
        raise SchemaError(f"action and outcome must be rows of one table, not of shapes {names.shape} and {y.shape}")
    codes = pd.Index(order).get_indexer(pd.Index(names))
    counts = np.bincount(codes[codes >= 0], minlength=len(order))
    if (codes < 0).any() or (counts == 0).any() or len(order) < 2:
        found = dict(zip(order, counts.tolist(), strict=True))
        raise SchemaError(f"every action must have rows and every row an action; rows by action: {found}")
    means = np.bincount(codes, weights=y, minlength=len(order)) / counts
    predicted = pd.DataFrame(np.tile(means, (len(y), 1)), columns=order)
    return doubly_robust_scores(
        predicted, action=names, outcome=y, logging_propensity=counts[codes] / len(y), customer=customer, control=control
    )


def _support(
    columns: list[str], logged: NDArray[np.intp], p: Floats, unpredicted: NDArray[np.intp], little_support: float
) -> pd.DataFrame:
    """Say by action what its scores rest on."""
    n, size = len(p), len(columns)
    weight = 1 / p
    count = np.bincount(logged, minlength=size)
    total = np.bincount(logged, weights=weight, minlength=size)
    squares = np.bincount(logged, weights=weight**2, minlength=size)
    largest = np.zeros(size)
    np.maximum.at(largest, logged, weight)
    little = p < little_support
    certain = p >= 1 - 1e-12
    with np.errstate(divide="ignore", invalid="ignore"):
        table = {
            "rows": count,
            "ess": np.where(count > 0, total**2 / squares, 0.0),
            "max_weight": largest,
            "covered": total / max(n, 1),
            "little_support_rows": np.bincount(logged[little], minlength=size),
            "little_support_weight": np.where(
                count > 0, np.bincount(logged[little], weights=weight[little], minlength=size) / total, 0.0
            ),
            "no_chance_rows": int(certain.sum()) - np.bincount(logged[certain], minlength=size),
            "unpredicted_rows": unpredicted,
        }
    return pd.DataFrame(table, index=pd.Index(columns, name="action"))
