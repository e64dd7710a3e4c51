"""The inner loops of exact contributions, compiled by numba."""

from __future__ import annotations

from typing import Any

import numpy as np

from collectml.machine_code import machine_code
from collectml.models._walk_kernel import code_block

__all__ = ["add_leaves"]

_compiled: Any = machine_code  # the loops below have no types but those that numba finds


@_compiled
def _met_conditions(codes, bounds, leaf, code, low, high, keep, met, rows):
    """Write which of a leaf's features a row satisfies, as bits."""
    everything = np.uint16(0xFFFF)
    for r in range(rows):
        met[r] = everything
    for c in range(bounds[leaf], bounds[leaf + 1]):
        column, least, most, others = codes[code[c]], low[c], high[c], keep[c]
        for r in range(rows):
            met[r] &= everything if (column[r] >= least) & (column[r] <= most) else others


@_compiled
def _one_row(bits, d, inside, outside, share, weight, differ, q, table, slot):
    """Work out what a leaf adds to each of its features for rows that satisfy the features in ``bits``."""
    size = len(table)
    unmet = 0.0
    itself = 0.0
    for k in range(size):
        table[k, slot] = 0.0
    for i in range(q):
        product = weight[0, i]
        for j in range(d):
            product *= inside[i, j] if bits >> j & 1 else outside[i, j]
        unmet += product * weight[1, i]
        itself += product * weight[2, i]
        for j in range(d):
            table[j, slot] += product * share[i, j]
    for j in range(d):
        if not bits >> j & 1:
            table[j, slot] = -unmet
    if differ:
        table[d, slot] = itself


@_compiled
def add_leaves(
    X,
    numbers,
    cuts,
    cut_bounds,
    number_codes,
    levels,
    level_sets,
    level_codes,
    condition_bounds,
    code,
    low,
    high,
    keep,
    feature_bounds,
    features,
    ratios,
    values,
    nodes,
    weights,
    differ,
    leaves,
    signs,
    block,
    out,
):
    """Add what every leaf gives to every feature; with ``differ``, beyond what it gives under the other setting."""
    most = 17
    extra = 1 if differ else 0
    codes = np.zeros((len(number_codes) + len(level_codes) + 1, block), dtype=np.uint8)
    ranks, kinds = np.zeros(block, dtype=np.int32), np.zeros(block, dtype=np.uint8)
    met, at = np.zeros(block, dtype=np.uint16), np.zeros(block, dtype=np.int32)
    slot_of = np.full(1 << 16, -1, dtype=np.int32)
    table, seen = np.zeros((most, block)), np.zeros(block, dtype=np.uint16)
    inside, outside, share = np.zeros((9, most)), np.zeros((9, most)), np.zeros((9, most))
    weight = np.zeros((3, 9))
    total = np.zeros((out.shape[1], block))
    for start in range(0, len(X), block):
        rows = min(block, len(X) - start)
        code_block(
            X[start : start + rows],
            numbers,
            cuts,
            cut_bounds,
            number_codes,
            levels,
            level_sets,
            level_codes,
            codes,
            ranks,
            kinds,
            rows,
        )
        total[:] = 0.0
        for n in range(len(leaves)):
            leaf = leaves[n]
            first = feature_bounds[leaf]
            d = feature_bounds[leaf + 1] - first
            q = (d + extra + 1) // 2  # points at which the rule of Gauss and Legendre is exact
            value = values[leaf] * signs[n]
            for i in range(q):
                t = nodes[d + extra, i]
                factor = t if differ else 1.0
                weight[0, i] = weights[d + extra, i] * value
                weight[1, i] = factor / (1.0 - t)
                weight[2, i] = 1.0
                for j in range(d):
                    ratio = ratios[first + j]
                    outside[i, j] = (1.0 - t) * ratio
                    inside[i, j] = t + outside[i, j]
                    share[i, j] = factor * (1.0 - ratio) / inside[i, j]
            _met_conditions(codes, condition_bounds, leaf, code, low, high, keep, met, rows)
            # rows that satisfy the same features get the same: what that is, is worked out once
            known = 0
            for r in range(rows):
                bits = met[r] & np.uint16((1 << d) - 1)
                slot = slot_of[bits]
                if slot < 0:
                    slot = known
                    slot_of[bits] = slot
                    seen[slot] = bits
                    _one_row(np.int64(bits), d, inside, outside, share, weight, differ, q, table, slot)
                    known += 1
                at[r] = slot
            for s in range(known):
                slot_of[seen[s]] = -1
            for j in range(d + extra):
                sums = total[features[first + j] if j < d else out.shape[1] - 1]
                given = table[j]
                for r in range(rows):
                    sums[r] += given[at[r]]
        for r in range(rows):
            for j in range(out.shape[1]):
                out[start + r, j] = total[j, r]
