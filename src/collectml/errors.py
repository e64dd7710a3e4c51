"""What can go wrong, one page: every error a person can act on, each with the exit code the command line ends with.

Arguments of the wrong kind raise ``ValueError`` or ``TypeError`` as anywhere in Python; the classes here are the states of
the field: a strategy that cannot be read, data that breaks its contract, limits that cannot hold together, a service away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ArtifactError",
    "CollectMLError",
    "ConfigurationError",
    "InfeasibleStrategyError",
    "NotFittedError",
    "PromotionRefusedError",
    "SchemaError",
    "ServiceUnavailableError",
]


class CollectMLError(Exception):
    """Base of all errors of the library.

    Attributes
    ----------
    exit_code : int
        What the ``collectml`` command ends with when this error stops it.
    """

    exit_code: int = 1


class ConfigurationError(CollectMLError, ValueError):
    """A strategy, experiment or option that cannot be used as written (exit code 2)."""

    exit_code = 2


class SchemaError(CollectMLError, ValueError):
    """Data that breaks its contract (exit code 3): all faults at once, never the offending personal data.

    Parameters
    ----------
    message : str
        One line a person can act on.
    faults : DataFrame, optional
        One row a fault: ``table, column, check, rows, examples, kind`` with kind ``"structural"`` or ``"row"``.
    """

    exit_code = 3

    def __init__(self, message: str, faults: pd.DataFrame | None = None) -> None:
        super().__init__(message)
        self.faults = faults


class InfeasibleStrategyError(CollectMLError, ValueError):
    """Limits that no assignment can satisfy together (exit code 4).

    Parameters
    ----------
    message : str
        Which limits conflict, in words.
    limits : sequence of str
        Their names.
    gives : mapping of str to float, optional
        By how much each must give at least, in its unit, if the others stay as they are; without those for which that
        is not known.
    """

    exit_code = 4

    def __init__(self, message: str, limits: Sequence[str] = (), gives: Mapping[str, float] | None = None) -> None:
        super().__init__(message)
        self.limits = tuple(limits)
        self.gives = dict(gives or {})


class ServiceUnavailableError(CollectMLError):
    """A database or an indispensable tracking server that cannot be reached (exit code 5)."""

    exit_code = 5


class ArtifactError(CollectMLError):
    """A saved model that is incomplete, altered or of a format this version does not read (exit code 1)."""


class PromotionRefusedError(CollectMLError):
    """A model version that may not decide yet: a line for each gate that does not hold (exit code 6)."""

    exit_code = 6


class NotFittedError(CollectMLError, ValueError, AttributeError):
    """A model asked to predict before it was fitted.

    Inherits from what scikit-learn's own error inherits from, so that code written for either catches both.
    """
