"""Curves, areas and calibration: against closed forms, against the definition row by row, and against simulation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from collectml.errors import SchemaError
from collectml.simulation import make_portfolio
from collectml.uplift import (
    doubly_robust_scores,
    qini_curve,
    randomised_scores,
    rank_weighted_average_effect,
    toc_curve,
    uplift_calibration,
    uplift_curve,
    uplift_metrics,
)


def experiment(n, seed, effect=lambda x: x, noise=1.0):
    """A plain 50/50 experiment; the effect is a function of a normal x."""
    rng = np.random.default_rng(seed)
    x, treated = rng.normal(size=n), rng.integers(2, size=n)
    y = effect(x) * treated + noise * rng.normal(size=n)
    return x, randomised_scores(action=treated, outcome=y)


def one(x):
    return pd.DataFrame({"1": x})


def values(result, contrast="1"):
    table = result.frame()
    return table[table["contrast"] == contrast].set_index("metric")["value"]


def three_armed(n=6000, seed=0):
    """A call helps x > 0, a letter x < 0, both by |x|; each harms by as much on the other side."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    p = np.column_stack([np.full(n, 0.4), np.where(x > 0, 0.4, 0.2), np.where(x > 0, 0.2, 0.4)])
    logged = (rng.random(n)[:, None] > np.cumsum(p, axis=1)).sum(axis=1)
    y = np.column_stack([0 * x, x, -x])[np.arange(n), logged] + rng.normal(size=n)
    names = np.array(["no_action", "call", "letter"])
    predicted = pd.DataFrame(0.0, index=pd.RangeIndex(100, 100 + n), columns=names)
    scores = doubly_robust_scores(predicted, action=names[logged], outcome=y, logging_propensity=p[np.arange(n), logged])
    effects = pd.DataFrame({"no_action": 0.0, "call": x, "letter": -x}, index=predicted.index)
    return x, effects, scores


def by_definition(priority, score):
    """AUUC, Qini and AUTOC of distinct priorities, integrated piece by piece."""
    g = score[np.argsort(-priority)]
    n = len(g)
    gain = np.r_[0, np.cumsum(g)] / n
    u = np.linspace(0, 1, n + 1)
    auuc = np.trapezoid(gain, u)
    fine = (np.arange(200 * n) + 0.5) / (200 * n)
    return auuc, auuc - gain[-1] / 2, np.mean(np.interp(fine, u, gain) / fine) - gain[-1]


def test_the_areas_are_what_their_definitions_say():
    rng = np.random.default_rng(0)
    x, scores = rng.normal(size=60), randomised_scores(action=[0, 1] * 30, outcome=rng.exponential(size=60))
    found = values(uplift_metrics(one(x), scores))
    auuc, qini, autoc = by_definition(x, scores.effects()["1"].to_numpy())
    assert found["auuc"] == pytest.approx(auuc, abs=1e-12)
    assert found["qini"] == pytest.approx(qini, abs=1e-12)
    assert found["autoc"] == pytest.approx(autoc, abs=1e-3)
    assert found["average_effect"] == pytest.approx(scores.effects()["1"].mean())


def test_closed_forms_under_a_normal_effect():
    """For an effect x, x normal, ranked by itself: Qini 1 / (2 sqrt(pi)), AUTOC the integral of phi(q(u)) / u."""
    x, scores = experiment(400_000, 1, noise=0.2)
    found = values(uplift_metrics(one(x), scores))
    u = (np.arange(100_000) + 0.5) / 100_000
    from scipy.stats import norm

    assert found["qini"] == pytest.approx(0.5 / np.sqrt(np.pi), abs=0.005)
    assert found["autoc"] == pytest.approx(np.mean(norm.pdf(norm.isf(u)) / u), abs=0.02)


@pytest.mark.parametrize("constant", [0.0, 0.3, -1e9])
def test_a_constant_ranks_nothing(constant):
    _, scores = experiment(1000, 2)
    worst = np.argsort(scores.effects()["1"].to_numpy())
    for rows in (np.arange(1000), worst, worst[::-1]):
        score = scores.effects()["1"].to_numpy()[rows]
        for target in ("autoc", "qini"):
            assert rank_weighted_average_effect(np.full(1000, constant), score, target=target)[:2] == (0.0, 0.0)
    table = values(uplift_metrics(one(np.full(1000, constant)), scores))
    assert table["qini"] == table["autoc"] == 0
    assert table["auuc"] == pytest.approx(table["average_effect"] / 2, abs=1e-12)
    excess = qini_curve(one(np.full(1000, constant)), scores).frame()["value"]
    assert np.abs(excess).max() < 1e-12


