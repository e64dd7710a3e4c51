"""Channel response: the probability that an attempt on a channel reaches the account, at an hour where it is known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self, cast

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, logit

from collectml.errors import ConfigurationError, SchemaError
from collectml.models._base import BoosterModel, Floats, binary, check_rows, row_index
from collectml.models._calibration import Calibrator, resolve_method
from collectml.models._cross_fit import cross_fit_margin
from collectml.models._lightgbm import rows_of, thread_count
from collectml.models._one_walk import predict_settings

__all__ = ["ChannelResponseModel"]

# at most so many hours stand for a channel's day; more would cost a walk through the booster each
_HOURS_OF_A_DAY = 6
# an hour counts as tried on a channel from so many attempts on; below it, its rate is an extrapolation
_ATTEMPTS_PER_HOUR = 20
# standard deviation, in log-odds, of what is left between channels once their rates are in the offset
_CHANNEL_SPREAD = 0.25


class ChannelResponseModel(BoosterModel):
    """P(right-party contact or response | account, channel, hour): one booster shared by all channels.

    A channel starts from its own response rate, pulled towards the pooled one by ``prior_rows`` attempts; the shared
    booster, which knows the channel and the hour, learns what accounts add; a calibration map shared by the
    channels, shifted for each by what its attempts can support, makes the result a probability. A rare channel so
    borrows what accounts have in common and keeps to a rate near the pool.

    Parameters
    ----------
    prior_rows : float, default 50
        Attempts of pooled evidence a channel's own rate is weighed against.
    calibration : {"auto", "isotonic", "platt"} or None, default "auto"
        The shared map.
    n_estimators, learning_rate, num_leaves, min_child_samples, early_stopping_rounds, folds, random_state, n_jobs
        As in :class:`PropensityToPayModel`.
    **params
        Any further LightGBM parameter.

    Attributes
    ----------
    channels_ : list of str
        Channels seen, sorted by name: the columns of the predictions.
    rates_ : Series
        Pooled response rate of each channel.
    hours_ : dict of str to dict of int to int
        Attempts by channel and hour.
    booster_ : lightgbm.Booster
    oof_proba_ : ndarray, shape (n,)
        Cross-fitted probabilities of the logged attempts (not stored with the model).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = pd.DataFrame({"days_past_due": rng.integers(1, 90, 800)})
    >>> channel = rng.choice(["call", "sms"], 800)
    >>> reached = rng.random(800) < np.where(channel == "call", 0.3, 0.1)
    >>> model = ChannelResponseModel(random_state=0).fit(X, reached, channel=channel)
    >>> p = model.predict_proba(X.head(2))
    >>> list(p.columns), bool((p["call"] > p["sms"]).all())
    (['call', 'sms'], True)
    """

    kind: ClassVar[str] = "channel_response"

    def __init__(
        self,
        *,
        prior_rows: float = 50.0,
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
        self.prior_rows = prior_rows
        self.calibration = calibration

    def fit(
        self,
        X: pd.DataFrame | ArrayLike,
        responded: ArrayLike,
        *,
        channel: ArrayLike,
        hour: ArrayLike | None = None,
        customer: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Learn who answers where and when.

        Parameters
        ----------
        X : DataFrame or array-like, shape (n, p)
            Account features as of the attempt; one row is one attempt.
        responded : array-like of 0 and 1, shape (n,)
            Right-party contact, or a response.
        channel : array-like of str, shape (n,)
        hour : array-like, shape (n,), optional
            Hour of the attempt, 0 to 23; missing where it was not logged.
        customer : array-like, shape (n,), optional
            Rows of one customer share a fold.
        sample_weight : array-like, shape (n,), optional

        Returns
        -------
        self

        Raises
        ------
        SchemaError
            Where nothing or everything was answered, a channel is missing or an hour is not one.
        """
        encoded = self._encode_fit(X)
        rows = check_rows(
            encoded, responded=responded, channel=channel, hour=hour, customer=customer, sample_weight=sample_weight
        )
        y = binary(rows["responded"], "responded")
        if y.min() == y.max():
            raise SchemaError(f"ChannelResponseModel cannot learn from one class: responded is {y[0]:.0f} in all rows.")
        names, code = np.unique(rows["channel"].astype(str), return_inverse=True)
        hours = _check_hours(rows.get("hour"), len(y))
        weight = rows["sample_weight"].astype(np.float64) if "sample_weight" in rows else None
        self.channels_ = [str(name) for name in names]
        self.hours_ = _count_hours(self.channels_, code, hours)
        rates = _pooled_rates(code, y, np.ones(len(y)) if weight is None else weight, self.prior_rows)
        self.rates_ = pd.Series(rates, index=self.channels_, name="rate")
        design = np.column_stack([encoded, code.astype(np.float64), hours])
        folds = self._folds(2 * code + y, rows.get("customer"), at_most=int(min(y.sum(), len(y) - y.sum())))
        plan = self._plan(objective="binary", defaults={"lambda_l2": 5.0}).with_categorical(encoded.shape[1])
        offset = logit(rates)[code]
        method = resolve_method(self.calibration, y)
        fit = cross_fit_margin(design, y, folds, plan, weight=weight, offset=offset)
        self.booster_, margin = fit.booster, fit.margin
        self.oof_proba_ = np.empty(len(y))
        for fold in np.unique(folds):
            held = folds == fold
            w = rows_of(weight, ~held)
            shared = Calibrator(method).fit(margin[~held], y[~held], w)
            shift = _channel_shifts(shared.predict(margin[~held]), y[~held], code[~held], len(names), w)
            self.oof_proba_[held] = _shifted(shared.predict(margin[held]), shift[code[held]])
        self.calibrator_ = Calibrator(method).fit(margin, y, weight)
        self.shifts_ = _channel_shifts(self.calibrator_.predict(margin), y, code, len(names), weight)
        return self

    def predict_proba(self, X: pd.DataFrame | ArrayLike, *, hour: ArrayLike | int | None = None) -> pd.DataFrame:
        """Predict the probability that one attempt reaches the account, for every channel.

        Parameters
        ----------
        X : DataFrame or array-like, shape (n, p)
        hour : int or array-like, shape (n,), optional
            Hour of the attempt. Where it is missing, the mean over the channel's day as it was logged: at most six
            hours, each standing for the same share of that channel's attempts. A channel logged without hours
            (letters, say) does not depend on it.

        Returns
        -------
        DataFrame, shape (n, channels)
            Index of X, columns ``channels_``.
        """
        encoded = self._encode(X)
        return pd.DataFrame(self.predict_encoded(encoded, hour), index=row_index(X, len(encoded)), columns=self.channels_)

    def predict_encoded(self, encoded: Floats, hour: ArrayLike | int | None = None) -> Floats:
        """Predict as :meth:`predict_proba` does, for features already encoded.

        Parameters
        ----------
        encoded : ndarray, shape (n, p)
        hour : int or array-like, shape (n,), optional

        Returns
        -------
        ndarray, shape (n, channels)
        """
        n = len(encoded)
        if hour is not None and not any(self.hours_.values()):
            raise ConfigurationError("this model was fitted without hours; leave hour out.")
        if hour is not None and np.ndim(hour) == 0:
            hour = np.full(n, hour)
        given = np.full(n, np.nan) if hour is None else _check_hours(check_rows(encoded, hour=hour)["hour"], n)
        out = np.zeros((n, len(self.channels_)))
        for i, name in enumerate(self.channels_):
            # what one channel's hours taught says nothing about a channel that was logged without them
            known = ~np.isnan(given) & bool(self.hours_[name])
            if known.any():
                out[known, i] = self._at(encoded[known], i, given[known])
            if known.all():
                continue
            day = _typical_day(self.hours_[name])
            settings = np.array([(float(i), at) for at, _ in day])
            margins = predict_settings(self.booster_, encoded[~known], settings, raw=True, threads=thread_count(self.n_jobs))
            p = self._calibrated(margins.ravel(), i).reshape(margins.shape)
            for at, (_, share) in enumerate(day):
                out[~known, i] += share * p[:, at]
        return out

    def best_hour(self, X: pd.DataFrame | ArrayLike, channel: str) -> pd.Series:
        """Find the hour at which each account is most likely reached on a channel.

        Parameters
        ----------
        X : DataFrame or array-like, shape (n, p)
        channel : str

        Returns
        -------
        Series of int, shape (n,)
            Among the hours with at least 20 attempts on that channel; the earliest of equal ones.
        """
        encoded = self._encode(X)
        if channel not in self.channels_:
            raise ConfigurationError(f"unknown channel {channel!r}; seen at fit: {', '.join(self.channels_)}.")
        tried = sorted(at for at, n in self.hours_[channel].items() if n >= _ATTEMPTS_PER_HOUR)
        if not tried:
            raise ConfigurationError(
                f"no hour has {_ATTEMPTS_PER_HOUR} logged attempts on {channel!r}: the best one cannot be told."
            )
        i = self.channels_.index(channel)
        by_hour = np.column_stack([self._at(encoded, i, float(at)) for at in tried])
        best = np.asarray(tried)[by_hour.argmax(axis=1)]
        return pd.Series(best, index=row_index(X, len(encoded)), name="best_hour")

    def _at(self, encoded: Floats, channel: int, hour: float | Floats) -> Floats:
        n = len(encoded)
        design = np.column_stack([encoded, np.full(n, float(channel)), np.broadcast_to(hour, n)])
        return self._calibrated(np.asarray(self.booster_.predict(design, raw_score=True), dtype=np.float64), channel)

    def _calibrated(self, margin: Floats, channel: int) -> Floats:
        p = self.calibrator_.predict(margin + logit(float(self.rates_.to_numpy()[channel])))
        return _shifted(p, np.full(len(p), self.shifts_[channel]))

    def _state(self) -> tuple[dict[str, object], dict[str, lgb.Booster]]:
        state: dict[str, object] = {
            "channels": self.channels_,
            "rates": self.rates_.to_numpy(),
            "shifts": self.shifts_,
            "hours": self.hours_,
            "calibrator": self.calibrator_.to_json(),
        }
        return state, {"response": self.booster_}

    def _restore(self, state: Mapping[str, object], boosters: Mapping[str, lgb.Booster]) -> None:
        self.channels_ = list(cast("list[str]", state["channels"]))
        self.rates_ = pd.Series(np.asarray(state["rates"], dtype=np.float64), index=self.channels_, name="rate")
        self.shifts_ = np.asarray(state["shifts"], dtype=np.float64)
        stored = cast("Mapping[str, Mapping[str, int]]", state["hours"])
        self.hours_ = {name: {int(at): int(n) for at, n in day.items()} for name, day in stored.items()}
        self.calibrator_ = Calibrator.from_json(cast("Mapping[str, object]", state["calibrator"]))
        self.booster_ = boosters["response"]


