"""The estimators that change weights, by hand; the tail index against known tails; the published rule against its own formula."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from collectml.evaluation import evaluate_policy, pareto_k
from collectml.evaluation.intervals import amounts_too_heavy
from collectml.evaluation.weights import choose_shrinkage, choose_switch, shrink, switch

from .worlds import Log, World, frame_of

FAMILY = ("dm", "ips", "snips", "dr", "sndr", "switch_dr", "dr_os")


def four_decisions() -> Log:
    """Two texts logged with probabilities 1/2 and 1/10, two decisions without; the policy texts everybody."""
    return Log(
        pd.DataFrame(
            {
                "account_id": [1, 2, 3, 4],
                "customer_id": [1, 2, 3, 4],
                "x": 0.0,
                "action": ["sms", "sms", "no_action", "no_action"],
                "paid": [1, 0, 1, 0],
                "recovered": [10.0, 0.0, 8.0, 0.0],
                "logging_propensity": [0.5, 0.1, 0.5, 0.9],
            }
        )
    )


def test_every_estimator_of_four_decisions_by_hand():
    """Weights 2, 10, 0, 0; predictions 6, 2, 4, 4 for a text; residuals of the two texts 4 and -2."""
    log = four_decisions()
    predicted = frame_of(np.column_stack([np.full(4, 5.0), [6.0, 2.0, 4.0, 4.0], np.zeros((4, 2))]), log)
    policy = frame_of(np.tile([0.0, 1.0, 0.0, 0.0], (4, 1)), log)
    found = evaluate_policy(log, policy, outcome_model=predicted, estimators=FAMILY).frame().set_index("estimator")
    assert found["value"].drop(["switch_dr", "dr_os"]).to_dict() == pytest.approx(
        {
            "dm": 4.0,
            "ips": 2 * 10 / 4,
            "snips": 2 * 10 / 12,
            "dr": 4 + (2 * 4 - 10 * 2) / 4,
            "sndr": 4 + (2 * 4 - 10 * 2) / 12,
        }
    )


def test_weights_changed_by_hand():
    w = np.array([0.0, 2.0, 10.0])
    assert switch(w, 5.0).tolist() == [0.0, 2.0, 0.0]
    assert switch(w, 10.0).tolist() == w.tolist()
    assert shrink(w, 20.0) == pytest.approx([0.0, 20 * 2 / (4 + 20), 20 * 10 / (100 + 20)])
    assert shrink(w, np.inf).tolist() == w.tolist()
    assert shrink(w, 0.0).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("choose", "change"), [(choose_switch, switch), (choose_shrinkage, shrink)])
def test_the_choice_is_dr_where_bias_would_cost_more_and_dm_where_the_model_is_right(choose, change):
    rng = np.random.default_rng(0)
    w = rng.lognormal(sigma=1.0, size=20_000)

    def variance(scores: np.ndarray) -> float:
        return float(scores.var() / len(scores))

    wrong = np.ones(20_000)  # a model that is wrong by one everywhere: any weight given up is bias
    kept = change(w, choose(w, wrong, np.zeros(20_000), variance))
    assert kept.sum() / w.sum() > 0.95
    noise = 50 * rng.normal(size=20_000)  # a model without bias: weights bring nothing but noise
    kept = change(w, choose(w, noise, np.zeros(20_000), variance))
    assert np.square(kept).sum() < 0.2 * np.square(w).sum()


def test_biased_estimators_say_that_their_intervals_hold_variance_only():
    log = World().log(300, 1)
    x = log.X["x"].to_numpy()
    found = evaluate_policy(
        log, frame_of(World.policy(x), log), outcome_model=frame_of(World().expected(x), log), estimators=FAMILY
    ).frame()
    says = found.set_index("estimator")["note"].str.contains("the interval holds the sampling variance only")
    assert says.to_dict() == {e: e in ("dm", "switch_dr", "dr_os") for e in FAMILY}


@pytest.mark.parametrize("k", [0.25, 0.5, 1.0])
def test_the_tail_index_is_that_of_a_pareto_distribution(k):
    found = [pareto_k(np.random.default_rng(s).pareto(1 / k, 20_000)) for s in range(20)]
    assert np.mean(found) == pytest.approx(k, abs=0.06)


def test_a_bounded_tail_is_negative_and_equal_weights_have_none():
    assert pareto_k(np.random.default_rng(0).random(50_000)) < -0.5
    assert np.isnan(pareto_k(np.full(1_000, 4.0)))
    assert np.isnan(pareto_k(np.array([1.0, 2.0, 3.0])))
    w = np.random.default_rng(1).lognormal(size=5_000)
    assert pareto_k(1e9 * w) == pytest.approx(pareto_k(w), rel=1e-6)


def test_amounts_are_called_too_heavy_by_their_spread_and_the_number_of_payments():
    rng = np.random.default_rng(0)
    w = np.ones(300)
    assert amounts_too_heavy(rng.lognormal(sigma=0.8, size=300), w) is None
    few, needed = amounts_too_heavy(rng.lognormal(sigma=2.0, size=300), w)
    assert few == pytest.approx(300)
    assert needed > 10 * few
    assert amounts_too_heavy(np.ones(300), w) is None  # paid or not: no tail


def test_heavy_amounts_flag_their_intervals_and_light_ones_do_not():
    flagged = {}
    for sigma in (0.5, 2.0):
        world, share = World(clustered=False, sigma=sigma), 0
        for seed in range(20):
            log = world.log(400, seed)
            x = log.X["x"].to_numpy()
            found = evaluate_policy(log, frame_of(World.policy(x), log), estimators="snips").frame()
            share += 1 - int(found["reliable"].item())
        flagged[sigma] = share / 20
    assert flagged[0.5] <= 0.1
    assert flagged[2.0] == 1