def test_results_do_not_depend_on_the_order_of_rows():
    x, effects, scores = three_armed(800)
    effects = effects.round(1)  # many ties
    rows = np.random.default_rng(5).permutation(len(x))
    same = scores.frame().iloc[rows]  # a certain action without residual leaves scores as they are
    shuffled = doubly_robust_scores(
        same, action=["no_action"] * 800, outcome=same["no_action"], logging_propensity=np.ones(800)
    )
    for measure in (uplift_metrics, uplift_curve, toc_curve, uplift_calibration):
        a, b = measure(effects, scores).frame(), measure(effects.iloc[rows], shuffled).frame()
        pd.testing.assert_frame_equal(a, b, rtol=1e-9, atol=1e-12)


def test_a_backwards_ranking_is_negative_and_significantly_so():
    x, scores = experiment(4000, 3)
    forward, backward = (uplift_metrics(one(s), scores).frame().set_index("metric") for s in (x, -x))
    for metric in ("qini", "autoc"):
        assert forward.loc[metric, "low"] > 0 > backward.loc[metric, "high"]
    assert backward.loc["qini", "value"] == pytest.approx(-forward.loc["qini", "value"], abs=1e-12)
    assert forward.loc["auuc", "value"] + backward.loc["auuc", "value"] == pytest.approx(
        forward.loc["average_effect", "value"]
    )


def test_copying_every_row_changes_nothing_but_the_standard_error():
    x, scores = experiment(300, 4)
    g = scores.effects()["1"].to_numpy()
    for target in ("autoc", "qini"):
        single = rank_weighted_average_effect(x, g, target=target)
        double = rank_weighted_average_effect(np.repeat(x, 2), np.repeat(g, 2), target=target)
        clustered = rank_weighted_average_effect(
            np.repeat(x, 2), np.repeat(g, 2), target=target, customer=np.repeat(np.arange(300), 2)
        )
        assert single.value == pytest.approx(double.value, abs=1e-12)
        assert double.se == pytest.approx(single.se / np.sqrt(2), rel=0.02)
        assert clustered.se == pytest.approx(single.se, rel=0.02)


@pytest.mark.parametrize("target", ["autoc", "qini"])
@pytest.mark.parametrize("ties", [False, True])
def test_influence_values_agree_with_half_samples_and_with_simulation(target, ties):
    draws = []
    for seed in range(200):
        x, scores = experiment(600, seed)
        draws.append(rank_weighted_average_effect(np.round(x) if ties else x, scores.effects()["1"], target=target))
    spread = np.std([d.value for d in draws])
    assert np.mean([d.se for d in draws]) == pytest.approx(spread, rel=0.15)
    x, scores = experiment(600, 0)
    half = rank_weighted_average_effect(
        np.round(x) if ties else x, scores.effects()["1"], target=target, interval="half_sample"
    )
    assert half.se == pytest.approx(draws[0].se, rel=0.25)


def test_intervals_of_curve_points_hold():
    """At 30 % the gain is phi(q), at effect x ranked by x; the estimated cut-off takes part in the error."""
    from scipy.stats import norm

    truth = norm.pdf(norm.isf(0.3))
    held = []
    for seed in range(300):
        x, scores = experiment(600, seed)
        point = uplift_curve(one(x), scores, shares=[0.3]).frame().iloc[0]
        held.append(point["low"] <= truth <= point["high"])
    assert 0.91 <= np.mean(held) <= 0.98


def test_many_actions_and_the_best_of_each():
    _, effects, scores = three_armed(20_000)
    result = uplift_metrics(effects, scores)
    assert result.frame()["contrast"].unique().tolist() == ["call", "letter", "best_action"]
    call, best = values(result, "call"), values(result, "best_action")
    # each action alone helps nobody on average; the best of the two gains E|x|, ranked by |x|
    assert call["average_effect"] == pytest.approx(0, abs=0.05)
    assert best["average_effect"] == pytest.approx(np.sqrt(2 / np.pi), abs=0.05)
    assert best["qini"] > 0.1
    table = result.frame().set_index(["contrast", "metric"])
    assert table.loc[("best_action", "average_effect"), "low"] > 0.7
    with_ties = uplift_metrics(effects * 0, scores)  # no preference: both actions by halves
    assert values(with_ties, "best_action")["average_effect"] == pytest.approx(
        scores.effects().mean(axis="columns").mean(), abs=1e-12
    )
    only = uplift_metrics(effects, scores, actions=["call"]).frame()
    assert only["contrast"].unique().tolist() == ["call"]


def test_paired_differences_between_models():
    x, scores = experiment(5000, 6)
    noisy = x + np.random.default_rng(0).normal(size=5000)
    table = uplift_metrics(one(x), scores, baseline=one(noisy)).frame().set_index("metric")
    assert table.loc["qini", "difference"] == pytest.approx(
        table.loc["qini", "value"] - values(uplift_metrics(one(noisy), scores))["qini"]
    )
    assert table.loc["qini", "difference_low"] > 0
    same = uplift_metrics(one(x), scores, baseline=one(2 * x)).frame()
    assert (same["difference"] == 0).all()
    assert (same["difference_p_value"] == 1).all()


