"""Clocks of processor cores, by the kernel's cpufreq (Documentation/admin-guide/pm/cpufreq.rst).

A policy is the kernel's word for cores that share one clock. Two ways of setting it:

* "userspace": the kernel governor of that name is chosen and every frequency is one write. Used where it is there and
  the driver has a table of frequencies. The kernel forgets the tunables of the governor that it takes the place of
  (cpufreq_governor.c), a Raspberry Pi's are set at boot: so they are put back with it.
* "limits": minimum = maximum. Works with any kernel governor and driver (intel_pstate, amd-pstate).

The kernel's unit is kHz; it does not leave this file.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from edgeexit.device.knob import CappedKnob, FileKnob, TunableKnob
from edgeexit.device.limits import pin, read_number
from edgeexit.errors import ClockBusy, DeviceError
from edgeexit.protocols import Applied, Knob

if TYPE_CHECKING:
    from edgeexit.device.sysfs import Tree

FOLDER = "/sys/devices/system/cpu/cpufreq"
HZ_PER_KHZ = 1000
MAX_GRID_POINTS = 16
"""Where the driver has no table, frequencies are made: no more than so many, in steps of 100 MHz."""
GRID_STEP_KHZ = 100_000
UNSUPPORTED = "<unsupported>"
"""What scaling_setspeed reads unless the kernel governor is userspace."""
_KEY = re.compile(r"cpufreq/(policy[0-9]{1,4})/(scaling_(?:governor|min_freq|max_freq|setspeed))")
ROOT = 0
_ANY_MAY_WRITE = 0o222
_TUNABLE_KEY = re.compile(r"cpufreq/(?:policy[0-9]{1,4}/)?(?:conservative|interactive|ondemand|schedutil)/[a-z_]{1,32}")


class Policy:
    """One cpufreq policy.

    Args:
        tree: The machine's files.
        name: Its folder, for instance "policy0".
    """

    def __init__(self, tree: Tree, name: str) -> None:
        folder = f"{FOLDER}/{name}"
        self._clock = tree.clock
        self.name = name
        self.folder = folder
        self.cpus = _numbers(tree.read_or_none(f"{folder}/affected_cpus"))
        self.driver = tree.read_or_none(f"{folder}/scaling_driver") or "unknown"
        self.kernel_governors = tuple((tree.read_or_none(f"{folder}/scaling_available_governors") or "").split())
        self.hardware_khz = _range(tree, folder, "cpuinfo")
        self.allowed_khz = _range(tree, folder, "scaling")
        self.table_khz = _numbers(tree.read_or_none(f"{folder}/scaling_available_frequencies"))
        self.governor, self.minimum, self.maximum, self.setspeed, self._present = (
            _knob(tree, name, f"scaling_{part}")
            for part in ("governor", "min_freq", "max_freq", "setspeed", "cur_freq")
        )
        tunables = _tunables(tree, name)
        userspace = bool(self.table_khz) and "userspace" in self.kernel_governors and tunables is not None
        self.tunables = tunables or ()
        self.how = "userspace" if userspace else "limits"

    @property
    def knobs(self) -> tuple[FileKnob, ...]:
        """What setting it writes, in the order to put back."""
        if self.how == "limits":
            return (self.minimum, self.maximum)
        return (self.governor, self.setspeed, *self.tunables)

    @property
    def online(self) -> bool:
        """True if at least one of its cores was online when it was looked at."""
        return bool(self.cpus)

    def points_khz(self) -> tuple[int, ...]:
        """Return the frequencies between the limits found at the start: from the driver's table, or a grid.

        The whole table if none lies between: somebody is just moving the limits.
        """
        low, high = self.allowed_khz or self.hardware_khz or (0, 0)
        if self.table_khz:
            table = tuple(sorted(set(self.table_khz)))
            return tuple(khz for khz in table if low <= khz <= high) or table
        return _grid(low, high) if high > 0 else ()

    def set_khz(self, khz: int) -> None:
        """Write a frequency.

        Raises:
            ClockNotWritable: If this process may not.
            ClockBusy: If its cores are offline.
            ClockRefused: If the kernel does not take it.
        """
        if self.how == "limits":
            pin(self.minimum, self.maximum, khz, self._clock)
            return
        if self.governor.read() != "userspace":
            for tunable in self.tunables:
                tunable.announce_loss()
            self.governor.write("userspace")
        self.setspeed.write(str(khz))

    def read_khz(self) -> int:
        """Return the frequency that is set; where none is, the one that the kernel governor chose last.

        Raises:
            DeviceError: If it cannot be read.
        """
        if self.how == "userspace":
            text = self.setspeed.read()
            if text.isdigit():
                return int(text)
        low, high = read_number(self.minimum), read_number(self.maximum)
        return high if low == high else read_number(self._present)

    def close(self) -> None:
        """Close its files."""
        for knob in (self.governor, self.minimum, self.maximum, self.setspeed, self._present, *self.tunables):
            knob.close()


class CpufreqDomain:
    """Cores that are set together: one policy, or several with the same operating points.

    Args:
        name: "cpu", or "cpu" with the number of its first core where there are several domains.
        policies: At least one; all have the same operating points and are set in the same way.
        tree: The machine's files.
    """

    def __init__(self, name: str, policies: Sequence[Policy], tree: Tree) -> None:
        self._name = name
        self._policies = tuple(policies)
        self._tree = tree
        self._points_hz = tuple(khz * HZ_PER_KHZ for khz in policies[0].points_khz())
        knobs: dict[str, Knob] = {}
        for knob in [knob for policy in policies for knob in policy.knobs]:
            knobs.setdefault(knob.key, knob)  # policies may share tunables
        self._knobs = tuple(knobs.values())

    @property
    def name(self) -> str:
        """Name of the domain."""
        return self._name

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """The files that setting it writes."""
        return self._knobs

    @property
    def operating_points_hz(self) -> tuple[int, ...]:
        """Frequencies between the limits found at the start, ascending."""
        return self._points_hz

    @property
    def policies(self) -> tuple[str, ...]:
        """The kernel's policies in it, for instance ("policy0",)."""
        return tuple(policy.name for policy in self._policies)

    @property
    def cpus(self) -> tuple[int, ...]:
        """The cores in it that were online when it was found."""
        return tuple(sorted(cpu for policy in self._policies for cpu in policy.cpus))

    @property
    def driver(self) -> str:
        """The kernel's driver, for instance "cpufreq-dt"."""
        return self._policies[0].driver

    @property
    def how(self) -> str:
        """How it is set: "userspace" or "limits"."""
        return self._policies[0].how

    @property
    def from_table(self) -> bool:
        """True if the operating points are the driver's, False if they are a grid between its limits."""
        return bool(self._policies[0].table_khz)

    @property
    def hardware_range_hz(self) -> tuple[int, int] | None:
        """What the chip can do, lowest and highest; None if the driver does not say."""
        khz = self._policies[0].hardware_khz
        return None if khz is None else (khz[0] * HZ_PER_KHZ, khz[1] * HZ_PER_KHZ)

    @property
    def paths(self) -> tuple[str, ...]:
        """The files of its knobs."""
        return tuple(knob.path for policy in self._policies for knob in policy.knobs)

    @property
    def writable(self) -> bool:
        """True if the permissions of its files let this process write them."""
        return all(self._tree.can_write(path) for path in self.paths)

    def read_kernel_governor(self) -> str | None:
        """Return the kernel governor of its first policy, or None if it cannot be read."""
        return self._tree.read_or_none(self._policies[0].governor.path)

    def read_hz(self) -> int:
        """Return the frequency that is set; of several policies the lowest, those left out whose cores are offline.

        Raises:
            DeviceError: If it cannot be read.
        """
        found_khz = []
        busy: ClockBusy | None = None
        for policy in self._policies:
            try:
                found_khz.append(policy.read_khz())
            except ClockBusy as error:
                busy = error
        if busy is not None and not found_khz:
            raise busy
        return min(found_khz) * HZ_PER_KHZ

    def set_hz(self, frequency_hz: int) -> Applied:
        """Set the lowest operating point that is not below `frequency_hz`, or the highest there is.

        Raises:
            ClockNotWritable: If this process may not.
            ClockBusy: If cores of it are offline; those that are not are set.
            ClockRefused: If the kernel does not take it.
        """
        start_s = perf_counter()
        target_hz = self._points_hz[min(bisect_left(self._points_hz, frequency_hz), len(self._points_hz) - 1)]
        busy: ClockBusy | None = None
        for policy in self._policies:
            try:
                policy.set_khz(target_hz // HZ_PER_KHZ)
            except ClockBusy as error:  # one core that is offline does not hold the others back
                busy = error
        if busy is not None:
            raise busy
        return Applied(frequency_hz, self.read_hz(), "read back", perf_counter() - start_s)

    def close(self) -> None:
        """Close its files; the next call opens them again."""
        for policy in self._policies:
            policy.close()


def find_cpufreq(tree: Tree) -> tuple[CpufreqDomain, ...]:
    """Return the clock domains of the processor, by their first core.

    Policies with the same operating points make one domain, "cpu": on x86 every core has a policy of its own, and an
    inference may run on any of them. A policy whose cores are all offline is left out.
    """
    groups: dict[tuple[object, ...], list[Policy]] = {}
    for policy in read_policies(tree):
        if policy.online and policy.points_khz():
            groups.setdefault((policy.points_khz(), policy.how, policy.driver), []).append(policy)
    if len(groups) == 1:
        return tuple(CpufreqDomain("cpu", policies, tree) for policies in groups.values())
    domains = [CpufreqDomain(f"cpu{min(p.cpus[0] for p in group)}", group, tree) for group in groups.values()]
    return tuple(sorted(domains, key=lambda domain: domain.cpus[0]))


def read_policies(tree: Tree) -> tuple[Policy, ...]:
    """Return every policy there is; the folder also holds kernel governors' tunables, which are none."""
    names = [name for name in tree.names(FOLDER) if re.fullmatch(r"policy[0-9]+", name)]
    return tuple(Policy(tree, name) for name in sorted(names, key=lambda name: int(name[len("policy") :])))


def open_knob(tree: Tree, key: str) -> FileKnob:
    """Return the knob that a journal calls `key`.

    Raises:
        DeviceError: If it is no knob of a cpufreq policy.
    """
    match = _KEY.fullmatch(key)
    if match is not None:
        return _knob(tree, *match.groups())
    if _TUNABLE_KEY.fullmatch(key):
        return _tunable(tree, key)
    raise DeviceError(f"{key!r} is no knob of a cpufreq policy")


def _knob(tree: Tree, policy: str, part: str) -> FileKnob:
    """Return the knob of one file; the minimum and the speed read lower than they were set while the maximum is."""
    key, folder = f"cpufreq/{policy}/{part}", f"{FOLDER}/{policy}"
    attribute = tree.open_attribute(f"{folder}/{part}")
    if part in ("scaling_min_freq", "scaling_setspeed"):
        return CappedKnob(key, attribute, tree.open_attribute(f"{folder}/scaling_max_freq"))
    return FileKnob(key, attribute)


def _tunables(tree: Tree, policy: str) -> tuple[TunableKnob, ...] | None:
    """Return the tunables of the kernel governor in force: those of all policies, or of this one (big.LITTLE).

    None if one could not be put back: it is more than a number, or this is not root. When its governor comes back the
    kernel makes the file anew, and whatever group it was given is lost.
    """
    governor = tree.read_or_none(f"{FOLDER}/{policy}/scaling_governor")
    keys = [
        f"cpufreq/{folder}/{name}"
        for folder in (f"{policy}/{governor}", f"{governor}")
        for name in tree.names(f"{FOLDER}/{folder}")
    ]
    knobs = [_tunable(tree, key) for key in keys if _TUNABLE_KEY.fullmatch(key)]
    settable = tuple(knob for knob in knobs if tree.sys_mode(knob.path) & _ANY_MAY_WRITE)
    if settable and tree.sys_user() != ROOT:
        return None
    return settable if all((tree.read_or_none(knob.path) or "").isdigit() for knob in settable) else None


def _tunable(tree: Tree, key: str) -> TunableKnob:
    return TunableKnob(key, tree.open_attribute(f"{FOLDER}/{key.partition('/')[2]}"))


def _numbers(text: str | None) -> tuple[int, ...]:
    return tuple(sorted(int(word) for word in (text or "").split() if word.isdigit()))


def _range(tree: Tree, folder: str, prefix: str) -> tuple[int, int] | None:
    low, high = (tree.read_int_or_none(f"{folder}/{prefix}_{end}_freq") for end in ("min", "max"))
    return None if low is None or high is None else (low, high)


def _grid(low: int, high: int) -> tuple[int, ...]:
    """Return multiples of 100 MHz between two frequencies in kHz, and both ends, evenly thinned."""
    first = -(-low // GRID_STEP_KHZ) * GRID_STEP_KHZ
    points = sorted({low, *range(first, high + 1, GRID_STEP_KHZ), high})
    if len(points) <= MAX_GRID_POINTS:
        return tuple(points)
    last = len(points) - 1
    return tuple(points[round(index * last / (MAX_GRID_POINTS - 1))] for index in range(MAX_GRID_POINTS))
