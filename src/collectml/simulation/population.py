"""Who owes: customers with an ability and a willingness nobody sees, and the snapshot a collector does see.

The snapshot is a noisy reading of the latent customer: behaviour score, income, utilisation, promises, payments and days past due
all lean on ability and willingness, none gives them away.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, ndtri

from collectml.simulation.draws import Draws

__all__ = ["LATENT", "STAGE_EDGES", "draw_accounts", "draw_customers", "stage_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LATENT = ("ability", "willingness", "persuadability", "taste", "answering", "true_score", "true_income", "true_hour")
"""Columns of the frame nobody outside the simulator sees."""

STAGE_EDGES = {"card": (30, 60, 90, 120), "no_effect": (30, 60, 90, 120), "charged_off": (365, 730)}
"""Days past due at which a new stage begins."""

_STAGE_SHARES = {
    "card": (0.44, 0.24, 0.14, 0.09, 0.09),
    "no_effect": (0.44, 0.24, 0.14, 0.09, 0.09),
    "charged_off": (0.40, 0.35, 0.25),
}
_ENTRY_SHARES = {
    "card": (0.80, 0.11, 0.05, 0.02, 0.02),
    "no_effect": (0.80, 0.11, 0.05, 0.02, 0.02),
    "charged_off": (1.0, 0.0, 0.0),
}
_STAGE_ENDS = {
    "card": (1, 30, 60, 90, 120, 181),
    "no_effect": (1, 30, 60, 90, 120, 181),
    "charged_off": (181, 365, 730, 1460),
}
_REGIONS = ("north", "south", "east", "west", "centre", "islands")
_AGE_BANDS = ("18-29", "30-44", "45-59", "60+")
_PRODUCTS = ("card", "loan", "overdraft")
_CONTACT_CHANNELS = ("call", "sms", "email", "letter", "visit")
_CONSENT = {"call": 0.97, "sms": 0.93, "email": 0.90, "letter": 0.99, "visit": 0.80}
_OPTOUT = {"call": 0.02, "sms": 0.03, "email": 0.04, "letter": 0.004, "visit": 0.03}
_HAS = {"phone": 0.93, "mobile": 0.90, "email": 0.84, "address": 0.98}


def stage_of(days_past_due: NDArray[np.integer], world: str) -> Ints:
    """Give the stage of lateness, 0 the earliest, shape (n,)."""
    return np.searchsorted(STAGE_EDGES[world], days_past_due, side="right").astype(np.int64)


def draw_customers(n: int, first: int, multi_share: float, draws_seed: int, cycle: str) -> Ints:
    """Give each of `n` accounts its customer, so that `multi_share` of customers hold two or three accounts.

    The accounts of one customer lie scattered: neighbouring rows have nothing in common.
    """
    draws = Draws(np.arange(n, dtype=np.int64), draws_seed, cycle)
    held = 1 + draws.flag("accounts_held", multi_share) + draws.flag("third_account", 0.2 * multi_share).astype(np.int64)
    customers = np.repeat(np.arange(n, dtype=np.int64), held)[:n]
    order = np.argsort(draws.uniform("customer_order"), kind="stable")
    label = np.argsort(np.argsort(draws.uniform("customer_label"), kind="stable"), kind="stable")
    return first + label[customers[order]]


def _text(codes: Ints, levels: tuple[str, ...]) -> pd.Series:
    return pd.Series(np.array(levels, dtype=object)[codes], dtype="str")


def _missing(values: Floats, where: NDArray[np.bool_]) -> Floats:
    return np.where(where, np.nan, values)


def _customer_part(person: Draws, c: Mapping[str, float], latent: dict[str, Floats]) -> dict[str, object]:
    """Draw what belongs to the person: the same on each of the person's accounts."""
    a, w = latent["ability"], latent["willingness"]
    age = np.clip(np.searchsorted((-0.9, 0.25, 1.1), 0.25 * a + 0.97 * person.normal("age")), 0, 3).astype(np.int64)
    hardship = person.flag("hardship", expit(np.log(c["rate_hardship"]) - 0.45 - 1.0 * a))
    vulnerable = person.flag(
        "vulnerable", np.clip(c["rate_vulnerable"] * np.exp(-0.4 * a - 0.08 + 0.3 * (age == 3)), 0, 0.5)
    )
    out: dict[str, object] = {
        "region": _text(person.choice("region", (0.22, 0.20, 0.18, 0.17, 0.20, 0.03)), _REGIONS),
        "age_band": _text(age, _AGE_BANDS),
        "income": np.round(
            _missing(
                latent["true_income"] * np.exp(0.12 * person.normal("income_noise")), person.flag("income_missing", 0.10)
            ),
            0,
        ),
    }
    for what, share in _HAS.items():
        # the young live on the mobile, the old on paper
        tilt = {"phone": 0.0, "mobile": -0.03, "email": -0.04, "address": 0.005}[what] * (age - 1.2)
        out[f"has_{what}"] = person.flag(f"has_{what}", np.asarray(share + tilt, dtype=np.float64))
    out["has_phone"] = np.asarray(out["has_phone"]) | np.asarray(out["has_mobile"]) & person.flag("same_phone", 0.3)
    for channel in _CONTACT_CHANNELS:
        out[f"consent_{channel}"] = person.flag(f"consent_{channel}", _CONSENT[channel])
    for channel in _CONTACT_CHANNELS:
        out[f"optout_{channel}"] = person.flag(f"optout_{channel}", _OPTOUT[channel])
    out["hardship"] = hardship
    out["attorney"] = person.flag("attorney", c["rate_attorney"])
    out["cease"] = person.flag("cease", 0.004)
    out["bankruptcy"] = person.flag("bankruptcy", np.clip(0.006 * np.exp(-0.5 * a), 0, 0.2))
    out["deceased"] = person.flag("deceased", 0.002)
    out["vulnerable"] = vulnerable
    out["breathing_space"] = person.flag("breathing_space", np.clip(0.007 * np.exp(-0.4 * a + 0.2 * w), 0, 0.2))
    return out


