r"""Time `solve_assignment` against HiGHS, OR-Tools' PDLP and maq on a realistic portfolio, all in one run on one core.

    taskset -c 1 python experiments/bench_assign.py --accounts 10000 100000 1000000 10000000 --highs \
        --ortools ORTOOLS/bin/python --maq MAQ/bin/python --peers-up-to 100000 --time-limit 600

Prints for each size seconds (best of three; the processor's own seconds beside them, as another process may share the
core), the same in passes over the matrix (one `argmax` of `values`), the most memory held above what the imports
take, certified gap and the largest excess over a limit. Then the peers on the same problem: HiGHS' dual simplex and
interior point through SciPy and PDLP to 1e-6 on the linear relaxation, each cut off at `--time-limit`; and maq on a
problem with one budget and no eligibility, the only kind it knows.

The peers need not be installed beside collectml; each option names a Python that has them:
    python -m venv ORTOOLS && ORTOOLS/bin/pip install ortools scipy
    python -m venv MAQ && MAQ/bin/pip install numpy scipy cython setuptools, then build the folder python-package of
    the repository grf-labs/maq in place (what is published as maq 0.2 lacks its build files).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
os.environ.update(THREADS)  # before NumPy is loaded

import numpy as np  # noqa: E402

from collectml.policy import AssignmentSolution, solve_assignment  # noqa: E402
from collectml.policy._read import read  # noqa: E402
from collectml.policy.sweep import solve_along  # noqa: E402

MIB = 1024**2


def make_instance(n: int, actions: int = 9, limits: int = 6, seed: int = 0) -> dict[str, Any]:
    """Return a portfolio: heavy-tailed values, expected minutes per account, a budget, capacities and a share limit.

    The first action is to do nothing. The limits come in this order, repeated with other actions where more are asked for: agent
    minutes (per account), budget, capacity of one action, share of one action, expected complaints, capacity of another.
    """
    rng = np.random.default_rng(seed)
    balance = rng.lognormal(7.3, 1.1, n)
    pays = rng.beta(1.2, 6.0, n)
    strength = np.concatenate([[0.0], np.sort(rng.uniform(0.02, 0.30, actions - 1))])
    response = rng.gamma(1.5, 1 / 1.5, (n, actions))
    effect = strength * response - 0.02 * (strength > 0)
    values = balance[:, None] * pays[:, None] * effect
    cost = np.concatenate([[0.0], 0.05 * 1.9 ** np.arange(actions - 1)])
    values -= cost
    values[:, 0] = 0.0
    eligible = rng.random((n, actions)) < 0.85
    eligible[:, 0] = True

    calls = np.arange(actions)[actions // 2 : actions // 2 + 3]
    minutes = np.zeros((n, actions))
    minutes[:, calls] = 2.0 + 9.0 * rng.beta(1.5, 3.0, n)[:, None] * rng.uniform(0.7, 1.3, (n, len(calls)))
    columns: list[np.ndarray] = [minutes, cost]
    for k in range(2, limits):
        column = np.zeros(actions)
        if k % 3 == 1:
            column = np.where(np.arange(actions) > 0, 0.0002 * 1.5 ** np.arange(actions), 0.0)
        else:
            column[1 + (actions - 1 - k) % (actions - 1)] = 1.0
        columns.append(column)
    columns = columns[:limits]
    free = np.where(eligible, values, -np.inf).argmax(axis=1)
    wanted = [float((c[np.arange(n), free] if c.ndim == 2 else c[free]).sum()) for c in columns]
    upper = np.array([w * share for w, share in zip(wanted, rng.uniform(0.35, 0.75, limits), strict=True)])
    upper[2:] = np.where(np.arange(2, limits) % 3 == 1, upper[2:], np.floor(upper[2:]))
    return {
        "values": values,
        "usage": columns,
        "upper": upper,
        "eligible": eligible,
        "tie_key": rng.permutation(n).astype(float),
    }


def one_budget(instance: dict[str, Any]) -> dict[str, Any]:
    """Return the same portfolio with its budget as the only limit and every action permitted."""
    return {
        "values": instance["values"],
        "usage": instance["usage"][1:2],
        "upper": instance["upper"][1:2],
        "tie_key": instance["tie_key"],
    }


def largest_excess(instance: dict[str, Any], action: np.ndarray) -> float:
    """Return by how much the worst limit is exceeded, relative to the limit; usage is summed here, apart from the solver."""
    rows = np.arange(len(action))
    used = np.array([(c[rows, action] if c.ndim == 2 else c[action]).sum() for c in instance["usage"]])
    return float(((used - instance["upper"]) / np.maximum(1.0, np.abs(instance["upper"]))).max())


def memory(field: str) -> int:
    """Return bytes resident now (VmRSS) or at most (VmHWM); Linux only, zero elsewhere."""
    status = Path("/proc/self/status")
    found = re.search(rf"{field}:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return 1024 * int(found[1]) if found else 0


def timed(function: Any, repeat: int) -> tuple[Any, float, float]:
    """Return the last result, and the fewest wall-clock and processor seconds of a few calls."""
    wall, cpu = [], []
    for _ in range(repeat):
        w, c = time.perf_counter(), time.process_time()
        result = function()
        wall.append(time.perf_counter() - w)
        cpu.append(time.process_time() - c)
    return result, min(wall), min(cpu)


def peer(python: str, method: str, instance: dict[str, Any], limit: float) -> dict[str, float]:
    """Hand the problem to another solver in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "problem.npz"
        arrays = {f"usage{k}": c for k, c in enumerate(instance["usage"])}
        eligible = instance.get("eligible", np.ones(instance["values"].shape, dtype=bool))
        np.savez(path, values=instance["values"], upper=instance["upper"], eligible=eligible, **arrays)
        script = Path(__file__).with_name("peer_assign.py")
        command = [python, str(script), method, str(path), str(limit)]
        before = os.times().children_user
        try:
            # loading and stating the problem is not timed, hence the allowance
            run = subprocess.run(command, capture_output=True, text=True, timeout=limit + 120, env={**os.environ, **THREADS})
        except subprocess.TimeoutExpired:
            used = os.times()  # of all peers so far; the one cut off has ended by now
            return {"done": False, "wall": limit, "cpu": used.children_user - before, "value": 0.0}
    if run.returncode:
        raise SystemExit(f"{method} failed: {run.stderr.strip().splitlines()[-1]}")
    found: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    return found


