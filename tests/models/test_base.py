"""What every boosted model owes its users: names, not positions; the same bits twice and from text; one clear line when not."""

from __future__ import annotations

import json

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.base import clone
from sklearn.exceptions import NotFittedError as SklearnNotFittedError

from collectml.errors import CollectMLError, ConfigurationError, NotFittedError, SchemaError
from collectml.models import ChannelResponseModel, ComplaintModel, PropensityToPayModel, RecoveryModel

MODELS = [PropensityToPayModel, ChannelResponseModel, RecoveryModel, ComplaintModel]
SMALL = {"n_estimators": 30, "folds": 3, "min_child_samples": 30, "random_state": 0}


def accounts(n=1_500, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "score": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
            "product": rng.choice(["card", "loan", "overdraft"], n),
            "days_past_due": rng.integers(0, 120, n),
            "has_phone": rng.random(n) < 0.7,
        },
        index=pd.RangeIndex(7_000, 7_000 + n, name="account_id"),
    )


def fit(model, X, **extra):
    """Fit any of them to the same made-up outcomes."""
    rng = np.random.default_rng(1)
    z = X["score"].fillna(0.5) + (X["product"] == "loan") - 0.01 * X["days_past_due"]
    event = (rng.random(len(X)) < expit(z.to_numpy(dtype=float) - 0.5)).astype(int)
    arm = rng.choice(["call", "sms"], len(X))
    if isinstance(model, PropensityToPayModel):
        return model.fit(X, event, **extra)
    if isinstance(model, ChannelResponseModel):
        return model.fit(X, event, channel=arm, hour=rng.integers(8, 20, len(X)), **extra)
    if isinstance(model, ComplaintModel):
        return model.fit(X, event, action=arm, control="sms", **extra)
    owed = rng.uniform(100, 900, len(X))
    return model.fit(X, event * owed * rng.choice([0.2, 1.0], len(X)), balance=owed, **extra)


def predict(model, X):
    if isinstance(model, RecoveryModel):
        return model.predict_parts(X, np.full(len(X), 400.0)).to_numpy()
    return np.asarray(model.predict(X) if isinstance(model, ComplaintModel) else model.predict_proba(X))


def boosters(model):
    return [lgb.Booster(model_str=text) for text in model.to_parts()["boosters"].values()]


@pytest.fixture(scope="module", params=MODELS, ids=lambda kind: kind.kind)
def fitted(request):
    return fit(request.param(**SMALL), accounts())


@pytest.fixture(scope="module")
def fresh():
    return accounts(400, seed=9)


def test_accounts_differ(fitted, fresh):
    """Else the equalities below would hold of any constant."""
    assert (predict(fitted, fresh).std(axis=0) > 0.01).any()


def test_parts_are_json_and_give_the_same_bits(fitted, fresh):
    parts = fitted.to_parts()
    stored = json.loads(json.dumps(parts, allow_nan=False))
    loaded = type(fitted).from_parts(stored)
    np.testing.assert_array_equal(predict(loaded, fresh), predict(fitted, fresh))
    assert loaded.to_parts() == parts
    assert loaded.get_params() == fitted.get_params()
    assert all(text.startswith("tree\n") for text in parts["boosters"].values())
    assert parts["boosters"]


def test_a_loaded_model_can_be_fitted_again(fitted, fresh):
    loaded = type(fitted).from_parts(fitted.to_parts())
    np.testing.assert_array_equal(predict(fit(loaded, accounts()), fresh), predict(fitted, fresh))


def test_parts_of_another_kind_are_refused(fitted):
    other = MODELS[(MODELS.index(type(fitted)) + 1) % len(MODELS)]
    with pytest.raises(SchemaError, match=f"these parts are of kind '{fitted.kind}', not '{other.kind}'"):
        other.from_parts(fitted.to_parts())


def test_a_seed_gives_the_same_bits_on_one_thread_or_two(fitted, fresh):
    again = fit(clone(fitted).set_params(n_jobs=1), accounts())
    np.testing.assert_array_equal(predict(again, fresh), predict(fitted, fresh))
    other = fit(clone(fitted).set_params(random_state=1), accounts())
    assert not np.array_equal(predict(other, fresh), predict(fitted, fresh))


def test_the_callers_frame_is_left_alone(fitted):
    X = accounts()
    fit(clone(fitted), X)
    predict(fitted, X)
    pd.testing.assert_frame_equal(X, accounts())


def test_columns_are_matched_by_name(fitted, fresh):
    rearranged = fresh.assign(telephone="additional")[["has_phone", "telephone", "days_past_due", "product", "score"]]
    np.testing.assert_array_equal(predict(fitted, rearranged), predict(fitted, fresh))


