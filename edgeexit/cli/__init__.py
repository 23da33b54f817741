"""The command line: one file a command, which parses, calls one function and returns an exit code.

A command is imported when it is asked for, and its module imports nothing but click at its top: `edgeexit --help`
must come at once, so NumPy and ONNX Runtime are imported inside the functions that need them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from edgeexit import __version__
from edgeexit.cli.ending import EndedBySignal, orderly_end
from edgeexit.cli.failures import (
    EXIT_BROKEN_PIPE,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    exit_code,
    one_line_warnings,
    say,
    show_error,
)

_COMMANDS = (
    *("demo", "prepare", "calibrate", "export", "run", "info"),
    *("doctor", "measure", "restore", "replay", "report"),
    *("serve", "clockd", "top", "install-service"),
)
_EPILOG = """\b
Exit codes:
  0    success
  1    any other error
  2    wrong usage: an unknown command, option, exit rule or governor
  3    bad input or data: a file that cannot be read, a wrong shape, NaN
  4    the bundle is missing, damaged or of an unknown format
  5    the device or its profile cannot be used
  129  ended by SIGHUP: the terminal went away
  130  interrupted
  141  the reader of the output went away
  143  ended by SIGTERM

Errors take one line; DEBUG=1 in the environment adds the traceback."""


class _Commands(click.Group):
    """Imports a command when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = import_module(f"edgeexit.cli.{cmd_name.replace('-', '_')}").command
        return command


@click.group(cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def edgeexit() -> None:
    """Run neural networks with early exits, and the clocks that save energy."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: Without the program's name; by default those that the program was started with.
    """
    try:
        with one_line_warnings(), orderly_end():
            code = _run(list(sys.argv[1:] if arguments is None else arguments))
            if sys.stdout is not None:  # as it is where standard output was closed
                sys.stdout.flush()
            return code
    except EndedBySignal as end:
        return end.exit_code
    except BrokenPipeError:
        _forget_output()
        return EXIT_BROKEN_PIPE
    except (KeyboardInterrupt, click.Abort):
        say("edgeexit: interrupted\n")
        return EXIT_INTERRUPTED
    except click.UsageError as error:
        command = "edgeexit" if error.ctx is None else error.ctx.command_path
        show_error(f"{error.format_message()} (see '{command} --help')")
        return EXIT_USAGE
    except Exception as error:
        show_error(error)
        return exit_code(error)


def _run(arguments: list[str]) -> int:
    """Call the command; click's own handling of errors is left out."""
    try:
        code = edgeexit.main(arguments or ["--help"], prog_name="edgeexit", standalone_mode=False)
    except SystemExit:  # click's answer to a broken pipe
        raise BrokenPipeError from None
    return code if isinstance(code, int) else 0


def _forget_output() -> None:
    """Send what is still to be written to nowhere, so that Python does not complain when it flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
