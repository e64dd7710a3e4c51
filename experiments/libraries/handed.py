"""What a library is handed, and hands back: frames in a folder; its last line says seconds of fitting and the peak of its memory in MiB."""

import resource
from typing import NamedTuple

import numpy as np
import pandas as pd


class Task(NamedTuple):
    """Features without gaps or categories, outcomes and positions of the actions taken, and the accounts asked about."""

    X: np.ndarray
    y: np.ndarray
    codes: np.ndarray
    fresh: np.ndarray


def take(folder: str) -> Task:
    """Read what is handed over."""
    train = pd.read_parquet(f"{folder}/train.parquet")
    X = train.drop(columns=["y_", "action_", "p_"]).to_numpy()
    fresh = pd.read_parquet(f"{folder}/fresh.parquet").to_numpy()
    return Task(X, train["y_"].to_numpy(), train["action_"].to_numpy(), fresh)


def hand_back(folder: str, said: np.ndarray, seconds: float) -> None:
    """Write what every action is said to bring, one column each, and print what it took."""
    pd.DataFrame(said, columns=[str(a) for a in range(said.shape[1])]).to_parquet(f"{folder}/out.parquet")
    print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