def test_each_row_is_predicted_by_itself(fitted, fresh):
    whole = predict(fitted, fresh)
    np.testing.assert_array_equal(predict(fitted, fresh.iloc[::-1]), whole[::-1])
    np.testing.assert_array_equal(predict(fitted, fresh.iloc[[17]]), whole[[17]])
    assert predict(fitted, fresh.iloc[:0]).shape == (0, whole.shape[1])


def test_a_level_never_seen_equals_a_missing_one(fitted, fresh):
    unseen, missing = fresh.assign(product="mortgage"), fresh.assign(product=None)
    np.testing.assert_array_equal(predict(fitted, unseen), predict(fitted, missing))
    assert not np.array_equal(predict(fitted, unseen), predict(fitted, fresh))


def test_missing_columns_are_named_in_one_line(fitted, fresh):
    with pytest.raises(SchemaError, match="missing columns: score, product, has_phone") as refusal:
        predict(fitted, fresh[["days_past_due"]])
    assert "\n" not in str(refusal.value)
    assert refusal.value.faults["column"].tolist() == ["score", "product", "has_phone"]


def test_columns_that_changed_their_kind_are_named_in_one_line(fitted, fresh):
    with pytest.raises(SchemaError, match="score: was numeric at fit and is text now; product: was text at fit") as refusal:
        predict(fitted, fresh.assign(score="high", product=3.0))
    assert "\n" not in str(refusal.value)


def test_customers_of_another_length_are_refused(fitted):
    with pytest.raises(SchemaError, match="customer has 3 entries, X has 1500 rows"):
        fit(clone(fitted), accounts(), customer=[1, 2, 3])


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.kind)
def test_an_unfitted_model_says_so(kind):
    for ask in (lambda: predict(kind(), accounts(5)), kind().to_parts):
        with pytest.raises(NotFittedError, match=f"this {kind.__name__} is not fitted yet; call fit first") as refusal:
            ask()
        assert isinstance(refusal.value, SklearnNotFittedError)
        assert isinstance(refusal.value, CollectMLError)


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.kind)
def test_further_parameters_are_parameters(kind):
    model = kind(min_split_gain=0.1, **SMALL)
    assert model.get_params()["min_split_gain"] == 0.1
    copy = clone(model).set_params(min_split_gain=1e9)
    assert (model.min_split_gain, copy.min_split_gain) == (0.1, 1e9)
    # a gain nobody reaches leaves stumps without a split: it did arrive at LightGBM
    assert np.ptp(predict(fit(copy, accounts()), accounts(50)), axis=0).max() < 1e-9
    loaded = kind.from_parts(json.loads(json.dumps(copy.to_parts())))
    assert loaded.get_params()["min_split_gain"] == 1e9


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.kind)
@pytest.mark.parametrize("own", [{"min_child_samples": 10**6}, {"learning_rate": 1e-9}], ids=lambda own: next(iter(own)))
def test_a_models_own_parameters_arrive(kind, own):
    model = fit(
        kind(**{**SMALL, "calibration": None, **own} if kind is not ComplaintModel else {**SMALL, **own}), accounts()
    )
    assert boosters(model)
    for booster in boosters(model):
        rows = np.random.default_rng(0).integers(0, 3, (200, booster.num_feature())).astype(float)
        assert np.ptp(booster.predict(rows, raw_score=True)) < 1e-6


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.kind)
def test_parameters_nobody_knows_are_refused_together(kind):
    with pytest.raises(
        ConfigurationError, match="leafs is not a LightGBM parameter; num_threads is set by the model itself"
    ):
        fit(kind(leafs=3, num_threads=8), accounts(200))


@pytest.mark.parametrize("kind", MODELS, ids=lambda kind: kind.kind)
@pytest.mark.parametrize(
    ("X", "message"),
    [
        (accounts(200).assign(seen=pd.Timestamp("2026-01-01")), "seen: dates cannot be features"),
        (accounts(200)[[]], "X holds no data"),
        (accounts(200).set_axis(["a", "a", "days_past_due", "b"], axis="columns"), "a: repeated column"),
    ],
    ids=["date", "no columns", "repeated"],
)
def test_features_it_cannot_read_are_refused(kind, X, message):
    outcome = np.arange(len(X)) % 2
    more = {
        PropensityToPayModel: {},
        ChannelResponseModel: {"channel": ["sms"] * len(X)},
        RecoveryModel: {"balance": np.ones(len(X))},
        ComplaintModel: {"action": ["sms"] * len(X)},
    }
    with pytest.raises(SchemaError, match=message):
        kind(**SMALL).fit(X, outcome, **more[kind])
