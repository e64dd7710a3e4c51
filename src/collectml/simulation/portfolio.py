"""A portfolio with its logs, its known truth, and the means to play the months that follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.data.schema import FEATURES
from collectml.errors import ConfigurationError
from collectml.simulation.anchors import solve_scales
from collectml.simulation.behaviour import ACTIONS, Book
from collectml.simulation.calibration import calibration as calibration_of
from collectml.simulation.cycle import HORIZON_DAYS, Played, play
from collectml.simulation.draws import Draws
from collectml.simulation.population import draw_accounts, draw_customers
from collectml.simulation.rolling import roll_forward
from collectml.simulation.rules import PLANNING_MINUTES, draw_actions, logging_probabilities
from collectml.simulation.truth import Truth

__all__ = ["Portfolio", "make_portfolio"]

_FIRST_ACCOUNT = 10_000_001
_FIRST_CUSTOMER = 50_000_001
_AS_OF = pd.Timestamp("2026-06-30")
_LOGGED_CYCLES = 6


@runtime_checkable
class HasFrame(Protocol):
    """An assignment: anything whose ``frame()`` has ``account_id``, ``action`` and perhaps ``probability``."""

    def frame(self) -> pd.DataFrame:
        """Give the assignment as a frame."""
        ...


@dataclass(frozen=True)
class _World:
    """What a portfolio's future is played from; not for users."""

    name: str
    seed: int
    calibration: Mapping[str, float]
    latent: pd.DataFrame
    size_at_start: int
    next_account: int
    next_customer: int
    month: int

    @property
    def scales(self) -> dict[str, NDArray[np.float64]]:
        return solve_scales(self.calibration, self.name)


@dataclass(frozen=True)
class Portfolio:
    """A simulated portfolio: what a collector sees, and the truth that only a simulator knows.

    Parameters
    ----------
    accounts : DataFrame
        The snapshot, one row an account.
    decisions, contacts, payments, complaints : DataFrame
        The logs. From :func:`make_portfolio`: one logged decision for each account of the snapshot, in order of date. From
        :meth:`realise`: the cycle just played, so ``decisions`` also holds accounts that have left since.
    capacity : DataFrame
        The capacity calendar of the 30 days from ``as_of``.
    truth : DataFrame
        Index account id, columns actions: expected money recovered within 30 days, had the action been assigned
        (intention to treat, money).
    truth_paid, truth_cost, truth_complaints, truth_minutes : DataFrame
        Likewise: chance of paying, expected cost (money), expected complaints, expected agent minutes.
    actions : tuple of str
        The catalogue; the first is the control.
    as_of : Timestamp
        Day of the snapshot.
    """

    accounts: pd.DataFrame
    decisions: pd.DataFrame
    contacts: pd.DataFrame
    payments: pd.DataFrame
    complaints: pd.DataFrame
    capacity: pd.DataFrame
    truth: pd.DataFrame
    truth_paid: pd.DataFrame
    truth_cost: pd.DataFrame
    truth_complaints: pd.DataFrame
    truth_minutes: pd.DataFrame
    actions: tuple[str, ...]
    as_of: pd.Timestamp
    _world: _World = field(repr=False)

    def realise(self, assignment: pd.Series | pd.DataFrame | HasFrame, *, random_state: int | None = None) -> Portfolio:
        """Play one 30-day cycle under an assignment.

        Parameters
        ----------
        assignment : Series, DataFrame or object with ``frame()``
            Series: index account id, values action names. Frame: columns ``account_id``, ``action`` and, where known,
            ``probability`` (logged as ``logging_propensity``; otherwise 1). Accounts it does not name get ``no_action``.
        random_state : int, optional
            Another run of luck for this cycle. By default luck belongs to the portfolio: an account meets the same chances
            under every policy, so that policies are compared like with like.

        Returns
        -------
        Portfolio
            The next snapshot with its truth, and the logs of the cycle just played. Cured, settled, fully paid and (in the card
            world, past 180 days) charged-off accounts have left; a fixed number of new accounts, a share ``inflow_share`` of
            the first book's size, has arrived.

        Raises
        ------
        ValueError
            For unknown actions or accounts, accounts named twice, or probabilities outside (0, 1]: all of them at once.

        Examples
        --------
        >>> p = make_portfolio(300, random_state=1)
        >>> q = p.realise(p.truth.idxmax(axis=1))
        >>> (q.as_of - p.as_of).days
        30
        """
        w = self._world
        position, propensity = _read_assignment(assignment, self.accounts["account_id"], self.actions)
        book = Book.of(self.accounts, w.latent, w.name)
        decided = np.full(len(self.accounts), self.as_of.to_datetime64()).astype("datetime64[us]")
        luck = f"month {w.month}" if random_state is None else f"month {w.month} again {random_state}"
        played = play(
            book, self.accounts["customer_id"].to_numpy(), position, decided,
            c=w.calibration, world=w.name, scales=w.scales, seed=w.seed, cycle=luck,
        )  # fmt: skip
        decisions = _decision_frame(self.accounts, position, propensity, decided, played, self.actions)
        accounts, latent = roll_forward(self.accounts, w.latent, played, world=w.name, seed=w.seed, cycle=luck)
        as_of = self.as_of + pd.Timedelta(days=HORIZON_DAYS)
        arriving = round(w.calibration["inflow_share"] * w.size_at_start)
        ids = w.next_account + np.arange(arriving, dtype=np.int64)
        customers = draw_customers(arriving, w.next_customer, w.calibration["multi_account_share"], w.seed, luck)
        new, new_latent = draw_accounts(
            ids, customers, world=w.name, c=w.calibration, seed=w.seed, as_of=as_of, entering=True
        )
        world = replace(
            w, latent=pd.concat([latent, new_latent], ignore_index=True), next_account=w.next_account + arriving,
            next_customer=w.next_customer + arriving, month=w.month + 1,
        )  # fmt: skip
        return _assemble(pd.concat([accounts, new], ignore_index=True), decisions, played, as_of, world)


