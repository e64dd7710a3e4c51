"""Channel response against known rates by channel and hour; what a rare channel borrows; what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from collectml.errors import ConfigurationError, SchemaError
from collectml.models import ChannelResponseModel

BASE = {"call": -1.2, "email": -2.0, "letter": -1.0, "sms": -1.6, "visit": -0.4}
SHARE = {"call": 0.44, "email": 0.2, "letter": 0.15, "sms": 0.2, "visit": 0.01}
EVENING = 17


def true_rate(X, channel, hour):
    """Calls are answered in the evening; no other channel has an hour that matters."""
    z = 0.9 * X["score"] - 0.008 * (X["days_past_due"] - 60) + 0.6 * X["has_email"] + pd.Series(channel).map(BASE).to_numpy()
    by_hour = np.where(np.asarray(hour) >= EVENING, 0.9, -0.3)
    return expit(z.to_numpy() + np.where(np.asarray(channel) == "call", by_hour, 0.0))


def attempts(n, seed):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "score": rng.normal(size=n),
            "days_past_due": rng.integers(0, 120, n),
            "has_email": rng.random(n) < 0.6,
            "noise": rng.normal(size=n),
        },
        index=pd.RangeIndex(100, 100 + n, name="account_id"),
    )
    channel = rng.choice(list(SHARE), n, p=list(SHARE.values()))
    hour = np.where(channel == "letter", np.nan, rng.integers(8, 20, n)).astype(float)
    responded = rng.random(n) < true_rate(X, channel, hour)
    return X, responded, channel, hour


@pytest.fixture(scope="module")
def log():
    return attempts(20_000, seed=0)


@pytest.fixture(scope="module")
def model(log):
    X, responded, channel, hour = log
    return ChannelResponseModel(random_state=0).fit(X, responded, channel=channel, hour=hour)


@pytest.fixture(scope="module")
def fresh():
    return attempts(8_000, seed=50)[0]


def error(predicted, truth):
    return float(np.sqrt(np.mean((np.asarray(predicted) - truth) ** 2)))


@pytest.mark.parametrize("hour", [9, 15, 18])
def test_rates_by_channel_and_hour_are_the_true_ones(model, fresh, hour):
    p = model.predict_proba(fresh, hour=hour)
    assert p.columns.tolist() == sorted(BASE)
    assert p.index.equals(fresh.index)
    for channel in ("call", "email", "letter", "sms"):
        truth = true_rate(fresh, np.full(len(fresh), channel), np.full(len(fresh), hour))
        assert abs(p[channel].mean() - truth.mean()) < 0.05
        assert error(p[channel], truth) < 0.08
        assert np.corrcoef(p[channel], truth)[0, 1] > 0.9


def test_the_hour_changes_calls_where_it_was_logged_to_matter(model, fresh):
    morning, evening = (model.predict_proba(fresh, hour=at)["call"] for at in (10, 18))
    truth = [true_rate(fresh, np.full(len(fresh), "call"), np.full(len(fresh), at)).mean() for at in (10, 18)]
    assert truth[1] - truth[0] > 0.2
    assert evening.mean() - morning.mean() == pytest.approx(truth[1] - truth[0], abs=0.07)
    assert (evening > morning).mean() > 0.99


def test_a_channel_logged_without_hours_does_not_depend_on_them(model, fresh):
    letters = [model.predict_proba(fresh, hour=at)["letter"] for at in (None, 9, 18, np.nan)]
    for other in letters[1:]:
        np.testing.assert_array_equal(other, letters[0])


def test_an_hour_per_account_and_one_for_all_agree(model, fresh):
    X = fresh.head(40)
    hours = np.where(np.arange(40) % 2, 9.0, 18.0)
    each = model.predict_proba(X, hour=hours)
    for at in (9, 18):
        pd.testing.assert_frame_equal(each[hours == at], model.predict_proba(X[hours == at], hour=at))
    # a missing hour is a typical day, whatever the type it is missing in
    some = pd.array([None] * 10 + [18] * 30, dtype="Int64")
    mixed = model.predict_proba(X, hour=some)
    pd.testing.assert_frame_equal(mixed.head(10), model.predict_proba(X.head(10)))
    pd.testing.assert_frame_equal(mixed.tail(30), model.predict_proba(X.tail(30), hour=18))


def test_without_an_hour_the_logged_day_is_meant(model, log):
    X, responded, channel, _ = log
    p = model.predict_proba(X)
    for name in ("email", "letter", "sms"):
        assert p.loc[channel == name, name].mean() == pytest.approx(responded[channel == name].mean(), abs=0.015)
    # six hours stand for twelve, two of the six for the quarter of the day that is evening
    calls = channel == "call"
    assert p.loc[calls, "call"].mean() == pytest.approx(responded[calls].mean(), abs=0.025)


def test_a_day_with_few_hours_is_weighed_by_its_attempts():
    X, responded, _, _ = attempts(4_000, seed=2)
    hour = np.where(np.arange(4_000) % 4 == 0, 18, 9)
    model = ChannelResponseModel(n_estimators=40, random_state=0).fit(X, responded, channel=["call"] * 4_000, hour=hour)
    day = 0.75 * model.predict_proba(X, hour=9) + 0.25 * model.predict_proba(X, hour=18)
    pd.testing.assert_frame_equal(model.predict_proba(X), day)


def test_a_rare_channel_borrows_strength(model, log, fresh):
    X, responded, channel, hour = log
    own = channel == "visit"
    assert 100 < own.sum() < 300
    alone = ChannelResponseModel(random_state=0).fit(X[own], responded[own], channel=channel[own], hour=hour[own])
    truth = true_rate(fresh, np.full(len(fresh), "visit"), np.full(len(fresh), 12.0))
    shared = error(model.predict_proba(fresh)["visit"], truth)
    assert shared < 0.5 * error(alone.predict_proba(fresh)["visit"], truth)
    assert shared < 0.5 * error(responded[own].mean(), truth)


def test_a_channel_with_five_attempts_stays_near_the_pool(log):
    X, responded, channel, hour = (part[:3_000] for part in log)
    channel = np.where(np.arange(3_000) < 5, "fax", channel)
    responded = np.where(np.arange(3_000) < 5, True, responded)
    model = ChannelResponseModel(n_estimators=50, random_state=0).fit(X, responded, channel=channel, hour=hour)
    pool = responded.mean()
    assert model.rates_["fax"] == pytest.approx((5 + 50 * pool) / 55)
    assert pool < model.predict_proba(X)["fax"].mean() < pool + 0.15
    none = ChannelResponseModel(prior_rows=0.0, n_estimators=50, random_state=0)
    eager = none.fit(X, np.where(np.arange(3_000) < 5, np.arange(3_000) > 0, responded), channel=channel, hour=hour)
    assert eager.rates_["fax"] == pytest.approx(0.8)


def test_out_of_fold_probabilities_do_not_leak():
    rng = np.random.default_rng(4)
    X = pd.DataFrame(rng.normal(size=(3_000, 5)), columns=list("abcde"))
    responded = rng.random(3_000) < 0.3
    channel = rng.choice(["call", "sms"], 3_000)
    memory = {"n_estimators": 150, "num_leaves": 31, "min_child_samples": 5, "learning_rate": 0.1}
    model = ChannelResponseModel(early_stopping_rounds=None, calibration=None, lambda_l2=0.0, random_state=0, **memory)
    model.fit(X, responded, channel=channel)
    in_sample = np.where(channel == "call", model.predict_proba(X)["call"], model.predict_proba(X)["sms"])
    gap = [p[responded].mean() - p[~responded].mean() for p in (in_sample, model.oof_proba_)]
    assert gap[0] > 0.3
    assert abs(gap[1]) < 0.03


def test_out_of_fold_maps_never_saw_their_fold():
    """Isotonic maps of sixty rows of noise believe it: where they are tested elsewhere, nothing of it is left."""
    gaps = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X = pd.DataFrame(rng.normal(size=(300, 3)), columns=list("abc"))
        responded = rng.random(300) < 0.4
        model = ChannelResponseModel(calibration="isotonic", n_estimators=20, early_stopping_rounds=None, random_state=seed)
        model.fit(X, responded, channel=["call"] * 300)
        gaps.append(model.oof_proba_[responded].mean() - model.oof_proba_[~responded].mean())
    assert abs(np.mean(gaps)) < 0.03


def test_best_hour_is_an_evening_one_for_calls(model, fresh):
    best = model.best_hour(fresh.head(500), "call")
    assert best.index.equals(fresh.head(500).index)
    assert best.isin([17, 18, 19]).mean() > 0.98
    by_hour = pd.DataFrame({at: model.predict_proba(fresh.head(500), hour=at)["call"] for at in range(8, 20)})
    np.testing.assert_array_equal(best, by_hour.idxmax(axis="columns"))


def test_best_hour_refuses_hours_nobody_tried(model, fresh):
    with pytest.raises(ConfigurationError, match="no hour has 20 logged attempts on 'letter'"):
        model.best_hour(fresh, "letter")


def test_an_unknown_channel_is_refused(model, fresh):
    with pytest.raises(ConfigurationError, match="unknown channel 'fax'; seen at fit: call, email, letter, sms, visit"):
        model.best_hour(fresh, "fax")


def test_a_model_without_hours_refuses_one(log):
    X, responded, channel, _ = (part[:1_000] for part in log)
    model = ChannelResponseModel(n_estimators=10, random_state=0).fit(X, responded, channel=channel)
    assert model.predict_proba(X).shape == (1_000, 5)
    with pytest.raises(ConfigurationError, match="fitted without hours; leave hour out"):
        model.predict_proba(X, hour=9)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"responded": np.full(100, 0.5)}, "responded must hold 0 and 1 only"),
        ({"responded": np.full(100, -1)}, "responded must hold 0 and 1 only"),
        ({"responded": np.zeros(100)}, "one class: responded is 0 in all rows"),
        ({"responded": np.full(100, np.nan)}, "responded contains NaN"),
        ({"responded": np.zeros(99)}, "responded has 99 entries, X has 100 rows"),
        ({"channel": ["call"] * 99}, "channel has 99 entries, X has 100 rows"),
        ({"channel": ["call"] * 99 + [None]}, "channel contains NaN: 1 of its values"),
        ({"channel": None}, "requires channel to be passed"),
        ({"hour": np.full(100, 24)}, "hour must lie between 0 and 23; 100 rows do not, such as 24.0"),
        ({"hour": np.full(100, -1)}, "hour must lie between 0 and 23; 100 rows do not, such as -1.0"),
        ({"sample_weight": -np.ones(100)}, "sample_weight must be 0 or more"),
    ],
)
def test_a_log_it_cannot_learn_from_is_refused(log, wrong, message):
    rows = dict(zip(("X", "responded", "channel", "hour"), (part[:100] for part in log), strict=True)) | wrong
    with pytest.raises(SchemaError, match=message):
        ChannelResponseModel(n_estimators=5).fit(**rows)


def test_hours_of_another_length_or_no_hours_at_all_are_refused_at_prediction(model, fresh):
    with pytest.raises(SchemaError, match="hour has 2 entries, X has 8000 rows"):
        model.predict_proba(fresh, hour=[9, 10])
    with pytest.raises(SchemaError, match="hour must lie between 0 and 23"):
        model.predict_proba(fresh, hour=25)
