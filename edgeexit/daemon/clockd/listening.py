"""The file of clockd's socket: one clockd at a time, and what a killed one left behind is cleared away."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from edgeexit.errors import ServeError

BACKLOG: Final = 16
_OWNER_ONLY: Final = 0o600
_GROUP_TOO: Final = 0o660
_ANYBODY: Final = 0o666
"""Who connects is looked at anyway: this is for users, and several groups, which a mode cannot name."""


@contextlib.contextmanager
def listening(path: Path, *, users: Collection[int] = (), groups: Collection[int] = ()) -> Iterator[socket.socket]:
    """Listen on a socket of the kind SOCK_SEQPACKET for the time of a with statement.

    Args:
        path: Where its file lies; the folder is made if it is not there.
        users: Ids of users who may connect, beside root and this process's own.
        groups: Ids of groups whose members may.

    Raises:
        ServeError: If another clockd listens there, or nothing can.
    """
    with contextlib.ExitStack() as stack:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stack.callback(listener.close)
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            stack.callback(os.close, _lock(path))
            _clear(path)
            _bind(listener, path)
            stack.callback(path.unlink, missing_ok=True)
            _open_to(path, users, groups)
            listener.listen(BACKLOG)
        except OSError as error:
            raise ServeError(f"clockd cannot listen on {path}: {error.strerror or error}") from error
        listener.setblocking(False)
        yield listener


def _lock(path: Path) -> int:
    """Return a descriptor that keeps other clockds off this path; the lock ends with the process."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path.with_name(path.name + ".lock"), flags, _OWNER_ONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ServeError(f"another clockd listens on {path}; stop it, or choose another path by --socket") from error
    return descriptor


def _clear(path: Path) -> None:
    """Delete the socket of a clockd that was killed; anything else stays."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ServeError(f"{path} is there already and is no socket; delete it, or choose another path by --socket")
    path.unlink()


def _bind(listener: socket.socket, path: Path) -> None:
    before = os.umask(0o777 & ~_OWNER_ONLY)
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)


def _open_to(path: Path, users: Collection[int], groups: Collection[int]) -> None:
    if not users and not groups:
        return
    mode = _ANYBODY
    if len(groups) == 1 and not users:
        with contextlib.suppress(PermissionError):  # without capabilities, and not in that group
            os.chown(path, -1, next(iter(groups)))
            mode = _GROUP_TOO
    path.chmod(mode)
