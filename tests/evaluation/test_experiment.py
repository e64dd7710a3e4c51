"""The size of an experiment against published figures, and against its own power in simulation."""

from __future__ import annotations

import numpy as np
import pytest

from collectml.evaluation import OutcomeSpread, design_experiment, read_out


def test_the_published_sizes():
    """20 % to 21 % at 80 % power: 25.6k an arm; a tenth held out: 14.2k controls of 142k accounts; CUPED at 0.5: 107k."""
    rate = OutcomeSpread.of_rate(0.20)
    even = design_experiment(rate, effect=0.01).frame()
    assert even["controls"].tolist() == even["treated"].tolist()
    assert round(even["controls"].iloc[0] / 1_000, 1) == 25.6
    tenth = design_experiment(rate, effect=0.01, holdout_share=0.1, correlation=0.5).frame().set_index("method")
    assert round(tenth.loc["plain", "controls"] / 1_000, 1) == 14.2
    assert round(tenth.loc["plain", "accounts"] / 1_000) == 142
    assert round(tenth.loc["cuped", "accounts"] / 1_000) == 107


def test_money_follows_the_moments_of_its_mixture():
    rng = np.random.default_rng(0)
    sigma, q = 0.9, 0.25
    amounts = np.exp(5 + sigma * rng.normal(size=2_000_000))
    values = (rng.random(2_000_000) < q) * amounts
    stated = OutcomeSpread.of_money(q, np.exp(5 + sigma**2 / 2), np.exp(5 + sigma**2 / 2) * np.sqrt(np.exp(sigma**2) - 1))
    measured = OutcomeSpread.of_values(values)
    assert stated.mean == pytest.approx(measured.mean, rel=0.005)
    assert stated.variance == pytest.approx(measured.variance, rel=0.02)
    assert stated.skewness == pytest.approx(measured.skewness, rel=0.15)
    assert not measured.proportion
    assert OutcomeSpread.of_values([0, 1, 1, 0]).proportion


def test_customers_count_as_whole():
    """Two accounts that always do the same are worth one."""
    rng = np.random.default_rng(1)
    once = rng.random(5_000)
    customer = np.repeat(np.arange(5_000), 2)
    spread = OutcomeSpread.of_values(np.repeat(once, 2), customer=customer)
    assert spread.design_effect == pytest.approx(2, abs=0.01)
    assert spread.variance == pytest.approx(2 * once.var(), rel=0.01)
    stated = OutcomeSpread.of_rate(0.3, accounts_per_customer=2, similarity=0.5)
    assert stated.variance == pytest.approx(1.5 * 0.21)


def test_cuped_correlation_is_measured():
    rng = np.random.default_rng(2)
    before = rng.normal(size=40_000)
    spread = OutcomeSpread.of_values(0.6 * before + 0.8 * rng.normal(size=40_000), covariate=before)
    assert spread.correlation == pytest.approx(0.6, abs=0.01)
    frame = design_experiment(spread, effect=0.05).frame().set_index("method")["accounts"]
    assert frame["cuped"] / frame["plain"] == pytest.approx(0.64, abs=0.01)


@pytest.mark.parametrize("share", [0.5, 0.15])
def test_the_planned_size_has_the_planned_power(share):
    """Zero-inflated lognormal money of customers with two accounts each: power by simulation is near the 80 % asked for."""
    rng = np.random.default_rng(3)

    def draw(customers: int) -> np.ndarray:
        mood = rng.normal(size=customers).repeat(2)
        paid = rng.random(2 * customers) < 1 / (1 + np.exp(1.0 - 0.8 * mood))
        return paid * 100 * np.exp(0.5 * rng.normal(size=2 * customers))

    spread = OutcomeSpread.of_values(draw(100_000), customer=np.arange(100_000).repeat(2))
    assert spread.design_effect > 1.05
    size = design_experiment(spread, effect=9.0, holdout_share=share).frame().iloc[0]
    arms = np.repeat(["control", "new"], [size["controls"] // 2 * 2, size["treated"] // 2 * 2])
    found = 0
    for _ in range(200):
        y = draw(len(arms) // 2) + 9.0 * (arms == "new")
        result = read_out(
            y, arms, control="control", shares={"control": share, "new": 1 - share}, customer=np.arange(len(y)) // 2
        ).frame()
        found += result["low"].iloc[1] > 0
    assert 0.71 < found / 200 < 0.885  # 0.80, three standard errors either way


def test_duration_cost_and_detectable_effect_belong_together():
    rate = OutcomeSpread.of_rate(0.2)
    design = design_experiment(
        rate, effect=0.02, holdout_share=0.2, accounts_per_day=500, horizon_days=30, money_per_unit=400, correlation=0.4
    )
    frame = design.frame()
    np.testing.assert_array_equal(frame["days"], np.ceil(frame["accounts"] / 500) + 30)
    np.testing.assert_allclose(frame["forgone_recovery"], frame["controls"] * 0.02 * 400)
    for method, accounts in zip(frame["method"], frame["accounts"], strict=True):
        assert design.detectable_effect(accounts, method=method) == pytest.approx(0.02, rel=1e-3)
    assert design_experiment(rate, effect=0.02).frame()["days"].isna().all()


def test_heavy_tails_are_flagged():
    heavy = OutcomeSpread.of_money(0.05, 300, 900)
    assert not design_experiment(heavy, effect=20).enough_for_tails["plain"]
    assert design_experiment(heavy, effect=0.2).enough_for_tails["plain"]
    assert design_experiment(OutcomeSpread.of_rate(0.3), effect=0.01).enough_for_tails.all()


def test_the_picture_shows_the_plan():
    design = design_experiment(OutcomeSpread.of_rate(0.2), effect=0.01, correlation=0.5)
    (ax,) = design.plot().axes
    points = [tuple(line.get_xydata()[0]) for line in ax.lines if len(line.get_xydata()) == 1]
    assert points == [(n, 0.01) for n in design.frame()["accounts"]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"effect": 0.0}, "effect"),
        ({"effect": 0.9}, "cannot change"),
        ({"holdout_share": 0.0}, "holdout_share"),
        ({"power": 1.0}, "power"),
        ({"correlation": 1.0}, "correlation"),
    ],
)
def test_impossible_plans_are_refused(change, words):
    with pytest.raises(ValueError, match=words):
        design_experiment(OutcomeSpread.of_rate(0.2), **({"effect": 0.01} | change))


def test_impossible_spreads_are_refused():
    with pytest.raises(ValueError, match="rate"):
        OutcomeSpread.of_rate(1.0)
    with pytest.raises(ValueError, match="mean_paid"):
        OutcomeSpread.of_money(0.2, 0, 1)
    with pytest.raises(ValueError, match="do not vary"):
        OutcomeSpread.of_values([1.0, 1.0])
    with pytest.raises(ValueError, match="finite"):
        OutcomeSpread.of_values([1.0, np.nan])
    with pytest.raises(ValueError, match="similarity"):
        OutcomeSpread.of_rate(0.2, similarity=2)
