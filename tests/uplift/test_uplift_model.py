"""The uplift model against known truth, and its contract."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from collectml.errors import ConfigurationError, SchemaError
from collectml.models._lightgbm import train_booster
from collectml.uplift import UpliftModel
from collectml.uplift.amounts import find_exposure
from collectml.uplift.basis import EffectBasis
from collectml.uplift.decisions import Decisions
from collectml.uplift.effects import EffectRegression, cross_fitted_effects, curvatures
from collectml.uplift.hurdle import HurdleLearner
from collectml.uplift.likelihood import Response
from collectml.uplift.shared_action import distil, predict_actions

ACTIONS = ["no_action", "sms", "call", "offer"]


def world(n=12_000, seed=0, strength=1.0, capped=True):
    """Balances, a call that helps the middle, an offer that helps low income, an sms that does nothing."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "balance": rng.lognormal(6, 0.8, n),
            "score": rng.normal(size=n),
            "income": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
            "product": pd.Series(rng.choice(["card", "loan"], n), dtype="str"),
            "noise": rng.normal(size=n),
        },
        index=pd.RangeIndex(1000, 1000 + n, name="account_id"),
    )
    base = 0.9 * X["score"].to_numpy() - 0.5
    income = X["income"].fillna(0).to_numpy()
    effects = strength * np.column_stack(
        [np.zeros(n), np.zeros(n), 0.9 * np.exp(-(base**2)) + 0.1, 0.7 * (income < 0) - 0.3 * (income > 1)]
    )
    p = expit(base[:, None] + effects)
    share = np.array([0.3, 0.3, 0.3, 0.25])
    truth = p * share * X["balance"].to_numpy()[:, None]
    a = rng.integers(4, size=n)
    paid = rng.random(n) < p[np.arange(n), a]
    part = np.clip(rng.beta(2, 5, n), 0.01, 1)
    amount = np.where(rng.random(n) < 0.05, 1.0, part) if capped else rng.lognormal(-1.2, 0.5, n)
    recovered = paid * amount * X["balance"].to_numpy() * (share / 0.3)[a]
    return X, np.array(ACTIONS)[a], recovered, pd.DataFrame(truth, index=X.index, columns=ACTIONS)


def captured(predicted, truth):
    """Share of what choosing per account adds to the best single action."""
    best_single = truth.mean().max()
    oracle = truth.max(axis="columns").mean()
    chosen = truth.to_numpy()[np.arange(len(truth)), predicted[truth.columns].to_numpy().argmax(axis=1)]
    return (chosen.mean() - best_single) / (oracle - best_single)


@pytest.fixture(scope="module")
def fitted():
    X, action, y, truth = world()
    return X, action, y, truth, UpliftModel(random_state=0, folds=3).fit(X, y, action=action)


def test_frames_are_named_and_indexed(fitted):
    X, _, _, _, model = fitted
    outcome, effect = model.predict(X), model.predict_effect(X)
    assert outcome.columns.tolist() == ["no_action", "call", "offer", "sms"]
    assert outcome.index.equals(X.index)
    assert (effect["no_action"] == 0).all()
    pd.testing.assert_frame_equal(effect, outcome.sub(outcome["no_action"], axis="index"))
    assert (outcome >= 0).all(axis=None)
    assert model.oof_effects_.index.equals(X.index)


def test_effects_are_recovered(fitted):
    model = fitted[-1]
    fresh, _, _, fresh_truth = world(seed=9)
    effect, true_effect = model.predict_effect(fresh), fresh_truth.sub(fresh_truth["no_action"], axis="index")
    assert np.corrcoef(effect["call"], true_effect["call"])[0, 1] > 0.85
    assert effect["call"].mean() == pytest.approx(true_effect["call"].mean(), rel=0.25)
    # per unit owed, as few large balances would drown the rest; the offer gives away a sixth of what it recovers
    offer = (effect["offer"] / fresh["balance"], true_effect["offer"] / fresh["balance"])
    assert np.corrcoef(*offer)[0, 1] > 0.6
    assert abs(effect["sms"].mean()) < 0.25 * true_effect["call"].mean()
    assert captured(model.predict(fresh), fresh_truth) > 0.4


@pytest.mark.parametrize("learner", ["s", "t", "x", "dr"])
def test_the_hurdle_beats_what_it_is_compared_with(fitted, learner):
    X, action, y, _, model = fitted
    fresh, _, _, truth = world(seed=9)
    other = UpliftModel(learner, random_state=0, folds=3).fit(X, y, action=action)
    assert captured(model.predict(fresh), truth) > captured(other.predict(fresh), truth) + 0.05


