"""Risk grades: a yardstick that does not move, ability and willingness apart, migration that adds up."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from collectml.errors import ConfigurationError, NotFittedError, SchemaError
from collectml.models import RiskGrader

GRADES = ["A", "B", "C", "D"]


def portfolio(n, seed, worse=0.0):
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"balance": rng.lognormal(6.5 + worse, 1, n)}, index=pd.RangeIndex(n, name="account_id"))
    return X, rng.beta(2 - worse, 2 + worse, n)


def test_new_accounts_do_not_move_the_thresholds():
    X, p = portfolio(4_000, seed=0)
    grader = RiskGrader().fit(X, propensity_to_pay=p)
    np.testing.assert_allclose(grader.cuts_["propensity"], np.quantile(p, [0.75, 0.5, 0.25]))
    np.testing.assert_allclose(grader.cuts_["balance"], np.quantile(X["balance"], [0.25, 0.9]))
    before = json.dumps(grader.cuts_)
    one = X.head(1)
    grades = grader.predict(one, propensity_to_pay=p[:1])
    worse_X, worse_p = portfolio(4_000, seed=1, worse=1.0)
    shifted = grader.predict(worse_X, propensity_to_pay=worse_p)
    assert json.dumps(grader.cuts_) == before
    # a worse month has worse grades: quantiles of the new month would have hidden it
    assert (shifted == "D").mean() > 2 * (grader.predict(X, propensity_to_pay=p) == "D").mean()
    both = pd.concat([one, worse_X.iloc[1:]])
    among = grader.predict(both, propensity_to_pay=np.r_[p[:1], worse_p[1:]])
    assert among.iloc[0] == grades.iloc[0]


def test_grades_follow_the_published_rule():
    p = np.array([0.9, 0.6, 0.599, 0.35, 0.349, 0.15, 0.149, 0.0])
    bands = ["A", "A", "B", "B", "C", "C", "D", "D"]
    grader = RiskGrader(propensity_cuts=(0.6, 0.35, 0.15), balance_cuts=(100, 2_000))
    expected = {
        100.0: bands,  # neither small nor large: a cut belongs to the amounts above it
        1_999.99: bands,
        99.99: ["A", "A", "A", "A", "B", "B", "C", "C"],
        2_000.0: ["B", "B", "C", "C", "D", "D", "D", "D"],
    }
    for owed, grades in expected.items():
        X = pd.DataFrame({"balance": np.full(8, owed)})
        assert grader.fit(X, propensity_to_pay=p).predict(X, propensity_to_pay=p).tolist() == grades


def test_a_likelier_payer_never_has_a_worse_grade_nor_a_smaller_balance():
    X, p = portfolio(3_000, seed=2)
    grader = RiskGrader().fit(X, propensity_to_pay=p)
    grid = np.linspace(0, 1, 101)
    position = {}
    for owed in (0.0, 50.0, 700.0, 1e6):
        frame = pd.DataFrame({"balance": np.full(101, owed)})
        position[owed] = grader.predict(frame, propensity_to_pay=grid).map(GRADES.index).to_numpy()
        assert (np.diff(position[owed]) <= 0).all()
    for small, large in ((0.0, 50.0), (50.0, 700.0), (700.0, 1e6)):
        assert (position[small] <= position[large]).all()
    assert set(position[700.0]) == {0, 1, 2, 3}


def test_one_balance_cut_may_be_left_out():
    X = pd.DataFrame({"balance": [1.0, 500.0, 1e6]})
    p = [0.5, 0.5, 0.5]
    cuts = (0.6, 0.35, 0.15)
    for balance_cuts, grades in (
        ((None, 2_000), ["B", "B", "C"]),
        ((100, None), ["A", "B", "B"]),
        ((None, None), ["B"] * 3),
    ):
        grader = RiskGrader(propensity_cuts=cuts, balance_cuts=balance_cuts).fit(X, propensity_to_pay=p)
        assert grader.predict(X, propensity_to_pay=p).tolist() == grades


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_a_portfolio_of_ties_gets_one_grade(p):
    X = pd.DataFrame({"balance": np.full(100, 250.0)})
    grades = RiskGrader().fit(X, propensity_to_pay=np.full(100, p)).predict(X, propensity_to_pay=np.full(100, p))
    assert (grades == grades.iloc[0]).all()
    assert grades.iloc[0] in GRADES


def test_equal_accounts_have_equal_grades_whatever_their_order():
    rng = np.random.default_rng(3)
    X = pd.DataFrame({"balance": rng.choice([100.0, 900.0, 5_000.0], 900)}, index=pd.RangeIndex(900))
    p = pd.Series(rng.choice([0.1, 0.4, 0.7], 900))
    order = rng.permutation(900)
    grades = RiskGrader().fit(X, propensity_to_pay=p).predict(X, propensity_to_pay=p)
    assert grades.groupby([X["balance"], p]).nunique().eq(1).all()
    shuffled = RiskGrader().fit(X.iloc[order], propensity_to_pay=p.iloc[order])
    again = shuffled.predict(X.iloc[order], propensity_to_pay=p.iloc[order])
    pd.testing.assert_series_equal(again.sort_index(), grades)


def test_ability_and_willingness_are_read_apart():
    X = pd.DataFrame(
        {
            "income": [4_000.0, 500.0, 4_000.0, 500.0],
            "instalment": [100.0, 600.0, 100.0, 600.0],
            "utilisation": [0.1, 1.3, 0.1, 1.3],
            "arrears": [50.0, 3_000.0, 50.0, 3_000.0],
            "promises_kept": [5, 5, 0, 0],
            "promises_broken": [0, 0, 5, 5],
            "responses_90d": [4, 4, 0, 0],
            "contacts_90d": [5, 5, 9, 9],
            "payments_12m": [11, 11, 1, 1],
        },
        index=["rich and willing", "poor and willing", "rich and unwilling", "poor and unwilling"],
    )
    grader = RiskGrader(method="ability_willingness", ability_cut=0.5, willingness_cut=0.5).fit(X)
    assert grader.predict(X).tolist() == GRADES
    scores = grader.scores(X)
    # what says nothing of the one leaves it alone
    richer = grader.scores(X.assign(income=9_000.0, arrears=0.0))
    pd.testing.assert_series_equal(richer["willingness"], scores["willingness"])
    assert (richer["ability"] > scores["ability"]).all()
    keener = grader.scores(X.assign(payments_12m=12, promises_kept=9))
    pd.testing.assert_series_equal(keener["ability"], scores["ability"])
    assert (keener["willingness"] > scores["willingness"]).all()


def test_ability_and_willingness_thresholds_are_frozen_medians():
    rng = np.random.default_rng(4)
    X = pd.DataFrame({"income": rng.lognormal(7, 1, 501), "instalment": 300.0, "payments_12m": rng.integers(0, 13, 501)})
    grader = RiskGrader(method="ability_willingness").fit(X)
    scores = grader.scores(X)
    assert grader.cuts_ == {"ability": [scores["ability"].median()], "willingness": [scores["willingness"].median()]}
    poorer = X.assign(income=X["income"] / 1_000)
    assert not (grader.predict(poorer).isin(["A", "C"])).any()


def test_scores_of_ones_own_take_the_place_of_the_formulas():
    X = pd.DataFrame({"capacity": [0.9, 0.1], "will": [0.2, 0.8]})
    grader = RiskGrader(
        method="ability_willingness",
        ability_column="capacity",
        willingness_column="will",
        ability_cut=0.5,
        willingness_cut=0.5,
    )
    assert grader.fit(X).predict(X).tolist() == ["C", "B"]
    with pytest.raises(SchemaError, match="will must lie between 0 and 1"):
        grader.fit(X.assign(will=[20, 80]))
    with pytest.raises(SchemaError, match="missing columns: capacity"):
        grader.fit(X[["will"]])


def test_migration_reconciles_with_the_counts():
    rng = np.random.default_rng(5)
    before = pd.Series(rng.choice(GRADES, 900), index=pd.RangeIndex(0, 900))
    after = pd.Series(rng.choice(GRADES, 900), index=rng.permutation(np.arange(100, 1_000)))
    matrix = RiskGrader.migration_matrix(before, after)
    assert matrix.index.tolist() == [*GRADES, "new"]
    assert matrix.columns.tolist() == [*GRADES, "left"]
    np.testing.assert_allclose(matrix.sum(axis="columns"), 1.0)
    counts = before.value_counts().reindex(GRADES)
    counts["new"] = 100
    moved = matrix.mul(counts, axis="index")
    np.testing.assert_allclose(moved.sum()[GRADES], after.value_counts().reindex(GRADES))
    assert moved["left"].sum() == pytest.approx(100)
    assert matrix.loc["new", "left"] == 0.0
    both = before.index.intersection(after.index)
    for old in GRADES:
        for new in GRADES:
            count = ((before.loc[both] == old) & (after.loc[both] == new)).sum()
            assert moved.loc[old, new] == pytest.approx(count)


def test_migration_by_balance_weighs_accounts():
    before, after = pd.Series({1: "A", 2: "A", 3: "B"}), pd.Series({3: "B", 2: "D", 1: "A"})
    matrix = RiskGrader.migration_matrix(before, after, weight=pd.Series({1: 300.0, 2: 100.0, 3: 5.0}))
    assert matrix.index.tolist() == ["A", "B"]
    assert matrix.loc["A", ["A", "D"]].tolist() == [0.75, 0.25]
    assert matrix.loc["B", "B"] == 1.0


def test_nobody_moves_between_a_snapshot_and_itself():
    grades = pd.Series(GRADES * 5)
    matrix = RiskGrader.migration_matrix(grades, grades.sample(frac=1, random_state=0))
    np.testing.assert_array_equal(matrix[GRADES], np.eye(4))


@pytest.mark.parametrize(
    ("before", "after", "weight", "message"),
    [
        (
            pd.Series(["A", "B"], index=[1, 1]),
            pd.Series({1: "A"}),
            None,
            r"before holds accounts more than once, such as \[1\]",
        ),
        (pd.Series({1: "A"}), pd.Series({1: "E", 2: "a"}), None, "after holds grades other than A to D: E, a"),
        (pd.Series({1: "A", 2: None, 3: "F"}), pd.Series({1: "A"}), None, "before holds grades other than A to D: F, nan"),
        (pd.Series({1: "A"}), pd.Series({2: "A"}), pd.Series({1: 1.0}), "for every account of both snapshots"),
        (pd.Series({1: "A"}), pd.Series({1: "A"}), pd.Series({1: -1.0}), "a number of 0 or more"),
    ],
    ids=["twice", "strange", "missing", "no weight", "negative weight"],
)
def test_grades_that_cannot_be_compared_are_refused(before, after, weight, message):
    with pytest.raises(SchemaError, match=message):
        RiskGrader.migration_matrix(before.astype("str"), after.astype("str"), weight)


@pytest.mark.parametrize(
    "grader",
    [
        RiskGrader(),
        RiskGrader(propensity_cuts=(0.6, 0.35, 0.15), balance_cuts=(None, 2_000)),
        RiskGrader(method="ability_willingness", willingness_cut=0.25),
    ],
)
def test_a_loaded_grader_grades_alike(grader):
    X, p = portfolio(500, seed=6)
    X = X.assign(income=X["balance"] * 2, instalment=90.0, payments_12m=np.arange(500) % 13)
    given = {} if grader.method == "ability_willingness" else {"propensity_to_pay": p}
    grader.fit(X, **given)
    loaded = RiskGrader.from_parts(json.loads(json.dumps(grader.to_parts())))
    assert loaded.cuts_ == grader.cuts_
    assert loaded.method == grader.method
    pd.testing.assert_series_equal(loaded.predict(X, **given), grader.predict(X, **given))
    assert grader.predict(X, **given).nunique() == 4


@pytest.mark.parametrize(
    ("params", "given", "error", "message"),
    [
        ({}, {}, ConfigurationError, "needs propensity_to_pay"),
        ({}, {"propensity_to_pay": [0.5]}, SchemaError, "one entry for each of the 3 accounts"),
        ({}, {"propensity_to_pay": [0.5, 0.5, np.nan]}, SchemaError, "propensity_to_pay lies outside 0 to 1"),
        (
            {},
            {"propensity_to_pay": [0.5, 0.5, 1.5], "balance": [1, -1, 1]},
            SchemaError,
            "outside 0 to 1; balance is missing, infinite or negative",
        ),
        (
            {"propensity_cuts": (0.1, 0.2, 0.3)},
            {"propensity_to_pay": [0.5] * 3},
            ConfigurationError,
            "propensity_cuts must be 3 falling numbers",
        ),
        (
            {"propensity_cuts": (60, 35, 15)},
            {"propensity_to_pay": [0.5] * 3},
            ConfigurationError,
            "propensity_cuts must lie between 0 and 1",
        ),
        (
            {"propensity_cuts": (None, 0.35, 0.15)},
            {"propensity_to_pay": [0.5] * 3},
            ConfigurationError,
            "propensity_cuts must lie between 0 and 1",
        ),
        (
            {"balance_cuts": (900, 100)},
            {"propensity_to_pay": [0.5] * 3},
            ConfigurationError,
            "balance_cuts must be 2 rising numbers",
        ),
        ({"method": "gut feeling"}, {}, ConfigurationError, "method must be 'propensity_balance' or 'ability_willingness'"),
        ({"method": "ability_willingness"}, {}, SchemaError, "none of the columns income, instalment, utilisation, arrears"),
    ],
)
def test_what_it_cannot_grade_by_is_refused(params, given, error, message):
    X = pd.DataFrame({"balance": [100.0, 200.0, 300.0]})
    with pytest.raises(error, match=message):
        RiskGrader(**params).fit(X, **given)


@pytest.mark.parametrize("name", ["ability_cut", "willingness_cut"])
def test_a_cut_in_per_cent_is_refused(name):
    X = pd.DataFrame({"income": [1_000.0], "payments_12m": [3]})
    with pytest.raises(ConfigurationError, match=f"{name} must lie between 0 and 1"):
        RiskGrader(method="ability_willingness", **{name: 50}).fit(X)


def test_an_unfitted_grader_says_so():
    X = pd.DataFrame({"balance": [1.0]})
    with pytest.raises(NotFittedError, match="this RiskGrader is not fitted yet; call fit first"):
        RiskGrader().predict(X, propensity_to_pay=[0.5])
    with pytest.raises(NotFittedError, match="call fit first"):
        RiskGrader().to_parts()
