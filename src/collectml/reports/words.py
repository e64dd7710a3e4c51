"""The report in other languages: sentences are looked up by their English form, numbers are carried over as they stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from importlib.resources import files

import yaml
from markupsafe import Markup

from collectml.errors import CollectMLError, ConfigurationError
from collectml.explain import approved_dictionary
from collectml.explain.reasons import SEVERAL, SEVERAL_ZH

from .blocks import Chart

__all__ = ["LANGUAGES", "MissingTranslationError", "Words"]

LANGUAGES = ("en", "zh-CN", "both")
SLOT = re.compile(r"\{(\w+)\}")


class MissingTranslationError(CollectMLError):
    """A sentence of the report that the locale file does not hold; nothing is rendered."""


class Words:
    """Puts the report's sentences into a language.

    Parameters
    ----------
    language : {"en", "zh-CN", "both"}
        English as it is; Chinese; or both, one below the other.

    Notes
    -----
    A locale file maps an English sentence with slots, ``{n} accounts were decided``, to a sentence with the same slots. What
    stands in a slot is carried over character by character, so numerals cannot differ between languages; words in a slot are
    looked up themselves where the file holds them.

    Examples
    --------
    >>> Words("zh-CN").text("Decision sheet")
    '决策单'
    """

    def __init__(self, language: str = "en") -> None:
        if language not in LANGUAGES:
            raise ConfigurationError(f"language {language!r} is unknown; choose one of {', '.join(LANGUAGES)}")
        self.language = language

    def text(self, english: str) -> str:
        """Translate a sentence to Chinese.

        Parameters
        ----------
        english : str
            As the section builders write it.

        Returns
        -------
        str

        Raises
        ------
        MissingTranslationError
            Where the locale file holds no such sentence.
        """
        found = _translated(english)
        if found is None:
            raise MissingTranslationError(f"locale zh-CN has no sentence for: {english[:200]!r}")
        return found

    def markup(self, english: str) -> Markup | str:
        """Give a sentence in the language of the page; escaped, in its own element where both are shown."""
        if self.language == "en":
            return english
        chinese = self.text(english)
        if self.language == "zh-CN":
            return chinese
        return _both(english, chinese)

    def cell(self, value: object, kind: str) -> Markup | str:
        """Write a cell: numbers as in every language, known words in the page's, names as they are."""
        from .render import write_number

        written = write_number(value, kind)
        if kind not in {"text", "list"} or self.language == "en":
            return written
        if isinstance(value, list) and value:
            chinese = "；".join(_translated(part) or part for part in (write_number(v, "text") for v in value))
            return chinese if self.language == "zh-CN" else _both(written, chinese)
        found = _translated(written)
        if found is None:
            return written
        return found if self.language == "zh-CN" else _both(written, found)

    def chart(self, chart: Chart) -> Chart:
        """Put a chart's own words into the language of the page."""
        if self.language == "en":
            return chart

        def known(text: str) -> str:
            chinese = _translated(text)
            if chinese is None or chinese == text:
                return text
            return chinese if self.language == "zh-CN" else f"{text} {chinese}"

        described = "; ".join(f"{known(k)}: {v:,.2f}" for k, v in zip(chart.labels, chart.values, strict=True))
        return replace(
            chart,
            title=known(chart.title),
            description=described,
            labels=[known(x) for x in chart.labels],
            unit=known(chart.unit),
        )


def _both(english: str, chinese: str) -> Markup:
    if english == chinese:
        return Markup("{}").format(english)
    return Markup('<span lang="en">{}</span><span lang="zh-CN">{}</span>').format(english, chinese)


@cache
def locale() -> tuple[Mapping[str, str], list[tuple[re.Pattern[str], str]]]:
    """Read the Chinese locale.

    Returns
    -------
    exact : mapping of str to str
        Sentences without slots.
    slotted : list of (pattern, str)
        Sentences with slots, the longest first.
    """
    words = approved_dictionary()
    approved = {str(said): str(entry["zh-CN"]) for f, entry in words.features.items() for said in (f, entry["en"])}
    approved[SEVERAL] = SEVERAL_ZH
    written = yaml.safe_load(files("collectml.reports").joinpath("locale/zh-CN.yaml").read_text(encoding="utf-8"))
    content = {**approved, **written}
    exact = {k: v for k, v in content.items() if not SLOT.search(k)}
    slotted = sorted(((k, v) for k, v in content.items() if SLOT.search(k)), key=lambda pair: -len(SLOT.sub("", pair[0])))
    return exact, [(re.compile(_pattern(k), re.S), v) for k, v in slotted]


def _pattern(template: str) -> str:
    parts, at = [], 0
    for slot in SLOT.finditer(template):
        parts += [re.escape(template[at : slot.start()]), f"(?P<{slot[1]}>.*?)"]
        at = slot.end()
    return "".join([*parts, re.escape(template[at:])])


def _translated(english: str) -> str | None:
    exact, slotted = locale()
    english = english.replace("\u00a0", " ")
    if not any(c.isalpha() for c in english):
        return english
    if english in exact:
        return exact[english]
    for pattern, template in slotted:
        match = pattern.fullmatch(english)
        if match is not None:
            filled = {k: _translated(v) or v for k, v in match.groupdict().items()}
            return template.format_map(filled)
    return None
