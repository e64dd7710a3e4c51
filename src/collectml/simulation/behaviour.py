"""How a customer answers to an action: reached or not, moved or not, paying how much, complaining or not.

Every action is the same funnel. It is *available* where its channel exists and may be used; it *reaches* (a conversation, a letter
read) with some probability; once reached it shifts the log-odds of paying, or an offer is taken up. The expectation of the
funnel is the known truth, playing it gives the logs: both read the same :class:`Response`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit

from collectml.simulation.population import stage_of

__all__ = ["ACTIONS", "DIALLER_HOURS", "MOST_TAKE_UP", "PROFILES", "Book", "Profile", "Response", "base_index", "drive",
           "mean_lift", "partial_range", "payer_mix", "respond", "uptake", "with_agent"]  # fmt: skip

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ACTIONS: dict[str, tuple[str, ...]] = {
    "card": ("no_action", "sms", "email", "letter", "soft_call", "firm_call", "payment_plan", "settlement_offer"),
    "charged_off": (
        "no_action",
        "sms",
        "email",
        "letter",
        "soft_call",
        "firm_call",
        "visit",
        "settlement_offer",
        "legal_letter",
    ),
}
ACTIONS["no_effect"] = ACTIONS["card"]

DIALLER_HOURS = tuple(range(9, 20))
"""Hours at which agents dial, each as likely as the other."""

MOST_TAKE_UP = 0.8
"""Nobody is surer than this to accept an offer and pay."""


@dataclass(frozen=True)
class Profile:
    """What an action is: its channel, its tone, and whether it makes an offer."""

    channel: str
    tone: str
    offer: str = ""


PROFILES: dict[str, Profile] = {
    "no_action": Profile("", ""),
    "sms": Profile("sms", "soft"),
    "email": Profile("email", "soft"),
    "letter": Profile("letter", "soft"),
    "soft_call": Profile("call", "soft"),
    "firm_call": Profile("call", "firm"),
    "payment_plan": Profile("call", "soft", "plan"),
    "visit": Profile("visit", "firm"),
    "settlement_offer": Profile("letter", "soft", "settlement"),
    "legal_letter": Profile("letter", "firm"),
}
_HELD = {"call": "has_phone", "sms": "has_mobile", "email": "has_email", "letter": "has_address", "visit": "has_address"}
_STOPPED = ("attorney", "cease", "bankruptcy", "deceased", "breathing_space", "fraud")


@dataclass(frozen=True)
class Book:
    """The arrays behaviour is computed from, shape (n,) each: what is observed and what is latent."""

    account_id: NDArray[np.int64]
    stage: NDArray[np.int64]
    balance: Floats
    arrears: Floats
    instalment: Floats
    months: Floats
    utilisation: Floats
    keeping: Floats
    answering_rate: Floats
    hardship: Bools
    vulnerable: Bools
    dispute: Bools
    usable: dict[str, Bools]
    ability: Floats
    willingness: Floats
    persuadability: Floats
    taste: Floats
    answering: Floats
    score: Floats
    income: Floats
    hour: Floats

    @classmethod
    def of(cls, accounts: pd.DataFrame, latent: pd.DataFrame, world: str) -> Book:
        """Collect the arrays of a snapshot and its latent frame."""
        col = {name: accounts[name].to_numpy() for name in accounts.columns if accounts[name].dtype.kind in "biuf"}
        clear = ~np.logical_or.reduce([col[name] for name in _STOPPED])
        usable = {
            ch: clear & col[held] & col[f"consent_{ch}"] & ~col[f"optout_{ch}"] for ch, held in _HELD.items()
        }  # fmt: skip
        kept, broken = col["promises_kept"], col["promises_broken"]
        return cls(
            account_id=col["account_id"],
            stage=stage_of(col["days_past_due"], world),
            balance=col["balance"],
            arrears=col["arrears"],
            instalment=col["instalment"],
            months=np.log(col["months_on_book"] / 40.0),
            utilisation=col["utilisation"] - 0.75,
            keeping=(kept + 1.0) / (kept + broken + 2.0) - 0.5,
            answering_rate=(col["responses_90d"] + 1.0) / (col["contacts_90d"] + 3.0) - 0.33,
            hardship=col["hardship"],
            vulnerable=col["vulnerable"],
            dispute=col["dispute"],
            usable=usable,
            ability=latent["ability"].to_numpy(),
            willingness=latent["willingness"].to_numpy(),
            persuadability=latent["persuadability"].to_numpy(),
            taste=latent["taste"].to_numpy(),
            answering=latent["answering"].to_numpy(),
            score=(latent["true_score"].to_numpy() - 630.0) / 70.0,
            income=np.log(latent["true_income"].to_numpy() / 2600.0),
            hour=latent["true_hour"].to_numpy(),
        )

    def take(self, rows: NDArray[np.intp] | Bools) -> Book:
        """Select rows."""
        chosen = {f.name: getattr(self, f.name) for f in fields(self)}
        usable = {ch: flag[rows] for ch, flag in self.usable.items()}
        return Book(**({name: value[rows] for name, value in chosen.items() if name != "usable"} | {"usable": usable}))


@dataclass(frozen=True)
class Response:
    """The funnel of one action on the accounts of a book.

    Parameters
    ----------
    available : ndarray of bool, shape (n,)
        Whether the channel exists and may be used; otherwise nothing is done.
    dials : ndarray, shape (n, K)
        Chance that attempt k reaches the person, given that the earlier ones did not (calls 3, visits and messages 1).
    talks : float
        Chance of a conversation once reached (1 for what is read rather than heard).
    pays, pays_moved : ndarray, shape (n,)
        Chance of paying within the horizon if not talked to, and if talked to (offers: if the offer is not taken up).
    takes_up : ndarray, shape (n,)
        Chance that an offer is accepted and paid, given a conversation or a letter read.
    offer : ndarray, shape (n,)
        Amount then paid.
    complains : ndarray, shape (n,)
        Chance of a complaint if carried out.
    """

    available: Bools
    dials: Floats
    talks: float
    pays: Floats
    pays_moved: Floats
    takes_up: Floats
    offer: Floats
    complains: Floats

    @property
    def reached(self) -> Floats:
        """Chance that some attempt reaches the person, shape (n,)."""
        return np.asarray(1.0 - np.prod(1.0 - self.dials, axis=1))

    @property
    def attempts(self) -> Floats:
        """Expected number of attempts if carried out, shape (n,)."""
        missed = np.cumprod(1.0 - self.dials, axis=1)[:, :-1]
        return 1.0 + np.asarray(missed.sum(axis=1)) if self.dials.shape[1] else np.zeros(len(self.pays))


def _monthly_income(book: Book) -> Floats:
    return 2600.0 * np.exp(book.income)


def partial_range(book: Book) -> tuple[Floats, Floats]:
    """Bound what is paid by those who pay more than is due but not all: lowest and highest amount, shape (n,) each."""
    low = np.where(book.arrears >= book.balance - 0.005, book.instalment, book.arrears)
    # people pay out of their income, however large the debt
    return low, np.minimum(book.balance, low + 1.5 * _monthly_income(book))


def payer_mix(book: Book, c: Mapping[str, float], world: str) -> tuple[Floats, Floats]:
    """Split payers by how much they pay.

    Returns
    -------
    shares : ndarray, shape (n, 4)
        One instalment of several owed; the arrears; something between arrears and balance; the full balance.
    amounts : ndarray, shape (n, 4)
        Mean amount of each kind; only the third varies around it (Beta(1, 5) on :func:`partial_range`).
    """
    several = book.arrears > 1.05 * book.instalment
    whole = book.arrears >= book.balance - 0.005
    size = np.log(book.balance / (0.85 * _monthly_income(book)))
    weight = np.empty((len(book.balance), 4))
    weight[:, 0] = np.where(several, np.exp(-0.3 + 0.2 * book.stage - 0.3 * book.ability), 0.0)
    weight[:, 1] = np.where(whole, 0.0, np.exp(1.3))
    weight[:, 2] = np.where(book.balance > book.arrears + 0.005, np.exp(-0.3 + 0.3 * book.ability), 0.0)
    weight[:, 3] = np.exp(c["full_payment_logit"] + 0.3 * book.ability - 0.9 * size)
    if world == "charged_off":
        # all is due: most pay the usual arrangement, some a lump
        weight[:, 0] = np.where(book.balance > book.instalment, np.exp(1.2), 0.0)
        weight[:, 2] = np.where(book.balance > book.instalment, np.exp(0.1 + 0.3 * book.ability), 0.0)
    low, top = partial_range(book)
    amounts = np.stack([book.instalment, book.arrears, low + (top - low) / 6.0, book.balance], axis=1)
    return weight / weight.sum(axis=1, keepdims=True), amounts


def base_index(book: Book) -> Floats:
    """Log-odds of paying unasked, up to the stage's constant, shape (n,)."""
    return 0.55 * book.ability + 0.75 * book.willingness + 0.15 * book.score


