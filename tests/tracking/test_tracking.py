"""One training, one run, one registered version that plain MLflow loads: in a real SQLite store."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from collectml.errors import ConfigurationError
from collectml.strategy.eligibility import Expression
from collectml.tracking import log_propensity, log_strategy, open_store, registered_folder

NAME = "collectml-card_early_stage"


@pytest.fixture
def store(trained, monkeypatch):
    monkeypatch.chdir(trained.root)
    return open_store()


def test_the_run_holds_parameters_metrics_digest_and_artifacts(store):
    version = store.client.get_model_version_by_alias(NAME, "champion")
    run = store.client.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["data.accounts"] == "6000"
    assert run.data.params["learner"] == "hurdle"
    for metric in ("policy_value.net_per_decision", "propensity_to_pay.auc", "log.training_decisions", "assignment.gap"):
        assert metric in run.data.metrics
    assert len(run.data.tags["data_digest"]) == 64
    dataset = run.inputs.dataset_inputs[0].dataset
    assert run.data.tags["data_digest"].startswith(dataset.digest)
    artifacts = {f.path for f in store.client.list_artifacts(version.run_id)}
    assert {"strategy.json", "evidence", "report"} <= artifacts


def test_no_row_of_data_reaches_the_store(store, trained):
    """No account id of the portfolio stands anywhere in database or artifacts."""
    ids = pd.read_parquet(trained.accounts)["account_id"].astype(str)
    texts = [
        p.read_text(encoding="utf-8", errors="ignore")
        for p in (trained.root / "data" / "mlartifacts").rglob("*")
        if p.suffix in {".json", ".csv", ".html", ".yaml", ".yml", ".txt"} or p.name == "MLmodel"
    ]
    assert len(texts) > 10
    # whole numbers only: the digits of an id also occur by chance inside a booster's thresholds
    numbers = {number for text in texts for number in re.findall(r"(?<![\d.])\d+(?![\d.])", text)}
    assert len(numbers) > 100
    assert not numbers & set(ids)


@pytest.fixture(scope="module")
def plain(trained, tmp_path_factory):
    """Load and predict in a clean process that knows only MLflow, with pickles forbidden."""
    folder = tmp_path_factory.mktemp("plain")
    code = f"""
import warnings; warnings.simplefilter("ignore")
import mlflow, pandas as pd, sys
import cloudpickle, joblib, pickle
def refuse(*args, **kwargs):
    raise AssertionError("a pickle was about to be read")
kept = pickle.loads, pickle.load, pickle.Unpickler
pickle.loads = pickle.load = cloudpickle.loads = cloudpickle.load = refuse
pickle.Unpickler = pickle._Unpickler = type("Refused", (), {{"__init__": refuse}})
mlflow.set_tracking_uri("sqlite:///{trained.root / "data" / "mlflow.db"}")
model = mlflow.pyfunc.load_model("models:/{NAME}@champion")
pickle.loads, pickle.load, pickle.Unpickler = kept  # numba keeps what it compiled as pickles: code, no model
accounts = pd.read_parquet({str(trained.accounts)!r})
model.predict(accounts).to_parquet({str(folder / "all.parquet")!r})
model.predict(accounts.iloc[::-1][sorted(accounts.columns)]).to_parquet({str(folder / "reversed.parquet")!r})
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return pd.read_parquet(folder / "all.parquet"), pd.read_parquet(folder / "reversed.parquet")


def test_plain_mlflow_gives_the_values_of_the_model(plain, trained):
    from collectml import load

    model, accounts = load(trained.model), pd.read_parquet(trained.accounts)
    expected = model.score(accounts)
    got = plain[0].set_index("account_id")[list(model.strategy.action_names)]
    pd.testing.assert_frame_equal(got, expected, check_exact=True, check_names=False)
    assert (plain[0]["prices_as_of"] == model.evidence.facts["prices"]["as_of"]).all()


def test_priced_action_is_permitted_and_best_at_the_stored_prices(plain, trained):
    from collectml import load
    from collectml.strategy import permissions

    model, accounts = load(trained.model), pd.read_parquet(trained.accounts)
    actions = list(model.strategy.action_names)
    at = pd.Index(actions).get_indexer(pd.Index(plain[0]["priced_action"]))
    allowed = permissions(model.strategy, accounts).allowed
    assert allowed[range(len(at)), at].all()
    # by hand: with minutes, letters and a share as the priced limits, charge each action and take the best permitted one
    prices = model.evidence.facts["prices"]["by_limit"]
    priced = model.price(accounts)
    charged = priced.net.copy()
    for action in model.strategy.actions:
        charge = prices["budget"] * priced.cost[action.name] + prices["complaints"] * priced.complaints[action.name]
        if action.channel == "call":
            charge = charge + prices["call_minutes"] * priced.minutes[action.name]
        charge = charge + prices["letters"] * (action.channel == "letter")
        charge = charge + prices["settlement_share"] * (action.name == "settlement_offer")
        charge = charge + prices["firm_share"] * (action.name == "firm_call")
        charged[action.name] -= charge
    charged = charged.where(pd.DataFrame(allowed, index=charged.index, columns=actions))
    best = charged.max(axis="columns").to_numpy()
    own = charged.to_numpy()[range(len(at)), at]
    assert abs(best - own).max() < 1e-9


