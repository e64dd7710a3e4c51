"""Today's rules and the logging: recorded propensities are the frequencies of actions, and confounded logs mislead."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from collectml.data import DecisionLog
from collectml.simulation import make_portfolio, rules_assignment


def probabilities(p, logging: str) -> np.ndarray:
    from collectml.simulation.rules import logging_probabilities

    return logging_probabilities(p.accounts, logging, "card" if "payment_plan" in p.actions else "charged_off")


def ips_effect(p, action: str) -> tuple[float, float]:
    """Effect on the chance of paying by inverse propensities, and its standard error."""
    log = p.decisions
    weight = (log["action"] == action).astype(float) - (log["action"] == "no_action").astype(float)
    score = weight / log["logging_propensity"] * log["paid"]
    return float(score.mean()), float(score.std() / np.sqrt(len(score)))


def naive_effect(p, action: str) -> tuple[float, float]:
    """Plain difference of mean chances of paying, and its standard error."""
    done, left = (p.decisions.loc[p.decisions["action"] == a, "paid"] for a in (action, "no_action"))
    return float(done.mean() - left.mean()), float(np.sqrt(done.var() / len(done) + left.var() / len(left)))


def true_effect(p, action: str) -> float:
    return float((p.truth_paid[action] - p.truth_paid["no_action"]).mean())


@pytest.mark.parametrize("logging", ["randomised", "confounded"])
def test_probabilities_are_positive_and_sum_to_one(portfolio, logging):
    q = probabilities(portfolio, logging)
    assert np.allclose(q.sum(axis=1), 1.0)
    assert q.min() >= 0.008 - 1e-12


def test_recorded_propensity_is_the_probability_of_the_recorded_action(confounded):
    q = pd.DataFrame(probabilities(confounded, "confounded"), index=confounded.truth.index, columns=list(confounded.actions))
    log = confounded.decisions
    said = q.to_numpy()[q.index.get_indexer(log["account_id"]), q.columns.get_indexer(log["action"])]
    assert np.allclose(said, log["logging_propensity"])


def test_randomised_actions_come_as_often_as_stated(card):
    share = card.decisions["action"].value_counts(normalize=True)
    stated = pd.Series({a: 0.2 if a == "no_action" else 0.8 / 7 for a in card.actions})
    z = (share - stated) / np.sqrt(stated * (1 - stated) / len(card.decisions))
    assert z.abs().max() < 4


def test_confounded_actions_come_as_often_as_stated_in_every_bin(confounded):
    q = pd.DataFrame(probabilities(confounded, "confounded"), index=confounded.truth.index, columns=list(confounded.actions))
    action = confounded.decisions.set_index("account_id")["action"].reindex(q.index)
    for a in confounded.actions:
        bins = pd.qcut(q[a].rank(method="first"), 10, labels=False)
        chance = q[a].groupby(bins)
        z = ((action == a).groupby(bins).mean() - chance.mean()) / np.sqrt(
            (q[a] * (1 - q[a])).groupby(bins).sum() / chance.size() ** 2
        )
        assert z.abs().max() < 4.2, f"{a}: {z.round(1).tolist()}"
        assert chance.mean().max() > 3 * chance.mean().min(), f"{a} is given to all alike: nothing is confounded"


def test_randomised_logs_need_no_correction(card):
    for action in card.actions[1:]:
        effect, error = naive_effect(card, action)
        assert abs(effect - true_effect(card, action)) < 4 * error, action


@pytest.mark.parametrize("action", ["email", "letter", "firm_call", "settlement_offer", "payment_plan"])
def test_confounded_logs_mislead_and_propensities_put_it_right(confounded, action):
    truth = true_effect(confounded, action)
    naive, error = naive_effect(confounded, action)
    assert abs(naive - truth) > 6 * error
    effect, error = ips_effect(confounded, action)
    assert abs(effect - truth) < 4 * error


def test_confounding_turns_the_sign_of_hard_actions(confounded):
    """Bad payers get the hard tone, so that a naive reading says it harms."""
    assert naive_effect(confounded, "firm_call")[0] < -0.1 < 0.05 < true_effect(confounded, "firm_call")


def test_confounding_rests_on_what_is_observed(confounded):
    """Given the recorded propensities, the action taken says nothing more about willingness or ability."""
    latent = confounded._world.latent
    log = confounded.decisions.set_index("account_id").reindex(confounded.truth.index)
    for hidden in ("ability", "willingness"):
        value = latent[hidden].to_numpy()
        for action in ("firm_call", "email"):
            score = (log["action"] == action).to_numpy() / log["logging_propensity"].to_numpy() * value
            assert abs(score.mean() - value.mean()) < 4 * score.std() / np.sqrt(len(score))


def test_rules_keep_the_calendar_and_the_channels(portfolio):
    plan = rules_assignment(portfolio.accounts, portfolio.capacity)
    assert plan.index.tolist() == portfolio.accounts["account_id"].tolist()
    room = portfolio.capacity.groupby("channel")["capacity"].sum()
    counts = plan.value_counts()
    assert counts.get("sms", 0) <= room["sms"]
    assert counts.get("email", 0) <= room["email"]
    assert sum(counts.get(a, 0) for a in ("letter", "settlement_offer", "legal_letter")) <= room["letter"]
    assert counts.get("visit", 0) <= room.get("visit", 0)
    at = portfolio.truth_minutes.columns.get_indexer(plan)
    minutes = portfolio.truth_minutes.to_numpy()[np.arange(len(plan)), at]
    called = plan.isin(["soft_call", "firm_call", "payment_plan"]).to_numpy()
    assert minutes[called].sum() <= room["call"]
    account = portfolio.accounts.set_index("account_id")
    assert (plan[account["deceased"] | account["dispute"]] == "no_action").all()
    assert not account.loc[plan == "sms", "optout_sms"].any()


def test_without_a_calendar_nothing_is_scarce(card):
    free, bound = rules_assignment(card.accounts), rules_assignment(card.accounts, card.capacity)
    assert (free == "soft_call").sum() >= (bound == "soft_call").sum()
    assert (free == "no_action").sum() < (bound == "no_action").sum()


def test_rules_do_not_depend_on_the_order_of_rows(card):
    shuffled = card.accounts.sample(frac=1.0, random_state=0)
    plan = rules_assignment(shuffled, card.capacity)
    assert plan.reindex(card.truth.index).equals(rules_assignment(card.accounts, card.capacity))


def test_the_log_is_one_the_library_learns_from():
    p = make_portfolio(500, logging="confounded", random_state=1)
    log = DecisionLog(p.decisions, actions=p.actions, customer_id="customer_id", observed_until=p.as_of)
    assert len(log.X) == 500, "all horizons have passed on the day of the snapshot"
