"""Plays a recorded board back: its files as they were, its clocks alive."""

from __future__ import annotations

import re
import stat
from typing import TYPE_CHECKING

from edgeexit.testing.fake_cpufreq import CPUFREQ, ENERGY_PREFERENCE
from edgeexit.testing.fake_devfreq import DEVFREQ_CLASS

if TYPE_CHECKING:
    from edgeexit.device.board_text import Recording
    from edgeexit.testing.fake_sysfs import FakeTree

OSRELEASE = "/proc/sys/kernel/osrelease"
_KERNEL = (6, 1)
"""The kernel to behave as where the recording does not say: the one that the fakes were compared with."""


def play_back(tree: FakeTree, recording: Recording) -> None:
    """Fill an empty tree with a recorded board; its cpufreq policies and devfreq devices take writes as the kernel's.

    A live file has the permissions that were recorded, and there is none that was not.
    """
    for entry in recording.entries:
        tree.add_entry(entry)
    kernel = _kernel(tree)
    for name in tree.names(CPUFREQ):
        if re.fullmatch(r"policy\d+", name):
            _enliven_policy(tree, int(name[len("policy") :]), kernel)
    for name in tree.names(DEVFREQ_CLASS):
        _enliven_devfreq(tree, name, kernel)


def _enliven_policy(tree: FakeTree, number: int, kernel: tuple[int, int]) -> None:
    folder = f"{CPUFREQ}/policy{number}"
    known = _permissions(tree, folder)
    cpus = _numbers(tree, f"{folder}/related_cpus")
    low, high = _number(tree, f"{folder}/cpuinfo_min_freq"), _number(tree, f"{folder}/cpuinfo_max_freq")
    table = _numbers(tree, f"{folder}/scaling_available_frequencies") or None
    if not cpus or (table is None and (low is None or high is None)):
        return
    limit_min, limit_max = (_number(tree, f"{folder}/scaling_{end}_freq") for end in ("min", "max"))
    online = _numbers(tree, f"{folder}/affected_cpus")
    policy = tree.add_cpufreq_policy(
        number,
        cpus=cpus,
        table_khz=table,
        min_khz=low,
        max_khz=high,
        limit_min_khz=None if limit_min == low else limit_min,
        limit_max_khz=None if limit_max == high else limit_max,
        current_khz=_number(tree, f"{folder}/scaling_cur_freq"),
        governors=_words(tree, f"{folder}/scaling_available_governors"),
        governor=tree.read_or_none(f"{folder}/scaling_governor") or "",
        driver=tree.read_or_none(f"{folder}/scaling_driver") or "",
        kernel=kernel,
        transition_latency_ns=_number(tree, f"{folder}/cpuinfo_transition_latency") or 0,
        hardware_reading=f"{folder}/cpuinfo_cur_freq" in known,
        energy_preference=tree.read_or_none(f"{folder}/{ENERGY_PREFERENCE}"),
    )
    for cpu in cpus:
        if cpu not in online:
            policy.set_cpu_online(cpu, False)
    _match(tree, folder, known)


def _enliven_devfreq(tree: FakeTree, name: str, kernel: tuple[int, int]) -> None:
    folder = tree.resolve(f"{DEVFREQ_CLASS}/{name}")
    device, between, node = folder.rpartition("/devfreq/")
    frequencies = _numbers(tree, f"{folder}/available_frequencies")
    if not between or node != name or not frequencies:
        return
    known = _permissions(tree, folder)
    low, high = _number(tree, f"{folder}/min_freq"), _number(tree, f"{folder}/max_freq")
    polling = _number(tree, f"{folder}/polling_interval")
    tree.add_devfreq(
        name,
        frequencies,
        device=device,
        governors=_words(tree, f"{folder}/available_governors"),
        governor=tree.read_or_none(f"{folder}/governor") or "",
        kernel=kernel,
        limit_min_hz=None if low == min(frequencies) else low,
        limit_max_hz=None if high == max(frequencies) else high,
        current_hz=_number(tree, f"{folder}/cur_freq"),
        **({} if polling is None else {"polling_interval_ms": polling}),
    )
    _match(tree, folder, known)


def _permissions(tree: FakeTree, folder: str) -> dict[str, tuple[int, tuple[int, int]]]:
    """Return mode and owner of every file below a folder."""
    return {file.path: (stat.S_IMODE(file.mode), file.owner) for file in tree.files_below(folder)}


def _match(tree: FakeTree, folder: str, known: dict[str, tuple[int, tuple[int, int]]]) -> None:
    """Give live files the permissions that were recorded, and remove those that were not."""
    for path in _permissions(tree, folder):
        if path not in known:
            tree.remove(path)
            continue
        mode, owner = known[path]
        tree.set_mode(path, mode)
        tree.set_owner(path, *owner)


def _kernel(tree: FakeTree) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", tree.read_or_none(OSRELEASE) or "")
    return (int(match[1]), int(match[2])) if match else _KERNEL


def _number(tree: FakeTree, path: str) -> int | None:
    return tree.read_int_or_none(path)


def _words(tree: FakeTree, path: str) -> tuple[str, ...]:
    return tuple((tree.read_or_none(path) or "").split())


def _numbers(tree: FakeTree, path: str) -> tuple[int, ...]:
    return tuple(int(word) for word in _words(tree, path) if word.isdigit())
