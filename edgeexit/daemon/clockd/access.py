"""Who may ask clockd: what the kernel says of the process at the other end of a connection."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from edgeexit.errors import OptionError

ROOT: Final = 0
SO_PEERGROUPS: Final = 59
"""The peer's supplementary groups, since Linux 4.13 (include/uapi/asm-generic/socket.h); Python has no name for it."""
_GROUPS_BYTES: Final = 1024
"""As much as Python reads of a socket option: 256 groups."""
_CREDENTIALS: Final = struct.Struct("iII")
"""struct ucred (man 7 unix): process, user and group."""


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end, as it was when it connected.

    Attributes:
        pid: Its process id.
        uid: Its effective user.
        groups: Its effective group, and its supplementary groups.
    """

    pid: int
    uid: int
    groups: frozenset[int]

    def __str__(self) -> str:
        return f"process {self.pid} of user {self.uid}"


@dataclass(frozen=True, slots=True)
class Access:
    """Who is let in: root, this process's own user, and who is named.

    Attributes:
        users: Ids of users.
        groups: Ids of groups.
    """

    users: frozenset[int]
    groups: frozenset[int]

    def allows(self, peer: Peer) -> bool:
        """Return whether a process may set clocks."""
        return peer.uid in self.users or not self.groups.isdisjoint(peer.groups)


def access_for(users: Iterable[str] = (), groups: Iterable[str] = ()) -> Access:
    """Return who is let in where these users and groups are named, or given by their numbers.

    Raises:
        OptionError: If this machine has no such user or group.
    """
    user_ids = {ROOT, os.geteuid(), *(_user_id(name) for name in users)}
    return Access(frozenset(user_ids), frozenset(_group_id(name) for name in groups))


def read_peer(connection: socket.socket) -> Peer:
    """Ask the kernel who is at the other end.

    Raises:
        OSError: If it does not say.
    """
    data = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(data)
    return Peer(pid, uid, frozenset({gid, *_supplementary_groups(connection, uid, gid)}))


def _supplementary_groups(connection: socket.socket, uid: int, gid: int) -> Iterable[int]:
    try:
        data = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, _GROUPS_BYTES)
    except OSError:  # an older kernel, as on a Jetson Nano or TX2, or more groups than Python reads
        return _listed_groups(uid, gid)
    return struct.unpack(f"{len(data) // 4}I", data)


def _listed_groups(uid: int, gid: int) -> Iterable[int]:
    """Return the groups that the machine's lists give a user."""
    try:
        return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
    except (KeyError, OSError):
        return ()


def _user_id(name: str) -> int:
    if name.isdecimal():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError as error:
        raise OptionError(f"--allow-user {name}: this machine has no such user; `getent passwd` lists them") from error


def _group_id(name: str) -> int:
    if name.isdecimal():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise OptionError(
            f"--allow-group {name}: this machine has no such group; `groupadd --system {name}` makes one"
        ) from error