def _check_hours(hour: NDArray[np.generic] | None, n: int) -> Floats:
    if hour is None:
        return np.full(n, np.nan)
    hours: Floats = pd.Series(hour).to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = ~np.isnan(hours) & ~((hours >= 0) & (hours < 24))
    if wrong.any():
        raise SchemaError(f"hour must lie between 0 and 23; {int(wrong.sum())} rows do not, such as {hours[wrong][0]}.")
    return np.floor(hours)


def _count_hours(names: list[str], code: NDArray[np.intp], hours: Floats) -> dict[str, dict[int, int]]:
    known = ~np.isnan(hours)
    count = np.zeros((len(names), 24), dtype=np.int64)
    np.add.at(count, (code[known], hours[known].astype(np.int64)), 1)
    return {name: {at: int(n) for at, n in enumerate(count[i]) if n > 0} for i, name in enumerate(names)}


def _typical_day(counts: Mapping[int, int]) -> list[tuple[float, float]]:
    """Return hours and their shares that stand for a channel's day: all of them, or six at equal shares."""
    if not counts:
        return [(float("nan"), 1.0)]
    hours = np.array(sorted(counts), dtype=np.float64)
    share = np.array([counts[int(at)] for at in hours], dtype=np.float64)
    share /= share.sum()
    if len(hours) <= _HOURS_OF_A_DAY:
        return [(float(at), float(s)) for at, s in zip(hours, share, strict=True)]
    middles = (np.arange(_HOURS_OF_A_DAY) + 0.5) / _HOURS_OF_A_DAY
    nodes = hours[np.searchsorted(np.cumsum(share), middles)]
    return [(float(at), 1.0 / _HOURS_OF_A_DAY) for at in nodes]


