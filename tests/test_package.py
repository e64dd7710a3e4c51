"""The package as it is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

import collectml

HEAVY = ("mlflow", "shap", "optuna", "pyspark", "pandera", "lightgbm", "matplotlib")


def test_import_loads_nothing_heavy():
    code = f"import sys, collectml; sys.exit(', '.join(m for m in {HEAVY!r} if m in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_public_name_resolves_and_is_documented():
    for name in collectml.__all__:
        thing = getattr(collectml, name)
        assert isinstance(thing, str) or thing.__doc__, name
    assert set(collectml.__all__) <= set(dir(collectml))


def test_the_names_of_the_contract_are_public():
    names = {
        "make_portfolio", "DecisionLog", "Strategy", "PropensityToPayModel", "ChannelResponseModel", "RecoveryModel",
        "ComplaintModel", "RiskGrader", "UpliftModel", "solve_assignment", "TreatmentPolicy", "evaluate_policy", "train", "load",
        "CommitteeReport",
    }  # fmt: skip
    assert names <= set(collectml.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nonsense"):
        collectml.nonsense  # noqa: B018  # asking is the test
