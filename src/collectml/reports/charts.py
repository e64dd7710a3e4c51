"""Static charts in one style: Okabe and Ito's colours, a title and a description in the drawing, the same bytes each time."""

from __future__ import annotations

import html
import io
import json
import re
import warnings
from dataclasses import asdict
from functools import lru_cache

from .blocks import Chart, plain

__all__ = ["draw"]

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#555555"
MOST_LABEL = 44
MOST_DESCRIPTION = 3_000
SETTINGS = {"svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9.5}


def draw(chart: Chart, number: int) -> str:
    """Draw a chart as inline SVG.

    Parameters
    ----------
    chart : Chart
        What to draw.
    number : int
        Its number in the report, which makes the ids in the drawing unique.

    Returns
    -------
    str
        An ``<svg>`` element with ``<title>`` and ``<desc>``.
    """
    return _draw(json.dumps(asdict(chart)), number)


@lru_cache(maxsize=64)  # the page and the PDF of a report show the same drawings
def _draw(content: str, number: int) -> str:
    from matplotlib import style
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    chart = Chart(**json.loads(content))
    # from matplotlib's own defaults: a style set elsewhere must not change the page
    with style.context(["default", {**SETTINGS, "svg.hashsalt": f"chart-{number}"}]), warnings.catch_warnings():
        # letters are drawn by the reader's browser; matplotlib only measures them, and its font lacks many
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        n = len(chart.labels)
        figure = Figure(figsize=(7.2, 0.75 + 0.32 * max(n, 1)), layout="constrained")
        ax = figure.subplots()
        at = list(range(n))[::-1]
        if chart.low is not None and chart.high is not None:
            ax.hlines(at, chart.low, chart.high, color=BLUE, linewidth=2.2)
            ax.plot(chart.values, at, "o", color=BLUE, markersize=6)
            if any(v < 0 for v in chart.low) and any(v > 0 for v in chart.high):
                ax.axvline(0, color=GREY, linewidth=0.8, linestyle="--")
        else:
            colours = [BLUE if v >= 0 else ORANGE for v in chart.values]
            bars = ax.barh(at, chart.values, height=0.62, color=colours)
            for bar, value in zip(bars, chart.values, strict=True):
                bar.set_hatch("" if value >= 0 else "///")
        if chart.reference is not None:
            ax.plot(chart.reference, at, "|", color=ORANGE, markersize=16, markeredgewidth=2.4)
        ax.set_yticks(at, [_short(label) for label in chart.labels])
        ax.set_ylim(-0.6, n - 0.4)
        ax.set_xlabel(chart.unit)
        ax.spines[["top", "right", "left"]].set_visible(False)
        ax.tick_params(axis="y", length=0)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.6g}"))
        sink = io.StringIO()
        # no date, no creator: the same numbers give the same bytes
        figure.savefig(sink, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    drawing = sink.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.S)
    title, description = html.escape(plain(chart.title)), html.escape(plain(chart.description, MOST_DESCRIPTION))
    head = f'<title id="t{number}">{title}</title><desc id="d{number}">{description}</desc>'
    opening, rest = drawing.split(">", 1)
    opening = re.sub(r' (width|height|xmlns|xmlns:xlink)="[^"]*"', "", opening)
    return f'{opening} role="img" aria-labelledby="t{number} d{number}">{head}{_in_tags(rest, number)}'


def _in_tags(drawing: str, number: int) -> str:
    """Make ids unique on the page and take its font; text between tags stays as it is."""

    def one(tag: re.Match[str]) -> str:
        text = tag[0].replace("xlink:href", "href")
        text = re.sub(r' id="([^"]+)"', rf' id="c{number}-\1"', text)
        text = re.sub(r' href="#([^"]+)"', rf' href="#c{number}-\1"', text)
        text = re.sub(r"url\(#([^)]+)\)", rf"url(#c{number}-\1)", text)
        return re.sub(r"font-family: [^;]*;", "font-family: inherit;", text)

    return re.sub(r"<[^>]+>", one, drawing)


def _short(label: str) -> str:
    # a dollar would start a formula in matplotlib; line breaks and marks that turn writing round have no place on an axis
    return plain("".join(c for c in label if c.isprintable()), MOST_LABEL).replace("$", r"\$")