def _pooled_rates(code: NDArray[np.intp], y: Floats, weight: Floats, prior_rows: float) -> Floats:
    pool = float(np.average(y, weights=weight))
    responses = np.bincount(code, weights=weight * y)
    attempts = np.bincount(code, weights=weight)
    return (responses + prior_rows * pool) / (attempts + prior_rows)


def _shifted(p: Floats, shift: Floats) -> Floats:
    return np.asarray(expit(logit(p) + shift), dtype=np.float64)


def _channel_shifts(p: Floats, y: Floats, code: NDArray[np.intp], n_channels: int, weight: Floats | None) -> Floats:
    """Shift each channel's log-odds to its observed total, as far as a normal prior around zero gives way."""
    w = np.ones(len(y)) if weight is None else weight
    observed = np.bincount(code, weights=w * y, minlength=n_channels)
    shift = np.zeros(n_channels)
    for _ in range(25):
        now = _shifted(p, shift[code])
        gradient = observed - np.bincount(code, weights=w * now, minlength=n_channels) - shift / _CHANNEL_SPREAD**2
        curvature = np.bincount(code, weights=w * now * (1 - now), minlength=n_channels) + _CHANNEL_SPREAD**-2
        shift = shift + np.clip(gradient / curvature, -1.0, 1.0)
    return shift
