"""Tuning: a real SQLite study that continues, the same for a seed, and defaults that stay unless something beats them."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from collectml.data import DecisionLog
from collectml.errors import ConfigurationError, SchemaError
from collectml.pipeline import experiment, load, train, training, tuning
from collectml.pipeline.tuning import DEFAULTS, tune
from collectml.simulation import make_portfolio
from collectml.tracking import open_store

ACTIONS = ("no_action", "sms", "soft_call")


def truth(x: np.ndarray) -> np.ndarray:
    return 40 + np.outer(x, [0.0, 12.0, -12.0])


@pytest.fixture(scope="module")
def log() -> DecisionLog:
    rng = np.random.default_rng(0)
    n = 4_000
    x, action = rng.normal(size=n), rng.integers(0, 3, n)
    recovered = np.maximum(truth(x)[np.arange(n), action] + 10 * rng.normal(size=n), 0)
    frame = pd.DataFrame(
        {
            "account_id": np.arange(n),
            "customer_id": np.arange(n) // 2,
            "decided_at": pd.Timestamp("2026-01-01"),
            "x": x,
            "action": np.array(ACTIONS)[action],
            "recovered": recovered,
            "paid": (recovered > 0).astype(int),
            "logging_propensity": 1 / 3,
        }
    )
    return DecisionLog(frame, actions=ACTIONS, features=["x"], customer_id="customer_id")


class Pretender:
    """A model whose error is set by its parameters: what it "learns" is the truth, blurred."""

    fits = 0
    helpful = True

    def __init__(self, learner, *, control, random_state, n_jobs):
        self.seed, self.params = random_state, {}

    def set_params(self, **params):
        self.params = params
        return self

    def fit(self, X, y, **rows):
        type(self).fits += 1
        return self

    def predict(self, X):
        depth = self.params.get("max_depth", DEFAULTS["max_depth"])
        blur = 3.0 * depth if self.helpful else 60.0 - 3.0 * depth  # the defaults have the largest depth
        noise = np.random.default_rng(self.seed + depth).normal(size=(len(X), 3))
        return pd.DataFrame(truth(X["x"].to_numpy()) + blur * noise, index=X.index, columns=list(ACTIONS))


@pytest.fixture
def pretender(monkeypatch) -> type[Pretender]:
    monkeypatch.setattr(tuning, "UpliftModel", Pretender)
    monkeypatch.setattr(Pretender, "helpful", True)
    monkeypatch.setattr(Pretender, "fits", 0)
    return Pretender


@pytest.mark.usefixtures("pretender")
@pytest.mark.parametrize("objective", ["policy_value", "dr_loss"])
def test_it_finds_what_helps_and_proves_it_on_customers_no_trial_saw(log, objective):
    told = []
    result = tune(log, trials=12, objective=objective, random_state=1, progress=told.append)
    assert result.trials[0].params == {}
    assert result.params == result.best.params != {}
    assert result.params["max_depth"] < 10
    assert result.low > 0
    assert result.low < result.difference < result.high
    assert 0.2 * len(log) < result.held_out_decisions < 0.4 * len(log)
    assert told[0] == "tuning: trial 1 of 12"
    assert "held-out" in told[-1]
    frame = result.frame()
    assert len(frame) == 12
    assert frame.loc[frame["state"] == "complete", "value"].max() == result.best.value
    assert f"{result.difference:+,.3f}" in result.sentence()
    assert "it is used" in result.sentence()
    assert result.facts()["best_value"] == result.best.value
    assert len(result.plot().axes[0].lines) == 4


def test_the_default_trial_is_the_value_of_the_defaults(log, pretender):
    """By hand: the greedy policy of the blurred truth, its doubly robust scores averaged over the rows trials see."""
    result = tune(log, trials=1, random_state=1)
    rest, _ = log.split_by_customer(0.3, random_state=2)
    fold = tuning.customer_folds(rest, 3)
    total = 0.0
    for k in range(3):
        rows = rest.select(fold == k)
        predicted = Pretender("hurdle", control="no_action", random_state=1, n_jobs=None).predict(rows.X).to_numpy()
        at = pd.Index(ACTIONS).get_indexer(rows.action)
        chosen = predicted.argmax(axis=1)
        each = np.arange(len(rows))
        residual = (rows.recovered.to_numpy() - predicted[each, at]) * 3
        total += float((predicted[each, chosen] + residual * (chosen == at)).sum())
    assert result.trials[0].value == pytest.approx(total / len(rest))
    assert pretender.fits == 3  # one fit a fold: the defaults' own predictions are the scores' too


@pytest.mark.usefixtures("pretender")
def test_defaults_stay_where_nothing_is_better(log, monkeypatch):
    monkeypatch.setattr(Pretender, "helpful", False)
    result = tune(log, trials=8, random_state=1)
    assert result.params == {}
    assert result.best.number == 0
    assert result.difference == 0
    assert "defaults, which stay" in result.sentence()


def test_a_lucky_trial_is_not_kept(log, monkeypatch, pretender):
    """Best in the study, worse on the held-out customers: the defaults stay, and the sentence says so."""
    monkeypatch.setattr(tuning._Search, "compare", lambda *_: (-1.0, -2.0, 0.5))
    result = tune(log, trials=8, random_state=1)
    assert result.best.number > 0
    assert result.params == {}
    assert "the defaults stay" in result.sentence()


@pytest.mark.usefixtures("pretender")
def test_the_same_seed_gives_the_same_study(log):
    def told(seed: int):
        return [(t.state, t.value, t.params, t.fold_values) for t in tune(log, trials=6, random_state=seed).trials]

    first = told(3)
    assert first == told(3)
    assert first != told(4)


def test_a_study_continues_in_its_file(log, tmp_path, pretender):
    file = tmp_path / "deep" / "tuning.db"
    first = tune(log, trials=4, storage=file, random_state=1)
    assert file.is_file()
    whole = tune(log, trials=9, storage=file, random_state=1)
    assert whole.study == first.study
    assert len(whole.trials) == 9
    assert [t.params for t in whole.trials[:4]] == [t.params for t in first.trials]
    assert [t.value for t in whole.trials[:4]] == [t.value for t in first.trials]
    later = [tuple(t.params.items()) for t in whole.trials]
    assert len(set(later)) == 9  # the sampler's seed has moved on: no point is tried twice
    before = pretender.fits
    done = tune(log, trials=9, storage=file, random_state=1)
    assert done.trials == whole.trials
    assert pretender.fits - before == (2 if done.best.params else 0)  # only the held-out comparison is done again
    other = tune(log.select(np.arange(len(log)) < 3_000), trials=2, storage=file, random_state=1)
    assert other.study != whole.study
    assert len(other.trials) == 2


def test_a_sitting_broken_off_is_taken_up(log, tmp_path, monkeypatch, pretender):
    import optuna

    file = tmp_path / "tuning.db"
    tune(log, trials=3, storage=file, random_state=1)
    name = tune(log, trials=3, storage=file, random_state=1).study
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{file}")
    study.ask()  # a trial that was never told
    result = tune(log, trials=6, storage=file, random_state=1)
    assert [t.state == "failed" for t in result.trials] == [False, False, False, True, False, False]

    def broken(self, params, told):
        raise KeyboardInterrupt

    fresh = tmp_path / "fresh.db"
    with monkeypatch.context() as patch:
        patch.setattr(tuning._Search, "judge", broken)
        with pytest.raises(KeyboardInterrupt):
            tune(log, trials=3, storage=fresh, random_state=1)
    again = tune(log, trials=4, storage=fresh, random_state=1)
    assert again.trials[0].state == "failed"
    assert again.defaults.number == 1


@pytest.mark.usefixtures("pretender")
def test_trials_far_below_the_others_are_pruned(log):
    result = tune(log, trials=25, random_state=2)
    pruned = [t for t in result.trials if t.state == "pruned"]
    assert pruned
    assert all(len(t.fold_values) < 3 for t in pruned)
    assert all(t.value < result.best.value for t in pruned)


def test_the_budget_in_minutes_ends_it_but_never_before_the_defaults(log, pretender):
    result = tune(log, trials=10_000, minutes=1e-9, random_state=1)
    assert [t.params for t in result.trials] == [{}]
    assert pretender.fits == 3


def test_a_real_model_is_tuned(log):
    small = log.select(np.arange(len(log)) < 900)
    result = tune(small, learner="s", trials=2, folds=2, random_state=1, n_jobs=1)
    assert [t.state for t in result.trials] in (["complete", "complete"], ["complete", "pruned"])
    assert set(result.trials[1].params) <= {*DEFAULTS, "subsample_freq"}
    # better than sending nothing to anybody: the world's best action differs between accounts
    assert result.trials[0].value > 42


def test_bad_budgets_and_logs_are_refused(log):
    with pytest.raises(ConfigurationError, match="objective"):
        tune(log, objective="auc")
    with pytest.raises(ConfigurationError, match="at least one trial"):
        tune(log, trials=0)
    with pytest.raises(SchemaError, match="nothing to tune on"):
        tune(log, min_rows=10_000)
    bare = DecisionLog(log.frame, actions=ACTIONS, features=["x"], logging_propensity=None)
    with pytest.raises(ConfigurationError, match="propensities"):
        tune(bare)


def test_optuna_is_loaded_only_when_a_study_is_asked_for():
    code = "import sys, collectml.pipeline; sys.exit('optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_experiment_file_asks_for_it_and_trials_become_child_runs(log, home, monkeypatch, run, pretender, trained):
    """Through the command line: what is tuned on, what training then uses, the evidence, and the runs in a real store."""
    found = dataclasses.replace(tune(log, trials=7, random_state=2), params={"n_estimators": 60, "folds": 2})
    asked = {}

    def pretended(rest, **settings):
        asked.update(settings, decisions=len(rest))
        return found

    def remembered(whole, strategy, **settings):
        asked["params"] = settings["params"]
        return load(trained.model)

    monkeypatch.setattr(experiment, "tune", pretended)
    monkeypatch.setattr(experiment, "train", remembered)
    content = yaml.safe_load(trained.config.read_text(encoding="utf-8"))
    content["tuning"] = {"trials": 7, "minutes": 5, "objective": "dr_loss"}
    Path("card.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    done = run("train", "--config", "card.yaml")
    assert done.code == 0, done.err
    assert found.sentence() in done.out
    assert (asked["trials"], asked["minutes"], asked["objective"], asked["min_rows"]) == (7, 5, "dr_loss", 200)
    assert asked["storage"] == Path("data/card_early_stage/tuning.db")

    facts = load(Path("data/card_early_stage/model")).evidence.facts
    assert asked["params"] == found.params
    assert facts["tuning"]["best_trial"] == found.best.number
    assert asked["decisions"] == facts["log"]["training_decisions"]  # those kept for the valuation were not tuned on

    store = open_store()
    parent = store.client.get_model_version_by_alias("collectml-card_early_stage", "champion").run_id
    runs = store.client.search_runs([store.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'")
    assert store.client.get_run(parent).data.metrics["tuning.best_value"] == pytest.approx(found.best.value)
    assert len(runs) == 7
    for child in runs:
        trial = found.trials[int(child.data.tags["collectml.trial"])]
        assert child.data.metrics["value"] == pytest.approx(trial.value)
        params = {k: v for k, v in child.data.params.items() if k != "objective"}
        assert params == {k: str(v) for k, v in trial.params.items()}
        steps = store.client.get_metric_history(child.info.run_id, "value_so_far")
        assert [m.value for m in steps] == pytest.approx(list(trial.fold_values))
        assert child.info.status == {"complete": "FINISHED", "pruned": "KILLED"}[trial.state]
        assert (child.data.tags["collectml.chosen"] == "true") == (trial.number == found.best.number)


def test_training_hands_the_parameters_to_the_uplift_model(trained, monkeypatch):
    class CaughtError(Exception):
        pass

    def caught(self, **params):
        raise CaughtError(params)

    monkeypatch.setattr(training.UpliftModel, "set_params", caught)
    portfolio = make_portfolio(1_000, random_state=1)
    strategy = load(trained.model).strategy.model_copy(update={"min_logged": 20})
    log = DecisionLog(portfolio.decisions, actions=strategy.action_names)
    with pytest.raises(CaughtError, match="'folds': 3"):
        train(log, strategy, params={"folds": 3})


def test_a_typo_in_the_section_is_named(tmp_path):
    content = yaml.safe_load(
        (Path(__file__).parents[2] / "experiments" / "card_early_stage.yaml").read_text(encoding="utf-8")
    )
    config = tmp_path / "card.yaml"
    config.write_text(yaml.safe_dump(content | {"tuning": {"trial": 3}}), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="trials"):
        experiment.read_experiment(config)
