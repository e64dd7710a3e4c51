"""Propensity to pay: calibrated against a simulated truth, cross-fitted without leaks, honest about what it cannot read."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from collectml.errors import ConfigurationError, NotFittedError, SchemaError
from collectml.models import PropensityToPayModel
from collectml.models._calibration import calibration_line

# large enough to learn by heart whatever rows it is shown
MEMORY = {
    "n_estimators": 150,
    "learning_rate": 0.1,
    "num_leaves": 31,
    "min_child_samples": 5,
    "reg_lambda": 0.0,
    "early_stopping_rounds": None,
}


def logistic_world(n, seed):
    """Accounts whose log-odds to pay are known; a missing income itself says that they are likelier to."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "score": rng.normal(size=n),
            "days_past_due": rng.integers(0, 120, n),
            "product": rng.choice(["card", "loan", "overdraft"], n),
            "income": np.where(rng.random(n) < 0.3, np.nan, rng.lognormal(7, 0.5, n)),
            "noise": rng.normal(size=n),
        },
        index=pd.RangeIndex(5000, 5000 + n, name="account_id"),
    )
    log_odds = (
        0.8 * X["score"]
        - 0.015 * (X["days_past_due"] - 60)
        + X["product"].map({"card": 0.0, "loan": 0.7, "overdraft": -0.6}).astype(float)
        + X["income"].isna()
        - 0.8
    )
    p = expit(log_odds.to_numpy(dtype=float))
    return X, p, (rng.random(n) < p).astype(int)


@pytest.fixture(scope="module")
def world():
    return logistic_world(8_000, seed=0)


@pytest.fixture(scope="module")
def fresh():
    return logistic_world(20_000, seed=100)


@pytest.fixture(scope="module", params=["isotonic", "platt"])
def fitted(request, world):
    X, _, paid = world
    return PropensityToPayModel(calibration=request.param, random_state=0).fit(X, paid)


@pytest.fixture(scope="module")
def model(world):
    X, _, paid = world
    return PropensityToPayModel(random_state=0).fit(X, paid)


def test_probabilities_of_new_accounts_are_the_true_ones(fitted, fresh):
    X, truth, _ = fresh
    p = fitted.predict_proba(X)
    assert p.shape == (len(X), 2)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-12)
    intercept, slope = calibration_line(logit(p[:, 1]), truth)
    assert 0.9 < slope < 1.1
    assert abs(intercept) < 0.08
    assert abs(p[:, 1].mean() - truth.mean()) < 0.01
    assert np.sqrt(np.mean((p[:, 1] - truth) ** 2)) < 0.065  # the truth's own spread is 0.22
    for low, high in ((0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 1.0)):
        among = (p[:, 1] >= low) & (p[:, 1] < high)
        assert abs(p[among, 1].mean() - truth[among].mean()) < 0.035


def test_out_of_fold_probabilities_are_calibrated_and_nearly_as_good_as_the_truth(fitted, world):
    _, truth, paid = world
    oof = fitted.oof_proba_[:, 1]
    intercept, slope = calibration_line(logit(oof), paid)
    assert (fitted.calibration_intercept_, fitted.calibration_slope_) == (intercept, slope)
    assert 0.9 < slope < 1.1
    assert roc_auc_score(paid, truth) - 0.015 < roc_auc_score(paid, oof) < roc_auc_score(paid, truth) + 0.01


def test_calibration_mends_a_booster_that_exaggerates(world):
    X, _, paid = world
    slopes = {}
    for calibration in (None, "isotonic", "platt"):
        wild = PropensityToPayModel(calibration=calibration, random_state=0, **MEMORY).fit(X, paid)
        slopes[calibration] = wild.calibration_slope_
    assert slopes[None] < 0.8
    assert 0.9 < slopes["isotonic"] < 1.1
    assert 0.95 < slopes["platt"] < 1.05


