"""BLAKE2b with a key and a digest of 8 bytes for many short texts at once, as machine code; hashlib says the same of each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collectml.machine_code import machine_code

Words = NDArray[np.uint64]
Bytes = NDArray[np.uint8]

LANES = 64  # texts hashed side by side: what each step costs beside its sums is shared, and all fits the first cache
LONGEST = 128  # bytes of a text: one block of BLAKE2b

IV = np.array(
    [
        0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
        0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179,
    ],
    dtype=np.uint64,
)  # fmt: skip
SIGMA = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
        [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
        [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
        [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
        [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
        [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
        [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
        [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
        [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    ],
    dtype=np.int64,
)
COLUMNS = np.array(
    [
        [0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15],
        [0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14],
    ],
    dtype=np.int64,
)  # fmt: skip


@machine_code
def _compress(state: Words, message: Words, counted: Words, last: bool, v: Words) -> None:
    """Take in a block for every lane; `v` is room to work in."""
    for i in range(8):
        for lane in range(LANES):
            v[i, lane] = state[i, lane]
            v[i + 8, lane] = IV[i]
    for lane in range(LANES):
        v[12, lane] ^= counted[lane]
    if last:
        for lane in range(LANES):
            v[14, lane] = ~v[14, lane]
    for turn in range(12):
        for g in range(8):
            a, b, c, d = COLUMNS[g, 0], COLUMNS[g, 1], COLUMNS[g, 2], COLUMNS[g, 3]
            first, second = SIGMA[turn, 2 * g], SIGMA[turn, 2 * g + 1]
            for lane in range(LANES):
                va = v[a, lane] + v[b, lane] + message[first, lane]
                vd = v[d, lane] ^ va
                vd = (vd >> np.uint64(32)) | (vd << np.uint64(32))
                vc = v[c, lane] + vd
                vb = v[b, lane] ^ vc
                vb = (vb >> np.uint64(24)) | (vb << np.uint64(40))
                va = va + vb + message[second, lane]
                vd = vd ^ va
                vd = (vd >> np.uint64(16)) | (vd << np.uint64(48))
                vc = vc + vd
                vb = vb ^ vc
                vb = (vb >> np.uint64(63)) | (vb << np.uint64(1))
                v[a, lane], v[b, lane], v[c, lane], v[d, lane] = va, vb, vc, vd
    for i in range(8):
        for lane in range(LANES):
            state[i, lane] ^= v[i, lane] ^ v[i + 8, lane]


@machine_code
def _keyed(key: Words, v: Words) -> Words:
    """Return the state after the block of the key (32 bytes), in every lane."""
    state, message = np.empty((8, LANES), np.uint64), np.zeros((16, LANES), np.uint64)
    counted = np.full(LANES, np.uint64(128))
    for lane in range(LANES):
        for i in range(8):
            state[i, lane] = IV[i]
        state[0, lane] ^= np.uint64(0x01010000 ^ (32 << 8) ^ 8)
        for i in range(4):
            message[i, lane] = key[i]
    _compress(state, message, counted, False, v)
    return state


@machine_code
def hash_numbers(numbers: NDArray[np.int64], key: Words, out: Words) -> None:
    """Hash whole numbers, written in decimal."""
    v = np.empty((16, LANES), np.uint64)
    start, state = _keyed(key, v), np.empty((8, LANES), np.uint64)
    message, counted, digits = np.zeros((16, LANES), np.uint64), np.empty(LANES, np.uint64), np.empty(20, np.uint64)
    for begin in range(0, len(numbers), LANES):
        for lane in range(LANES):
            number = numbers[min(begin + lane, len(numbers) - 1)]
            negative = number < 0
            left = np.uint64(-(number + 1)) + np.uint64(1) if negative else np.uint64(number)
            count = 0
            while True:
                digits[count] = left % np.uint64(10)
                left = left // np.uint64(10)
                count += 1
                if left == 0:
                    break
            for i in range(3):  # a sign and nineteen digits fill three words at most
                message[i, lane] = np.uint64(0)
            at = 0
            if negative:
                message[0, lane] = np.uint64(45)
                at = 1
            for i in range(count):
                message[at >> 3, lane] |= (digits[count - 1 - i] + np.uint64(48)) << np.uint64(8 * (at & 7))
                at += 1
            counted[lane] = np.uint64(128 + at)
        state[:] = start
        _compress(state, message, counted, True, v)
        for lane in range(min(LANES, len(numbers) - begin)):
            out[begin + lane] = state[0, lane]


@machine_code
def hash_texts(data: Bytes, offsets: NDArray[np.int64], key: Words, out: Words) -> int:
    """Hash texts given as bytes one after another; returns how many were empty or too long and so left out."""
    v = np.empty((16, LANES), np.uint64)
    start, state = _keyed(key, v), np.empty((8, LANES), np.uint64)
    message, counted = np.zeros((16, LANES), np.uint64), np.empty(LANES, np.uint64)
    n, left_out = len(offsets) - 1, 0
    for begin in range(0, n, LANES):
        message[:] = 0
        for lane in range(LANES):
            row = min(begin + lane, n - 1)
            size = offsets[row + 1] - offsets[row]
            if size == 0 or size > LONGEST:
                left_out += lane < n - begin
                size = 1
            for i in range(size):
                message[i >> 3, lane] |= np.uint64(data[offsets[row] + i]) << np.uint64(8 * (i & 7))
            counted[lane] = np.uint64(128 + size)
        state[:] = start
        _compress(state, message, counted, True, v)
        for lane in range(min(LANES, n - begin)):
            out[begin + lane] = state[0, lane]
    return left_out
