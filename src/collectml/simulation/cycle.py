"""Playing one 30-day cycle: what is done, who is reached, who pays how much and when, who complains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.simulation.behaviour import (
    ACTIONS,
    DIALLER_HOURS,
    PROFILES,
    Book,
    Response,
    mean_lift,
    partial_range,
    payer_mix,
    respond,
    with_agent,
)
from collectml.simulation.draws import Draws
from collectml.simulation.truth import unit_costs

__all__ = ["HORIZON_DAYS", "Played", "play"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

HORIZON_DAYS = 30
_AGENTS = 40
_OUTCOMES = (
    "no_answer", "wrong_party", "right_party", "conversation", "promise", "refusal", "bounce", "delivered", "opened", "responded",
)  # fmt: skip
_NO_ANSWER, _WRONG, _RIGHT, _TALK, _PROMISE, _REFUSAL, _BOUNCE, _DELIVERED, _OPENED, _RESPONDED = range(10)


@dataclass(frozen=True)
class Played:
    """What came of one cycle: arrays by account (shape (n,)) and the logs.

    Parameters
    ----------
    executed : ndarray of int64
        Position of the action carried out.
    recovered, cost : ndarray
        Money within the horizon; realised cost.
    settled, complained, promised : ndarray of bool
    paid_on : ndarray of int64
        Day of the last payment within the horizon, 0 for none.
    attempts, responses : ndarray of int64
    response_hour : ndarray
        Hour of the last successful contact, missing for none.
    contacts, payments, complaints : DataFrame
    """

    executed: Ints
    recovered: Floats
    cost: Floats
    settled: Bools
    complained: Bools
    promised: Bools
    paid_on: Ints
    attempts: Ints
    responses: Ints
    response_hour: Floats
    contacts: pd.DataFrame
    payments: pd.DataFrame
    complaints: pd.DataFrame


def _agents(c: Mapping[str, float], seed: int) -> Floats:
    """Effects of the agents, centred so that truth needs no agent, bounded so that chances stay chances."""
    effect = c["agent_sd"] * Draws(np.arange(_AGENTS, dtype=np.int64), seed).normal("agent")
    return np.clip(effect - effect.mean(), -0.2, 0.2) - np.clip(effect - effect.mean(), -0.2, 0.2).mean()


def play(
    book: Book,
    customer_id: Ints,
    assigned: Ints,
    decided: NDArray[np.datetime64],
    *,
    c: Mapping[str, float],
    world: str,
    scales: Mapping[str, Floats],
    seed: int,
    cycle: str,
    observed_until: np.datetime64 | None = None,
) -> Played:
    """Play one cycle.

    Parameters
    ----------
    book : Book
    customer_id : ndarray of int64, shape (n,)
    assigned : ndarray of int64, shape (n,)
        Position of the assigned action.
    decided : ndarray of datetime64[us], shape (n,)
        Day of each decision.
    c, world, scales
        Calibration, world and its solved constants.
    seed : int
    cycle : str
        Names the month, so that months differ.
    observed_until : datetime64, optional
        When given, payments that miss the horizon are logged too, as far as they arrived by this day.

    Returns
    -------
    Played
    """
    n, actions = len(assigned), ACTIONS[world]
    draws = Draws(book.account_id, seed, cycle)
    carried = draws.flag("adherence", c["adherence"])
    executed = np.zeros(n, dtype=np.int64)
    for j, action in enumerate(actions[1:], start=1):
        executed[(assigned == j) & carried & book.usable[PROFILES[action].channel]] = j
    state = _State(n)
    rows: list[pd.DataFrame] = []
    agents = _agents(c, seed) if world != "no_effect" else np.zeros(_AGENTS)
    for j, action in enumerate(actions):
        where = np.flatnonzero(executed == j)
        if len(where):
            part = book.take(where)
            r = respond(action, part, c, world, scales)
            rows += _funnel(action, part, r, where, Draws(book.account_id[where], seed, cycle), state, agents, c)
    amount = np.where(state.uptake, np.round(state.offer, 2), 0.0)
    usual = _amounts(book, draws, c, world)
    amount = np.where(state.pays & ~state.uptake, usual, amount)
    paid = amount > 0
    day = state.last_day + np.ceil(_within(draws.uniform("pay_day"), HORIZON_DAYS - state.last_day, 9.0)).astype(np.int64)
    payments = _payments(book.account_id, amount, np.where(paid, day, 0), decided, draws)
    if observed_until is not None:
        late = ~paid & draws.flag("late", c["late_share"] * state.chance)
        late_day = HORIZON_DAYS + np.ceil(30 * draws.uniform("late_day")).astype(np.int64)
        more = _payments(book.account_id, np.where(late, usual, 0.0), late_day, decided, None)
        payments = pd.concat([payments, more[more["ts"] <= observed_until]], ignore_index=True)
    complained = draws.flag("complain", state.complains)
    return Played(
        executed=executed,
        recovered=amount,
        cost=np.round(state.cost, 4),
        settled=state.uptake & np.array([PROFILES[a].offer == "settlement" for a in actions])[executed],
        complained=complained,
        promised=state.promised,
        paid_on=np.where(paid, day, 0),
        attempts=state.attempts,
        responses=state.responses,
        response_hour=state.hour,
        contacts=_contact_frame(rows, book.account_id, customer_id, decided, actions),
        payments=payments.sort_values(["ts", "account_id"], kind="stable", ignore_index=True),
        complaints=_complaint_frame(book.account_id, complained, executed, decided, actions, draws),
    )


class _State:
    """Arrays the actions fill in, each for its own accounts."""

    def __init__(self, n: int) -> None:
        self.pays, self.uptake, self.promised = (np.zeros(n, dtype=bool) for _ in range(3))
        self.chance, self.offer, self.cost, self.complains = (np.zeros(n) for _ in range(4))
        self.last_day, self.attempts, self.responses = (np.zeros(n, dtype=np.int64) for _ in range(3))
        self.hour = np.full(n, np.nan)


def _funnel(
    action: str,
    part: Book,
    r: Response,
    where: NDArray[np.intp],
    draws: Draws,
    state: _State,
    agents: Floats,
    c: Mapping[str, float],
) -> list[pd.DataFrame]:
    """Play the funnel of one action on the accounts it is carried out for, and log each attempt."""
    n, channel = len(where), PROFILES[action].channel
    per_attempt, per_talk, _, minutes_talk = unit_costs(action, c)
    reached, talked = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    spoken = channel in ("call", "visit")
    day = np.zeros(n, dtype=np.int64)
    frames: list[pd.DataFrame] = []
    pending: list[tuple[NDArray[np.intp], Ints, Ints, Bools]] = []
    for k in range(r.dials.shape[1]):
        open_ = np.flatnonzero(~reached)
        step = 1 + np.floor(5 * draws.uniform(f"step/{k}")).astype(np.int64)
        day[open_] += step[open_]
        hour = DIALLER_HOURS[0] + np.floor(len(DIALLER_HOURS) * draws.uniform(f"dial_hour/{k}")).astype(np.int64)
        chance = r.dials[:, k]
        if channel == "call":
            near = np.abs(hour - part.hour) <= 1.0
            chance = chance * (np.where(near, c["hour_match"], 1.0) / mean_lift(part, c))
        hit = draws.flag(f"reach/{k}", chance)
        pending.append((open_, day[open_].copy(), hour[open_], hit[open_]))
        reached[open_] |= hit[open_]
        state.attempts[where[open_]] += 1
        state.hour[where[open_[hit[open_]]]] = hour[open_[hit[open_]]]
    talked = reached & draws.flag("talk", r.talks)
    agent = agents[np.minimum((_AGENTS * draws.uniform("agent")).astype(np.int64), _AGENTS - 1)]
    moved = with_agent(r.pays_moved, agent) if channel == "call" else r.pays_moved
    chance_pays = np.where(talked, moved, r.pays)
    uptake = talked & draws.flag("uptake", r.takes_up)
    pays = uptake | draws.flag("pay", chance_pays)
    rate = np.where(pays, 1.25, 0.7) * c["promise_rate"]
    promised = spoken & talked & (uptake | draws.flag("promise", rate))
    refused = spoken & talked & ~promised & ~pays & draws.flag("refuse", 0.35)
    talk_minutes = np.where(talked, minutes_talk * np.exp(0.4 * draws.normal("talk_minutes") - 0.08), 0.0)
    if channel == "visit":
        talk_minutes = np.where(talked, 12.0 * np.exp(0.4 * draws.normal("talk_minutes") - 0.08), 0.0)
    end_outcome = np.where(promised, _PROMISE, np.where(refused, _REFUSAL, np.where(talked, _TALK, _RIGHT)))
    if not spoken:
        end_outcome = np.where(draws.flag("answers", 0.2), _RESPONDED, _OPENED)
    for k, (rows, days, hours, hit) in enumerate(pending):
        u = draws.uniform(f"miss/{k}")[rows]
        missed = np.where(u < 0.1, _WRONG, _NO_ANSWER) if spoken else np.where(u < 0.06, _BOUNCE, _DELIVERED)
        talk = np.where(hit, talk_minutes[rows], 0.0) if spoken else np.full(len(rows), np.nan)
        frames.append(
            pd.DataFrame(
                {
                    "row": where[rows],
                    "action": np.full(len(rows), list(PROFILES).index(action)),
                    "day": days,
                    "hour": hours,
                    "minute": np.floor(60 * draws.uniform(f"minute/{k}")[rows]).astype(np.int64),
                    "outcome": np.where(hit, end_outcome[rows], missed),
                    "talk_minutes": np.round(talk, 2),
                    "cost": np.round(per_attempt + (talk * per_talk / minutes_talk if per_talk else 0.0), 4),
                }
            )
        )
    state.chance[where], state.pays[where], state.uptake[where] = chance_pays, pays, uptake
    state.offer[where], state.promised[where], state.last_day[where] = r.offer, promised, day
    state.complains[where], state.responses[where] = r.complains, reached
    state.cost[where] = state.attempts[where] * per_attempt + (talk_minutes * per_talk / minutes_talk if per_talk else 0.0)
    return frames


def _within(u: Floats, span: Ints, mean: float) -> Floats:
    """Exponential delay cut at `span` days, in (0, span]."""
    return -mean * np.log1p(-u * -np.expm1(-span / mean))


def _amounts(book: Book, draws: Draws, c: Mapping[str, float], world: str) -> Floats:
    """Draw what each account pays if it pays of itself: an instalment, the arrears, something between, or all."""
    shares, amounts = payer_mix(book, c, world)
    kind = np.minimum((draws.uniform("amount_kind")[:, None] > np.cumsum(shares, axis=1)).sum(axis=1), 3)
    low, top = partial_range(book)
    between = low + (top - low) * (1.0 - (1.0 - draws.uniform("amount")) ** 0.2)
    fixed = np.take_along_axis(amounts, kind[:, None], axis=1)[:, 0]
    return np.clip(np.round(np.where(kind == 2, between, fixed), 2), 0.01, book.balance)


def _payments(
    account_id: Ints, amount: Floats, day: Ints, decided: NDArray[np.datetime64], draws: Draws | None
) -> pd.DataFrame:
    """Log payments; some larger ones come in two parts, both within the horizon. Without draws: after the horizon."""
    rows = np.flatnonzero(amount > 0)
    first = amount[rows].copy()
    days, inside = day[rows], draws is not None
    parts = [(rows, first, days)]
    if draws is not None:
        twice = draws.flag("two_parts", 0.12)[rows] & (first > 200.0) & (days < HORIZON_DAYS)
        second = np.round(first[twice] * 0.4, 2)
        first[twice] = np.round(first[twice] - second, 2)
        earlier = np.maximum(1, days[twice] - 5)
        days = days.copy()
        parts = [(rows, first, days), (rows[twice], second, days[twice])]
        days[twice] = earlier
    who, money, when = (np.concatenate([p[i] for p in parts]) for i in range(3))
    decided_at = decided[who] if inside else np.full(len(who), np.datetime64("NaT"), dtype="datetime64[us]")
    return pd.DataFrame(
        {
            "ts": decided[who] + when.astype("timedelta64[D]"),
            "account_id": account_id[who],
            "amount": money,
            "reversal": np.zeros(len(who), dtype=bool),
            "decided_at": decided_at,
        }
    )


def _names(codes: Ints, levels: tuple[str, ...]) -> pd.Series:
    return pd.Series(np.array([name or None for name in levels], dtype=object)[codes], dtype="str")


def _contact_frame(
    frames: list[pd.DataFrame],
    account_id: Ints,
    customer_id: Ints,
    decided: NDArray[np.datetime64],
    actions: tuple[str, ...],
) -> pd.DataFrame:
    """Put the attempts of all actions in order of time."""
    empty = pd.DataFrame(
        {name: np.zeros(0, dtype=np.int64) for name in ("row", "action", "day", "hour", "minute", "outcome")}
    )
    log = pd.concat(frames, ignore_index=True) if frames else empty.assign(talk_minutes=0.0, cost=0.0)
    row, code = log["row"].to_numpy(), log["action"].to_numpy()
    days, hours = log["day"].to_numpy().astype("timedelta64[D]"), log["hour"].to_numpy()
    names = tuple(PROFILES)
    ts = decided[row] + days + (60 * hours + log["minute"].to_numpy()).astype("timedelta64[m]")
    order = np.lexsort((account_id[row], ts))
    row, code = row[order], code[order]
    return pd.DataFrame(
        {
            "ts": ts[order],
            "account_id": account_id[row],
            "customer_id": customer_id[row],
            "action": _names(code, names),
            "channel": _names(code, tuple(PROFILES[name].channel for name in names)),
            "tone": _names(code, tuple(PROFILES[name].tone for name in names)),
            "hour": hours[order],
            "outcome": _names(log["outcome"].to_numpy()[order], _OUTCOMES),
            "talk_minutes": log["talk_minutes"].to_numpy()[order],
            "cost": log["cost"].to_numpy()[order],
        }
    )


def _complaint_frame(
    account_id: Ints,
    complained: Bools,
    executed: Ints,
    decided: NDArray[np.datetime64],
    actions: tuple[str, ...],
    draws: Draws,
) -> pd.DataFrame:
    rows = np.flatnonzero(complained)
    day = 1 + np.floor(HORIZON_DAYS * draws.uniform("complaint_day"))[rows].astype(np.int64)
    frame = pd.DataFrame(
        {
            "ts": decided[rows] + day.astype("timedelta64[D]"),
            "account_id": account_id[rows],
            "channel": _names(executed[rows], tuple(PROFILES[name].channel for name in actions)),
            "upheld": draws.flag("upheld", 0.3)[rows],
        }
    )
    return frame.sort_values(["ts", "account_id"], kind="stable", ignore_index=True)
