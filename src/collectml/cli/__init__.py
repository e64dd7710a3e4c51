"""The ``collectml`` command, a file per subcommand; each is loaded only when it is called."""

from __future__ import annotations

import contextlib
import importlib
import signal
import sys
from collections.abc import Iterator, Sequence

import click

from collectml import __version__

__all__ = ["main"]

_COMMANDS = {
    "demo": "simulate, train, evaluate, assign, report: the whole thing in one go",
    "simulate": "write a simulated portfolio with known truth",
    "train": "run an experiment file: one MLflow run, a registered version",
    "promote": "make a registered version champion, if every gate holds",
    "rollback": "make the previous champion champion again",
    "score-and-assign": "give every account of a snapshot its action",
    "sync": "send the runs that waited for the tracking store",
    "frontier": "show what a tighter or looser limit would be worth",
    "tree": "distil the assignment into a few questions that people can read",
    "report": "write the committee report of a model and a snapshot",
    "verify": "hold a written folder against its manifest, and its report against the assignment",
}


class _Lazy(click.Group):
    """A group that knows its commands' names and imports them when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands, in the order of a working day."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"collectml.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="collectml")
@click.option("-v", "--verbose", is_flag=True, help="Show the traceback of an error.")
def _group(verbose: bool) -> None:
    """Uplift-based treatment policies for collections.

    Exit codes: 0 done; 2 usage or configuration; 3 the data breaks its schema; 4 no assignment can satisfy the limits;
    5 a service is unreachable; 6 a gate refuses a promotion; 1 anything else; 130 and 143 stopped by Ctrl-C or SIGTERM, the
    old output untouched.
    """


class _Terminated(BaseException):
    """The system asked the process to end; whatever is being written is cleared away on the way out."""


@contextlib.contextmanager
def _stopping_cleanly() -> Iterator[None]:
    """Turn the first SIGTERM into an exception, so that files, locks and transactions are closed; more change nothing."""

    def stop(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise _Terminated

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread: whoever runs us there handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    args : sequence of str, optional
        Arguments; those of the process where not given.

    Returns
    -------
    int
        Never: the process ends with the exit code.
    """
    from collectml.cli._errors import explain

    words = list(sys.argv[1:] if args is None else args)
    try:
        with _stopping_cleanly():
            _group.main(args=words, prog_name="collectml", standalone_mode=False)
        code = 0
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        where = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "collectml"
        print(f"error: {' '.join(error.format_message().split())} (see {where} --help)", file=sys.stderr)
        code = 2
    except _Terminated:
        print("error: stopped by SIGTERM; an output that stood there is untouched", file=sys.stderr)
        code = 128 + signal.SIGTERM
    except (click.Abort, KeyboardInterrupt):
        print("error: stopped", file=sys.stderr)
        code = 128 + signal.SIGINT
    except Exception as error:
        code = explain(error, verbose=bool({"-v", "--verbose"} & set(words)))
    sys.exit(code)
