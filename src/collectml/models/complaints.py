"""Complaints: the probability that an action provokes one; rare, so what is learnt is shrunk twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self, cast

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq, minimize_scalar
from scipy.special import expit, gammaln, logit

from collectml.errors import ConfigurationError
from collectml.models._base import BoosterModel, Floats, binary, check_rows, row_index
from collectml.models._calibration import calibration_line
from collectml.models._cross_fit import cross_fit_margin
from collectml.models._lightgbm import thread_count
from collectml.models._one_walk import predict_rows

__all__ = ["ComplaintModel"]

# with fewer complaints nothing is learnt about accounts, only about actions
_FEWEST_COMPLAINTS = 20
# an action's own evidence is weighed against at least one and at most 10,000 expected complaints of the pool
_PRIOR_RANGE = (1.0, 1e4)


class ComplaintModel(BoosterModel):
    """P(complaint | account, action): how prone the account is, times how provoking the action is, in log-odds.

    Proneness comes from one strongly regularised booster shared by all actions, with the actions' rates as its
    offset, so that an action given to difficult accounts is not blamed for them. The action's part is empirical
    Bayes: observed over expected complaints, pulled towards the pool of its kind (the control, or all contacts) by
    a weight that the spread between actions itself suggests.

    Parameters
    ----------
    n_estimators, learning_rate, num_leaves, min_child_samples, early_stopping_rounds, folds, random_state, n_jobs
        As in :class:`PropensityToPayModel`, by default much more cautious.
    **params
        Any further LightGBM parameter.

    Attributes
    ----------
    actions_ : list of str
        Actions seen, the control first, the others sorted: the columns of the predictions.
    evidence_ : DataFrame
        By action: decisions, complaints, ``expected`` complaints had it been an average action, ``ratio`` used.
    prior_complaints_ : float
        Expected complaints the pool counts for against an action's own record.
    booster_ : lightgbm.Booster or None
        None with fewer than 20 complaints: the rates then depend on the action alone.

    References
    ----------
    DuMouchel (1999), Bayesian data mining in large frequency tables: gamma-Poisson shrinkage of observed/expected.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"days_past_due": rng.integers(1, 90, 4000)})
    >>> action = rng.choice(["no_action", "firm_call"], 4000)
    >>> complained = rng.random(4000) < np.where(action == "firm_call", 0.03, 0.003)
    >>> model = ComplaintModel(random_state=0).fit(X, complained, action=action, control="no_action")
    >>> p = model.predict(X)
    >>> list(p.columns), bool((p["firm_call"] > p["no_action"]).all())
    (['no_action', 'firm_call'], True)
    """

    kind: ClassVar[str] = "complaints"

    def __init__(
        self,
        *,
        n_estimators: int = 300,
        learning_rate: float = 0.03,
        num_leaves: int = 4,
        min_child_samples: int = 200,
        early_stopping_rounds: int | None = 30,
        folds: int = 5,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        **params: object,
    ) -> None:
        super().__init__(
            n_estimators=n_estimators,
            learning_rate=learning_rate,
            num_leaves=num_leaves,
            min_child_samples=min_child_samples,
            early_stopping_rounds=early_stopping_rounds,
            folds=folds,
            random_state=random_state,
            n_jobs=n_jobs,
            **params,
        )

    def fit(
        self,
        X: pd.DataFrame | ArrayLike,
        complained: ArrayLike,
        *,
        action: ArrayLike,
        control: str | None = None,
        customer: ArrayLike | None = None,
    ) -> Self:
        """Learn which accounts complain, and of what.

        Parameters
        ----------
        X : DataFrame or array-like, shape (n, p)
            Account features as of the decision.
        complained : array-like of 0 and 1, shape (n,)
        action : array-like of str, shape (n,)
            The action assigned.
        control : str, optional
            The action that contacts nobody; its rate says nothing about the others' and theirs nothing about it.
        customer : array-like, shape (n,), optional
            Rows of one customer share a fold.

        Returns
        -------
        self
        """
        encoded = self._encode_fit(X)
        rows = check_rows(encoded, complained=complained, action=action, customer=customer)
        y = binary(rows["complained"], "complained")
        labels = rows["action"].astype(str)
        seen = sorted(set(labels.tolist()))
        if control is not None and control not in seen:
            raise ConfigurationError(f"control {control!r} is not among the actions: {', '.join(seen)}.")
        self.actions_ = sorted(seen, key=lambda name: (name != control, name))
        code = pd.Index(self.actions_).get_indexer(pd.Index(labels))
        kind = np.array([0 if name == control else 1 for name in self.actions_])
        flat = np.full(len(y), (float(y.sum()) + 0.5) / (len(y) + 1.0))
        ratio, _ = _shrunk_ratios(code, y, flat, kind)
        proneness = self._fit_proneness(encoded, y, logit(np.minimum(flat * ratio[code], 0.5)), rows.get("customer"))
        average = expit(_intercept(proneness, float(flat.sum())) + proneness)
        ratio, self.prior_complaints_ = _shrunk_ratios(code, y, average, kind)
        decisions = np.bincount(code, minlength=len(seen))
        expected = np.bincount(code, weights=average, minlength=len(seen))
        self.intercepts_ = np.array(
            [_intercept(proneness[code == a], min(expected[a] * ratio[a], 0.5 * decisions[a])) for a in range(len(seen))]
        )
        observed = np.bincount(code, weights=y, minlength=len(seen)).astype(np.int64)
        self.evidence_ = pd.DataFrame(
            {"decisions": decisions, "complaints": observed, "expected": expected, "ratio": ratio},
            index=pd.Index(self.actions_, name="action"),
        )
        return self

    def predict(self, X: pd.DataFrame | ArrayLike) -> pd.DataFrame:
        """Predict the probability of a complaint under every action.

        Parameters
        ----------
        X : DataFrame or array-like, shape (n, p)

        Returns
        -------
        DataFrame, shape (n, actions)
            Index of X, columns ``actions_``; strictly between 0 and 1.
        """
        encoded = self._encode(X)
        return pd.DataFrame(self.predict_encoded(encoded), index=row_index(X, len(encoded)), columns=self.actions_)

    def predict_encoded(self, encoded: Floats) -> Floats:
        """Predict as :meth:`predict` does, for features already encoded.

        Parameters
        ----------
        encoded : ndarray, shape (n, p)

        Returns
        -------
        ndarray, shape (n, actions)
        """
        proneness = np.zeros(len(encoded))
        if self.booster_ is not None:
            proneness = self.spread_ * predict_rows(self.booster_, encoded, raw=True, threads=thread_count(self.n_jobs))
        return np.asarray(expit(proneness[:, None] + self.intercepts_[None, :]), dtype=np.float64)

    def _fit_proneness(self, encoded: Floats, y: Floats, offset: Floats, customer: NDArray[np.generic] | None) -> Floats:
        """Return the out-of-fold log-odds an account adds to its action's; 0 where there is too little to learn."""
        self.booster_: lgb.Booster | None = None
        self.spread_ = 0.0
        rarer = int(min(y.sum(), len(y) - y.sum()))
        plan = self._plan(objective="binary", defaults={"lambda_l2": 10.0, "min_sum_hessian_in_leaf": 1.0})
        if rarer < _FEWEST_COMPLAINTS:
            return np.zeros(len(y))
        folds = self._folds(y, customer, at_most=rarer)
        fit = cross_fit_margin(encoded, y, folds, plan, offset=offset)
        # a slope below 1 says that the booster claims more spread between accounts than held-out rows confirm
        slope = calibration_line(fit.margin - offset, y)[1]
        self.booster_, self.spread_ = fit.booster, float(np.clip(slope, 0.0, 1.0))
        return self.spread_ * (fit.margin - offset)

    def _state(self) -> tuple[dict[str, object], dict[str, lgb.Booster]]:
        state: dict[str, object] = {
            "actions": self.actions_,
            "intercepts": self.intercepts_,
            "spread": self.spread_,
            "prior_complaints": self.prior_complaints_,
            "evidence": {name: self.evidence_[name].to_numpy() for name in self.evidence_.columns},
        }
        return state, {} if self.booster_ is None else {"proneness": self.booster_}

    def _restore(self, state: Mapping[str, object], boosters: Mapping[str, lgb.Booster]) -> None:
        self.actions_ = list(cast("list[str]", state["actions"]))
        self.intercepts_ = np.asarray(state["intercepts"], dtype=np.float64)
        self.spread_ = float(cast("float", state["spread"]))
        self.prior_complaints_ = float(cast("float", state["prior_complaints"]))
        evidence = cast("Mapping[str, list[float]]", state["evidence"])
        self.evidence_ = pd.DataFrame(dict(evidence), index=pd.Index(self.actions_, name="action"))
        self.booster_ = boosters.get("proneness")


