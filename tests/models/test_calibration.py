"""Calibration maps: monotone, honest about certainty, fitted where they are not tested, stored as plain numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logit

from collectml.errors import ConfigurationError
from collectml.models._calibration import Calibrator, calibration_line, cross_fit_calibration, resolve_method

METHODS = ["isotonic", "platt", None]


def margins(n, seed, slope=0.5, intercept=-1.0):
    rng = np.random.default_rng(seed)
    margin = rng.normal(0, 2, n)
    p = expit(intercept + slope * margin)
    return margin, p, (rng.random(n) < p).astype(float)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    method=st.sampled_from(METHODS),
    n=st.integers(2, 300),
    slope=st.floats(-2, 2),
    ties=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_maps_rise_stay_inside_and_survive_json(method, n, slope, ties, seed):
    margin, _, y = margins(n, seed, slope=slope)
    margin = np.round(margin) if ties else margin
    calibrator = Calibrator(method).fit(margin, y)
    grid = np.linspace(-40, 40, 1_001)
    p = calibrator.predict(grid)
    assert (np.diff(p) >= 0).all()
    # n rows without an exception are no proof: the rule of succession
    assert p.min() >= 1 / (n + 2)
    assert p.max() <= 1 - 1 / (n + 2)
    loaded = Calibrator.from_json(json.loads(json.dumps(calibrator.to_json())))
    np.testing.assert_array_equal(loaded.predict(grid), p)


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_a_known_map_is_recovered(method):
    margin, _, y = margins(20_000, seed=0)
    grid = np.linspace(-3, 3, 61)
    p = Calibrator(method).fit(margin, y).predict(grid)
    np.testing.assert_allclose(p, expit(-1 + 0.5 * grid), atol=0.05 if method == "isotonic" else 0.012)


def test_isotonic_recovers_what_no_line_can():
    rng = np.random.default_rng(1)
    margin = rng.uniform(-3, 3, 20_000)
    y = (rng.random(20_000) < np.where(margin > 1, 0.8, 0.2)).astype(float)
    step = [Calibrator(method).fit(margin, y).predict(np.array([-2.0, 0.8, 1.2, 2.8])) for method in ("isotonic", "platt")]
    np.testing.assert_allclose(step[0], [0.2, 0.2, 0.8, 0.8], atol=0.04)
    assert abs(step[1][1] - 0.2) > 0.15


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_the_mean_is_kept(method):
    margin, _, y = margins(5_000, seed=2, slope=0.3)
    weight = np.random.default_rng(3).uniform(0.2, 3, 5_000)
    p = Calibrator(method).fit(margin, y, weight).predict(margin)
    assert np.average(p, weights=weight) == pytest.approx(np.average(y, weights=weight), abs=1e-3)


def test_platt_uses_his_smoothed_targets():
    margin, _, y = margins(60, seed=4, slope=3)
    n1, n0 = y.sum(), (1 - y).sum()
    target = np.where(y == 1, (n1 + 1) / (n1 + 2), 1 / (n0 + 2))

    def loss(beta):
        z = beta[0] + beta[1] * margin
        return np.sum(np.logaddexp(0, z) - target * z)

    best = minimize(loss, [0.0, 1.0], tol=1e-12).x
    calibrator = Calibrator("platt").fit(margin, y)
    np.testing.assert_allclose([calibrator.x_[0], calibrator.y_[0]], best, atol=1e-4)


def test_a_reversed_ranking_is_not_believed():
    margin, _, y = margins(500, seed=5, slope=-1)
    p = Calibrator("platt").fit(margin, y).predict(np.array([-5.0, 5.0]))
    assert p[0] == p[1] == pytest.approx(y.mean(), abs=0.01)


def test_no_calibration_is_the_logistic_function():
    margin = np.array([-2.0, 0.0, 1.5])
    calibrator = Calibrator(None).fit(np.zeros(1_000), np.zeros(1_000))
    np.testing.assert_allclose(calibrator.predict(margin), expit(margin))


def test_a_constant_map_says_one_rate():
    np.testing.assert_allclose(Calibrator.constant(0.003).predict(np.array([-9.0, 0.0, 9.0])), 0.003)


def test_cross_fitted_probabilities_never_use_their_own_fold():
    """The outcome of a fold is turned round: its own probabilities must not notice, those of the others must."""
    margin, _, y = margins(900, seed=6)
    folds = (np.arange(900) % 3).astype(np.int8)
    for method in ("isotonic", "platt"):
        full, oof = cross_fit_calibration(margin, y, folds, method)
        turned, oof_turned = cross_fit_calibration(margin, np.where(folds == 0, 1 - y, y), folds, method)
        np.testing.assert_array_equal(oof[folds == 0], oof_turned[folds == 0])
        assert np.abs(oof - oof_turned)[folds != 0].mean() > 0.05
        assert not np.array_equal(full.predict(margin), turned.predict(margin))
        np.testing.assert_array_equal(full.predict(margin), Calibrator(method).fit(margin, y).predict(margin))


@pytest.mark.parametrize(("intercept", "slope"), [(0.0, 1.0), (0.5, 2.0), (-2.0, 0.25), (0.3, -1.0), (1.0, 0.0)])
def test_coxs_line_is_found_exactly(intercept, slope):
    margin = np.linspace(-4, 4, 2_001)
    found = calibration_line(margin, expit(intercept + slope * margin))
    np.testing.assert_allclose(found, (intercept, slope), atol=1e-6)


def test_coxs_line_counts_weights():
    margin, p, y = margins(400, seed=7)
    weight = np.random.default_rng(8).integers(1, 4, 400)
    weighted = calibration_line(margin, y, weight.astype(float))
    np.testing.assert_allclose(weighted, calibration_line(np.repeat(margin, weight), np.repeat(y, weight)), atol=1e-6)
    assert abs(weighted[1] - calibration_line(margin, y)[1]) > 1e-3
    assert calibration_line(logit(p), y)[1] == pytest.approx(1, abs=0.3)


def test_separated_or_constant_margins_stay_finite():
    margin = np.r_[-np.ones(50), np.ones(50)]
    assert np.isfinite(calibration_line(margin, (margin > 0).astype(float))).all()
    assert np.isfinite(calibration_line(np.zeros(100), (margin > 0).astype(float))).all()


@pytest.mark.parametrize(("events", "method"), [(1_000, "isotonic"), (999, "platt"), (2_001, "platt"), (2_000, "isotonic")])
def test_auto_counts_the_rarer_outcome(events, method):
    assert resolve_method("auto", np.arange(3_000) < events) == method


def test_an_unknown_method_is_refused():
    with pytest.raises(ConfigurationError, match="calibration must be 'auto', 'isotonic', 'platt' or None, not 'beta'"):
        resolve_method("beta", np.ones(3))