def drive(action: str, book: Book) -> Floats:
    """How strongly an action moves an account, up to the action's scale: mostly observed, partly latent, shape (n,).

    Hard tones are returned before their zero point is set: the calibration shifts it so that the stated share is harmed.
    """
    b = book
    middle = np.exp(-0.5 * (0.6 * b.score + 0.3 * (b.ability + b.willingness)) ** 2) * np.exp(0.30 * b.persuadability)
    if action == "sms":
        # the forgetful answer a reminder; very good customers resent it (Bracha & Meier)
        resented = 1.0 - 1.3 * expit(6.0 * (b.score - 1.6))
        return middle * np.exp(-0.8 * b.months + 2.0 * b.answering_rate + 0.2 * b.taste) * resented
    if action == "email":
        return (middle + 0.3) * 2.0 * expit(2.2 * b.score - 0.3) * np.exp(0.25 * b.taste + 0.6 * b.income)
    if action in ("letter", "settlement_offer"):
        return middle * np.exp(0.9 * b.months + 0.15 * np.log(b.balance / 2200.0) - 0.2 * b.taste)
    if action in ("soft_call", "payment_plan"):
        return middle * np.exp(3.2 * b.keeping - 0.9 * b.income - 0.3 * b.months - 0.1 * b.taste)
    if action in ("firm_call", "visit", "legal_letter"):
        harm = 1.5 * b.vulnerable + 0.9 * expit(5.0 * (b.score - 1.3)) + 0.9 * expit(5.0 * (-b.score - 1.5))
        return middle * np.exp(-3.2 * b.keeping + 1.2 * b.income + 0.1 * b.taste) - harm
    return np.zeros(len(b.stage))