def _intercept(proneness: Floats, total: float) -> float:
    """Solve for the constant at which the probabilities add up to ``total``."""
    low, high = float(proneness.min()), float(proneness.max())
    centre = float(logit(total / len(proneness)))
    if low == high:
        return centre - low
    return float(brentq(lambda c: float(expit(c + proneness).sum()) - total, centre - high - 1e-9, centre - low + 1e-9))


def _shrunk_ratios(
    code: NDArray[np.intp], y: Floats, expected_rows: Floats, kind: NDArray[np.int64]
) -> tuple[Floats, float]:
    """Return observed over expected by action, shrunk towards its kind, and the prior's weight in complaints."""
    observed = np.bincount(code, weights=y, minlength=len(kind))
    expected = np.bincount(code, weights=expected_rows, minlength=len(kind))
    pool = np.ones(len(kind))
    for one in np.unique(kind):
        of = kind == one
        pool[of] = (observed[of].sum() + 1.0) / (expected[of].sum() + 1.0)
    centred = expected * pool

    def minus_log_likelihood(log_weight: float) -> float:
        k = np.exp(log_weight)
        terms = gammaln(observed + k) - gammaln(k) + k * np.log(k) + observed * np.log(centred)
        return -float((terms - (observed + k) * np.log(centred + k)).sum())

    low, high = np.log(_PRIOR_RANGE)
    k = float(np.exp(minimize_scalar(minus_log_likelihood, bounds=(low, high), method="bounded").x))
    return pool * (observed + k) / (centred + k), k