def test_auto_takes_isotonic_where_the_rarer_outcome_has_a_thousand_rows(model, world):
    X, _, paid = world
    assert min(paid.sum(), len(paid) - paid.sum()) >= 1_000
    assert model.calibrator_.method == "isotonic"
    small = PropensityToPayModel(random_state=0, n_estimators=10).fit(X.head(600), paid[:600])
    assert small.calibrator_.method == "platt"


def test_calibration_frame_reconciles_with_the_data(model, world):
    _, _, paid = world
    frame = model.calibration_frame(bins=8)
    assert frame.columns.tolist() == ["n", "predicted", "observed", "low", "high"]
    assert frame.index.tolist() == list(range(1, 9))
    assert frame.index.name == "bin"
    assert frame["n"].tolist() == [1_000] * 8
    oof = model.oof_proba_[:, 1]
    assert (frame["n"] * frame["observed"]).sum() == pytest.approx(paid.sum())
    assert (frame["n"] * frame["predicted"]).sum() == pytest.approx(oof.sum())
    assert frame["predicted"].is_monotonic_increasing
    assert ((frame["low"] < frame["observed"]) & (frame["observed"] < frame["high"])).all()
    # eight intervals of 95 per cent: seldom are more than two missed by calibrated probabilities
    assert ((frame["low"] <= frame["predicted"]) & (frame["predicted"] <= frame["high"])).sum() >= 6


def test_calibration_frame_of_held_out_accounts_is_theirs(model):
    X, _, paid = logistic_world(1_003, seed=7)
    frame = model.calibration_frame(X, paid)
    assert frame["n"].sum() == 1_003
    assert frame["n"].max() - frame["n"].min() <= 1
    order = np.argsort(model.predict_proba(X)[:, 1], kind="stable")
    worst = order[: frame.loc[1, "n"]]
    assert frame.loc[1, "observed"] == pytest.approx(paid[worst].mean())
    assert frame.loc[1, "predicted"] == pytest.approx(model.predict_proba(X)[worst, 1].mean())


def test_wilson_interval_is_the_published_one(model):
    # Newcombe (1998), table I: 81 of 263 gives 0.2553 to 0.3662
    from collectml.models.propensity_to_pay import reliability

    observed = (np.arange(263) < 81).astype(float)
    frame = reliability(np.full(263, 0.3), observed, bins=1)
    assert frame.loc[1, ["low", "high"]].tolist() == pytest.approx([0.2553, 0.3662], abs=5e-5)


@pytest.mark.parametrize("calibration", [None, "isotonic", "platt"])
def test_pure_noise_is_learnt_by_heart_but_not_out_of_fold(calibration):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(3_000, 6)), columns=list("abcdef"))
    paid = (rng.random(3_000) < 0.4).astype(int)
    model = PropensityToPayModel(calibration=calibration, random_state=0, **MEMORY).fit(X, paid)
    assert roc_auc_score(paid, model.predict_proba(X)[:, 1]) > 0.95
    assert 0.46 < roc_auc_score(paid, model.oof_proba_[:, 1]) < 0.54  # its standard error is 0.011


def test_customers_never_straddle_folds():
    """Five identical rows per customer: whoever straddles folds is known by heart."""
    rng = np.random.default_rng(3)
    customer = np.repeat(np.arange(600), 5)
    X = pd.DataFrame(rng.normal(size=(600, 6))[customer], columns=list("abcdef"))
    paid = (rng.random(600) < 0.4)[customer].astype(int)
    shuffled = rng.permutation(len(X))
    X, paid, customer = X.iloc[shuffled], paid[shuffled], customer[shuffled]
    model = PropensityToPayModel(calibration=None, random_state=0, **MEMORY)
    assert roc_auc_score(paid, model.fit(X, paid).oof_proba_[:, 1]) > 0.95
    assert roc_auc_score(paid, model.fit(X, paid, customer=customer).oof_proba_[:, 1]) < 0.58  # standard error 0.024