def make_portfolio(
    n_accounts: int = 10_000,
    *,
    world: str = "card",
    logging: str = "randomised",
    random_state: int | None = None,
    calibration: Mapping[str, float] | None = None,
) -> Portfolio:
    """Make a portfolio with a decision log and known truth.

    Parameters
    ----------
    n_accounts : int, default 10_000
    world : {"card", "charged_off", "no_effect"}, default "card"
        Early-stage cards; charged-off debt; the card world in which no action changes anything.
    logging : {"randomised", "confounded"}, default "randomised"
        How past decisions were taken: at random with known probabilities, or by today's rules with noise (observed fields only).
        Either way the probabilities are recorded, and every action has a positive one for every account.
    random_state : int, optional
        Same number, same portfolio.
    calibration : mapping of str to float, optional
        Values in place of those of :func:`calibration_table`, to run a policy across their ranges.

    Returns
    -------
    Portfolio
        Decisions date from the six monthly cycles before ``as_of``, all with their 30 days passed. Payments that came later than
        that are in ``payments`` (``decided_at`` missing) but not in ``recovered``.

    Raises
    ------
    ConfigurationError
        For an unknown world, logging or calibration parameter.
    ValueError
        For a number of accounts that is not whole, or below one.

    Examples
    --------
    >>> p = make_portfolio(200, random_state=7)
    >>> p.truth.shape, p.actions[0], int(p.accounts["account_id"].min())
    ((200, 8), 'no_action', 10000001)
    >>> bool((p.truth.loc[p.decisions["account_id"]].index == p.decisions["account_id"]).all())
    True
    """
    c = calibration_of(world, calibration)
    if logging not in ("randomised", "confounded"):
        raise ConfigurationError(f"unknown logging {logging!r}: choose randomised or confounded")
    if isinstance(n_accounts, bool) or not isinstance(n_accounts, int | np.integer) or n_accounts < 1:
        raise ValueError(f"n_accounts must be a whole number, at least 1, got {n_accounts!r}")
    seed = int(np.random.SeedSequence().generate_state(1)[0]) if random_state is None else int(random_state)
    ids = _FIRST_ACCOUNT + np.arange(n_accounts, dtype=np.int64)
    customers = draw_customers(n_accounts, _FIRST_CUSTOMER, c["multi_account_share"], seed, "")
    accounts, latent = draw_accounts(ids, customers, world=world, c=c, seed=seed, as_of=_AS_OF)
    draws = Draws(ids, seed, "logged")
    position, propensity = draw_actions(logging_probabilities(accounts, logging, world), draws)
    cycles = 1 + np.floor(_LOGGED_CYCLES * draws.uniform("cycle")).astype(np.int64)
    decided = _AS_OF.to_datetime64().astype("datetime64[us]") - (HORIZON_DAYS * cycles).astype("timedelta64[D]")
    book = Book.of(accounts, latent, world)
    w = _World(world, seed, c, latent, n_accounts, _FIRST_ACCOUNT + n_accounts, _FIRST_CUSTOMER + n_accounts, 0)
    played = play(
        book, customers, position, decided,
        c=c, world=world, scales=w.scales, seed=seed, cycle="logged", observed_until=_AS_OF.to_datetime64(),
    )  # fmt: skip
    decisions = _decision_frame(accounts, position, propensity, decided, played, ACTIONS[world])
    return _assemble(accounts, decisions, played, _AS_OF, w, book)


