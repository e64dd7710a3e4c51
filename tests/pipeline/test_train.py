"""Training end to end: what goes in is checked, what comes out is kept, saved and loaded to the last bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import collectml as cm
from collectml.errors import ArtifactError, ConfigurationError, SchemaError
from collectml.strategy import Strategy


@pytest.fixture(scope="module")
def model(trained):
    return cm.load(trained.model)


@pytest.fixture(scope="module")
def accounts(trained):
    return pd.read_parquet(trained.accounts)


@pytest.fixture(scope="module")
def strategy(trained):
    return Strategy.from_yaml(trained.strategy)


@pytest.fixture(scope="module")
def portfolio():
    return cm.make_portfolio(3_000, random_state=5)


def test_saved_and_loaded_gives_the_same_bits(model, accounts, tmp_path):
    again = cm.load(model.save(tmp_path / "copy"))
    pd.testing.assert_frame_equal(again.score(accounts), model.score(accounts), check_exact=True)
    pd.testing.assert_series_equal(again.grades(accounts), model.grades(accounts))
    first = model.assign(accounts, as_of="2026-06-30").frame()
    pd.testing.assert_frame_equal(again.assign(accounts, as_of="2026-06-30").frame(), first, check_exact=True)
    assert again.strategy == model.strategy
    assert again.evidence.facts == model.evidence.facts


@pytest.mark.slow
def test_the_same_seed_trains_the_same_model(trained, model, accounts):
    from collectml.pipeline import read_experiment, run_experiment

    again = run_experiment(read_experiment(trained.config)).model
    pd.testing.assert_frame_equal(again.score(accounts), model.score(accounts), check_exact=True)


def test_values_are_recovery_less_cost_and_complaints(model, accounts):
    priced, objective = model.price(accounts), model.strategy.objective
    net = priced.recovered * objective.value_of_recovered - priced.cost - priced.complaints * objective.cost_of_complaint
    pd.testing.assert_frame_equal(priced.net, net, check_exact=False, rtol=1e-12)
    assert priced.net.index.tolist() == accounts["account_id"].tolist()
    assert (priced.recovered.to_numpy() >= 0).all()
    assert (priced.cost["no_action"] == 0).all()


def test_evidence_reconciles(model):
    facts, tables = model.evidence.facts, model.evidence.tables
    log = facts["log"]
    assert log["decisions"] == log["training_decisions"] + log["held_out_decisions"]
    assert tables["support"]["rows"].sum() == log["training_decisions"]
    assert tables["assignment"]["accounts"].sum() == log["held_out_decisions"]
    limits = tables["limits"]
    assert (limits["used"] <= limits["upper"] * (1 + 1e-9)).all()
    assert facts["assignment"]["value"] <= facts["assignment"]["upper_bound"] * (1 + 1e-9)
    value = tables["policy_value"]
    assert set(value["estimator"]) == {"dr", "snips", "ips"}
    # the policy's own value is the same, whatever it is compared with
    assert value.groupby("estimator")["value"].nunique().eq(1).all()
    np.testing.assert_allclose(value["true_value"].nunique(), 1)


def test_estimates_are_near_the_truth_they_are_printed_beside(model):
    value = model.evidence.tables["policy_value"].query("estimator == 'dr'")
    # that 95 % intervals hold 95 times in a hundred is shown over many logs; of one log, and differences of one policy from four
    # others that err together, three standard errors can be asked for
    z = (value["difference"] - value["true_difference"]) / value["difference_se"]
    assert (z.abs() < 3).all()


def test_reach_changes_minutes_and_so_the_assignment(model, accounts):
    """Who is reached feeds minutes and cost: with calls that reach nobody, other accounts are called."""
    deaf = replace(model, channel_response=None)
    assert not np.allclose(model.price(accounts).minutes["soft_call"], deaf.price(accounts).minutes["soft_call"])
    first = model.assign(accounts, as_of="2026-06-30").planned()
    assert (first != deaf.assign(accounts, as_of="2026-06-30").planned()).any()


def test_complaints_change_the_assignment(model, accounts, portfolio):
    """Complaints learnt from a log in which one in five firm calls on long arrears was complained about: fewer such calls."""
    rows = portfolio.decisions
    late = rows["days_past_due"] > 40
    complained = np.random.default_rng(0).random(len(rows)) < np.where((rows["action"] == "firm_call") & late, 0.2, 0.001)
    angry = cm.ComplaintModel(random_state=0, n_jobs=2).fit(
        rows[model.features], complained.astype(int), action=rows["action"], control="no_action"
    )
    other = replace(model, complaints=angry)
    more = other.price(accounts).complaints["firm_call"].sum()
    assert more > model.price(accounts).complaints["firm_call"].sum()
    first, second = (m.assign(accounts, as_of="2026-06-30").planned() for m in (model, other))
    called = accounts.set_index("account_id")["days_past_due"] > 40
    assert ((second == "firm_call") & called).sum() < ((first == "firm_call") & called).sum()


def test_reasons_name_what_moves_the_effect_and_keep_to_the_dictionary(model, accounts):
    some = accounts.head(40)
    told = model.reasons(some)
    assert set(told["account_id"]) <= set(some["account_id"])
    assert told.groupby("account_id")["rank"].max().between(1, 4).all()
    assert set(told["direction"]) <= {"raises", "lowers", "mixed"}
    approved = {"days_past_due": "how long the payment is late", "balance": "what is owed"}
    few = model.reasons(some, dictionary=approved, forbidden=["balance"])
    assert set(few["reason"]) <= {"how long the payment is late"}
    with pytest.raises(ConfigurationError, match="fax"):
        model.reasons(some, pd.Series("fax", index=some.index))


def test_accounts_without_a_feature_are_refused_naming_it(model, accounts):
    with pytest.raises(SchemaError, match="balance, utilisation"):
        model.score(accounts.drop(columns=["balance", "utilisation"]))


def test_actions_the_strategy_does_not_know(portfolio, strategy):
    log = cm.DecisionLog(portfolio.decisions, actions=strategy.action_names)
    smaller = strategy.model_dump(mode="json")
    smaller["actions"] = [a for a in smaller["actions"] if a["name"] != "letter"]
    with pytest.raises(ConfigurationError, match="letter"):
        cm.train(log, Strategy.model_validate(smaller))


def test_actions_that_pay_off_after_the_horizon_are_refused_unless_a_surrogate_is_stated(portfolio, strategy):
    log = cm.DecisionLog(portfolio.decisions, actions=strategy.action_names, horizon_days=30)
    late = strategy.model_dump(mode="json")
    late["actions"][3]["pays_off_after_days"] = 90
    with pytest.raises((ConfigurationError, SchemaError), match=r"letter.*90"):
        cm.train(log, Strategy.model_validate(late))


def test_a_control_hardly_ever_logged_is_refused(portfolio, strategy):
    rows = portfolio.decisions
    few = rows[(rows["action"] != "no_action") | (np.arange(len(rows)) % 20 == 0)]
    with pytest.raises(SchemaError, match="nothing can be compared with it"):
        cm.train(cm.DecisionLog(few, actions=strategy.action_names), strategy)


def test_without_evidence_nothing_is_extrapolated_and_without_propensities_nothing_is_valued(portfolio, strategy):
    rows = portfolio.decisions.drop(columns="logging_propensity")
    few = rows[(rows["action"] != "letter") | (np.arange(len(rows)) % 10 == 0)]
    spec = strategy.model_copy(update={"min_logged": 100})
    log = cm.DecisionLog(few, actions=spec.action_names, logging_propensity=None)
    model = cm.train(log, spec, random_state=1, n_jobs=2)
    assert model.score(portfolio.accounts)["letter"].isna().all()
    frame = model.assign(portfolio.accounts, as_of=portfolio.as_of).frame()
    assert not (frame["action"] == "letter").any()
    assert "policy_value" not in model.evidence.tables
    assert "no logging propensities" in model.evidence.facts["policy_value"]["refused"]


def test_a_folder_that_is_no_strategy_model(tmp_path):
    with pytest.raises(ArtifactError):
        cm.load(tmp_path)


@pytest.mark.slow
def test_the_policy_earns_what_its_features_allow():
    """Trained on 100,000 decisions, the assignment under the shipped limits beats a manager's rules by the truth."""
    from collectml.pipeline import read_experiment, run_experiment

    experiment = read_experiment(Path(__file__).parents[2] / "experiments" / "card_early_stage.yaml")
    result = run_experiment(experiment)
    value = result.model.evidence.tables["policy_value"].query("estimator == 'dr'").set_index("baseline")
    assert (value["true_difference"] > 0).all()


