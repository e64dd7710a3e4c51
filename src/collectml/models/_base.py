"""What the library's boosted models have in common: parameters, features, folds and their form on disk."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self, cast

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError as SklearnNotFittedError
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.validation import validate_data

from collectml.errors import ConfigurationError, NotFittedError, SchemaError
from collectml.models._cross_fit import BoostingPlan
from collectml.models._folds import make_folds
from collectml.models._lightgbm import (
    FeatureEncoder,
    booster_from_text,
    booster_to_text,
    seed_from,
    thread_count,
)

__all__ = ["BoosterModel", "ModelNotFittedError"]

Floats = NDArray[np.float64]
# LightGBM parameters a model sets itself; giving them in another spelling would be two masters for one thing
_OWN = frozenset(
    {
        *("objective", "metric", "num_class", "num_iterations", "early_stopping_round", "learning_rate", "num_leaves"),
        *("min_data_in_leaf", "categorical_feature", "monotone_constraints", "num_threads", "seed", "verbosity"),
        *("deterministic", "force_row_wise", "force_col_wise"),
    }
)


_OPTIONAL_ROWS = frozenset({"hour", "customer", "sample_weight"})


class ModelNotFittedError(NotFittedError, SklearnNotFittedError):  # type: ignore[misc]  # scikit-learn ships no types
    """The library's error for an unfitted model, and scikit-learn's as well: its tools look for their own."""


class BoosterModel(BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn ships no types
    """Base of the boosted models.

    Parameters
    ----------
    n_estimators : int
        Largest number of trees; early stopping inside the folds chooses how many are used.
    learning_rate : float
    num_leaves : int
        Leaves of a tree.
    min_child_samples : int
        Fewest rows in a leaf.
    early_stopping_rounds : int or None
        Rounds without progress on held-out rows before a fold stops; None uses all trees.
    folds : int
        Folds of cross-fitting; a customer is never in two of them.
    random_state : int, RandomState or None
    n_jobs : int or None
        Threads: None means 2, -1 all. The result does not depend on it.
    **params
        Any further LightGBM parameter under any of its names (``reg_lambda=5``, ``colsample_bytree=0.7``). They
        take part in ``get_params``, ``set_params`` and ``clone``; a name LightGBM does not know is refused at fit.
    """

    kind: ClassVar[str]
    encoder_: FeatureEncoder
    n_features_in_: int
    feature_names_in_: NDArray[np.object_]

    def __init__(
        self,
        *,
        n_estimators: int = 500,
        learning_rate: float = 0.05,
        num_leaves: int = 15,
        min_child_samples: int = 40,
        early_stopping_rounds: int | None = 30,
        folds: int = 5,
        random_state: int | np.random.RandomState | None = None,
        n_jobs: int | None = None,
        **params: object,
    ) -> None:
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.num_leaves = num_leaves
        self.min_child_samples = min_child_samples
        self.early_stopping_rounds = early_stopping_rounds
        self.folds = folds
        self.random_state = random_state
        self.n_jobs = n_jobs
        for name, value in params.items():
            setattr(self, name, value)

    def get_params(self, deep: bool = True) -> dict[str, object]:
        """Return all parameters, the further LightGBM ones included."""
        return {**super().get_params(deep=deep), **self._further_params()}

    def set_params(self, **params: object) -> Self:
        """Set parameters by name; names that are not the model's own are further LightGBM parameters."""
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def _further_params(self) -> dict[str, object]:
        # `__init__` only stores and learnt attributes end in an underscore, so what is left was passed as **params
        own = set(self._get_param_names())
        return {
            name: value
            for name, value in vars(self).items()
            if name not in own and not name.startswith("_") and not name.endswith("_")
        }

    def _plan(self, *, objective: str, defaults: Mapping[str, object] | None = None) -> BoostingPlan:
        """Assemble the LightGBM parameters; unknown or clashing ones are refused together."""
        further = self._further_params()
        aliases: dict[str, list[str]] = lgb.basic._ConfigAliases._get_all_param_aliases()
        canonical = {alias: name for name, spellings in aliases.items() for alias in (name, *spellings)}
        unknown = sorted(name for name in further if name not in canonical)
        clashing = sorted(name for name in further if canonical.get(name) in _OWN)
        if unknown or clashing:
            faults = [f"{name} is not a LightGBM parameter" for name in unknown]
            faults += [f"{name} is set by the model itself (see its own parameters)" for name in clashing]
            raise ConfigurationError(f"{type(self).__name__}: {'; '.join(faults)}.")
        params: dict[str, object] = {
            **(defaults or {}),
            **{canonical[name]: value for name, value in further.items()},
            "objective": objective,
            "learning_rate": self.learning_rate,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": self.min_child_samples,
            "num_threads": thread_count(self.n_jobs),
        }
        return BoostingPlan(
            params,
            self.n_estimators,
            self.early_stopping_rounds,
            seed_from(self.random_state),
            self.encoder_.categorical_indices_,
        )

    def _encode_fit(self, X: ArrayLike | pd.DataFrame) -> Floats:
        """Learn the features and return them encoded."""
        self.encoder_ = FeatureEncoder()
        if not isinstance(X, pd.DataFrame):
            return self.encoder_.fit_transform(validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan"))
        if X.empty:
            raise SchemaError(f"X holds no data: shape {X.shape}.")
        encoded = self.encoder_.fit_transform(X)
        self.n_features_in_ = encoded.shape[1]
        self.feature_names_in_ = np.asarray(self.encoder_.columns_, dtype=object)
        return encoded

    def _encode(self, X: ArrayLike | pd.DataFrame) -> Floats:
        self._check_fitted()
        if isinstance(X, pd.DataFrame):
            return self.encoder_.transform(X)
        return self.encoder_.transform(validate_data(self, X, reset=False, dtype=np.float64, ensure_all_finite="allow-nan"))

    def _check_fitted(self) -> None:
        if not hasattr(self, "encoder_"):
            raise ModelNotFittedError(f"this {type(self).__name__} is not fitted yet; call fit first.")

    def _folds(self, stratify: ArrayLike, customer: ArrayLike | None, *, at_most: int) -> NDArray[np.int8]:
        if not isinstance(self.folds, int) or not 2 <= self.folds <= 127:
            raise ConfigurationError(
                f"{type(self).__name__}: folds must be a whole number from 2 to 127, not {self.folds!r}."
            )
        n = len(np.asarray(stratify))
        k = max(2, min(self.folds, at_most))
        return make_folds(n, k=k, groups=customer, stratify=stratify, random_state=seed_from(self.random_state))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "encoder_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    @abstractmethod
    def _state(self) -> tuple[dict[str, object], dict[str, lgb.Booster]]:
        """Return what was learnt, apart from the encoder: JSON-able values, and boosters by name."""

    @abstractmethod
    def _restore(self, state: Mapping[str, object], boosters: Mapping[str, lgb.Booster]) -> None:
        """Take in what :meth:`_state` returned."""

    def to_parts(self) -> dict[str, object]:
        """Take the fitted model apart into JSON-able values and booster texts; nothing is pickled.

        Returns
        -------
        dict
            ``{"kind": str, "config": {"params", "encoder", "state"}, "boosters": {name: LightGBM text}}``.
            Out-of-fold predictions of the training rows stay behind.
        """
        self._check_fitted()
        params = self.get_params(deep=False)
        if not isinstance(params.get("random_state"), int):
            params["random_state"] = None
        state, boosters = self._state()
        return {
            "kind": self.kind,
            "config": {"params": jsonable(params), "encoder": self.encoder_.to_json(), "state": jsonable(state)},
            "boosters": {name: booster_to_text(booster) for name, booster in boosters.items()},
        }

    @classmethod
    def from_parts(cls, parts: Mapping[str, object]) -> Self:
        """Rebuild a model from :meth:`to_parts`; it predicts the same bits.

        Raises
        ------
        SchemaError
            Where the parts belong to another kind of model.
        """
        config = checked_config(parts, cls.kind)
        model = cls(**cast("dict[str, Any]", config["params"]))
        model.encoder_ = FeatureEncoder.from_json(cast("Mapping[str, object]", config["encoder"]))
        model.n_features_in_ = len(model.encoder_.columns_)
        texts = cast("Mapping[str, str]", parts["boosters"])
        boosters = {name: booster_from_text(text) for name, text in texts.items()}
        model._restore(cast("Mapping[str, object]", config["state"]), boosters)
        return model


def checked_config(parts: Mapping[str, object], kind: str) -> Mapping[str, object]:
    """Return the configuration of ``parts``, refusing those of another kind of model."""
    if parts.get("kind") != kind:
        raise SchemaError(f"these parts are of kind {parts.get('kind')!r}, not {kind!r}.")
    return cast("Mapping[str, object]", parts["config"])


def jsonable(value: object) -> object:
    """Turn numpy scalars, arrays and tuples into what JSON holds."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    return value


def check_rows(X: ArrayLike | pd.DataFrame, **columns: ArrayLike | None) -> dict[str, NDArray[np.generic]]:
    """Return row data as one-dimensional arrays as long as X; missing values are refused, but in ``hour``."""
    n = np.shape(X)[0]
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, values in columns.items():
        if values is None and name in _OPTIONAL_ROWS:
            continue
        if values is None:
            what = "the target y" if name == "y" else name
            raise SchemaError(f"the model requires {name} to be passed, but {what} is None.")
        array = column_or_1d(values, warn=True)
        if len(array) != n:
            raise SchemaError(f"inconsistent lengths: {name} has {len(array)} entries, X has {n} rows.")
        if name not in {"hour", "customer"}:  # what is missing there is dealt with by those who use it
            if array.dtype == object and pd.isna(array).any():
                raise SchemaError(f"Input {name} contains NaN: {int(pd.isna(array).sum())} of its values are missing.")
            try:
                assert_all_finite(array, input_name=name)
            except ValueError as error:  # scikit-learn's words are clear; the class is ours, and so the exit code
                raise SchemaError(str(error)) from None
        if name == "sample_weight" and not ((array >= 0).all() and (array > 0).any()):
            raise SchemaError("sample_weight must be 0 or more everywhere, and not zero in all rows.")
        arrays[name] = array
    return arrays


def row_index(X: ArrayLike | pd.DataFrame, n: int) -> pd.Index:
    """Take account ids from a frame's index; rows of plain arrays are counted."""
    return X.index if isinstance(X, pd.DataFrame) else pd.RangeIndex(n)


def binary(values: NDArray[np.generic], name: str) -> Floats:
    """Return outcomes as 0.0 and 1.0; anything else is refused."""
    numbers = np.asarray(values, dtype=np.float64)
    if not np.isin(numbers, (0.0, 1.0)).all():
        raise SchemaError(f"{name} must hold 0 and 1 only.")
    return numbers
