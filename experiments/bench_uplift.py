"""Our learners beside EconML's, causalml's and metalearners': same data, same LightGBM parameters, share of the oracle's gain captured.

    python experiments/bench_uplift.py --rows 20000 --worlds card charged_off heavy --econml PYTHON --causalml PYTHON --out data/learners

PYTHON is the interpreter of an environment that holds the peer (`make bench-peers` makes them under data/peers). Every learner gets
the same confounded log and ranks 20,000 fresh accounts by predicted outcome; a policy is worth the true outcome of the action ranked
first. Captured: of what the oracle gains over the best single action. "Allowed" is the same for boosters trained on the truth itself.
A peer that takes longer than --time-limit is cut off and printed as such. Peers get dummies for categories and medians for what is
missing, as they cannot take them; EconML's forest gets 200 trees. Two threads and a process each; seconds are of fitting, the peak of
memory is the process's. Coverage is of 95 % limits of single accounts' effects, averaged, for those of our learners that give them.
With --out NAME every run becomes a row of NAME.csv, and NAME.svg shows them: a mark a seed, the mean as a line. Runs that NAME.csv
holds already are not run again, so that a long comparison can be continued.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from bench_learners import allowed, captured
from scipy.special import expit, softmax

from collectml.data import DecisionLog
from collectml.simulation import make_portfolio

FRESH = 20_000
FIGURES = ["captured", "allowed", "effect RMSE", "coverage", "fit seconds", "peak MiB"]
LEARNERS = {
    "collectml": ["hurdle", "ensemble", "s", "t", "x", "dr"],
    "econml": ["SLearner", "TLearner", "XLearner", "DRLearner", "ForestDRLearner"],
    "causalml": ["S", "T", "X", "R"],
    "metalearners": ["S", "T", "X", "R", "DR"],
}
OURS, PEERS = LEARNERS["collectml"], list(LEARNERS)[1:]


def simulated(world: str, logging: str, n: int, seed: int) -> tuple[DecisionLog, pd.DataFrame]:
    """Return a log and the truth of each of its decisions from the simulator."""
    portfolio = make_portfolio(n, world=world, logging=logging, random_state=seed)
    log = DecisionLog(portfolio.decisions, actions=list(portfolio.truth.columns))
    return log, portfolio.truth.loc[log.account].reset_index(drop=True)


def sampled(rng: np.random.Generator, chances: np.ndarray) -> np.ndarray:
    """Draw a position for every row by its chances."""
    return (rng.random(len(chances))[:, None] > np.cumsum(chances, axis=1)).sum(axis=1).clip(0, chances.shape[1] - 1)


def logged(
    X: pd.DataFrame, taken: np.ndarray, recovered: np.ndarray, logging: np.ndarray, truth: np.ndarray
) -> tuple[DecisionLog, pd.DataFrame]:
    """Return a world's decisions as a log, and the truth of each."""
    rows, names = np.arange(len(X)), ["no_action", *(f"action_{a}" for a in range(1, truth.shape[1]))]
    frame = X.assign(
        account_id=rows, decided_at=pd.Timestamp("2026-01-01"), action=np.array(names)[taken], paid=(recovered > 0).astype(int),
        recovered=recovered, logging_propensity=logging[rows, taken],
    )  # fmt: skip
    return DecisionLog(frame, actions=names, features=list(X.columns)), pd.DataFrame(truth, columns=names)


