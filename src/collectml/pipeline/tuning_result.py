"""What a tuning tried, and whether the best of it beat the defaults on customers that no trial had seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["TrialRecord", "TuningResult"]

_BLUE, _VERMILION, _GREY = "#0072B2", "#D55E00", "#999999"


@dataclass(frozen=True)
class TrialRecord:
    """One trial.

    Attributes
    ----------
    number : int
        From 0. The defaults come first.
    state : {"complete", "pruned", "failed"}
    value : float or None
        Mean score per decision (larger is better); of a pruned trial that of the folds it got to.
    params : dict
        What :class:`collectml.UpliftModel` was given beyond its defaults.
    fold_values : tuple of float
        Running mean after each fold.
    seconds : float
    """

    number: int
    state: str
    value: float | None
    params: dict[str, object]
    fold_values: tuple[float, ...]
    seconds: float


@dataclass(frozen=True)
class TuningResult:
    """The parameters to use, and why.

    Attributes
    ----------
    params : dict
        For :class:`collectml.UpliftModel`; empty where the defaults stay.
    objective : {"policy_value", "dr_loss"}
    trials : tuple of TrialRecord
        Of the whole study, earlier sittings included.
    difference, low, high : float
        Mean score per decision of the best trial less that of the defaults, on held-out customers, and its interval; 0
        where the best trial is the defaults.
    held_out_decisions : int
    study : str
        Name of the study.
    """

    params: dict[str, object]
    objective: str
    trials: tuple[TrialRecord, ...]
    difference: float
    low: float
    high: float
    held_out_decisions: int
    study: str

    @property
    def defaults(self) -> TrialRecord:
        """The trial of the defaults."""
        return next(t for t in self.trials if t.state == "complete" and not t.params)

    @property
    def best(self) -> TrialRecord:
        """The trial with the highest value; the defaults where nothing is above them."""
        complete = [t for t in self.trials if t.state == "complete" and t.value is not None]
        return max(complete, key=lambda t: (t.value or 0.0, -t.number))

    def frame(self) -> pd.DataFrame:
        """Return one row per trial.

        Returns
        -------
        DataFrame
            ``trial, state, value, seconds``, and a column for each parameter (missing: the model's default).
        """
        rows = [
            {"trial": t.number, "state": t.state, "value": t.value, "seconds": t.seconds, **t.params} for t in self.trials
        ]
        return pd.DataFrame(rows)

    def facts(self) -> Mapping[str, object]:
        """Return what a run's evidence keeps: counts, values and the chosen parameters."""
        states = [t.state for t in self.trials]
        return {
            "objective": self.objective,
            "study": self.study,
            "trials": len(states),
            "pruned": states.count("pruned"),
            "failed": states.count("failed"),
            "defaults_value": self.defaults.value,
            "best_value": self.best.value,
            "best_trial": self.best.number,
            "held_out_difference": self.difference,
            "held_out_low": self.low,
            "held_out_high": self.high,
            "held_out_decisions": self.held_out_decisions,
            "params": dict(self.params),
        }

    def sentence(self) -> str:
        """Say in words what came of it.

        Returns
        -------
        str
        """
        count = f"{len(self.trials)} trial" + "s" * (len(self.trials) != 1)
        if not self.best.params:
            return f"{count}: none was better than the defaults, which stay."
        verdict = "is used" if self.params else "is not better there: the defaults stay"
        unit = "policy value per decision" if self.objective == "policy_value" else "negative squared error of the effects"
        return (
            f"{count}: the best, number {self.best.number}, differs from the defaults by {self.difference:+,.3f} "
            f"({self.low:+,.3f} to {self.high:+,.3f}) in {unit} on {self.held_out_decisions:,} held-out decisions; it {verdict}."
        )

    def plot(self) -> Figure:
        """Draw the trials' values in order; the defaults' as a line, pruned ones hollow.

        Returns
        -------
        matplotlib.figure.Figure
        """
        from matplotlib.figure import Figure  # heavy, and most tunings are only read

        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        ax = figure.subplots()
        for state, fill in (("complete", _BLUE), ("pruned", "none")):
            shown = [(t.number, t.value) for t in self.trials if t.state == state and t.value is not None]
            ax.plot([n for n, _ in shown], [v for _, v in shown], "o", color=_BLUE, markerfacecolor=fill, label=state)
        ax.plot([self.best.number], [self.best.value or 0.0], "o", color=_VERMILION, label="best")
        ax.axhline(self.defaults.value or 0.0, color=_GREY, linewidth=0.8, linestyle="--")
        ax.set_xlabel("trial")
        ax.set_ylabel(f"{self.objective.replace('_', ' ')} (higher is better)")
        ax.legend(frameon=False)
        ax.spines[["top", "right"]].set_visible(False)
        return figure