@pytest.mark.real_data
def test_hillstrom_held_out_policy_against_each_arm(data_folder, tmp_path):
    """Three randomised arms: SNIPS of an arm for all is the arm's mean less its cost, to the last digits."""
    from collectml.pipeline import read_experiment, run_experiment

    experiment = read_experiment(Path(__file__).parents[2] / "experiments" / "hillstrom.yaml")
    result = run_experiment(experiment)
    assert len(result.log) == 64_000
    value = result.model.evidence.tables["policy_value"]
    snips = value[value["estimator"] == "snips"].set_index("baseline")
    held = result.held_out
    mean = held.recovered.groupby(held.action.to_numpy()).mean()
    for arm, cost in (("no_action", 0.0), ("mens_email", 0.1), ("womens_email", 0.1)):
        row = snips.loc[next(name for name in snips.index if arm in name)]
        assert row["value"] - row["difference"] == pytest.approx(mean[arm] - cost, abs=1e-9)
        assert row["difference_low"] < row["difference"] < row["difference_high"]
    assert snips.filter(like="no_action", axis="index")["difference_low"].iloc[0] > 0
    limits = result.model.evidence.tables["limits"].set_index("limit")
    assert limits.loc["mens_emails", "used"] <= 0.5 * len(held)
    # the held-out half can be assigned: nobody owes anything here, so grades rest on the propensity alone
    frame = result.model.assign(result.accounts, as_of="2008-04-01").frame()
    assert len(frame) == len(held)
    assert set(result.model.grades(result.accounts)) <= set("ABCD")


