from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectml.data import FEATURES, TABLES, DecisionLog
from collectml.errors import ConfigurationError, SchemaError

ACTIONS = ("no_action", "sms", "call")


def make(frame: pd.DataFrame, **kwargs: object) -> DecisionLog:
    return DecisionLog(frame, **({"actions": ACTIONS} | kwargs))  # type: ignore[arg-type]


def test_roles_and_features(decisions: pd.DataFrame) -> None:
    decisions.index = pd.Index(np.arange(len(decisions)) * 3, name="row")
    before = decisions.copy(deep=True)
    log = make(decisions)
    assert len(log) == 600
    assert log.X.columns.tolist() == list(FEATURES)
    roles = [c.name for c in TABLES["decisions"].columns if c.name not in FEATURES]
    for role in roles:
        got = getattr(log, {"account_id": "account", "customer_id": "customer"}.get(role, role))
        pd.testing.assert_series_equal(got, decisions[role], check_dtype=False, check_names=False)
    assert log.X.index.equals(decisions.index)
    assert (log.actions, log.control, log.horizon_days) == (ACTIONS, "no_action", 30)
    assert log.left_out.to_dict() == {"immature": 0, "in_commitment": 0}
    assert repr(log) == ("DecisionLog(600 decisions, 200 accounts, 3 actions, 24 features, 2026-01-01 to 2026-02-10)")
    features, frame, paid = log.X, log.frame, log.paid
    features.loc[:, "balance"] = -1
    frame.loc[:, "balance"] = -1
    paid.iloc[0] = 9
    pd.testing.assert_frame_equal(decisions, before)
    pd.testing.assert_frame_equal(log.frame, before)
    decisions["balance"] = 7.0
    pd.testing.assert_frame_equal(log.frame, before)


def test_columns_may_be_called_anything(decisions: pd.DataFrame) -> None:
    renamed = decisions.rename(columns={"account_id": "acct", "customer_id": "person", "decided_at": "day", "action": "arm",
                                        "recovered": "cash", "logging_propensity": "p", "complained": "moaned"})  # fmt: skip
    renamed = renamed.drop(columns=["paid", "cost", "executed_action"]).assign(debt_id=1, placed=pd.Timestamp("2025-01-01"))
    roles = {"account_id": "acct", "customer_id": "person", "decided_at": "day", "action": "arm", "recovered": "cash"}
    log = make(renamed, **roles, paid=None, logging_propensity="p", complained="moaned")
    assert log.X.columns.tolist() == list(FEATURES)  # no role, no id, no date
    assert log.paid.tolist() == decisions["paid"].tolist()
    assert log.cost is None
    assert log.executed_action is None
    pd.testing.assert_series_equal(log.customer, decisions["customer_id"])
    assert log.digest() == make(decisions.drop(columns=["cost", "executed_action"])).digest()


def test_flags_consents_and_groups_are_no_features_unless_named(decisions: pd.DataFrame) -> None:
    wide = decisions.assign(consent_call=True, vulnerable=False, age_band="18-25", region="north", own_score=0.5)
    log = make(wide)
    assert log.X.columns.tolist() == [*FEATURES, "own_score"]
    assert {"consent_call", "vulnerable", "age_band"} <= set(log.frame.columns)  # the conditions still read them
    assert make(wide, features=["balance", "vulnerable"]).X.columns.tolist() == ["balance", "vulnerable"]


def test_free_text_is_refused_as_a_feature(decisions: pd.DataFrame) -> None:
    long = pd.concat([decisions.assign(account_id=decisions["account_id"] + 10_000 * k) for k in range(2)])
    named = long.assign(full_name=[f"Jane Public {i}" for i in range(len(long))])
    with pytest.raises(SchemaError, match=r"full_name.*1,200 different texts") as caught:
        make(named)
    assert "Jane" not in str(caught.value)


