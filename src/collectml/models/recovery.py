"""Recovery: how much of its balance an account pays within the horizon, as a hurdle with full payment apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self, cast

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from collectml.errors import SchemaError
from collectml.models._base import BoosterModel, Floats, check_rows, row_index
from collectml.models._calibration import Calibrator
from collectml.models._cross_fit import BoostingPlan, CalibratedBooster

__all__ = ["RecoveryModel"]

# within half a per cent of the balance is payment in full: interest and rounding make up the rest
_FULL_FROM = 0.995
# with fewer rows of the rarer outcome a part of the hurdle is its mean and no booster
_FEWEST_EVENTS = 20


class RecoveryModel(BoosterModel):
    """Expected recovered money = balance x P(pay) x [P(full | pay) + P(partial | pay) x share | partial].

    Most accounts pay nothing, some pay everything, the rest a share: three calibrated boosters, one each. The share
    is fitted by fractional logit (cross-entropy on a target between 0 and 1), which estimates its mean directly,
    so that no retransformation of a log or logit residual is needed; what bias remains in money is removed by one
    factor, learnt from out-of-fold predictions.

    Parameters
    ----------
    calibration : {"auto", "isotonic", "platt"} or None, default "auto"
        Map of each part, cross-fitted.
    n_estimators, learning_rate, num_leaves, min_child_samples, early_stopping_rounds, folds, random_state, n_jobs
        As in :class:`PropensityToPayModel`.
    **params
        Any further LightGBM parameter.

    Attributes
    ----------
    full_ratio_ : float
        Recovered money per unit of balance where paid in full (above 1 where interest or fees were paid, too).
    smearing_ : float
        Factor on the share that makes partial payments add up to the money observed.
    pay_, full_, share_ : CalibratedBooster
        The three parts; ``.booster`` is None where there was too little to learn more than a mean.

    References
    ----------
    Cragg (1971), hurdle models. Papke and Wooldridge (1996), fractional logit. Duan (1983), smearing.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> balance = rng.uniform(100, 1000, 600)
    >>> recovered = balance * rng.choice([0.0, 0.25, 1.0], 600, p=[0.5, 0.3, 0.2])
    >>> X = pd.DataFrame({"days_past_due": rng.integers(1, 90, 600)})
    >>> model = RecoveryModel(random_state=0).fit(X, recovered, balance=balance)
    >>> model.predict_parts(X.head(2), balance=balance[:2]).columns.tolist()
    ['p_pay', 'p_full', 'share', 'expected']
    """

    kind: ClassVar[str] = "recovery"

    def __init__(
        self,
        *,
        calibration: str | None = "auto",
        n_estimators: int = 400,
        learning_rate: float = 0.05,
        num_leaves: int = 15,
        min_child_samples: int = 40,
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
        self.calibration = calibration

    def fit(
        self,
        X: pd.DataFrame | ArrayLike,
        recovered: ArrayLike,
        *,
        balance: ArrayLike,
        customer: ArrayLike | None = None,
    ) -> Self:
        """Learn who pays, who pays in full, and what share the others pay.

        Parameters
        ----------
        X : DataFrame or array-like, shape (n, p)
            Account features as of the decision.
        recovered : array-like, shape (n,)
            Money received within the horizon, 0 or more.
        balance : array-like, shape (n,)
            Money owed as of the decision, above 0. It is a feature of all three parts.
        customer : array-like, shape (n,), optional
            Rows of one customer share a fold.

        Returns
        -------
        self

        Raises
        ------
        SchemaError
            Where money is negative or no account paid.
        """
        encoded = self._encode_fit(X)
        rows = check_rows(encoded, recovered=recovered, balance=balance, customer=customer)
        money = rows["recovered"].astype(np.float64)
        owed = _check_balance(rows["balance"])
        if (money < 0).any():
            raise SchemaError(f"recovered is negative in {int((money < 0).sum())} rows; net reversals off first.")
        paid = (money > 0).astype(np.float64)
        if not paid.any():
            raise SchemaError("no account paid anything: there is no recovery to learn.")
        full = (money >= _FULL_FROM * owed) & (money > 0)
        partial = (money > 0) & ~full
        design = _with_balance(encoded, owed)
        folds = self._folds(paid + full, rows.get("customer"), at_most=len(paid))
        plan = self._plan(objective="binary", defaults={"lambda_l2": 5.0})
        self.pay_, _ = self._part(design, paid, folds, plan)
        payers = money > 0
        self.full_, _ = self._part(design[payers], full[payers].astype(np.float64), folds[payers], plan)
        share = money[partial] / owed[partial]
        fractional = self._plan(objective="cross_entropy", defaults={"lambda_l2": 5.0})
        self.share_, share_oof = self._part(design[partial], share, folds[partial], fractional)
        self.full_ratio_ = float(money[full].sum() / owed[full].sum()) if full.any() else 1.0
        fitted = float((share_oof * owed[partial]).sum())
        self.smearing_ = float(money[partial].sum() / fitted) if fitted > 0 else 1.0
        return self

    def predict_parts(self, X: pd.DataFrame | ArrayLike, balance: ArrayLike) -> pd.DataFrame:
        """Predict the parts of the hurdle and the expected money.

        Parameters
        ----------
        X : DataFrame or array-like, shape (n, p)
        balance : array-like, shape (n,)
            Money owed, above 0.

        Returns
        -------
        DataFrame, shape (n, 4)
            Index of X; ``p_pay``, ``p_full`` (given payment), ``share`` of the balance (given partial payment),
            ``expected`` recovered money.
        """
        encoded = self._encode(X)
        owed = _check_balance(check_rows(encoded, balance=balance)["balance"])
        design = _with_balance(encoded, owed)
        p_pay, p_full = self.pay_.predict(design), self.full_.predict(design)
        share = np.minimum(self.share_.predict(design) * self.smearing_, 1.0)
        expected = owed * p_pay * (p_full * self.full_ratio_ + (1.0 - p_full) * share)
        columns = {"p_pay": p_pay, "p_full": p_full, "share": share, "expected": expected}
        return pd.DataFrame(columns, index=row_index(X, len(encoded)))

    def predict(self, X: pd.DataFrame | ArrayLike, *, balance: ArrayLike) -> Floats:
        """Predict the expected recovered money, shape (n,), in the currency of the balance."""
        return self.predict_parts(X, balance)["expected"].to_numpy()

    def _part(self, X: Floats, y: Floats, folds: NDArray[np.int8], plan: BoostingPlan) -> tuple[CalibratedBooster, Floats]:
        if min(float(y.sum()), len(y) - float(y.sum())) < _FEWEST_EVENTS or len(np.unique(folds)) < 2:
            return CalibratedBooster.constant(y)
        return CalibratedBooster.fit(X, y, folds, plan, calibration=self.calibration)

    def _state(self) -> tuple[dict[str, object], dict[str, lgb.Booster]]:
        parts = {"pay": self.pay_, "full": self.full_, "share": self.share_}
        state: dict[str, object] = {
            "calibrators": {name: part.calibrator.to_json() for name, part in parts.items()},
            "full_ratio": self.full_ratio_,
            "smearing": self.smearing_,
        }
        return state, {name: part.booster for name, part in parts.items() if part.booster is not None}

    def _restore(self, state: Mapping[str, object], boosters: Mapping[str, lgb.Booster]) -> None:
        stored = cast("Mapping[str, Mapping[str, object]]", state["calibrators"])
        self.pay_, self.full_, self.share_ = (
            CalibratedBooster(boosters.get(name), Calibrator.from_json(stored[name])) for name in ("pay", "full", "share")
        )
        self.full_ratio_ = float(cast("float", state["full_ratio"]))
        self.smearing_ = float(cast("float", state["smearing"]))


def _check_balance(balance: NDArray[np.generic]) -> Floats:
    owed = balance.astype(np.float64)
    if (owed <= 0).any():
        raise SchemaError(
            f"balance must be above 0; it is not in {int((owed <= 0).sum())} rows: leave settled accounts out."
        )
    return owed


def _with_balance(encoded: Floats, owed: Floats) -> Floats:
    return np.column_stack([encoded, owed])
