"""Playing months: money is conserved, snapshots and logs keep their contract, and bad assignments are refused whole."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from collectml.data import TABLES, validate
from collectml.simulation import Portfolio, make_portfolio, rules_assignment

LOGS = ("decisions", "contacts", "payments", "complaints")


@pytest.fixture(scope="module", params=["card", "charged_off", "no_effect"])
def months(request: pytest.FixtureRequest) -> list[Portfolio]:
    """A portfolio and the three months that follow under today's rules."""
    played = [make_portfolio(3_000, world=request.param, random_state=3)]
    for _ in range(3):
        played.append(played[-1].realise(rules_assignment(played[-1].accounts, played[-1].capacity)))
    return played


def steps(months: list[Portfolio]) -> list[tuple[Portfolio, Portfolio]]:
    return list(pairwise(months))


def test_balances_fall_by_what_was_paid(months):
    for before, after in steps(months):
        old, new = (p.accounts.set_index("account_id")["balance"] for p in (before, after))
        paid = after.payments.groupby("account_id")["amount"].sum()
        stayed = new.index.intersection(old.index)
        assert len(stayed) > 300
        assert np.allclose(old[stayed] - paid.reindex(stayed, fill_value=0.0), new[stayed], atol=0.006)
        assert (new[stayed] > 0).all()


def test_payments_sum_to_what_was_recovered(months):
    for p in months:
        counted = p.payments[p.payments["decided_at"].notna()].groupby("account_id")["amount"].sum()
        log = p.decisions.set_index("account_id")["recovered"]
        assert np.allclose(counted.reindex(log.index, fill_value=0.0), log, atol=0.006)


def test_every_log_and_snapshot_keeps_its_contract(months):
    for p in months:
        for table in TABLES:
            validate(getattr(p, table), table, actions=p.actions)


def test_time_moves_by_one_horizon(months):
    for before, after in steps(months):
        assert (after.as_of - before.as_of).days == 30
        assert (after.accounts["as_of"] == after.as_of).all()
        assert (after.decisions["decided_at"] == before.as_of).all()
        for table in ("contacts", "payments", "complaints"):
            ts = getattr(after, table)["ts"]
            assert ts.between(before.as_of, after.as_of + pd.Timedelta(days=1)).all()
        assert after.capacity["date"].between(after.as_of, after.as_of + pd.Timedelta(days=29)).all()


def test_logs_speak_of_the_accounts_decided_on(months):
    for before, after in steps(months):
        known = set(before.accounts["account_id"])
        assert set(after.decisions["account_id"]) == known
        assert all(set(getattr(after, t)["account_id"]) <= known for t in LOGS)
        plan = rules_assignment(before.accounts, before.capacity)
        assert after.decisions.set_index("account_id")["action"].reindex(plan.index).equals(plan)


def test_numbers_of_accounts_and_customers_never_come_back(months):
    highest = 0
    for before, after in steps(months):
        highest = max(highest, before.accounts["account_id"].max())
        assert after.accounts["account_id"].is_unique
        arrived = after.accounts[~after.accounts["account_id"].isin(before.accounts["account_id"])]
        assert len(arrived) == round(after._world.calibration["inflow_share"] * 3_000)
        assert arrived["account_id"].min() > highest
        assert not set(arrived["customer_id"]) & set(before.accounts["customer_id"])


def test_the_cured_and_the_settled_have_left(months):
    for before, after in steps(months):
        log = after.decisions.set_index("account_id")
        stayed = log.index.isin(after.accounts["account_id"])
        assert not ((log["recovered"] >= log["balance"] - 0.005) & stayed).any()
        if "visit" not in before.actions:
            cured = log["recovered"] >= log["arrears"] - 0.005
            assert not (cured & stayed).any()
            assert after.accounts["days_past_due"].max() <= 180


def test_who_pays_nothing_rolls_on_by_a_month(months):
    for before, after in steps(months):
        old, new = (p.accounts.set_index("account_id") for p in (before, after))
        log = after.decisions.set_index("account_id")["recovered"]
        silent = new.index.intersection(log.index[log == 0])
        assert (new.loc[silent, "days_past_due"] == old.loc[silent, "days_past_due"] + 30).all()
        assert (new.loc[silent, "balance"] == old.loc[silent, "balance"]).all()
        assert (new.loc[silent, "months_on_book"] == old.loc[silent, "months_on_book"] + 1).all()


def test_history_remembers_promises_and_attempts(months):
    for before, after in steps(months):
        old, new = (p.accounts.set_index("account_id") for p in (before, after))
        stayed = new.index.intersection(old.index)
        promised = after.contacts.loc[after.contacts["outcome"] == "promise", "account_id"]
        more = (new["promises_kept"] + new["promises_broken"] - old["promises_kept"] - old["promises_broken"])[stayed]
        assert set(stayed[more > 0]) == set(promised) & set(stayed)
        tried = after.contacts.groupby("account_id").size().reindex(stayed, fill_value=0)
        assert (new.loc[stayed, "contacts_90d"] >= tried).all()


