"""Recovery against a hurdle whose every part is known: who pays, who pays all, what share the others pay."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from collectml.errors import SchemaError
from collectml.models import RecoveryModel


def hurdle_world(n, seed):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "score": rng.normal(size=n),
            "days_past_due": rng.integers(0, 120, n),
            "product": rng.choice(["card", "loan"], n),
        },
        index=pd.RangeIndex(300, 300 + n, name="account_id"),
    )
    size = rng.normal(0, 0.7, n)
    balance = 700 * np.exp(size)
    truth = pd.DataFrame(
        {
            "p_pay": expit(-0.8 + 0.9 * X["score"] - 0.01 * (X["days_past_due"] - 60)),
            "p_full": expit(-0.5 - 0.8 * size + 0.5 * X["score"]),
            "share": expit(-1.2 - 0.5 * size + 0.4 * (X["product"] == "card")),
        }
    )
    truth["expected"] = balance * truth["p_pay"] * (truth["p_full"] + (1 - truth["p_full"]) * truth["share"])
    part = rng.beta(4 * truth["share"], 4 * (1 - truth["share"])).clip(0.001, 0.99)
    paid = rng.random(n) < truth["p_pay"]
    recovered = paid * np.where(rng.random(n) < truth["p_full"], balance, part * balance)
    return X, balance, recovered, truth


@pytest.fixture(scope="module")
def log():
    return hurdle_world(20_000, seed=1)


@pytest.fixture(scope="module")
def model(log):
    X, balance, recovered, _ = log
    return RecoveryModel(random_state=0).fit(X, recovered, balance=balance)


@pytest.fixture(scope="module")
def fresh():
    return hurdle_world(40_000, seed=50)


@pytest.fixture(scope="module")
def parts(model, fresh):
    X, balance, _, _ = fresh
    return model.predict_parts(X, balance)


@pytest.mark.parametrize(("part", "bias", "error"), [("p_pay", 0.01, 0.05), ("p_full", 0.02, 0.07), ("share", 0.02, 0.05)])
def test_each_part_is_the_true_one(parts, fresh, part, bias, error):
    X, _, _, truth = fresh
    assert parts.index.equals(X.index)
    difference = parts[part] - truth[part]
    assert abs(difference.mean()) < bias
    assert np.sqrt((difference**2).mean()) < error < 0.75 * truth[part].std() + 0.02
    assert np.corrcoef(parts[part], truth[part])[0, 1] > 0.85


def test_expected_money_is_the_product_of_the_parts(model, parts, fresh):
    X, balance, _, _ = fresh
    given_payment = parts["p_full"] * model.full_ratio_ + (1 - parts["p_full"]) * parts["share"]
    np.testing.assert_allclose(parts["expected"], balance * parts["p_pay"] * given_payment, rtol=1e-12)
    np.testing.assert_array_equal(model.predict(X, balance=balance), parts["expected"])


def test_expected_money_is_unbiased_overall_and_in_every_decile(parts, fresh):
    truth = fresh[3]["expected"]
    assert parts["expected"].sum() == pytest.approx(truth.sum(), rel=0.03)
    decile = pd.qcut(parts["expected"], 10, labels=False)
    ratio = parts["expected"].groupby(decile).sum() / truth.groupby(decile).sum()
    assert ratio.iloc[1:].between(0.92, 1.08).all()
    assert 0.8 < ratio.iloc[0] < 1.2  # the least of the money, and so the least of the evidence
    assert truth.groupby(decile).mean().iloc[-1] > 10 * truth.groupby(decile).mean().iloc[0]


def test_expected_money_is_unbiased_by_size_of_the_balance(parts, fresh):
    _, balance, _, truth = fresh
    fifth = pd.qcut(pd.Series(balance, index=parts.index), 5, labels=False)
    ratio = parts["expected"].groupby(fifth).sum() / truth["expected"].groupby(fifth).sum()
    assert ratio.between(0.93, 1.07).all()


def test_nobody_is_expected_to_pay_less_than_nothing_or_more_than_is_owed(model, fresh):
    X, balance, _, _ = fresh
    # balances far outside what was seen, too
    for owed in (balance, np.full(len(X), 0.01), np.full(len(X), 1e7)):
        parts = model.predict_parts(X, owed)
        assert model.full_ratio_ == 1.0
        assert ((parts["expected"] > 0) & (parts["expected"] < owed)).all()
        shares = parts[["p_pay", "p_full", "share"]].to_numpy()
        assert ((shares >= 0) & (shares <= 1)).all()


def test_full_payment_has_its_own_mass():
    """Everyone who pays, pays all or exactly a tenth: the share must not be an average of the two."""
    rng = np.random.default_rng(2)
    n = 6_000
    X = pd.DataFrame({"product": rng.choice(["card", "loan"], n), "noise": rng.normal(size=n)})
    balance = rng.uniform(100, 1_000, n)
    full = rng.random(n) < np.where(X["product"] == "card", 0.7, 0.2)
    recovered = (rng.random(n) < 0.5) * np.where(full, balance, 0.1 * balance)
    parts = RecoveryModel(random_state=0).fit(X, recovered, balance=balance).predict_parts(X, balance)
    by_product = parts.groupby(X["product"]).mean()
    assert by_product.loc["card", "p_full"] == pytest.approx(0.7, abs=0.04)
    assert by_product.loc["loan", "p_full"] == pytest.approx(0.2, abs=0.04)
    assert (parts["share"] - 0.1).abs().max() < 0.02


def test_partial_payments_add_up_to_the_money_observed():
    """Leaves too big to split: what large balances pay less of is put right by the one factor."""
    rng = np.random.default_rng(6)
    n = 4_000
    balance = rng.choice([100.0, 1_000.0], n)
    share = np.where(balance > 500, 0.1, 0.5)
    recovered = (np.arange(n) % 2) * share * balance
    X = pd.DataFrame({"noise": rng.normal(size=n)})
    model = RecoveryModel(min_child_samples=10**6, n_estimators=5, random_state=0).fit(X, recovered, balance=balance)
    paid = recovered > 0
    parts = model.predict_parts(X[paid], balance[paid])
    assert model.smearing_ == pytest.approx(recovered.sum() / (balance[paid].sum() * share[paid].mean()), rel=0.01)
    assert model.smearing_ < 0.6
    assert (parts["share"] * balance[paid]).sum() == pytest.approx(recovered.sum(), rel=0.01)


def test_interest_and_rounding_still_count_as_payment_in_full():
    rng = np.random.default_rng(3)
    balance = np.repeat(rng.uniform(100, 1_000, 1_000), 2)  # of two who owe the same, one pays
    X = pd.DataFrame({"noise": rng.normal(size=2_000)})
    for factor, in_full in ((1.02, True), (0.996, True), (0.99, False)):
        recovered = balance * np.where(np.arange(2_000) % 2, factor, 0.0)
        model = RecoveryModel(n_estimators=20, random_state=0).fit(X, recovered, balance=balance)
        assert model.full_ratio_ == pytest.approx(factor if in_full else 1.0)
        parts = model.predict_parts(X, balance)
        assert (parts["p_full"] > 0.99).all() if in_full else (parts["p_full"] < 0.01).all()
        assert parts["expected"].sum() == pytest.approx(recovered.sum(), rel=0.01)


def test_where_few_paid_the_mean_is_all_that_is_learnt():
    rng = np.random.default_rng(4)
    X = pd.DataFrame({"score": rng.normal(size=500)})
    balance = rng.uniform(100, 1_000, 500)
    recovered = np.where(np.arange(500) < 9, 0.5 * balance, 0.0)
    model = RecoveryModel(random_state=0).fit(X, recovered, balance=balance)
    assert (model.pay_.booster, model.full_.booster, model.share_.booster) == (None, None, None)
    parts = model.predict_parts(X, balance)
    np.testing.assert_allclose(parts["p_pay"], 9.5 / 501)
    assert (parts["p_full"] == parts["p_full"].iloc[0]).all()
    assert 0 < parts["p_full"].iloc[0] < 0.1
    assert parts["share"].iloc[0] == pytest.approx(0.5)
    assert RecoveryModel.from_parts(model.to_parts()).predict_parts(X, balance).equals(parts)


def test_one_customer_alone_is_a_mean_too():
    X, balance, recovered, _ = hurdle_world(400, seed=5)
    model = RecoveryModel(random_state=0).fit(X, recovered, balance=balance, customer=["c1"] * 400)
    assert model.pay_.booster is None
    assert model.predict_parts(X, balance)["p_pay"].iloc[0] == pytest.approx((recovered > 0).mean(), abs=0.005)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"recovered": np.full(100, -1.0)}, "recovered is negative in 100 rows; net reversals off first"),
        ({"recovered": np.full(100, np.nan)}, "recovered contains NaN"),
        ({"recovered": np.full(100, np.inf)}, "recovered contains infinity"),
        ({"recovered": np.zeros(100)}, "no account paid anything"),
        ({"recovered": np.zeros(99)}, "recovered has 99 entries, X has 100 rows"),
        ({"recovered": None}, "requires recovered to be passed"),
        ({"balance": np.zeros(100)}, "balance must be above 0; it is not in 100 rows"),
        ({"balance": np.full(100, np.nan)}, "balance contains NaN"),
        ({"balance": np.ones(101)}, "balance has 101 entries, X has 100 rows"),
        ({"customer": np.ones(3)}, "customer has 3 entries, X has 100 rows"),
    ],
)
def test_money_it_cannot_learn_from_is_refused(log, wrong, message):
    rows = dict(zip(("X", "balance", "recovered"), (part[:100] for part in log[:3]), strict=True)) | wrong
    with pytest.raises(SchemaError, match=message) as refusal:
        RecoveryModel(n_estimators=5).fit(**rows)
    assert "\n" not in str(refusal.value)


def test_a_balance_of_another_length_or_below_zero_is_refused_at_prediction(model, log):
    X = log[0].head(10)
    with pytest.raises(SchemaError, match="balance has 9 entries, X has 10 rows"):
        model.predict(X, balance=np.ones(9))
    with pytest.raises(SchemaError, match="balance must be above 0; it is not in 1 rows"):
        model.predict(X, balance=[-5.0, *range(1, 10)])
