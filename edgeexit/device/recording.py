"""Records a machine: the files by which it shows its clocks, meters and sensors, and nothing that tells whose it is.

Serial numbers, addresses and unique ids are never read: what is recorded is named here, file by file.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Final

from edgeexit.device.board_text import MAX_TEXT_BYTES, Entry, Recording, format_recording, parse_board

if TYPE_CHECKING:
    from edgeexit.device.sysfs import Tree

__all__ = ["Entry", "Recording", "parse_board", "record_board"]

MAX_FILES = 5000
"""More are not recorded; a large server has some hundreds of policies with a dozen files each."""
MAX_FILE_BYTES = 16384
"""No more of one file: a sysfs file has at most 4096."""
BOOT_ID = "00000000-0000-0000-0000-000000000000\n"
"""What is recorded for the boot's own id."""

_POWER = ("type", "scope", "status", "online", "present", "capacity", "*_now", "*_full", "*_full_design")
_SENSOR = ("name", "*_label", "*_input", "*_enable", "*_crit", "*_max", "*_alarm", "*_resistor")
_INA3221X = ("name", "rail_name_*", "in_voltage*_input", "in_current*_input", "in_power*_input")
_PLACES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("/sys/devices/system/cpu", ("possible", "present", "online", "offline")),
    ("/sys/devices/system/cpu/intel_pstate", ("status", "no_turbo", "*_perf_pct")),
    ("/sys/devices/system/cpu/amd_pstate", ("*",)),
    ("/sys/devices/system/cpu/cpufreq", ("boost",)),
    ("/sys/devices/system/cpu/cpufreq/*", ("*",)),
    ("/sys/devices/system/cpu/cpufreq/policy*/stats", ("time_in_state", "total_trans")),
    (
        "/sys/class/devfreq/*",
        ("available_*", "governor", "*_freq", "trans_stat", "polling_interval", "timer", "name"),
    ),
    ("/sys/class/devfreq/*/userspace", ("set_freq",)),
    ("/sys/class/devfreq/*/device", ("railgate_enable", "enable_3d_scaling", "load")),
    ("/sys/class/devfreq/*/device/power", ("control", "runtime_status")),
    ("/sys/class/devfreq/*/device/of_node", ("name", "compatible")),
    ("/sys/class/hwmon/*", (*_SENSOR, "update_interval", "samples")),
    ("/sys/class/hwmon/*/device", ("name",)),
    ("/sys/class/thermal/thermal_zone*", ("type", "temp", "mode", "trip_point_*_temp", "trip_point_*_type")),
    ("/sys/class/thermal/cooling_device*", ("type", "cur_state", "max_state")),
    ("/sys/class/powercap/*", ("name", "enabled", "energy_uj", "max_energy_range_uj")),
    ("/sys/class/power_supply/*", _POWER),
    ("/sys/bus/i2c/drivers/ina3221*/*-*", ("name", "shunt*_resistor")),
    ("/sys/bus/i2c/drivers/ina3221*/*-*/hwmon/*", (*_SENSOR, "update_interval", "samples")),
    ("/sys/bus/i2c/drivers/ina3221*/*-*/iio:device*", _INA3221X),
    ("/sys/class/dmi/id", ("product_name", "sys_vendor")),
    ("/proc/device-tree", ("model", "compatible")),
    ("/proc", ("cpuinfo",)),
    ("/proc/sys/kernel", ("osrelease",)),
    ("/proc/sys/kernel/random", ("boot_id",)),
    ("/proc/driver/nvidia", ("version",)),
    ("/etc", ("nv_tegra_release",)),
    ("/dev", ("vcio",)),
)
"""Folders, and the names of the files in them; both are shell patterns. Links of folders are recorded and followed."""
_CPUINFO_LINES = re.compile(
    r"(processor|vendor_id|model name|cpu family|model|stepping|Hardware|Revision|Model|CPU (implementer|architecture"
    r"|variant|part|revision))\s*:.*"
)
"""What is kept of /proc/cpuinfo; it also has a Raspberry Pi's serial number."""


