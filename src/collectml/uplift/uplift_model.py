"""The uplift model: what an account is expected to pay under every action, and what each action changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, cast

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm
from threadpoolctl import threadpool_limits

from collectml.errors import ConfigurationError, SchemaError
from collectml.models._base import BoosterModel, check_rows, row_index
from collectml.models._lightgbm import seed_from, thread_count

from .cross_fit import decision_folds
from .decisions import Decisions
from .ensemble import EnsembleLearner
from .hurdle import HurdleLearner
from .learner import Learner
from .learners import SLearner, TLearner
from .pseudo_outcomes import DRLearner, XLearner

__all__ = ["UpliftModel"]

Floats = NDArray[np.float64]
_LEARNERS: dict[str, type[Learner]] = {
    "hurdle": HurdleLearner,
    "s": SLearner,
    "t": TLearner,
    "x": XLearner,
    "dr": DRLearner,
    "ensemble": EnsembleLearner,
}
_OF_MONEY = ("hurdle", "ensemble")


class UpliftModel(BoosterModel):
    """Expected outcome of every account under every action.

    Parameters
    ----------
    learner : {"hurdle", "s", "t", "x", "dr", "ensemble"}, default "hurdle"
        ``"hurdle"``: P(pay | x, action) times E[amount | pay, x, action], strength shared across actions. ``"s"``: boosters
        with the action as a feature, in the same two parts for money some do not pay. ``"t"``: one booster for each action.
        ``"x"``: effects from imputed outcomes. ``"dr"``: effects from doubly robust scores. ``"ensemble"``: hurdle, s, dr and
        mean effects, weighted by a cross-fitted doubly robust loss, and taught to shared-action boosters.
    ordered_offers : sequence of sequence of str, optional
        Actions that differ only in how much they offer, from the smallest to the largest (settlement discounts, say): the chance
        of payment never falls along them. For the hurdle.
    control : str, optional
        Action that effects are measured against; ``"no_action"`` where the log has it, else the first in order.
    n_estimators : int, default 600
        At most so many trees where early stopping inside the folds chooses ("s" on money has a fixed number, at most 100).
    folds : int, default 5
        Folds of cross-fitting; a customer is never in two of them.
    random_state : int, RandomState or None
        Seed.
    n_jobs : int or None
        Threads: None means 2, -1 all. Same data, seed and threads give the same bits.
    **params
        Further LightGBM parameters for every booster.

    Attributes
    ----------
    actions_ : tuple of str
        Action names, the control first.
    control_ : str
        The control.
    oof_outcomes_, oof_effects_ : DataFrame, training rows × actions
        Cross-fitted outcomes, and the same minus the control's column (not stored with the model).
    diagnostics_ : dict of str to float
        For the hurdle: the log evidence for effects that differ between accounts, and what distilling lost.

    Notes
    -----
    Known logging propensities are used as given by "dr" and "ensemble", and estimated where the log has none (calibrated; what
    was floored is counted in ``diagnostics_``). The others adjust for the features instead of weighting.

    References
    ----------
    Kunzel et al. (2019), PNAS (S-, T- and X-learner). Kennedy (2023), EJS 17 (DR-learner). Mullahy (1986), Specification and
    testing of some modified count data models, Journal of Econometrics 33 (hurdle).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"score": rng.normal(size=2000)})
    >>> action = rng.choice(["no_action", "call"], size=2000)
    >>> paid = rng.random(2000) < 0.3 + 0.3 * ((action == "call") & (X["score"] > 0))
    >>> model = UpliftModel(random_state=0).fit(X, 100.0 * paid, action=action)
    >>> effect = model.predict_effect(X)["call"]
    >>> bool(effect[X["score"] > 0.5].mean() > effect[X["score"] < -0.5].mean() + 10)
    True
    """

    kind: ClassVar[str] = "uplift"
    # every booster of a learner has its own size and speed (set beside the learner); the base class asks for one of each
    learning_rate: float = 0.05
    num_leaves: int = 31
    min_child_samples: int = 50
    early_stopping_rounds: int | None = 30

    def __init__(
        self,
        learner: str = "hurdle",
        *,
        control: str | None = None,
        ordered_offers: Sequence[Sequence[str]] | None = None,
        n_estimators: int = 600,
        folds: int = 5,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        **params: object,
    ) -> None:
        self.learner = learner
        self.control = control
        self.ordered_offers = ordered_offers
        self.n_estimators = n_estimators
        self.folds = folds
        self.random_state = random_state
        self.n_jobs = n_jobs
        for name, value in params.items():
            setattr(self, name, value)

    def fit(
        self,
        X: pd.DataFrame | ArrayLike,
        y: ArrayLike,
        *,
        action: ArrayLike,
        paid: ArrayLike | None = None,
        logging_propensity: ArrayLike | None = None,
        customer: ArrayLike | None = None,
    ) -> Self:
        """Learn from logged decisions.

        Parameters
        ----------
        X : DataFrame or array, shape (n, p)
            Features as of the decision; text, categories and missing values as they are.
        y : array-like, shape (n,)
            Outcome: money, 0 or more, or 0 and 1 (the learners "s" and "t" take negative outcomes too).
        action : array-like of str, shape (n,)
            Action assigned.
        paid : array-like, shape (n,), optional
            Whether anything was paid; ``y > 0`` where not given.
        logging_propensity : array-like, shape (n,), optional
            Probability with which the action was assigned, in (0, 1].
        customer : array-like, shape (n,), optional
            Unit of dependence; each row its own where not given.

        Returns
        -------
        self

        Raises
        ------
        SchemaError
            Where rows do not match or hold what cannot be learnt from.
        ConfigurationError
            Where the learner is unknown or the control was never taken.
        """
        optional = {"paid": paid, "logging_propensity": logging_propensity, "customer": customer}
        rows = check_rows(X, y=y, action=action, **{k: v for k, v in optional.items() if v is not None})
        outcome = np.asarray(rows["y"], dtype=np.float64)
        has_paid = np.asarray(rows["paid"]).astype(bool) if "paid" in rows else outcome > 0
        self._check(rows, outcome, has_paid)
        self.actions_ = self._order_actions(action, rows["action"])
        self.control_ = self.actions_[0]
        encoded = self._encode_fit(X)
        codes = pd.Index(self.actions_).get_indexer(pd.Index(rows["action"].astype(str))).astype(np.intp)
        propensity = rows.get("logging_propensity")
        decisions = Decisions(
            X=encoded,
            names=self.encoder_.columns_,
            categorical=self.encoder_.categorical_indices_,
            action=codes,
            n_actions=len(self.actions_),
            y=outcome,
            paid=has_paid,
            binary=bool(np.isin(outcome, (0.0, 1.0)).all()),
            fold=decision_folds(codes, has_paid, rows.get("customer"), folds=self.folds, seed=seed_from(self.random_state)),
            propensity=None if propensity is None else np.asarray(propensity, dtype=np.float64),
        )
        self.learner_ = self._new_learner()
        with threadpool_limits(limits=1, user_api="blas"):  # small systems: threads would cost more than they save
            outcomes = self.learner_.fit(decisions)
        index = row_index(X, len(outcome))
        self.oof_outcomes_ = pd.DataFrame(outcomes, index=index, columns=list(self.actions_))
        self.oof_effects_ = self.oof_outcomes_.sub(self.oof_outcomes_[self.control_], axis="index")
        return self

    def predict(self, X: pd.DataFrame | ArrayLike) -> pd.DataFrame:
        """Predict the expected outcome under every action.

        Parameters
        ----------
        X : DataFrame or array, shape (n, p)
            Features; columns are matched by name.

        Returns
        -------
        DataFrame, accounts × actions
            In the outcome's unit, indexed like ``X``.
        """
        encoded = self._encode(X)
        outcome = self.learner_.predict(encoded, len(self.actions_))
        return pd.DataFrame(outcome, index=row_index(X, len(outcome)), columns=list(self.actions_))

    def predict_effect(self, X: pd.DataFrame | ArrayLike) -> pd.DataFrame:
        """Predict what every action changes against the control.

        Parameters
        ----------
        X : DataFrame or array, shape (n, p)
            Features.

        Returns
        -------
        DataFrame, accounts × actions
            The control's column is zero.
        """
        outcome = self.predict(X)
        return outcome.sub(outcome[self.control_], axis="index")

    def predict_interval(
        self, X: pd.DataFrame | ArrayLike, *, confidence: float = 0.95
    ) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Bound what every action changes for each account.

        Parameters
        ----------
        X : DataFrame or array, shape (n, p)
            Features.
        confidence : float, default 0.95
            Share of accounts whose effect lies inside: coverage is on average over accounts, not for each.

        Returns
        -------
        low, high : DataFrame, accounts × actions
            In the outcome's unit, around :meth:`predict_effect`.

        Raises
        ------
        ConfigurationError
            For learners that do not know how sure they are; "hurdle" and "ensemble" do.

        Notes
        -----
        Normal limits from :meth:`predict_error`. They are about the effect expected from the features, not about what
        one account, drawn once, will do.
        """
        if not 0 < confidence < 1:
            raise ConfigurationError(f"confidence must lie between 0 and 1, not {confidence}")
        effect, error = self.predict_effect(X), self.predict_error(X)
        reach = float(norm.ppf((1 + confidence) / 2)) * error
        return effect - reach, effect + reach

    def predict_error(self, X: pd.DataFrame | ArrayLike) -> pd.DataFrame:
        """Predict the standard error of every effect.

        Parameters
        ----------
        X : DataFrame or array, shape (n, p)
            Features.

        Returns
        -------
        DataFrame, accounts × actions
            In the outcome's unit; zero for the control.

        Raises
        ------
        ConfigurationError
            For learners that do not know how sure they are.

        Notes
        -----
        Of payment: the posterior spread of the effect regression (Laplace's approximation) and, where boosters have a say, by how much
        they differ from it; widened by the factor by which groups of accounts were found to stray from their cross-fitted
        predictions (``diagnostics_["posterior_misfit"]``), and taught to a booster. Of the amount: the sampling error of the
        action's level and, unless the two learn amounts together, of the control's; and the same spread of the amounts'
        regression where that has a say. What neither regression nor boosters found is in none of this: effects that take two
        features together, on a log that shows them in part only, lie outside more often than stated.
        """
        encoded = self._encode(X)
        learner = self.learner_.hurdle_ if isinstance(self.learner_, EnsembleLearner) else self.learner_
        if not isinstance(learner, HurdleLearner):
            raise ConfigurationError(f"learner {self.learner!r} does not know how sure it is of an effect; take 'hurdle'")
        errors = learner.effect_errors(encoded, len(self.actions_))
        return pd.DataFrame(errors, index=row_index(X, len(errors)), columns=list(self.actions_))

    @property
    def diagnostics_(self) -> dict[str, float]:
        """What the learner found out about itself and the log, number by name."""
        return dict(self.learner_.diagnostics_)

    def _new_learner(self) -> Learner:
        plan = self._plan(objective="regression")
        own = {"objective", "learning_rate", "num_leaves", "min_data_in_leaf", "num_threads"}
        params = {k: v for k, v in plan.params.items() if k not in own}
        settings = (self.n_estimators, params, seed_from(self.random_state), thread_count(self.n_jobs))
        if self.learner == "hurdle":
            return HurdleLearner(*settings, ordered=self._ordered())
        return _LEARNERS[self.learner](*settings)

    def _ordered(self) -> list[list[int]]:
        """Positions of ordered offers among the actions; those never logged are left out."""
        given = self.ordered_offers or ()
        named = [[self.actions_.index(a) for a in offers if a in self.actions_] for offers in given]
        return [group for group in named if len(group) > 1]

    def _check(self, rows: Mapping[str, NDArray[np.generic]], outcome: Floats, paid: NDArray[np.bool_]) -> None:
        faults = []
        if self.learner not in _LEARNERS:
            raise ConfigurationError(f"learner {self.learner!r} is unknown; choose one of {', '.join(_LEARNERS)}")
        if self.learner in _OF_MONEY:
            if (outcome < 0).any():
                faults.append(
                    f"{int((outcome < 0).sum()):,} outcomes are negative: the {self.learner} is for money received; take 's'"
                )
            if ((outcome > 0) != paid).any():
                faults.append(f"{int(((outcome > 0) != paid).sum()):,} rows say paid but nothing recovered, or the reverse")
        propensity = rows.get("logging_propensity")
        if propensity is not None:
            p = np.asarray(propensity, dtype=float)
            outside = int((~((p > 0) & (p <= 1))).sum())
            if outside:
                faults.append(f"{outside:,} logging propensities lie outside (0, 1]")
        if faults:
            raise SchemaError("; ".join(faults))

    def _order_actions(self, given: ArrayLike, action: NDArray[np.generic]) -> tuple[str, ...]:
        names = sorted({str(a) for a in np.unique(action.astype(str))})
        if isinstance(given, pd.Series) and isinstance(given.dtype, pd.CategoricalDtype):
            names = [str(c) for c in given.cat.categories if str(c) in names]
        control = self.control or ("no_action" if "no_action" in names else names[0])
        if control not in names:
            raise ConfigurationError(f"the control {control!r} was never taken; actions in the log: {', '.join(names)}")
        if len(names) < 2:
            raise SchemaError(f"only {names[0]!r} was ever taken: there is nothing to compare it with")
        return (control, *(n for n in names if n != control))

    def _state(self) -> tuple[dict[str, object], dict[str, lgb.Booster]]:
        return {"actions": list(self.actions_), "learner": self.learner_.state()}, self.learner_.boosters_

    def _restore(self, state: Mapping[str, object], boosters: Mapping[str, lgb.Booster]) -> None:
        self.actions_ = tuple(cast("list[str]", state["actions"]))
        self.control_ = self.actions_[0]
        self.learner_ = self._new_learner()
        self.learner_.boosters_ = dict(boosters)
        self.learner_.restore(cast("Mapping[str, object]", state["learner"]))

    def __sklearn_tags__(self) -> Any:
        """Say that rows may hold missing values, and that an action is needed."""
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
