"""Do intervals of uplift metrics hold, and do tests raise as many false alarms as they say? Simulation against known truth.

    python experiments/bench_coverage_metrics.py --replications 2000 --out docs/coverage-metrics.md
    python experiments/bench_coverage_metrics.py --seconds 1000000     # time of each metric instead, as a multiple of one sort

Each replication draws a small log of a world with a known effect, scores it and asks whether the interval holds the truth. Truths
are those of one log of 600,000 rows of the same world, scored by its true effects (no noise), but for group effects, whose truth is the
mean true effect of the group's own members. No learner takes part in the intervals: the ranking is a fixed, imperfect function of the
features, as it is when a model was trained on other customers. In the tests of heterogeneity a model is trained in every replication.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from collectml.uplift import (
    UpliftModel,
    best_linear_predictor,
    doubly_robust_scores,
    heterogeneity_test,
    rank_weighted_average_effect,
    sorted_group_effects,
    uplift_calibration,
    uplift_curve,
    uplift_metrics,
)
from collectml.uplift._ranking import AREAS, RankedScores
from collectml.uplift.scores import DoublyRobustScores

ACTIONS = ["no_action", "call"]


@dataclass(frozen=True)
class World:
    """What a log is drawn from."""

    name: str
    rows: int
    heavy: bool = False
    per_customer: int = 1
    confounded: bool = False
    rounded: bool = False
    effect: float = 1.0


WORLDS = [
    World("randomised, 500 rows", 500),
    World("randomised, 2,000 rows", 2000),
    World("predictions rounded (ties), 1,000 rows", 1000, rounded=True),
    World("confounded, known propensities, 1,000 rows", 1000, confounded=True),
    World("four decisions a customer, 1,000 rows", 1000, per_customer=4),
    World("heavy-tailed amounts, 2,000 rows", 2000, heavy=True),
    World("no effect, 1,000 rows", 1000, effect=0.0),
]


@dataclass(frozen=True)
class Drawn:
    """A log with its truth."""

    priority: np.ndarray
    tau: np.ndarray
    scores: DoublyRobustScores


def draw(world: World, seed: int) -> Drawn:
    """Draw a log; the ranking sees x with noise, the predictions of outcomes are half right."""
    rng = np.random.default_rng(seed)
    n, k = world.rows, world.per_customer
    x, own = np.repeat(rng.normal(size=(2, n // k)), k, axis=1)
    seen = x + 0.5 * rng.normal(size=n)
    priority = np.round(seen) if world.rounded else seen
    tau = world.effect * (0.3 + 0.5 * x)
    p_call = 1 / (1 + np.exp(-x)) if world.confounded else np.full(n, 0.5)
    called = rng.random(n) < p_call
    noise = (rng.random(n) < 0.2) * rng.lognormal(0.5, 1.2, size=n) if world.heavy else rng.normal(size=n) + own
    y = 0.5 * x + tau * called + noise
    predicted = pd.DataFrame({"no_action": 0.25 * x, "call": 0.25 * x})
    scores = doubly_robust_scores(
        predicted,
        action=np.where(called, "call", "no_action"),
        outcome=y,
        logging_propensity=np.where(called, p_call, 1 - p_call),
        customer=np.arange(n) // k,
    )
    return Drawn(priority, tau, scores)


def truths(world: World) -> dict[str, float]:
    """Compute what a log without noise and without end would say."""
    large = draw(World(**{**world.__dict__, "rows": 600_000, "heavy": False}), 99_999_999)
    ranked = RankedScores(large.priority, large.tau)
    spread = large.priority - large.priority.mean()
    return {
        **{name: ranked.area(AREAS[name]).value for name in ("auuc", "qini", "autoc")},
        "average_effect": float(large.tau.mean()),
        "gain at 0.2": float(ranked.gains(np.array([0.2]))[0]),
        "slope": float(np.sum(spread * large.tau) / np.sum(spread**2)),
    }


def intervals(world: World, replications: int, first_seed: int) -> pd.DataFrame:
    """Count how often each interval holds its truth."""
    truth = truths(world)
    held: dict[str, list[bool]] = defaultdict(list)
    for seed in range(replications):
        d = draw(world, first_seed + seed)
        effects = pd.DataFrame({"call": d.priority})
        table = uplift_metrics(effects, d.scores).frame().set_index("metric")
        for name in ("average_effect", "auuc", "qini", "autoc"):
            held[name].append(table.loc[name, "low"] <= truth[name] <= table.loc[name, "high"])
        point = uplift_curve(effects, d.scores, shares=[0.2]).frame().iloc[0]
        held["gain at 0.2"].append(point["low"] <= truth["gain at 0.2"] <= point["high"])
        line = best_linear_predictor(effects, d.scores).frame().iloc[0]
        held["slope"].append(line["low"] <= truth["slope"] <= line["high"])
        groups = sorted_group_effects(effects, d.scores, groups=5)
        members = pd.Series(d.tau).groupby(groups.groups["call"]).mean().to_numpy()
        held["group effects"] += ((groups.table["low"] <= members) & (members <= groups.table["high"])).tolist()
        if seed < replications // 10 and world.rows <= 1000:
            half = rank_weighted_average_effect(
                d.priority, d.scores.effects()["call"], customer=d.scores.customer, interval="half_sample", replicates=100
            )
            held["autoc, half-samples"].append(half.low <= truth["autoc"] <= half.high)
    return pd.DataFrame(
        [{"world": world.name, "interval": name, "held": float(np.mean(v)), "of": len(v)} for name, v in held.items()]
    )


def alarms(replications: int, *, effect: float, rows: int, actions: int) -> dict[str, object]:
    """Count how often the test of heterogeneity, its model trained each time, raises an alarm."""
    names = ["no_action", *(f"action_{a}" for a in range(1, actions))]
    found = []
    for seed in range(replications):
        rng = np.random.default_rng(seed)
        X = pd.DataFrame({"a": rng.normal(size=rows), "b": rng.normal(size=rows)})
        action = rng.choice(names, size=rows)
        base, extra = 0.25 + 0.05 * np.tanh(X["b"]), effect * (X["a"] > 0) * (action == names[1])
        y = 100.0 * (rng.random(rows) < base + extra) * rng.exponential(size=rows)
        model = UpliftModel("t", n_estimators=40, folds=2, random_state=seed, n_jobs=1)
        test = heterogeneity_test(X, y, action=action, logging_propensity=np.full(rows, 1 / actions), model=model, folds=4)
        found.append(test.evidence)
    label = f"{rows:,} rows, {actions - 1} action{'s' if actions > 2 else ''}"
    return {
        "world": label,
        "effect": f"+{effect:.0%} paying",
        "alarms": float(np.mean(found)),
        "of": replications,
    }


def seconds(rows: int) -> str:
    """Time every metric on one action, beside the sort of the predictions that none can do without."""
    d = draw(World("large", rows), 0)
    effects = pd.DataFrame({"call": d.priority})
    began = time.perf_counter()
    np.argsort(d.priority, kind="stable")
    sort = time.perf_counter() - began
    lines = [
        f"{rows:,} rows, one action; one sort of the predictions {sort:.2f} s",
        "",
        "| metric | seconds | sorts |",
        "|---|---:|---:|",
    ]
    for measure in (uplift_metrics, uplift_curve, uplift_calibration, best_linear_predictor, sorted_group_effects):
        began = time.perf_counter()
        measure(effects, d.scores)
        took = time.perf_counter() - began
        lines.append(f"| `{measure.__name__}` | {took:.1f} | {took / sort:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replications", type=int, default=2000)
    parser.add_argument(
        "--tests", type=int, default=400, help="replications of the tests of heterogeneity, which train models"
    )
    parser.add_argument("--part", choices=["intervals", "tests", "both"], default="both")
    parser.add_argument("--out", type=Path, help="write the tables into this Markdown file too")
    parser.add_argument("--seconds", type=int, metavar="ROWS", help="only time the metrics on so many rows")
    options = parser.parse_args()
    if options.seconds:
        print(seconds(options.seconds))
        return
    lines = []
    if options.part in ("intervals", "both"):
        rows = []
        for number, world in enumerate(WORLDS):
            rows.append(intervals(world, options.replications, first_seed=100_000 * number))
            print(rows[-1].to_string(index=False), flush=True)  # what is done is not lost with the last world
        wide = pd.concat(rows).pivot_table(index="world", columns="interval", values="held", sort=False)
        lines += [f"| 95 % intervals of | {' | '.join(wide.columns)} |", "|---|" + "---:|" * len(wide.columns)]
        for name, row in wide.iterrows():
            lines.append(f"| {name} | " + " | ".join("" if np.isnan(v) else f"{v:.1%}" for v in row) + " |")
        lines.append("")
    if options.part in ("tests", "both"):
        lines += ["| test at 5 % | effect on half of the accounts | alarms | of |", "|---|---|---:|---:|"]
        for effect, rows_, actions, share in ((0.0, 800, 2, 1), (0.0, 1200, 4, 1), (0.1, 3000, 2, 4), (0.2, 3000, 2, 4)):
            found = alarms(options.tests // share, effect=effect, rows=rows_, actions=actions)
            lines.append(f"| {found['world']} | {found['effect']} | {found['alarms']:.1%} | {found['of']} |")
            print(lines[-1], flush=True)
    text = "\n".join(lines)
    print(text)
    if options.out:
        before, _, _ = options.out.read_text(encoding="utf-8").partition("<!-- tables -->")
        options.out.write_text(f"{before}<!-- tables -->\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
