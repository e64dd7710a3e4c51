"""Today's rules: what a competent collections manager does without a model, and how past decisions were logged.

By bucket, score and balance, within capacity: reminders where people mostly pay by themselves, agents' time by balance in the
middle, a firm tone for late large balances, plans for hardship, settlements where ability is low.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.simulation.behaviour import ACTIONS, PROFILES
from collectml.simulation.draws import Draws
from collectml.simulation.population import stage_of

__all__ = ["PLANNING_MINUTES", "logging_probabilities", "rules_assignment"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

PLANNING_MINUTES = {"soft_call": 4.5, "firm_call": 4.5, "payment_plan": 6.5}
"""Agent minutes a manager plans for one account called; the simulated world's average."""

_STOP_FLAGS = (
    "attorney",
    "cease",
    "bankruptcy",
    "deceased",
    "breathing_space",
    "fraud",
    "dispute",
    "complaint_open",
    "time_barred",
)


def _world_of(accounts: pd.DataFrame) -> str:
    """Read the world off the lateness: charged-off accounts are more than 180 days late."""
    return "charged_off" if len(accounts) and int(accounts["days_past_due"].min()) > 180 else "card"


def _usable(accounts: pd.DataFrame) -> dict[str, Bools]:
    held = {"call": "has_phone", "sms": "has_mobile", "email": "has_email", "letter": "has_address", "visit": "has_address"}
    clear = ~accounts[list(_STOP_FLAGS)].to_numpy(dtype=bool).any(axis=1)
    return {
        ch: clear
        & accounts[column].to_numpy(dtype=bool)
        & accounts[f"consent_{ch}"].to_numpy(dtype=bool)
        & ~accounts[f"optout_{ch}"].to_numpy(dtype=bool)
        for ch, column in held.items()
    }


def _score(accounts: pd.DataFrame) -> Floats:
    score = accounts["behaviour_score"].to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isnan(score), 620.0, score)


def _wishes(accounts: pd.DataFrame, world: str, usable: dict[str, Bools]) -> list[tuple[str, Bools, Floats]]:
    """List today's rules in order: the action, whom it is meant for, and who comes first when capacity is short."""
    stage = stage_of(accounts["days_past_due"].to_numpy(), world)
    balance = accounts["balance"].to_numpy(dtype=np.float64)
    score = _score(accounts)
    income = accounts["income"].to_numpy(dtype=np.float64, na_value=np.nan)
    low_ability = (accounts["utilisation"].to_numpy(dtype=np.float64) > 0.9) | (np.nan_to_num(income, nan=2600.0) < 1900.0)
    hardship, vulnerable = accounts["hardship"].to_numpy(dtype=bool), accounts["vulnerable"].to_numpy(dtype=bool)
    small = np.log(balance)
    if world == "charged_off":
        return [
            ("settlement_offer", (balance > 2500) & low_ability & ~vulnerable & (stage >= 1), balance),
            ("visit", (balance > 6000) & ~low_ability & ~vulnerable & ~hardship & (stage == 0), balance),
            ("legal_letter", (balance > 3000) & ~low_ability & ~vulnerable & ~hardship, balance),
            ("soft_call", (balance > 1500) & (hardship | vulnerable | (stage == 0)), balance),
            ("firm_call", (balance > 1500) & ~vulnerable & ~hardship, balance),
            ("letter", balance > 800, balance),
            ("sms", np.ones(len(balance), dtype=bool), small),
            ("email", np.ones(len(balance), dtype=bool), small),
        ]
    return [
        ("payment_plan", hardship & (stage >= 1), balance),
        ("settlement_offer", (stage >= 2) & low_ability & ~vulnerable & (balance > 1200), balance),
        ("firm_call", (stage >= 2) & ~vulnerable & ~hardship & (balance > 3000) & (score < 680), balance),
        ("soft_call", (stage == 1) & (balance > 1000) & (score < 700), balance),
        ("soft_call", (stage == 0) & (score < 600) & (balance > 3000), balance),
        ("letter", (stage >= 2) | ((stage == 1) & (balance > 1000)), balance),
        ("email", (stage <= 1) & (score >= 650), small),
        ("sms", np.ones(len(balance), dtype=bool), small),
        ("email", np.ones(len(balance), dtype=bool), small),
    ]