def test_a_missing_value_is_read_as_what_it_says(model, fresh):
    X, truth, _ = fresh
    p = model.predict_proba(X)[:, 1]
    for missing in (True, False):
        rows = (X["income"].isna() == missing).to_numpy()
        assert abs(p[rows].mean() - truth[rows].mean()) < 0.025
    # the same accounts, their income removed: a whole unit of log-odds, though no value was ever imputed
    known = X[X["income"].notna()]
    removed = model.predict_proba(known.assign(income=np.nan))[:, 1]
    lift = logit(removed) - logit(model.predict_proba(known)[:, 1])
    assert 0.75 < lift.mean() < 1.25


def test_a_level_never_seen_is_a_missing_one(model, fresh):
    X = fresh[0].head(200)
    unseen = model.predict_proba(X.assign(product="mortgage"))
    missing = model.predict_proba(X.assign(product=pd.Series([None] * 200, index=X.index, dtype="str")))
    np.testing.assert_array_equal(unseen, missing)
    assert np.isfinite(unseen).all()
    assert not np.array_equal(unseen, model.predict_proba(X))


def test_text_and_categories_are_the_same_thing(world, fresh):
    X, _, paid = world
    few = PropensityToPayModel(n_estimators=30, random_state=0)
    text = few.fit(X, paid).predict_proba(fresh[0])
    # the order of categories and categories nobody has are of no importance
    levels = ["zeppelin", "overdraft", "loan", "card"]
    as_category = few.fit(X.assign(product=pd.Categorical(X["product"], categories=levels)), paid)
    np.testing.assert_array_equal(as_category.predict_proba(fresh[0]), text)


@pytest.mark.parametrize("calibration", ["isotonic", "platt"])
def test_a_monotone_constraint_holds_on_a_grid(calibration):
    rng = np.random.default_rng(5)
    n = 3_000
    X = pd.DataFrame({"days_past_due": rng.uniform(0, 90, n), "score": rng.normal(size=n)})
    # the truth dips and rises: an unconstrained model follows it
    p = expit(1.5 * np.cos(X["days_past_due"] / 10) - 0.02 * X["days_past_due"] + 0.5 * X["score"])
    paid = (rng.random(n) < p).astype(int)
    grid = pd.DataFrame({"days_past_due": np.linspace(-5, 95, 401)})
    free = PropensityToPayModel(calibration=calibration, random_state=0).fit(X, paid)
    bound = PropensityToPayModel(calibration=calibration, monotone={"days_past_due": -1, "score": 1}, random_state=0)
    bound.fit(X, paid)
    for score in (-2.0, -0.5, 0.0, 1.0):
        along = grid.assign(score=score)
        assert np.diff(free.predict_proba(along)[:, 1]).max() > 0.01
        fall = np.diff(bound.predict_proba(along)[:, 1])
        assert fall.max() <= 0.0
        assert fall.min() < -0.01
    for days in (0.0, 31.0, 90.0):
        along = pd.DataFrame({"score": np.linspace(-4, 4, 401), "days_past_due": days})
        assert np.diff(bound.predict_proba(along)[:, 1]).min() >= 0.0


def test_row_weights_change_who_counts(world):
    X, truth, paid = world
    few = PropensityToPayModel(n_estimators=60, random_state=0)
    plain = few.fit(X, paid).predict_proba(X)[:, 1].mean()
    weighted = few.fit(X, paid, sample_weight=np.where(paid == 1, 3.0, 1.0)).predict_proba(X)[:, 1].mean()
    assert plain == pytest.approx(paid.mean(), abs=0.01)
    assert weighted == pytest.approx((3.0 * truth / (1.0 + 2.0 * truth)).mean(), abs=0.015)  # the odds times three


def test_labels_may_be_words_and_the_larger_means_paid(world):
    X, _, paid = world
    few = PropensityToPayModel(n_estimators=30, random_state=0)
    numbers = few.fit(X, paid).predict_proba(X)
    words = few.fit(X, np.where(paid == 1, "paid", "not paid"))
    assert words.classes_.tolist() == ["not paid", "paid"]
    np.testing.assert_array_equal(words.predict_proba(X), numbers)
    assert set(words.predict(X)) == {"not paid", "paid"}
    np.testing.assert_array_equal(words.predict(X) == "paid", numbers[:, 1] > 0.5)


