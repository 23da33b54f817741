"""Which processes live: a lease belongs to a living process, and a process id alone may have been given away again."""

from __future__ import annotations

import errno
from typing import NamedTuple

from edgeexit.device.sysfs import Tree
from edgeexit.errors import JournalError

_STATE_FIELD, _START_FIELD = 0, 19
"""Fields 3 and 22 of /proc/PID/stat, counted from 0 after the name in brackets (man 5 proc)."""
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""What reading answers where the machine is short of something: it says nothing about the file."""


class ProcessMark(NamedTuple):
    """A process that cannot be mistaken for a later one."""

    pid: int
    started: int
    """When it was started, in clock ticks since boot."""


def read_mark(tree: Tree, pid: int) -> ProcessMark | None:
    """Return a living process's mark; None for one that is not there, or is dead and only not yet waited for.

    Raises:
        JournalError: If that cannot be told for now: nobody's clocks may be put back on a guess.
    """
    text = _read(tree, f"/proc/{pid}/stat")
    if text is None:
        return None
    fields = text[text.rfind(")") + 1 :].split()
    if len(fields) <= _START_FIELD or fields[_STATE_FIELD] in ("Z", "X", "x"):
        return None
    return ProcessMark(pid, int(fields[_START_FIELD]))


def is_alive(tree: Tree, mark: ProcessMark) -> bool:
    """Return whether this very process still lives.

    Raises:
        JournalError: As `read_mark`.
    """
    return read_mark(tree, mark.pid) == mark


def read_boot_id(tree: Tree) -> str:
    """Return what names this boot of the machine; empty where the kernel does not say.

    Raises:
        JournalError: If it cannot be read for now: a journal of this boot must not pass for an earlier one's.
    """
    return _read(tree, "/proc/sys/kernel/random/boot_id") or ""


def _read(tree: Tree, path: str) -> str | None:
    try:
        return tree.read(path)
    except OSError as error:
        if error.errno in _SHORT:
            raise JournalError(f"{path} cannot be read for now: {error.strerror}") from error
        return None