def record_board(tree: Tree, note: str) -> str:
    """Return a recording of a machine, for `parse_board` and for a test that plays it back.

    Files that cannot be read are in it with the error. It is bounded in files and bytes; where it had to stop it says
    so in a note.

    Args:
        tree: The machine's files.
        note: Where the recording is from, for its head; may have several lines.
    """
    recorder = _Recorder(tree)
    recorder.record()
    notes = [note, *(["cut off: there is more than a recording holds"] if recorder.cut_off else [])]
    return format_recording(notes, recorder.entries.values())


class _Recorder:
    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._bytes = 0
        self.entries: dict[str, Entry] = {}
        self.cut_off = False

    def record(self) -> None:
        """Record every place there is."""
        for folder, names in _PLACES:
            for path in self._folders(folder):
                self._record_folder(path, names)

    def _folders(self, pattern: str) -> Iterator[str]:
        """Yield the folders that fit, each without links in its path."""
        found = [""]
        for part in pattern[1:].split("/"):
            inside = [f"{folder}/{name}" for folder in found for name in self._fitting(folder, part)]
            found = list(dict.fromkeys(real for path in inside if (real := self._follow(path)) is not None))
        yield from (path for path in found if self._is(path, stat.S_IFDIR))

    def _fitting(self, folder: str, pattern: str) -> tuple[str, ...]:
        """Return the names in a folder that fit; a plain name fits whether or not a folder can be listed."""
        if not re.search(r"[*?\[]", pattern):
            return (pattern,)
        return tuple(name for name in self._tree.names(folder or "/") if fnmatch(name, pattern))

    def _record_folder(self, folder: str, patterns: tuple[str, ...]) -> None:
        for name in self._tree.names(folder):
            if any(fnmatch(name, pattern) for pattern in patterns):
                path = self._follow(f"{folder}/{name}")
                if path is not None and path not in self.entries and not self._is(path, stat.S_IFDIR):
                    self._record_file(path)

    def _follow(self, path: str) -> str | None:
        """Return where a path leads, and record its last part if that is a link; None for a loop or a dead end.

        What a folder's name leads to is known, so only the last part can be a link.
        """
        for _ in range(8):
            try:
                target = self._tree.sys_readlink(path)
            except OSError:
                return path if self._tree.exists(path) else None
            self._keep(Entry(path=path, mode=stat.S_IFLNK | 0o777, target=target))
            path = _joined(path, target)
        return None

    def _record_file(self, path: str) -> None:
        try:
            mode, owner = self._tree.sys_mode(path), self._tree.sys_owner(path)
        except OSError:
            return
        if not stat.S_ISREG(mode) or not mode & 0o444:
            self._keep(Entry(path=path, mode=mode, owner=owner))
            return
        try:
            text = self._read(path)
        except OSError as error:
            self._keep(Entry(path=path, mode=mode, owner=owner, error=error.errno))
            return
        self._keep(Entry(path=path, mode=mode, owner=owner, text=_without_identity(path, text)))

    def _read(self, path: str) -> str:
        descriptor = self._tree.sys_open(path, os.O_RDONLY)
        try:
            return self._tree.sys_read(descriptor)[:MAX_FILE_BYTES].decode("utf-8", "surrogateescape")
        finally:
            self._tree.sys_close(descriptor)

    def _keep(self, entry: Entry) -> None:
        size = 2 * len(entry.path) + 2 * len(entry.text or entry.target or "") + 40
        if len(self.entries) >= MAX_FILES or self._bytes + size > MAX_TEXT_BYTES:
            self.cut_off = True
            return
        self._bytes += size
        self.entries[entry.path] = entry

    def _is(self, path: str, kind: int) -> bool:
        try:
            return stat.S_IFMT(self._tree.sys_mode(path)) == kind
        except OSError:
            return False


def _joined(path: str, target: str) -> str:
    """Return where a link at `path` to `target` leads, without ".." (the link's own folder has no links in it)."""
    parts = [] if target.startswith("/") else path.split("/")[1:-1]
    for part in target.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts = [*parts, part]
    return "/" + "/".join(parts)


def _without_identity(path: str, text: str) -> str:
    if path.endswith("/random/boot_id"):
        return BOOT_ID
    if path == "/proc/cpuinfo":
        return "".join(f"{line}\n" for line in text.splitlines() if _CPUINFO_LINES.fullmatch(line))
    return text