def test_curves_begin_and_end_where_they_should():
    x, scores = experiment(2000, 7)
    gain, excess, toc = (c(one(x), scores).frame() for c in (uplift_curve, qini_curve, toc_curve))
    average = scores.effects()["1"].mean()
    assert gain["value"].iloc[0] == 0
    assert gain["value"].iloc[-1] == gain["random"].iloc[-1] == pytest.approx(average)
    assert excess["value"].iloc[[0, -1]].tolist() == pytest.approx([0, 0], abs=1e-12)
    assert toc["share"].min() > 0
    assert toc["value"].iloc[-1] == pytest.approx(0, abs=1e-12)
    # the area under the fine curve is the area
    fine = qini_curve(one(x), scores, shares=np.linspace(0, 1, 401).tolist()).frame()
    assert np.trapezoid(fine["value"], fine["share"]) == pytest.approx(
        values(uplift_metrics(one(x), scores))["qini"], abs=1e-3
    )


def test_calibration_finds_effects_stated_too_large():
    x, scores = experiment(20_000, 8)
    right, large = (uplift_calibration(one(k * x), scores).summary.iloc[0] for k in (1, 2))
    assert right["slope_low"] < 1 < right["slope_high"]
    assert right["intercept_low"] < 0 < right["intercept_high"]
    assert large["slope"] == pytest.approx(right["slope"] / 2)
    assert large["slope_high"] < 0.6
    # the bins' mean predictions miss by |x| on average: a squared error of about 1, of the right ones about 0
    assert large["squared_error"] == pytest.approx(0.95, abs=0.12)
    assert abs(right["squared_error"]) < 0.01
    assert right["calibration_error"] < 0.1 < large["calibration_error"]
    assert uplift_calibration(one(0 * x), scores, bins=5).frame()["n"].tolist() == [20_000]


def test_the_simulators_truth_ranks_and_its_reverse_does_not():
    portfolio = make_portfolio(30_000, random_state=5)
    decisions = portfolio.decisions.reset_index(drop=True)
    truth = portfolio.truth_paid.loc[decisions["account_id"]].reset_index(drop=True)
    scores = doubly_robust_scores(
        truth,
        action=decisions["action"],
        outcome=decisions["paid"],
        logging_propensity=decisions["logging_propensity"],
        customer=decisions["customer_id"],
    )
    effects = truth.sub(truth["no_action"], axis="index")
    forward = uplift_metrics(effects, scores).frame().set_index(["contrast", "metric"])
    for action in ("firm_call", "best_action"):
        assert forward.loc[(action, "qini"), "low"] > 0
    for action in effects.columns[1:]:
        gain = effects[action]
        assert forward.loc[(action, "average_effect"), "value"] == pytest.approx(
            gain.mean(), abs=4 * forward.loc[(action, "average_effect"), "se"]
        )


def test_every_result_draws_itself():
    _, effects, scores = three_armed(500)
    drawn = [m(effects, scores) for m in (uplift_metrics, uplift_curve, qini_curve, toc_curve, uplift_calibration)]
    for result in drawn:
        assert isinstance(result.plot(), Figure)
        copy = result.frame()
        copy.iloc[:, -1] = -1.0
        assert not result.frame().equals(copy)
    with pytest.raises(ValueError, match="metric must be"):
        drawn[0].plot("gini")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda e, s: uplift_metrics(e.iloc[::-1], s), "indexed like the scores"),
        (lambda e, s: uplift_metrics(e.drop(columns="call"), s), r"without effects or scores: \['call'\]"),
        (lambda e, s: uplift_metrics(e.where(e > 0), s), "not finite"),
        (lambda e, s: uplift_metrics(e, s, actions=[]), "no action to compare"),
        (lambda e, s: uplift_curve(e, s, shares=[2.0]), "between 0 and 1"),
        (lambda e, s: uplift_calibration(e, s, bins=0), "at least one group"),
        (lambda e, s: rank_weighted_average_effect([1.0], [1.0, 2.0]), "rows of one table"),
        (lambda e, s: rank_weighted_average_effect([1.0, np.nan], [1.0, 2.0]), "not finite"),
        (lambda e, s: rank_weighted_average_effect([1.0, 2.0], [1.0, 2.0], target="x"), "target"),
        (lambda e, s: rank_weighted_average_effect([1.0, 2.0], [1.0, 2.0], interval="x"), "interval"),
        (lambda e, s: rank_weighted_average_effect([1.0, 2.0], [1.0, 2.0], customer=["a", None]), "no customer"),
    ],
)
def test_what_cannot_be_measured_is_refused(call, says):
    _, effects, scores = three_armed(50)
    with pytest.raises((SchemaError, ValueError), match=says):
        call(effects, scores)
