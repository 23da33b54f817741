"""The firmware of a Raspberry Pi, asked what its program vcgencmd asks, without starting a program.

The question is a text in the firmware's property mailbox. The layout is that of raspberrypi/utils, vcgencmd/vcgencmd.c:
32-bit words size, 0, tag, length, 0, error; then 1024 bytes of text; then the end tag 0. The answer lies in the same
buffer.
"""

from __future__ import annotations

import os
import re
import struct
import subprocess
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from edgeexit.device.finding import Finding
from edgeexit.errors import DeviceError

if TYPE_CHECKING:
    from edgeexit.device.sysfs import Tree

VCIO = "/dev/vcio"
PROGRAMS = ("/usr/bin/vcgencmd", "/opt/vc/bin/vcgencmd")
IOCTL_MBOX_PROPERTY = 0xC0000000 | struct.calcsize("P") << 16 | 100 << 8
"""_IOWR(100, 0, char *): 0xC0086400 where pointers have 8 bytes."""
GET_GENCMD_RESULT = 0x00030080
TEXT_BYTES = 1024
ANSWERED = 0x80000000
PROGRAM_TIMEOUT_S = 2.0
_HEAD = struct.Struct("<6I")
_THROTTLED = re.compile(r"throttled=0x([0-9a-fA-F]+)")
_FREQUENCY = re.compile(r"frequency\([0-9]+\)=([0-9]+)")


def pack(command: str) -> bytearray:
    """Return the mailbox buffer that asks `command`, 1052 bytes.

    Raises:
        DeviceError: If the command is too long.
    """
    text = command.encode()
    if len(text) + 1 >= TEXT_BYTES:
        raise DeviceError(f"a firmware command has at most {TEXT_BYTES - 2} bytes, not {len(text)}")
    size = _HEAD.size + TEXT_BYTES + 4
    buffer = bytearray(size)
    _HEAD.pack_into(buffer, 0, size, 0, GET_GENCMD_RESULT, TEXT_BYTES, 0, 0)
    buffer[_HEAD.size : _HEAD.size + len(text)] = text
    return buffer


def unpack(buffer: bytearray) -> str:
    """Return the answer that the firmware has put into the buffer.

    Raises:
        DeviceError: If it has not answered, or with an error.
    """
    _, code, _, _, _, error = _HEAD.unpack_from(buffer)
    text = bytes(buffer[_HEAD.size : _HEAD.size + TEXT_BYTES]).split(b"\0", 1)[0].decode("utf-8", "replace").strip()
    if code != ANSWERED or error:
        raise DeviceError(f"the firmware answered code {code:#x}, error {error}: {text!r}")
    return text


class Mailbox:
    """Asks through /dev/vcio, which stays open.

    Raises:
        OSError: If it cannot be opened.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._lock = threading.Lock()
        self._descriptor: int | None = tree.sys_open(VCIO, os.O_RDONLY)

    def __call__(self, command: str) -> str:
        """Return the firmware's answer to a command.

        Raises:
            OSError: If the driver refuses.
            DeviceError: If the firmware does, or the mailbox is closed.
        """
        buffer = pack(command)
        with self._lock:
            if self._descriptor is None:
                raise DeviceError(f"{VCIO} is closed")
            self._tree.sys_ioctl(self._descriptor, IOCTL_MBOX_PROPERTY, buffer)
        return unpack(buffer)

    def close(self) -> None:
        """Close it; nothing can be asked any more."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            self._tree.sys_close(descriptor)


def run_program(path: str, command: str) -> str:
    """Return what vcgencmd prints for a command.

    Raises:
        OSError: If it cannot be started or takes longer than `PROGRAM_TIMEOUT_S`.
    """
    try:
        done = subprocess.run(
            [path, *command.split()], capture_output=True, text=True, timeout=PROGRAM_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"{path} {command} took longer than {PROGRAM_TIMEOUT_S} s") from error
    return done.stdout.strip()


class Firmware:
    """What a Raspberry Pi's firmware can tell.

    Args:
        ask: Gives the answer to a vcgencmd command, or raises OSError or DeviceError.
        close: Called once by `close`.
    """

    def __init__(self, ask: Callable[[str], str], close: Callable[[], None] | None = None) -> None:
        self._ask = ask
        self._close = close

    def ask(self, command: str) -> str | None:
        """Return the answer to a command, or None if there is none now."""
        try:
            return self._ask(command)
        except (OSError, RuntimeError):
            return None

    def read_throttled(self) -> int | None:
        """Return the bits of get_throttled (see `thermal.THROTTLED_BITS`), or None."""
        found = _THROTTLED.search(self.ask("get_throttled") or "")
        return int(found[1], 16) if found else None

    def read_arm_hz(self) -> int | None:
        """Return the frequency at which the cores really run, in Hz: cpufreq shows only what was asked for."""
        found = _FREQUENCY.search(self.ask("measure_clock arm") or "")
        return int(found[1]) if found else None

    def close(self) -> None:
        """Close the way to it."""
        close, self._close = self._close, None
        if close is not None:
            close()


class FirmwareFound(NamedTuple):
    """The firmware, if it can be asked, and what is in the way."""

    firmware: Firmware | None
    problem: Finding | None


def open_firmware(tree: Tree) -> FirmwareFound:
    """Open /dev/vcio, or take the program vcgencmd where that cannot be opened; there is neither but on a Pi."""
    try:
        mailbox = Mailbox(tree)
    except OSError as error:
        program = next((path for path in PROGRAMS if tree.exists(path)), None)
        problem = _problem(error) if tree.exists(VCIO) else None
        if program is None:
            return FirmwareFound(None, problem)
        real_path = str(tree.real_path(program))
        return FirmwareFound(Firmware(lambda command: run_program(real_path, command)), problem)
    return FirmwareFound(Firmware(mailbox, mailbox.close), None)


def _problem(error: OSError) -> Finding:
    why = f"{VCIO} cannot be opened: {error.strerror or error}"
    return Finding("Raspberry Pi firmware", why, 'sudo usermod -aG video "$USER"   # then log in again')
