"""The result: its columns, its numbers, its picture."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from collectml.evaluation import PolicyValue, constant_policy, evaluate_policy

from .worlds import Log, World, frame_of

ALONE = [
    *("estimator", "value", "low", "high", "se", "ess", "max_weight", "pareto_k", "little_support"),
    *("n", "clusters", "reliable", "note"),
]
PAIRED = [*ALONE, "baseline_value", "difference", "difference_low", "difference_high", "difference_se"]


@pytest.fixture(scope="module")
def log() -> Log:
    return World().log(150, 1)


@pytest.fixture(scope="module")
def value(log: Log) -> PolicyValue:
    x = log.X["x"].to_numpy()
    return evaluate_policy(
        log,
        frame_of(World.policy(x), log),
        baseline=frame_of(World.baseline(x), log),
        outcome_model=frame_of(World().expected(x), log),
    )


def test_the_frame_has_one_row_per_estimator_and_these_columns(log, value):
    frame = value.frame()
    assert frame.columns.tolist() == PAIRED
    assert frame["estimator"].tolist() == ["dm", "ips", "snips", "dr"]
    assert (frame["n"] == len(log)).all()
    assert (frame["clusters"] == 150).all()
    alone = evaluate_policy(log, constant_policy(log, "sms"), estimators="ips")
    assert alone.frame().columns.tolist() == ALONE
    assert alone.baseline_support is None


def test_limits_enclose_the_estimates(value):
    frame = value.frame()
    assert frame["value"].between(frame["low"], frame["high"]).all()
    assert frame["difference"].between(frame["difference_low"], frame["difference_high"]).all()
    assert (frame[["se", "difference_se"]] > 0).all(axis=None)


def test_changing_the_frame_does_not_change_the_result(value):
    frame = value.frame()
    frame["value"] = 0.0
    assert (value.frame()["value"] != 0).all()


def test_it_knows_its_outcome_confidence_and_both_supports(value):
    assert (value.outcome, value.confidence, value.refusals) == ("recovered", 0.95, ())
    assert value.support["policy_mass"].sum() == pytest.approx(value.baseline_support["policy_mass"].sum())


def drawn(ax) -> list[tuple[float, float]]:
    return [tuple(point) for point in ax.lines[0].get_xydata()]


def test_the_picture_shows_the_frames_numbers(value):
    frame = value.frame()
    left, right = value.plot().axes
    assert [x for x, _ in drawn(left)] == frame["value"].tolist()
    assert [x for x, _ in drawn(right)] == frame["difference"].tolist()
    assert [label.get_text() for label in left.get_yticklabels()] == ["DM", "IPS", "SNIPS", "DR"]
    segments = left.collections[0].get_segments()
    np.testing.assert_allclose([s[:, 0] for s in segments], frame[["low", "high"]])
    assert "recovered per decision" in left.get_xlabel()
    assert "95%" in left.get_xlabel()


def test_a_refused_estimator_is_written_into_the_picture():
    log = World().log(150, 2)
    log = Log(log.frame[log.action != "firm_call"])
    model = frame_of(np.full((len(log), 4), 9.0), log)
    found = evaluate_policy(log, constant_policy(log, "firm_call"), outcome_model=model)
    [ax] = found.plot().axes
    assert len(drawn(ax)) == 1
    assert [text.get_text() for text in ax.texts] == ["refused"] * 3


def test_a_frame_of_refusals_still_holds_numbers_not_objects():
    log = World().log(150, 2)
    log = Log(log.frame[log.action != "firm_call"])
    frame = evaluate_policy(log, constant_policy(log, "firm_call"), baseline="logged", estimators=("ips", "snips")).frame()
    numbers = frame.drop(columns=["estimator", "note"])
    assert all(pd.api.types.is_numeric_dtype(dtype) for dtype in numbers.dtypes)
    assert frame["value"].isna().all()
