"""The demo: a simulated card portfolio, from its decision log to tonight's assignment, with the truth beside every claim."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from collectml.batch import score_and_assign
from collectml.errors import ConfigurationError
from collectml.pipeline import Experiment, StrategyResult, read_experiment, run_experiment
from collectml.pipeline.experiment import SimulatedData
from collectml.policy import PricedActions, TreatmentPolicy
from collectml.reports import CommitteeReport
from collectml.simulation import Portfolio, make_portfolio, rules_assignment
from collectml.strategy import Strategy, permissions

from ._summary import assignment_summary, value_summary
from ._train_output import write_training

__all__ = ["play"]

EXPERIMENT = "card_early_stage.yaml"
LOGGED_CYCLES = 5
RULES = "today's rules (a competent manager's)"


def play(accounts: int, out: Path, seed: int, tell: Callable[[str], None]) -> str:
    """Run the demo.

    Parameters
    ----------
    accounts : int
        Accounts tonight; the log holds five monthly cycles of as many decisions each.
    out : Path
        Folder.
    seed : int
        Seed of the world.
    tell : callable
        Told the name of each stage.

    Returns
    -------
    str
        The summary.
    """
    from collectml.tracking import log_strategy, open_store

    experiment = _experiment(accounts, seed)
    tell("opening the tracking store")
    store = open_store()
    result = run_experiment(experiment, progress=tell)
    if not isinstance(result, StrategyResult) or experiment.strategy is None:
        raise ConfigurationError(f"{EXPERIMENT} is no strategy experiment")
    trained = write_training(result, out, tell)
    tell("writing down the run")
    record = log_strategy(store, experiment, result.model, out / "model", [trained, trained.with_suffix(".json")])
    tell("tonight's accounts")
    tonight = make_portfolio(accounts, random_state=seed + 1_000)
    for name, table in (("accounts", tonight.accounts), ("capacity", tonight.capacity)):
        table.to_parquet(out / "batch" / f"{name}.parquet", index=False)
    batch = score_and_assign(
        out / "batch" / "accounts.parquet",
        out / "assignments",
        as_of=tonight.as_of,
        model=out / "model",
        capacity=out / "batch" / "capacity.parquet",
        progress=tell,
    )
    report = CommitteeReport(batch.model, batch.assignment, accounts=batch.accounts).write(out / "report.html")
    tell("comparing with today's rules")
    worth = _against_rules(tonight, result, experiment.strategy)
    return "\n".join(
        [
            f"Learnt from {len(result.log):,} decisions, tonight {accounts:,} accounts (simulated, so the truth is known)",
            "",
            assignment_summary(batch.assignment),
            "",
            worth,
            "",
            value_summary(result.model),
            "",
            f"Report           {report}",
            f"Assignments      {out / 'assignments' / 'assignments.parquet'}",
            f"MLflow store     {store.uri}  (look: mlflow ui --backend-store-uri {store.uri})",
            f"Model version    {record.model_name} v{record.version}, alias {record.alias}, run {record.run_id}",
        ]
    )


def _experiment(accounts: int, seed: int) -> Experiment:
    """Read the shipped experiment, from the package or from the checkout, with the demo's size and seed."""
    places = (Path(__file__).with_name(EXPERIMENT), Path(__file__).parents[3] / "experiments" / EXPERIMENT)
    path = next((p for p in places if p.is_file()), None)
    if path is None:
        raise ConfigurationError(f"{EXPERIMENT} is not where the package keeps it: install collectml again")
    data = SimulatedData(source="simulate", accounts=LOGGED_CYCLES * accounts, seed=seed)
    return read_experiment(path).model_copy(update={"data": data, "seed": seed})


def _against_rules(tonight: Portfolio, result: StrategyResult, strategy: Strategy) -> str:
    """Value plan, rules, doing nothing and perfect foresight by the simulator's truth, all under tonight's capacity."""
    spec = strategy.without_randomisation()
    cost_of_complaint = strategy.objective.cost_of_complaint
    net = tonight.truth * strategy.objective.value_of_recovered - tonight.truth_cost
    net = net - tonight.truth_complaints * cost_of_complaint
    known = PricedActions(net, tonight.truth, tonight.truth_cost, tonight.truth_minutes, tonight.truth_complaints)
    accounts, ids = tonight.accounts, pd.Index(tonight.accounts["account_id"])
    policy = TreatmentPolicy(spec, logged=result.model.logged)
    plans = {
        f"{strategy.control} for all": pd.Series(strategy.control, index=ids),
        RULES: _within_conditions(rules_assignment(accounts, tonight.capacity).reindex(ids), spec, accounts),
        "this strategy": policy.assign(
            result.model.price(accounts), accounts, capacity=tonight.capacity, as_of=tonight.as_of
        ).planned(),
        "perfect foresight": TreatmentPolicy(spec)
        .assign(known, accounts, capacity=tonight.capacity, as_of=tonight.as_of)
        .planned(),
    }
    rows = []
    for name, plan in plans.items():
        at = net.columns.get_indexer(pd.Index(plan.reindex(ids)))
        cells = np.arange(len(ids)), at
        rows.append(
            {
                "policy": name,
                "net": net.loc[ids].to_numpy()[cells].sum(),
                "recovered": tonight.truth.loc[ids].to_numpy()[cells].sum(),
                "complaints": tonight.truth_complaints.loc[ids].to_numpy()[cells].sum(),
            }
        )
    table = pd.DataFrame(rows).set_index("policy")
    rules = float(table["net"].to_numpy()[list(plans).index(RULES)])
    shown = pd.DataFrame(
        {
            f"net recoveries ({strategy.currency})": table["net"].map("{:,.0f}".format),
            "against the rules": (table["net"] / rules - 1).map("{:+.1%}".format),
            f"recovered ({strategy.currency})": table["recovered"].map("{:,.0f}".format),
            "complaints": table["complaints"].map("{:,.0f}".format),
        }
    )
    lines = shown.to_string().splitlines()
    return "\n".join(["What it is worth tonight, by the simulator's truth", *(f"  {line}" for line in lines)])


def _within_conditions(rules: pd.Series, strategy: Strategy, accounts: pd.DataFrame) -> pd.Series:
    """Hold the rules to the strategy's conditions: what is not permitted, or a customer's second contact, is left undone."""
    at = pd.Index(strategy.action_names).get_indexer(pd.Index(rules))
    allowed = permissions(strategy, accounts).allowed[np.arange(len(rules)), at]
    contact = strategy.contact_mask[at] & allowed
    second = accounts["customer_id"].where(contact).duplicated().to_numpy() & contact & strategy.one_contact_per_customer
    return rules.where(allowed & ~second, strategy.control)
