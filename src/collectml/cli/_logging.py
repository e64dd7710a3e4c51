"""Structured logs: a JSON object a line, for whoever watches batches by machine."""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

from collectml.errors import ConfigurationError

__all__ = ["JsonLines", "logging_to"]


class JsonLines(logging.Formatter):
    """Write a record as one JSON object: ``time`` (UTC), ``level``, ``event`` and the facts that came with it.

    Examples
    --------
    >>> record = logging.LogRecord("collectml.batch", logging.INFO, "", 0, "stage", None, None)
    >>> record.facts = {"stage": "assigning"}
    >>> sorted(json.loads(JsonLines().format(record)))
    ['event', 'level', 'stage', 'time']
    """

    def format(self, record: logging.LogRecord) -> str:
        """Write one record; texts that others format into a message are not ours to repeat, so only facts are added."""
        at = datetime.datetime.fromtimestamp(record.created, tz=datetime.UTC)
        line = {"time": at.isoformat(timespec="milliseconds"), "level": record.levelname.lower(), "event": record.msg}
        return json.dumps({**line, **getattr(record, "facts", {})}, ensure_ascii=False)


@contextlib.contextmanager
def logging_to(file: Path | None) -> Iterator[None]:
    """Send what a batch tells about itself to a file while the block runs.

    Parameters
    ----------
    file : Path, optional
        File to add to; ``-`` is stderr; nowhere where not given.

    Yields
    ------
    None

    Raises
    ------
    ConfigurationError
        Where the file cannot be opened.
    """
    if file is None:
        yield
        return
    try:
        handler = logging.StreamHandler(sys.stderr) if str(file) == "-" else logging.FileHandler(file, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"--log {file} cannot be opened ({error.strerror})") from None
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("collectml")
    before, quiet = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
        logger.propagate = quiet
        handler.close()