def heavy(n: int, seed: int, *, payers: float = 0.25, actions: int = 8) -> tuple[DecisionLog, pd.DataFrame]:
    """Return a confounded log of a world of its own: few payers, lognormal amounts, effects that cross between actions."""
    rng = np.random.default_rng(seed)
    weights = np.random.default_rng(7)  # the world itself does not change with the seed
    X = pd.DataFrame(rng.normal(size=(n, 12)), columns=[f"x{i}" for i in range(12)])
    X["region"] = pd.Series(rng.choice(list("abcdef"), n), dtype="str")
    X["balance"] = rng.lognormal(7.5, 1.0, n)
    raw = X[[f"x{i}" for i in range(12)]].to_numpy()
    base = np.log(payers / (1 - payers)) + 0.7 * raw[:, 0] - 0.5 * raw[:, 1] + 0.3 * (X["region"] == "a").to_numpy()
    tilt = weights.normal(size=(3, actions)) * 0.35
    effect = 0.15 + raw[:, 2:5] @ tilt + 0.25 * np.tanh(raw[:, 5:6]) * weights.normal(size=(1, actions))
    effect[:, 0] = 0.0
    p = expit(base[:, None] + effect * np.exp(-0.1 * base[:, None] ** 2))
    share = np.clip(0.25 + 0.05 * raw[:, [6]] - 0.06 * (np.arange(actions) == actions - 1), 0.05, 0.9)
    truth = p * share * X["balance"].to_numpy()[:, None]
    logging = softmax(0.6 * effect + 0.3 * raw[:, [0]] * weights.normal(size=(1, actions)), axis=1)
    taken = sampled(rng, logging)
    rows = np.arange(n)
    paid = rng.random(n) < p[rows, taken]
    spread = 0.6
    amount = share[rows, np.minimum(taken, share.shape[1] - 1)] * np.exp(rng.normal(-(spread**2) / 2, spread, n))
    gaps = rng.random((n, 12)) < 0.05
    X[[f"x{i}" for i in range(12)]] = np.where(gaps, np.nan, raw)
    return logged(X, taken, paid * np.minimum(amount, 1.0) * X["balance"].to_numpy(), logging, truth)


def conditions(n: int, seed: int) -> tuple[DecisionLog, pd.DataFrame]:
    """Return a confounded log of a world without smooth effects: thresholds, two features together, levels; amounts change too."""
    actions = 8
    rng = np.random.default_rng(seed)
    world = np.random.default_rng(11)  # the world itself does not change with the seed
    X = pd.DataFrame(rng.normal(size=(n, 10)), columns=[f"x{i}" for i in range(10)])
    raw, region = X.to_numpy(), rng.integers(16, size=n)
    X["region"] = pd.Series(np.array(list("abcdefghijklmnop"))[region], dtype="str")
    X["balance"] = rng.lognormal(7.5, 1.0, n)
    base = -1.2 + 0.8 * raw[:, 0] - 0.6 * np.abs(raw[:, 1]) + 0.5 * (raw[:, 2] > 0) * raw[:, 3]
    effect, times = np.zeros((n, actions)), np.ones((n, actions))
    for a in range(1, actions):
        one, two, three = (
            raw[:, j] > cut for j, cut in zip(world.permutation(8)[:3], world.normal(size=3) * 0.5, strict=True)
        )
        size = world.normal(size=3)
        effect[:, a] = 0.2 + size[0] * one + size[1] * (two & three) + 0.4 * world.normal(size=16)[region]
        times[:, a] = np.exp(0.4 * size[2] * (one ^ two) + 0.2 * world.normal() * raw[:, 8])
    p = expit(base[:, None] + effect)
    share = np.clip(expit(-0.8 + 0.5 * raw[:, [5]] + 0.4 * raw[:, [0]]) * times, 0.02, 0.95)
    logging = softmax(0.4 * effect + 0.3 * base[:, None] * world.normal(size=(1, actions)), axis=1)
    taken = sampled(rng, logging)
    rows = np.arange(n)
    paid = rng.random(n) < p[rows, taken]
    mean = share[rows, taken]
    owed = X["balance"].to_numpy()
    return logged(X, taken, paid * rng.beta(2 * mean, 2 * (1 - mean)) * owed, logging, p * share * owed[:, None])