def test_the_book_stays_alive(months):
    sizes = [len(p.accounts) for p in months]
    assert min(sizes) > 0.6 * sizes[0]
    assert max(sizes) < 1.6 * sizes[0]


def test_a_plan_by_the_truth_beats_doing_nothing_when_played(card):
    """The same luck for both, so that the difference is what the plan does."""
    best = card.truth.idxmax(axis=1)
    with_plan = card.realise(best, random_state=1).decisions["recovered"].sum()
    without = card.realise(pd.Series("no_action", index=best.index), random_state=1).decisions["recovered"].sum()
    hoped = card.truth.max(axis=1).sum() - card.truth["no_action"].sum()
    assert with_plan - without == pytest.approx(hoped, rel=0.35)


def test_luck_belongs_to_the_account_not_to_the_policy(card):
    """Where two policies do the same, the same happens."""
    ids = card.truth.index
    one = pd.Series("no_action", index=ids)
    other = one.copy()
    other.iloc[::2] = "firm_call"
    a, b = (card.realise(plan).decisions.set_index("account_id") for plan in (one, other))
    same = ids[1::2]
    assert a.loc[same].equals(b.loc[same])
    assert not a["recovered"].equals(b["recovered"])


def test_another_state_is_other_luck_on_the_same_truth(card):
    plan = pd.Series("sms", index=card.truth.index)
    default, again, other = (card.realise(plan, random_state=s).decisions for s in (None, 1, 2))
    assert not again["recovered"].equals(other["recovered"])
    assert not again["recovered"].equals(default["recovered"])
    assert card.realise(plan, random_state=1).decisions.equals(again)


def test_an_assignment_may_be_a_series_a_frame_or_an_object(card):
    ids = card.truth.index[:500]
    series = pd.Series("sms", index=ids)
    frame = pd.DataFrame({"account_id": ids, "action": "sms"})

    class Held:
        def frame(self) -> pd.DataFrame:
            return frame.assign(probability=0.25)

    a, b, c = (card.realise(x).decisions for x in (series, frame, Held()))
    assert a.equals(b)
    assert a.drop(columns="logging_propensity").equals(c.drop(columns="logging_propensity"))
    logged = c.set_index("account_id")["logging_propensity"]
    assert (logged[ids] == 0.25).all()
    assert (logged.drop(ids) == 1.0).all()


def test_accounts_not_named_are_left_alone(card):
    named = card.truth.index[:10]
    log = card.realise(pd.Series("letter", index=named)).decisions.set_index("account_id")
    assert (log.loc[named, "action"] == "letter").all()
    assert (log.drop(named)["action"] == "no_action").all()
    nobody = card.realise(pd.DataFrame({"account_id": [], "action": []})).decisions
    assert (nobody["action"] == "no_action").all()


def test_the_order_of_the_assignment_does_not_matter(card):
    plan = card.truth.idxmax(axis=1)
    assert card.realise(plan).decisions.equals(card.realise(plan.sample(frac=1, random_state=0)).decisions)


def test_playing_leaves_the_portfolio_as_it_was():
    p = make_portfolio(200, random_state=2)
    before = {t: getattr(p, t).copy() for t in TABLES}
    p.realise(p.truth.idxmax(axis=1))
    assert all(getattr(p, t).equals(frame) for t, frame in before.items())


def test_a_bad_assignment_is_refused_with_all_its_faults_in_one_line(card):
    first = int(card.accounts["account_id"].iloc[0])
    bad = pd.DataFrame(
        {"account_id": [first, first, 3], "action": ["sms", "fax", "telex"], "probability": [0.5, 2.0, float("nan")]}
    )
    with pytest.raises(ValueError, match="unknown actions") as refused:
        card.realise(bad)
    text = str(refused.value)
    assert "\n" not in text
    assert "unknown actions 'fax', 'telex': this world knows no_action, sms" in text
    assert f"accounts assigned twice, for instance [{first}]" in text
    assert "1 assigned accounts are not in the snapshot, for instance [3]" in text
    assert "probabilities of assigned actions must lie in (0, 1]" in text


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        (pd.Series(["sms"], index=["10000001"]), "not in the snapshot"),  # text where the ids are numbers
        (pd.Series([7, "fax"], index=[10_000_001, 10_000_002]), "unknown actions '?(7|fax)"),
        (pd.DataFrame({"account": [10_000_001]}), "lacks the columns account_id, action"),
        (pd.DataFrame({"account_id": [10_000_001], "action": ["sms"], "probability": [0.0]}), r"in \(0, 1\]"),
        (pd.DataFrame({"account_id": [10_000_001], "action": ["sms"], "probability": ["often"]}), r"in \(0, 1\]"),
    ],
)
def test_bad_assignments_are_refused(card, assignment, message):
    with pytest.raises(ValueError, match=message):
        card.realise(assignment)


def test_a_book_may_run_empty_and_go_on():
    p = make_portfolio(2, random_state=1, calibration={"inflow_share": 0.0})
    for _ in range(8):
        p = p.realise(pd.Series("no_action", index=p.truth.index))
    assert len(p.accounts) == 0
    assert p.truth.shape == (0, 8)
