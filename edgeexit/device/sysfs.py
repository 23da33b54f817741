"""The files by which a kernel shows its hardware, and the only place that opens them.

A `Tree` stands for the whole file system of a machine: "/" for this one, another folder for a copy, and
`edgeexit.testing.FakeTree` for one that lives in memory and answers as the kernel does. Paths are absolute within the
tree and stand in one notation: "/sys/devices/system/cpu/cpufreq/policy0/scaling_governor".

Errors stay what the kernel says (OSError with its errno); whoever knows what a file means translates them.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from edgeexit.clock import MonotonicClock
from edgeexit.protocols import Clock

READ_BYTES = 65536
"""More than the 4096 bytes of a sysfs file: /proc files may be longer."""
_GONE = (errno.ENODEV, errno.ESTALE, errno.EBADF, errno.ENXIO)
"""What a kept-open file answers when its device went away, and perhaps came back under the same name."""


class Tree:
    """Reads and writes the kernel's files under `root`.

    The methods whose names begin with ``sys_`` are the system calls; a fake replaces those and inherits the rest.

    Attributes:
        root: Where the tree begins on this machine.
        clock: What waiting for the machine goes by.
    """

    def __init__(self, root: Path = Path("/"), clock: Clock | None = None) -> None:
        self.root = Path(root)
        self.clock: Clock = MonotonicClock() if clock is None else clock

    def sys_open(self, path: str, flags: int) -> int:
        """Open a file and return its descriptor."""
        return os.open(self.real_path(path), flags | os.O_CLOEXEC)

    def sys_read(self, descriptor: int) -> bytes:
        """Read a file from its start."""
        return os.pread(descriptor, READ_BYTES, 0)

    def sys_write(self, descriptor: int, data: bytes) -> int:
        """Write a file from its start, in one call."""
        return os.pwrite(descriptor, data, 0)

    def sys_close(self, descriptor: int) -> None:
        """Close a descriptor."""
        os.close(descriptor)

    def sys_ioctl(self, descriptor: int, request: int, buffer: bytearray) -> None:
        """Hand a buffer to a driver, which answers in it."""
        fcntl.ioctl(descriptor, request, buffer, True)

    def sys_list(self, path: str) -> list[str]:
        """Return the names in a folder."""
        return [entry.name for entry in self.real_path(path).iterdir()]

    def sys_mode(self, path: str) -> int:
        """Return a file's type and permission bits, links followed."""
        return self.real_path(path).stat().st_mode

    def sys_owner(self, path: str) -> tuple[int, int]:
        """Return a file's owner and group."""
        status = self.real_path(path).stat()
        return status.st_uid, status.st_gid

    def sys_user(self) -> int:
        """Return the user that files are opened as; 0 is root."""
        return os.geteuid()

    def sys_readlink(self, path: str) -> str:
        """Return where a symbolic link points, as it is written in it."""
        return str(self.real_path(path).readlink())

    def sys_access(self, path: str, mode: int) -> bool:
        """Return whether this process may read (os.R_OK) or write (os.W_OK) a file."""
        return os.access(self.real_path(path), mode)

    def real_path(self, path: str) -> Path:
        """Return where a path of the tree lies on this machine."""
        return self.root / path.lstrip("/")

    def read(self, path: str) -> str:
        """Return a file's text without the white space around it, and without the NULs of a device tree's texts.

        Raises:
            OSError: With the kernel's errno.
        """
        descriptor = self.sys_open(path, os.O_RDONLY)
        try:
            return _text(self.sys_read(descriptor))
        finally:
            self.sys_close(descriptor)

    def read_or_none(self, path: str) -> str | None:
        """Return a file's text, or None if it cannot be read now or is not there."""
        try:
            return self.read(path)
        except OSError:
            return None

    def read_int_or_none(self, path: str) -> int | None:
        """Return a file's whole number, or None if there is none to be read now."""
        try:
            return int(self.read(path))
        except (OSError, ValueError):
            return None

    def names(self, path: str) -> tuple[str, ...]:
        """Return the names in a folder, sorted; none if there is no such folder."""
        try:
            return tuple(sorted(self.sys_list(path)))
        except OSError:
            return ()

    def exists(self, path: str) -> bool:
        """Return whether there is such a file or folder."""
        try:
            self.sys_mode(path)
        except OSError:
            return False
        return True

    def can_read(self, path: str) -> bool:
        """Return whether this process may read a file, going by its permissions."""
        return self.sys_access(path, os.R_OK)

    def can_write(self, path: str) -> bool:
        """Return whether this process may write a file, going by its permissions."""
        return self.sys_access(path, os.W_OK)

    def open_attribute(self, path: str) -> Attribute:
        """Return a file whose descriptors stay open between calls; nothing is opened yet."""
        return Attribute(self, path)


class Attribute:
    """One file of the kernel, read and written often.

    Its descriptors stay open, so that a write is one system call. If the device behind them went away they are opened
    anew once; if it has not come back the error is the kernel's.
    """

    __slots__ = ("_reader", "_tree", "_writer", "path")

    def __init__(self, tree: Tree, path: str) -> None:
        self._tree = tree
        self.path = path
        self._reader: int | None = None
        self._writer: int | None = None

    def read(self) -> str:
        """Return the file's text without the white space around it.

        Raises:
            OSError: With the kernel's errno.
        """
        try:
            return self._read()
        except OSError as error:
            if error.errno not in _GONE:
                raise
            self.close()
            return self._read()

    def write(self, value: str) -> None:
        """Write a text in one system call.

        Raises:
            OSError: With the kernel's errno.
        """
        data = value.encode()
        try:
            self._write(data)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            self.close()
            self._write(data)

    def close(self) -> None:
        """Close what is open; the next call opens it again."""
        descriptors = (self._reader, self._writer)
        self._reader = self._writer = None
        for descriptor in descriptors:
            if descriptor is not None:
                self._tree.sys_close(descriptor)

    def _read(self) -> str:
        if self._reader is None:
            self._reader = self._tree.sys_open(self.path, os.O_RDONLY)
        return _text(self._tree.sys_read(self._reader))

    def _write(self, data: bytes) -> None:
        if self._writer is None:
            self._writer = self._tree.sys_open(self.path, os.O_WRONLY)
        self._tree.sys_write(self._writer, data)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").strip(" \t\r\n\0")
