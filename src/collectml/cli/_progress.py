"""Progress on stderr: a spinner with the stage's name where a person looks on, silence where a machine does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

__all__ = ["stages"]


@contextlib.contextmanager
def stages(title: str) -> Iterator[Callable[[str], None]]:
    """Show the stage a command is in.

    Parameters
    ----------
    title : str
        Name of the command.

    Yields
    ------
    callable
        To be told the name of each stage.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda stage: None
        return
    with console.status(title) as status:
        yield lambda stage: status.update(f"{title}: {stage}")