def test_without_customers_and_propensities(decisions: pd.DataFrame) -> None:
    log = make(decisions.drop(columns=["customer_id", "logging_propensity", "complained"]), logging_propensity=None)
    assert log.customer.equals(log.account)
    assert log.logging_propensity is None
    assert log.complained is None
    assert log.support()["mean_logging_propensity"].isna().all()
    # an unmapped outcome never becomes a feature
    assert "logging_propensity" not in make(decisions, logging_propensity=None).X


def test_actions_with_names_and_strange_catalogues(decisions: pd.DataFrame) -> None:
    assert make(decisions, actions=[SimpleNamespace(name=a) for a in ACTIONS]).actions == ACTIONS
    with pytest.raises(TypeError):
        make(decisions, actions="sms")
    with pytest.raises(ConfigurationError, match="more than once: sms"):
        make(decisions, actions=[*ACTIONS, "sms"])
    with pytest.raises(ConfigurationError, match="control"):
        make(decisions, actions=[])


def test_features_that_leak_are_refused(decisions: pd.DataFrame) -> None:
    with pytest.raises(ConfigurationError, match="paid, recovered"):
        make(decisions, features=["balance", "recovered", "paid"])


def test_all_faults_of_a_log_at_once(decisions: pd.DataFrame) -> None:
    frame = decisions.drop(columns=["logging_propensity", "paid"]).rename(columns={"recovered": "cash"})
    frame.loc[1, "cash"] = -4.0
    frame.loc[2, "income"] = np.inf
    frame.loc[[3, 4, 5], "action"] = ["fax", "fax", "Jane Public"]
    with pytest.raises(SchemaError) as caught:
        make(frame, recovered="cash", features=["income", "age"])
    faults = caught.value.faults
    assert faults is not None
    assert faults[["column", "rows", "kind"]].to_dict("split")["data"] == [
        ["paid", 0, "structural"],
        ["logging_propensity", 0, "structural"],
        ["age", 0, "structural"],
        ["cash", 1, "row"],
        ["action", 3, "row"],
        ["income", 1, "row"],
    ]
    message = str(caught.value)
    assert "logging_propensity=None" in message
    assert "paid=None" in message
    assert "'fax' (2 rows), 1 other values (1 rows)" in message
    assert "Jane" not in message + faults.to_csv()


def test_rules_and_keys_speak_of_the_users_columns(decisions: pd.DataFrame) -> None:
    frame = decisions.rename(columns={"recovered": "cash", "account_id": "acct"})
    frame.loc[frame["paid"] == 1, "cash"] = 0.0
    frame.loc[1, "acct"] = frame.loc[0, "acct"]
    with pytest.raises(SchemaError) as caught:
        make(frame, recovered="cash", account_id="acct")
    assert caught.value.faults is not None
    assert caught.value.faults["column"].tolist() == ["acct, decided_at", "cash"]
    assert caught.value.faults["kind"].tolist() == ["structural", "row"]


def test_an_empty_log_is_refused(decisions: pd.DataFrame) -> None:
    with pytest.raises(SchemaError, match="no rows"):
        make(decisions.iloc[:0])
    with pytest.raises(TypeError):
        make([1])  # type: ignore[arg-type]


def test_maturity_counts_the_horizon_of_each_action(decisions: pd.DataFrame) -> None:
    # decisions on 1 and 21 January and 10 February
    log = make(decisions, observed_until="2026-02-20")
    assert log.decided_at.max() == pd.Timestamp("2026-01-21")
    assert log.left_out["immature"] == 200
    assert len(make(decisions, observed_until="2026-02-19")) == 200
    horizons = {"default": 10, "call": 50}
    log = make(decisions, observed_until="2026-02-20", horizon_days=horizons)
    late_calls = (decisions["action"] == "call") & (decisions["decided_at"] > "2026-01-01")
    assert log.left_out["immature"] == late_calls.sum()
    assert log.horizon_days == {"no_action": 10, "sms": 10, "call": 50}
    assert len(make(decisions, observed_until=pd.Timestamp("2026-02-20").date(), horizon_days=10)) == 600