def _assemble(
    accounts: pd.DataFrame, decisions: pd.DataFrame, played: Played, as_of: pd.Timestamp, w: _World, book: Book | None = None
) -> Portfolio:
    """Put snapshot, logs, capacity and truth together."""
    truth = Truth.of(book or Book.of(accounts, w.latent, w.name), w.calibration, w.name, w.scales)
    return Portfolio(
        accounts=accounts,
        decisions=decisions,
        contacts=played.contacts,
        payments=played.payments,
        complaints=played.complaints,
        capacity=_capacity(w, as_of),
        truth=truth.recovered,
        truth_paid=truth.paid,
        truth_cost=truth.cost,
        truth_complaints=truth.complaints,
        truth_minutes=truth.minutes,
        actions=ACTIONS[w.name],
        as_of=as_of,
        _world=w,
    )


def _decision_frame(
    accounts: pd.DataFrame,
    position: NDArray[np.int64],
    propensity: NDArray[np.float64],
    decided: NDArray[np.datetime64],
    played: Played,
    actions: tuple[str, ...],
) -> pd.DataFrame:
    """Write the decision log, in order of date."""
    names = np.array(actions, dtype=object)
    frame = pd.DataFrame(
        {
            "account_id": accounts["account_id"],
            "customer_id": accounts["customer_id"],
            "decided_at": decided,
            "action": pd.Series(names[position], dtype="str"),
            "logging_propensity": propensity,
            "paid": (played.recovered > 0).astype(np.int8),
            "recovered": played.recovered,
            "complained": played.complained.astype(np.int8),
            "cost": played.cost,
            "executed_action": pd.Series(names[played.executed], dtype="str"),
        }
        | {name: accounts[name] for name in FEATURES}
    )
    return frame.sort_values(["decided_at", "account_id"], kind="stable", ignore_index=True)


def _read_assignment(
    assignment: pd.Series | pd.DataFrame | HasFrame, account_id: pd.Series, actions: tuple[str, ...]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Read an assignment into positions and probabilities, aligned with the snapshot by account id."""
    if isinstance(assignment, pd.Series):
        frame = pd.DataFrame({"account_id": assignment.index, "action": assignment.to_numpy()})
    else:
        frame = assignment if isinstance(assignment, pd.DataFrame) else assignment.frame()
    lacking = [name for name in ("account_id", "action") if name not in frame.columns]
    if lacking:
        raise ValueError(f"the assignment lacks the columns {', '.join(lacking)}")
    frame = frame[frame["action"].notna()]
    who, what = pd.Index(frame["account_id"]), pd.Index(frame["action"])
    row, column = pd.Index(account_id).get_indexer(who), pd.Index(actions).get_indexer(what)
    chance = pd.to_numeric(frame.get("probability", pd.Series(1.0, index=frame.index)), errors="coerce").to_numpy(np.float64)
    faults = []
    if (column < 0).any():
        unknown = ", ".join(sorted({repr(name) for name in what[column < 0].tolist()}))
        faults.append(f"unknown actions {unknown}: this world knows {', '.join(actions)}")
    if who.has_duplicates:
        faults.append(f"accounts assigned twice, for instance {who[who.duplicated()][:3].tolist()}")
    if (row < 0).any():
        strange = who[row < 0][:3].tolist()
        faults.append(f"{int((row < 0).sum())} assigned accounts are not in the snapshot, for instance {strange}")
    if not ((chance > 0) & (chance <= 1)).all():
        faults.append("probabilities of assigned actions must lie in (0, 1]")
    if faults:
        raise ValueError("; ".join(faults))
    position, propensity = np.zeros(len(account_id), dtype=np.int64), np.ones(len(account_id))
    position[row], propensity[row] = column, chance
    return position, propensity


def _capacity(w: _World, as_of: pd.Timestamp) -> pd.DataFrame:
    """Write the capacity calendar of the next cycle: agents and letters are scarce, messages less so."""
    n, c = w.size_at_start, w.calibration
    minutes = c["capacity_call"] * n * PLANNING_MINUTES["soft_call"]
    totals = [
        ("call", "team_a", 0.6 * minutes, "minutes"),
        ("call", "team_b", 0.4 * minutes, "minutes"),
        ("letter", "print", c["capacity_letter"] * n, "items"),
        ("sms", "gateway", c["capacity_digital"] * n, "items"),
        ("email", "gateway", c["capacity_digital"] * n, "items"),
    ]
    if "capacity_visit" in c:
        totals.append(("visit", "field", c["capacity_visit"] * n, "items"))
    dates = pd.date_range(as_of, periods=HORIZON_DAYS, freq="D", unit="us")
    working = dates[dates.day_of_week < 5]
    # an even share of each day, the remainder on the last: items stay whole and the total exact
    rows = []
    for channel, team, total, unit in totals:
        each = float(np.floor(total / len(working)))
        share = np.full(len(working), each)
        share[-1] += round(total) - each * len(working)
        rows.append(pd.DataFrame({"date": working, "channel": channel, "team": team, "capacity": share, "unit": unit}))
    return pd.concat(rows, ignore_index=True)
