"""Holding customers out by a hash of who they are."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from collectml.hashing import stable_hash


def customer_order(customer: pd.Index | pd.Series, random_state: int | None) -> NDArray[np.uint64]:
    """Give the numbers by which customers are held out: the lowest are, whatever else the log holds.

    Parameters
    ----------
    customer : Index or Series, length n
        Customers.
    random_state : int or None
        Salt of the hash.

    Returns
    -------
    ndarray of uint64, shape (n,)
    """
    return stable_hash(customer, salt=f"{random_state}", purpose="split")


def held_out_rows(customer: pd.Series, weight: pd.Series, fraction: float, random_state: int | None) -> NDArray[np.bool_]:
    """Mark the rows of held-out customers, chosen so that their weight comes closest to a share of the whole.

    Parameters
    ----------
    customer : Series, length n
        Customer of each row.
    weight : Series
        Index: customer, each once. What a customer counts for.
    fraction : float in (0, 1)
        The share.
    random_state : int or None
        Salt of the hash.

    Returns
    -------
    ndarray of bool, shape (n,)
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction: a share between 0 and 1 is needed, got {fraction}")
    if len(weight) < 2:
        raise ValueError("a split needs two customers at least")
    order = np.argsort(customer_order(weight.index, random_state), kind="stable")
    share = np.cumsum(weight.to_numpy()[order]) / weight.sum()
    # whole customers up to the share nearest to the one asked for, and someone on either side
    count = min(int(np.argmin(np.abs(share - fraction))) + 1, len(weight) - 1)
    return customer.isin(weight.index[order[:count]]).to_numpy()
