"""What to install where a command needs packages that edgeexit alone does not bring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from edgeexit.errors import MissingExtra


@contextmanager
def needing(command: str, extra: str) -> Iterator[None]:
    """Name the extra that brings a package that is imported within, if it is missing.

    Args:
        command: Name of the command that needs it.
        extra: Name of the extra.

    Raises:
        MissingExtra: If a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        raise MissingExtra(f"{command} needs {package}: pip install 'edgeexit[{extra}]'") from error


def needing_prepare(command: str) -> AbstractContextManager[None]:
    """Do the same for the extra "prepare"."""
    return needing(command, "prepare")
