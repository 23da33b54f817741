"""Clocks of a GPU by the kernel's devfreq, as on every Jetson (Documentation/ABI/testing/sysfs-class-devfreq).

The clock is pinned by its limits, minimum = maximum, and the kernel governor is left as it is: the file of the
userspace governor exists only while that governor is chosen, so an ordinary user's permission for it would be lost at
every change. The kernel's unit is Hz.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from fnmatch import fnmatch
from time import perf_counter
from typing import TYPE_CHECKING, Final

from edgeexit.device.knob import CappedKnob, FileKnob
from edgeexit.device.limits import pin, read_number
from edgeexit.errors import DeviceError
from edgeexit.protocols import Applied, Knob

if TYPE_CHECKING:
    from edgeexit.device.sysfs import Tree

CLASS = "/sys/class/devfreq"
GPU_NODES: Final = ("*.gpu", "gpu@*", "*.gm20b", "*.gp10b", "*.gv11b", "*.ga10b", "gpu-gpc-*")
"""Names of GPU nodes, of every generation of Jetson: Nano, TX2, Xavier, Orin (JetPack 5 and 6), Thor."""
_HZ_PER_KHZ = 1000
_KEY = re.compile(r"devfreq/([A-Za-z0-9@:._-]{1,80})/(min_freq|max_freq)")


class DevfreqDomain:
    """One devfreq device.

    Args:
        name: For instance "gpu".
        node: Its name under /sys/class/devfreq.
        tree: The machine's files.
    """

    driver = "devfreq"
    how = "limits"
    from_table = True

    def __init__(self, name: str, node: str, tree: Tree) -> None:
        self._name = name
        self._tree = tree
        self.node = node
        self._minimum, self._maximum, self._present = (
            _knob(tree, node, f"{part}_freq") for part in ("min", "max", "cur")
        )
        self._points_hz = _points_hz(tree, node)
        self._range_hz = self.hardware_range_hz or (0, 0)

    @property
    def name(self) -> str:
        """Name of the domain."""
        return self._name

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """The two limits."""
        return (self._minimum, self._maximum)

    @property
    def operating_points_hz(self) -> tuple[int, ...]:
        """Frequencies between the limits found at the start, ascending."""
        return self._points_hz

    @property
    def hardware_range_hz(self) -> tuple[int, int] | None:
        """Lowest and highest frequency that the device lists; None if it lists none."""
        table = _table_hz(self._tree, self.node)
        return (table[0], table[-1]) if table else None

    @property
    def paths(self) -> tuple[str, ...]:
        """The files of its knobs."""
        return (self._minimum.path, self._maximum.path)

    @property
    def writable(self) -> bool:
        """True if the permissions of its files let this process write them."""
        return all(self._tree.can_write(path) for path in self.paths)

    def read_kernel_governor(self) -> str | None:
        """Return the kernel governor, or None if it cannot be read."""
        return self._tree.read_or_none(f"{CLASS}/{self.node}/governor")

    def read_hz(self) -> int:
        """Return the frequency that is pinned, or else the present one; the lowest point for a GPU without power.

        Raises:
            DeviceError: If it cannot be read.
        """
        low, high = read_number(self._minimum), read_number(self._maximum)
        for point_hz in self._points_hz:
            if (low, high) == self._limits_hz(point_hz):
                return point_hz
        return high if low == high else read_number(self._present) or self._points_hz[0]

    def set_hz(self, frequency_hz: int) -> Applied:
        """Set the lowest operating point that is not below `frequency_hz`, or the highest there is.

        Raises:
            ClockNotWritable: If this process may not.
            ClockBusy: If the device is away.
            ClockRefused: If the kernel does not take it.
        """
        start_s = perf_counter()
        target_hz = self._points_hz[min(bisect_left(self._points_hz, frequency_hz), len(self._points_hz) - 1)]
        low, high = self._limits_hz(target_hz)
        pin(self._minimum, self._maximum, low, self._tree.clock, top=high)
        return Applied(frequency_hz, self.read_hz(), "limits read back", perf_counter() - start_s)

    def _limits_hz(self, point_hz: int) -> tuple[int, int]:
        """Return the limits that pin an operating point, as they read back.

        The kernel keeps whole kHz, a minimum rounded down and a maximum rounded up, and shows neither outside its table
        (min_freq_store, max_freq_store and get_freq_range in Linux drivers/devfreq/devfreq.c since 5.5): 162562500 Hz
        reads back as 162563000 from max_freq, and would pass for somebody else's value.
        """
        low, high = point_hz // _HZ_PER_KHZ * _HZ_PER_KHZ, -(-point_hz // _HZ_PER_KHZ) * _HZ_PER_KHZ
        lowest, highest = self._range_hz
        return max(low, lowest), min(high, highest)

    def close(self) -> None:
        """Close its files; the next call opens them again."""
        for knob in (self._minimum, self._maximum, self._present):
            knob.close()


def find_devfreq(tree: Tree, patterns: Sequence[str] = GPU_NODES) -> tuple[DevfreqDomain, ...]:
    """Return the GPU's clock domain, or "gpu0", "gpu1" where several nodes fit.

    A node may appear long after boot, so this is asked again when a GPU is missing.

    Args:
        tree: The machine's files.
        patterns: Shell patterns for the node's name, or for its name in the device tree.
    """
    nodes = [node for node in tree.names(CLASS) if _fits(tree, node, patterns) and _points_hz(tree, node)]
    if len(nodes) == 1:
        return (DevfreqDomain("gpu", nodes[0], tree),)
    return tuple(DevfreqDomain(f"gpu{index}", node, tree) for index, node in enumerate(nodes))


def open_knob(tree: Tree, key: str) -> FileKnob:
    """Return the knob that a journal calls `key`.

    Raises:
        DeviceError: If it is no knob of a devfreq device.
    """
    match = _KEY.fullmatch(key)
    if match is None or ".." in key:
        raise DeviceError(f"{key!r} is no knob of a devfreq device")
    return _knob(tree, *match.groups())


def _fits(tree: Tree, node: str, patterns: Sequence[str]) -> bool:
    names = [node, tree.read_or_none(f"{CLASS}/{node}/device/of_node/name") or ""]
    return any(fnmatch(name, pattern) for name in names for pattern in patterns)


def _knob(tree: Tree, node: str, part: str) -> FileKnob:
    """Return the knob of one file; the minimum reads lower than it was set while the maximum is lower."""
    key, attribute = f"devfreq/{node}/{part}", tree.open_attribute(f"{CLASS}/{node}/{part}")
    if part == "min_freq":
        return CappedKnob(key, attribute, tree.open_attribute(f"{CLASS}/{node}/max_freq"))
    return FileKnob(key, attribute)


def _table_hz(tree: Tree, node: str) -> tuple[int, ...]:
    words = (tree.read_or_none(f"{CLASS}/{node}/available_frequencies") or "").split()
    return tuple(sorted({int(word) for word in words if word.isdigit() and int(word) > 0}))


def _points_hz(tree: Tree, node: str) -> tuple[int, ...]:
    """Return the device's frequencies between the limits found now; a maximum of 0 means none (devfreq.c).

    All of them if none lies between: somebody is just moving the limits, or has set them between two frequencies.
    """
    low, high = (tree.read_int_or_none(f"{CLASS}/{node}/{end}_freq") for end in ("min", "max"))
    table = _table_hz(tree, node)
    return tuple(hz for hz in table if (low or 0) <= hz <= (high or table[-1])) or table
