"""The estimators: exact identities, known truth over many logs, double robustness, and what must not matter."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import collectml as cm
from collectml.errors import SchemaError
from collectml.evaluation import constant_policy, evaluate_policy

from .worlds import ACTIONS, Log, World, constant, frame_of, replications

ALL = ("dm", "ips", "snips", "dr")
NUMBERS = ["value", "low", "high", "se", "difference", "difference_low", "difference_high", "difference_se"]


def x_of(log: Log) -> np.ndarray:
    return log.X["x"].to_numpy()


def judged(log: Log, **changes: object) -> pd.DataFrame:
    """Evaluate the world's policy against its mirror image on the log, with predictions that are wrong on purpose."""
    x = x_of(log)
    asked = {
        "baseline": frame_of(World.baseline(x), log),
        "outcome_model": frame_of(50 + 10 * np.outer(np.cos(x), [1, 2, 3, 4]), log),
    } | changes
    policy = asked.pop("policy", frame_of(World.policy(x), log))
    return evaluate_policy(log, policy, **asked).frame().set_index("estimator")


@pytest.fixture(scope="module")
def log() -> Log:
    return World().log(400, 7)


# --- identities --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ACTIONS)
def test_snips_of_one_action_for_all_under_uniform_randomisation_is_the_arms_mean(action):
    log = World(confounded=False).log(300, 1)
    value = evaluate_policy(log, constant_policy(log, action), estimators="snips").frame()["value"].item()
    assert value == pytest.approx(log.recovered[log.action == action].mean(), abs=1e-9)


def test_its_standard_error_is_that_of_a_ratio_of_two_sums():
    log = World(confounded=False, clustered=False).log(2_000, 1)
    arm = log.recovered[log.action == "sms"]
    se = evaluate_policy(log, constant_policy(log, "sms"), estimators="snips").frame()["se"].item()
    assert se == pytest.approx(arm.std() / np.sqrt(len(arm)), rel=0.01)


def test_ips_of_the_logging_policy_is_the_mean_outcome(log):
    same = judged(log, policy=frame_of(World().logging(x_of(log)), log), baseline="logged", estimators=("ips", "snips"))
    np.testing.assert_allclose(same["value"], log.recovered.mean(), rtol=1e-12)
    np.testing.assert_allclose(same["difference"], 0, atol=1e-12 * log.recovered.mean())
    np.testing.assert_allclose(same["difference_se"], 0, atol=1e-12 * log.recovered.mean())
    np.testing.assert_allclose(same["ess"], len(log), rtol=1e-12)


def test_a_policy_less_itself_is_exactly_nothing(log):
    found = judged(log, baseline=frame_of(World.policy(x_of(log)), log))
    for column in ("difference", "difference_low", "difference_high", "difference_se"):
        assert (found[column] == 0).all()


def test_the_difference_is_the_difference_of_the_values(log):
    policy, baseline = judged(log), judged(log, policy=frame_of(World.baseline(x_of(log)), log), baseline=None)
    np.testing.assert_allclose(policy["difference"], policy["value"] - baseline["value"], rtol=1e-12)
    np.testing.assert_allclose(policy["baseline_value"], baseline["value"], rtol=1e-12)


def test_swapping_policy_and_baseline_turns_the_difference_round(log):
    x = x_of(log)
    there = judged(log)
    back = judged(log, policy=frame_of(World.baseline(x), log), baseline=frame_of(World.policy(x), log))
    np.testing.assert_allclose(there["difference_low"], -back["difference_high"], rtol=1e-12)
    np.testing.assert_allclose(there["difference_se"], back["difference_se"], rtol=1e-12)


