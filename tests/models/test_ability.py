"""The two scores, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from collectml.errors import SchemaError
from collectml.models._ability import ability_score, own_score, willingness_score


def test_ability_is_the_mean_of_its_three_parts():
    X = pd.DataFrame({"income": [2_000.0], "instalment": [100.0], "utilisation": [0.25], "arrears": [300.0]})
    # 400 / 500, 1 - 0.25, 100 / 400
    assert ability_score(X)[0] == pytest.approx((0.8 + 0.75 + 0.25) / 3)


def test_willingness_is_the_mean_of_its_three_parts():
    X = pd.DataFrame(
        {"promises_kept": [2], "promises_broken": [1], "responses_90d": [1], "contacts_90d": [6], "payments_12m": [9]}
    )
    # 3 / 5, 2 / 8, 9 / 12
    assert willingness_score(X)[0] == pytest.approx((0.6 + 0.25 + 0.75) / 3)


def test_a_part_whose_columns_are_empty_is_left_out():
    X = pd.DataFrame(
        {"income": [2_000.0, np.nan, np.nan], "instalment": [100.0, 100.0, np.nan], "utilisation": [0.4, 0.4, np.nan]}
    )
    np.testing.assert_allclose(ability_score(X), [(0.8 + 0.6) / 2, 0.6, 0.5])
    nullable = X.astype({"income": "Float64", "utilisation": "Float64"})
    np.testing.assert_array_equal(ability_score(nullable), ability_score(X))


@pytest.mark.parametrize("score", [ability_score, willingness_score])
def test_scores_stay_between_0_and_1(score):
    rng = np.random.default_rng(0)
    names = ["income", "instalment", "utilisation", "arrears"]
    names += ["promises_kept", "promises_broken", "responses_90d", "contacts_90d", "payments_12m"]
    X = pd.DataFrame(rng.choice([0.0, 1.0, 3.0, 40.0, 1e6, np.nan], (2_000, len(names))), columns=names)
    values = score(X)
    assert ((values >= 0) & (values <= 1)).all()
    assert values.min() < 0.1
    assert values.max() > 0.9


def test_an_account_that_owes_nothing_now_is_not_divided_by_nothing():
    X = pd.DataFrame({"income": [0.0], "instalment": [0.0], "arrears": [0.0]})
    assert ability_score(X)[0] == 0.5


def test_nothing_to_score_from_is_refused():
    with pytest.raises(SchemaError, match="none of the columns promises_kept, promises_broken, responses_90d"):
        willingness_score(pd.DataFrame({"income": [1.0]}))
    with pytest.raises(SchemaError, match="mine must lie between 0 and 1"):
        own_score(pd.DataFrame({"mine": [0.5, np.nan]}), "mine")
