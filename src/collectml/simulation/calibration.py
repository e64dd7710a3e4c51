"""Every number the simulated world runs on: its value, its plausible range, where it comes from, and how far to trust it.

Quality: P paper or randomised trial, O official, W vendor or web, A our own assumption. Numbers marked ``unverified`` were
not re-read at their source. What has no trial behind it (letters, visits, settlements, complaints by action) is a range to run policies
across, not a fact.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from collectml.errors import ConfigurationError

__all__ = ["Parameter", "calibration", "calibration_table"]


@dataclass(frozen=True)
class Parameter:
    """One number of the simulated world.

    Parameters
    ----------
    value, low, high : float
        What the world uses, and the range a robustness run should cover.
    source : str
        Paper, official statistic, vendor text, or "assumption".
    quality : str
        "P", "O", "W", "A", or a mixture such as "P/A".
    note : str, default ""
        What exactly is meant, with its unit.
    """

    value: float
    low: float
    high: float
    source: str
    quality: str
    note: str = ""


_A = "assumption"
_MIX = "mortgage-servicing notes, labelled illustrative"
_CAMPBELL = "Campbell, Grant, Thorp (2022), J. Banking & Finance"
_LAUDENBACH = "Laudenbach et al., J. Finance"

_SHARED: dict[str, Parameter] = {
    "adherence": Parameter(0.95, 0.85, 1.0, _A, "A", "share of assigned actions that are carried out"),
    "email_itt": Parameter(0.024, 0.017, 0.031, _CAMPBELL, "P", "30-59 days late, delivered e-mail; low scores near 0"),
    "sms_itt": Parameter(0.015, 0.0, 0.03, "Barboni et al. (2022)", "P", "lateness x 0.96 at 38 % late"),
    "dial_decay": Parameter(
        0.70, 0.5, 0.9, "Neustar (x 0.5 after the 4th call)", "W/A", "reach of the next dial / this one"
    ),
    "hour_match": Parameter(1.6, 1.0, 2.0, _A, "A", "reach within an hour of the best hour / elsewhere"),
    "conversation_rate": Parameter(0.80, 0.6, 0.9, _A, "A", "conversation, given right-party contact"),
    "promise_rate": Parameter(0.30, 0.20, 0.35, "vendor text (promises per right-party contact)", "W", "given conversation"),
    "agent_sd": Parameter(0.06, 0.03, 0.09, _LAUDENBACH + " (84.5 % vs 71.6 %)", "P/A", "spread of agents, at 50 % paying"),
    "negative_share": Parameter(
        0.10, 0.05, 0.15, "Bracha & Meier (2015); Barboni et al. (2022)", "P/A", "harmed by a hard tone"
    ),
    "settlement_share": Parameter(0.60, 0.40, 0.80, "web (40-60 % of balance)", "W", "settled amount / balance, mean"),
    "plan_share": Parameter(0.60, 0.4, 0.8, _A, "A", "first plan instalment / arrears"),
    "complaint_base": Parameter(0.0024, 0.0002, 0.005, "CFPB 2014: 2.9 per 1,000 a year, x 10 internal", "A", "per 30 days"),
    "complaint_x_sms": Parameter(1.3, 1.0, 2.0, _A, "A"),
    "complaint_x_email": Parameter(1.1, 1.0, 2.0, _A, "A"),
    "complaint_x_letter": Parameter(1.3, 1.0, 2.0, _A, "A"),
    "complaint_x_soft_call": Parameter(1.6, 1.0, 3.0, _A, "A"),
    "complaint_x_firm_call": Parameter(5.0, 2.0, 8.0, _A, "A"),
    "complaint_x_payment_plan": Parameter(0.9, 0.5, 1.5, _A, "A"),
    "complaint_x_settlement_offer": Parameter(1.2, 0.8, 2.0, _A, "A"),
    "complaint_x_visit": Parameter(7.0, 3.0, 12.0, _A, "A"),
    "complaint_x_legal_letter": Parameter(5.0, 2.0, 8.0, _A, "A"),
    "complaint_x_vulnerable": Parameter(3.0, 1.5, 5.0, _A, "A"),
    "complaint_x_dispute": Parameter(3.0, 1.5, 5.0, _A, "A"),
    "cost_sms": Parameter(0.03, 0.01, 0.05, "industry price lists", "A", "USD"),
    "cost_email": Parameter(0.001, 0.0005, 0.005, "industry price lists", "A", "USD"),
    "cost_letter": Parameter(0.65, 0.50, 0.80, "CFPB (2016), unverified", "O", "USD"),
    "cost_dial": Parameter(0.45, 0.3, 0.6, "industry", "A", "USD per attempt"),
    "cost_minute": Parameter(0.95, 0.6, 1.4, "industry (right-party contact costs 5-10)", "A", "USD per talk minute"),
    "cost_visit": Parameter(35.0, 15.0, 60.0, "industry", "A", "USD"),
    "cost_legal_letter": Parameter(20.0, 5.0, 100.0, "industry (legal action costs 100-400; a letter less)", "A", "USD"),
    "minutes_dial": Parameter(0.8, 0.5, 1.5, _A, "A", "agent minutes of an attempt without talk"),
    "minutes_talk": Parameter(6.0, 4.0, 9.0, _A, "A", "agent minutes of a conversation"),
    "minutes_plan_talk": Parameter(9.0, 6.0, 14.0, _A, "A", "agent minutes of a plan negotiation"),
    "minutes_visit": Parameter(40.0, 20.0, 90.0, _A, "A", "field agent's minutes of a visit, travel included"),
    "late_share": Parameter(
        0.25, 0.1, 0.4, _A, "A", "payments due in the horizon by those who miss it, days 31-60 / chance of paying"
    ),
    "rate_dispute": Parameter(0.03, 0.02, 0.05, "FTC, unverified", "O", "share of accounts"),
    "rate_attorney": Parameter(0.007, 0.003, 0.02, _A, "A", "share of customers"),
    "rate_hardship": Parameter(0.06, 0.03, 0.12, _A, "A", "share of customers"),
    "rate_vulnerable": Parameter(0.05, 0.03, 0.10, _A, "A", "share of customers"),
    "multi_account_share": Parameter(0.08, 0.04, 0.15, _A, "A", "customers holding two or three accounts"),
    "capacity_call": Parameter(0.20, 0.15, 0.25, _A, "A", "share of accounts agents have time for"),
    "capacity_letter": Parameter(0.20, 0.15, 0.25, _A, "A", "share of accounts"),
    "capacity_digital": Parameter(0.60, 0.4, 1.0, _A, "A", "share of accounts, SMS and e-mail each"),
}

_CARD: dict[str, Parameter] = {
    "cure_stage_0": Parameter(0.80, 0.70, 0.90, _A, "A", "self-cure in 30 days, 1-29 days late"),
    "cure_stage_1": Parameter(0.62, 0.55, 0.70, _CAMPBELL + " (control 61.9 %)", "P", "30-59 days late"),
    "cure_stage_2": Parameter(0.30, 0.20, 0.40, _MIX, "W", "60-89 days late"),
    "cure_stage_3": Parameter(0.15, 0.10, 0.20, _MIX, "W", "90-119 days late"),
    "cure_stage_4": Parameter(0.07, 0.05, 0.10, _MIX, "W", "120 and more days late"),
    "letter_itt": Parameter(0.02, 0.01, 0.03, "assumption; sign Fellner et al. (2013)", "A", "30-59 days late"),
    "letter_itt_late": Parameter(0.015, 0.005, 0.03, _A, "A", "90 and more days late"),
    "sms_itt_late": Parameter(0.004, 0.0, 0.01, _A, "A", "90 and more days late"),
    "email_itt_late": Parameter(0.004, 0.0, 0.01, _A, "A", "90 and more days late"),
    "soft_call_itt": Parameter(0.11, 0.05, 0.15, _LAUDENBACH + " (+34 pp), shrunk", "P/A", "30-59 days late, callable"),
    "soft_call_itt_late": Parameter(0.025, 0.01, 0.04, _A, "A", "90 and more days late, callable"),
    "firm_call_itt": Parameter(0.10, 0.05, 0.15, _A, "A", "30-59 days late, callable"),
    "firm_call_itt_late": Parameter(0.035, 0.01, 0.04, _A, "A", "90 and more days late, callable"),
    "reach_dial": Parameter(0.40, 0.20, 0.55, "Indian telecallers 45-55 %", "W", "right party on the first dial, mean"),
    "settlement_uptake_early": Parameter(0.004, 0.0, 0.02, _A, "A", "paid settlements, given the letter is read"),
    "settlement_uptake": Parameter(0.05, 0.02, 0.10, _A, "A", "60-89 days late"),
    "settlement_uptake_late": Parameter(0.06, 0.03, 0.12, _A, "A", "90 and more days late"),
    "plan_uptake_early": Parameter(0.15, 0.05, 0.3, _A, "A", "paid first plan instalments, given conversation"),
    "plan_uptake": Parameter(0.30, 0.1, 0.4, _A, "A", "60-89 days late"),
    "plan_uptake_late": Parameter(0.28, 0.1, 0.4, _A, "A", "90 and more days late"),
    "balance_median": Parameter(2200.0, 1500.0, 3500.0, _A, "A", "USD, lognormal"),
    "balance_sigma": Parameter(0.9, 0.7, 1.2, _A, "A", "of log balance"),
    "instalment_share": Parameter(0.03, 0.02, 0.05, _A, "A", "minimum due / balance"),
    "full_payment_logit": Parameter(-1.7, -2.3, -1.1, _A, "A", "log-odds of the full balance against the arrears"),
    "inflow_share": Parameter(0.55, 0.4, 0.7, _A, "A", "accounts entering a month / accounts at the start"),
}

_CHARGED_OFF: dict[str, Parameter] = {
    "cure_stage_0": Parameter(
        0.060, 0.03, 0.10, "CFPB 2014 (10 % in-house), press 11-32 %", "W/A", "pays in 30 days, first year"
    ),
    "cure_stage_1": Parameter(0.040, 0.02, 0.06, _A, "A", "second year"),
    "cure_stage_2": Parameter(0.022, 0.01, 0.04, _A, "A", "later"),
    "letter_itt": Parameter(0.010, 0.0, 0.02, _A, "A", "first year"),
    "letter_itt_late": Parameter(0.006, 0.0, 0.01, _A, "A", "third year on"),
    "sms_itt": Parameter(0.004, 0.0, 0.01, _A, "A", "first year"),
    "sms_itt_late": Parameter(0.002, 0.0, 0.005, _A, "A", "third year on"),
    "email_itt": Parameter(0.004, 0.0, 0.01, _A, "A", "first year"),
    "email_itt_late": Parameter(0.002, 0.0, 0.005, _A, "A", "third year on"),
    "soft_call_itt": Parameter(0.018, 0.01, 0.04, _A, "A", "first year, callable"),
    "soft_call_itt_late": Parameter(0.010, 0.005, 0.02, _A, "A", "third year on, callable"),
    "firm_call_itt": Parameter(0.022, 0.01, 0.04, _A, "A", "first year, callable"),
    "firm_call_itt_late": Parameter(0.012, 0.005, 0.02, _A, "A", "third year on, callable"),
    "visit_itt": Parameter(0.045, 0.03, 0.10, "assumption; no trial found", "A", "first year"),
    "visit_itt_late": Parameter(0.035, 0.02, 0.10, "assumption; no trial found", "A", "third year on"),
    "legal_letter_itt": Parameter(0.035, 0.03, 0.10, "assumption; no trial found", "A", "first year"),
    "legal_letter_itt_late": Parameter(0.030, 0.02, 0.10, "assumption; no trial found", "A", "third year on"),
    "reach_dial": Parameter(
        0.15, 0.02, 0.30, "US third party 2-5 %, unverified; in-house higher", "W/A", "first dial, mean"
    ),
    "settlement_uptake_early": Parameter(0.006, 0.003, 0.02, _A, "A", "paid settlements, given the letter is read"),
    "settlement_uptake": Parameter(0.006, 0.003, 0.02, _A, "A", "second year"),
    "settlement_uptake_late": Parameter(0.004, 0.002, 0.02, _A, "A", "third year on"),
    "balance_median": Parameter(3200.0, 2000.0, 5000.0, _A, "A", "USD, lognormal"),
    "balance_sigma": Parameter(0.95, 0.7, 1.2, _A, "A", "of log balance"),
    "instalment_share": Parameter(0.025, 0.01, 0.05, _A, "A", "usual arrangement payment / balance"),
    "full_payment_logit": Parameter(
        -2.2, -3.0, -1.5, _A, "A", "log-odds of the full balance against an arrangement payment"
    ),
    "inflow_share": Parameter(0.04, 0.02, 0.08, _A, "A", "accounts entering a month / accounts at the start"),
    "capacity_visit": Parameter(0.03, 0.01, 0.05, _A, "A", "share of accounts"),
}

_WORLDS = {"card": _CARD, "charged_off": _CHARGED_OFF, "no_effect": _CARD}


def _parameters(world: str) -> dict[str, Parameter]:
    """All parameters of a world: the world's own win over the shared ones."""
    if world not in _WORLDS:
        raise ConfigurationError(f"unknown world {world!r}: choose one of {', '.join(sorted(_WORLDS))}")
    return _SHARED | _WORLDS[world]


