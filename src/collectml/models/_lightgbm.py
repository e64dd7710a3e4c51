"""What every LightGBM model shares: feature encoding, training that repeats bit for bit, text in and out.

LightGBM mis-scores reordered columns without a word, and float32 input falls on the wrong side of its float64
thresholds; so nothing reaches it but a float64 matrix whose columns were matched by name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import lightgbm as lgb
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from collectml.models._encoding import FeatureEncoder

__all__ = [
    "FeatureEncoder",
    "booster_from_text",
    "booster_to_text",
    "rows_of",
    "seed_from",
    "side_by_side",
    "thread_count",
    "train_booster",
]

Validation = (
    tuple[NDArray[np.float64], NDArray[np.float64]]
    | tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]
    | tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None, NDArray[np.float64] | None]
)


def seed_from(random_state: int | np.random.RandomState | None) -> int:
    """Draw one seed below 2**31 from what scikit-learn accepts as ``random_state``.

    Examples
    --------
    >>> seed_from(3) == seed_from(3)
    True
    """
    return int(check_random_state(random_state).randint(2**31 - 1))


def thread_count(n_jobs: int | None) -> int:
    """Resolve the number of threads: None means 2, -1 all processors, -2 all but one, and so on.

    The number changes the time a fit takes, never its result.

    Examples
    --------
    >>> thread_count(None), thread_count(3)
    (2, 3)
    """
    if n_jobs is None:
        return 2
    if n_jobs < 0:
        return max(1, (os.cpu_count() or 1) + 1 + n_jobs)
    return max(1, n_jobs)


def side_by_side(
    train: Callable[[int, Mapping[str, object]], lgb.Booster], folds: Sequence[int], params: Mapping[str, object]
) -> list[lgb.Booster]:
    """Train a booster a fold, the threads shared among them: two boosters on a thread each are done before one on two.

    Parameters
    ----------
    train : callable
        Takes a fold and the parameters to train its booster with.
    folds : sequence of int
        The folds.
    params : mapping
        LightGBM parameters; ``num_threads`` is that of all together, 2 unless given.

    Returns
    -------
    list of lightgbm.Booster
        In the order of the folds.

    Examples
    --------
    >>> side_by_side(lambda fold, params: (fold, params["num_threads"]), [0, 1], {"num_threads": 5})
    [(0, 2), (1, 2)]
    """
    threads = int(cast("int", params.get("num_threads", thread_count(None))))
    workers = max(1, min(threads, len(folds)))
    own = {**params, "num_threads": max(1, threads // workers)}
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda fold: train(fold, own), folds))


def rows_of(values: NDArray[np.float64] | None, rows: NDArray[np.bool_] | NDArray[np.intp]) -> NDArray[np.float64] | None:
    """Return those of some rows, or None where there are no values."""
    return None if values is None else values[rows]


def booster_to_text(booster: lgb.Booster) -> str:
    """Write a booster in LightGBM's own text form, up to its best iteration; nothing is pickled."""
    return str(booster.model_to_string())


def booster_from_text(text: str) -> lgb.Booster:
    """Read a booster back; it predicts the same bits as the one written."""
    return lgb.Booster(model_str=text)


def train_booster(
    X: NDArray[np.float64],
    y: ArrayLike,
    *,
    params: Mapping[str, object],
    categorical: Sequence[int] = (),
    weight: ArrayLike | None = None,
    num_boost_round: int,
    valid: Validation | None = None,
    early_stopping: int | None = None,
    seed: int,
    init_score: ArrayLike | None = None,
    begun: lgb.Booster | None = None,
) -> lgb.Booster:
    """Train one booster: same data, parameters and seed give the same bits on any number of threads.

    Parameters
    ----------
    X : ndarray of float64, shape (n, p)
        From :meth:`FeatureEncoder.transform`.
    y : array-like, shape (n,)
    params : mapping
        LightGBM parameters, at least ``objective``. ``num_threads`` is 2 unless given.
    categorical : sequence of int
        Positions of the columns that hold level codes.
    weight, init_score : array-like, shape (n,), optional
        Row weights; offsets on the margin scale (they are not part of the booster: add them at prediction).
    num_boost_round : int
        Number of trees, the largest number with early stopping.
    valid : tuple (X, y[, weight[, init_score]]), optional
        Validation rows; needed for early stopping.
    early_stopping : int, optional
        Stop after so many rounds without progress on ``valid``; the booster then predicts with its best
        iteration.
    seed : int
    begun : lightgbm.Booster, optional
        Trees to add to, of the same columns; they become part of the booster. Not beside ``init_score`` or ``valid``.

    Returns
    -------
    lightgbm.Booster
        Its features are positions; names live in the encoder.

    Examples
    --------
    >>> X = np.arange(200.0).reshape(-1, 1)
    >>> booster = train_booster(X, X[:, 0] > 99, params={"objective": "binary"}, num_boost_round=5, seed=0)
    >>> bool(booster.predict(X)[0] < booster.predict(X)[-1])
    True
    """
    if begun is not None and (init_score is not None or valid is not None):
        raise TypeError("trees are added from their own margins, and all of them: no init_score or valid beside begun")
    settings: dict[str, object] = {
        "verbosity": -1,
        "num_threads": 2,
        **params,
        "deterministic": True,
        "force_row_wise": True,
        "seed": int(seed),
    }
    if settings.get("linear_tree"):  # leaves' regressions are summed thread by thread, so that only one gives the same bits
        settings["num_threads"] = 1
    features: list[int] | str = list(categorical) or "auto"
    train = lgb.Dataset(
        X,
        label=_floats(y),
        weight=_floats(weight),
        init_score=_floats(init_score),
        categorical_feature=features,
        params=settings,
    )
    if valid is None:
        return lgb.train(settings, train, num_boost_round=num_boost_round, init_model=begun)
    padded = (*valid, None, None)
    held_out = train.create_valid(
        padded[0], label=_floats(padded[1]), weight=_floats(padded[2]), init_score=_floats(padded[3])
    )
    callbacks: list[Callable[..., object]] = []
    if early_stopping is not None:
        callbacks.append(lgb.early_stopping(early_stopping, verbose=False))
    return lgb.train(settings, train, num_boost_round=num_boost_round, valid_sets=[held_out], callbacks=callbacks)


def _floats(values: ArrayLike | None) -> NDArray[np.float64] | None:
    # a copy: LightGBM warns of views, which a slice of the caller's frame may be
    return None if values is None else np.array(values, dtype=np.float64)
