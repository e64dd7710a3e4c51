"""Making a portfolio: the same seed the same world, every frame within its contract, nonsense refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from collectml.data import TABLES, validate
from collectml.errors import ConfigurationError
from collectml.simulation import make_portfolio
from collectml.simulation.draws import Draws

FRAMES = (*TABLES, "truth", "truth_paid", "truth_cost", "truth_complaints", "truth_minutes")
WORLDS = ["card", "charged_off", "no_effect"]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("logging", ["randomised", "confounded"])
def test_same_seed_same_frames(world, logging):
    p, q = (make_portfolio(400, world=world, logging=logging, random_state=7) for _ in range(2))
    for name in FRAMES:
        pd.testing.assert_frame_equal(getattr(p, name), getattr(q, name), check_exact=True)


def test_another_seed_is_another_world():
    p, q = (make_portfolio(400, random_state=s) for s in (7, 8))
    for name in ("accounts", "decisions", "contacts", "payments", "truth"):
        assert not getattr(p, name).equals(getattr(q, name)), name
    p, q = (make_portfolio(50) for _ in range(2))
    assert not p.accounts["balance"].equals(q.accounts["balance"]), "no seed: another world each time"


def test_a_larger_book_meets_the_same_luck():
    """Luck belongs to identifiers: what an account draws for itself does not hang on the size of the book."""
    small, large = (make_portfolio(n, random_state=7) for n in (100, 200))
    own = ["product", "complaint_open", "fraud", "dispute"]
    pd.testing.assert_frame_equal(small.accounts[own], large.accounts.loc[:99, own])
    assert not small.accounts["product"].equals(large.accounts["product"].iloc[100:].reset_index(drop=True))


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("n", [1, 2, 700])
def test_every_frame_keeps_its_contract(world, n):
    p = make_portfolio(n, world=world, logging="confounded", random_state=4)
    for table in TABLES:
        frame = getattr(p, table)
        checked = validate(frame, table, actions=p.actions)
        # nothing had to be changed, but for nullable integers that miss nothing in so small a book
        pd.testing.assert_frame_equal(checked, frame, check_dtype=False, check_exact=True)
        # features of the simulator are those of the day of the decision: a second date would say nothing
        described = [c.name for c in TABLES[table].columns if c.name != "features_as_of"]
        assert [c for c in described if c not in frame.columns] == [], f"{table} lacks columns of its contract"
        assert [c for c in frame.columns if c not in described] == []
    assert len(p.accounts) == len(p.decisions) == len(p.truth) == n


def test_one_account_can_be_played():
    p = make_portfolio(1, random_state=1)
    q = p.realise(pd.Series("sms", index=p.truth.index))
    assert len(q.decisions) == 1
    assert q.truth.shape[1] == 8


@pytest.mark.parametrize("n", [0, -3, 2.5, "10", True, None])
def test_a_number_of_accounts_that_is_none_is_refused(n):
    with pytest.raises(ValueError, match="n_accounts must be a whole number, at least 1"):
        make_portfolio(n)


def test_unknown_worlds_and_loggings_are_refused_with_the_known_ones():
    with pytest.raises(ConfigurationError, match="unknown world 'mars': choose one of card, charged_off, no_effect"):
        make_portfolio(10, world="mars")
    with pytest.raises(ConfigurationError, match="unknown logging 'guessed': choose randomised or confounded"):
        make_portfolio(10, logging="guessed")


def test_the_catalogues_are_those_of_the_house():
    common = ("no_action", "sms", "email", "letter", "soft_call", "firm_call")
    assert make_portfolio(5, random_state=0).actions == (*common, "payment_plan", "settlement_offer")
    late = make_portfolio(5, world="charged_off", random_state=0)
    assert late.actions == (*common, "visit", "settlement_offer", "legal_letter")
    assert (late.accounts["days_past_due"] > 180).all()


def test_customers_hold_several_accounts_and_share_what_is_theirs(card):
    held = card.accounts.groupby("customer_id")
    share = (held.size() > 1).mean()
    assert share == pytest.approx(0.08, abs=0.02)
    for name in ("region", "age_band", "income", "has_mobile", "consent_sms", "vulnerable", "deceased"):
        assert held[name].nunique(dropna=False).max() == 1, name
    assert (held["balance"].nunique()[held.size() > 1] > 1).mean() > 0.99


def test_decisions_lie_in_six_closed_months(card):
    age = (card.as_of - card.decisions["decided_at"]).dt.days
    assert sorted(age.unique()) == [30, 60, 90, 120, 150, 180]
    assert card.decisions["account_id"].is_unique
    assert card.decisions["decided_at"].is_monotonic_increasing


def test_the_calendar_gives_the_stated_capacity_on_working_days(card):
    days = card.capacity.groupby("channel")["capacity"].sum()
    n = len(card.accounts)
    assert days.to_dict() == {"call": 0.2 * n * 4.5, "email": 0.6 * n, "letter": 0.2 * n, "sms": 0.6 * n}
    assert (card.capacity["date"].dt.day_of_week < 5).all()


class TestDraws:
    ids = np.arange(100_000, dtype=np.int64)

    def test_uniform_numbers_are_uniform_and_open(self):
        u = Draws(self.ids, seed=1).uniform("x")
        assert u.min() > 0
        assert u.max() < 1
        counts = np.histogram(u, bins=50, range=(0, 1))[0]
        assert ((counts - 2000) ** 2 / 2000).sum() < 99  # chi-square, 49 degrees, p = 3e-5

    def test_purposes_seeds_and_months_are_independent(self):
        base = Draws(self.ids, seed=1, cycle="a").uniform("x")
        for other in (
            Draws(self.ids, seed=1, cycle="a").uniform("y"),
            Draws(self.ids, seed=2, cycle="a").uniform("x"),
            Draws(self.ids, seed=1, cycle="b").uniform("x"),
            np.roll(base, 1),
        ):
            assert abs(np.corrcoef(base, other)[0, 1]) < 4 / np.sqrt(len(base))

    def test_counts_have_the_mean_and_spread_of_their_law(self):
        draws = Draws(self.ids, seed=3)
        poisson = draws.poisson("p", np.full(len(self.ids), 1.7))
        assert poisson.mean() == pytest.approx(1.7, abs=0.02)
        assert poisson.var() == pytest.approx(1.7, abs=0.04)
        binomial = draws.binomial("b", np.full(len(self.ids), 6), 0.3)
        assert binomial.mean() == pytest.approx(1.8, abs=0.02)
        assert binomial.var() == pytest.approx(1.26, abs=0.03)

    def test_choices_come_with_their_shares(self):
        share = np.bincount(Draws(self.ids, seed=4).choice("c", (2.0, 1.0, 1.0))) / len(self.ids)
        assert np.allclose(share, [0.5, 0.25, 0.25], atol=0.007)

    def test_normal_numbers_are_normal(self):
        z = Draws(self.ids, seed=5).normal("n")
        assert abs(z.mean()) < 0.015
        assert z.std() == pytest.approx(1.0, abs=0.01)
        assert (np.abs(z) > 2).mean() == pytest.approx(0.0455, abs=0.003)
