"""What a user sees when something goes wrong: one line on standard error, and an exit code that means something."""

from __future__ import annotations

import logging
import os
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import click

from edgeexit.errors import (
    BundleError,
    ClocksUnavailable,
    CostTableError,
    DataError,
    DeviceError,
    EdgeExitError,
    GraphError,
    InputError,
    OptionError,
    PluginNotFound,
    ProfileMismatch,
)

EXIT_OTHER: Final = 1
EXIT_USAGE: Final = 2
EXIT_DATA: Final = 3
EXIT_BUNDLE: Final = 4
EXIT_DEVICE: Final = 5
EXIT_INTERRUPTED: Final = 130
EXIT_BROKEN_PIPE: Final = 141
"""What a shell reports of a program that SIGPIPE ended."""

_CODES: Final[tuple[tuple[type[EdgeExitError], int], ...]] = (
    (BundleError, EXIT_BUNDLE),
    (DeviceError, EXIT_DEVICE),
    (InputError, EXIT_DATA),
    (DataError, EXIT_DATA),
    (CostTableError, EXIT_DATA),
    (GraphError, EXIT_DATA),
    (OptionError, EXIT_USAGE),
    (PluginNotFound, EXIT_USAGE),
)


def exit_code(error: Exception) -> int:
    """Return the exit code that stands for `error`."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), EXIT_OTHER)


def show_error(error: Exception | str) -> None:
    """Print an error as one line on standard error, after its traceback if DEBUG=1 is in the environment."""
    if isinstance(error, Exception) and debugging():
        say("".join(traceback.format_exception(error)))
    show_line("error", error if isinstance(error, str) else _describe(error))


def show_line(kind: str, text: object) -> None:
    """Print one line on standard error: the program, the kind of message, and the text with its line breaks undone."""
    say(f"edgeexit: {kind}: {' '.join(str(text).split())}\n")


def say(text: str) -> None:
    """Print on standard error; where its reader is gone or its disk is full, print nothing: work goes on regardless."""
    with suppress(OSError):
        click.echo(text, err=True, nl=False)


def debugging() -> bool:
    """Return whether the user asked for tracebacks and debug messages."""
    return os.environ.get("DEBUG", "") not in ("", "0")


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """Print Python's warnings, and what the library logs, as one line each."""
    logger = logging.getLogger("edgeexit")
    level, handler = logger.level, _OneLine()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debugging() else logging.WARNING)
    try:
        with warnings.catch_warnings():
            for category in (ClocksUnavailable, ProfileMismatch):
                warnings.simplefilter("default", category)
            if not debugging():  # what other packages will change some day is nothing for a user
                warnings.simplefilter("ignore", DeprecationWarning)
                warnings.simplefilter("ignore", PendingDeprecationWarning)
            warnings.showwarning = _show_warning
            yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _OneLine(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        show_line(record.levelname.lower(), record.getMessage())


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    show_line("warning", message)


def _describe(error: Exception) -> str:
    if isinstance(error, EdgeExitError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, click.ClickException):
        return error.format_message()
    return f"unexpected {type(error).__name__}: {error} (this should not happen; DEBUG=1 shows where)"
