"""What every learner is: parameters, boosters, a fit that returns cross-fitted outcomes, and a form that can be saved."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from .decisions import Decisions

__all__ = ["Learner"]

Floats = NDArray[np.float64]


@dataclass
class Learner(ABC):
    """Base of the learners behind :class:`~collectml.uplift.UpliftModel`.

    Parameters
    ----------
    trees : int
        At most so many trees where early stopping chooses.
    params : mapping
        Further LightGBM parameters.
    seed, threads : int
        Seed and threads.
    """

    trees: int
    params: Mapping[str, object]
    seed: int
    threads: int
    boosters_: dict[str, lgb.Booster] = field(default_factory=dict, init=False)
    diagnostics_: dict[str, float] = field(default_factory=dict, init=False)

    @abstractmethod
    def fit(self, d: Decisions) -> Floats:
        """Learn, and return cross-fitted outcomes of the training rows.

        Parameters
        ----------
        d : Decisions
            Encoded features, actions, outcomes, folds.

        Returns
        -------
        ndarray, shape (n, A)
        """

    @abstractmethod
    def predict(self, X: Floats, n_actions: int) -> Floats:
        """Predict the expected outcome under every action.

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

    def state(self) -> dict[str, object]:
        """Return what was learnt apart from the boosters, as JSON-able values."""
        return {"diagnostics": self.diagnostics_}

    def restore(self, state: Mapping[str, object]) -> None:
        """Take in what :meth:`state` returned; boosters are set apart."""
        kept = state.get("diagnostics")
        self.diagnostics_ = dict(kept) if isinstance(kept, Mapping) else {}
