"""The inner loops of the one walk, compiled by numba; imported only where there are rows enough to pay for it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from collectml.machine_code import machine_code

__all__ = ["code_block", "walk"]

# LightGBM takes smaller values for zero (its constant is a float)
ZERO = float(np.float32(1e-35))


_compiled: Any = machine_code  # the loops below have no types but those that numba finds


@intrinsic
def _lowest_bit(typing_context: Any, word: Any) -> Any:
    """Position of the lowest bit that is set: one machine instruction."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zero_is_poison = context.get_constant(types.boolean, True)
        count = builder.cttz(arguments[0], zero_is_poison)
        return context.cast(builder, count, signature.args[0], signature.return_type)

    return types.uint64(word), build


@_compiled
def _code_numbers(X, column, cuts, ranks, zeroish, rows):
    """Write the number of cuts below each value; also whether it is missing (2) or zero (1)."""
    n_cuts = len(cuts)
    top = 1
    while top * 2 <= n_cuts:
        top *= 2
    for r in range(rows):
        x = X[r, column]
        kind = 0
        if x != x:
            kind = 2
            x = 0.0
        elif -ZERO <= x <= ZERO:
            kind = 1
            x = 0.0
        zeroish[r] = kind
        # binary search without a branch to mispredict
        at = 0
        step = top
        while step > 0:
            ahead = at + step
            below = ahead <= n_cuts and cuts[min(ahead, n_cuts) - 1] < x
            at = ahead if below else at
            step >>= 1
        ranks[r] = at


@_compiled
def code_block(X, numbers, cuts, cut_bounds, number_codes, levels, level_sets, level_codes, codes, ranks, kinds, rows):
    """Turn a block of rows into bytes on which every node is one comparison."""
    v = 0
    for i in range(len(numbers)):
        _code_numbers(X, numbers[i], cuts[cut_bounds[i] : cut_bounds[i + 1]], ranks, kinds, rows)
        while v < len(number_codes) and number_codes[v, 0] == i:
            first, missing_from, default = number_codes[v, 1], number_codes[v, 2], number_codes[v, 3]
            out = codes[v]
            for r in range(rows):
                code = min(max(ranks[r] - first, 0), 255)
                out[r] = default if kinds[r] >= missing_from else code
            v += 1
    for i in range(len(level_codes)):
        column, start, size = levels[i, 0], level_codes[i], levels[i, 1]
        out = codes[v + i]
        for r in range(rows):
            x = X[r, column]
            # past the end, below zero, or missing: in no set
            at = np.int64(x) if -1.0 < x < size else np.int64(size)
            out[r] = level_sets[start + at]


@_compiled
def _add_trees(
    node_bounds,
    node_code,
    node_cut,
    node_mask,
    set_bounds,
    set_mask,
    set_member,
    leaf_bounds,
    leaves,
    n_trees,
    codes,
    reached,
    value,
    total,
):
    """Add every tree: the leaves a row cannot reach are struck out node by node, for many rows at once."""
    rows = reached.shape[0]
    everything = ~np.zeros_like(reached[:1])[0]
    for t in range(n_trees):
        reached[:] = everything
        for j in range(node_bounds[t], node_bounds[t + 1]):
            code, cut, mask = codes[node_code[j]], node_cut[j], node_mask[j]
            for r in range(rows):
                reached[r] &= mask if code[r] > cut else everything
        leaf = leaves[leaf_bounds[t] : leaf_bounds[t + 1]]
        for g in range(set_bounds[t], set_bounds[t + 1]):
            mask, member = set_mask[g], set_member[g]
            for r in range(rows):
                value[r] = leaf[_lowest_bit(reached[r] & mask)]
            for s in range(total.shape[0]):
                if member >> np.uint64(s) & np.uint64(1):
                    sums = total[s]
                    for r in range(rows):
                        sums[r] += value[r]


@_compiled
def walk(
    X,
    numbers,
    cuts,
    cut_bounds,
    number_codes,
    levels,
    level_sets,
    level_codes,
    node_bounds,
    node_code,
    node_cut,
    node_mask,
    set_bounds,
    set_mask,
    set_member,
    leaf_bounds,
    leaves,
    n_trees,
    block,
    steepness,
    out,
):
    """Score rows, block by block, under every setting; ``steepness`` above 0 asks for the logistic function."""
    n_settings = out.shape[1]
    codes = np.zeros((len(number_codes) + len(level_codes) + 1, block), dtype=np.uint8)
    ranks, kinds = np.zeros(block, dtype=np.int32), np.zeros(block, dtype=np.uint8)
    reached = np.zeros(block, dtype=node_mask.dtype)
    value = np.zeros(block)
    total = np.zeros((n_settings, block))
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
        _add_trees(
            node_bounds,
            node_code,
            node_cut,
            node_mask,
            set_bounds,
            set_mask,
            set_member,
            leaf_bounds,
            leaves,
            n_trees,
            codes,
            reached,
            value,
            total,
        )
        for r in range(rows):
            for s in range(n_settings):
                out[start + r, s] = total[s, r]
    if steepness > 0:
        for r in range(len(X)):
            for s in range(n_settings):
                out[r, s] = 1.0 / (1.0 + math.exp(-steepness * out[r, s]))
