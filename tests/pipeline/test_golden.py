"""Artifacts of earlier releases: read, scored and assigned as they were written; and never by way of a pickle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import collectml as cm
from collectml.artifact import verify_folder
from collectml.pipeline import PriceRule

GOLDEN = Path(__file__).parents[1] / "golden"
RELEASES = sorted(p.name for p in GOLDEN.iterdir() if (p / "model").is_dir())


def test_there_is_one_of_each_release():
    assert "0.1" in RELEASES


@pytest.mark.parametrize("release", RELEASES)
def test_it_scores_and_assigns_as_it_did(release):
    folder = GOLDEN / release
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    accounts = pd.read_parquet(folder / "accounts.parquet")
    model = cm.load(folder / "model")
    scored = PriceRule(model).apply(accounts)
    # exact but for the last digit of exp() and log(), which is the mathematical library's
    for action, values in expected["values"].items():
        assert scored[action].tolist() == pytest.approx(values, rel=1e-13, abs=0), action
    p = model.propensity_to_pay.predict_proba(accounts[model.features])[:, 1]
    assert p.tolist() == pytest.approx(expected["propensity_to_pay"], rel=1e-13, abs=0)
    assert scored["priced_action"].tolist() == expected["priced_action"]
    assert scored["prices_as_of"].unique().tolist() == [expected["prices_as_of"]]
    assert model.grades(accounts).tolist() == expected["grades"]
    assert model.assign(accounts, as_of="2026-06-30").frame()["action"].tolist() == expected["assigned"]


@pytest.mark.parametrize("release", RELEASES)
def test_it_is_small_whole_and_text(release):
    folder = GOLDEN / release
    assert verify_folder(folder / "model") > 10
    assert sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) < 300_000
    assert {p.suffix for p in (folder / "model").iterdir()} == {".json", ".txt", ".parquet"}


FORBIDDEN = """
import builtins, pickle, sys
import cloudpickle, joblib, pandas as pd
import collectml as cm
import collectml.pipeline, lightgbm

accounts = pd.read_parquet(sys.argv[2])  # before the trap: libraries make their named tuples by eval while they are imported

def refuse(*args, **kwargs):
    raise AssertionError("code was about to be read as data")

class Refused:
    def __init__(self, *args, **kwargs):
        refuse()

for module in (pickle, cloudpickle):
    module.loads = module.load = refuse
pickle.Unpickler = pickle._Unpickler = Refused
pd.read_pickle = joblib.load = builtins.eval = refuse
for attempt in (lambda: pickle.loads(b""), lambda: pickle.Unpickler(None), lambda: eval("1")):
    try:
        attempt()
    except AssertionError:
        continue
    sys.exit("the trap does not work")
scored = cm.load(sys.argv[1]).score(accounts)
print(len(scored))
"""


@pytest.mark.parametrize("release", RELEASES)
def test_loading_reads_no_pickle_and_evaluates_nothing(release):
    folder = GOLDEN / release
    words = [sys.executable, "-W", "ignore", "-c", FORBIDDEN, str(folder / "model"), str(folder / "accounts.parquet")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=os.environ)
    assert (done.returncode, done.stdout) == (0, "40\n"), done.stderr


def test_no_loader_of_pickles_stands_in_the_source():
    sources = (Path(cm.__file__).parent).rglob("*.py")
    text = {p: p.read_text(encoding="utf-8") for p in sources}
    words = ("import pickle", "cloudpickle", "joblib.load", "read_pickle", "allow_pickle=True", " eval(", "exec(")
    assert not [f"{p.name}: {w}" for p, t in text.items() for w in words if w in t]
