"""The world hits what its table says, every number says where it comes from, and turning a number turns the world."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from collectml.errors import ConfigurationError
from collectml.simulation import calibration_table, make_portfolio
from collectml.simulation.behaviour import PROFILES, Book, mean_lift, payer_mix, respond, with_agent
from collectml.simulation.calibration import calibration
from collectml.simulation.cycle import _agents

EARLY, LATE = {"card": 1, "charged_off": 0}, {"card": (3, 4), "charged_off": (2,)}
STAGES = {"card": 5, "charged_off": 3}


def world_of(p) -> str:
    return p._world.name


def book_of(p) -> Book:
    return Book.of(p.accounts, p._world.latent, world_of(p))


def within(value: np.ndarray, target: float, *, relative: float) -> bool:
    """Within a share of the target, or four standard errors of drawing this portfolio rather than another."""
    error = value.std() / np.sqrt(len(value))
    return bool(abs(value.mean() - target) < relative * target + 4 * error)


def test_cure_rates_are_hit(portfolio):
    world, book, c = world_of(portfolio), book_of(portfolio), calibration(world_of(portfolio))
    paid = portfolio.truth_paid["no_action"].to_numpy()
    # among cards a single instalment of several owed is a payment but no cure
    cured = paid * (1.0 - payer_mix(book, c, world)[0][:, 0]) if world == "card" else paid
    for stage in range(STAGES[world]):
        assert within(cured[book.stage == stage], c[f"cure_stage_{stage}"], relative=0.01), stage


def test_played_cures_are_the_stated_ones(card):
    """Counted from the logs, as a trial would: the arrears are paid within the horizon, untouched accounts."""
    after = card.realise(pd.Series("no_action", index=card.truth.index), random_state=4)
    log, stage = after.decisions.set_index("account_id").reindex(card.truth.index), book_of(card).stage
    cured = (log["recovered"] >= log["arrears"] - 0.005).to_numpy().astype(float)
    for s in range(STAGES["card"]):
        assert cured[stage == s].mean() == pytest.approx(calibration("card")[f"cure_stage_{s}"], abs=0.025)


@pytest.mark.parametrize("when", ["early", "late"])
def test_effects_in_percentage_points_are_hit(portfolio, when):
    world, book, c = world_of(portfolio), book_of(portfolio), calibration(world_of(portfolio))
    here = book.stage == EARLY[world] if when == "early" else np.isin(book.stage, LATE[world])
    for action in portfolio.actions[1:]:
        target = c.get(f"{action}_itt" + ("_late" if when == "late" else ""))
        if target is None:
            continue
        rows = here & book.usable[PROFILES[action].channel]
        # stated for the delivered, truth is for the assigned
        effect = (portfolio.truth_paid[action] - portfolio.truth_paid["no_action"]).to_numpy()[rows] / c["adherence"]
        assert within(effect, target, relative=0.02), f"{action}: {effect.mean():.4f} for {target}"


def test_offers_are_taken_up_as_stated(portfolio):
    world, book, c = world_of(portfolio), book_of(portfolio), calibration(world_of(portfolio))
    for action in portfolio.actions:
        if not PROFILES[action].offer:
            continue
        key = {"plan": "plan_uptake", "settlement": "settlement_uptake"}[PROFILES[action].offer]
        taken = respond(action, book, c, world, portfolio._world.scales).takes_up
        wanted = [c[f"{key}_early"]] * (EARLY[world] + 1) + [c[key]] + [c[f"{key}_late"]] * len(LATE[world])
        for stage, target in enumerate(wanted):
            assert within(taken[book.stage == stage], target, relative=0.02), f"{action} in stage {stage}"


def test_first_dials_reach_as_many_as_stated(portfolio):
    c = calibration(world_of(portfolio))
    log = portfolio.realise(pd.Series("soft_call", index=portfolio.truth.index), random_state=2).contacts
    first = log[~log["account_id"].duplicated()]
    reached = first["outcome"].isin(["right_party", "conversation", "promise", "refusal"])
    assert reached.mean() == pytest.approx(c["reach_dial"], abs=0.012)


def test_a_hard_tone_harms_the_stated_share(portfolio):
    c, book = calibration(world_of(portfolio)), book_of(portfolio)
    for action in (a for a in portfolio.actions if PROFILES[a].tone == "firm"):
        rows = book.usable[PROFILES[action].channel]
        harmed = (portfolio.truth[action] < portfolio.truth["no_action"]).to_numpy()[rows].mean()
        assert harmed == pytest.approx(c["negative_share"], abs=0.015), action


def test_complaints_are_those_stated(card):
    """A firm call multiplies complaints by its factor for every account it is carried out on."""
    c = calibration("card")
    ratio = card.truth_complaints["firm_call"] / card.truth_complaints["no_action"]
    usable = book_of(card).usable["call"]
    expected = c["adherence"] * c["complaint_x_firm_call"] + 1 - c["adherence"]
    assert np.allclose(ratio[usable], expected, rtol=1e-6)
    assert card.truth_complaints["no_action"].mean() == pytest.approx(c["complaint_base"], rel=0.25)


def test_every_number_has_a_source_and_a_quality():
    table = calibration_table()
    assert set(table["world"]) == {"all", "card", "charged_off"}
    assert (table["source"].str.len() > 0).all()
    qualities = table["quality"].str.split("/").explode()
    assert set(qualities) <= {"P", "O", "W", "A"}
    assert (table["low"] <= table["value"]).all()
    assert (table["value"] <= table["high"]).all()
    assert (table["low"] < table["high"]).all(), "a range to run policies across"
    assert not table.duplicated(["world", "name"]).any()


def test_what_the_table_lists_is_what_the_worlds_run_on():
    table = calibration_table()
    for world in ("card", "charged_off"):
        mine = table[table["world"].isin(["all", world])].drop_duplicates("name", keep="last").set_index("name")["value"]
        assert calibration(world) == mine.to_dict()


def test_numbers_read_in_papers_stand_as_they_were_read():
    """The anchors with a trial behind them, as the field's literature gives them."""
    c = calibration("card")
    assert c["cure_stage_1"] == 0.62  # Campbell et al., control group 61.9 %
    assert c["email_itt"] == 0.024  # Campbell et al., +2.4 percentage points
    assert c["sms_itt"] == pytest.approx(0.38 * 0.04, abs=5e-4)  # Barboni et al., lateness x 0.96 at 38 % late