def ours(title: str, instance: dict[str, Any], baseline: int) -> tuple[float, float]:
    """Print what `solve_assignment` takes and gives; return its processor seconds and value."""
    patient = {**instance, "time_limit": 600.0}  # the default of 10 s is for an idle machine
    solve_assignment(**patient)  # compiled loops are loaded, pages touched
    if Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of making the instance
    solution, wall, cpu = timed(lambda: solve_assignment(**patient), 3)
    peak = memory("VmHWM") - baseline
    _, _, one = timed(lambda: instance["values"].argmax(axis=1), 5)
    size = instance["values"].nbytes + sum(c.nbytes for c in instance["usage"])
    print(
        f"{title}\n  solve_assignment: {wall:.3f} s, {cpu:.3f} s of processor = {cpu / one:.1f} passes over the matrix; "
        f"{peak / MIB:,.0f} MiB above the imports = {peak / size:.2f} x (values + usage)\n"
        f"    {solution.status}, certified gap {solution.gap:.1e}, "
        f"largest excess over a limit {largest_excess(instance, solution.action):.1e}",
        flush=True,
    )
    return cpu, solution.value


def frontier(instance: dict[str, Any], swept: int, points: int, cpu: float) -> None:
    """Print what a sweep of one limit takes, from half of its bound to one and a half, in solutions of the same problem."""
    bounds = np.linspace(0.5, 1.5, points) * instance["upper"][swept]

    def sweep() -> list[AssignmentSolution | None]:
        read_once = read(**instance, lower=None, customer=None, contact=None, names=None)
        return solve_along(read_once, swept, bounds.tolist(), 1e-6)

    found, wall, used = timed(sweep, 1)
    solved = [s for s in found if s is not None]
    scarce = sum(s.shadow_prices[swept] > 0 for s in solved)
    print(
        f"  frontier of limit {swept}, {points} bounds ({scarce} of them scarce): {wall:.2f} s, {used:.2f} s of processor = "
        f"{used / cpu:.1f} solutions; largest gap {max(s.gap for s in solved):.1e}",
        flush=True,
    )


def versus(name: str, python: str, method: str, instance: dict[str, Any], limit: float, cpu: float, value: float) -> None:
    """Print how another solver compares."""
    found = peer(python, method, instance, limit)
    if not found["done"]:
        print(
            f"  {name}: cut off after {found['wall']:.0f} s, {found['cpu']:.2f} s of processor, "
            f"at least {found['cpu'] / cpu:,.0f} times as long",
            flush=True,
        )
        return
    print(
        f"  {name}: {found['wall']:.1f} s, {found['cpu']:.2f} s of processor = {found['cpu'] / cpu:,.1f} times as long; "
        f"its value less ours {(found['value'] - value) / max(1.0, abs(value)):.1e} of it",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--accounts", type=int, nargs="+", default=[100_000])
    parser.add_argument("--actions", type=int, default=9)
    parser.add_argument("--limits", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64", help="of values and usage")
    parser.add_argument("--highs", action="store_true", help="HiGHS' simplex and interior point too (minutes)")
    parser.add_argument("--ortools", metavar="PYTHON", help="a Python with ortools and scipy: PDLP too")
    parser.add_argument("--maq", metavar="PYTHON", help="a Python with maq: one budget too")
    parser.add_argument(
        "--frontier", type=int, metavar="POINTS", help="sweep the agent minutes, and the budget, at so many bounds"
    )
    parser.add_argument("--peers-up-to", type=int, default=100_000, help="accounts up to which general solvers are tried")
    parser.add_argument("--time-limit", type=float, default=600.0, help="seconds after which a peer is cut off")
    asked = parser.parse_args()
    tiny = make_instance(60_000, asked.actions, asked.limits)
    solve_assignment(**tiny)  # SciPy's and numba's own memory counts as imports
    del tiny
    baseline = memory("VmRSS")
    for n in asked.accounts:
        instance = make_instance(n, asked.actions, asked.limits, asked.seed)
        instance["values"] = instance["values"].astype(asked.dtype, copy=False)
        instance["usage"] = [c.astype(asked.dtype, copy=False) for c in instance["usage"]]
        title = f"{n:,} accounts x {asked.actions} actions x {asked.limits} limits, seed {asked.seed}, {asked.dtype}"
        cpu, value = ours(title, instance, baseline)
        for swept in (0, 1) if asked.frontier else ():
            frontier(instance, swept, asked.frontier, cpu)
        if n <= asked.peers_up_to:
            if asked.ortools:
                versus("PDLP to 1e-6", asked.ortools, "pdlp", instance, asked.time_limit, cpu, value)
            if asked.highs:
                versus("HiGHS' dual simplex", sys.executable, "highs-ds", instance, asked.time_limit, cpu, value)
                versus("HiGHS' interior point", sys.executable, "highs-ipm", instance, asked.time_limit, cpu, value)
        if asked.maq:
            single = one_budget(instance)
            cpu, value = ours("  the same with one budget", single, baseline)
            versus("maq", asked.maq, "maq", single, asked.time_limit, cpu, value)


if __name__ == "__main__":
    main()