def rules_assignment(accounts: pd.DataFrame, capacity: pd.DataFrame | None = None) -> pd.Series:
    """Assign actions by today's rules.

    Parameters
    ----------
    accounts : DataFrame, length n
        A snapshot; its contact flags are honoured.
    capacity : DataFrame, optional
        The capacity calendar; without it nothing is scarce.

    Returns
    -------
    Series of str, length n
        Index account id, name ``"action"``. Whoever no rule or no capacity reaches gets ``no_action``.

    Examples
    --------
    >>> from collectml.simulation import make_portfolio
    >>> p = make_portfolio(500, random_state=0)
    >>> bool(rules_assignment(p.accounts, p.capacity).isin(p.actions).all())
    True
    """
    world, n = _world_of(accounts), len(accounts)
    usable = _usable(accounts)
    left: dict[str, float] = {}
    if capacity is not None:
        left = {str(ch): float(total) for ch, total in capacity.groupby("channel")["capacity"].sum().items()}
    chosen = np.full(n, -1, dtype=np.int64)
    tie = accounts["account_id"].to_numpy()
    for action, wanted, priority in _wishes(accounts, world, usable):
        channel = PROFILES[action].channel
        rows = np.flatnonzero((chosen < 0) & wanted & usable[channel])
        rows = rows[np.lexsort((tie[rows], -priority[rows]))]
        if channel in left:
            each = PLANNING_MINUTES.get(action, 1.0) if channel == "call" else 1.0
            rows = rows[: int(left[channel] // each)]
            left[channel] -= each * len(rows)
        chosen[rows] = ACTIONS[world].index(action)
    names = np.array(ACTIONS[world], dtype=object)[np.maximum(chosen, 0)]
    return pd.Series(names, index=pd.Index(tie, name="account_id"), name="action", dtype="str")


def logging_probabilities(accounts: pd.DataFrame, logging: str, world: str) -> Floats:
    """Give the probabilities with which past decisions were taken, shape (n, A), rows summing to one.

    ``"randomised"``: no action 20 %, the rest in equal shares, for everyone. ``"confounded"``: today's rules with noise, so
    that bad payers get hard actions and good ones reminders; it reads observed fields only, and no action falls below 0.8 %.
    """
    actions = ACTIONS[world]
    n, many = len(accounts), len(actions)
    if logging == "randomised":
        row = np.full(many, 0.8 / (many - 1))
        row[0] = 0.2
        return np.tile(row, (n, 1))
    usual = rules_assignment(accounts).to_numpy()
    late = (accounts["days_past_due"].to_numpy() - (60.0 if world != "charged_off" else 500.0)) / (
        40.0 if world != "charged_off" else 250.0
    )
    poor = (630.0 - _score(accounts)) / 70.0
    large = np.log(accounts["balance"].to_numpy(dtype=np.float64) / 2200.0)
    hardness = {"no_action": -0.5, "sms": -0.6, "email": -0.7, "letter": 0.0, "soft_call": 0.1, "firm_call": 0.8,
                "payment_plan": 0.3, "settlement_offer": 0.6, "visit": 0.9, "legal_letter": 0.8}  # fmt: skip
    utility = np.stack(
        [
            1.6 * (usual == a)
            + hardness[a] * (0.7 * late + 0.5 * poor)
            + (0.4 * large if PROFILES[a].channel in ("call", "visit") else 0.0)
            for a in actions
        ],
        axis=1,
    )
    utility = np.exp(np.clip(utility, -6.0, 6.0))
    floor = 0.008
    return floor + (1.0 - many * floor) * utility / utility.sum(axis=1, keepdims=True)


def draw_actions(probabilities: Floats, draws: Draws) -> tuple[Ints, Floats]:
    """Draw one action per row and give its probability, shapes (n,) and (n,)."""
    edges = np.cumsum(probabilities, axis=1)
    position = np.minimum((draws.uniform("logging")[:, None] > edges).sum(axis=1), probabilities.shape[1] - 1)
    return position, np.take_along_axis(probabilities, position[:, None], axis=1)[:, 0]
