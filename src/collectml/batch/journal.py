"""What a batch tells about itself while it runs: stages, rows, seconds, memory; never anything of an account.

Records go to the logger ``collectml.batch``; what each says is in its ``event`` and ``facts``, a few numbers and words chosen
here, so that no text of the data, no id and no message of a stranger's error can reach a log.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping

from collectml.engines.ledger import peak
from collectml.errors import CollectMLError, SchemaError

__all__ = ["Journal"]

LOGGER = logging.getLogger("collectml.batch")
LOGGER.addHandler(logging.NullHandler())  # who asked for no log gets none; Python would print errors on stderr


class Journal:
    """The stages of one batch.

    Parameters
    ----------
    progress : callable
        Told the name of each stage.
    """

    def __init__(self, progress: Callable[[str], None]) -> None:
        self.progress = progress
        self.seconds: dict[str, float] = {}
        self.counts: Mapping[str, object] = {}
        self._stage, self._since, self._start = "", time.perf_counter(), time.perf_counter()

    def stage(self, name: str) -> None:
        """Begin a stage, which ends the one before."""
        self._end()
        self._stage = name
        self.note("stage", {"stage": name})
        self.progress(name)

    def rows(self, read: int, rejected: int, spilled: bool) -> None:
        """Write down how many rows there were, and whether their numbers went to files."""
        self.counts = {"rows": read, "rejects": rejected, "spilled": spilled}
        self.note("accounts", self.counts)

    def note(self, event: str, facts: Mapping[str, object], level: int = logging.INFO) -> None:
        """Log an event with facts about it."""
        LOGGER.log(level, event, extra={"facts": dict(facts)})

    def so_far(self) -> dict[str, float]:
        """Give counts and seconds by stage as numbers, for the batch's run."""
        counted = {k: float(v) for k, v in self.counts.items() if isinstance(v, (int, float))}
        return counted | {f"seconds.{stage}": spent for stage, spent in self.seconds.items()}

    def done(self) -> dict[str, object]:
        """End the last stage and return what was measured."""
        self._end()
        self._stage = ""
        metrics = {
            **self.counts,
            "seconds": time.perf_counter() - self._start,
            "seconds_by_stage": self.seconds,
            "peak_memory_mib": peak() >> 20,
        }
        self.note("done", metrics)
        return metrics

    @contextlib.contextmanager
    def noting_failure(self) -> Iterator[None]:
        """Log that a batch failed, and how, in words of our own.

        Yields
        ------
        None
        """
        try:
            yield
        except BaseException as error:
            code = error.exit_code if isinstance(error, CollectMLError) else None
            facts: dict[str, object] = {"stage": self._stage, "error": type(error).__name__, "exit_code": code}
            if isinstance(error, SchemaError) and error.faults is not None:
                facts["faults"] = [
                    {"column": str(f["column"]), "check": str(f["check"]), "rows": int(f["rows"])}
                    for f in error.faults.to_dict("records")
                ]
            self.note("failed", facts, logging.ERROR)
            raise

    def _end(self) -> None:
        now = time.perf_counter()
        if self._stage:
            self.seconds[self._stage] = now - self._since  # not rounded: stages must never add up to more than the whole
        self._since = now
