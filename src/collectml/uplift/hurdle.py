"""The hurdle learner: P(pay | x, action) × E[amount | pay, x, action], strength shared across actions, in two boosters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from collectml.models._cross_fit import BoostingPlan, CrossFit, cross_fit_margin
from collectml.models._lightgbm import side_by_side, train_booster
from collectml.models._one_walk import predict_rows

from .amount_effects import with_regressed_effects
from .amounts import AMOUNT, AmountTeacher, Exposure, typical_amount
from .basis import MAX_FEATURES, EffectBasis
from .decisions import Decisions
from .effects import FittedEffects, cross_fitted_effects
from .learner import Learner
from .levels import calibrate_levels
from .likelihood import Response
from .ordered import never_falling
from .rules import Rules, cross_fit_rules, possible_cuts
from .shared_action import SINGLY, SharedFit, cross_fit_shared, distil, predict_actions, train_shared
from .stacking import CLEAR, Stack
from .uncertainty import misfit, standard_errors

__all__ = ["HurdleLearner", "effect_columns"]

Floats = NDArray[np.float64]

STUDENT = {"num_leaves": 63, "learning_rate": 0.2, "min_data_in_leaf": 20}  # no noise in what it is taught: it may step fast
STUDENT_TREES, MENDING_TREES = 120, 30
SAMPLED_ROWS, SPREAD_TREES = 20_000, 30
RULE_TREES = 100
BASELINE = {"num_leaves": 15, "learning_rate": 0.05, "min_data_in_leaf": 50}
BESIDE = (  # the first finds what several actions do alike, the second what one does alone
    {"num_leaves": 31, "learning_rate": 0.05, "min_data_in_leaf": 50},
    {"num_leaves": 15, "learning_rate": 0.05, "min_data_in_leaf": 50, **SINGLY},
)


@dataclass
class HurdleLearner(Learner):
    """Whether an account pays, and how much: boosters that all actions share.

    Notes
    -----
    In three steps, all cross-fitted by customer:

    1. A baseline, ``b(x) = logit P(pay | x)``, by a booster that does not see the action; it takes up all that is not effect.
    2. Effects beside it by a :class:`~collectml.uplift.effects.EffectRegression` on functions of the features and of the
       baseline itself, shrunk as far as the evidence asks, and by boosters, which see steps and conditions that such functions
       do not. Where boosters found any, the regression is fitted once more with them as functions
       (:class:`~collectml.uplift.rules.Rules`). All are weighted by what they predict of held-out payments
       (:class:`~collectml.uplift.stacking.Stack`).
       Amounts by boosters that share the actions, and likewise by a regression where accounts' amounts are changed differently.
    3. Both are taught to boosters, for payment and for the amount: the mean over actions (for payment by trees added to the
       baseline's), and each action's deviation from it. One walk then scores all actions, and every score has exact contributions.
       ``diagnostics_`` says what that loses, and how strongly the log speaks for effects that differ between accounts.
    """

    ordered: Sequence[Sequence[int]] = field(default=(), kw_only=True)
    exposure_: Exposure = field(default=Exposure(), init=False)
    level_se_: list[float] = field(default_factory=list, init=False)

    def state(self) -> dict[str, object]:
        """Return which column caps what is paid, and how sure the actions' levels are, beside the diagnostics."""
        return {**super().state(), **self.exposure_.state(), "level_se": self.level_se_}

    def restore(self, state: Mapping[str, object]) -> None:
        """Take in what :meth:`state` returned."""
        super().restore(state)
        self.exposure_ = Exposure.restored(state)
        self.level_se_ = cast("list[float]", state["level_se"])

    def fit(self, d: Decisions) -> Floats:
        """Learn, and return cross-fitted outcomes of the training rows."""
        baseline, fitted = self._pay(d)
        effects = never_falling(fitted.effects, self.ordered)
        columns = effect_columns(self.boosters_["pay"], d.categorical)
        # by how often each action was taken, so that the baseline's booster still says what is paid whatever the action
        common = effects @ (np.bincount(d.action, minlength=d.n_actions) / len(d.action))
        self.boosters_["pay"] = self._mended(d, self.boosters_["pay"], common)
        self.boosters_["pay_effect"] = self._student(d, effects - common[:, None])
        factor = misfit(fitted, baseline, d.action, d.paid.astype(float))
        self.diagnostics_["posterior_misfit"] = factor
        self._teach_spread("pay", d, effects, fitted, factor)
        out_of_fold = never_falling(fitted.out_of_fold, self.ordered)
        del fitted  # the functions in it take more room than the features
        share, owed, regressed = self._amount(d, baseline, columns)
        amount = np.ones_like(effects)
        if share is not None:
            amount = share * owed[:, None]
            log_share = np.log(amount if self.exposure_.column is None else share)
            typical = log_share.mean(axis=1, keepdims=True)
            self.boosters_["amount"] = train_booster(
                d.X,
                typical[:, 0],
                params=self._params(STUDENT),
                categorical=d.categorical,
                num_boost_round=STUDENT_TREES,
                seed=self.seed,
            )
            self.boosters_["amount_effect"] = self._student(d, log_share - typical)
            rows = self._sampled(len(d.y))
            followed = predict_actions(self.boosters_["amount_effect"], d.X[rows], d.n_actions, threads=self.threads)
            taught = (log_share - typical)[rows]
            self.diagnostics_["amount_effect_r2"] = _followed(taught, followed, taught.mean(axis=0))
            if regressed is not None:
                self._teach_spread("amount", d, log_share, regressed, 1.0)
        self._measure_loss(d, baseline, effects)
        return expit(baseline[:, None] + out_of_fold) * amount

    def predict(self, X: Floats, n_actions: int) -> Floats:
        """Predict the expected outcome under every action."""
        outcome = expit(self.pay_margin(X, n_actions))
        if "amount" in self.boosters_:
            outcome *= np.exp(self._walk("amount", X, n_actions))
            outcome *= self.exposure_.owed(X)[:, None]
        return cast("Floats", outcome)

    def pay_margin(self, X: Floats, n_actions: int) -> Floats:
        """Predict the log-odds of payment under every action.

        Parameters
        ----------
        X : ndarray, shape (n, p)
            Encoded features.
        n_actions : int
            Number of actions.

        Returns
        -------
        ndarray, shape (n, A)
        """
        return never_falling(self._walk("pay", X, n_actions), self.ordered)

    def effect_errors(self, X: Floats, n_actions: int) -> Floats:
        """Predict the standard error of every action's effect on the outcome.

        Parameters
        ----------
        X : ndarray, shape (n, p)
            Encoded features.
        n_actions : int
            Number of actions.

        Returns
        -------
        ndarray, shape (n, A)
            In the outcome's unit; zero for the control.
        """
        p = expit(self.pay_margin(X, n_actions))
        outcome = self.predict(X, n_actions)
        of_pay = (1 - p) * np.exp(predict_actions(self.boosters_["pay_spread"], X, n_actions, threads=self.threads))
        of_amount = np.asarray(self.level_se_ or np.zeros(n_actions)) ** 2
        if "amount_spread" in self.boosters_:
            of_amount = of_amount + np.exp(
                2 * predict_actions(self.boosters_["amount_spread"], X, n_actions, threads=self.threads)
            )
        errors = outcome * np.sqrt(of_pay**2 + of_amount)
        errors[:, 0] = 0.0
        return cast("Floats", errors)

    def _teach_spread(self, part: str, d: Decisions, taught: Floats, fitted: FittedEffects, factor: float) -> None:
        """Teach a small booster how sure each effect on a part's margin is."""
        rows = self._sampled(len(d.y))
        taught = taught[rows] - taught[rows, :1]
        followed = predict_actions(self.boosters_[f"{part}_effect"], d.X[rows], d.n_actions, threads=self.threads)
        # what the student gets wrong of its teacher is an error like any other
        wrong = np.mean((followed - followed[:, :1] - taught) ** 2, axis=0)
        spread = 0.5 * np.log(np.maximum((factor * standard_errors(fitted, rows)) ** 2 + wrong, 1e-12))
        spread[:, 0] = spread[:, 1:].mean(axis=1)  # the control has no effect; a tame target, never asked for
        self.boosters_[f"{part}_spread"] = distil(
            d.X[rows], spread, categorical=d.categorical, params=self._params(STUDENT), trees=SPREAD_TREES, seed=self.seed
        )

    def _walk(self, part: str, X: Floats, n_actions: int) -> Floats:
        common = predict_rows(self.boosters_[part], X, raw=True, threads=self.threads)
        return common[:, None] + predict_actions(self.boosters_[f"{part}_effect"], X, n_actions, threads=self.threads)

    def _params(self, own: Mapping[str, object]) -> dict[str, object]:
        return {**own, "objective": "regression", **self.params, "num_threads": self.threads}

    def _sampled(self, n: int) -> NDArray[np.intp]:
        return np.sort(np.random.default_rng(self.seed).permutation(n)[:SAMPLED_ROWS])

    def _student(self, d: Decisions, target: Floats) -> lgb.Booster:
        return distil(
            d.X, target, categorical=d.categorical, params=self._params(STUDENT), trees=STUDENT_TREES, seed=self.seed
        )

    def _mended(self, d: Decisions, baseline: lgb.Booster, common: Floats) -> lgb.Booster:
        """Add trees to the baseline's booster for what is common to all actions, so that effects are all their booster learns."""
        margin = predict_rows(baseline, d.X, raw=True, threads=self.threads)
        return train_booster(
            d.X,
            margin + common,
            params=self._params(STUDENT),
            categorical=d.categorical,
            num_boost_round=MENDING_TREES,
            seed=self.seed,
            begun=baseline,
        )

    def _pay(self, d: Decisions) -> tuple[Floats, FittedEffects]:
        """Cross-fitted baseline, and effects beside it."""
        paid = d.paid.astype(float)
        params = self._params(BASELINE) | {"objective": "binary"}
        fit = cross_fit_margin(d.X, paid, d.fold, BoostingPlan(params, self.trees, 30, self.seed, list(d.categorical)))
        self.boosters_["pay"], baseline = fit.booster, fit.margin
        Z = EffectBasis(*effect_columns(fit.booster, d.categorical)).fit(d.X, [baseline]).transform(d.X, [baseline])
        response = Response(d.action, paid, baseline, d.n_actions)
        fitted = cross_fitted_effects(Z, response, d.fold)
        beside = self._boosted(d, paid, fit)
        boosted = [b.predictions for b in beside]
        stack = Stack.fit(response, [fitted.out_of_fold, *boosted])
        if stack.gain > CLEAR:  # a regression weighs better what boosters found
            rules = self._rules(d, beside[-1].boosters)
            if any(rules):
                boosted.append(cross_fit_rules(d.X, Z, response, d.fold, rules))
                stack = Stack.fit(response, [fitted.out_of_fold, *boosted])
        models = [fitted.out_of_fold, *boosted]
        fitted = replace(
            fitted,
            effects=stack.combine([fitted.effects, *boosted]),
            out_of_fold=stack.combine(models),
            evidence_gain=max(fitted.evidence_gain, stack.gain - CLEAR),
            between=stack.between(models),
        )
        self.diagnostics_ |= {
            "weight_regression": float(stack.weights[0]),
            "weight_boosters": float(stack.weights[1:].sum()),
            "gain_of_boosters": stack.gain,
            "evidence_of_heterogeneity": fitted.evidence_gain,
        }
        return baseline, fitted

    def _boosted(self, d: Decisions, paid: Floats, baseline: CrossFit) -> list[SharedFit]:
        """Cross-fit effects on payment by boosters beside the baseline's, for what is no smooth function of the features.

        The booster without a fold starts from what the baseline's without that fold says of all rows. Out-of-fold margins would
        not do: those of the rows trained on have seen the fold held out, so that where it happened to pay more, the others seem
        to have paid less than expected.
        """
        offsets = [predict_rows(b, d.X, raw=True, threads=self.threads, trees=baseline.trees) for b in baseline.without]
        return [
            cross_fit_shared(
                d.X,
                d.action,
                paid,
                d.fold,
                n_actions=d.n_actions,
                categorical=d.categorical,
                params=self._params(own) | {"objective": "binary"},
                trees=self.trees,
                seed=self.seed,
                offsets=offsets,
                early_stopping=30,
            )
            for own in BESIDE
        ]

    def _rules(self, d: Decisions, boosters: Sequence[lgb.Booster]) -> list[Rules]:
        cuts = possible_cuts(d.X, d.categorical)
        return [Rules.of(booster, d.X, cuts) for booster in boosters]

    def _amount_rules(self, d: Decisions, response: Response) -> list[Rules]:
        """Find the conditions on which amounts hang beside what the account usually pays, by boosters of a fixed number of trees.

        Their margins to start from are out of fold, and so have seen the fold held out: enough to say which conditions to try,
        not to stop early by or to predict from.
        """

        def without(k: int, own: Mapping[str, object]) -> lgb.Booster:
            return train_shared(
                d.X,
                d.action,
                response.y,
                categorical=d.categorical,
                params=own,
                trees=min(self.trees, RULE_TREES),
                seed=self.seed,
                held=d.fold == k,
                rows=d.paid,
                weight=response.weight,
                offset=response.offset,
                early_stopping=None,
            )

        params = self._params(BESIDE[-1]) | {"objective": "poisson"}
        return self._rules(d, side_by_side(without, np.unique(d.fold).tolist(), params))

    def _amount(
        self, d: Decisions, baseline: Floats, columns: tuple[list[int], list[int]]
    ) -> tuple[Floats | None, Floats, FittedEffects | None]:
        """Cross-fitted share of what is owed (or of the typical amount), given payment, what it is a share of, and its regression."""
        if d.binary:
            return None, np.ones(len(d.y)), None
        self.exposure_ = Exposure.of(d.X, d.names, d.y, d.paid)
        owed = self.exposure_.owed(d.X)
        if self.exposure_.column is None:
            owed = typical_amount(
                d.X,
                d.y,
                d.paid,
                d.fold,
                categorical=d.categorical,
                params=self._params(BASELINE),
                trees=self.trees,
                seed=self.seed,
            )
        teacher = AmountTeacher(self._params(AMOUNT), self.trees, d.n_actions, d.categorical, self.seed, self.threads)
        share = teacher.fit_predict(d.X, d.action, d.y / owed, d.paid, owed, d.fold)
        share, regressed = with_regressed_effects(
            d, share, owed, baseline, *columns, rules=lambda response: self._amount_rules(d, response)
        )
        share, self.level_se_ = calibrate_levels(share, d.action, d.y / owed, d.paid, owed, teacher.code_)
        return share, owed, regressed

    def _measure_loss(self, d: Decisions, baseline: Floats, effects: Floats) -> None:
        """Say how closely the boosters follow the effects on payment that taught them, on at most 20,000 rows.

        Amounts are the boosters' own on both sides: the cross-fitted ones that taught them differ from fold to fold.
        """
        rows = self._sampled(len(d.y))
        own = self.predict(d.X[rows], d.n_actions) / expit(self.pay_margin(d.X[rows], d.n_actions))
        taught = effects[rows]
        followed = predict_actions(self.boosters_["pay_effect"], d.X[rows], d.n_actions, threads=self.threads)
        taught, followed = taught - taught[:, :1], followed - followed[:, :1]
        # where effects do not differ between accounts, the actions' own differences are all there is to follow
        centre = taught.mean(axis=0) if self.diagnostics_["evidence_of_heterogeneity"] > 0 else 0.0
        value = expit(baseline[rows, None] + effects[rows]) * own
        student = expit(baseline[rows, None] + followed + effects[rows, :1]) * own
        at = np.arange(len(rows))
        gain = float((value.max(axis=1) - value.mean(axis=0).max()).mean())
        lost = float((value.max(axis=1) - value[at, student.argmax(axis=1)]).mean())
        self.diagnostics_ |= {
            "effect_r2": _followed(taught, followed, centre),
            "value_lost_share_of_gain": lost / gain if gain > 0 else 0.0,
        }


def _followed(taught: Floats, followed: Floats, centre: Floats | float) -> float:
    """Share of what differs from the centre that a student follows; all of it where nothing differs."""
    spread = float(np.sum((taught - centre) ** 2))
    return 1.0 - float(np.sum((followed - taught) ** 2)) / spread if spread > 1e-9 else 1.0


def effect_columns(baseline: lgb.Booster, categorical: Sequence[int]) -> tuple[list[int], list[int]]:
    """Name the features effects may depend on, numbers and levels: all, or those the baseline found most use for."""
    gain = baseline.feature_importance("gain")
    chosen = np.sort(np.argsort(-gain, kind="stable")[:MAX_FEATURES])
    levels = set(categorical)
    return [int(j) for j in chosen if j not in levels], [int(j) for j in chosen if j in levels]