def test_the_s_learner_models_money_in_two_parts_and_chooses_better_for_it(fitted):
    X, action, y, _, _ = fitted
    fresh, _, _, truth = world(seed=9)
    parts = UpliftModel("s", random_state=0, folds=3).fit(X, y, action=action)
    assert set(parts.learner_.boosters_) == {"pay", "amount"}
    assert parts.learner_.exposure_.column == list(X).index("balance")
    taken = parts.oof_outcomes_.to_numpy()[np.arange(len(X)), pd.Index(parts.actions_).get_indexer(pd.Index(action))]
    assert taken.mean() == pytest.approx(y.mean(), rel=0.05)
    whole = UpliftModel("s", random_state=0, folds=3).fit(X, y - 1.0, action=action)  # below 0 it can be no money received
    assert set(whole.learner_.boosters_) == {"outcome"}
    assert captured(parts.predict(fresh), truth) > captured(whole.predict(fresh), truth) + 0.1


@pytest.mark.parametrize("learner", ["hurdle", "s", "dr"])
def test_a_balance_that_is_missing_costs_nobody_an_outcome(learner):
    X, action, y, _ = world(n=2_000)
    lost = X.index[np.flatnonzero(y == 0)[:2]]
    X.loc[lost, "balance"] = [np.nan, -5.0]
    model = UpliftModel(learner, random_state=0, folds=2, n_estimators=30).fit(X, y, action=action)
    for outcome in (model.oof_outcomes_, model.predict(X), UpliftModel.from_parts(model.to_parts()).predict(X)):
        assert np.isfinite(outcome).all(axis=None)
        if learner != "dr":
            assert (outcome.loc[lost] > 0).all(axis=None)


def test_outcomes_keep_their_level_where_most_decisions_are_one_action_s():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(10_000, 3)), columns=list("abc"))
    action = rng.choice(["no_action", "call", "sms", "letter"], p=[0.85, 0.05, 0.05, 0.05], size=10_000)
    y = (rng.random(10_000) < expit(-2.0 + 0.5 * X["a"] + 0.9 * (action != "no_action"))).astype(float)
    model = UpliftModel(random_state=0, folds=3, n_estimators=150).fit(X, y, action=action)
    control = action == "no_action"
    assert model.predict(X)["no_action"][control].mean() == pytest.approx(y[control].mean(), rel=0.05)


def test_a_lone_effect_is_kept_and_levels_without_effects_shrink():
    alone, none = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X, action = rng.normal(size=(6_000, 4)), rng.integers(8, size=6_000)
        Z, fold = np.column_stack([np.ones(6_000), X]), np.zeros(6_000, dtype=np.int8)
        for effect, found in ((0.5, alone), (0.0, none)):
            paid = (rng.random(6_000) < expit(-0.5 + effect * (action == 1))).astype(float)
            response = Response(action, paid, np.full(6_000, -0.5), 8)
            level = EffectRegression(8).fit(Z, response, curvatures(Z, response, fold)[0]).weights_[:, 0]
            found.append(level[1] if effect else np.std(level))
    assert np.mean(alone) > 0.35  # under the narrowest prior it would be 0.15
    assert np.mean(none) < 0.04  # half of the sampling error of a level, 0.08


def test_no_effect_is_no_evidence():
    claims = 0
    for seed in range(3):
        X, action, y, _ = world(n=1500, seed=seed, strength=0.0)
        model = UpliftModel(random_state=0, folds=2, n_estimators=60).fit(X, y, action=action)
        claims += model.diagnostics_["evidence_of_heterogeneity"] > 0
    assert claims <= 1


def test_deterministic_and_blind_to_column_order(fitted):
    X, action, y, _, model = fitted
    again = UpliftModel(random_state=0, folds=3).fit(X, y, action=action)
    pd.testing.assert_frame_equal(model.predict(X), again.predict(X), check_exact=True)
    pd.testing.assert_frame_equal(model.predict(X), model.predict(X[X.columns[::-1]].assign(extra=1)), check_exact=True)


def test_parts_read_back_to_the_same_bits(fitted):
    X, action, y, _, model = fitted
    for fit in (
        model,
        *(
            UpliftModel(kind, random_state=0, folds=2, n_estimators=20).fit(X[:4000], y[:4000], action=action[:4000])
            for kind in ("s", "t", "x", "dr", "ensemble")
        ),
    ):
        parts = json.loads(json.dumps(fit.to_parts()))
        pd.testing.assert_frame_equal(UpliftModel.from_parts(parts).predict(X), fit.predict(X), check_exact=True)


