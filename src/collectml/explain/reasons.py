"""Reasons for one account: at most four, signed, from an approved dictionary, and nothing a customer must not be told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.errors import ConfigurationError

from .contributions import Contributions

__all__ = ["SEVERAL", "flip_rate_at", "flip_rates", "lead_of", "reasons_for"]

Floats = NDArray[np.float64]

SEVERAL, SEVERAL_ZH = "several factors of similar weight", "多个因素权重相近"
LEAD = 0.1
MOST_FLIPS = 0.1


def reasons_for(
    explained: Contributions,
    dictionary: Mapping[str, str],
    *,
    forbidden: Collection[str] = (),
    most: int = 4,
    flip_rate: Callable[[Floats], Floats] | None = None,
) -> pd.DataFrame:
    """Turn contributions into the reasons that may be printed.

    Parameters
    ----------
    explained : Contributions
        On the log-odds scale.
    dictionary : mapping of str to str
        Approved text of each feature; features of the same text are one reason. What has no text is no reason.
    forbidden : collection of str
        Protected or non-actionable features: never printed, whatever the dictionary says.
    most : int, default 4
        Reasons an account.
    flip_rate : callable, optional
        From the lead of the first reason over the second (log-odds) to the share of refits that put another first, as
        :func:`~collectml.explain.flip_rates` measured it. Without it only the lead counts.

    Returns
    -------
    DataFrame
        ``account_id, rank, reason, direction`` (``"raises"`` or ``"lowers"``), ``contribution`` (log-odds), ``flip_rate``
        (missing where it was not measured). Where the first does not lead the second by more than 0.1 log-odds and more than
        a tenth of refits would turn them round (or nobody knows), the account gets one row saying so. Reasons of equal weight
        keep the order of the dictionary.

    Raises
    ------
    ConfigurationError
        Where ``most`` is below 1, or a contribution is not a number.

    Examples
    --------
    >>> c = Contributions(pd.DataFrame({"kept": [0.9], "age": [2.0], "dpd": [-0.3]}, index=[7]), np.zeros(1))
    >>> reasons_for(c, {"kept": "kept promises", "age": "age", "dpd": "days past due"}, forbidden=["age"])
       account_id  rank         reason direction  contribution  flip_rate
    0           7     1  kept promises    raises           0.9        NaN
    1           7     2  days past due    lowers          -0.3        NaN
    """
    if most < 1:
        raise ConfigurationError(f"most is {most}: ask for one reason at least")
    unknown = ~np.isfinite(explained.values.to_numpy()).all(axis=1)
    if unknown.any():
        examples = ", ".join(str(i) for i in explained.values.index[unknown][:3])
        raise ConfigurationError(
            f"{int(unknown.sum()):,} accounts have contributions that are no numbers, such as {examples}"
        )
    printable = {f: text for f, text in dictionary.items() if f in explained.values.columns and f not in forbidden}
    texts = list(dict.fromkeys(printable.values()))
    totals = np.zeros((len(explained.values), len(texts)))
    for feature, text in printable.items():
        totals[:, texts.index(text)] += explained.values[feature].to_numpy()
    ranked = np.argsort(-np.abs(totals), axis=1, kind="stable")[:, :most]
    weight = np.take_along_axis(totals, ranked, axis=1)
    lead = lead_of(totals)
    flips = np.full(len(lead), np.nan) if flip_rate is None else flip_rate(lead)
    weak = (lead <= LEAD) & ~(flips <= MOST_FLIPS)
    reason = np.array(texts, dtype=object)[ranked]
    direction = np.where(weight > 0, "raises", "lowers").astype(object)
    told = weight != 0
    told[weak, 1:] = False
    for column, word in ((told, True), (reason, SEVERAL), (direction, "mixed")):
        column[weak, :1] = word
    weight[weak, :1] = weight[weak].sum(axis=1, keepdims=True)
    account, rank = np.nonzero(told)
    return pd.DataFrame(
        {
            "account_id": explained.values.index[account],
            "rank": rank + 1,
            "reason": reason[told],
            "direction": direction[told],
            "contribution": weight[told],
            "flip_rate": flips[account],
        }
    )


def lead_of(totals: Floats) -> Floats:
    """Say how far the weightiest reason leads the next.

    Parameters
    ----------
    totals : ndarray, shape (n, R)
        Contribution of each reason, in log-odds.

    Returns
    -------
    ndarray, shape (n,)
        Infinite where there is no second reason.
    """
    if totals.shape[1] < 2:
        return np.full(len(totals), np.inf)
    size = np.sort(np.abs(totals), axis=1)
    return np.asarray(size[:, -1] - size[:, -2], dtype=np.float64)


def flip_rates(lead: Floats, flipped: Floats, *, bins: int = 10) -> pd.DataFrame:
    """Learn how often a refit puts another reason first, by how far the first one leads; more lead never means more flips.

    Parameters
    ----------
    lead : ndarray, shape (n,)
        Lead of the first reason over the second, in log-odds.
    flipped : ndarray, shape (n,)
        Share of refits in which another reason came first.
    bins : int, default 10
        At most so many steps, each of as many accounts.

    Returns
    -------
    DataFrame
        ``lead_from`` (log-odds), ``accounts``, ``flip_rate``.

    References
    ----------
    Barlow et al. (1972), Statistical inference under order restrictions (pool adjacent violators).

    Examples
    --------
    >>> flip_rates(np.array([0.0, 0.1, 0.2, 0.3]), np.array([0.5, 0.1, 0.2, 0.0]), bins=4)["flip_rate"].round(9).tolist()
    [0.5, 0.15, 0.15, 0.0]
    """
    from sklearn.isotonic import IsotonicRegression

    finite = np.isfinite(lead)
    lead, flipped = lead[finite], flipped[finite]
    if len(lead) == 0:
        return pd.DataFrame({"lead_from": [], "accounts": [], "flip_rate": []})
    edge = np.unique(np.quantile(lead, np.linspace(0, 1, bins + 1)[:-1]))
    at = np.searchsorted(edge, lead, side="right") - 1
    table = pd.DataFrame({"at": at, "flipped": flipped}).groupby("at")["flipped"].agg(["size", "mean"])
    smooth = IsotonicRegression(increasing=False).fit_transform(
        table.index.to_numpy(dtype=float), table["mean"].to_numpy(), sample_weight=table["size"].to_numpy()
    )
    return pd.DataFrame({"lead_from": edge[table.index], "accounts": table["size"].to_numpy(), "flip_rate": smooth}).assign(
        lead_from=lambda t: t["lead_from"].where(t.index > 0, 0.0)
    )


def flip_rate_at(table: pd.DataFrame, lead: Floats) -> Floats:
    """Look the flip rate of a lead up.

    Parameters
    ----------
    table : DataFrame
        From :func:`flip_rates`.
    lead : ndarray, shape (n,)
        In log-odds.

    Returns
    -------
    ndarray, shape (n,)
        0 where there is no second reason; missing where nothing was measured.

    Examples
    --------
    >>> table = pd.DataFrame({"lead_from": [0.0, 0.1], "accounts": [5, 5], "flip_rate": [0.4, 0.05]})
    >>> flip_rate_at(table, np.array([0.02, 0.3, np.inf])).tolist()
    [0.4, 0.05, 0.0]
    """
    if len(table) == 0:
        return np.full(len(lead), np.nan)
    at = np.searchsorted(table["lead_from"].to_numpy(), lead, side="right") - 1
    return np.where(np.isfinite(lead), table["flip_rate"].to_numpy()[np.clip(at, 0, len(table) - 1)], 0.0)
