"""Solve one assignment problem with another solver; `bench_assign.py` runs this, with a Python that has it.

    python experiments/peer_assign.py highs-ds|highs-ipm|pdlp|maq PROBLEM.npz SECONDS

The problem is an npz file with `values` (n, A), `eligible` (n, A), `upper` (K,) and `usage0` ... (A,) or (n, A). Prints JSON: whether it
ran to its end, seconds by the clock and of the processor, and the value. Stating the problem is not timed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Problem = dict[str, np.ndarray]


def relaxation(problem: Problem) -> tuple[np.ndarray, Any, np.ndarray, Any]:
    """Return (cost, limits matrix, upper, row matrix) of the linear relaxation, eligible pairs only."""
    from scipy import sparse

    row, action = np.nonzero(problem["eligible"])
    columns = [problem[f"usage{k}"] for k in range(len(problem["upper"]))]
    used = np.vstack([c[row, action] if c.ndim == 2 else c[action] for c in columns])
    n = len(problem["values"])
    rows = sparse.csr_array((np.ones(len(row)), (row, np.arange(len(row)))), shape=(n, len(row)))
    return -problem["values"][row, action].astype(float), sparse.csr_array(used), problem["upper"], rows


def highs(problem: Problem, method: str, limit: float) -> Callable[[], tuple[bool, float]]:
    from scipy import optimize

    cost, used, upper, rows = relaxation(problem)

    def solve() -> tuple[bool, float]:
        found = optimize.linprog(
            cost, A_ub=used, b_ub=upper, A_eq=rows, b_eq=np.ones(rows.shape[0]), bounds=(0, None), method=method,
            options={"time_limit": limit},
        )  # fmt: skip
        return found.status == 0, -float(found.fun) if found.status == 0 else 0.0

    return solve


def pdlp(problem: Problem, limit: float) -> Callable[[], tuple[bool, float]]:
    from ortools.pdlp import solve_log_pb2, solvers_pb2
    from ortools.pdlp.python import pdlp as engine
    from scipy import sparse

    cost, used, upper, rows = relaxation(problem)
    program = engine.QuadraticProgram()
    program.resize_and_initialize(len(cost), rows.shape[0] + len(upper))
    program.objective_vector = cost
    program.constraint_matrix = sparse.csc_matrix(sparse.vstack([rows, used]))
    ones = np.ones(rows.shape[0])
    program.constraint_lower_bounds = np.concatenate([ones, np.full(len(upper), -np.inf)])
    program.constraint_upper_bounds = np.concatenate([ones, upper])
    program.variable_lower_bounds = np.zeros(len(cost))
    program.variable_upper_bounds = np.full(len(cost), np.inf)
    how = solvers_pb2.PrimalDualHybridGradientParams()
    how.num_threads = 1
    how.termination_criteria.time_sec_limit = limit
    how.termination_criteria.simple_optimality_criteria.eps_optimal_absolute = 1e-6
    how.termination_criteria.simple_optimality_criteria.eps_optimal_relative = 1e-6

    def solve() -> tuple[bool, float]:
        found = engine.primal_dual_hybrid_gradient(program, how)
        done = found.solve_log.termination_reason == solve_log_pb2.TERMINATION_REASON_OPTIMAL
        return done, -float(cost @ found.primal_solution)

    return solve


def maq(problem: Problem) -> Callable[[], tuple[bool, float]]:
    from maq import MAQ

    # relative to the first action, which is to do nothing and costs nothing
    reward = np.ascontiguousarray(problem["values"][:, 1:] - problem["values"][:, :1], dtype=float)
    cost = np.ascontiguousarray(np.broadcast_to(problem["usage0"], problem["values"].shape)[:, 1:], dtype=float)
    budget = float(problem["upper"][0]) / len(reward)

    def solve() -> tuple[bool, float]:
        model = MAQ(budget=budget, n_bootstrap=0, n_threads=1)
        model.fit(reward, cost, reward)
        share = model.predict(budget)
        return True, float((share * reward).sum() + problem["values"][:, 0].sum())

    return solve


def main() -> None:
    method, path, limit = sys.argv[1], sys.argv[2], float(sys.argv[3])
    with np.load(path) as stored:
        problem = {name: stored[name] for name in stored.files}
    ways: dict[str, Callable[[], Callable[[], tuple[bool, float]]]] = {
        "maq": lambda: maq(problem),
        "pdlp": lambda: pdlp(problem, limit),
    }
    solve = ways.get(method, lambda: highs(problem, method, limit))()
    wall, cpu = time.perf_counter(), time.process_time()
    done, value = solve()
    taken = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    print(json.dumps({"done": done, "value": value, **taken}))


if __name__ == "__main__":
    main()