def test_all_four_by_their_formulas(log):
    x, y, each = x_of(log), log.recovered.to_numpy(), np.arange(len(log))
    taken = pd.Index(ACTIONS).get_indexer(log.action)
    policy, predicted = World.policy(x), 30 + np.outer(x, [1, 2, 3, 4])
    w = policy[each, taken] / log.logging_propensity.to_numpy()
    by_hand = {
        "dm": (policy * predicted).sum(axis=1).mean(),
        "ips": (w * y).mean(),
        "snips": (w * y).sum() / w.sum(),
        "dr": ((policy * predicted).sum(axis=1) + w * (y - predicted[each, taken])).mean(),
    }
    found = judged(log, outcome_model=frame_of(predicted, log))
    for estimator, value in by_hand.items():
        assert found.loc[estimator, "value"] == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(found["ess"], w.sum() ** 2 / (w**2).sum(), rtol=1e-12)
    np.testing.assert_allclose(found["max_weight"], w.max(), rtol=1e-12)


def test_dr_is_ips_with_a_model_of_nothing_and_dm_with_one_that_is_never_wrong(log):
    nothing = judged(log, outcome_model=frame_of(np.zeros((len(log), 4)), log))
    columns = NUMBERS
    np.testing.assert_allclose(
        nothing.loc["dr", columns].astype(float), nothing.loc["ips", columns].astype(float), rtol=1e-12
    )
    assert nothing.loc["dm", "value"] == 0
    perfect = judged(log, outcome_model=frame_of(np.tile(log.recovered.to_numpy()[:, None], 4), log))
    np.testing.assert_allclose(
        perfect.loc["dr", columns[:4]].astype(float), perfect.loc["dm", columns[:4]].astype(float), rtol=1e-12
    )


def test_standard_errors_are_those_of_leaving_out_one_customer_at_a_time():
    log = World().log(40, 3)
    whole = judged(log)
    left_out = [judged(Log(log.frame[log.customer != c]))[["value", "difference"]] for c in log.customer.unique()]
    for estimator in ALL:
        for column, se in (("value", "se"), ("difference", "difference_se")):
            gaps = whole.loc[estimator, column] - np.array([part.loc[estimator, column] for part in left_out])
            assert whole.loc[estimator, se] == pytest.approx(np.sqrt(39 / 40 * (gaps**2).sum()), rel=1e-9)


def test_copying_every_decision_of_a_customer_adds_no_evidence(log):
    copied = Log(pd.concat([log.frame] * 4, ignore_index=True))
    copied.frame["account_id"] = np.arange(len(copied))
    once, four_times = judged(log), judged(copied)
    np.testing.assert_allclose(four_times[NUMBERS], once[NUMBERS], rtol=1e-9)
    copied.frame["customer_id"] = np.arange(len(copied))  # the mistake that customers are there to prevent
    assert (judged(copied)["se"] < 0.6 * once["se"]).all()


def test_more_confidence_is_a_wider_interval_with_the_same_standard_error(log):
    some, more = judged(log, confidence=0.8), judged(log, confidence=0.99)
    assert (some["se"] == more["se"]).all()
    assert (more["low"] < some["low"]).all()
    assert (more["high"] > some["high"]).all()
    assert (more["difference_low"] < some["difference_low"]).all()


# --- known truth -------------------------------------------------------------------------------------------------------


def assert_unbiased(found: pd.DataFrame, estimators: tuple[str, ...], *, precision: float) -> None:
    """Within four Monte Carlo errors of the truth, where those are small enough for that to say something."""
    for estimator in estimators:
        rows = found[found["estimator"] == estimator]
        for column, truth in (("value", "truth"), ("difference", "true_difference")):
            error = rows[column].std() / np.sqrt(len(rows))
            assert error < precision * rows["truth"].iloc[0]
            assert abs(rows[column].mean() - rows[truth].iloc[0]) < 4 * error, (estimator, column)


@pytest.fixture(scope="module")
def with_right_model() -> pd.DataFrame:
    return replications(World(clustered=False), 400, 300, estimators=ALL)


def wrong(x: np.ndarray) -> np.ndarray:
    """Predict money that grows with the action's position and with x squared: nothing of it is true."""
    return 60 + 40 * np.arange(4) + 10 * x[:, None] ** 2


