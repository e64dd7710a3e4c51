"""What a collector would recognise: amounts, who can be moved, what arrives late, and a world where nothing works."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from collectml.simulation import make_portfolio


def gains(p) -> pd.DataFrame:
    return p.truth_paid.sub(p.truth_paid["no_action"], axis=0)


def test_amounts_have_mass_at_nothing_at_the_arrears_and_at_everything(card):
    log = card.decisions
    paid = log["recovered"] > 0
    assert 0.25 < (~paid).mean() < 0.5
    full = (log["recovered"] - log["balance"]).abs() < 0.005
    arrears = (log["recovered"] - log["arrears"]).abs() < 0.005
    between = paid & (log["recovered"] > log["arrears"] + 0.01) & (log["recovered"] < log["balance"] - 0.01)
    assert 0.02 < full[paid].mean() < 0.2
    assert arrears[paid].mean() > 0.5
    assert between[paid].mean() > 0.05
    assert log.loc[between, "recovered"].nunique() > 0.9 * between.sum(), "a density, not a few points"


def test_what_is_paid_between_stays_between(card):
    """Amounts above the arrears of people who pay of themselves: nothing below one instalment is ever paid."""
    log = card.decisions[card.decisions["action"] == "no_action"]
    low = np.minimum(log["instalment"], log["arrears"])
    assert (log.loc[log["recovered"] > 0, "recovered"] >= low[log["recovered"] > 0] - 0.005).all()


def test_charged_off_debt_is_mostly_not_paid_and_seldom_in_full(charged_off):
    log = charged_off.decisions
    paid = log["recovered"] > 0
    assert 0.03 < paid.mean() < 0.10
    full = (log["recovered"] - log["balance"]).abs() < 0.005
    assert 0.005 < full[paid].mean() < 0.2


def test_some_are_harmed_and_not_by_every_action(card):
    harmed = (gains(card) < -1e-6).mean()
    assert 0.05 < harmed["firm_call"] < 0.15
    assert 0.01 < harmed["sms"] < 0.08  # very good customers resent a reminder
    assert harmed[["letter", "email", "soft_call"]].max() == 0.0
    # a plan replaces payments that would have been larger
    assert (card.truth["payment_plan"] < card.truth["no_action"] - 1e-6).mean() > 0.05


@pytest.mark.parametrize("action", ["sms", "email", "letter", "soft_call", "firm_call"])
def test_persuadables_stand_in_the_middle(card, action):
    effect = gains(card)[action]
    decile = pd.qcut(card.truth_paid["no_action"].rank(method="first"), 10, labels=False)
    by = effect.groupby(decile).mean()
    assert by.loc[2:6].max() > 3 * by.loc[0]
    assert by.loc[2:6].max() > 3 * by.loc[9]
    assert by.idxmax() in range(1, 8)


def test_actions_suit_different_people(card):
    """No action is best for everyone, or there would be nothing to learn."""
    best = card.truth.idxmax(axis=1).value_counts(normalize=True)
    assert best.max() < 0.6
    assert (best > 0.02).sum() >= 5


def test_what_is_observed_leans_on_what_is_not(card):
    latent, account = card._world.latent, card.accounts
    assert 0.4 < np.corrcoef(account["behaviour_score"].fillna(640.0), latent["willingness"])[0, 1] < 0.9
    kept = (account["promises_kept"] + 1) / (account["promises_kept"] + account["promises_broken"] + 2)
    assert 0.2 < np.corrcoef(kept, latent["willingness"])[0, 1] < 0.9


def test_payments_after_the_horizon_are_logged_but_not_counted(card):
    payments, log = card.payments, card.decisions.set_index("account_id")
    after = payments["decided_at"].isna()
    logged = log[["decided_at", "recovered"]].add_suffix("_logged")
    late = payments[after].join(logged, on="account_id")
    assert 0.01 < after.mean() < 0.15
    days = (late["ts"] - late["decided_at_logged"]).dt.days
    assert days.between(31, 60).all()
    assert (late["recovered_logged"] == 0).all(), "who paid in time has nothing more due"
    assert (payments["ts"] <= card.as_of).all(), "the future is not in the log"
    inside = payments[~after].join(logged, on="account_id")
    assert (inside["decided_at"] == inside["decided_at_logged"]).all()
    assert (inside["ts"] - inside["decided_at"]).dt.days.between(1, 30).all()


def test_late_payments_are_more_where_the_horizon_is_longer_past(card):
    """Who was decided on a month ago has had no day 31 yet: censored, not absent."""
    log = card.decisions.set_index("account_id")
    late = set(card.payments.loc[card.payments["decided_at"].isna(), "account_id"])
    age = (card.as_of - log["decided_at"]).dt.days
    share = pd.Series([a in late for a in log.index], index=log.index).groupby(age).mean()
    assert share.loc[30] == 0.0
    assert share.loc[60:].min() > 0.01


def test_calls_are_a_funnel(card):
    calls = card.contacts[card.contacts["channel"] == "call"]
    per_account = calls.groupby(["account_id"]).size()
    assert per_account.max() == 3
    assert 0.2 < (per_account == 1).mean() < 0.8
    assert set(calls["outcome"]) == {"no_answer", "wrong_party", "right_party", "conversation", "promise", "refusal"}
    talked = calls["outcome"].isin(["conversation", "promise", "refusal"])
    assert (calls.loc[talked, "talk_minutes"] > 0).all()
    assert (calls.loc[~talked, "talk_minutes"].fillna(0) == 0).all()
    promise = (calls["outcome"] == "promise").sum() / talked.sum()
    assert 0.20 < promise < 0.45


def test_calls_near_the_known_hour_reach_more_people(card):
    best = card.accounts.set_index("account_id")["best_hour"]
    calls = card.contacts[(card.contacts["channel"] == "call") & card.contacts["account_id"].map(best.notna())]
    near = (calls["hour"] - calls["account_id"].map(best).astype("int64")).abs() <= 1
    reached = ~calls["outcome"].isin(["no_answer", "wrong_party"])
    assert reached[near].mean() > 1.15 * reached[~near].mean()


def test_cost_of_a_decision_is_the_sum_of_its_attempts(portfolio):
    spent = portfolio.contacts.groupby("account_id")["cost"].sum()
    log = portfolio.decisions.set_index("account_id")["cost"]
    # attempts and talk minutes are rounded in the contact log
    assert (spent.reindex(log.index, fill_value=0.0) - log).abs().max() < 0.01


def test_complaints_in_the_log_are_those_of_the_decisions(portfolio):
    log = portfolio.decisions
    assert sorted(portfolio.complaints["account_id"]) == sorted(log.loc[log["complained"] == 1, "account_id"])


@pytest.mark.parametrize("logging", ["randomised", "confounded"])
def test_in_the_world_without_effects_nothing_works(logging):
    p = make_portfolio(20_000, world="no_effect", logging=logging, random_state=9)
    assert p.truth.sub(p.truth["no_action"], axis=0).abs().to_numpy().max() < 1e-9
    assert p.truth_complaints.sub(p.truth_complaints["no_action"], axis=0).abs().to_numpy().max() < 1e-12
    assert p.truth_cost["soft_call"].mean() > 1.0, "what does nothing still costs"
    weight = 1.0 / p.decisions["logging_propensity"]
    for action in p.actions:
        score = (p.decisions["action"] == action) * weight * p.decisions["paid"]
        assert abs(score.mean() - p.truth_paid["no_action"].mean()) < 4 * score.std() / np.sqrt(len(score)), action
