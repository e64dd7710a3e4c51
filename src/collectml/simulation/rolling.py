"""From one snapshot to the next: who leaves, who rolls on, what history remembers, who arrives."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.simulation.cycle import HORIZON_DAYS, Played
from collectml.simulation.draws import Draws

__all__ = ["roll_forward"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_LAST_DAY = {"card": 180, "no_effect": 180, "charged_off": 1460}
"""Past this many days the account leaves: charged off, or sold."""


def _leaving(accounts: pd.DataFrame, played: Played, world: str) -> tuple[Bools, Floats, NDArray[np.int64]]:
    """Say who leaves, the balance that remains, and the new days past due."""
    balance, arrears = accounts["balance"].to_numpy(), accounts["arrears"].to_numpy()
    remaining = np.round(balance - played.recovered, 2)
    dpd = accounts["days_past_due"].to_numpy()
    if world == "charged_off":
        later = dpd + HORIZON_DAYS
        return played.settled | (remaining <= 0.0) | (later > _LAST_DAY[world]), remaining, later
    cured = played.recovered >= arrears - 0.005
    # whole instalments paid hold the clock back; one more falls due meanwhile
    held = np.floor(played.recovered / accounts["instalment"].to_numpy() + 1e-9).astype(np.int64) * HORIZON_DAYS
    later = np.maximum(dpd + HORIZON_DAYS - held, 1)
    return cured | played.settled | (remaining <= 0.0) | (later > _LAST_DAY[world]), remaining, later


def roll_forward(
    accounts: pd.DataFrame, latent: pd.DataFrame, played: Played, *, world: str, seed: int, cycle: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Move the staying accounts one cycle on.

    Parameters
    ----------
    accounts, latent : DataFrame
        The snapshot decided on, and what nobody sees.
    played : Played
        What came of it.
    world : str
    seed : int
    cycle : str
        Names the month just played.

    Returns
    -------
    accounts, latent : DataFrame
        Of the staying accounts only, default index. Balance after = balance before - payments of the cycle (interest is
        suspended, as is usual in arrears), arrears grow by one instalment, 90-day and 12-month counts fade by draws.
    """
    leaving, remaining, dpd = _leaving(accounts, played, world)
    draws = Draws(accounts["account_id"].to_numpy(), seed, cycle)
    col = {name: accounts[name].to_numpy() for name in accounts.columns if accounts[name].dtype.kind in "iufb"}
    paid, late = played.recovered > 0, world == "charged_off"
    owed = np.ceil(dpd / 30.0).astype(np.int64)
    arrears = (
        remaining if late else np.minimum(np.maximum(col["arrears"] - played.recovered, 0.0) + col["instalment"], remaining)
    )
    kept = played.promised & paid
    since = accounts["days_since_last_payment"].to_numpy(dtype=np.float64, na_value=np.nan)
    since = np.where(paid, HORIZON_DAYS - played.paid_on, since + HORIZON_DAYS)
    moved = np.where(paid, 7.0, -6.0) + 5.0 * draws.normal("score_step")
    hour = accounts["best_hour"].to_numpy(dtype=np.float64, na_value=np.nan)
    share = np.divide(remaining, col["balance"], out=np.ones_like(remaining), where=col["balance"] > 0)

    new = accounts.copy()
    new["as_of"] = accounts["as_of"] + pd.Timedelta(days=HORIZON_DAYS)
    new["balance"] = remaining
    new["arrears"] = np.round(arrears, 2)
    new["instalment"] = np.minimum(col["instalment"], remaining)
    new["days_past_due"], new["bucket"] = dpd, owed
    new["months_on_book"] = col["months_on_book"] + 1
    new["worst_dpd_12m"] = np.maximum(col["worst_dpd_12m"], dpd)
    for days in (30, 60, 90):
        crossed = (dpd >= days) & (col["days_past_due"] < days)
        new[f"times_{days}_12m"] = draws.binomial(f"fade_{days}", col[f"times_{days}_12m"], 11.0 / 12.0) + crossed
    new["behaviour_score"] = np.round(np.clip(col["behaviour_score"] + moved, 300, 850))
    new["utilisation"] = np.round(col["utilisation"] * share, 3)
    new["days_since_last_payment"] = pd.array(since).astype("Int64")
    new["payments_12m"] = np.minimum(draws.binomial("fade_payments", col["payments_12m"], 11.0 / 12.0) + paid, 12)
    new["promises_kept"] = col["promises_kept"] + kept
    new["promises_broken"] = col["promises_broken"] + (played.promised & ~paid)
    contacts = draws.binomial("fade_contacts", col["contacts_90d"], 2.0 / 3.0)
    responses = np.minimum(draws.binomial("fade_responses", col["responses_90d"], 2.0 / 3.0), contacts)
    new["contacts_90d"], new["responses_90d"] = contacts + played.attempts, responses + played.responses
    new["best_hour"] = pd.array(np.where(np.isnan(played.response_hour), hour, played.response_hour)).astype("Int64")
    new["complaint_open"] = played.complained
    if late:
        new["time_barred"] = col["time_barred"] | draws.flag("time_barred", 0.002)
    hidden = latent.copy()
    hidden["true_score"] = latent["true_score"].to_numpy() + moved
    stay = ~leaving
    return new[stay].reset_index(drop=True), hidden[stay].reset_index(drop=True)
