"""Ask other libraries for their uplift metrics on data made here, and keep the answers for the tests to compare with.

Each library runs in an environment of its own (scikit-uplift 0.5.1, causalml 0.17.0, EconML 0.17.0):

    python -m venv peer && peer/bin/pip install scikit-uplift==0.5.1
    peer/bin/python experiments/peer_metrics.py sklift      # then causalml, econml

Each call replaces its library's part of ``tests/uplift/peer_goldens.json``. The data come from a generator whose stream NumPy has
frozen, and hold no row of anybody.
"""

from __future__ import annotations

import hashlib
import json
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np

GOLDENS = Path(__file__).parents[1] / "tests" / "uplift" / "peer_goldens.json"
ROWS = 1500


def make_case(name: str) -> dict[str, np.ndarray]:
    """Make one data set: treated, outcome, predicted effect, score of the effect, three-armed scores and predictions."""
    seeds = {"even": 1, "uneven": 2, "backwards": 3, "tied": 4, "constant": 5}
    draw = np.random.RandomState(seeds[name])
    x = draw.normal(size=ROWS)
    share = 0.3 if name == "uneven" else 0.5
    treated = (draw.uniform(size=ROWS) < share).astype(np.int64)
    effect = 0.15 * np.tanh(x)
    outcome = (draw.uniform(size=ROWS) < 0.3 + (effect + 0.03) * treated).astype(np.int64)
    amount = outcome * np.exp(draw.normal(size=ROWS))
    predicted = {"backwards": -effect, "tied": np.round(effect, 2), "constant": np.zeros(ROWS)}.get(name, effect)
    means = amount[treated == 1].mean(), amount[treated == 0].mean()
    score = means[0] - means[1] + treated * (amount - means[0]) / share - (1 - treated) * (amount - means[1]) / (1 - share)
    return {"treated": treated, "outcome": outcome, "amount": amount, "effect": predicted, "score": score}


def digest(case: dict[str, np.ndarray]) -> str:
    """Return a checksum of a case, to nine decimals."""
    return hashlib.sha256(b"".join(np.round(case[k], 9).astype("<f8").tobytes() for k in sorted(case))).hexdigest()[:16]


def ask_sklift(case: dict[str, np.ndarray]) -> dict[str, float]:
    from sklift.metrics import qini_auc_score, uplift_at_k, uplift_auc_score

    rows = case["outcome"], case["effect"], case["treated"]
    return {
        "qini_auc_score": qini_auc_score(*rows),
        "qini_auc_score_no_negative": qini_auc_score(*rows, negative_effect=False),
        "uplift_auc_score": uplift_auc_score(*rows),
        **{f"uplift_at_k_{s}_{k}": uplift_at_k(*rows, strategy=s, k=k) for s in ("overall", "by_group") for k in (0.1, 0.3)},
    }


def ask_causalml(case: dict[str, np.ndarray]) -> dict[str, float]:
    import pandas as pd
    from causalml.metrics import auuc_score, qini_score

    frame = pd.DataFrame({"y": case["amount"], "w": case["treated"], "model": case["effect"]})
    found = {}
    for normalize in (True, False):
        for name, metric in (("qini_score", qini_score), ("auuc_score", auuc_score)):
            found[f"{name}_{'normalized' if normalize else 'raw'}"] = float(metric(frame, normalize=normalize)["model"])
    # what ties do there: the same rows, sorted by outcome and arm
    worst = frame.sort_values(["y", "w"], ascending=False).assign(model=0.0)
    found["qini_score_of_a_constant_on_sorted_rows"] = float(qini_score(worst)["model"])
    return found


def ask_econml(case: dict[str, np.ndarray]) -> dict[str, float | None]:
    from econml.validate import DRTester

    tester = DRTester(model_regression=None, model_propensity=None, cate=None)
    tester.n_treat, tester.treatments = 1, [0, 1]
    tester.dr_val_ = case["score"].reshape(-1, 1)
    tester.dr_train_ = tester.dr_val_
    tester.cate_preds_train_ = tester.cate_preds_val_ = case["effect"].reshape(-1, 1)
    found = {}
    for metric in ("qini", "toc"):
        result = tester.evaluate_uplift(metric=metric, n_bootstrap=10)
        found |= {metric: result.params[0], f"{metric}_se": result.errs[0], f"{metric}_p": result.pvals[0]}
    # two copies of the one treatment, as only several have robust errors
    tester.n_treat, tester.treatments = 2, [0, 1, 2]
    tester.dr_val_ = np.column_stack([case["score"]] * 2)
    tester.cate_preds_val_ = np.column_stack([case["effect"]] * 2)
    if np.ptp(case["effect"]) > 0:
        result = tester.evaluate_blp()
        found |= {"blp_slope": result.params[0], "blp_se_hc1": result.errs[0]}
    return {k: float(v) if np.isfinite(v) else None for k, v in found.items()}


def main(library: str) -> None:
    """Ask one library and keep its answers."""
    ask, package = {
        "sklift": (ask_sklift, "scikit-uplift"),
        "causalml": (ask_causalml, "causalml"),
        "econml": (ask_econml, "econml"),
    }[library]
    kept = json.loads(GOLDENS.read_text(encoding="utf-8")) if GOLDENS.exists() else {}
    names = ("even", "uneven", "backwards", "tied", "constant")
    kept["data"] = {name: digest(make_case(name)) for name in names}
    kept[library] = {"version": version(package), **{name: ask(make_case(name)) for name in names}}
    GOLDENS.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n", encoding="utf-8")
    print(json.dumps(kept[library], indent=1))


if __name__ == "__main__":
    main(sys.argv[1])