@pytest.fixture(scope="module")
def with_wrong_model() -> pd.DataFrame:
    return replications(World(), 250, 300, estimators=ALL, model=wrong)


def test_all_estimators_find_the_truth_in_a_confounded_log(with_right_model):
    assert_unbiased(with_right_model, ALL, precision=0.015)


def test_dr_is_right_with_a_wrong_model_and_true_propensities(with_wrong_model):
    """Here with customers of several accounts; DM, which has nothing but the model, is wrong by more than half the truth."""
    assert_unbiased(with_wrong_model, ("ips", "snips", "dr"), precision=0.02)
    direct = with_wrong_model[with_wrong_model["estimator"] == "dm"]
    assert abs(direct["value"].mean() / direct["truth"].iloc[0] - 1) > 0.5


def test_dr_is_right_with_the_right_model_and_wrong_propensities():
    """The action's share stands in for its probability given x: a mistake that no sum of weights betrays."""
    world = World(clustered=False)
    _, x, _ = world.features(1_000_000, np.random.default_rng(9))
    truth = world.expected(x)[:, 2].mean()
    found = []
    for seed in range(300):
        log = world.log(600, seed)
        log.frame["logging_propensity"] = log.action.map(log.action.value_counts(normalize=True))
        found.append(
            judged(
                log,
                policy=constant_policy(log, "soft_call"),
                baseline=None,
                outcome_model=frame_of(world.expected(x_of(log)), log),
            )["value"]
        )
    values = pd.DataFrame(found)
    error = values.std() / np.sqrt(len(values))
    assert abs(values["dr"].mean() - truth) < 4 * error["dr"] < 0.1 * truth
    assert values["ips"].mean() - truth > 10 * error["ips"]  # calls went to high x, and high x pays more


def test_a_right_model_makes_dr_sharper_than_ips(with_right_model):
    spread = with_right_model.groupby("estimator")["value"].std()
    assert spread["dr"] < 0.95 * spread["ips"]


def test_pairing_is_sharper_than_comparing_two_intervals(with_right_model):
    rows = with_right_model[with_right_model["estimator"] == "dr"]
    near = replications(World(clustered=False), 400, 20, baseline=lambda x: 0.9 * World.policy(x) + 0.1 * World.baseline(x))
    near = near[near["estimator"] == "dr"]
    assert near["difference_se"].mean() < 0.2 * rows["se"].mean()


# --- what must not matter ----------------------------------------------------------------------------------------------


def test_the_order_of_rows_does_not_matter(log):
    order = np.random.default_rng(0).permutation(len(log))
    np.testing.assert_allclose(judged(Log(log.frame.iloc[order]))[NUMBERS], judged(log)[NUMBERS], rtol=1e-9)


def test_the_order_of_the_policys_columns_does_not_matter(log):
    x = x_of(log)
    turned = judged(log, policy=frame_of(World.policy(x), log).iloc[:, ::-1])
    pd.testing.assert_frame_equal(turned, judged(log))


def test_neither_do_the_names_of_customers_accounts_and_actions(log):
    renamed = Log(
        log.frame.assign(customer_id="K" + log.customer.rsub(10**6).astype(str), account_id="A" + log.account.astype(str))
    )
    pd.testing.assert_frame_equal(judged(renamed), judged(log))
    names = dict(zip(ACTIONS, "dcba", strict=True))
    other = Log(log.frame.assign(action=log.action.map(names)), actions=tuple(names.values()))
    x = x_of(log)
    found = evaluate_policy(
        other,
        frame_of(World.policy(x), log).rename(columns=names),
        baseline=frame_of(World.baseline(x), log).rename(columns=names),
        estimators=("ips", "snips"),
    ).frame()
    expected = judged(log, estimators=("ips", "snips")).reset_index()
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize("unit", [2.0**-20, 0.01, 2.0**30])
def test_money_in_another_unit_scales_the_values_and_nothing_else(log, unit):
    x = x_of(log)
    model = frame_of(50 + 10 * np.outer(np.cos(x), [1, 2, 3, 4]), log)
    found = judged(log, outcome=log.recovered * unit, outcome_model=model * unit)
    expected = judged(log)
    np.testing.assert_allclose(found[NUMBERS] / unit, expected[NUMBERS], rtol=1e-9)
    pd.testing.assert_frame_equal(found[["ess", "max_weight", "note"]], expected[["ess", "max_weight", "note"]])