WORLDS = {
    "card": lambda n, seed: simulated("card", "confounded", n, seed),
    "card_randomised": lambda n, seed: simulated("card", "randomised", n, seed),
    "charged_off": lambda n, seed: simulated("charged_off", "confounded", n, seed),
    "no_effect": lambda n, seed: simulated("no_effect", "confounded", n, seed),
    "heavy": lambda n, seed: heavy(n, seed),
    "few_payers": lambda n, seed: heavy(n, seed, payers=0.02),
    "twenty_actions": lambda n, seed: heavy(n, seed, actions=20),
    "conditions": conditions,
}


def plain(train: pd.DataFrame, fresh: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Turn categories into dummies and fill what is missing, for those who need it."""
    both = pd.get_dummies(pd.concat([train, fresh], ignore_index=True), dtype=float).astype(float)
    both = both.fillna(both.iloc[: len(train)].median()).fillna(0.0)
    return both.iloc[: len(train)], both.iloc[len(train) :]


def ask(
    python: str, library: str, learner: str, folder: Path, limit: float, *more: str
) -> tuple[pd.DataFrame | None, float, float]:
    """Let a library learn in its own environment; return predictions, seconds and MiB, or no predictions where it was cut off."""
    script = Path(__file__).parent / "libraries" / f"{library}_learners.py"
    try:
        done = subprocess.run(
            [python, str(script), learner, str(folder), *more], timeout=limit, capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired:
        return None, limit, float("nan")
    if done.returncode:
        print(f"  {library} {learner}: {done.stderr.strip().splitlines()[-1][:160]}")
        return None, float("nan"), float("nan")
    seconds, peak = done.stdout.split()[-2:]
    return pd.read_parquet(folder / "out.parquet"), float(seconds), float(peak)


def hand_over(log: DecisionLog, fresh: DecisionLog, codes: np.ndarray, folder: Path) -> None:
    """Write what the libraries learn from and are asked about: as it is for ours, made plain for the others."""
    own = {"y_": log.recovered.to_numpy(dtype=float), "action_": codes, "p_": log.logging_propensity.to_numpy()}
    X, X_fresh = plain(log.X, fresh.X)
    X.assign(**own).to_parquet(folder / "train.parquet")
    X_fresh.reset_index(drop=True).to_parquet(folder / "fresh.parquet")
    raw = log.X.assign(**own, paid_=np.asarray(log.paid), customer_=np.asarray(log.customer))
    raw.to_parquet(folder / "log.parquet")
    fresh.X.reset_index(drop=True).to_parquet(folder / "asked.parquet")


def covered(folder: Path, true_effect: np.ndarray) -> float:
    """Return how many effects lie within the limits just handed back, if any were; they are taken away, being one learner's."""
    files = [folder / "low.parquet", folder / "high.parquet"]
    if not files[0].exists():
        return float("nan")
    low, high = (pd.read_parquet(file).to_numpy()[:, 1:] for file in files)
    for file in files:
        file.unlink()
    return float(((true_effect >= low) & (true_effect <= high)).mean())


def measure(world: str, n: int, seed: int, learners: list[tuple[str, str, str]], limit: float) -> pd.DataFrame:
    """Return one row a learner; each is given as its environment's Python, the library and the learner's name."""
    log, truth = WORLDS[world](n, seed)
    fresh, fresh_truth = WORLDS[world](FRESH, seed + 100)
    most = captured(allowed(log, truth, fresh, seed=seed), fresh_truth) if world != "no_effect" else float("nan")
    true_effect = fresh_truth.sub(fresh_truth.iloc[:, 0], axis="index").to_numpy()[:, 1:]
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hand_over(log, fresh, pd.Index(truth.columns).get_indexer(pd.Index(log.action)), folder)
        for python, library, learner in learners:
            said, seconds, peak = ask(
                python, library, learner, folder, limit, *([str(seed)] if library == "collectml" else [])
            )
            row: dict[str, object] = {"world": world, "rows": n, "seed": seed, "learner": f"{library} {learner}"}
            row |= {"fit seconds": seconds, "peak MiB": peak, "allowed": most}
            if said is not None:
                effect = said.sub(said.iloc[:, 0], axis="index").to_numpy()[:, 1:]
                error = float(np.sqrt(np.mean((effect - true_effect) ** 2)))
                row |= {
                    "captured": captured(said.set_axis(truth.columns, axis="columns"), fresh_truth),
                    "effect RMSE": error,
                    "coverage": covered(folder, true_effect),
                }
            rows.append(row)
            print("  " + "  ".join(f"{k} {v:.3f}" if isinstance(v, float) else str(v) for k, v in row.items()), flush=True)
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, path: Path) -> None:
    """Draw what every learner captured in every world: a mark a seed, a line at the mean, dashed what the features allow."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    worlds, learners = table["world"].unique(), table["learner"].unique()[::-1]
    figure = Figure(figsize=(2.0 + 2.0 * len(worlds), 1.0 + 0.27 * len(learners)), layout="constrained")
    for ax, world in zip(np.ravel(figure.subplots(1, len(worlds), sharey=True)), worlds, strict=True):
        here = table[table["world"] == world]
        for height, learner in enumerate(learners):
            colour = "#D55E00" if learner.startswith("collectml") else "#0072B2"
            shares = here.loc[here["learner"] == learner, "captured"].dropna()
            ax.plot(shares, np.full(len(shares), height), "o", color=colour, markersize=3, alpha=0.6)
            if len(shares):
                ax.vlines(shares.mean(), height - 0.35, height + 0.35, color=colour, linewidth=2)
            elif (here["learner"] == learner).any():
                ax.text(0.0, height, "cut off", fontsize=7, color="#666666", va="center", ha="center")
        ax.axvline(here["allowed"].mean(), color="#666666", linewidth=0.8, linestyle="--")
        ax.axvline(0.0, color="#666666", linewidth=0.8)
        ax.set_ylim(-0.7, len(learners) - 0.3)
        ax.set_title(world, fontsize=9)
        ax.set_yticks(range(len(learners)), learners, fontsize=8)
        ax.tick_params(axis="x", labelsize=7)
        ax.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("share of the oracle's gain captured; dashed: what the features allow", fontsize=8)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "learners"}):
        figure.savefig(path, metadata={"Date": None, "Creator": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--worlds", nargs="+", choices=list(WORLDS), default=["card", "heavy"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--ours", nargs="*", choices=OURS, default=OURS)
    parser.add_argument("--econml", metavar="PYTHON")
    parser.add_argument("--causalml", metavar="PYTHON")
    parser.add_argument("--metalearners", metavar="PYTHON")
    parser.add_argument("--time-limit", type=float, default=600.0)
    parser.add_argument("--out", type=Path, metavar="NAME", help="write NAME.csv and NAME.svg")
    asked = parser.parse_args()
    pythons = {peer: given for peer in PEERS if (given := getattr(asked, peer))}
    learners = [(sys.executable, "collectml", name) for name in asked.ours]
    learners += [(python, peer, name) for peer, python in pythons.items() for name in LEARNERS[peer]]
    kept = asked.out.with_suffix(".csv") if asked.out else None
    columns = ["world", "rows", "seed", "learner", *FIGURES]
    table = pd.read_csv(kept).reindex(columns=columns) if kept and kept.exists() else pd.DataFrame(columns=columns)
    for world in asked.worlds:
        for seed in asked.seeds:
            print(f"{world}, seed {seed}, {asked.rows:,} decisions", flush=True)
            here = table[(table["world"] == world) & (table["rows"] == asked.rows) & (table["seed"] == seed)]
            left = [one for one in learners if f"{one[1]} {one[2]}" not in set(here["learner"])]
            if not left:
                continue
            found = measure(world, asked.rows, seed, left, asked.time_limit)
            table = pd.concat([table, found], ignore_index=True)
            if kept:  # what is done is not lost with the last world
                table.to_csv(kept, index=False, float_format="%.4f")
                draw(table[table["rows"] == asked.rows], kept.with_suffix(".svg"))
    mean = table.groupby(["rows", "world", "learner"], sort=False)[FIGURES].mean()
    print(mean.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    main()
