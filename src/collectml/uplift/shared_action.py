"""Shared-action boosters: the action is a column like any other, so all actions learn from one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from collectml.models._lightgbm import rows_of, side_by_side, train_booster
from collectml.models._one_walk import predict_settings

__all__ = ["SINGLY", "SharedFit", "cross_fit_shared", "distil", "predict_actions", "train_shared", "with_action"]

Floats = NDArray[np.float64]

SINGLY = {"max_cat_to_onehot": 64}  # splits tell one action from the rest, not groups of actions found in few payments
ACTIONS_SHOWN = 4
FEW_STUDENT_ROWS, MAX_STUDENT_ROWS = 160_000, 1_200_000
SHOWN_OF_ALL = 0.9


def with_action(X: Floats, action: NDArray[np.intp] | int) -> Floats:
    """Append the action's position as the last column.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Encoded features.
    action : ndarray of int, shape (n,), or int
        Position of each row's action, or of the one action all rows are asked about.

    Returns
    -------
    ndarray, shape (n, p + 1)
    """
    out = np.empty((len(X), X.shape[1] + 1))
    out[:, :-1] = X
    out[:, -1] = action
    return out


def train_shared(
    X: Floats,
    action: NDArray[np.intp],
    y: Floats,
    *,
    categorical: Sequence[int],
    params: Mapping[str, object],
    trees: int,
    seed: int,
    held: NDArray[np.bool_] | None = None,
    rows: NDArray[np.bool_] | None = None,
    weight: Floats | None = None,
    offset: Floats | None = None,
    early_stopping: int | None = 50,
) -> lgb.Booster:
    """Train a booster that all actions share.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Encoded features.
    action : ndarray of int, shape (n,)
        Position of the action taken.
    y : ndarray, shape (n,)
        Outcome.
    categorical : sequence of int
        Categorical columns of ``X``; the action is one more.
    params : mapping
        LightGBM parameters.
    trees : int
        Number of trees; at most so many with early stopping.
    seed : int
        Seed.
    held : ndarray of bool, shape (n,), optional
        Rows kept out of training, on which it may stop early.
    rows : ndarray of bool, shape (n,), optional
        Rows the outcome is about (those that paid, say).
    weight : ndarray, shape (n,), optional
        Row weights.
    offset : ndarray, shape (n,), optional
        Margins it starts from; they are not part of the booster.
    early_stopping : int or None
        Rounds without progress on the rows held out before it stops; None grows all trees.

    Returns
    -------
    lightgbm.Booster
    """
    use = np.ones(len(y), dtype=bool) if rows is None else rows
    training = use if held is None else use & ~held
    watched = np.zeros_like(use) if held is None or early_stopping is None else use & held
    Xa = with_action(X, action)

    return train_booster(
        Xa[training],
        y[training],
        params=params,
        categorical=[*categorical, X.shape[1]],
        weight=rows_of(weight, training),
        init_score=rows_of(offset, training),
        num_boost_round=trees,
        valid=(Xa[watched], y[watched], rows_of(weight, watched), rows_of(offset, watched)) if watched.any() else None,
        early_stopping=early_stopping,
        seed=seed,
    )


@dataclass(frozen=True)
class SharedFit:
    """What shared-action boosters say of rows they were not trained on.

    Attributes
    ----------
    predictions : ndarray, shape (n, A)
    boosters : list of lightgbm.Booster
        For each fold, that trained without it.
    trees : int
        How many of their trees are asked, at most.
    """

    predictions: Floats
    boosters: list[lgb.Booster]
    trees: int


def cross_fit_shared(
    X: Floats,
    action: NDArray[np.intp],
    y: Floats,
    fold: NDArray[np.int8],
    *,
    n_actions: int,
    categorical: Sequence[int],
    params: Mapping[str, object],
    trees: int,
    seed: int,
    rows: NDArray[np.bool_] | None = None,
    weight: Floats | None = None,
    offsets: Sequence[Floats] | None = None,
    early_stopping: int | None = 50,
) -> SharedFit:
    """Predict every row, for every action, by a shared-action booster trained without its fold.

    Where they stop early, each fold does on its own held-out rows; all are then asked with the mean number of trees, or with all
    where they stopped sooner, so that no row's prediction rests on more trees than others' because of itself.

    Parameters
    ----------
    X, action, y, categorical, params, trees, seed, rows, weight, early_stopping
        As in :func:`train_shared`.
    fold : ndarray of int, shape (n,)
        Folds grouped by customer.
    n_actions : int
        Number of actions.
    offsets : sequence of ndarray, shape (n,), optional
        For each fold, the margins of all rows to start from, by a model that did not see the fold; what is predicted is then
        the margin beside them.

    Returns
    -------
    SharedFit
        With the mean number of trees, or all without early stopping.
    """
    folds = np.unique(fold).tolist()
    start = dict(zip(folds, offsets, strict=True)) if offsets is not None else {}

    def without(k: int, own: Mapping[str, object]) -> lgb.Booster:
        return train_shared(
            X,
            action,
            y,
            categorical=categorical,
            params=own,
            trees=trees,
            seed=seed,
            held=fold == k,
            rows=rows,
            weight=weight,
            offset=start.get(k),
            early_stopping=early_stopping,
        )

    boosters = side_by_side(without, folds, params)
    stopped = [b.best_iteration if b.best_iteration > 0 else b.num_trees() for b in boosters]
    best = trees if early_stopping is None else max(1, round(float(np.mean(stopped))))
    out = np.empty((len(y), n_actions))
    threads = int(cast("int", params.get("num_threads", 2)))
    for k, booster in zip(folds, boosters, strict=True):
        held = fold == k
        out[held] = predict_actions(booster, X[held], n_actions, raw=offsets is not None, threads=threads, trees=best)
    return SharedFit(out, boosters, best)


def predict_actions(
    booster: lgb.Booster, X: Floats, n_actions: int, *, raw: bool = False, threads: int = 2, trees: int | None = None
) -> Floats:
    """Ask a shared-action booster about every action, in one walk.

    Parameters
    ----------
    booster : lightgbm.Booster
        From :func:`train_shared`.
    X : ndarray, shape (n, p)
        Encoded features.
    n_actions : int
        Number of actions.
    raw : bool, default False
        Whether to return margins.
    threads : int
        Threads.
    trees : int, optional
        How many trees to ask; all that count where not given.

    Returns
    -------
    ndarray, shape (n, n_actions)
    """
    actions = np.arange(float(n_actions))[:, None]
    return predict_settings(booster, X, actions, raw=raw, threads=threads, trees=trees)


def distil(
    X: Floats,
    teacher: Floats,
    *,
    categorical: Sequence[int],
    params: Mapping[str, object],
    trees: int,
    seed: int,
) -> lgb.Booster:
    """Teach one shared-action booster what a richer model says of every action.

    The target carries no outcome noise, so the student follows it closely; what it loses is measured where it is used.
    What a row's actions have in common is better taught to another: it takes the splits, and differences between actions, which
    decide, are followed less well.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Encoded features.
    teacher : ndarray, shape (n, A)
        What the teacher predicts for each action.
    categorical : sequence of int
        Categorical columns of ``X``.
    params : mapping
        LightGBM parameters; the objective is squared error.
    trees : int
        Number of trees.
    seed : int
        Seed; it also picks the actions shown of each row where showing all would be too much.

    Returns
    -------
    lightgbm.Booster

    References
    ----------
    Bucila, Caruana & Niculescu-Mizil (2006), Model compression.
    """
    n, n_actions = teacher.shape
    shown = max(1, min(n_actions, max(ACTIONS_SHOWN, FEW_STUDENT_ROWS // n), MAX_STUDENT_ROWS // n))
    rng = np.random.default_rng(seed)
    # each row shows `shown` distinct actions from a random start: every action is shown equally often
    start = np.asarray(rng.integers(n_actions, size=n))
    stride = np.array([s for s in range(1, n_actions + 1) if np.gcd(s, n_actions) == 1])
    step = np.asarray(rng.choice(stride, size=n))
    action = (start[:, None] + step[:, None] * np.arange(shown)) % n_actions
    rows = np.repeat(np.arange(n), shown)
    flat = action.ravel()
    if shown == n_actions:
        # deviations from a row's mean add up to nothing over its actions, so that no split of a feature gains anything at
        # the root, and LightGBM does not try a feature again below a node where it gained nothing: the balance is upset
        kept = rng.random(len(rows)) < SHOWN_OF_ALL
        rows, flat = rows[kept], flat[kept]
    return train_booster(
        with_action(X[rows], flat),
        teacher[rows, flat],
        params={**params, "objective": "regression"},
        categorical=[*categorical, X.shape[1]],
        num_boost_round=trees,
        seed=seed,
    )
