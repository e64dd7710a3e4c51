"""Charts of the room: intervals in rows, curves with bands; Okabe and Ito's palette, no display needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "GREY", "curve_chart", "interval_chart"]

# Okabe and Ito's palette: told apart in every common form of colour blindness
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")
GREY = "#666666"


def interval_chart(names: Sequence[str], value: pd.Series, low: pd.Series, high: pd.Series, label: str) -> Figure:
    """Draw estimates with their intervals, a row each, and a line at zero."""
    from matplotlib.figure import Figure  # heavy, and most results are only read

    figure = Figure(figsize=(6, 1.2 + 0.4 * len(names)), layout="constrained")
    ax = figure.subplots()
    heights = np.arange(len(names))[::-1]
    ax.axvline(0.0, color=GREY, linewidth=0.8, linestyle="--")
    ax.hlines(heights, low, high, color=COLOURS[0])
    ax.plot(value, heights, "o", color=COLOURS[0])
    ax.set_yticks(heights, list(names))
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.set_xlabel(label)
    ax.spines[["top", "right"]].set_visible(False)
    return figure


def curve_chart(
    lines: pd.DataFrame, *, by: str, x: str, y: str, reference: str | None, x_label: str, y_label: str, points: bool = False
) -> Figure:
    """Draw one line (or set of points) with its band for each value of `by`; `reference` names a column drawn dashed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    ax = figure.subplots()
    for i, (name, rows) in enumerate(lines.groupby(by, sort=False)):
        colour = COLOURS[i % len(COLOURS)]
        if points:
            ax.vlines(rows[x], rows["low"], rows["high"], color=colour)
            ax.plot(rows[x], rows[y], "o", color=colour, label=str(name))
        else:
            ax.fill_between(rows[x], rows["low"], rows["high"], color=colour, alpha=0.15, linewidth=0)
            ax.plot(rows[x], rows[y], color=colour, label=str(name))
        if reference is not None:
            ax.plot(rows[x], rows[reference], color=GREY if points else colour, linewidth=0.8, linestyle="--")
    ax.axhline(0.0, color=GREY, linewidth=0.6)
    ax.set_xlabel(x_label)
    ax.set_ylabel(y_label)
    ax.legend(frameon=False)
    ax.spines[["top", "right"]].set_visible(False)
    return figure
