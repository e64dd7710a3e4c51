# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A first strategy
#
# From a decision log to tonight's assignment: what each action *changes*, what that is worth, who gets what within the limits, and
# how far to believe it. The portfolio is simulated, so every claim can be held against the truth. With a log of your own,
# replace the second cell; everything after it stays.

# %%
import os
from pathlib import Path

import pandas as pd

import collectml as cm

pd.set_option("display.precision", 2)
accounts_in_log = int(os.environ.get("COLLECTML_NOTEBOOK_ACCOUNTS", "60000"))
checkout = next(p for p in (Path.cwd(), *Path.cwd().parents) if (p / "experiments").is_dir())

# %% [markdown]
# ## What we know: the decision log
# One row a decision: the account as it was then, the action *assigned*, the probability with which it was drawn, and what came in
# within 30 days. Decisions whose 30 days have not passed, and rows that fall into an earlier commitment, are left out and counted.

# %%
portfolio = cm.make_portfolio(accounts_in_log, logging="randomised", random_state=1)
log = cm.DecisionLog(portfolio.decisions, actions=portfolio.actions, complained="complained", cost="cost")
print(log)
log.support()

# %% [markdown]
# ## What we may do: the strategy
# One YAML file a manager can read: actions with their costs, limits, the conditions every collector must honour, what a unit
# recovered and a complaint are worth, and how much is kept for learning.

# %%
import yaml

experiment = yaml.safe_load((checkout / "experiments" / "card_early_stage.yaml").read_text(encoding="utf-8"))
strategy = cm.Strategy.model_validate(experiment["strategy"])
pd.DataFrame([a.model_dump(include={"name", "channel", "tone", "unit_cost", "talk_minutes"}) for a in strategy.actions])

# %% [markdown]
# ## Learn
# Trained on 70 % of the customers, valued on the other 30 %.

# %%
model = cm.train(
    log, strategy, contacts=portfolio.contacts, accounts=portfolio.accounts, truth=portfolio.truth, random_state=1
)
value = model.evidence.tables["policy_value"]
columns = ["baseline", "estimator", "value", "difference", "difference_low", "difference_high", "true_difference"]
value.loc[value["estimator"].isin(["dr", "snips"]), columns]

# %% [markdown]
# `difference` is the gain per decision over the baseline, from paired scores, with its 95 % interval; `true_difference` is
# what a simulator can add and no bank ever sees.

# %% [markdown]
# ## Who gets what
# `score` gives the net value of every action for every account; `assign` finds the most valuable permitted assignment in which
# every limit holds. The shadow price says what one more unit of a limit would bring.

# %%
tonight = cm.make_portfolio(max(2000, accounts_in_log // 5), random_state=1001)
assignment = model.assign(tonight.accounts, capacity=tonight.capacity, as_of=tonight.as_of)
assignment.by_action()

# %%
assignment.limits()[["limit", "unit", "upper", "used", "share_used", "shadow_price"]]

# %% [markdown]
# Every row carries the exact probability of its action, so that tonight's decisions can be learnt from tomorrow.

# %%
assignment.frame().head()

# %% [markdown]
# ## Why
# Contributions to the effect of an account's most valuable action on its chance of payment, in words from a dictionary.

# %%
model.reasons(tonight.accounts.head(3))

# %% [markdown]
# ## Was it right?
# Here the truth is known: the true recovery of the plan against doing nothing, and against the best single action for all.

# %%
truth = tonight.truth
planned = assignment.planned()
worth = truth.to_numpy()[range(len(truth)), truth.columns.get_indexer(planned.loc[truth.index])]
pd.Series(
    {
        "plan": worth.mean(),
        "no_action for all": truth["no_action"].mean(),
        f"{truth.mean().idxmax()} for all (breaks every limit)": truth.mean().max(),
        "best action of each account (no limits, perfect foresight)": truth.max(axis="columns").mean(),
    },
    name="true recovery per account",
).to_frame()

# %% [markdown]
# ## And play it
# The simulator plays the cycle: payments, complaints, cures, new accounts, and a log to learn from next month.

# %%
next_month = tonight.realise(assignment)
print(f"recovered {next_month.decisions['recovered'].sum():,.0f}, complaints {len(next_month.complaints):,}")
print(f"{len(next_month.accounts):,} accounts on {next_month.as_of:%d %B %Y}")

# %% [markdown]
# ## What the committee reads, what the batch loads
# One self-contained page, and a folder of LightGBM text, JSON and Parquet.

# %%
out = checkout / "data" / "first_strategy"
model.save(out / "model")
cm.CommitteeReport(model, assignment, accounts=tonight.accounts).to_html(out / "report.html")
same = cm.load(out / "model").score(tonight.accounts).equals(model.score(tonight.accounts))
print(f"report in {(out / 'report.html').relative_to(checkout)}; the loaded model scores the same bits: {same}")
