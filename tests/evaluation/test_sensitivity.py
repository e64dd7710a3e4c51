"""Bounds under hidden confounding against linear programmes, closed forms and a world whose hidden confounder is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog

from collectml.errors import SchemaError
from collectml.evaluation import Sensitivity, constant_policy, evaluate_policy, evaluate_sensitivity, omitted_feature_odds
from collectml.evaluation._worst_case import MOST_STRATA, WorstCase, strata_by_action

from .worlds import ACTIONS, Log, World, frame_of


def by_linear_programme(y, p, c, cell, strength, *, upper):
    """Solve for the worst weights themselves: r in [1/s, s], averaging 1 by load in each cell and sign."""
    load = np.abs(c) * (1 - p)
    groups = np.unique(np.column_stack([cell, c > 0]), axis=0)
    inside = np.array([(cell == g[0]) & ((c > 0) == g[1]) for g in groups])
    cost = c * (1 - p) * y
    found = linprog(
        -cost if upper else cost,
        A_eq=inside * load,
        b_eq=(inside * load).sum(axis=1),
        bounds=[(1 / strength, strength)] * len(y),
    )
    assert found.status == 0
    return float(np.sum(c * p * y) + cost @ found.x)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("upper", [True, False])
def test_bounds_solve_the_linear_programme(seed, upper):
    rng = np.random.default_rng(seed)
    n = 60
    y = rng.lognormal(size=n) * (rng.random(n) < 0.6)
    p = rng.uniform(0.05, 0.95, n)
    c = rng.normal(size=n) / p if seed % 2 else rng.random(n) / p
    cell = rng.integers(0, 4, n)
    worst = WorstCase(y, p, c, cell)
    for strength in (1.0, 1.3, 2.0, 7.5):
        bound = float(c @ worst.outcomes(strength, upper=upper))
        assert bound == pytest.approx(by_linear_programme(y, p, c, cell, strength, upper=upper), abs=1e-7)


def test_a_binary_outcome_has_its_closed_form():
    """With P(pay | a) = q and propensity e the bound is e q + (1 - e) min(s q, 1 - (1 - q) / s)."""
    y = np.repeat([0.0, 1.0], [70, 30])
    e, q, s = 0.25, 0.3, 1.8
    worst = WorstCase(y, np.full(100, e), np.full(100, 1 / e), np.zeros(100, int))
    assert worst.outcomes(s, upper=True).mean() == pytest.approx(e * q + (1 - e) * min(s * q, 1 - (1 - q) / s))
    assert worst.outcomes(s, upper=False).mean() == pytest.approx(e * q + (1 - e) * max(q / s, 1 - (1 - q) * s))


def test_repeated_rows_count_as_often_as_they_are_drawn():
    rng = np.random.default_rng(3)
    y, p, c, cell = rng.lognormal(size=50), rng.uniform(0.1, 0.9, 50), rng.normal(size=50), rng.integers(0, 2, 50)
    times = rng.integers(0, 3, 50)
    again = np.repeat(np.arange(50), times)
    drawn = WorstCase(y[again], p[again], c[again], cell[again]).outcomes(2.0, upper=True)
    counted = WorstCase(y, p, c, cell).outcomes(2.0, upper=True, times=times.astype(float))
    assert float(c[again] @ drawn) == pytest.approx(float((times * c) @ counted))


def test_strata_keep_actions_apart_and_rank_the_predictions():
    rng = np.random.default_rng(0)
    action = rng.integers(0, 3, 5_000)
    predicted = rng.normal(size=5_000)
    cell = strata_by_action(predicted, action)
    assert (cell // MOST_STRATA == action).all()
    assert np.bincount(cell)[np.bincount(cell) > 0].min() >= 80
    first = predicted[action == 0][np.argsort(cell[action == 0], kind="stable")]
    assert first[:80].max() < first[-80:].min()


@pytest.fixture(scope="module")
def log() -> Log:
    return World().log(1_200, 1)


@pytest.fixture(scope="module")
def model(log: Log) -> pd.DataFrame:
    return frame_of(World().expected(log.X["x"].to_numpy()), log)


def sides(log: Log) -> tuple[pd.DataFrame, pd.DataFrame]:
    x = log.X["x"].to_numpy()
    return frame_of(World.policy(x), log), frame_of(World.baseline(x), log)


@pytest.mark.parametrize("estimator", ["ips", "snips", "dr"])
@pytest.mark.parametrize("logged", [True, False])
def test_at_strength_one_it_is_the_estimate_and_its_interval(log, model, estimator, logged):
    policy, other = sides(log)
    baseline = "logged" if logged else other
    found = evaluate_sensitivity(log, policy, baseline=baseline, estimator=estimator, outcome_model=model, strengths=[1])
    value = evaluate_policy(log, policy, baseline=baseline, estimators=estimator, outcome_model=model).frame().iloc[0]
    line = found.frame().iloc[0]
    assert line["lower"] == line["upper"] == pytest.approx(value["value"], rel=1e-12)
    assert [line["low"], line["high"]] == pytest.approx([value["low"], value["high"]])
    assert line["difference_lower"] == line["difference_upper"] == pytest.approx(value["difference"], rel=1e-9)
    assert line["difference_low"] == pytest.approx(value["difference_low"])


@pytest.mark.parametrize("estimator", ["ips", "snips", "dr"])
def test_bounds_widen_with_the_strength(log, model, estimator):
    policy, baseline = sides(log)
    strengths = np.geomspace(1, 10, 25)
    frame = evaluate_sensitivity(
        log, policy, baseline=baseline, estimator=estimator, outcome_model=model, strengths=strengths
    ).frame()
    for prefix in ("", "difference_"):
        assert (np.diff(frame[f"{prefix}upper"]) >= -1e-12).all()
        assert (np.diff(frame[f"{prefix}lower"]) <= 1e-12).all()
        assert (frame[f"{prefix}low"] <= frame[f"{prefix}lower"]).all()
        assert (frame[f"{prefix}upper"] <= frame[f"{prefix}high"]).all()


def test_strata_narrow_the_bounds_and_agreement_does_not_widen_them(log, model):
    policy, baseline = sides(log)
    coarse = evaluate_sensitivity(log, policy, estimator="ips", strengths=[2]).frame().iloc[1]
    fine = evaluate_sensitivity(log, policy, estimator="ips", outcome_model=model, strengths=[2]).frame().iloc[1]
    # below, the quantile is 0 in every stratum: most pay nothing
    assert coarse["lower"] <= fine["lower"] < fine["upper"] < coarse["upper"]
    same = evaluate_sensitivity(log, policy, baseline=policy, estimator="ips", strengths=[3]).frame().iloc[1]
    assert same["difference_lower"] == same["difference_upper"] == 0
    paired = evaluate_sensitivity(log, policy, baseline=baseline, estimator="ips", strengths=[2]).frame().iloc[1]
    other = evaluate_sensitivity(log, baseline, estimator="ips", strengths=[2]).frame().iloc[1]
    assert paired["difference_lower"] > coarse["lower"] - other["upper"]


def test_strata_come_near_the_sharp_bound():
    """Payment given (x, action) is binary, so the sharp bound is known; strata of the true prediction reach it."""
    world = World(clustered=False)
    log = world.log(30_000, 4)
    x = log.X["x"].to_numpy()
    q, e, s = world.pay(x)[:, 2], world.logging(x)[:, 2], 2.0
    sharp = float(np.mean(e * q + (1 - e) * np.minimum(s * q, 1 - (1 - q) / s)))
    loose = float(np.mean(e * q) + np.mean(1 - e) * min(s * q.mean(), 1 - (1 - q.mean()) / s))
    policy = constant_policy(log, "soft_call")
    found = evaluate_sensitivity(
        log, policy, outcome="paid", estimator="dr", outcome_model=frame_of(world.pay(x), log), strengths=[s]
    ).frame()
    assert found["upper"].iloc[1] == pytest.approx(sharp, abs=0.006)
    assert loose - sharp > 0.012


def hidden_world(n: int, seed: int) -> tuple[Log, float, float]:
    """Log with a hidden coin: who is willing to pay is called more often, its odds moved by 1.6; returns also the truth."""
    rng = np.random.default_rng(seed)
    x, u = rng.normal(size=n), rng.random(n) < 0.5
    # average propensities given x, and a push by the coin that keeps their sum and their average over the coin
    nominal = np.column_stack([0.3 + 0.1 * (x > 0), 0.3 - 0.1 * (x > 0), np.full(n, 0.4)])
    push = np.column_stack([-0.08 + 0 * x, -0.02 + 0 * x, 0.1 + 0 * x]) * (2 * u - 1)[:, None]
    true = nominal + push
    odds = (true / (1 - true)) / (nominal / (1 - nominal))
    strength = float(np.maximum(odds, 1 / odds).max())
    action = (rng.random(n)[:, None] > true.cumsum(axis=1)[:, :-1]).sum(axis=1)
    pay = 1 / (1 + np.exp(1.3 - 0.5 * x - 1.6 * u)[:, None] * np.exp(-np.array([0.0, 0.1, 0.2])))
    each = np.arange(n)
    paid = rng.random(n) < pay[each, action]
    frame = pd.DataFrame(
        {
            "account_id": each,
            "customer_id": each,
            "x": x,
            "action": pd.Series(np.array(ACTIONS)[action], dtype="str"),
            "paid": paid.astype(np.int8),
            "recovered": paid * rng.lognormal(3, 0.8, n),
            "logging_propensity": nominal[each, action],
        }
    )
    return Log(frame, actions=ACTIONS[:3]), strength, float((pay[:, 2] - pay[:, 0]).mean())


@pytest.mark.parametrize("resamples", [None, 60])
def test_the_true_difference_lies_inside_at_the_confounders_true_strength(resamples):
    truth = hidden_world(400_000, 99)[2]
    inside, naive = [], []
    for seed in range(25 if resamples is None else 8):
        log, strength, _ = hidden_world(2_500, seed)
        found = evaluate_sensitivity(
            log,
            constant_policy(log, "soft_call"),
            baseline=constant_policy(log, "no_action"),
            outcome="paid",
            estimator="snips",
            strengths=[strength],
            resamples=resamples,
        ).frame()
        naive.append(found["difference_low"].iloc[0] <= truth <= found["difference_high"].iloc[0])
        inside.append(found["difference_low"].iloc[1] <= truth <= found["difference_high"].iloc[1])
    assert 1.4 < strength < 2.2
    assert np.mean(inside) >= 0.95
    assert np.mean(naive) < 0.2  # without the allowance the interval misses: the confounder matters


def test_bootstrap_and_influence_limits_agree(log, model):
    policy, baseline = sides(log)
    settings = {"baseline": baseline, "estimator": "dr", "outcome_model": model, "strengths": [1.5]}
    plain = evaluate_sensitivity(log, policy, **settings).frame().iloc[1]
    drawn = evaluate_sensitivity(log, policy, **settings, resamples=150).frame().iloc[1]
    width = plain["difference_high"] - plain["difference_low"]
    assert drawn["difference_lower"] == plain["difference_lower"]
    assert drawn["difference_low"] == pytest.approx(plain["difference_low"], abs=0.15 * width)
    assert drawn["difference_high"] == pytest.approx(plain["difference_high"], abs=0.15 * width)
    again = evaluate_sensitivity(log, policy, **settings, resamples=150)
    assert again.frame().iloc[1].equals(drawn)


@pytest.fixture(scope="module")
def strong() -> Sensitivity:
    log = World(sigma=0.3).log(4_000, 2)
    return evaluate_sensitivity(
        log, constant_policy(log, "soft_call"), baseline=constant_policy(log, "no_action"), outcome="paid", estimator="snips"
    )


def test_the_overturning_strength_is_where_the_interval_meets_zero(strong):
    assert 1 < strong.overturned_at < strong.point_overturned_at < 5
    log = World(sigma=0.3).log(4_000, 2)
    at = [strong.overturned_at - 0.01, strong.overturned_at + 0.01]
    frame = evaluate_sensitivity(
        log,
        constant_policy(log, "soft_call"),
        baseline=constant_policy(log, "no_action"),
        outcome="paid",
        estimator="snips",
        strengths=at,
    ).frame()
    assert frame["difference_low"].iloc[1] > 0 >= frame["difference_low"].iloc[2]
    swapped = evaluate_sensitivity(
        log,
        constant_policy(log, "no_action"),
        baseline=constant_policy(log, "soft_call"),
        outcome="paid",
        estimator="snips",
    )
    assert swapped.overturned_at == pytest.approx(strong.overturned_at, abs=1e-3)
    assert "stays worse" in swapped.sentence()


def test_without_effects_nothing_needs_to_be_overturned():
    log = World(effects=False).log(800, 3)
    found = evaluate_sensitivity(
        log, constant_policy(log, "sms"), baseline=constant_policy(log, "soft_call"), outcome="paid", estimator="snips"
    )
    assert found.overturned_at == 1
    assert "Sampling error alone" in found.sentence()


def test_the_sentence_compares_with_the_observed_features(strong):
    beside = pd.DataFrame({"median": [1.1, 1.0], "p95": [1.02, 9.0]}, index=pd.Index(["x", "z"], name="feature"))
    told = Sensitivity(strong.bounds, strong.overturned_at, strong.point_overturned_at, "paid", "snips", 0.95, (), beside)
    assert f"by a factor of {strong.overturned_at:.2f} or more" in told.sentence()
    assert "feature, z, left out, changes them by 9.00" in told.sentence()
    assert "1 of the 2 observed features" in told.sentence()


def test_the_picture_shows_the_frames_numbers(strong):
    (ax,) = strong.plot().axes
    drawn = np.array([line.get_ydata() for line in ax.lines[:2]])
    np.testing.assert_allclose(drawn, strong.frame()[["difference_lower", "difference_upper"]].to_numpy().T)
    assert "difference" in ax.get_ylabel()


def test_a_policy_without_support_is_refused_not_bounded():
    log = World().log(300, 5)
    log = Log(log.frame[log.action != "firm_call"])
    found = evaluate_sensitivity(log, constant_policy(log, "firm_call"), baseline="logged", estimator="ips")
    assert found.frame().drop(columns="strength").isna().all(axis=None)
    assert "firm_call" in found.refusals[0]
    assert "Nothing can be said" in found.sentence()
    assert found.plot().axes[0].texts[0].get_text() == "refused"


def test_bad_arguments_are_refused(log):
    policy, _ = sides(log)
    with pytest.raises(ValueError, match="1 or more"):
        evaluate_sensitivity(log, policy, strengths=[0.5])
    with pytest.raises(ValueError, match="estimator"):
        evaluate_sensitivity(log, policy, estimator="dm")
    with pytest.raises(ValueError, match="baseline"):
        evaluate_sensitivity(log, policy, baseline="nothing")
    with pytest.raises(SchemaError, match="propensities"):
        evaluate_sensitivity(Log(log.frame.drop(columns="logging_propensity")), policy)


def test_a_feature_that_steers_the_actions_is_found_and_noise_is_not():
    log = World(clustered=False).log(4_000, 7)
    log.frame["noise"] = np.random.default_rng(0).normal(size=len(log))
    log = Log(log.frame, features=("x", "noise"))
    odds = omitted_feature_odds(log)
    assert odds.index.tolist() == ["x", "noise"]
    # the true factor, leaving x out: odds given x over odds on average
    x = log.X["x"].to_numpy()
    p, average = World().logging(x), World().logging(x).mean(axis=0)
    factor = np.exp(np.abs(np.log(p / (1 - p)) - np.log(average / (1 - average))))
    of_logged = factor[np.arange(len(x)), pd.Index(ACTIONS).get_indexer(log.action)]
    assert odds.loc["x", "p95"] == pytest.approx(np.quantile(of_logged, 0.95), rel=0.25)
    assert odds.loc["noise", "p95"] == pytest.approx(odds.loc["noise", "noise_p95"], rel=0.2)
    assert odds.loc["x", "p95"] > 1.5 * odds.loc["x", "noise_p95"]
    pd.testing.assert_frame_equal(odds, omitted_feature_odds(log))
    with pytest.raises(ValueError, match="no features"):
        omitted_feature_odds(log, features=["balance"])
