"""Lets a line of text do to a fake machine what a test can do to it: for one that runs in another process."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgeexit.testing.fake_cpufreq import FakePolicy
from edgeexit.testing.fake_devfreq import FakeDevfreq

if TYPE_CHECKING:
    from edgeexit.testing.fake_sysfs import FakeTree

Clocked = FakePolicy | FakeDevfreq


def obey(tree: FakeTree, line: str) -> None:
    """Do what a line says; "policy0" is a cpufreq policy, any other NAME a devfreq device.

    * ``cap NAME FREQUENCY`` (in the file's unit: kHz for a policy, Hz for a device), ``cap NAME none``;
    * ``offline CPU``, ``online CPU``; ``busy NAME``, ``idle NAME``; ``fail NAME``: the driver's next change fails;
    * ``delay NAME SECONDS``: how long a change takes; ``lag NAME SECONDS``: how long new limits of a policy take;
    * ``text PATH VALUE``, ``remove PATH``, ``mode PATH OCTAL``, ``owner PATH UID GID``, ``read_only yes|no``;
    * ``fail_read PATH ERRNO``, ``fail_write PATH ERRNO``: for instance EIO, once.

    Raises:
        ValueError: If the line says none of these.
        OSError: If there is no such file.
    """
    word, _, rest = line.strip().partition(" ")
    command = _COMMANDS.get(word)
    if command is None:
        raise ValueError(f"no command {word!r}; there are: {', '.join(sorted(_COMMANDS))}")
    try:
        command(tree, rest)
    except IndexError as error:
        raise ValueError(f"{line.strip()!r} lacks a word") from error


def _clocked(tree: FakeTree, name: str) -> Clocked:
    items: list[Clocked] = [*tree.policies, *tree.devfreqs]
    for item in items:
        if item.folder.rpartition("/")[2] == name:
            return item
    raise ValueError(f"no policy and no device is called {name!r}")


def _cap(tree: FakeTree, rest: str) -> None:
    name, frequency = rest.split()
    item = _clocked(tree, name)
    limit = None if frequency == "none" else int(frequency)
    if isinstance(item, FakePolicy):
        item.cap_khz(limit)
    else:
        item.cap_hz(limit)


def _set_online(online: bool) -> Callable[[FakeTree, str], None]:
    def command(tree: FakeTree, rest: str) -> None:
        cpu = int(rest)
        for policy in tree.policies:
            if cpu in policy.spec.cpus:
                policy.set_cpu_online(cpu, online)
                return
        raise ValueError(f"no policy has CPU {cpu}")

    return command


def _delay(tree: FakeTree, rest: str) -> None:
    name, seconds = rest.split()
    _clocked(tree, name).write_delay_s = float(seconds)


def _lag(tree: FakeTree, rest: str) -> None:
    name, seconds = rest.split()
    item = _clocked(tree, name)
    if not isinstance(item, FakePolicy):
        raise ValueError(f"{name} applies its limits at once: only a policy's lag")
    item.limits_lag_s = float(seconds)


def _text(tree: FakeTree, rest: str) -> None:
    path, _, value = rest.partition(" ")
    tree.set_text(path, f"{value}\n")


def _mode(tree: FakeTree, rest: str) -> None:
    path, mode = rest.split()
    tree.set_mode(path, int(mode, 8))


def _owner(tree: FakeTree, rest: str) -> None:
    path, user_id, group_id = rest.split()
    tree.set_owner(path, int(user_id), int(group_id))


def _read_only(tree: FakeTree, rest: str) -> None:
    if rest not in ("yes", "no"):
        raise ValueError(f"read_only is yes or no, not {rest!r}")
    tree.read_only = rest == "yes"


def _code(name: str) -> int:
    code = getattr(errno, name, None)
    if not isinstance(code, int):
        raise ValueError(f"{name!r} is no name of an error")
    return code


_COMMANDS: dict[str, Callable[[FakeTree, str], None]] = {
    "cap": _cap,
    "online": _set_online(True),
    "offline": _set_online(False),
    "busy": lambda tree, rest: _clocked(tree, rest).set_busy(True),
    "idle": lambda tree, rest: _clocked(tree, rest).set_busy(False),
    "fail": lambda tree, rest: _clocked(tree, rest).fail_next_write(),
    "delay": _delay,
    "lag": _lag,
    "text": _text,
    "remove": lambda tree, rest: tree.remove(rest),
    "mode": _mode,
    "owner": _owner,
    "read_only": _read_only,
    "fail_read": lambda tree, rest: tree.fail_next_read(rest.split()[0], _code(rest.split()[1])),
    "fail_write": lambda tree, rest: tree.fail_next_write(rest.split()[0], _code(rest.split()[1])),
}
