"""The approved dictionary: what features are called, in English and Chinese, what may be told, and what can change."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import yaml

__all__ = ["FeatureWords", "approved_dictionary"]


class FeatureWords:
    """Words for features.

    Parameters
    ----------
    groups : mapping
        By group, its name in each language.
    features : mapping
        By feature ``group``, text in each language, ``customer`` and ``actionable``.

    Examples
    --------
    >>> words = approved_dictionary()
    >>> words.texts("en")["promises_kept"], words.texts("zh-CN")["promises_kept"]
    ('promises kept', '已兑现的还款承诺')
    >>> "hardship" in words.texts("en"), words.group_names("en")["arrears"]
    (False, 'What is owed')
    """

    def __init__(self, groups: Mapping[str, Mapping[str, str]], features: Mapping[str, Mapping[str, object]]) -> None:
        self.groups = groups
        self.features = features

    def texts(self, language: str = "en") -> dict[str, str]:
        """Give the texts that may be told to a customer.

        Parameters
        ----------
        language : {"en", "zh-CN"}
            Which.

        Returns
        -------
        dict of str to str
            By feature; what must not be told is not in it.
        """
        return {f: str(entry[language]) for f, entry in self.features.items() if entry["customer"]}

    def group_names(self, language: str = "en") -> dict[str, str]:
        """Give the group of each feature.

        Parameters
        ----------
        language : {"en", "zh-CN"}
            Which.

        Returns
        -------
        dict of str to str
        """
        return {f: self.groups[str(entry["group"])][language] for f, entry in self.features.items()}

    @property
    def actionable(self) -> tuple[str, ...]:
        """Features that can change."""
        return tuple(f for f, entry in self.features.items() if entry["actionable"])

    @property
    def expected_signs(self) -> dict[str, int]:
        """By feature, whether payment should become likelier (1) or less likely (-1) as it grows; only where experts agree."""
        return {f: int(str(entry["expected"])) for f, entry in self.features.items() if "expected" in entry}

    @property
    def forbidden(self) -> tuple[str, ...]:
        """Features that are never told to a customer."""
        return tuple(f for f, entry in self.features.items() if not entry["customer"])


@cache
def approved_dictionary() -> FeatureWords:
    """Read the dictionary shipped for the fields of the account snapshot.

    Returns
    -------
    FeatureWords
    """
    content = yaml.safe_load(files("collectml.explain").joinpath("dictionary.yaml").read_text(encoding="utf-8"))
    return FeatureWords(MappingProxyType(content["groups"]), MappingProxyType(content["features"]))
