"""Contributions in money and contrasts add up, or are refused; a counterfactual that does not hold is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from collectml.errors import CollectMLError, ConfigurationError
from collectml.explain import Contributions, approved_dictionary, contrast, counterfactuals, money_contributions


def test_money_adds_up_for_both_parts_of_the_hurdle():
    rng = np.random.default_rng(0)
    pay = Contributions(pd.DataFrame(rng.normal(size=(50, 3)), columns=list("abc")), np.zeros(50))
    amount = Contributions(pd.DataFrame(rng.normal(size=(50, 3)) / 3, columns=list("abc")), np.zeros(50))
    start, log, owed = rng.normal(size=50), rng.normal(size=50) - 1, rng.uniform(10, 1_000, 50)
    money = money_contributions(pay, start, owed=owed, amount=amount, amount_start=log)
    p, g = pay.values.sum(axis="columns").to_numpy(), amount.values.sum(axis="columns").to_numpy()
    np.testing.assert_allclose(money.margin, owed * expit(start + p) * np.exp(log + g), rtol=1e-9)
    np.testing.assert_allclose(money.base, owed * expit(start) * np.exp(log), rtol=1e-12)


def test_a_contrast_that_misses_its_margin_is_refused():
    recovered = Contributions(pd.DataFrame({"score": [9.0]}), np.array([40.0]))
    rest = {"value_of_recovered": 1.0, "cost": np.array([2.0]), "complaints": np.zeros(1), "usage": np.array([[1.0]])}
    rest |= {"groups": {}, "prices": np.array([3.0]), "limits": ["calls"]}
    assert contrast(recovered, margin=np.array([4.0]), **rest)["limit: calls"].tolist() == [-3.0]
    with pytest.raises(CollectMLError, match="miss its margin"):
        contrast(recovered, margin=np.array([4.01]), **rest)


def test_a_pair_is_tried_where_no_single_change_does_and_nothing_is_claimed_where_none_does():
    accounts = pd.DataFrame({"account_id": [1, 2], "a": [0.0, 0.0], "b": [0.0, 5.0]})

    def decide(rows):
        return np.where((rows["a"] > 0) & (rows["b"].between(1, 2)), "call", "sms").astype(object)

    found = counterfactuals(accounts, decide, candidates={"a": [1.0], "b": [1.0, 4.0]}, scale={"a": 1.0, "b": 1.0})
    assert found["changes"][0] == [("a", 0.0, 1.0), ("b", 0.0, 1.0)]
    assert found["steps"].tolist() == [2.0, 5.0]
    nothing = counterfactuals(accounts, lambda r: np.full(len(r), "sms", object), candidates={"a": [1.0]}, scale={"a": 1.0})
    assert nothing["steps"].isna().all()
    with pytest.raises(ConfigurationError, match="no field income"):
        counterfactuals(accounts, decide, candidates={"income": [1.0]}, scale={"income": 1.0})


def test_a_change_that_does_not_hold_when_asked_again_is_refused():
    calls = []

    def fickle(rows):
        calls.append(1)
        return np.full(len(rows), f"action {len(calls)}", dtype=object)

    with pytest.raises(CollectMLError, match="asked again"):
        counterfactuals(pd.DataFrame({"account_id": [1], "a": [0.0]}), fickle, candidates={"a": [1.0]}, scale={"a": 1.0})


def test_the_dictionary_covers_every_feature_in_both_languages():
    from collectml.data import FEATURES

    words = approved_dictionary()
    assert set(words.features) == set(FEATURES)
    for entry in words.features.values():
        assert entry["en"]
        assert entry["zh-CN"]
        assert entry["group"] in words.groups
    assert "hardship" in words.forbidden
    assert set(words.texts("en")) == set(words.texts("zh-CN"))


def test_missing_values_stay_missing_and_are_not_changed():
    accounts = pd.DataFrame({"account_id": [1, 2], "a": [np.nan, 0.0], "b": pd.array([pd.NA, 3], dtype="Int64")})

    def decide(rows):
        return np.where((rows["a"] > 0) | (rows["b"].fillna(0) > 4).to_numpy(), "call", "sms").astype(object)

    found = counterfactuals(accounts, decide, candidates={"a": [0.5], "b": [4.5, 7.0]}, scale={"a": 1.0, "b": 1.0})
    assert found["changes"].tolist() == [[], [("a", 0.0, 0.5)]]