def test_a_loaded_model_knows_no_training_rows_but_everything_else(model, fresh):
    X, _, paid = fresh
    loaded = PropensityToPayModel.from_parts(json.loads(json.dumps(model.to_parts())))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.calibration_slope_ == model.calibration_slope_
    pd.testing.assert_frame_equal(loaded.calibration_frame(X, paid), model.calibration_frame(X, paid))
    with pytest.raises(NotFittedError, match="give X and y of held-out accounts"):
        loaded.calibration_frame()


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (lambda paid: np.zeros_like(paid), "cannot learn from one class: all 8000 rows of y are 0;"),
        (lambda paid: paid + np.arange(len(paid)) % 2, "Only binary classification is supported"),
        (lambda paid: paid * 0.37 + np.linspace(0, 1, len(paid)), "Unknown label type: continuous"),
        (lambda paid: np.where(paid == 1, np.nan, 0.0), "y contains NaN"),
        (lambda paid: paid[:-1], "y has 7999 entries, X has 8000 rows"),
        (lambda paid: None, "the target y is None"),
    ],
    ids=["one class", "three classes", "continuous", "missing", "short", "none"],
)
def test_a_target_it_cannot_learn_from_is_refused(world, y, message):
    X, _, paid = world
    with pytest.raises(ValueError, match=message) as refusal:
        PropensityToPayModel(n_estimators=5).fit(X, y(paid))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"calibration": "sigmoid"}, "calibration must be 'auto', 'isotonic', 'platt' or None, not 'sigmoid'"),
        ({"folds": 1}, "folds must be a whole number from 2 to 127, not 1"),
        ({"folds": 128}, "folds must be a whole number from 2 to 127, not 128"),
        ({"num_leafs": 3, "seed": 1}, "num_leafs is not a LightGBM parameter; seed is set by the model itself"),
        (
            {"monotone": {"scor": 1, "product": 1, "score": 2}},
            "scor is not a column of X; product is categorical; score must be 1 or -1, not 2",
        ),
    ],
)
def test_options_it_does_not_have_are_refused_all_at_once(world, params, message):
    X, _, paid = world
    with pytest.raises(ConfigurationError, match=message):
        PropensityToPayModel(**params).fit(X, paid)


def test_calibration_frame_refuses_what_it_cannot_compare(model, fresh):
    X, _, paid = fresh
    with pytest.raises(ConfigurationError, match="X and y together, or neither"):
        model.calibration_frame(X)
    with pytest.raises(SchemaError, match=r"labels other than those seen at fit: \[0, 1\]"):
        model.calibration_frame(X, paid + 1)
    with pytest.raises(ConfigurationError, match="bins must be 1 or more, not 0"):
        model.calibration_frame(bins=0)


def test_all_rows_of_one_customer_cannot_be_cross_fitted(world):
    X, _, paid = world
    with pytest.raises(SchemaError, match="all rows belong to one customer"):
        PropensityToPayModel(n_estimators=5).fit(X, paid, customer=np.ones(len(X)))


@pytest.mark.real_data
def test_taiwan_card_accounts_are_ranked_and_calibrated_out_of_fold(data_folder):
    from collectml.data.public import taiwan_accounts

    X, paid = taiwan_accounts(data_folder)
    model = PropensityToPayModel(random_state=0).fit(X, paid)
    assert X.shape == (30_000, 23)
    assert roc_auc_score(paid, model.oof_proba_[:, 1]) >= 0.775
    assert 0.9 <= model.calibration_slope_ <= 1.1
    frame = model.calibration_frame()
    assert frame["n"].sum() == 30_000
    assert (frame["predicted"] - frame["observed"]).abs().max() < 0.02
