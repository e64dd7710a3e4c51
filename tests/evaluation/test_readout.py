"""Reading an experiment out: unbiased with CUPED, honest at every look, and refused where the split is unsound."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from collectml.errors import SchemaError
from collectml.evaluation import confidence_sequence, read_out, sample_ratio
from collectml.evaluation._arms import anytime_half_width

SHARES = {"control": 0.2, "new": 0.8}


def trial(n: int, seed: int, effect: float = 0.0):
    """Draw zero-inflated lognormal money that leans on a behaviour known before; a fifth are controls."""
    rng = np.random.default_rng(seed)
    before = rng.normal(size=n)
    arm = np.where(rng.random(n) < 0.2, "control", "new")
    paid = rng.random(n) < 1 / (1 + np.exp(0.8 - 1.2 * before))
    outcome = paid * 60 * np.exp(0.5 * before + 0.5 * rng.normal(size=n)) + effect * (arm == "new")
    return outcome, arm, before


def test_cuped_is_unbiased_narrower_and_covers():
    results = []
    for seed in range(400):
        outcome, arm, before = trial(1_000, seed, effect=5.0)
        covariates = np.column_stack([before, before**2])
        results.append(read_out(outcome, arm, control="control", shares=SHARES, covariate=covariates).frame().iloc[1])
    found = pd.DataFrame(results).drop(columns=["arm", "note"]).astype(float)
    se = found["cuped_difference"].std() / np.sqrt(len(found))
    assert found["cuped_difference"].mean() == pytest.approx(5.0, abs=3 * se)
    assert found["cuped_difference"].std() < 0.85 * found["difference"].std()
    for prefix in ("", "cuped_"):
        covered = ((found[f"{prefix}low"] <= 5.0) & (found[f"{prefix}high"] >= 5.0)).mean()
        assert 0.915 <= covered <= 0.985  # 95 %, three standard errors either way
    assert (found["anytime_low"] < found["cuped_low"]).all()
    assert (found["anytime_high"] > found["cuped_high"]).all()


def test_peeking_does_not_cost_more_than_alpha():
    """A/A: 25 looks at a trial without effect. One-look intervals, read at every look, cry wolf; the sequence does not."""
    sequence_wrong, naive_wrong, repeats = 0, 0, 120
    for seed in range(repeats):
        outcome, arm, before = trial(2_000, 10_000 + seed)
        week = np.arange(2_000) // 80
        looks = confidence_sequence(
            outcome, arm, week, control="control", covariate=before if seed % 2 else None, planned_customers=2_000
        ).frame()
        sequence_wrong += bool(looks["decided"].any())
        shown = looks.dropna(subset=["low"])
        # the interval of one look at the same moments, from the same standard errors
        one_look = (shown["high"] - shown["low"]) / 2 / [anytime_half_width(1, n, 0.05, 2_000) for n in shown["customers"]]
        naive_wrong += bool((shown["difference"].abs() > 1.96 * one_look).any())
    assert sequence_wrong / repeats <= 0.05
    assert naive_wrong / repeats > 0.12


def test_the_half_width_is_the_papers_and_narrowest_where_planned():
    sigma, n, r, alpha = 2.0, 400, 0.01, 0.05
    by_hand = sigma * np.sqrt(2 * (n * r + 1) / (n**2 * r) * np.log(np.sqrt(n * r + 1) / alpha))
    log = -2 * np.log(alpha)
    planned = (log + np.log(log + 1)) / r
    assert anytime_half_width(sigma / np.sqrt(n), n, alpha, planned) == pytest.approx(by_hand)
    at = [anytime_half_width(1.0, 1_000, alpha, planned) for planned in (100, 1_000, 10_000)]
    assert at[1] == min(at)
    assert at[1] / 1.96 < 1.6


def test_a_sequence_finds_an_effect_and_says_when():
    outcome, arm, _ = trial(4_000, 1, effect=25.0)
    day = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(4_000) // 100, unit="D")
    sequence = confidence_sequence(outcome, arm, day, control="control", planned_customers=3_000)
    frame = sequence.frame()
    assert frame["customers"].is_monotonic_increasing
    assert frame.loc[frame["customers"] < 400, "low"].isna().all()  # fewer than 100 controls
    assert frame.loc[frame["look"] == sequence.decided_at, "low"].iloc[0] > 0
    assert frame["decided"].is_monotonic_increasing
    final = frame.iloc[-1]
    whole = read_out(outcome, arm, control="control", shares=SHARES, planned_customers=3_000).frame().iloc[1]
    assert [final["low"], final["high"]] == pytest.approx([whole["anytime_low"], whole["anytime_high"]])
    two = confidence_sequence(outcome, arm, day, control="control", looks=list(frame["look"].iloc[[20, 39]]))
    assert len(two.frame()) == 2
    (ax,) = sequence.plot().axes
    np.testing.assert_allclose(ax.lines[0].get_ydata(), frame["difference"].dropna())
    assert confidence_sequence(*trial(300, 2)[:2], np.arange(300) // 100, control="control").decided_at is None


def test_a_lost_arm_blocks_the_readout():
    outcome, arm, _ = trial(6_000, 3, effect=50.0)
    lost = (arm == "control") & (np.random.default_rng(0).random(6_000) < 0.15)
    result = read_out(outcome[~lost], arm[~lost], control="control", shares=SHARES)
    assert not result.ratio.sound
    assert result.ratio.p_value < 0.001
    frame = result.frame()
    assert frame[["difference", "low", "high", "anytime_low", "forgone_recovery"]].isna().all(axis=None)
    assert frame["note"].str.startswith("refused").all()
    assert result.plot().axes[0].texts[0].get_text() == "refused"
    assert read_out(outcome, arm, control="control", shares=SHARES).ratio.sound


def test_sound_splits_are_blocked_one_time_in_a_thousand():
    rng = np.random.default_rng(4)
    blocked = [
        not sample_ratio({"a": int(k), "b": 5_000 - int(k)}, {"a": 1, "b": 9}).sound for k in rng.binomial(5_000, 0.1, 1_500)
    ]
    assert np.mean(blocked) < 0.005
    assert sample_ratio({"a": 0, "b": 500}, {"a": 1, "b": 1}).p_value < 1e-9
    with pytest.raises(ValueError, match="each arm"):
        sample_ratio({"a": 1, "b": 2}, {"a": 1})


def test_ratio_counts_customers_and_money_counts_accounts():
    outcome, arm, _ = trial(3_000, 5, effect=10.0)
    customer = np.arange(3_000)
    twice = [np.repeat(v, 2) for v in (outcome, arm, customer)]
    result = read_out(*twice[:2], control="control", shares=SHARES, customer=twice[2], money_per_unit=2.0)
    once = read_out(outcome, arm, control="control", shares=SHARES).frame()
    frame = result.frame()
    assert result.ratio.counts["customers"].sum() == 3_000
    assert frame[["low", "high"]].iloc[1].astype(float).tolist() == pytest.approx(once[["low", "high"]].iloc[1].tolist())
    controls = int((twice[1] == "control").sum())
    assert frame["forgone_recovery"].iloc[1] == pytest.approx(controls * frame["difference"].iloc[1] * 2.0)


def test_several_arms_each_against_the_control():
    rng = np.random.default_rng(6)
    arm = rng.choice(["a", "b", "c"], 6_000)
    outcome = rng.normal(size=6_000) + 1.0 * (arm == "c")
    result = read_out(outcome, arm, control="b", shares=dict.fromkeys("abc", 1 / 3))
    frame = result.frame().set_index("arm")
    assert frame.index.tolist() == ["b", "a", "c"]
    assert frame.loc["c", "low"] > 0.8
    assert frame.loc["a", "low"] < 0 < frame.loc["a", "high"]
    (ax,) = result.plot().axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "c"]
    with pytest.raises(ValueError, match="two arms"):
        confidence_sequence(outcome, arm, np.arange(6_000), control="b")


def test_faulty_rows_are_refused_together():
    outcome, arm = np.array([1.0, np.nan, 2.0, 3.0]), np.array(["x", "y", "x", "y"])
    with pytest.raises(SchemaError, match=r"1 outcomes are missing.*2 customers stand in more than one arm"):
        read_out(outcome, arm, control="x", shares={"x": 1, "y": 1}, customer=[1, 1, 2, 2])
    with pytest.raises(ValueError, match="control"):
        read_out([1.0, 2.0], ["x", "y"], control="z", shares={"x": 1, "y": 1})
    with pytest.raises(ValueError, match="finite rows"):
        read_out(np.arange(4.0), arm, control="x", shares={"x": 1, "y": 1}, covariate=[1, 2, 3, np.nan])
    with pytest.raises(ValueError, match="known"):
        confidence_sequence(np.arange(4.0), arm, [1, 2], control="x")