@pytest.mark.usefixtures("store")
def test_the_signature_names_fields_and_actions(trained):
    import mlflow

    from collectml import load

    model = load(trained.model)
    signature = mlflow.models.get_model_info(f"models:/{NAME}@champion").signature
    names = ["account_id", *model.strategy.action_names, "priced_action", "prices_as_of"]
    assert signature.outputs.input_names() == names
    needed = [c.name for c in signature.inputs.inputs if c.required]
    assert needed == ["account_id", *model.features]
    conditions = {f for c in model.strategy.conditions for f in Expression(c.allow).fields}
    assert {c.name for c in signature.inputs.inputs} == {*needed, *conditions}


def test_order_of_rows_and_columns_does_not_matter(plain):
    first, second = (frame.set_index("account_id").sort_index() for frame in plain)
    pd.testing.assert_frame_equal(first, second, check_exact=True)


@pytest.mark.usefixtures("home")
def test_first_version_is_champion_later_ones_challenger(trained):
    from collectml import load
    from collectml.pipeline import read_experiment

    store, experiment, model = open_store(), read_experiment(trained.config), load(trained.model)
    records = [log_strategy(store, experiment, model, trained.model) for _ in range(3)]
    assert [(r.version, r.alias) for r in records] == [("1", "champion"), ("2", "challenger"), ("3", "challenger")]
    aliases = store.client.get_registered_model(NAME).aliases
    assert {k: str(v) for k, v in aliases.items()} == {"champion": "1", "challenger": "3"}
    assert (registered_folder(f"models:/{NAME}/2") / "manifest.json").is_file()


@pytest.mark.usefixtures("store")
def test_requirements_and_model_hold_no_pickle():
    import mlflow

    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{NAME}@champion"))
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert not [p for p in files if p.suffix in {".pkl", ".pickle", ".joblib", ".skops"}]
    assert "collectml==" in (folder / "requirements.txt").read_text(encoding="utf-8")


def test_stores_of_two_folders_stay_apart(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert open_store().uri == f"sqlite:///{tmp_path / name / 'data' / 'mlflow.db'}"
        assert (tmp_path / name / "data" / "mlflow.db").is_file()


def test_the_file_says_where_and_the_environment_wins(tmp_path, monkeypatch):
    (tmp_path / "mlflow.yaml").write_text("tracking_uri: sqlite:///x/y.db\nexperiment: mine\n", encoding="utf-8")
    store = open_store(tmp_path / "mlflow.yaml")
    assert store.uri == f"sqlite:///{tmp_path / 'x' / 'y.db'}"
    assert store.client.get_experiment_by_name("mine").artifact_location.startswith("file://")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/other.db")
    assert open_store(tmp_path / "mlflow.yaml").uri.endswith("other.db")


def test_a_typo_in_the_file_is_named(tmp_path):
    (tmp_path / "mlflow.yaml").write_text("tracking_url: sqlite:///x.db\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="tracking_uri"):
        open_store(tmp_path / "mlflow.yaml")


@pytest.mark.real_data
def test_propensity_runs_are_logged_as_text(tmp_path, home, data_folder):
    from collectml.pipeline import read_experiment, run_experiment

    experiment = read_experiment(Path(__file__).parents[2] / "experiments" / "taiwan_default.yaml")
    result = run_experiment(experiment)
    assert result.metrics["oof_auc"] >= 0.775
    assert 0.9 <= result.metrics["calibration_slope"] <= 1.1
    store = open_store()
    run = store.client.get_run(log_propensity(store, experiment, result).run_id)
    assert run.data.metrics["oof_auc"] == pytest.approx(result.metrics["oof_auc"])
    paths = {f.path for f in store.client.list_artifacts(run.info.run_id, "model")}
    assert "model/config.json" in paths
    text = store.client.download_artifacts(run.info.run_id, "model/config.json", str(tmp_path))
    assert json.loads(Path(text).read_text(encoding="utf-8"))["kind"]
