"""Write the golden artifact of a release: a small strategy as that release saves it, accounts, and what they score.

    python tests/golden/make.py 0.1

Run it once, before the release, and never again for the same one: the point of the folder is that later releases read what this
one wrote. Trees are few and small so that it stays small; everything else is what ``collectml train`` does by default.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import yaml

import collectml as cm
from collectml.models import propensity_to_pay
from collectml.pipeline import PriceRule
from collectml.uplift import hurdle

ROWS = 40


def main(release: str) -> None:
    folder = Path(__file__).parent / release
    if folder.exists():
        sys.exit(f"{folder} is there already: a release's artifact is written once")
    hurdle.STUDENT_TREES, hurdle.SPREAD_TREES = 12, 4
    hurdle.STUDENT |= {"num_leaves": 7}
    small = {"n_estimators": 12, "early_stopping_rounds": None}
    propensity_to_pay.PropensityToPayModel.__init__.__kwdefaults__.update(small)
    shipped = Path(__file__).parents[2] / "experiments" / "card_early_stage.yaml"
    strategy = cm.Strategy.model_validate(
        yaml.safe_load(shipped.read_text(encoding="utf-8"))["strategy"] | {"min_logged": 50}
    )
    portfolio = cm.make_portfolio(2_000, random_state=1)
    log = cm.DecisionLog(portfolio.decisions, actions=strategy.action_names)
    model = cm.train(log, strategy, contacts=portfolio.contacts, accounts=portfolio.accounts, random_state=1)
    for table in ("scores", "fields", "slices"):
        model.evidence.tables.pop(table)
    model.save(folder / "model")
    accounts = portfolio.accounts.head(ROWS)
    accounts.to_parquet(folder / "accounts.parquet", index=False)
    scored = PriceRule(model).apply(accounts)
    assigned = model.assign(accounts, as_of="2026-06-30").frame()
    grades = model.grades(accounts)
    expected = {
        "written_by": cm.__version__,
        "values": {c: scored[c].tolist() for c in strategy.action_names},
        "priced_action": scored["priced_action"].tolist(),
        "prices_as_of": scored["prices_as_of"].iloc[0],
        "assigned": assigned["action"].tolist(),
        "propensity_to_pay": model.propensity_to_pay.predict_proba(accounts[model.features])[:, 1].tolist(),
        "grades": pd.Series(grades).tolist(),
    }
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
