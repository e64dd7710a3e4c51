"""Other libraries' numbers, made by themselves (experiments/peer_metrics.py), by YDF's tests, or by hand."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from collectml.errors import SchemaError
from collectml.uplift import doubly_robust_scores, peers, uplift_calibration, uplift_metrics
from collectml.uplift._linear import fit_line

SCRIPT = Path(__file__).parents[2] / "experiments" / "peer_metrics.py"
GOLDENS = json.loads((Path(__file__).parent / "peer_goldens.json").read_text(encoding="utf-8"))
CASES = ["even", "uneven", "backwards", "tied", "constant"]
UNTIED = ["even", "uneven", "backwards"]

# uplift_test.cc of Yggdrasil Decision Forests: treated, outcome, prediction, AUUC, Qini
YDF = [
    ([0, 0, 1, 1], [1, 0, 0, 1], [0.8, 0.5, 0.9, 0.4], -0.25, -0.25),
    ([0, 0, 0, 1, 1, 1], [0, 1, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 0.4722222, 0.3055556),
    ([0, 0, 1, 1], [1, 0, 0, 1], [0.8, 0.5, 0.5, 0.5], -0.25, -0.25),
]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("peer_metrics", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def binary(case):
    return case["outcome"], case["effect"], case["treated"]


def money(case):
    return case["amount"], case["effect"], case["treated"]


@pytest.mark.parametrize("name", CASES)
def test_the_data_are_those_the_libraries_saw(script, name):
    assert script.digest(script.make_case(name)) == GOLDENS["data"][name]


@pytest.mark.parametrize("name", CASES)
def test_scikit_uplift(script, name):
    case, golden = script.make_case(name), GOLDENS["sklift"][name]
    assert peers.sklift_qini_auc_score(*binary(case)) == pytest.approx(golden["qini_auc_score"], abs=1e-12)
    loose = peers.sklift_qini_auc_score(*binary(case), negative_effect=False)
    assert loose == pytest.approx(golden["qini_auc_score_no_negative"], rel=1e-9, abs=1e-12)
    assert peers.sklift_uplift_auc_score(*binary(case)) == pytest.approx(golden["uplift_auc_score"], abs=1e-12)
    if name in UNTIED:
        for strategy in ("overall", "by_group"):
            for k in (0.1, 0.3):
                ours = peers.sklift_uplift_at_k(*binary(case), strategy=strategy, k=k)
                assert ours == pytest.approx(golden[f"uplift_at_k_{strategy}_{k}"], abs=1e-12)


@pytest.mark.parametrize("name", UNTIED)
@pytest.mark.parametrize("normalize", [True, False])
def test_causalml_where_predictions_differ(script, name, normalize):
    case, golden = script.make_case(name), GOLDENS["causalml"][name]
    ending = "normalized" if normalize else "raw"
    assert peers.causalml_qini_score(*money(case), normalize=normalize) == pytest.approx(
        golden[f"qini_score_{ending}"], rel=1e-9
    )
    assert peers.causalml_auuc_score(*money(case), normalize=normalize) == pytest.approx(
        golden[f"auuc_score_{ending}"], rel=1e-9
    )


def test_a_constant_ranks_nothing_whatever_causalml_makes_of_the_order_of_rows(script):
    case = script.make_case("constant")
    order = np.lexsort((case["treated"], case["amount"]))[::-1]
    for rows in (np.arange(len(order)), order):
        assert peers.causalml_qini_score(*(v[rows] for v in money(case))) == pytest.approx(0, abs=1e-9)
    assert abs(GOLDENS["causalml"]["constant"]["qini_score_of_a_constant_on_sorted_rows"]) > 0.5


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("metric", ["qini", "toc"])
def test_econml(script, name, metric):
    case, golden = script.make_case(name), GOLDENS["econml"][name]
    ours = peers.econml_uplift_coefficient(case["score"], case["effect"], metric=metric)
    assert ours.coefficient == pytest.approx(golden[metric], abs=1e-12)
    assert ours.se == pytest.approx(golden[f"{metric}_se"], rel=1e-9, abs=1e-15)
    if name == "backwards":  # there significant, here the opposite
        assert golden[f"{metric}_p"] < 0.15
        assert ours.p_value > 0.85
    elif golden[f"{metric}_p"] is not None:
        assert ours.p_value == pytest.approx(golden[f"{metric}_p"])


@pytest.mark.parametrize("name", ["even", "uneven", "backwards", "tied"])
def test_the_line_is_econmls_best_linear_predictor(script, name):
    case, golden = script.make_case(name), GOLDENS["econml"][name]
    slope = fit_line(case["effect"], case["score"]).slope
    assert slope.value == pytest.approx(golden["blp_slope"])
    # ours leaves rows out, theirs corrects for two parameters: the same but for a part in a few hundred
    assert np.sqrt(np.sum(slope.influence**2)) / len(case["score"]) == pytest.approx(golden["blp_se_hc1"], rel=0.02)


@pytest.mark.parametrize(("treated", "outcome", "effect", "auuc", "qini"), YDF)
def test_ydf_and_our_own_metric_in_any_row_order(treated, outcome, effect, auuc, qini):
    rng = np.random.default_rng(0)
    t, y, s = np.array(treated), np.array(outcome, dtype=float), np.array(effect)
    for rows in (np.arange(len(t)), rng.permutation(len(t)), rng.permutation(len(t))):
        assert peers.ydf_auuc(y[rows], s[rows], t[rows]) == pytest.approx(auuc, abs=1e-7)
        assert peers.ydf_qini(y[rows], s[rows], t[rows]) == pytest.approx(qini, abs=1e-7)
        # inverse propensity scores: predictions of zero
        scores = doubly_robust_scores(
            pd.DataFrame(0.0, index=range(len(t)), columns=["0", "1"]),
            action=t[rows].astype(str),
            outcome=y[rows],
            logging_propensity=np.full(len(t), 0.5),
        )
        table = uplift_metrics(pd.DataFrame({"1": s[rows]}), scores).frame().set_index("metric")["value"]
        assert table["auuc"] == pytest.approx(auuc, abs=1e-7)
        assert table["qini"] == pytest.approx(qini, abs=1e-7)


def test_econmls_integral_is_ours_where_it_covers_all(script):
    """From the lowest percentile to the highest, with fine steps, its coefficient comes to ours."""
    case = script.make_case("even")
    fine = peers.econml_uplift_coefficient(case["score"], case["effect"], percentiles=np.linspace(0, 100, 3001))
    predicted = pd.DataFrame(0.0, index=range(len(case["score"])), columns=["0", "1"])
    scores = doubly_robust_scores(
        predicted, action=np.full(len(predicted), "1"), outcome=case["score"], logging_propensity=np.ones(len(predicted))
    )
    table = uplift_metrics(pd.DataFrame({"1": case["effect"]}), scores).frame().set_index("metric")
    assert table.loc["qini", "value"] == pytest.approx(fine.coefficient, rel=0.01)
    assert table.loc["qini", "se"] == pytest.approx(fine.se, rel=0.1)
    assert len(uplift_calibration(pd.DataFrame({"1": case["effect"]}), scores).frame()) == 10


def test_a_tie_at_the_cut_off_counts_in_part():
    y, s, t = [1, 0, 1, 0], [1.0, 1.0, 1.0, 1.0], [1, 1, 0, 0]
    assert peers.sklift_uplift_at_k(y, s, t, k=0.5) == pytest.approx(0)
    assert peers.sklift_uplift_at_k(y, s, t, k=0.5, strategy="by_group") == pytest.approx(0)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: peers.sklift_qini_auc_score([0, 2], [1, 2], [0, 1]), "0 and 1 only"),
        (lambda: peers.causalml_qini_score([0, 2], [1, 2], [1, 1]), "both of them"),
        (lambda: peers.ydf_auuc([0, 2, 3], [1, 2], [1, 0]), "rows of one table"),
        (lambda: peers.ydf_auuc([0, np.nan], [1, 2], [1, 0]), "not finite"),
        (lambda: peers.sklift_uplift_at_k([0, 1], [1, 2], [1, 0], k=2), "share"),
        (lambda: peers.sklift_uplift_at_k([0, 1], [1, 2], [1, 0], strategy="x"), "strategy"),
        (lambda: peers.econml_uplift_coefficient([1.0], [1.0, 2.0]), "rows of one table"),
        (lambda: peers.econml_uplift_coefficient([1.0], [1.0], metric="x"), "metric"),
    ],
)
def test_bad_rows_are_refused(call, says):
    with pytest.raises((SchemaError, ValueError), match=says):
        call()
