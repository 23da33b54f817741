"""Knobs that are files of the kernel: what a clock domain writes, and the lease puts back."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from edgeexit.errors import ClockBusy, ClockNotWritable, ClockRefused, DeviceError
from edgeexit.protocols import Knob

if TYPE_CHECKING:
    from edgeexit.device.sysfs import Attribute

_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
_NOT_NOW = (errno.EBUSY, errno.EAGAIN, errno.ENODEV, errno.ENXIO, errno.EIO)
_NOT_SO = (errno.EINVAL, errno.ERANGE, errno.EOPNOTSUPP)


LOST = "lost"
"""Stands in the journal for the value that a tunable gets when the kernel forgets it."""


class OpenedKnob(Knob, Protocol):
    """A knob that was opened by its key, and is nobody else's."""

    def close(self) -> None:
        """Close what it has opened."""


class FileKnob:
    """One file of the kernel whose value is set and put back.

    Args:
        key: Names it in the journal, for instance "cpufreq/policy0/scaling_max_freq".
        attribute: The file.
    """

    __slots__ = ("_attribute", "_key", "before_write")

    def __init__(self, key: str, attribute: Attribute) -> None:
        self._key = key
        self._attribute = attribute
        self.before_write: Callable[[Knob, str], None] | None = None

    @property
    def key(self) -> str:
        """Its name in the journal."""
        return self._key

    @property
    def path(self) -> str:
        """The file within its tree."""
        return self._attribute.path

    def read(self) -> str:
        """Return the file's value.

        Raises:
            ClockBusy: If the kernel cannot say now.
            DeviceError: If it cannot be read.
        """
        try:
            return self._attribute.read()
        except OSError as error:
            raise clock_error(f"{self.path} cannot be read", error) from error

    def holds(self, value: str) -> bool:
        """Return whether the file reads as `value`.

        Raises:
            DeviceError: If it cannot be read.
        """
        return self.read() == value

    def write(self, value: str) -> None:
        """Write the value, once `before_write` has taken note of it.

        Raises:
            ClockNotWritable: If this process may not.
            ClockBusy: If the kernel cannot do it now.
            ClockRefused: If the kernel does not take this value.
        """
        if self.before_write is not None:
            self.before_write(self, value)
        try:
            self._attribute.write(value)
        except OSError as error:
            raise clock_error(f"{value!r} cannot be written to {self.path}", error) from error

    def close(self) -> None:
        """Close its file; the next call opens it again."""
        self._attribute.close()


class CappedKnob(FileKnob):
    """A frequency that reads as the present maximum while that is lower: the machine is hot, or somebody lowered it.

    The kernel remembers what was written, and it shows again once the maximum is raised. So it still is our value that
    the knob holds, and it has to be put back.

    Args:
        key: Names it in the journal, for instance "cpufreq/policy0/scaling_setspeed".
        attribute: The file.
        maximum: The file of the maximum.
    """

    __slots__ = ("_maximum",)

    def __init__(self, key: str, attribute: Attribute, maximum: Attribute) -> None:
        super().__init__(key, attribute)
        self._maximum = maximum

    def holds(self, value: str) -> bool:
        """Return whether the file reads as `value`, or as the present maximum if that is lower.

        Raises:
            DeviceError: If it cannot be read.
        """
        found = self.read()
        if found == value or not (found.isdigit() and value.isdigit()):
            return found == value
        try:
            return int(found) < int(value) and found == self._maximum.read()
        except OSError:
            return False

    def close(self) -> None:
        """Close its files; the next call opens them again."""
        super().close()
        self._maximum.close()


class TunableKnob(FileKnob):
    """A tunable of a kernel governor: never written by us, but lost when another governor takes its place."""

    __slots__ = ()

    def announce_loss(self) -> None:
        """Have it noted that its value is about to be lost, so that it is put back."""
        if self.before_write is not None:
            self.before_write(self, LOST)

    def read(self) -> str:
        """Return its value, or `LOST` while its governor is not in force: then there is no such file.

        Raises:
            DeviceError: If it cannot be read.
        """
        try:
            return super().read()
        except DeviceError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return LOST
            raise

    def holds(self, value: str) -> bool:
        """Return whether its value is `value`; one that was lost may hold anything.

        Raises:
            DeviceError: If it cannot be read.
        """
        return value == LOST or self.read() == value


def clock_error(what: str, error: OSError) -> DeviceError:
    """Return the error that an errno of the kernel stands for (their meanings: Linux drivers/cpufreq, drivers/devfreq).

    ENOENT is what devfreq answers to an unknown governor, and what a file answers that is gone.
    """
    message = f"{what}: {error.strerror or error}"
    if error.errno in _NOT_ALLOWED:
        return ClockNotWritable(message)
    if error.errno in _NOT_NOW:
        return ClockBusy(message)
    if error.errno in (*_NOT_SO, errno.ENOENT):
        return ClockRefused(message)
    return DeviceError(message)
