"""Amounts: which actions change how much is paid, found where it is so and not where it is not."""

from __future__ import annotations

import numpy as np
import pytest

from collectml.uplift.amounts import AmountTeacher
from collectml.uplift.levels import calibrate_levels, tell_apart

CUT, TURNED = 6, 7  # an action that cuts every payment, and one that cuts some and raises others


def told(seed, *, effect, n=20_000, actions=8):
    """Payments, and what a model that tells all actions apart might say of them: the truth, and noise that varies with a feature."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    truth = np.repeat(0.3 + 0.05 * np.tanh(x)[:, None], actions, axis=1)
    truth[:, CUT] *= 1 - effect
    truth[:, TURNED] *= 1 + effect * np.sign(x)
    noise = 0.02 * np.sin(np.outer(x, rng.normal(size=actions)) + rng.uniform(0, 6, actions))
    action = rng.integers(actions, size=n)
    paid = rng.random(n) < 0.6
    observed = np.where(paid, rng.beta(2 * truth, 2 * (1 - truth))[np.arange(n), action], 0.0)
    return truth + noise, action, observed, paid, rng.lognormal(0, 0.5, n)


def test_actions_with_amounts_of_their_own_are_told_apart_by_level_or_by_account():
    found = [tell_apart(*told(seed, effect=0.3)) for seed in range(20)]
    own = np.array([code > 0 for code in found]).mean(axis=0)
    assert own[CUT] > 0.9
    assert own[TURNED] > 0.9
    assert own[:CUT].mean() < 0.02


def test_actions_without_amounts_of_their_own_are_told_apart_at_the_stated_rate():
    alarms = np.mean([tell_apart(*told(seed, effect=0.0)).any() for seed in range(200)])
    assert alarms <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 200)
    assert alarms > 0.005  # a test that never raises an alarm would be none


def test_actions_of_which_too_little_is_known_stay_apart():
    predicted, action, observed, paid, weight = told(1, effect=0.0)
    paid[np.flatnonzero(action == 3)[10:]] = False
    assert tell_apart(predicted, action, observed, paid, weight).tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    few = slice(0, 2000)
    code = tell_apart(predicted[few], action[few], observed[few], paid[few], weight[few])
    assert code.tolist() == list(range(8))


def portfolio(seed, n=6000):
    """Three actions whose payments are alike, and an offer that takes two fifths off."""
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(size=(n, 2)), rng.lognormal(6, 1, n)])
    action = rng.integers(4, size=n)
    truth = np.clip(0.3 + 0.1 * X[:, :1], 0.05, 0.9) * np.array([1.0, 1.0, 1.0, 0.6])
    paid = rng.random(n) < 0.5
    share = np.where(paid, rng.beta(4 * truth, 4 * (1 - truth))[np.arange(n), action], 0.0)
    return X, action, share, paid, truth


def teach(X, action, share, paid, threads=1):
    params = {"objective": "regression", "num_leaves": 8, "learning_rate": 0.1, "min_data_in_leaf": 50}
    teacher = AmountTeacher(params, 200, 4, (), 0, threads)
    return teacher, teacher.fit_predict(X, action, share, paid, X[:, 2], (np.arange(len(X)) % 3).astype(np.int8))


@pytest.fixture(scope="module")
def taught():
    found = []
    for seed in range(10):
        *log, truth = portfolio(seed)
        found.append((*teach(*log), truth, log))
    return found


def test_the_teacher_learns_one_amount_for_those_alike_and_the_offer_s_own(taught):
    own = np.array([teacher.code_ > 0 for teacher, *_ in taught])
    assert own[:, 3].all()
    assert own[:, :3].mean() <= 0.1
    for teacher, predicted, truth, _ in taught:
        assert 0.55 < predicted[:, 3].mean() / predicted[:, 0].mean() < 0.75  # shy: levels are set afterwards
        assert np.sqrt(np.mean((predicted - truth) ** 2)) < 0.04  # the spread between accounts is 0.1
        if teacher.code_.tolist() == [0, 0, 0, 1]:
            assert (predicted[:, 0] == predicted[:, 1]).all()


def test_the_number_of_threads_changes_no_amount(taught):
    _, predicted, _, log = taught[0]
    assert np.array_equal(teach(*log, threads=2)[1], predicted)


def test_levels_are_set_for_those_alike_together(taught):
    _, predicted, _, (X, action, share, paid) = taught[0]
    shy = predicted * np.array([0.9, 1.1, 1.0, 1.3])
    together, errors = calibrate_levels(shy, action, share, paid, X[:, 2], np.array([0, 0, 0, 1]))
    ratio = (together / shy)[0]
    assert ratio[0] == ratio[1] == ratio[2]
    assert ratio[3] < 0.85
    assert all(0.01 < e < 0.05 for e in errors)
    apart = calibrate_levels(shy, action, share, paid, X[:, 2], np.arange(4))[1]
    assert apart[0] == errors[0]
    assert apart[1] == pytest.approx(np.hypot(errors[1], errors[0]), rel=0.02)  # both sides of a difference are unsure
    assert errors[3] == pytest.approx(apart[3])
