"""Arguments of the solver read once, every fault at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from collectml.errors import InfeasibleStrategyError

from ._compiled import chosen
from ._instance import Bools, Instance, Matrix, Usage
from ._usage import Column, Floats, Ints


def read(
    values: Matrix,
    usage: Usage,
    upper: ArrayLike,
    lower: ArrayLike | None,
    eligible: ArrayLike | pd.DataFrame | None,
    customer: ArrayLike | None,
    contact: ArrayLike | None,
    tie_key: ArrayLike | None,
    names: Sequence[str] | None,
) -> Instance:
    """Check every argument, collect all faults, and return the problem."""
    faults: list[str] = []
    value = _numbers(values)
    if value.ndim != 2 or 0 in value.shape:
        raise ValueError(f"values must be (n, A) with at least one row and one action, not {value.shape}")
    n, actions = value.shape
    columns = _columns(usage, n, actions, faults)
    k = len(columns)
    high = _bounds("upper", upper, k, -np.inf, faults)
    low = np.full(k, -np.inf) if lower is None else _bounds("lower", lower, k, np.inf, faults)
    mask = _mask("eligible", eligible, (n, actions), faults)
    if mask is not None and (stuck := _stuck(mask)):
        faults.append(f"{stuck} of {n} rows have no eligible action; leave them out or make one (no action, say) eligible")
    with np.errstate(all="ignore"):
        total = value.sum()
    if not np.isfinite(total):
        wrong = ~np.isfinite(value) if mask is None else ~np.isfinite(value) & mask
        if wrong.any():
            faults.append(
                f"values has {int(wrong.sum())} missing or infinite entries in {int(wrong.any(axis=1).sum())} rows"
            )
    if (customer is None) != (contact is None):
        faults.append("customer and contact belong together: give both or neither")
    touches = _mask("contact", contact, (actions,), faults)
    codes = None if customer is None else _lined("customer", customer, n, faults)
    if codes is not None and bool(pd.isna(codes).any()):
        faults.append("customer has missing codes; give an account of unknown owner a code of its own")
    key = None if tie_key is None else _lined("tie_key", tie_key, n, faults)
    if key is not None and key.dtype.kind not in "biuf":
        faults.append(f"tie_key must be numbers, not {key.dtype}")
    elif key is not None and bool(np.isnan(key).any()):
        faults.append("tie_key has missing entries")
    title = tuple(f"limit {i}" for i in range(k)) if names is None else tuple(str(x) for x in names)
    if len(title) != k:
        faults.append(f"names has {len(title)} entries for {k} limits")
    if faults:
        raise ValueError("cannot assign: " + "; ".join(faults))
    if key is not None:
        # integers keep all 64 bits (a shift of the origin keeps their order); + 0.0 makes -0.0 and 0.0 one key
        key = _ordered(key)
    none = np.zeros(0, dtype=np.intp)
    instance = Instance(value, columns, low, high, mask, key, np.zeros(actions, dtype=bool), none, none, title)
    instance = instance.within(low, high)
    if codes is None or touches is None:
        return instance
    return _coupled(replace(instance, contact=touches), codes)


def start_of(instance: Instance, given: ArrayLike | None) -> Floats | None:
    """Read prices to start from; a price for a bound that does not exist is none."""
    if given is None:
        return None
    price = np.asarray(given, dtype=np.float64)
    if price.shape != instance.upper.shape or not np.isfinite(price).all():
        raise ValueError(f"warm_start must be {len(instance.upper)} finite prices, one for each limit, not {given!r}")
    wrong = (price > 0) & np.isinf(instance.upper) | (price < 0) & np.isinf(instance.lower)
    return np.where(wrong, 0.0, price)


def _numbers(x: ArrayLike | pd.DataFrame) -> NDArray[np.floating]:
    """Return floating numbers, float32 and float64 as they are."""
    raw = x.to_numpy() if isinstance(x, pd.DataFrame) else np.asarray(x)
    return raw if raw.dtype in (np.float32, np.float64) else raw.astype(np.float64)


def _ordered(key: NDArray[np.generic]) -> NDArray[np.uint64] | NDArray[np.float64]:
    """Return keys of one 64-bit type in the same order."""
    if key.dtype.kind == "f":
        return key.astype(np.float64) + 0.0
    if key.dtype.kind == "i":
        return key.astype(np.int64).view(np.uint64) ^ np.uint64(1 << 63)
    return key.astype(np.uint64, copy=False)


def _columns(usage: Usage, n: int, actions: int, faults: list[str]) -> tuple[Column, ...]:
    """Read usage in any of its forms."""
    parts: list[ArrayLike | pd.DataFrame | tuple[ArrayLike, ArrayLike]]
    if isinstance(usage, (list, tuple)):
        parts = list(usage)
    else:
        block = _numbers(usage)  # type: ignore[arg-type]  # mypy keeps Sequence after the test for list and tuple
        if block.ndim not in (2, 3) or block.shape[:-1] not in ((actions,), (n, actions)):
            faults.append(
                f"usage must be (A, K), (n, A, K) or a list of columns; with n={n}, A={actions} it is {block.shape}"
            )
            return ()
        parts = [block[..., k] for k in range(block.shape[-1])]
    columns = []
    for k, part in enumerate(parts):
        codes: Ints | None = None
        if isinstance(part, tuple):
            table, given = _numbers(part[0]), np.asarray(part[1])
            shape_ok = table.ndim == 2 and table.shape[1] == actions and given.shape == (n,) and given.dtype.kind in "iu"
            if shape_ok and (given.min() < 0 or given.max() >= len(table)):
                faults.append(
                    f"usage column {k}: segment codes run from {given.min()} to {given.max()}, "
                    f"the table has {len(table)} lines"
                )
            codes = given.astype(np.intp) if shape_ok else None
        else:
            table = _numbers(part)
            shape_ok = table.shape in ((actions,), (n, actions))
        if not shape_ok:
            faults.append(
                f"usage column {k} must be (A,), (n, A) or a pair of (S, A) and integer codes (n,), not {table.shape}"
            )
            continue
        column = Column.of(table, codes)
        if column.wrong:
            faults.append(f"usage column {k} has {column.wrong} missing or infinite entries")
        columns.append(column)
    return tuple(columns)


def _bounds(name: str, given: ArrayLike, k: int, never: float, faults: list[str]) -> Floats:
    """Read upper or lower; `never` is the infinity that nothing can satisfy."""
    bounds = np.asarray(given, dtype=np.float64)
    if bounds.shape != (k,):
        faults.append(f"{name} must have one entry for each of {k} limits, not shape {bounds.shape}")
        return np.full(k, -never)
    wrong = np.flatnonzero(np.isnan(bounds) | (bounds == never))
    if len(wrong):
        faults.append(f"{name} is {'-' if never < 0 else ''}infinite or missing at limits {wrong.tolist()}")
    return bounds


def _mask(name: str, given: ArrayLike | pd.DataFrame | None, shape: tuple[int, ...], faults: list[str]) -> Bools | None:
    """Read a mask of yes and no; None, a wrong shape and a wrong kind give None."""
    if given is None:
        return None
    mask = np.asarray(given)
    if mask.shape != shape or mask.dtype != np.bool_:
        faults.append(f"{name} must be booleans of shape {shape}, not {mask.dtype} of shape {mask.shape}")
        return None
    return mask


def _lined(name: str, given: ArrayLike, n: int, faults: list[str]) -> NDArray[np.generic] | None:
    """Read one entry per row."""
    line = np.asarray(given)
    if line.shape != (n,):
        faults.append(f"{name} must have one entry for each of {n} rows, not shape {line.shape}")
        return None
    return line


def _stuck(eligible: Bools) -> int:
    """Count the rows without any eligible action."""
    kernels = chosen(len(eligible))
    return int(np.count_nonzero(~eligible.any(axis=1)) if kernels is None else kernels.stuck(eligible))


def _coupled(instance: Instance, customer: NDArray[np.generic]) -> Instance:
    """Find the customers with several rows; refuse those of whom two rows can only be contacted."""
    n = len(customer)
    # numbers from 0 on are taken as they are: of millions of customers a table of them would be large
    dense = customer.dtype.kind in "iu" and n > 0 and customer.min() >= 0 and customer.max() < n
    codes = np.asarray(customer, dtype=np.intp) if dense else pd.factorize(customer)[0]
    rows = instance.canonical(np.flatnonzero(np.bincount(codes)[codes] > 1))
    rank = pd.factorize(codes[rows])[0]  # customers in the order of their first row, whatever their codes are
    rows = rows[np.argsort(rank, kind="stable")]
    starts = np.flatnonzero(np.diff(np.sort(rank), prepend=-1))
    if len(rows):
        free = np.isfinite(instance.money(rows)) & ~instance.contact[:, None]
        forced = ~free.any(axis=0)
        clash = int(np.count_nonzero(np.add.reduceat(forced.astype(np.intp), starts) > 1))
        if clash:
            raise InfeasibleStrategyError(
                f"{clash} customers have several accounts whose only eligible actions are contacts, and may get one contact",
                ("customer",),
            )
    return replace(instance, shared=rows, starts=starts)