def draw_accounts(
    account_id: Ints,
    customer_id: Ints,
    *,
    world: str,
    c: Mapping[str, float],
    seed: int,
    as_of: pd.Timestamp,
    entering: bool = False,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Draw accounts: the snapshot a collector sees, and the latent frame nobody sees.

    Parameters
    ----------
    account_id, customer_id : ndarray of int64, shape (n,)
    world : str
    c : mapping of str to float
        The calibration.
    seed : int
    as_of : Timestamp
        Date of the snapshot.
    entering : bool, default False
        Whether these are new arrivals (mostly the earliest stage) rather than a standing book.

    Returns
    -------
    accounts, latent : DataFrame
        Same default index; `latent` has the columns ``LATENT``.
    """
    n = len(account_id)
    person, draws = Draws(customer_id, seed), Draws(account_id, seed)
    late = world == "charged_off"
    a = person.normal("ability")
    w = 0.2 * a + np.sqrt(1 - 0.04) * person.normal("willingness")
    latent = {
        "ability": a,
        "willingness": w,
        "persuadability": draws.normal("persuadability"),
        "taste": person.normal("taste"),
        "answering": person.normal("answering"),
        "true_income": 2600.0 * np.exp(0.42 * a + 0.18 * person.normal("income")),
        "true_hour": np.clip(
            np.round(np.where(person.flag("evening", 0.55), 18.0, 11.0) + 1.2 * person.normal("hour")), 8, 20
        ),
    }
    customer = _customer_part(person, c, latent)

    # stress decides how late an account has become: thresholds of a standard normal give the stage shares exactly
    stress = (-0.40 * a - 0.50 * w) / np.sqrt(0.49) * 0.62 + np.sqrt(1 - 0.62**2) * draws.normal("stress")
    shares = np.array((_ENTRY_SHARES if entering else _STAGE_SHARES)[world])
    stage = np.searchsorted(ndtri(np.clip(np.cumsum(shares)[:-1], 1e-9, 1 - 1e-9)), stress).astype(np.int64)
    ends = np.array(_STAGE_ENDS[world])
    dpd = (ends[stage] + np.floor(draws.uniform("dpd") * (ends[stage + 1] - ends[stage]))).astype(np.int64)
    lateness = stage.astype(np.float64) + (1.5 if late else 0.0)

    kind = draws.choice("product", (0.74, 0.17, 0.09))
    size = np.array((1.0, 2.2, 0.35))[kind]
    balance = np.round(c["balance_median"] * size * np.exp(c["balance_sigma"] * draws.normal("balance") + 0.15 * a), 2)
    balance = np.clip(balance, 60.0, 60_000.0)
    spread = np.array((1.0, 1.2, 2.0))[kind] * np.exp(0.3 * draws.normal("instalment") - 0.045)
    instalment = np.round(np.clip(c["instalment_share"] * spread * balance, np.minimum(25.0, balance), None), 2)
    owed = np.ceil(dpd / 30.0)
    arrears = (
        balance.copy()
        if late
        else np.round(np.minimum(balance, instalment * owed * (0.9 + 0.2 * draws.uniform("arrears"))), 2)
    )
    arrears = np.where(owed <= 1, np.minimum(arrears, instalment), arrears)

    months = 2 + np.floor(np.exp(3.6 + 0.75 * draws.normal("months_on_book") + 0.1 * a)).astype(np.int64)
    months = np.clip(months + (7 if late else 0), 3, 420)
    worst = np.clip(dpd + 30 * draws.poisson("worst", np.clip(0.25 * np.exp(-0.5 * w), 0.02, 3.0)), 0, 720 if late else 180)
    times_30 = (dpd >= 30) + draws.binomial("times_30", np.full(n, 4), expit(-1.6 - 0.6 * a - 0.6 * w))
    times_60 = np.minimum(times_30, (dpd >= 60) + draws.binomial("times_60", np.full(n, 3), expit(-2.6 - 0.6 * a - 0.6 * w)))
    times_90 = np.minimum(times_60, (dpd >= 90) + draws.binomial("times_90", np.full(n, 2), expit(-3.4 - 0.6 * a - 0.6 * w)))
    score = 640.0 + 36.0 * a + 44.0 * w - 9.0 * lateness + 24.0 * draws.normal("score")
    promised = draws.poisson("promised", 1.2 + 0.5 * lateness)
    kept = draws.binomial("kept", np.minimum(promised, 12), expit(0.3 + 0.9 * w + 0.35 * a))
    payments = draws.binomial(
        "payments", np.full(n, 12), expit(1.3 + 0.6 * a + 0.7 * w - 0.45 * lateness - (0.8 if late else 0.0))
    )
    contacts = draws.poisson("contacts", 1.0 + 1.4 * lateness)
    responses = draws.binomial("responses", np.minimum(contacts, 20), expit(-0.7 + 0.9 * latent["answering"] + 0.3 * w))
    since = np.maximum(1, np.minimum(dpd + np.floor(30 * draws.uniform("since")), 365 - 20 * payments + 31))
    seen_hour = np.where(draws.flag("hour_seen", 0.75), latent["true_hour"], np.floor(9 + 11 * draws.uniform("hour_other")))

    latent["true_score"] = score
    accounts = pd.DataFrame(
        {
            "account_id": account_id,
            "customer_id": customer_id,
            "as_of": np.full(n, as_of.to_datetime64()).astype("datetime64[us]"),
            "product": _text(kind, _PRODUCTS),
            "region": customer.pop("region"),
            "age_band": customer.pop("age_band"),
            "balance": balance,
            "arrears": arrears,
            "instalment": instalment,
            "days_past_due": dpd,
            "bucket": owed.astype(np.int64),
            "months_on_book": months,
            "worst_dpd_12m": worst.astype(np.int64),
            "times_30_12m": times_30.astype(np.int64),
            "times_60_12m": times_60.astype(np.int64),
            "times_90_12m": times_90.astype(np.int64),
            "behaviour_score": _missing(np.round(np.clip(score, 300, 850)), draws.flag("score_missing", 0.04)),
            "income": customer.pop("income"),
            "utilisation": np.round(
                np.clip(0.72 - 0.16 * a + 0.05 * lateness + 0.14 * draws.normal("utilisation"), 0.02, 1.6), 3
            ),
            "days_since_last_payment": pd.array(_missing(since.astype(np.float64), payments == 0)).astype("Int64"),
            "payments_12m": payments,
            "promises_kept": kept,
            "promises_broken": promised - kept,
            "contacts_90d": contacts,
            "responses_90d": responses,
            "best_hour": pd.array(_missing(seen_hour, responses == 0)).astype("Int64"),
            **customer,
            "dispute": draws.flag("dispute", c["rate_dispute"]),
            "complaint_open": draws.flag("complaint_open", 0.006),
            "fraud": draws.flag("fraud", 0.004),
            "time_barred": draws.flag("time_barred", 0.01 if late else 0.0),
            "committed_action": pd.Series([None] * n, dtype="str"),
            "committed_until": np.full(n, np.datetime64("NaT"), dtype="datetime64[us]"),
        }
    )
    return accounts, pd.DataFrame({name: latent[name] for name in LATENT})
