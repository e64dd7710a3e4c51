"""From the payload to a page: numbers written out, charts drawn, everything from outside escaped."""

from __future__ import annotations

import math
import string
from collections.abc import Mapping
from typing import Any

import jinja2

from .blocks import Chart, plain
from .charts import draw
from .words import Words

__all__ = ["to_html", "write_number", "write_sentence"]

MOST_PARAGRAPH = 3_000


def write_number(value: object, kind: str) -> str:
    """Write a value for people.

    Parameters
    ----------
    value : object
        From the payload.
    kind : str
        ``text``, ``list``, ``count``, ``money``, ``money2``, ``share`` or ``number``.

    Returns
    -------
    str

    Examples
    --------
    >>> write_number(1234567.891, "money"), write_number(0.0723, "share"), write_number(None, "count")
    ('1,234,568', '7.2 %', '–')
    >>> write_number(-0.001, "money2"), write_number(-0.4, "money")
    ('0.00', '0')
    >>> write_number(7.7331, "number"), write_number(3, "number"), write_number(2e-6, "number")
    ('7.73', '3', '< 0.001')
    """
    if value is None or value in ("", []):
        return "–"
    if isinstance(value, list):
        return "; ".join(write_number(v, "text") for v in value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return plain(str(value))
    match kind:
        case "count" | "money":
            return f"{round(value) + 0:,.0f}"
        case "money2":
            return f"{round(value, 2) + 0.0:,.2f}"  # no sum of money is "-0.00"
        case "share":
            return f"{100 * value:.1f} %"
        case "number":
            return _significant(value)
    return f"{value:,}"


class _Form(string.Formatter):
    """Writes what is missing as words, whatever its format."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if value is None:
            return "not known"
        return plain(value) if isinstance(value, str) else str(format(value, format_spec))


def write_sentence(sentence: Mapping[str, Any]) -> str:
    """Write a sentence of the payload.

    Parameters
    ----------
    sentence : mapping
        ``form`` and ``values``.

    Returns
    -------
    str

    Examples
    --------
    >>> write_sentence({"form": "{n:,} accounts, {share:.1%} of all", "values": {"n": 4000, "share": None}})
    '4,000 accounts, not known of all'
    """
    return _Form().vformat(sentence["form"], (), sentence["values"])


def _significant(value: float) -> str:
    if not math.isfinite(value) or value == round(value) or abs(value) >= 10_000:
        return f"{value:,.0f}"
    if abs(value) < 0.0005:
        return "< 0.001" if value > 0 else "> -0.001"
    return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.3f}"


def to_html(payload: dict[str, Any], *, language: str = "en") -> str:
    """Render the payload as one self-contained page.

    Parameters
    ----------
    payload : dict
        From :func:`~collectml.reports.build_payload`.
    language : {"en", "zh-CN", "both"}
        English, Simplified Chinese, or side by side; numerals are the same in all three.

    Returns
    -------
    str
        HTML without script or outside reference.

    Raises
    ------
    MissingTranslationError
        Naming the sentence that the locale file does not hold.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("collectml.reports"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        write=write_number, plain=plain, prose=lambda sentence: plain(write_sentence(sentence), MOST_PARAGRAPH)
    )
    words = Words(language)
    environment.filters.update(tr=words.markup, cell=words.cell)
    number = 0
    drawings: list[list[str]] = []
    for section in payload["sections"]:
        drawings.append([])
        for chart in section["charts"]:
            number += 1
            drawings[-1].append(draw(words.chart(Chart(**chart)), number))
    return environment.get_template("committee.html.j2").render(p=payload, drawings=drawings, language=language)
