"""Errors as a person reads them: one line to act on, then, for data, a table of every fault."""

from __future__ import annotations

import sys
import traceback

from collectml.errors import CollectMLError, SchemaError

__all__ = ["explain"]

MOST_FAULTS = 50


def explain(error: Exception, *, verbose: bool) -> int:
    """Print an error to stderr.

    Parameters
    ----------
    error : Exception
        What stopped the command.
    verbose : bool
        Whether to show the traceback.

    Returns
    -------
    int
        Exit code.
    """
    if verbose:
        traceback.print_exception(error)
    if not isinstance(error, CollectMLError):
        # the text of a stranger's error may hold data; its kind and the way to more are enough
        print(f"error: {type(error).__name__} (run again with -v for the traceback)", file=sys.stderr)
        return 1
    faults = error.faults if isinstance(error, SchemaError) else None
    lines = str(error).splitlines()
    print(f"error: {lines[0]}", file=sys.stderr)
    if faults is not None and len(faults):
        print(faults.head(MOST_FAULTS).to_string(index=False), file=sys.stderr)
        if len(faults) > MOST_FAULTS:
            print(f"... and {len(faults) - MOST_FAULTS:,} more", file=sys.stderr)
    else:
        for line in lines[1:]:
            print(line, file=sys.stderr)
    return error.exit_code
