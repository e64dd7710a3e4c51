"""A manager's rules: in order, within the same limits and conditions as the policy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from collectml.errors import ConfigurationError
from collectml.policy import price_actions
from collectml.simulation import make_portfolio, rules_assignment
from collectml.strategy import Rules, Strategy, permissions

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
RULES = Rules.from_yaml(EXPERIMENTS / "manager_rules.yaml")
CARD = Strategy.from_yaml(EXPERIMENTS / "card_early_stage.yaml")


@pytest.fixture(scope="module")
def portfolio():
    return make_portfolio(3000, random_state=5)


def assign(strategy, portfolio, accounts=None):
    priced = price_actions(strategy, portfolio.truth)
    accounts = portfolio.accounts if accounts is None else accounts
    ids = accounts["account_id"]
    quantities = {k: f.loc[ids].to_numpy() for k, f in priced.quantities().items()}
    return RULES.assign(strategy, accounts, quantities=quantities), quantities


def test_the_file_says_what_the_simulated_manager_does(portfolio):
    """Without limits the rules are those behind the confounded logs, wherever the strategy permits."""
    free = CARD.model_copy(update={"limits": (), "one_contact_per_customer": False})
    ours, _ = assign(free, portfolio)
    theirs = rules_assignment(portfolio.accounts)
    at = pd.Index(CARD.action_names).get_indexer(pd.Index(theirs))
    allowed = permissions(CARD, portfolio.accounts).allowed[np.arange(len(at)), at]
    assert allowed.mean() > 0.9
    assert (ours[allowed] == theirs[allowed]).mean() > 0.999


def test_rules_keep_every_upper_limit_and_every_condition_and_use_the_room(portfolio):
    plan, quantities = assign(CARD, portfolio)
    accounts, n = portfolio.accounts, len(portfolio.accounts)
    at = pd.Index(CARD.action_names).get_indexer(pd.Index(plan))
    shares = {}
    for limit in CARD.limits:
        compiled = limit.compile(actions=CARD.actions, quantities=quantities, accounts=accounts)
        used = np.broadcast_to(compiled.usage, (n, len(CARD.actions)))[np.arange(n), at].sum()
        assert used <= compiled.upper * (1 + 1e-9), limit.name
        shares[limit.name] = used / compiled.upper
    assert max(shares.values()) > 0.97, "the room is used"
    assert permissions(CARD, accounts).allowed[np.arange(n), at].all()
    assert not accounts.loc[(plan != "no_action").to_numpy(), "customer_id"].duplicated().any()


def test_the_order_of_rows_does_not_matter(portfolio):
    plan, _ = assign(CARD, portfolio)
    shuffled, _ = assign(CARD, portfolio, portfolio.accounts.sample(frac=1, random_state=1))
    assert shuffled.reindex(plan.index).equals(plan)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"action": "sns", "when": "balance > 0"}, "did you mean 'sms'"),
        ({"action": "sms", "when": "blance > 0"}, "reads blance"),
        ({"action": "sms", "when": "balance > 0", "first": "blance"}, "reads blance"),
    ],
)
def test_what_is_not_there_is_refused(rule, message, portfolio):
    with pytest.raises(ConfigurationError, match=message):
        Rules(name="r", rules=(rule,)).assign(CARD, portfolio.accounts, quantities={})


def test_faults_of_the_file(tmp_path):
    (tmp_path / "r.yaml").write_text("name: r\nruls: []\n")
    with pytest.raises(ConfigurationError, match="did you mean 'rules'"):
        Rules.from_yaml(tmp_path / "r.yaml")