def test_oof_is_out_of_fold():
    """With pure noise the in-sample effects would correlate with the outcome; cross-fitted ones do not."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(3000, 5)))
    X.columns = [f"x{i}" for i in range(5)]
    action = rng.choice(["no_action", "call"], 3000)
    y = rng.integers(0, 2, 3000).astype(float)
    model = UpliftModel("t", random_state=0).fit(X, y, action=action)
    predicted = model.oof_outcomes_.to_numpy()[np.arange(3000), (action == "call").astype(int)]
    assert abs(np.corrcoef(predicted, y)[0, 1]) < 0.06


def test_customers_share_a_fold():
    _, action, y, _ = world(n=2000)
    customer = np.repeat(np.arange(1000), 2)
    from collectml.uplift.cross_fit import decision_folds

    fold = decision_folds(np.unique(action, return_inverse=True)[1], y > 0, customer, folds=5, seed=0)
    assert (fold[::2] == fold[1::2]).all()


def test_binary_outcomes_and_a_rare_action():
    X, action, y, _ = world(n=3000)
    action = np.where(np.arange(3000) < 3, "visit", action)
    model = UpliftModel(random_state=0, folds=5).fit(X, (y > 0).astype(float), action=action)
    outcome = model.predict(X)
    assert outcome.columns[0] == "no_action"
    assert "visit" in outcome
    assert ((outcome > 0) & (outcome < 1)).all(axis=None)
    assert "amount" not in model.learner_.boosters_


def test_without_a_cap_amounts_are_learnt_beside_the_typical_one():
    X, action, y, _ = world(capped=False, n=8000)
    model = UpliftModel(random_state=0, folds=3).fit(X.drop(columns="balance"), y / X["balance"], action=action)
    assert model.learner_.exposure_.column is None
    outcome = model.predict(X.drop(columns="balance"))
    assert outcome.mean(axis=None) == pytest.approx(float((y / X["balance"]).mean()), rel=0.1)


def test_find_exposure():
    rng = np.random.default_rng(0)
    balance, arrears = rng.lognormal(6, 1, 2000), rng.lognormal(4, 1, 2000)
    paid = rng.random(2000) < 0.5
    amount = np.where(rng.random(2000) < 0.1, balance, 0.4 * balance)
    X = np.column_stack([arrears, balance])
    assert find_exposure(X, ["arrears", "balance"], amount, paid) == "balance"
    assert find_exposure(X[:, :1], ["arrears"], amount, paid) is None
    assert find_exposure(X, ["arrears", "balance"], 0.4 * balance, paid) is None


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"y": lambda y: y - 50}, SchemaError, "negative"),
        ({"paid": lambda y: np.ones(len(y))}, SchemaError, "paid but nothing"),
        ({"logging_propensity": lambda y: np.full(len(y), 1.5)}, SchemaError, "outside"),
        ({"control": "visit"}, ConfigurationError, "never taken"),
        ({"learner": "x9"}, ConfigurationError, "unknown"),
        ({"action": lambda y: np.full(len(y), "sms")}, SchemaError, "only 'sms'"),
        ({"customer": lambda y: np.arange(3)}, ValueError, "inconsistent"),
    ],
)
def test_what_cannot_be_learnt_from_is_refused(change, error, message):
    X, action, y, _ = world(n=300)
    settings = {k: change[k] for k in ("control", "learner") if k in change}
    rows = {"y": y, "action": action} | {k: f(y) for k, f in change.items() if callable(f)}
    with pytest.raises(error, match=message):
        UpliftModel(**settings).fit(X, rows.pop("y"), **rows)


def test_predict_needs_the_features(fitted):
    X, _, _, _, model = fitted
    with pytest.raises(SchemaError, match="score"):
        model.predict(X.drop(columns="score"))


def effect_rows(n, seed, relevant):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 6))
    action = rng.integers(3, size=n)
    offset = 0.8 * X[:, 0]
    own = np.column_stack([np.zeros(n), 0.3 + 0.4 * relevant * X[:, 1], 0.2 - 0.4 * relevant * X[:, 1]])
    paid = (rng.random(n) < expit(offset + own[np.arange(n), action])).astype(float)
    return X, action, paid, offset, own


def test_relevance_is_found_and_its_absence_too():
    X, action, paid, offset, own = effect_rows(20_000, 0, relevant=1.0)
    basis = EffectBasis(list(range(6)), []).fit(X, [offset])
    Z = basis.transform(X, [offset])
    fold = np.arange(len(X)) % 4
    found = cross_fitted_effects(Z, Response(action, paid, offset, 3), fold.astype(np.int8))
    effects = found.out_of_fold
    assert found.evidence_gain > 20
    assert np.corrcoef((effects[:, 1] - effects[:, 0]), own[:, 1])[0, 1] > 0.9
    curvature = curvatures(Z, Response(action, paid, offset, 3), np.zeros(len(X), dtype=np.int8))[0]
    regression = EffectRegression(3).fit(Z, Response(action, paid, offset, 3), curvature)
    assert np.argmax(regression.scales_[:, 1:].mean(axis=0)) == 2  # x1 itself, after x0 and its square
    alarms, spread = 0, []
    for seed in range(20):
        X, action, paid, offset, _ = effect_rows(4000, 100 + seed, relevant=0.0)
        Z = EffectBasis(list(range(6)), []).fit(X, [offset]).transform(X, [offset])
        curvature = curvatures(Z, Response(action, paid, offset, 3), np.zeros(len(X), dtype=np.int8))[0]
        fitted = EffectRegression(3).fit(Z, Response(action, paid, offset, 3), curvature)
        alarms += fitted.evidence_gain_ > 0
        spread.append(fitted.effects(Z)[:, 1].std())
        assert fitted.weights_[1, 0] - fitted.weights_[0, 0] == pytest.approx(0.3, abs=0.4)
    assert alarms <= 2
    assert np.mean(spread) < 0.02  # what is believed without evidence; the sampling error of a level is 0.1


def test_the_baseline_s_booster_takes_in_what_actions_have_in_common():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 3))
    paid = (rng.random(3000) < expit(X[:, 0])).astype(float)
    d = Decisions(X, list("abc"), [], np.zeros(3000, int), 2, paid, paid > 0, True, np.zeros(3000, np.int8))
    baseline = train_booster(X, paid, params={"objective": "binary"}, num_boost_round=30, seed=0)
    common = 0.3 * np.sin(2 * X[:, 1])
    mended = HurdleLearner(100, {}, 0, 1)._mended(d, baseline, common)
    added = mended.predict(X, raw_score=True) - baseline.predict(X, raw_score=True)
    assert np.mean((added - common) ** 2) < 0.01 * np.var(common)


def test_scores_are_the_baseline_and_the_effects_that_were_taught(monkeypatch):
    """What actions have in common is counted once: not lost with the effects' mean, nor taught to both boosters."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(4000, 3)), columns=list("abc"))
    y = (rng.random(4000) < expit(X["a"])).astype(float)
    learn, taught = HurdleLearner._pay, {}

    def with_something_in_common(self, d):
        baseline, fitted = learn(self, d)
        effects = fitted.effects + 0.5 * d.X[:, [1]]
        taught["margin"] = self.boosters_["pay"].predict(d.X, raw_score=True)[:, None] + effects
        return baseline, replace(fitted, effects=effects)

    monkeypatch.setattr(HurdleLearner, "_pay", with_something_in_common)
    model = UpliftModel(random_state=0, folds=2, n_estimators=60).fit(X, y, action=rng.choice(["none", "call"], 4000))
    missed = model.learner_.pay_margin(X.to_numpy(), 2) - taught["margin"]
    assert abs(missed.mean()) < 0.02
    assert np.mean(missed**2) < 0.05  # what folds differ by cannot be taught; 0.25 where it is lost or counted twice


