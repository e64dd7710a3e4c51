"""Evidence made by hand that is complete: every table a training leaves, small, and adding up where a report asks it to."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

KEPT = 600
ACTIONS = ("no_action", "sms", "call")
CASE = {
    "case": 1,
    "rule": "typical",
    "action": "call",
    "other": "sms",
    "margin": 3.0,
    "parts": {"Payment history": 5.0, "(cost)": -2.0},
    "reasons": [
        {"reason": "promises kept", "direction": "raises", "contribution": 0.4},
        {"reason": "income", "direction": "lowers", "contribution": -0.2},
    ],
    "changed": [{"field": "arrears", "from": 100, "to": 50}],
    "changed_action": "sms",
}
MEAN = {"action": "call", "accounts": 5, "against": "sms", "margin": 3.0, "parts": {"Payment history": 5.0, "(cost)": -2.0}}


def cases() -> dict[str, object]:
    return {"cases": [dict(CASE)], "by_action": [dict(MEAN)]}


def with_fields(accounts: pd.DataFrame) -> pd.DataFrame:
    """Stages, balances and groups: of the islands there are too few to show."""
    i = np.arange(len(accounts))
    return accounts.assign(
        days_past_due=i % 100,
        balance=100.0 + i / 7,
        age_band=np.where(i % 3 == 0, "18-29", "30-44"),
        region=np.select([i < 20, i < 220], ["islands", "north"], "south"),
        vulnerable=i % 8 == 0,
    )


def fill(tables: dict[str, pd.DataFrame], facts: dict[str, object]) -> None:
    """Add what is missing to evidence as the fixture ``model`` has it."""
    _scored(tables, facts)
    tables["uplift_tenths"] = pd.DataFrame(
        {"tenth": range(1, 11), "n": 60, "predicted": 1.0, "estimated": 1.1, "low": 0.2, "high": 2.0}
    )
    tables["arms"] = pd.DataFrame(
        {"action": ACTIONS, "n": [300, 200, 100], "mean": [25.0, 27.5, 30.25], "value": [25.0, 27.5, 30.25]}
    ).assign(low=20.0, high=35.0, same_propensity=True)
    facts["assessment"] = {
        "ks": 0.5,
        "scorecard_auc": 0.7,
        "champion": {"auc": 0.75, "brier": 0.2},
        "ranking": {"qini": 2.0, "low": 0.5, "high": 3.5},
    }
    facts["out_of_time"] = {"cut": "2026-05-01", "decisions": 120, "learnt_from": 900, "early_auc": 0.8, "auc": 0.81} | {
        "early_ratio": 1.01,
        "early_spread": 0.05,
    }
    facts["log"] |= {  # type: ignore[operator]
        "left_out": {"immature": 37, "in_commitment": 5},
        "customers": 1_800,
        "first_decision": "2026-01-01",
        "last_decision": "2026-05-31",
        "features_dated": 2_000,
        "features_oldest_days": 3,
        "features_late": 0,
    }
    _drivers(tables, facts)
    tables["signs"] = pd.DataFrame(
        {"field": ["days_past_due", "income"], "expected": [-1, 1], "constraint": [-1, 0], "steps": 800, "against": [0, 12]}
    )
    tables["fields"] = pd.DataFrame({"field": ["income", "balance"], "missing": [0.05, 0.0]})
    tables["slices"] = pd.DataFrame({"kind": ["stage", "month"], "slice": ["1", "2026-05"], "decisions": [400, 200]}).assign(
        ratio=[1.02, 0.8], low=[0.95, 0.7], high=[1.1, 0.9]
    )
    tables["groups"] = pd.DataFrame(
        {
            "kind": ["region", "region", "region", "region", "vulnerable", "vulnerable"],
            "group": ["islands", "north", "south", "not shown, together", "False", "True"],
            "decisions": [np.nan, np.nan, 450.0, 150.0, 500.0, 100.0],
            "ratio": [np.nan, np.nan, 1.0, np.nan, 1.02, 0.9],
            "low": [np.nan, np.nan, 0.9, np.nan, 0.9, 0.7],
            "high": [np.nan, np.nan, 1.1, np.nan, 1.1, 1.1],
            "gain": [np.nan, np.nan, 5.0, np.nan, 5.2, 3.0],
            "gain_low": [np.nan, np.nan, 1.0, np.nan, 2.0, -1.0],
            "gain_high": [np.nan, np.nan, 9.0, np.nan, 8.0, 7.0],
            "complaints": [np.nan, np.nan, 3.0, np.nan, 2.5, 6.0],
            "complaints_low": [np.nan, np.nan, 1.0, np.nan, 1.0, 1.0],
            "complaints_high": [np.nan, np.nan, 8.0, np.nan, 7.0, 20.0],
        }
    )


def _scored(tables: dict[str, pd.DataFrame], facts: dict[str, object]) -> None:
    """Scores whose metrics are what the evidence says."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.95, KEPT)
    paid = (rng.random(KEPT) < p).astype(float)
    stage = np.where(np.arange(KEPT) < 5, np.nan, 1.0 + np.arange(KEPT) % 3)
    by = pd.DataFrame({"p": p, "paid": paid}).groupby(pd.Series(p).rank().sub(1).floordiv(KEPT / 10)).mean()
    tables["scores"] = pd.DataFrame({"predicted": p, "paid": paid, "stage": stage})
    tables["calibration"]["predicted"], tables["calibration"]["observed"] = by["p"].to_numpy(), by["paid"].to_numpy()
    facts["propensity_to_pay"] |= {  # type: ignore[operator]
        "auc": float(roc_auc_score(paid, p)),
        "brier": float(np.mean((p - paid) ** 2)),
    }


def _drivers(tables: dict[str, pd.DataFrame], facts: dict[str, object]) -> None:
    drivers = tables["drivers"]
    drivers["group"] = ["(the action itself)", "How late it is", *["Payment history", "Means"] * 7]
    drivers["mean_pp"] = np.linspace(3.0, -0.5, len(drivers))
    groups = drivers.groupby("group", sort=False)[["mean_abs_pp", "mean_pp"]].sum().reset_index()
    tables["driver_groups"] = groups.assign(mean_abs_money=10 * groups["mean_abs_pp"], mean_money=10 * groups["mean_pp"])
    facts["drivers"] = {
        "accounts": 300,
        "effect_pp": float(drivers["mean_pp"].sum()),
        "effect_money": float(10 * drivers["mean_pp"].sum()),
        "worst_gap_pp": 1e-14,
        "worst_gap_log_odds": 1e-13,
    }
    tables["dependence"] = pd.DataFrame(
        {"feature": "days_past_due", "from": [1.0, 30.0], "to": [29.0, 89.0], "accounts": [150, 150], "mean_pp": [0.4, -0.2]}
    )
    tables["refit_drivers"] = pd.DataFrame(
        {"group": ["Means", "Payment history"], "mean_abs_log_odds": [0.04, 0.03], "low": 0.01, "high": 0.08}
    )
    tables["refit_effects"] = pd.DataFrame(
        {"over": ["customers", "customers", "seeds", "seeds"], "action": ["sms", "call"] * 2, "refits": [21, 21, 5, 5]}
    ).assign(mean_pp=[1.0, 4.0, 1.1, 4.1], low=[0.2, 3.0, 1.0, 4.0], high=[1.9, 5.0, 1.2, 4.2])
    tables["flip_rates"] = pd.DataFrame({"lead_from": [0.0, 0.1], "accounts": [150, 150], "flip_rate": [0.4, 0.05]})
    facts["refits"] = {"refits": 20, "first_reason_flips": 0.22, "boosters_share": 0.31}
