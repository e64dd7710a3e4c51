"""Time `make_portfolio` and one played month on one core, beside the plainest thing a core can do with as many numbers.

    python experiments/bench_simulation.py --accounts 1000000
    python experiments/bench_simulation.py --accounts 1000000 --world charged_off --logging confounded

Prints seconds, accounts per second and peak memory, and the ratio to a physical limit taken in the same run: NumPy draws as many
random numbers as there are cells in the frames made, and writes them to memory. A simulator that only drew what it returns would
stand at 1; the rest is the funnel, the truth of every action, and sorting the logs by time. One thread.
"""

from __future__ import annotations

import os

# before NumPy is imported, or it has started its threads already
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"
os.environ["MKL_NUM_THREADS"] = "1"

import argparse
import resource
import sys
import time

import numpy as np

from collectml.simulation import Portfolio, make_portfolio, rules_assignment

MIB = 1024**2
FRAMES = (
    "accounts", "decisions", "contacts", "payments", "complaints", "capacity",
    "truth", "truth_paid", "truth_cost", "truth_complaints", "truth_minutes",
)  # fmt: skip


def peak_mib() -> float:
    """Return the most memory this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def cells(portfolio: Portfolio) -> int:
    """Return how many values the portfolio's frames hold."""
    return sum(getattr(portfolio, name).size for name in FRAMES)


def draw_and_write(count: int) -> float:
    """Return the seconds NumPy takes to draw `count` uniform numbers into one array."""
    out = np.empty(count)
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    # in blocks, so that nothing but the array itself is ever written
    for first in range(0, count, MIB):
        rng.random(out=out[first : first + MIB])
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accounts", type=int, default=100_000)
    parser.add_argument("--world", choices=["card", "charged_off", "no_effect"], default="card")
    parser.add_argument("--logging", choices=["randomised", "confounded"], default="randomised")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()

    # the constants of a world are solved once and kept: not part of what grows with the accounts
    start = time.perf_counter()
    make_portfolio(100, world=asked.world, random_state=asked.seed)
    print(f"solving the world's constants, once    {time.perf_counter() - start:8.2f} s")

    held = peak_mib()
    start = time.perf_counter()
    portfolio = make_portfolio(asked.accounts, world=asked.world, logging=asked.logging, random_state=asked.seed)
    made = time.perf_counter() - start
    count, peak = cells(portfolio), peak_mib() - held
    limit = draw_and_write(count)
    print(f"make_portfolio, {asked.accounts:>9,} accounts     {made:8.2f} s   {asked.accounts / made:>12,.0f} accounts/s")
    print(f"  peak memory above the start          {peak:8.0f} MiB {count * 8 / MIB:>12,.0f} MiB of values returned")
    print(f"  drawing {count / 1e6:6.1f} million numbers       {limit:8.2f} s   {made / limit:>12.1f} times that limit")

    plan = rules_assignment(portfolio.accounts, portfolio.capacity)
    start = time.perf_counter()
    following = portfolio.realise(plan)
    played = time.perf_counter() - start
    limit = draw_and_write(cells(following))
    print(f"realise, one month under the rules     {played:8.2f} s   {asked.accounts / played:>12,.0f} accounts/s")
    print(
        f"  drawing {cells(following) / 1e6:6.1f} million numbers       {limit:8.2f} s   {played / limit:>12.1f} times that limit"
    )


if __name__ == "__main__":
    main()
