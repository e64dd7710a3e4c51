"""The known truth: what every action would bring for every account, in expectation, had it been assigned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.simulation.behaviour import ACTIONS, PROFILES, Book, Response, payer_mix, respond

__all__ = ["Truth", "unit_costs"]

Floats = NDArray[np.float64]


def unit_costs(action: str, c: Mapping[str, float]) -> tuple[float, float, float, float]:
    """Price an action: cost of an attempt, cost of a talk, agent minutes of an attempt, agent minutes of a talk."""
    channel = PROFILES[action].channel
    if channel == "call":
        talk = c["minutes_plan_talk"] if PROFILES[action].offer else c["minutes_talk"]
        return c["cost_dial"], talk * c["cost_minute"], c["minutes_dial"], talk
    if channel == "visit":
        return c["cost_visit"], 0.0, c["minutes_visit"], 0.0
    return (c["cost_legal_letter"] if action == "legal_letter" else c[f"cost_{channel}"] if channel else 0.0), 0.0, 0.0, 0.0


@dataclass(frozen=True)
class Truth:
    """Expected outcomes of every action, intention to treat: frames accounts x actions.

    Parameters
    ----------
    recovered, paid, cost, complaints, minutes : DataFrame
        Money recovered and chance of paying within the horizon, cost in money, complaints, agent minutes.
    """

    recovered: pd.DataFrame
    paid: pd.DataFrame
    cost: pd.DataFrame
    complaints: pd.DataFrame
    minutes: pd.DataFrame

    @classmethod
    def of(cls, book: Book, c: Mapping[str, float], world: str, scales: Mapping[str, Floats]) -> Truth:
        """Compute the truth of a book."""
        actions = ACTIONS[world]
        shares, amounts = payer_mix(book, c, world)
        typical = (shares * amounts).sum(axis=1)
        nothing = respond("no_action", book, c, world, scales)
        out = np.empty((5, len(actions), len(book.stage)))
        for j, action in enumerate(actions):
            r = respond(action, book, c, world, scales)
            if action == "no_action":
                out[:, j] = 0.0
                out[0, j], out[1, j], out[3, j] = nothing.pays * typical, nothing.pays, nothing.complains
                continue
            done = np.where(r.available, c["adherence"], 0.0)
            out[:, j] = _carried_out(r, action, c, typical)
            out[:, j] *= done
            for k in (0, 1, 3):
                out[k, j] += (1.0 - done) * out[k, 0]
        index = pd.Index(book.account_id, name="account_id")
        frames = [pd.DataFrame(matrix.T, index=index, columns=list(actions)) for matrix in out]
        return cls(*frames)


def _carried_out(r: Response, action: str, c: Mapping[str, float], typical: Floats) -> Floats:
    """Expect recovered, paid, cost, complaints and minutes if the action is carried out, shape (5, n)."""
    talk = r.reached * r.talks
    unasked, moved = (1.0 - talk) * r.pays, talk * (1.0 - r.takes_up) * r.pays_moved
    per_attempt, per_talk, minutes_attempt, minutes_talk = unit_costs(action, c)
    return np.stack(
        [
            (unasked + moved) * typical + talk * r.takes_up * r.offer,
            unasked + moved + talk * r.takes_up,
            r.attempts * per_attempt + talk * per_talk,
            r.complains,
            r.attempts * minutes_attempt + talk * minutes_talk,
        ]
    )
