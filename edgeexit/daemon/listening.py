"""The sockets that the daemon listens on: TCP, and a Unix socket whose permissions say who may connect."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from edgeexit.daemon.access import is_loopback
from edgeexit.errors import ServeError

BACKLOG: Final = 512
_PRIVATE: Final = 0o177
"""Umask for the moment until a socket has the permissions that it is meant to have."""


def bind_tcp(host: str, port: int, *, flag: str = "--port") -> list[socket.socket]:
    """Bind to every address of a host, without listening yet.

    Args:
        host: Address or name.
        port: 0 lets the kernel choose one, the same for all addresses.
        flag: With which the user names the port.

    Raises:
        ServeError: If the host is not known, or the port is taken or not allowed.
    """
    addresses = resolve(host, port)
    sockets: list[socket.socket] = []
    try:
        for family, address in addresses:
            chosen = sockets[0].getsockname()[1] if sockets else port
            try:
                sockets.append(_bound(family, (address[0], chosen, *address[2:])))
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL or len(addresses) == 1:
                    raise
        if not sockets:
            raise ServeError(f"this machine has no address of {host!r}: {', '.join(str(a[0]) for _, a in addresses)}")
    except OSError as error:
        close_all(sockets)
        reason = error.strerror or error
        raise ServeError(f"port {port} of {host} cannot be listened on: {reason}; {flag} names another") from error
    return sockets


def resolve(host: str, port: int) -> list[tuple[int, tuple[Any, ...]]]:
    """Return the addresses of a host, each with its family.

    Raises:
        ServeError: If it is not known.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ServeError(f"the host {host!r} to listen on is not known: {error}") from error
    return list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))


def all_loopback(host: str) -> bool:
    """Return whether a host's addresses can be reached from this machine alone.

    Raises:
        ServeError: If it is not known.
    """
    return all(is_loopback(str(address[0])) for _, address in resolve(host, 0))


@contextlib.contextmanager
def open_unix(path: Path, mode: int) -> Iterator[socket.socket]:
    """Listen on a Unix socket, and remove it in the end.

    Args:
        path: Where; a socket that nobody listens on any more is replaced, anything else is left alone.
        mode: Its permissions: whoever may write to it may change the daemon's state.

    Raises:
        ServeError: If the path is taken or cannot be written to.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:

        def bind() -> None:
            listener.bind(str(path))
            listener.listen(BACKLOG)

        with unix_path(path, mode, bind):
            yield listener


@contextlib.contextmanager
def unix_path(path: Path, mode: int, bind: Callable[[], None]) -> Iterator[None]:
    """Have a Unix socket made, and remove it in the end.

    Args:
        path: As for `open_unix`.
        mode: As for `open_unix`.
        bind: Binds it to the path, and listens.

    Raises:
        ServeError: If the path is taken or cannot be written to.
    """
    _remove_stale(path)
    try:
        _bind_unix(path, mode, bind)
    except OSError as error:
        raise ServeError(f"the Unix socket {path} cannot be made: {error.strerror or error}") from error
    mark = _mark(path)
    try:
        yield
    finally:
        if mark is not None and _mark(path) == mark:  # not that of a daemon that has taken our place
            with contextlib.suppress(OSError):
                path.unlink()


def close_all(sockets: Sequence[socket.socket]) -> None:
    """Close sockets."""
    for each in sockets:
        each.close()


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made


def _bind_unix(path: Path, mode: int, bind: Callable[[], None]) -> None:
    before = os.umask(_PRIVATE)
    try:
        bind()
    finally:
        os.umask(before)
    path.chmod(mode)


def _remove_stale(path: Path) -> None:
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ServeError(f"the Unix socket {path} cannot be made: {error.strerror}") from error
    if not stat.S_ISSOCK(found.st_mode):
        raise ServeError(f"{path} is there already and is no socket: name another path with --unix")
    if _answers(path):
        raise ServeError(f"another process listens on {path}: stop it, or name another path with --unix")
    try:
        path.unlink()
    except OSError as error:
        raise ServeError(f"the Unix socket {path} is left over and cannot be removed: {error.strerror}") from error


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:  # not allowed, or its queue is full: somebody is there
            return True
        return True


def _mark(path: Path) -> tuple[int, int] | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
