"""How much is paid, given that something is: a share of what is owed, with payment in full as its own mass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from collectml.models._lightgbm import train_booster

from .levels import FEWEST_PAID, tell_apart
from .shared_action import SINGLY, cross_fit_shared

__all__ = ["AMOUNT", "AmountTeacher", "Exposure", "find_exposure", "typical_amount"]

Floats = NDArray[np.float64]

AMOUNT = {"num_leaves": 8, "learning_rate": 0.1, "min_data_in_leaf": 50, **SINGLY}
FULL = 0.97
FEWEST_FULL = 200
SMALLEST_SHARE = 1e-4
CONSTANT: Mapping[str, object] = {}
LINEAR: Mapping[str, object] = {"linear_tree": True, "linear_lambda": 1.0}


def find_exposure(X: Floats, names: Sequence[str], amount: Floats, paid: NDArray[np.bool_]) -> str | None:
    """Find the column that caps what is paid: the balance, where the features hold it.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Encoded features.
    names : sequence of str
        Names of the columns.
    amount : ndarray, shape (n,)
        What was paid.
    paid : ndarray of bool, shape (n,)
        Whether anything was.

    Returns
    -------
    str or None
        A column that no more than one payment in a thousand exceeds and that at least one in two hundred equals; of several
        the one most payments equal.
    """
    best, best_mass = None, 0.005
    for j, name in enumerate(names):
        cap = X[paid, j]
        if (
            len(cap) == 0
            or not np.isfinite(cap).all()
            or (cap <= 0).any()
            or len(np.unique(cap[:1000])) < 0.5 * min(1000, len(cap))
        ):
            continue
        share = amount[paid] / cap
        mass = float((np.abs(share - 1.0) < 1e-3).mean())
        if float((share > 1.001).mean()) <= 0.001 and mass >= best_mass:
            best, best_mass = name, mass
    return best


@dataclass(frozen=True)
class Exposure:
    """The column that caps what is paid, as :func:`find_exposure` found it.

    Parameters
    ----------
    column : int, optional
        Its position; None where no column does.
    usual : float
        Stands in where the column is missing or nothing is owed: its mean over those who paid.
    """

    column: int | None = None
    usual: float = 1.0

    @classmethod
    def of(cls, X: Floats, names: Sequence[str], amount: Floats, paid: NDArray[np.bool_]) -> Exposure:
        """Look for it among the columns; parameters as in :func:`find_exposure`."""
        name = find_exposure(X, names, amount, paid)
        if name is None:
            return cls()
        column = names.index(name)
        return cls(column, float(X[paid, column].mean()))

    def owed(self, X: Floats) -> Floats:
        """Return what each row owes, shape (n,); 1 where no column caps what is paid."""
        if self.column is None:
            return np.ones(len(X))
        return np.where(X[:, self.column] > 0, X[:, self.column], self.usual)

    def state(self) -> dict[str, object]:
        """Return it as JSON-able values."""
        return {"exposure": self.column, "usual_exposure": self.usual}

    @classmethod
    def restored(cls, state: Mapping[str, object]) -> Exposure:
        """Take in what :meth:`state` returned."""
        return cls(cast("int | None", state.get("exposure")), float(cast("float", state.get("usual_exposure", 1.0))))


@dataclass
class AmountTeacher:
    """E[share of what is owed | pays, x, action], cross-fitted by boosters that all actions share.

    Parameters
    ----------
    params : mapping
        LightGBM parameters.
    trees : int
        At most so many trees a booster.
    n_actions : int
        Number of actions.
    categorical : sequence of int
        Categorical columns.
    seed, threads : int
        Seed and threads.

    Attributes
    ----------
    code_ : ndarray of int, shape (A,)
        Which actions have amounts in common: those with the same number.

    Notes
    -----
    Where payments in full are frequent enough, the share is ``P(full) + (1 - P(full)) E[share | not full]``. Rows are weighted
    by the square root of what is owed: a middle way between every account and every unit of money counting the same.

    Most actions change whether an account pays, few change how much. A booster that may tell all actions apart learns differences
    between them from noise, and the policy picks the luckiest: so the actions are told apart by a first booster, those whose
    amounts do not differ (:func:`tell_apart`) become one, and the rest is learnt anew. What trees with linear leaves say of the share and
    trees with constant leaves of its logarithm (under Poisson's likelihood, which asks for nothing but that the mean be right) is averaged,
    where the former predict held-out payments no worse: what an action adds is simple in the one, what it multiplies by in the
    other, and they err differently.
    """

    params: Mapping[str, object]
    trees: int
    n_actions: int
    categorical: Sequence[int]
    seed: int
    threads: int

    def fit_predict(
        self,
        X: Floats,
        action: NDArray[np.intp],
        share: Floats,
        paid: NDArray[np.bool_],
        owed: Floats,
        fold: NDArray[np.int8],
    ) -> Floats:
        """Train on the decisions that were paid, and predict every decision by boosters trained without its fold.

        Parameters
        ----------
        X : ndarray, shape (n, p)
            Encoded features.
        action : ndarray of int, shape (n,)
            Position of the action taken.
        share : ndarray, shape (n,)
            What was paid over what was owed.
        paid : ndarray of bool, shape (n,)
            Whether anything was paid.
        owed : ndarray, shape (n,)
            What was owed; sets the weights.
        fold : ndarray of int, shape (n,)
            Folds grouped by customer.

        Returns
        -------
        ndarray, shape (n, A)
            Expected share of what is owed, given payment.
        """
        weight = np.sqrt(owed / owed[paid].mean()) if paid.any() else np.ones(len(owed))
        self.code_ = np.zeros(self.n_actions, dtype=np.intp)
        if paid.sum() < FEWEST_PAID:
            mean = float(np.average(share[paid], weights=weight[paid])) if paid.any() else 1.0
            return np.full((len(X), self.n_actions), max(mean, SMALLEST_SHARE))

        def learn(code: NDArray[np.intp], leaves: Mapping[str, object], objective: str) -> Floats:
            n_codes = int(code.max()) + 1
            return self._shares(
                X, code[action], share, paid, weight, fold, n_codes=n_codes, leaves=leaves, objective=objective
            )

        first = learn(np.arange(self.n_actions), CONSTANT, "regression")
        self.code_ = tell_apart(first, action, share, paid, weight)
        stepped = learn(self.code_, CONSTANT, "poisson")
        sloped = learn(self.code_, LINEAR, "regression")

        def loss(predicted: Floats) -> float:
            return float(np.sum((weight * (share - predicted[np.arange(len(share)), self.code_[action]]) ** 2)[paid]))

        both = 0.5 * (stepped + sloped) if loss(sloped) <= loss(stepped) else stepped
        return both[:, self.code_]

    def _shares(
        self,
        X: Floats,
        code: NDArray[np.intp],
        share: Floats,
        paid: NDArray[np.bool_],
        weight: Floats,
        fold: NDArray[np.int8],
        *,
        n_codes: int,
        leaves: Mapping[str, object],
        objective: str,
    ) -> Floats:
        """Cross-fit the share for every code of the action, payments in full apart where there are enough of them."""
        full = paid & (share >= FULL) & (share <= 1.001)
        has_full = min(int(full.sum()), int((paid & ~full).sum())) >= FEWEST_FULL

        def fitted(target: Floats, rows: NDArray[np.bool_], objective: str) -> Floats:
            return cross_fit_shared(
                X,
                code,
                target,
                fold,
                n_actions=n_codes,
                categorical=self.categorical,
                params={**self.params, "num_threads": self.threads, **leaves, "objective": objective},
                trees=self.trees,
                seed=self.seed,
                rows=rows,
                weight=weight,
            ).predictions

        # slopes may lead beyond what was ever paid
        part = np.clip(fitted(share, paid & ~full if has_full else paid, objective), SMALLEST_SHARE, share[paid].max())
        if not has_full:
            return part
        certain = fitted(full.astype(float), paid, "binary")
        return certain + (1.0 - certain) * np.minimum(part, 1.0)


def typical_amount(
    X: Floats,
    amount: Floats,
    paid: NDArray[np.bool_],
    fold: NDArray[np.int8],
    *,
    categorical: Sequence[int],
    params: Mapping[str, object],
    trees: int,
    seed: int,
) -> Floats:
    """Predict the typical (geometric mean) amount of each account whatever the action, where nothing caps it.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Encoded features.
    amount : ndarray, shape (n,)
        What was paid.
    paid : ndarray of bool, shape (n,)
        Whether anything was.
    fold : ndarray of int, shape (n,)
        Folds grouped by customer.
    categorical : sequence of int
        Categorical columns.
    params : mapping
        LightGBM parameters.
    trees, seed : int
        Trees at most, and seed.

    Returns
    -------
    ndarray, shape (n,)
        Cross-fitted.
    """
    logs = np.log(np.where(paid, np.maximum(amount, 1e-9), 1.0))
    typical = np.full(len(amount), float(logs[paid].mean()) if paid.any() else 0.0)
    for k in np.unique(fold):
        held = fold == k
        if (paid & ~held).sum() < 50 or not (paid & held).any():
            continue
        booster = train_booster(
            X[paid & ~held],
            logs[paid & ~held],
            params={**params, "objective": "regression"},
            categorical=categorical,
            num_boost_round=trees,
            valid=(X[paid & held], logs[paid & held]),
            early_stopping=30,
            seed=seed,
        )
        typical[held] = booster.predict(X[held])
    return np.exp(typical)
