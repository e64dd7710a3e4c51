"""Tables as CSV that a spreadsheet reads as text and numbers, whatever the names in them say."""

from __future__ import annotations

import pandas as pd

from .blocks import plain

__all__ = ["inert_csv"]

STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def inert_csv(frame: pd.DataFrame) -> str:
    r"""Write a frame as CSV in which no cell is a formula.

    Parameters
    ----------
    frame : DataFrame
        Any; its index is left out.

    Returns
    -------
    str
        Numbers as they are. Text that a spreadsheet would take for a formula gets an apostrophe before it; marks that turn
        writing round are taken out, and no text is longer than 300 characters.

    References
    ----------
    OWASP, CSV injection.

    Examples
    --------
    >>> inert_csv(pd.DataFrame({"action": ["sms", "=cmd|' /C calc'!A0"], "net": [1.5, -2.0]}))
    "action,net\nsms,1.5\n'=cmd|' /C calc'!A0,-2.0\n"
    """
    texts = [c for c in frame.columns if not pd.api.types.is_numeric_dtype(frame[c].dtype)]
    shown = frame.assign(**{str(c): frame[c].map(_inert, na_action="ignore") for c in texts})
    return str(shown.rename(columns=_inert).to_csv(index=False, lineterminator="\n"))


def _inert(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.lstrip(" ").startswith(STARTS) else text