def calibration(world: str = "card", overrides: Mapping[str, float] | None = None) -> dict[str, float]:
    """Give the numbers a world runs on.

    Parameters
    ----------
    world : {"card", "charged_off", "no_effect"}
    overrides : mapping of str to float, optional
        Values to use in place of the table's, to run a policy across the ranges.

    Returns
    -------
    dict of str to float

    Raises
    ------
    ConfigurationError
        For an unknown world or parameter (the nearest valid name is given), or a value that is no finite number.

    Examples
    --------
    >>> calibration("card", {"adherence": 0.9})["adherence"]
    0.9
    """
    values = {name: p.value for name, p in _parameters(world).items()}
    unknown = [name for name in overrides or {} if name not in values]
    if unknown:
        hints = [
            f"{name!r} (nearest: {', '.join(difflib.get_close_matches(name, values, 1)) or 'none'})" for name in unknown
        ]
        raise ConfigurationError(f"unknown calibration parameters in world {world!r}: {'; '.join(hints)}")
    for name, value in (overrides or {}).items():
        if not isinstance(value, int | float | np.number) or not np.isfinite(value):
            raise ConfigurationError(f"calibration parameter {name!r} must be a finite number, got {value!r}")
    return values | {name: float(value) for name, value in (overrides or {}).items()}


def calibration_table() -> pd.DataFrame:
    """List every parameter of every world with its range, source and quality.

    Returns
    -------
    DataFrame
        Columns ``world`` ("all", "card", "charged_off"), ``name``, ``value``, ``low``, ``high``, ``source``, ``quality``, ``note``.

    Examples
    --------
    >>> table = calibration_table()
    >>> bool(table["value"].between(table["low"], table["high"]).all())
    True
    """
    groups = {"all": _SHARED, "card": _CARD, "charged_off": _CHARGED_OFF}
    rows = [{"world": world, "name": name, **vars(p)} for world, group in groups.items() for name, p in group.items()]
    return pd.DataFrame(rows)