def uptake(offer: str, book: Book) -> Floats:
    """How readily an offer is taken up, up to its scale, shape (n,)."""
    b = book
    if offer == "plan":
        able = -0.3 * b.ability - 1.2 * b.income + 0.6 * b.hardship
        return np.exp(able + 0.6 * b.willingness + 1.6 * b.keeping + 0.2 * b.persuadability)
    return np.exp(1.0 * b.income - 2.4 * b.keeping + 2.5 * b.utilisation - 0.2 * b.willingness + 0.3 * b.persuadability)


def mean_lift(book: Book | None, c: Mapping[str, float]) -> Floats:
    """Mean gain in reach over the dialler's hours from the hours near the person's own (None: a person at noon)."""
    near = np.array([sum(abs(h - own) <= 1 for h in DIALLER_HOURS) for own in range(24)]) / len(DIALLER_HOURS)
    own = np.array([12]) if book is None else book.hour.astype(np.int64)
    return 1.0 + (c["hour_match"] - 1.0) * near[own]


def _dials(channel: str, book: Book, c: Mapping[str, float], scale: float) -> Floats:
    """Chance that each attempt reaches the person, averaged over the dialler's hours, shape (n, K)."""
    answering = 0.55 * book.answering + 1.2 * book.answering_rate
    if channel == "call":
        # the cap leaves room for the best hour: no dial can be surer than certain
        lift = mean_lift(book, c)
        first = np.clip(
            expit(scale + answering) * (lift / mean_lift(None, c)), 0.0, np.minimum(0.62, lift / c["hour_match"])
        )
        return np.asarray(first[:, None] * c["dial_decay"] ** np.arange(3))
    start = {"sms": 0.9, "email": -0.5, "letter": 0.5, "visit": -0.2}[channel]
    return expit(start + 0.5 * answering)[:, None]


def respond(action: str, book: Book, c: Mapping[str, float], world: str, scales: Mapping[str, Floats]) -> Response:
    """Compute the funnel of one action.

    Parameters
    ----------
    action : str
    book : Book
    c : mapping of str to float
        The calibration.
    world : str
    scales : mapping of str to ndarray
        What the calibration's targets were solved for (see ``anchors``): an array by stage for each action.
    """
    n, profile = len(book.stage), PROFILES[action]
    index = base_index(book) + scales["base"][book.stage]
    pays = expit(index)
    zero = np.zeros(n)
    worried = np.where(book.vulnerable, c["complaint_x_vulnerable"], 1.0) * np.where(
        book.dispute, c["complaint_x_dispute"], 1.0
    )
    base = c["complaint_base"] * worried * np.exp(-0.3 * book.willingness - 0.045)
    if action == "no_action":
        return Response(np.ones(n, dtype=bool), np.zeros((n, 0)), 0.0, pays, pays, zero, zero, base)
    moved, takes_up, offer, complains = pays, zero, zero, base
    if world != "no_effect":
        shift = scales[action][book.stage] * (drive(action, book) - scales[f"{action}/zero"][0])
        moved = expit(index + np.clip(shift, -1.5, 3.5))
        complains = np.minimum(base * c[f"complaint_x_{action}"], 0.5)
        if profile.offer:
            takes_up = np.minimum(scales[f"{action}/uptake"][book.stage] * uptake(profile.offer, book), MOST_TAKE_UP)
            if profile.offer == "plan":
                offer = np.minimum(np.maximum(c["plan_share"] * book.arrears, 0.5 * book.instalment), book.balance)
            else:
                offer = np.minimum(np.clip(c["settlement_share"] + 0.05 * book.score, 0.4, 0.8), 1.0) * book.balance
    return Response(
        available=book.usable[profile.channel],
        dials=_dials(profile.channel, book, c, float(scales["reach"][0])),
        talks=c["conversation_rate"] if profile.channel == "call" else 1.0,
        pays=pays,
        pays_moved=moved,
        takes_up=takes_up,
        offer=offer,
        complains=complains,
    )


def with_agent(pays: Floats, agent: Floats) -> Floats:
    """Add an agent's effect to a chance of paying: stated at 50 %, vanishing at 0 and 1, so that it averages out exactly."""
    return pays + agent * 4.0 * pays * (1.0 - pays)
