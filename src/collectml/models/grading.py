"""Risk grades A to D: how much worry an account is, by a yardstick that stays the same from month to month."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self, cast

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator

from collectml.errors import ConfigurationError, SchemaError
from collectml.models._ability import ability_score, own_score, willingness_score
from collectml.models._base import Floats, ModelNotFittedError, checked_config, jsonable, row_index

__all__ = ["RiskGrader"]

GRADES = ("A", "B", "C", "D")


class RiskGrader(BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Grade accounts A (least worry) to D (most), with cut-offs frozen at fit.

    ``method="propensity_balance"``: the propensity to pay gives a band (A from the first cut on, B from the second,
    C from the third, D below); a balance under the lower balance cut is one grade better, one at or above the
    upper cut one grade worse, never beyond A or D.

    ``method="ability_willingness"``: the two are read apart and set against their own cuts: A able and willing, B
    willing but not able (help), C able but not willing (press), D neither. Scores lie in [0, 1]; each is the mean
    of those parts whose columns are present and filled, and 0.5 where nothing is known:

    - ability: 0.2 income / (0.2 income + instalment); 1 - min(utilisation, 1); instalment / (instalment + arrears)
    - willingness: (promises_kept + 1) / (promises_kept + promises_broken + 2);
      min((responses_90d + 1) / (contacts_90d + 2), 1); min(payments_12m, 12) / 12

    Parameters
    ----------
    method : {"propensity_balance", "ability_willingness"}
    propensity_cuts : three falling numbers in (0, 1), optional
        Without them the quartiles of the portfolio at fit.
    balance_cuts : two rising amounts of money, optional
        Without them the 25th and 90th percentile at fit; None for one of the two leaves that step out.
    ability_cut, willingness_cut : float in [0, 1], optional
        Without them the medians at fit.
    ability_column, willingness_column : str, optional
        Columns of X with scores of your own in place of the formulas.

    Attributes
    ----------
    cuts_ : dict of str to list of float or None
        The yardstick: every later portfolio is graded by these numbers.

    Examples
    --------
    >>> X = pd.DataFrame({"balance": [50.0, 500.0, 500.0, 5000.0]}, index=[11, 12, 13, 14])
    >>> grader = RiskGrader(propensity_cuts=(0.6, 0.35, 0.15), balance_cuts=(100.0, 2000.0))
    >>> grader.fit(X, propensity_to_pay=[0.5, 0.5, 0.1, 0.7]).predict(X, propensity_to_pay=[0.5, 0.5, 0.1, 0.7])
    11    A
    12    B
    13    D
    14    B
    Name: grade, dtype: str
    """

    kind: ClassVar[str] = "risk_grader"

    def __init__(
        self,
        *,
        method: str = "propensity_balance",
        propensity_cuts: Sequence[float] | None = None,
        balance_cuts: Sequence[float | None] | None = None,
        ability_cut: float | None = None,
        willingness_cut: float | None = None,
        ability_column: str | None = None,
        willingness_column: str | None = None,
    ) -> None:
        self.method = method
        self.propensity_cuts = propensity_cuts
        self.balance_cuts = balance_cuts
        self.ability_cut = ability_cut
        self.willingness_cut = willingness_cut
        self.ability_column = ability_column
        self.willingness_column = willingness_column

    def fit(
        self,
        X: pd.DataFrame,
        y: object = None,
        *,
        propensity_to_pay: ArrayLike | None = None,
        balance: ArrayLike | None = None,
    ) -> Self:
        """Freeze the cut-offs: those given, else quantiles of this portfolio.

        Parameters
        ----------
        X : DataFrame, shape (n, p)
            Accounts; its index is the account id.
        y : ignored
        propensity_to_pay : array-like, shape (n,), optional
            Needed by ``"propensity_balance"``.
        balance : array-like, shape (n,), optional
            Money; the column ``balance`` of X unless given. Not read where ``balance_cuts`` are both None.

        Returns
        -------
        self
        """
        if self.method == "propensity_balance":
            p, owed = self._propensity_and_balance(X, propensity_to_pay, balance)
            cuts = {
                "propensity": _cuts(self.propensity_cuts, p, (0.75, 0.5, 0.25)),
                "balance": _cuts(self.balance_cuts, owed, (0.25, 0.9)),
            }
            _check_order("propensity_cuts", cuts["propensity"], 3, falling=True)
            _check_share("propensity_cuts", cuts["propensity"])
            _check_order("balance_cuts", cuts["balance"], 2, falling=False)
        elif self.method == "ability_willingness":
            scores = self.scores(X)
            given = {"ability": self.ability_cut, "willingness": self.willingness_cut}
            cuts = {
                name: _cuts(None if cut is None else [cut], scores[name].to_numpy(), (0.5,)) for name, cut in given.items()
            }
            for name, cut in cuts.items():
                _check_share(f"{name}_cut", cut)
        else:
            raise ConfigurationError(f"method must be 'propensity_balance' or 'ability_willingness', not {self.method!r}.")
        self.cuts_: dict[str, list[float | None]] = cuts
        return self

    def predict(
        self,
        X: pd.DataFrame,
        *,
        propensity_to_pay: ArrayLike | None = None,
        balance: ArrayLike | None = None,
    ) -> pd.Series:
        """Grade accounts by the frozen cut-offs.

        Parameters
        ----------
        X, propensity_to_pay, balance
            As in :meth:`fit`.

        Returns
        -------
        Series of str, shape (n,)
            ``"A"`` to ``"D"``, index of X.
        """
        if not hasattr(self, "cuts_"):
            raise ModelNotFittedError("this RiskGrader is not fitted yet; call fit first.")
        if self.method == "propensity_balance":
            p, owed = self._propensity_and_balance(X, propensity_to_pay, balance)
            band = (p[:, None] < np.asarray(self.cuts_["propensity"], dtype=np.float64)).sum(axis=1)
            low, high = self.cuts_["balance"]
            small = False if low is None else owed < low
            large = False if high is None else owed >= high
            position = np.clip(band - np.asarray(small, int) + np.asarray(large, int), 0, 3)
        else:
            scores = self.scores(X)
            able = _reaches(scores["ability"], self.cuts_["ability"])
            willing = _reaches(scores["willingness"], self.cuts_["willingness"])
            position = np.where(willing, np.where(able, 0, 1), np.where(able, 2, 3))
        grades = np.asarray(GRADES)[position]
        return pd.Series(grades, index=row_index(X, len(grades)), name="grade", dtype="str")

    def scores(self, X: pd.DataFrame) -> pd.DataFrame:
        """Read ability and willingness apart.

        Parameters
        ----------
        X : DataFrame, shape (n, p)

        Returns
        -------
        DataFrame, shape (n, 2)
            ``ability`` and ``willingness`` in [0, 1], index of X; see the class for the formulas.
        """
        ability, willingness = self.ability_column, self.willingness_column
        columns = {
            "ability": own_score(X, ability) if ability else ability_score(X),
            "willingness": own_score(X, willingness) if willingness else willingness_score(X),
        }
        return pd.DataFrame(columns, index=X.index)

    @staticmethod
    def migration_matrix(before: pd.Series, after: pd.Series, weight: pd.Series | None = None) -> pd.DataFrame:
        """Say where the accounts of each grade went between two snapshots.

        Parameters
        ----------
        before, after : Series of "A" to "D"
            Grades by account id; ids are matched, order does not matter.
        weight : Series, optional
            Weight by account id (the balance, say); every account of both snapshots needs one.

        Returns
        -------
        DataFrame
            Rows: grades before, and ``new`` for accounts that were not there; columns: grades after, and ``left``.
            Each row sums to 1; rows nobody is in are left out.

        Examples
        --------
        >>> RiskGrader.migration_matrix(pd.Series({1: "A", 2: "A"}), pd.Series({2: "B", 3: "C"}))
               A    B    C    D  left
        A    0.0  0.5  0.0  0.0   0.5
        new  0.0  0.0  1.0  0.0   0.0
        """
        for name, grades in (("before", before), ("after", after)):
            if grades.index.has_duplicates:
                repeated = grades.index[grades.index.duplicated()][:3].tolist()
                raise SchemaError(f"{name} holds accounts more than once, such as {repeated}.")
            strange = sorted({str(grade) for grade in grades} - set(GRADES))
            if strange:
                raise SchemaError(f"{name} holds grades other than A to D: {', '.join(strange)}.")
        ids = before.index.union(after.index)
        w = np.ones(len(ids)) if weight is None else weight.reindex(ids).to_numpy(dtype=np.float64)
        if np.isnan(w).any() or (w < 0).any():
            raise SchemaError("weight must hold a number of 0 or more for every account of both snapshots.")
        moves = pd.DataFrame(
            {
                "from": before.reindex(ids).astype(object).fillna("new").to_numpy(),
                "to": after.reindex(ids).astype(object).fillna("left").to_numpy(),
                "weight": w,
            }
        )
        table = moves.pivot_table(index="from", columns="to", values="weight", aggfunc="sum", fill_value=0.0)
        table = table.reindex(index=[*GRADES, "new"], columns=[*GRADES, "left"], fill_value=0.0)
        total = table.sum(axis=1)
        share = table[total > 0].div(total[total > 0], axis=0).astype(np.float64)
        return share.rename_axis(index=None, columns=None)

    def to_parts(self) -> dict[str, object]:
        """Return parameters and cut-offs as JSON-able values; a grader has no boosters."""
        if not hasattr(self, "cuts_"):
            raise ModelNotFittedError("this RiskGrader is not fitted yet; call fit first.")
        config = {"params": jsonable(self.get_params(deep=False)), "state": {"cuts": jsonable(self.cuts_)}}
        return {"kind": self.kind, "config": config, "boosters": {}}

    @classmethod
    def from_parts(cls, parts: Mapping[str, object]) -> Self:
        """Rebuild a grader from :meth:`to_parts`."""
        config = checked_config(parts, cls.kind)
        grader = cls()
        grader.set_params(**cast("dict[str, object]", config["params"]))
        cuts = cast("Mapping[str, Mapping[str, list[float | None]]]", config["state"])["cuts"]
        grader.cuts_ = {name: list(values) for name, values in cuts.items()}
        return grader

    def _propensity_and_balance(
        self, X: pd.DataFrame, propensity: ArrayLike | None, balance: ArrayLike | None
    ) -> tuple[Floats, Floats]:
        if balance is None:
            read = self.balance_cuts is None or any(cut is not None for cut in self.balance_cuts)
            # without balance cuts the propensity alone decides, and nothing need be owed (a marketing trial, say)
            balance = X.get("balance") if read else np.zeros(len(X))
        if propensity is None or balance is None:
            absent = [name for name, given in (("propensity_to_pay", propensity), ("balance", balance)) if given is None]
            raise ConfigurationError(f"method 'propensity_balance' needs {' and '.join(absent)}.")
        p, owed = np.asarray(propensity, dtype=np.float64), np.asarray(balance, dtype=np.float64)
        if p.shape != (len(X),) or owed.shape != (len(X),):
            raise SchemaError(f"propensity_to_pay and balance must have one entry for each of the {len(X)} accounts.")
        faults = ["propensity_to_pay lies outside 0 to 1"] if not ((p >= 0) & (p <= 1)).all() else []
        faults += ["balance is missing, infinite or negative"] if not (np.isfinite(owed) & (owed >= 0)).all() else []
        if faults:
            raise SchemaError(f"accounts cannot be graded: {'; '.join(faults)}.")
        return p, owed


def _cuts(given: Sequence[float | None] | None, values: Floats, quantiles: tuple[float, ...]) -> list[float | None]:
    chosen = np.quantile(values, quantiles).tolist() if given is None else given
    return [None if cut is None else float(cut) for cut in chosen]


def _check_order(name: str, cuts: Sequence[float | None], n: int, *, falling: bool) -> None:
    known = [cut for cut in cuts if cut is not None]
    if len(cuts) != n or known != sorted(known, reverse=falling):
        order = "falling" if falling else "rising"
        raise ConfigurationError(f"{name} must be {n} {order} numbers, not {list(cuts)}.")


def _check_share(name: str, cuts: Sequence[float | None]) -> None:
    if any(cut is None or not 0 <= cut <= 1 for cut in cuts):
        raise ConfigurationError(f"{name} must lie between 0 and 1 (0.35, not 35 for per cent), not {list(cuts)}.")


def _reaches(score: pd.Series, cuts: Sequence[float | None]) -> NDArray[np.bool_]:
    reached: NDArray[np.bool_] = score.to_numpy(dtype=np.float64) >= np.asarray(cuts, dtype=np.float64)[0]
    return reached
