"""The strategy tree: what it says is what it does, within every limit, and what it gives up is counted."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
import yaml

from collectml.errors import ConfigurationError, SchemaError
from collectml.policy import StrategyTree, TreatmentPolicy, price_actions
from collectml.strategy import Strategy

ACTIONS = [
    {"name": "no_action"},
    {"name": "sms", "channel": "sms", "unit_cost": 0.1},
    {"name": "call", "channel": "call", "attempts": 2, "attempt_minutes": 1, "talk_minutes": 5, "stated_reach": 0.4},
    {"name": "offer", "channel": "letter", "unit_cost": 1},
]
LIMITS = [
    {"name": "minutes", "kind": "capacity", "unit": "minutes", "channels": ["call"], "upper": 600, "per": "1000_accounts"},
    {"name": "letters", "kind": "capacity", "channels": ["letter"], "upper": 80, "per": "1000_accounts"},
    {"name": "some_sms", "kind": "share", "actions": ["sms"], "lower": 0.05},
]
CONDITIONS = [{"name": "phone", "channels": ["call"], "allow": "has_phone"}]
DAY = "2026-03-01"
CONTROL_LEAF = {"leaf": 1, "gains": {"no_action": 0}}


def spec(**changes):
    content = {"name": "test", "currency": "EUR", "actions": ACTIONS, "limits": LIMITS, "conditions": CONDITIONS}
    return Strategy.model_validate(content | {"objective": {"cost_of_agent_minute": 0.5}} | changes)


def world(n=2000, seed=0, noise=0.01, **changes):
    """Calls work on old debts of some size, offers in the north, where nothing else tells accounts apart."""
    rng = np.random.default_rng(seed)
    accounts = pd.DataFrame(
        {
            "account_id": np.arange(n) + 100,
            "customer_id": np.where(rng.random(n) < 0.1, rng.integers(0, n, n), np.arange(n)),
            "balance": rng.lognormal(6, 0.5, n).round(2),
            "days_past_due": rng.integers(1, 90, n).astype(float),
            "region": rng.choice(["north", "south", "east"], n),
            "has_phone": rng.random(n) < 0.9,
            "opened": pd.Timestamp("2020-01-01"),
        }
    )
    accounts.loc[rng.random(n) < 0.1, "days_past_due"] = np.nan
    old = accounts["days_past_due"].fillna(99).to_numpy() > 40
    effect = np.column_stack([np.zeros(n), np.full(n, 0.02), 0.2 * old, 0.1 * (accounts["region"] == "north")])
    effect += rng.normal(0, noise, (n, 4)) * [0, 1, 1, 1]
    ids = pd.Index(accounts["account_id"])
    strategy = spec(**changes)
    recovered = pd.DataFrame(50 * (1 + effect), index=ids, columns=strategy.action_names)
    priced = price_actions(strategy, recovered, reach=pd.DataFrame({"call": rng.uniform(0.2, 0.6, n)}, index=ids))
    return strategy, accounts, priced, TreatmentPolicy(strategy).assign(priced, accounts, as_of=DAY)


@pytest.fixture(scope="module")
def made():
    strategy, accounts, priced, assignment = world()
    return strategy, accounts, priced, assignment, assignment.tree(accounts, depth=3)


def test_it_finds_what_matters_and_counts_what_it_gives_up(made):
    _, accounts, priced, assignment, tree = made
    assert {"days_past_due", "region"} <= set(tree.fields)
    optimum = priced.net.to_numpy()[np.arange(len(accounts)), assignment.plan.action].sum()
    assert tree.optimum == pytest.approx(optimum)
    assert tree.value_control == pytest.approx(priced.net["no_action"].sum())
    assert 0 < tree.given_up < 0.25 * (tree.optimum - tree.value_control)


def test_what_it_promises_is_what_a_batch_with_it_assigns(made):
    strategy, accounts, priced, _, tree = made
    run = TreatmentPolicy(strategy, tree=tree).assign(priced, accounts, as_of=DAY)
    frame = run.frame()
    assert frame["value"].sum() == pytest.approx(tree.value)
    leaf = tree.leaf_of(accounts)
    for _, node in tree.leaves():
        got = frame.loc[leaf == node.leaf, "action"].value_counts().to_dict()
        assert got == node.assigned
        assert node.accounts == (leaf == node.leaf).sum()
    followed = frame["reason"].str.startswith("strategy tree, leaf ")
    assert followed.mean() > 0.5
    assert (frame.loc[followed, "reason"].str.split().str[-1].astype(int) == leaf[followed]).all()


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_every_limit_holds_and_nobody_gets_what_is_not_permitted(depth):
    randomised = {"holdout": {"share": 0.1}, "exploration": {"share": 0.1}}
    strategy, accounts, priced, assignment = world(n=1500, seed=depth, **randomised)
    tree = assignment.tree(accounts, depth=depth)
    assert max(len(path) for path, _ in tree.leaves()) <= depth
    run = TreatmentPolicy(strategy, tree=tree).assign(priced, accounts, as_of=DAY)
    frame, limits = run.frame(), run.limits()
    assert (limits["used"] <= limits["upper"] + 1e-6).all()
    assert (limits["used"] >= limits["lower"] - 1e-6).all()
    assert not ((frame["action"] == "call") & ~accounts["has_phone"]).any()
    assert not accounts.loc[frame["action"] != "no_action", "customer_id"].duplicated().any()
    probability = run.probabilities()
    np.testing.assert_allclose(probability.sum(axis="columns"), 1)
    # the exact law of DESIGN section 4, with the tree's plan in place of the best one
    free = probability.to_numpy() - 0.9 * 0.1 * run.problem.exploration
    free[:, 0] -= 0.1
    expected = np.zeros_like(free)
    expected[np.arange(len(free)), run.plan.action] = 0.9 * 0.9
    np.testing.assert_allclose(free, expected, atol=1e-12)


def test_a_scarce_action_goes_to_those_of_the_leaf_who_gain_most():
    limits = [{"name": "letters", "kind": "capacity", "channels": ["letter"], "upper": 30}]
    strategy, accounts, priced, _ = world(n=600, noise=0.03, limits=limits)
    accounts["customer_id"] = accounts["account_id"]
    leaf = {"leaf": 1, "gains": {"offer": 3.0, "no_action": 0.0}}
    tree = StrategyTree.model_validate({"strategy": "test", "control": "no_action", "currency": "EUR", "root": leaf})
    run = TreatmentPolicy(strategy, tree=tree).assign(priced, accounts, as_of=DAY)
    gain = (priced.net["offer"] - priced.net["no_action"]).to_numpy()
    chosen = (run.frame()["action"] == "offer").to_numpy()
    assert chosen.sum() == 30
    assert gain[chosen].min() >= gain[~chosen].max()


def test_it_says_whether_the_search_for_its_questions_ran_to_its_end(made, tmp_path, monkeypatch):
    *_, tree = made
    assert tree.exact
    assert "cut off" not in tree.to_svg()
    monkeypatch.setattr("collectml.policy.tree_search.MOST_TRIALS", 3)  # the search is cut off as it would be after 5,000
    _, accounts, _, assignment, _ = made
    cut = assignment.tree(accounts, depth=2)
    assert not cut.exact
    assert "the search was cut off" in cut.to_svg()
    path = tmp_path / "tree.yaml"
    for one in (tree, cut):
        path.write_text(one.to_yaml(), encoding="utf-8")
        assert StrategyTree.from_yaml(path).exact == one.exact


def test_yaml_comes_back_equal_and_may_be_written_by_hand(made, tmp_path):
    *_, tree = made
    path = tmp_path / "tree.yaml"
    path.write_text(tree.to_yaml(), encoding="utf-8")
    assert StrategyTree.from_yaml(path) == tree
    path.write_text(
        "strategy: test\ncontrol: no_action\ncurrency: EUR\nroot:\n  field: balance\n  at_most: 300\n  missing: if_yes\n"
        "  if_yes: {leaf: 1, gains: {no_action: 0}}\n  if_no: {leaf: 2, gains: {sms: 2, no_action: 0}}\n",
        encoding="utf-8",
    )
    tree = StrategyTree.from_yaml(path)
    assert not tree.exact
    accounts = pd.DataFrame({"balance": [300.0, 300.01, None]})
    assert tree.leaf_of(accounts).tolist() == [1, 2, 1]
    with pytest.raises(SchemaError, match="asks about balance"):
        tree.leaf_of(accounts.rename(columns={"balance": "b"}))
    with pytest.raises(SchemaError, match="no number"):
        tree.leaf_of(pd.DataFrame({"balance": pd.Series(["much"], dtype="str")}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"root": {"leaf": 1, "gains": {"sms": 1.0}}}, "names the control"),
        ({"root": {"field": "b", "if_yes": CONTROL_LEAF, "if_no": CONTROL_LEAF | {"leaf": 2}}}, "one of them"),
        ({"root": {"leaf": 1, "gains": {"no_action": 0}, "gans": {}}}, "unknown key"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_says_where(tmp_path, change, said):
    content = {"strategy": "test", "control": "no_action", "currency": "EUR"} | change
    (tmp_path / "tree.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=said):
        StrategyTree.from_yaml(tmp_path / "tree.yaml")


def test_a_tree_of_another_strategy_is_refused(made):
    strategy, accounts, priced, _, tree = made
    for wrong, said in (
        (strategy.model_copy(update={"name": "other"}), "made for strategy 'test'"),
        (spec(actions=ACTIONS[:3], limits=LIMITS[:1]), "names offer"),
    ):
        frame = priced.net[list(wrong.action_names)]
        with pytest.raises(ConfigurationError, match=said):
            TreatmentPolicy(wrong, tree=tree).assign(frame, accounts, as_of=DAY)
    run = TreatmentPolicy(strategy, tree=tree).assign(priced, accounts, as_of=DAY)
    with pytest.raises(ConfigurationError, match="without the strategy tree"):
        run.frontier("minutes")
    with pytest.raises(ConfigurationError, match="without the strategy tree"):
        run.tree(accounts)


def test_what_cannot_be_asked_says_so(made):
    _, accounts, _, assignment, _ = made
    with pytest.raises(ConfigurationError, match="did you mean 'balance'"):
        assignment.tree(accounts, fields=["balanc"])
    with pytest.raises(ConfigurationError, match="nothing a tree could ask"):
        assignment.tree(accounts.assign(same=1), fields=["same", "opened"])
    with pytest.raises(ConfigurationError, match="1 to 4"):
        assignment.tree(accounts, depth=5)
    with pytest.raises(SchemaError, match="same order"):
        assignment.tree(accounts.iloc[::-1])


def test_missing_values_take_the_side_they_belong_to():
    """Calls work where the days are many or unknown: the split must send the missing with the many."""
    _, accounts, _, assignment = world(n=1500, seed=5)
    tree = assignment.tree(accounts, depth=1, fields=["days_past_due"])
    split = tree.root
    assert split.field == "days_past_due"
    assert 35 < split.at_most <= 45
    missing = accounts["days_past_due"].isna().to_numpy()
    old = accounts["days_past_due"].to_numpy() > 60
    assert set(tree.leaf_of(accounts)[missing]) == set(tree.leaf_of(accounts)[old])


def test_rules_and_drawing(made):
    *_, tree = made
    rules = tree.frame()
    assert rules["share"].sum() == pytest.approx(1)
    assert rules["leaf"].tolist() == list(range(1, len(rules) + 1))
    svg = tree.to_svg()
    assert svg == tree.to_svg()
    root = ET.fromstring(svg)  # noqa: S314  (our own text)
    words = " ".join(t for t in root.itertext())
    for row in rules.to_dict("records"):
        assert f"{row['leaf']}. {row['first']}" in words
    assert "href" not in svg
    strange = StrategyTree.model_validate(
        {"strategy": "a", "control": "no_action", "currency": "EUR",
         "root": {"field": "<b&", "equals": "<x>", "if_yes": {"leaf": 1, "gains": {"no_action": 0}},
                  "if_no": {"leaf": 2, "gains": {"no_action": 0}}}}
    )  # fmt: skip
    ET.fromstring(strange.to_svg())  # noqa: S314