@pytest.mark.slow
def test_a_champion_is_one_of_the_comparisons_on_the_same_decisions(trained, model, portfolio):
    """The model in use against itself: the same plan, no difference, and its own area under the curve."""
    from sklearn.metrics import roc_auc_score

    from collectml.evaluation._decisions import as_accounts
    from collectml.pipeline.assessment import assess
    from collectml.pipeline.valuation import value_on

    log = cm.DecisionLog(portfolio.decisions, actions=model.strategy.action_names)
    held_out = log.split_by_customer(0.4, random_state=1)[1]
    tables, _ = value_on(held_out, model, accounts=portfolio.accounts, truth=None, portfolio_rows=len(log), champion=model)
    theirs = tables["policy_value"].query("baseline == 'the champion'")
    assert theirs["estimator"].tolist() == ["dr", "snips", "ips"]
    np.testing.assert_allclose(theirs["difference"], 0, atol=1e-9)
    assert tables["arms"]["n"].sum() == len(held_out)
    decisions = as_accounts(held_out, portfolio.accounts)
    assessed, facts = assess(held_out, model, decisions, champion=model)
    p = model.propensity_to_pay.predict_proba(held_out.X)[:, 1]
    assert facts["champion"]["auc"] == pytest.approx(roc_auc_score(held_out.paid, p), abs=1e-12)
    for kind, part in assessed["groups"].groupby("kind"):
        assert part["decisions"].sum() == len(held_out), kind