@pytest.mark.parametrize(
    ("change", "frame", "action", "ratio"),
    [
        ({"sms_itt": 0.03}, "truth_paid", "sms", 2.0),
        ({"cost_letter": 1.30}, "truth_cost", "letter", 2.0),
        ({"adherence": 0.475}, "truth_cost", "soft_call", 0.5),
        ({"complaint_base": 0.0048}, "truth_complaints", "no_action", 2.0),
        ({"cure_stage_1": 0.55}, "truth_paid", "no_action", 0.55 / 0.62),
    ],
)
def test_turning_a_number_turns_the_world(change, frame, action, ratio):
    p, q = (make_portfolio(4_000, random_state=5, calibration=c) for c in (None, change))
    late = p.accounts["days_past_due"].between(30, 59).to_numpy()

    def read(world):
        matrix = getattr(world, frame)
        base = matrix["no_action"] if frame == "truth_paid" and action != "no_action" else 0.0
        return float((matrix[action] - base)[late].mean())

    assert read(q) / read(p) == pytest.approx(ratio, rel=0.03)
    assert p.accounts.equals(q.accounts), "who owes does not hang on how people answer"


def test_unknown_parameters_are_named_with_the_nearest():
    with pytest.raises(ConfigurationError, match=r"'adherance' \(nearest: adherence\)"):
        make_portfolio(10, calibration={"adherance": 0.5})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "much"])
def test_values_that_are_no_finite_number_are_refused(value):
    with pytest.raises(ConfigurationError, match="'adherence' must be a finite number"):
        make_portfolio(10, calibration={"adherence": value})


def test_a_target_out_of_reach_is_said_and_not_passed_over():
    with pytest.warns(UserWarning, match=r"soft_call_itt = 0\.9 is out of reach .* the world has 0\.1"):
        make_portfolio(10, calibration={"soft_call_itt": 0.9})


def test_effects_may_be_turned_down_to_nothing():
    """Without effects on the chance of paying and without offers no action is worth more than none."""
    names = [n for n in calibration("card") if "_itt" in n or "_uptake" in n]
    p = make_portfolio(3_000, random_state=6, calibration=dict.fromkeys(names, 0.0))
    gain = p.truth.sub(p.truth["no_action"], axis=0)
    assert gain.to_numpy().max() < 1e-3 * p.truth["no_action"].mean()


@pytest.mark.parametrize("hour_match", [1.0, 2.0])
def test_the_best_hour_moves_no_expectation(hour_match):
    """At both ends of its range the hours of the dialler only redistribute reach, and no dial is surer than certain."""
    p = make_portfolio(20_000, random_state=8, calibration={"hour_match": hour_match, "reach_dial": 0.55})
    log = p.realise(pd.Series("soft_call", index=p.truth.index), random_state=1).decisions.set_index("account_id")
    miss = log["cost"] - p.truth_cost["soft_call"]
    assert abs(miss.mean()) < 4 * miss.std() / np.sqrt(len(miss))


def test_the_document_shows_the_table_as_it_is():
    text = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text(encoding="utf-8")
    shown = [
        line
        for line in text.splitlines()
        if line.startswith(("| all |", "| card | ", "| charged_off | ")) and line.count("|") == 9
    ]
    expected = [
        f"| {r.world} | {r.name} | {r.value:g} | {r.low:g} | {r.high:g} | {r.quality} | {r.source} | {r.note} |"
        for r in calibration_table().itertuples()
    ]
    assert shown == expected


@pytest.mark.parametrize("seed", range(5))
def test_agents_differ_and_cancel_out(seed):
    """Truth knows no agent, so their effects must sum to nothing, and leave every chance a chance."""
    effects = _agents({"agent_sd": 0.09}, seed)
    assert abs(effects.mean()) < 1e-12
    assert 0.05 < effects.std() < 0.13
    for effect in effects:
        pays = with_agent(np.linspace(0.0, 1.0, 101), np.full(101, effect))
        assert pays.min() >= 0.0
        assert pays.max() <= 1.0


@pytest.mark.parametrize("hour_match", [1.0, 1.6, 2.0])
def test_no_dial_is_surer_than_certain_at_the_best_hour(card, hour_match):
    book, c = book_of(card), calibration("card", {"hour_match": hour_match, "reach_dial": 0.55})
    scales = dict(card._world.scales) | {"reach": np.array([2.0])}
    first = respond("soft_call", book, c, "no_effect", scales).dials[:, 0]
    assert (first * hour_match / mean_lift(book, c)).max() <= 1.0 + 1e-12
