"""Which segment? A rule that left no choice, found back as a condition on the features that people can read.

Rules are cut-offs and lists (`days_past_due >= 90`, `stage in ['late']`), so they are looked for as such: the one condition, or
up to three together, that best marks the decisions in question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["Segment", "marked_segment", "untried_segment"]

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]

_MOST_CONDITIONS = 3
_LEAST_FIT = 0.8
# no row where so many are expected is chance in five of a hundred thousand, before the looking around for it
_EXPECTED_ROWS = 10.0
_LIST_LENGTH = 12


class Segment(NamedTuple):
    """A condition on the features, and the decisions that meet it."""

    condition: str
    rows: Bools
    conditions: tuple[Callable[[pd.DataFrame], Bools], ...] = ()


# what a region is worth: from counts of marks and of rows inside
_Worth = Callable[[Floats, Floats], Floats]
# what a condition is worth, how it reads, and who meets it
_Step = tuple[float, str, Callable[[pd.DataFrame], Bools]]


def marked_segment(X: pd.DataFrame, marked: Bools) -> Segment | None:
    """Find the condition that marks given decisions.

    Parameters
    ----------
    X : DataFrame, shape (n, p)
    marked : ndarray of bool, shape (n,)
        Decisions in which another action was certain, say.

    Returns
    -------
    Segment or None
        The one of greatest F1 (twice the hits over what is in the segment plus what is marked); None below 0.8.

    Examples
    --------
    >>> X = pd.DataFrame({"days_past_due": np.arange(200), "stage": ["early", "late"] * 100})
    >>> marked_segment(X, (X["days_past_due"] >= 90).to_numpy()).condition
    'days_past_due >= 90'
    >>> marked_segment(X, ((X["days_past_due"] >= 90) & (X["stage"] == "late")).to_numpy()).condition
    "stage == 'late' and days_past_due >= 90"
    """
    total = float(marked.sum())
    if total == 0:
        return None

    def worth(hits: Floats, size: Floats) -> Floats:
        return 2 * hits / (size + total)

    found = _search(X, marked, worth)
    if found is None:
        return None
    hits = float((found.rows & marked).sum())
    return found if 2 * hits / (found.rows.sum() + total) >= _LEAST_FIT else None


def untried_segment(X: pd.DataFrame, taken: Bools, *, everywhere: pd.DataFrame | None = None) -> Segment | None:
    """Find the segment in which an action was never taken, though at its rate elsewhere it would have been.

    Parameters
    ----------
    X : DataFrame, shape (n, p)
    taken : ndarray of bool, shape (n,)
        Decisions in which the action was taken.
    everywhere : DataFrame, shape (m, p), optional
        Where `X` is a part of the log: all of it, in which the condition found is then looked up.

    Returns
    -------
    Segment or None
        The one of greatest likelihood ratio against the action's overall rate (a scan statistic); None where the action was
        taken in it after all, or fewer than ten rows would be expected in it.

    References
    ----------
    Kulldorff (1997), A spatial scan statistic, Communications in Statistics 26.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"days_past_due": rng.integers(0, 120, 2_000), "x": rng.normal(size=2_000)})
    >>> taken = (rng.random(2_000) < 0.2) & (X["days_past_due"] < 90).to_numpy()
    >>> untried_segment(X, taken).condition
    'days_past_due >= 90'
    """
    rate = float(taken.mean())
    if rate == 0:
        return None

    def worth(hits: Floats, size: Floats) -> Floats:
        expected = size * rate
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = expected - hits + np.where(hits > 0, hits * np.log(hits / expected), 0.0)
        return np.where(hits < expected, ratio, 0.0)

    found = _search(X, taken, worth)
    if found is None or (found.rows & taken).any() or found.rows.sum() * rate < _EXPECTED_ROWS:
        return None
    if everywhere is None:
        return found
    rows = np.ones(len(everywhere), dtype=bool)
    for meets in found.conditions:
        rows &= meets(everywhere)
    return found._replace(rows=rows)


def _search(X: pd.DataFrame, marks: Bools, worth: _Worth) -> Segment | None:
    """Add the condition that gains most, as long as one gains."""
    inside = np.ones(len(X), dtype=bool)
    conditions: list[str] = []
    tests: list[Callable[[pd.DataFrame], Bools]] = []
    best = float(worth(np.array([float(marks.sum())]), np.array([float(len(X))]))[0])
    for _ in range(_MOST_CONDITIONS):
        found = max(_steps(X, marks, worth, inside), key=lambda step: step[0], default=None)
        if found is None or found[0] <= best * (1 + 1e-3) + 1e-9:
            break
        best, condition, meets = found
        inside = inside & meets(X)
        conditions.append(condition)
        tests.append(meets)
    return Segment(" and ".join(conditions), inside, tuple(tests)) if conditions else None


def _steps(X: pd.DataFrame, marks: Bools, worth: _Worth, inside: Bools) -> Iterator[_Step]:
    """Give each feature's best condition within a region."""
    for name in X.columns:
        column = X[name]
        numeric = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        step = _cut(column, marks, worth, inside) if numeric else _list(column, marks, worth, inside)
        if step is not None:
            yield step
        missing = column.isna().to_numpy(dtype=bool)
        if (missing & inside).any() and not missing[inside].all():
            yield _worth_of(missing, marks, worth, inside), f"{name} is missing", _is_missing(name)