def test_a_constant_added_to_every_outcome_moves_snips_and_dr_by_that_constant(log):
    x = x_of(log)
    model = frame_of(50 + 10 * np.outer(np.cos(x), [1, 2, 3, 4]), log)
    moved = judged(log, outcome=log.recovered - 1_000, outcome_model=model - 1_000)
    steady = ["dm", "snips", "dr"]
    np.testing.assert_allclose(moved.loc[steady, "value"] + 1_000, judged(log).loc[steady, "value"], rtol=1e-9)
    np.testing.assert_allclose(moved.loc[steady, NUMBERS[4:]], judged(log).loc[steady, NUMBERS[4:]], rtol=1e-9)


def test_twice_the_same_call_gives_the_same_bytes_and_changes_nothing_given(log):
    before = log.frame.copy()
    policy = frame_of(World.policy(x_of(log)), log)
    given = policy.copy()
    pd.testing.assert_frame_equal(judged(log, policy=policy), judged(log, policy=policy), check_exact=True)
    pd.testing.assert_frame_equal(policy, given)
    pd.testing.assert_frame_equal(log.frame, before)


# --- arguments ---------------------------------------------------------------------------------------------------------


def test_a_decision_log_is_read_like_the_reduced_one_of_these_tests(log):
    frame = log.frame.assign(decided_at=pd.Timestamp("2026-01-01"))
    real = cm.DecisionLog(frame, actions=ACTIONS, features=["x"])
    policy = frame_of(World.policy(x_of(log)), log)
    found = cm.evaluate_policy(real, policy, baseline="logged", estimators=("ips", "snips")).frame()
    expected = evaluate_policy(log, policy, baseline="logged", estimators=("ips", "snips")).frame()
    pd.testing.assert_frame_equal(found, expected)


def test_constant_policy_names_the_actions_there_are(log):
    policy = constant_policy(log, "sms")
    assert policy.index.equals(log.X.index)
    assert policy.sum().to_dict() == {"no_action": 0, "sms": len(log), "soft_call": 0, "firm_call": 0}
    with pytest.raises(ValueError, match=r"'visit' is no action of the log.*'firm_call'"):
        constant_policy(log, "visit")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"estimators": ("ips", "magic")}, r"estimators must be among"),
        ({"estimators": ()}, r"estimators must be among"),
        ({"confidence": 95}, r"confidence must lie between 0 and 1"),
        ({"baseline": "today"}, r"baseline must be a frame of probabilities"),
    ],
)
def test_arguments_that_mean_nothing_are_named(log, changes, message):
    with pytest.raises(ValueError, match=message):
        judged(log, **changes)


def test_estimators_come_in_the_order_asked_for_and_once(log):
    assert judged(log, estimators=("snips", "ips", "snips")).index.tolist() == ["snips", "ips"]


def test_without_logging_propensities_only_the_direct_method_is_left(log):
    blind = Log(log.frame.drop(columns="logging_propensity"))
    with pytest.raises(SchemaError, match=r"ips, dr need logging propensities.*estimators=\('dm',\)"):
        judged(blind, estimators=("dm", "ips", "dr"))
    direct = judged(blind, estimators=("dm",))
    assert direct["value"].item() == judged(log, estimators=("dm",))["value"].item()
    assert "not the outcome model's bias" in direct["note"].item()


def test_no_action_for_all_can_be_told_from_what_was_done(log):
    found = judged(log, baseline="logged", policy=frame_of(constant("no_action")(x_of(log)), log))
    np.testing.assert_allclose(found["baseline_value"], log.recovered.mean(), rtol=1e-14)
    assert (found["difference"].abs() > 1).all()
