"""From predicted effects and scores to contrasts: each action against the control, and each account's best action."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.errors import SchemaError

from .scores import DoublyRobustScores

__all__ = ["BEST_ACTION", "Contrast", "contrasts"]

Floats = NDArray[np.float64]

BEST_ACTION = "best_action"
"""Name of the contrast that gives each account the action with the highest predicted effect, against the control."""


class Contrast(NamedTuple):
    """One comparison with the control: predicted effects, scores of effects; one entry per decision."""

    name: str
    predicted: Floats
    score: Floats


def contrasts(effects: pd.DataFrame, scores: DoublyRobustScores, actions: Sequence[str] | None = None) -> list[Contrast]:
    """Return a contrast for each action, and, where there are several actions, one for each account's best.

    Parameters
    ----------
    effects : DataFrame, decisions x actions
        Predicted effects, indexed like the scores; a column of the control is ignored.
    scores : DoublyRobustScores
    actions : sequence of str, optional
        Which; all but the control where not given.

    Raises
    ------
    SchemaError
        Where rows or actions do not match, or numbers are missing.
    """
    wanted = list(scores.actions if actions is None else actions)
    faults = []
    if not effects.index.equals(scores.scores.index):
        faults.append("effects must be indexed like the scores")
    if absent := [a for a in wanted if a not in effects.columns or a not in scores.actions]:
        faults.append(f"actions without effects or scores: {absent}")
    if not wanted:
        faults.append("no action to compare with the control")
    if faults:
        raise SchemaError("; ".join(faults))
    predicted = effects[wanted].to_numpy(dtype=np.float64, na_value=np.nan)
    score = scores.effects()[wanted].to_numpy(dtype=np.float64)
    for what, matrix in (("predicted effects", predicted), ("scores", score)):
        if missing := {a: int(k) for a, k in zip(wanted, (~np.isfinite(matrix)).sum(axis=0), strict=True) if k}:
            raise SchemaError(f"{what} are missing or not finite: {missing}; leave these actions out by actions=")
    found = [Contrast(a, predicted[:, i], score[:, i]) for i, a in enumerate(wanted)]
    if len(wanted) > 1:
        best = predicted.max(axis=1)
        # actions predicted to be equally good share the account
        tied = predicted == best[:, None]
        found.append(Contrast(BEST_ACTION, best, np.where(tied, score, 0.0).sum(axis=1) / tied.sum(axis=1)))
    return found
