"""Features as a matrix: by name, with levels as codes, and every unreadable column named at once."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from collectml.errors import NotFittedError, SchemaError
from collectml.models._encoding import FeatureEncoder

X = pd.DataFrame(
    {
        "product": ["loan", None, "card", "loan"],
        "balance": [10.5, np.nan, 3.0, 4.0],
        "has_phone": [True, False, True, True],
        "days": pd.array([1, None, 3, 4], dtype="Int64"),
    }
)
CODES = np.array([[1, 10.5, 1, 1], [np.nan, np.nan, 0, np.nan], [0, 3, 1, 3], [1, 4, 1, 4]])


def test_numbers_stay_and_levels_become_codes():
    encoder = FeatureEncoder().fit(X)
    assert encoder.columns_ == ["product", "balance", "has_phone", "days"]
    assert encoder.levels_ == {"product": ["card", "loan"]}
    assert encoder.categorical_indices_ == [0]
    matrix = encoder.transform(X)
    np.testing.assert_array_equal(matrix, CODES)
    assert matrix.dtype == np.float64
    assert matrix.flags.c_contiguous


@pytest.mark.parametrize(
    "product",
    [
        X["product"].astype("object"),
        X["product"].astype("category"),
        X["product"].astype("string"),
        pd.Series(pd.Categorical(X["product"], categories=["loan", "boat", "card"])),
        X["product"].astype("category").astype("string[pyarrow]"),
    ],
    ids=["object", "category", "string", "odd categories", "pyarrow"],
)
def test_the_container_of_text_does_not_matter(product):
    np.testing.assert_array_equal(FeatureEncoder().fit_transform(X.assign(product=product)), CODES)
    np.testing.assert_array_equal(FeatureEncoder().fit(X).transform(X.assign(product=product)), CODES)


@pytest.mark.parametrize("dtype", ["float32", "Float64", "object", "double[pyarrow]"])
def test_the_container_of_numbers_does_not_matter(dtype):
    np.testing.assert_array_equal(FeatureEncoder().fit(X).transform(X.assign(balance=X["balance"].astype(dtype))), CODES)


def test_columns_are_found_by_name_and_others_ignored():
    encoder = FeatureEncoder().fit(X)
    rearranged = X.assign(secret=pd.Timestamp("2026-01-01"))[["days", "secret", "has_phone", "product", "balance"]]
    np.testing.assert_array_equal(encoder.transform(rearranged), CODES)


def test_levels_never_seen_are_missing():
    encoder = FeatureEncoder().fit(X)
    codes = encoder.transform(X.assign(product=["boat", "loan", "", "card"]))[:, 0]
    np.testing.assert_array_equal(codes, [np.nan, 1, np.nan, 0])


def test_integer_categories_keep_their_meaning():
    grades = pd.Series(pd.Categorical([30, 10, 30, 20]))
    encoder = FeatureEncoder.from_json(json.loads(json.dumps(FeatureEncoder().fit(X.assign(grade=grades)).to_json())))
    np.testing.assert_array_equal(encoder.transform(X.assign(grade=[20, 99, 10, 30]))[:, 4], [1, np.nan, 0, 2])


def test_what_was_learnt_survives_json():
    encoder = FeatureEncoder().fit(X)
    stored = json.loads(json.dumps(encoder.to_json()))
    loaded = FeatureEncoder.from_json(stored)
    assert loaded.to_json() == encoder.to_json()
    assert loaded.categorical_indices_ == [0]
    np.testing.assert_array_equal(loaded.transform(X), CODES)


def test_missing_columns_are_named_in_one_error():
    encoder = FeatureEncoder().fit(X)
    with pytest.raises(SchemaError, match="missing columns: product, has_phone, days") as refusal:
        encoder.transform(X[["balance"]])
    assert refusal.value.exit_code == 3
    faults = refusal.value.faults
    assert faults["column"].tolist() == ["product", "has_phone", "days"]
    assert set(faults["check"]) == {"missing column"}
    assert set(faults["kind"]) == {"structural"}


def test_faults_of_several_kinds_come_together():
    encoder = FeatureEncoder().fit(X)
    wrong = X.drop(columns="days").assign(product=[1.0, 2.0, 3.0, 4.0], balance=["a", "b", "c", "d"])
    with pytest.raises(SchemaError) as refusal:
        encoder.transform(wrong)
    assert str(refusal.value) == (
        "the features cannot be read: missing columns: days; product: was text at fit and is numeric now; "
        "balance: was numeric at fit and is text now."
    )


def test_a_column_given_twice_is_refused_but_only_where_it_is_needed():
    encoder = FeatureEncoder().fit(X)
    with pytest.raises(SchemaError, match="balance: repeated column"):
        encoder.transform(pd.concat([X, X[["balance"]]], axis="columns"))
    spare = pd.DataFrame([[1, 2]] * 4, columns=["spare", "spare"])
    np.testing.assert_array_equal(encoder.transform(pd.concat([X, spare], axis="columns")), CODES)
    with pytest.raises(SchemaError, match="spare: repeated column"):
        FeatureEncoder().fit(pd.concat([X, spare], axis="columns"))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pd.date_range("2026-01-01", periods=4), "dates cannot be features"),
        (pd.to_timedelta([1, 2, 3, 4], unit="D"), "dates cannot be features"),
        (pd.date_range("2026-01-01", periods=4).to_series().astype("date32[pyarrow]").array, "dates cannot be features"),
        (pd.Series([1, "a", 2.0, None], dtype=object), "mixed or unreadable content"),
        (pd.Series([[1], [2], [3], [4]]), "mixed or unreadable content"),
        (np.arange(4) * 1j, "complex128 is not readable"),
        (pd.cut(np.arange(4), 2), "categories of interval"),
    ],
)
def test_what_no_model_can_read_is_refused_by_name(column, message):
    with pytest.raises(SchemaError, match=f"strange: .*{message}"):
        FeatureEncoder().fit(X.assign(strange=column))


def test_an_empty_column_is_missing_whatever_its_type():
    encoder = FeatureEncoder().fit(X)
    for empty in (np.full(4, np.nan), pd.Series([None] * 4, dtype=object), pd.Series([None] * 4, dtype="str")):
        assert np.isnan(encoder.transform(X.assign(product=empty, balance=empty))[:, :2]).all()


def test_plain_arrays_go_by_position():
    matrix = np.array([[1.0, 2.0], [3.0, np.nan]])
    encoder = FeatureEncoder().fit(matrix)
    assert encoder.columns_ == ["x0", "x1"]
    np.testing.assert_array_equal(encoder.transform(np.asfortranarray(matrix)), matrix)
    np.testing.assert_array_equal(encoder.transform(pd.DataFrame(matrix, columns=["b", "a"])), matrix)
    with pytest.raises(SchemaError, match="X has 3 features, but 2 features were seen at fit"):
        encoder.transform(np.ones((1, 3)))
    with pytest.raises(SchemaError, match="two dimensions"):
        encoder.transform(np.ones(2))


def test_a_plain_array_cannot_carry_levels():
    with pytest.raises(SchemaError, match="cannot carry the levels of product"):
        FeatureEncoder().fit(X).transform(np.ones((2, 4)))


def test_an_unfitted_encoder_says_so():
    with pytest.raises(NotFittedError, match=r"call fit\(X\) first"):
        FeatureEncoder().transform(X)
