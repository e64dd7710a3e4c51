"""The truth is what playing gives on average: for every action, as a whole and by the height of the truth."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from collectml.simulation import Portfolio, make_portfolio

ACCOUNTS = 8_000
TRIES = 12
KINDS = ("recovered", "paid", "cost", "complained")
WORLDS = ["card", pytest.param("charged_off", marks=pytest.mark.slow)]  # rare large payments need the many tries


def expected(p: Portfolio, action: str) -> pd.DataFrame:
    """What the truth says of one action, columns named as in the decision log."""
    frames = (p.truth, p.truth_paid, p.truth_cost, p.truth_complaints)
    return pd.DataFrame({kind: frame[action] for kind, frame in zip(KINDS, frames, strict=True)})


@pytest.fixture(scope="module", params=WORLDS)
def replayed(request: pytest.FixtureRequest) -> tuple[Portfolio, dict[str, tuple[pd.DataFrame, pd.DataFrame]]]:
    """Play the same month many times for every action: mean miss and its variance, accounts x what is measured."""
    p = make_portfolio(ACCOUNTS, world=request.param, random_state=21)
    out = {}
    for action in p.actions:
        plan, truth = pd.Series(action, index=p.truth.index), expected(p, action)
        total, square = 0.0 * truth, 0.0 * truth
        for k in range(TRIES):
            log = p.realise(plan, random_state=k).decisions.set_index("account_id")[list(KINDS)]
            miss = log.astype(float) - truth
            total, square = total + miss, square + miss**2
        out[action] = total / TRIES, square / TRIES**2
    return p, out


def z_scores(miss: pd.DataFrame, variance: pd.DataFrame, by: pd.Series) -> pd.DataFrame:
    """Mean miss over its standard error, in each group."""
    return miss.groupby(by).sum() / np.sqrt(variance.groupby(by).sum().clip(lower=1e-12))


def test_truth_equals_the_mean_of_what_is_played(replayed):
    _, runs = replayed
    scores = {action: miss.sum() / np.sqrt(var.sum().clip(lower=1e-12)) for action, (miss, var) in runs.items()}
    worst = pd.DataFrame(scores).abs()
    assert worst.to_numpy().max() < 4.0, worst


def test_truth_equals_the_mean_of_what_is_played_in_every_decile(replayed):
    p, runs = replayed
    for action, (miss, var) in runs.items():
        decile = pd.qcut(p.truth[action].rank(method="first"), 10, labels=False)
        worst = z_scores(miss, var, decile).abs()
        # some 700 comparisons in all: chance alone passes four standard errors in one run of twenty
        assert worst.to_numpy().max() < 4.8, f"{action}\n{worst}"


def test_large_debts_are_paid_out_of_income_in_play_as_in_truth(replayed):
    """What is paid between arrears and balance once had a range in play other than in truth: it showed here."""
    p, runs = replayed
    account = p.accounts.set_index("account_id")
    heavy = (account["balance"] > 4 * account["income"]) & (account["balance"] > account["balance"].median())
    assert heavy.mean() > 0.02
    for action, (miss, var) in runs.items():
        z = miss.loc[heavy, "recovered"].sum() / np.sqrt(var.loc[heavy, "recovered"].sum())
        assert abs(z) < 4.0, f"{action}: {z:.1f} standard errors off"


def test_the_test_has_the_power_to_notice_a_few_percent(replayed):
    p, runs = replayed
    reach = 0.02 if "payment_plan" in p.actions else 0.10
    for action, (_, var) in runs.items():
        assert 2 * np.sqrt(var["recovered"].sum()) / p.truth[action].sum() < reach, action


def test_minutes_are_what_talks_take(card):
    """Expected agent minutes of a call equal played talk minutes and attempts, at the stated minutes of an attempt."""
    p = card.realise(pd.Series("soft_call", index=card.truth.index), random_state=1)
    calls = p.contacts[p.contacts["channel"] == "call"]
    attempt_minutes = 0.8
    played = calls["talk_minutes"].sum() + attempt_minutes * len(calls)
    assert played == pytest.approx(card.truth_minutes["soft_call"].sum(), rel=0.02)


@pytest.mark.parametrize("kind", ["truth", "truth_paid", "truth_cost", "truth_complaints", "truth_minutes"])
def test_truth_frames_share_rows_and_columns(portfolio, kind):
    frame = getattr(portfolio, kind)
    assert frame.index.tolist() == portfolio.accounts["account_id"].tolist()
    assert frame.index.name == "account_id"
    assert tuple(frame.columns) == portfolio.actions
    assert np.isfinite(frame.to_numpy()).all()
    assert (frame.to_numpy() >= 0).all()


def test_chances_are_chances_and_nobody_pays_more_than_is_owed(portfolio):
    for frame in (portfolio.truth_paid, portfolio.truth_complaints):
        assert frame.to_numpy().max() <= 1.0
    balance = portfolio.accounts["balance"].to_numpy()
    assert (portfolio.truth.to_numpy() <= balance[:, None] + 1e-9).all()
    assert (portfolio.decisions["recovered"] <= portfolio.decisions["balance"] + 1e-9).all()


def test_where_a_channel_may_not_be_used_its_actions_equal_doing_nothing(portfolio):
    stopped = portfolio.accounts.set_index("account_id")["deceased"]
    assert stopped.sum() > 20
    for action in portfolio.actions[1:]:
        assert np.allclose(portfolio.truth.loc[stopped, action], portfolio.truth.loc[stopped, "no_action"])
        assert (portfolio.truth_cost.loc[stopped, action] == 0).all()
    account = portfolio.accounts.set_index("account_id")
    mute = account["optout_sms"] | ~account["has_mobile"]
    assert np.allclose(portfolio.truth.loc[mute, "sms"], portfolio.truth.loc[mute, "no_action"])
    assert not np.allclose(portfolio.truth.loc[~mute, "sms"], portfolio.truth.loc[~mute, "no_action"])