@pytest.mark.parametrize("days", [{"sms": 3}, {"default": 3, "fax": 4}, -1, 1.5, True, {"default": 30, "sms": -2}])
def test_horizons_that_fit_no_action(decisions: pd.DataFrame, days: object) -> None:
    with pytest.raises(ConfigurationError, match="horizon_days"):
        make(decisions, horizon_days=days)


def test_commitment_is_counted_from_the_last_free_decision() -> None:
    days = ["2026-01-01", "2026-01-10", "2026-01-31", "2026-02-05", "2026-03-01"]
    frame = pd.DataFrame({"account_id": 1, "decided_at": days, "action": "sms", "recovered": 0.0, "balance": 1.0})
    frame = pd.concat([frame, frame.head(2).assign(account_id=2)]).sample(frac=1, random_state=3)
    log = make(frame, paid=None, logging_propensity=None, commitment_days={"sms": 30})
    # the decision of 10 January is inside the first commitment and starts none; 31 January is its first free day
    kept = log.frame.query("account_id == 1")["decided_at"].sort_values().tolist()
    assert kept == ["2026-01-01", "2026-01-31"]
    assert log.left_out.to_dict() == {"immature": 0, "in_commitment": 4}
    # an immature decision commits its account all the same
    log = make(frame, paid=None, logging_propensity=None, commitment_days=30, observed_until="2026-01-20", horizon_days=5)
    assert log.left_out.to_dict() == {"immature": 1, "in_commitment": 4}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60), st.sampled_from(ACTIONS)), min_size=1, max_size=40,
             unique_by=lambda row: row[:2]),
    st.fixed_dictionaries({a: st.integers(0, 25) for a in ACTIONS}),
)  # fmt: skip
def test_commitment_agrees_with_a_plain_loop(rows: list[tuple[int, int, str]], days: dict[str, int]) -> None:
    frame = pd.DataFrame(rows, columns=["account_id", "day", "action"])
    frame["decided_at"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(frame.pop("day"), unit="D")
    log = make(frame.assign(recovered=0.0), paid=None, logging_propensity=None, commitment_days=days)
    free_from: dict[int, int] = {}
    kept = set()
    for account, day, action in sorted(rows, key=lambda row: row[:2]):
        if day >= free_from.get(account, 0):
            kept.add((account, day))
            free_from[account] = day + days[action]
    got = {(a, (d - pd.Timestamp("2026-01-01")).days) for a, d in zip(log.account, log.decided_at, strict=True)}
    assert got == kept
    assert log.left_out["in_commitment"] == len(rows) - len(kept)


def test_split_by_time(decisions: pd.DataFrame) -> None:
    log = make(decisions)
    first, second, third = log.split_by_time("2026-01-21", pd.Timestamp("2026-02-01"))
    assert [len(part) for part in (first, second, third)] == [200, 200, 200]
    assert first.decided_at.max() < pd.Timestamp("2026-01-21") <= second.decided_at.min()
    assert [len(part) for part in log.split_by_time("2020-01-01")] == [0, 600]
    assert repr(log.split_by_time("2020-01-01")[0]).startswith("DecisionLog(0 decisions")
    with pytest.raises(ValueError, match="later"):
        log.split_by_time("2026-02-01", "2026-01-01")


def test_known_by_leaves_out_what_was_not_known_yet(decisions: pd.DataFrame) -> None:
    before, _ = make(decisions, observed_until="2026-12-31").split_by_time("2026-02-10")
    known = before.known_by("2026-02-10")
    assert known.decided_at.max() == pd.Timestamp("2026-01-01")
    assert known.left_out["immature"] == 200


@pytest.mark.parametrize("by", ["account", "customer"])
@settings(max_examples=15, deadline=None)
@given(fraction=st.floats(0.01, 0.99), seed=st.one_of(st.none(), st.integers(0, 1000)))
def test_splits_tear_no_customer_apart(by: str, fraction: float, seed: int | None) -> None:
    rng = np.random.default_rng(0)
    account = np.arange(300) % 150
    frame = pd.DataFrame({"account_id": account, "customer_id": rng.integers(0, 60, 150)[account], "recovered": 0.0,
                          "decided_at": pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(300) // 150, unit="D"),
                          "action": "sms"})  # fmt: skip
    log = make(frame, paid=None, logging_propensity=None)
    rest, held_out = getattr(log, f"split_by_{by}")(fraction, random_state=seed)
    assert len(rest) + len(held_out) == len(log)
    assert min(len(rest), len(held_out)) > 0
    for unit in ("account", "customer"):
        assert not set(getattr(rest, unit)) & set(getattr(held_out, unit))
    units = getattr(log, by).nunique()
    largest = log.account.groupby(log.customer).nunique().max() if by == "account" else 1
    assert abs(getattr(held_out, by).nunique() - fraction * units) <= max(largest, 1)
    # row order and dtype of ids do not matter, the seed does
    shuffled = make(frame.sample(frac=1, random_state=1).astype({"customer_id": str}), paid=None, logging_propensity=None)
    again = getattr(shuffled, f"split_by_{by}")(fraction, random_state=seed)[1]
    assert set(again.account) == set(held_out.account)


def test_splits_vary_with_the_seed_and_refuse_nonsense(decisions: pd.DataFrame) -> None:
    log = make(decisions)
    assert len({tuple(sorted(log.split_by_account(0.3, random_state=s)[1].account.unique())) for s in range(5)}) == 5
    for fraction in (0, 1, -0.2, 1.5, float("nan")):
        with pytest.raises(ValueError, match="share"):
            log.split_by_account(fraction)
    with pytest.raises(ValueError, match="two customers"):
        log.select(log.customer == log.customer.iloc[0]).split_by_customer(0.5)


def test_select(decisions: pd.DataFrame) -> None:
    log = make(decisions)
    sms = log.select(log.action == "sms")
    assert set(sms.action) == {"sms"}
    assert sms.actions == ACTIONS
    assert sms.X.index.equals(decisions.index[decisions["action"] == "sms"])
    for mask in ([0, 1], np.ones(3, dtype=bool)):
        with pytest.raises(ValueError, match="600 bools"):
            log.select(mask)


def test_support(decisions: pd.DataFrame) -> None:
    got = make(decisions, actions=[*ACTIONS, "visit"]).support()
    assert got.index.tolist() == [*ACTIONS, "visit"]
    for action in ACTIONS:
        rows = decisions[decisions["action"] == action]
        p = rows["logging_propensity"]
        assert got.loc[action].tolist() == pytest.approx([len(rows), rows["paid"].sum(), p.mean(), p.min()])
    assert got.loc["visit", ["rows", "paid"]].tolist() == [0, 0]
    assert got.dtypes.astype(str).tolist() == ["int64", "int64", "float64", "float64"]


def test_actions_that_pay_off_later_need_a_horizon_or_a_surrogate(decisions: pd.DataFrame) -> None:
    log = make(decisions, horizon_days={"default": 30, "call": 90})
    log.require_horizons({"sms": 30, "call": 90})
    log.require_horizons({"sms": 180}, surrogates=("sms",))
    with pytest.raises(ConfigurationError) as caught:
        log.require_horizons({"sms": 31, "call": 91, "no_action": 1, "fax": 3})
    message = str(caught.value)
    assert all(
        part in message for part in ("'sms' pays off after 31 days", "'call' pays off after 91", "'fax' is no action")
    )
    assert "no_action" not in message


def test_digest_is_of_the_rows_learnt_from(decisions: pd.DataFrame) -> None:
    digest = make(decisions).digest()
    shuffled = decisions[decisions.columns[::-1]].sample(frac=1, random_state=0)
    assert make(shuffled).digest() == digest
    assert make(decisions.astype({"account_id": str, "hardship": int})).digest() == digest
    assert make(decisions.assign(note_id=1)).digest() == digest
    assert make(decisions, observed_until="2026-02-20").digest() != digest
    other = decisions.copy()
    other.loc[17, "balance"] += 0.01
    assert make(other).digest() != digest