def test_a_student_follows_its_teacher():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5000, 3))
    teacher = np.column_stack([np.zeros(5000), X[:, 0], np.sin(2 * X[:, 1])])
    params = {"num_leaves": 31, "learning_rate": 0.1, "min_data_in_leaf": 20}
    student = predict_actions(distil(X, teacher, categorical=[], params=params, trees=200, seed=0), X, 3)
    assert np.mean((student - teacher) ** 2) < 0.02 * teacher.var()


@pytest.mark.parametrize("n_actions", [2, 3, 4])
def test_a_student_follows_deviations_that_add_up_to_nothing(n_actions):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(800, 3))
    teacher = np.column_stack([a * 0.1 + (a + 1) * 0.1 * X[:, 0] * (X[:, 1] > 0) for a in range(n_actions)])
    teacher -= teacher.mean(axis=1, keepdims=True)  # no feature gains anything at the root of a tree
    params = {"num_leaves": 63, "learning_rate": 0.1, "min_data_in_leaf": 20}
    student = predict_actions(distil(X, teacher, categorical=[], params=params, trees=250, seed=0), X, n_actions)
    assert np.mean((student - teacher) ** 2) < 0.1 * np.mean((teacher - teacher.mean(axis=0)) ** 2)


@pytest.mark.parametrize("learner", ["hurdle", "ensemble"])
def test_two_actions_that_change_amounts_differently_from_account_to_account(learner):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2_000, 4))
    treated = rng.integers(2, size=2_000)
    effect = 3.0 + 2.0 * X[:, 0] + 1.5 * (X[:, 1] > 0)
    y = 10.0 + X[:, 2] + treated * effect + rng.normal(scale=0.5, size=2_000)  # everybody pays something
    model = UpliftModel(learner, control="none", random_state=0).fit(X, y, action=np.where(treated, "call", "none"))
    assert np.corrcoef(model.predict_effect(X)["call"], effect)[0, 1] > 0.9
    assert model.diagnostics_["amount_effect_r2"] > 0.8