def _is_missing(name: str) -> Callable[[pd.DataFrame], Bools]:
    return lambda frame: frame[name].isna().to_numpy(dtype=bool)


def _worth_of(rows: Bools, marks: Bools, worth: _Worth, inside: Bools) -> float:
    region = rows & inside
    return float(worth(np.array([float((region & marks).sum())]), np.array([float(region.sum())]))[0])


def _cut(column: pd.Series, marks: Bools, worth: _Worth, inside: Bools) -> _Step | None:
    """Find the best cut-off of a number."""
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    known = inside & np.isfinite(values)
    if not known.any():
        return None
    order = np.argsort(values[known], kind="stable")
    x, hit = values[known][order], marks[known][order]
    steps = np.flatnonzero(np.diff(x) > 0) + 1  # a cut falls between two values
    if len(steps) == 0:
        return None
    below, size = np.cumsum(hit)[steps - 1].astype(float), steps.astype(float)
    low, high = worth(below, size), worth(float(hit.sum()) - below, len(x) - size)
    at_most = bool(low.max() > high.max())
    k = int(steps[int(np.argmax(low if at_most else high))])
    cut = _shortest(float(x[k - 1]), float(x[k]))
    name = column.name

    def meets(frame: pd.DataFrame) -> Bools:
        other = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
        with np.errstate(invalid="ignore"):
            return other < cut if at_most else other >= cut

    return float(max(low.max(), high.max())), f"{column.name} {'<' if at_most else '>='} {_text(cut)}", meets


def _shortest(below: float, above: float) -> float:
    """Return the number of fewest digits in (below, above]."""
    for digits in range(1, 17):
        for candidate in (float(f"{above:.{digits}g}"), float(f"{(below + above) / 2:.{digits}g}")):
            if below < candidate <= above:
                return candidate
    return above


def _text(number: float) -> str:
    """Write a number so that it reads back as itself."""
    return f"{number:g}" if float(f"{number:g}") == number else repr(number)


def _list(column: pd.Series, marks: Bools, worth: _Worth, inside: Bools) -> _Step | None:
    """Find the best list of categories."""
    codes, names = pd.factorize(column)
    known = inside & (codes >= 0)
    if len(names) < 2 or not known.any():
        return None
    size = np.bincount(codes[known], minlength=len(names)).astype(float)
    hits = np.bincount(codes[known], weights=marks[known].astype(float), minlength=len(names))
    present = np.flatnonzero(size)
    best: tuple[float, NDArray[np.intp]] | None = None
    for sign in (1, -1):
        order = present[np.argsort(sign * hits[present] / size[present], kind="stable")][:-1]
        if len(order) == 0:
            continue
        value = worth(np.cumsum(hits[order]), np.cumsum(size[order]))
        k = int(np.argmax(value))
        if best is None or value[k] > best[0]:
            best = float(value[k]), order[: k + 1]
    if best is None:
        return None
    name, listed = column.name, [names[i] for i in np.sort(best[1])]

    def meets(frame: pd.DataFrame) -> Bools:
        return frame[name].isin(listed).to_numpy(dtype=bool)

    return best[0], _in_words(str(name), listed), meets


def _in_words(name: str, values: list[object]) -> str:
    if len(values) == 1 and isinstance(values[0], bool | np.bool_):
        return name if values[0] else f"not {name}"
    texts = sorted(repr(str(v)) for v in values)
    if len(texts) == 1:
        return f"{name} == {texts[0]}"
    if len(texts) > _LIST_LENGTH:
        texts = [*texts[:_LIST_LENGTH], f"and {len(texts) - _LIST_LENGTH} more"]
    return f"{name} in [{', '.join(texts)}]"
