"""A cpufreq policy in memory: its files take, round, clamp and refuse as the kernel's do.

What it does was seen on a Linux 6.1 kernel or follows its source (drivers/cpufreq/cpufreq.c, freq_table.c,
cpufreq_userspace.c; drivers/base/power/qos.c); kernels before 5.3, as on a Jetson with R32, refuse crossing limits.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING

from edgeexit.testing.kernel_numbers import parse_unsigned, scan_unsigned
from edgeexit.testing.memory_tree import MemoryFile, fail
from edgeexit.testing.residency import Residency

if TYPE_CHECKING:
    from edgeexit.testing.fake_sysfs import FakeTree

CPUFREQ = "/sys/devices/system/cpu/cpufreq"
ETERNAL_NS = 4294967295
"""What cpuinfo_transition_latency says where the driver does not know (CPUFREQ_ETERNAL)."""
_SET_POLICY_DRIVERS = ("intel_pstate", "amd-pstate-epp", "amd_pstate_epp")
"""Drivers that choose the clock themselves: limits, performance and powersave are all there is."""
_NO_HARDWARE_READING = (
    "acpi-cpufreq",
    "intel_pstate",
    "intel_cpufreq",
    "amd-pstate",
    "amd-pstate-epp",
    "amd_pstate_epp",
)
_NO_REQUEST = {"min": 0, "max": 2**31 - 1}
"""What is asked for by nobody, and by writing -1 as an unsigned number (PM_QOS_DEFAULT_VALUE)."""
ENERGY_PREFERENCE = "energy_performance_preference"
_PREFERENCES = "default performance balance_performance balance_power power "
_TUNABLES = {
    "schedutil": {"rate_limit_us": "10000"},
    "ondemand": {
        "ignore_nice_load": "0",
        "io_is_busy": "0",
        "powersave_bias": "0",
        "sampling_down_factor": "1",
        "sampling_rate": "10000",
        "up_threshold": "95",
    },
    "conservative": {"down_threshold": "20", "freq_step": "5", "sampling_rate": "10000", "up_threshold": "80"},
}
"""Files of a governor in use; they lie beside the policies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySpec:
    """What a policy is like when it appears.

    `table_khz` is in the driver's own order (acpi-cpufreq lists the fastest first); None for a driver without one, as
    intel_pstate and amd-pstate: then `min_khz` and `max_khz` say what the hardware can do. `limit_*_khz` are what has
    been written to scaling_min_freq and scaling_max_freq before, None for nothing. At `current_khz` it stays until
    something happens.
    """

    cpus: tuple[int, ...] = (0, 1, 2, 3)
    table_khz: tuple[int, ...] | None = (600_000, 750_000, 1_000_000, 1_500_000)
    min_khz: int | None = None
    max_khz: int | None = None
    limit_min_khz: int | None = None
    limit_max_khz: int | None = None
    current_khz: int | None = None
    governors: tuple[str, ...] = ("conservative", "ondemand", "userspace", "powersave", "performance", "schedutil")
    governor: str = "ondemand"
    driver: str = "cpufreq-dt"
    kernel: tuple[int, int] = (6, 1)
    transition_latency_ns: int = ETERNAL_NS
    hardware_reading: bool | None = None
    """Whether there is a cpuinfo_cur_freq; None goes by the driver."""
    energy_preference: str | None = None
    """energy_performance_preference, of intel_pstate and amd-pstate-epp."""


class FakePolicy:
    """One policy, living in a tree.

    Attributes:
        folder: Where its files lie.
        busy: Whether its cores have work: governors that follow the load then go to the top, else to the bottom.
        write_delay_s: How long the driver sleeps at each change of the clock, on the tree's clock.
        limits_lag_s: How long new limits take to show and to act. The kernel (5.3 and later) applies them from a work
            item after the write has returned (cpufreq_notifier_max), so a reader may still see the old ones.
    """

    def __init__(self, tree: FakeTree, number: int, spec: PolicySpec) -> None:
        table = spec.table_khz
        if table is None and (spec.min_khz is None or spec.max_khz is None):
            raise ValueError("a policy without a table needs min_khz and max_khz")
        self.folder = f"{CPUFREQ}/policy{number}"
        self.spec = spec
        self.hardware_min_khz = spec.min_khz if spec.min_khz is not None else min(table or ())
        self.hardware_max_khz = spec.max_khz if spec.max_khz is not None else max(table or ())
        self.busy = False
        self.write_delay_s = 0.0
        self.limits_lag_s = 0.0
        self.governor = spec.governor
        self.energy_preference = spec.energy_preference
        self._tree = tree
        self._lock = RLock()
        self._sorted_khz = tuple(sorted(table)) if table else None
        self._requests = {
            "min": spec.limit_min_khz or _NO_REQUEST["min"],
            "max": spec.limit_max_khz or _NO_REQUEST["max"],
        }
        self._caps: dict[str, int] = {}
        self._offline: set[int] = set()
        self._driver_fails = False
        self._due_s: float | None = None
        self._min_khz, self._max_khz = self._wanted_limits()
        self._cur_khz = min(max(spec.current_khz or self._min_khz, self._min_khz), self._max_khz)
        self._setspeed_khz = self._cur_khz
        self.residency = Residency(tuple(table or ()), self._cur_khz, tree.clock)
        self._publish()
        if spec.current_khz is None:
            self._govern()

    # --- what a test does to it ---------------------------------------------------------------------

    @property
    def cur_khz(self) -> int:
        """The clock it runs at, in kHz."""
        with self._lock:
            self._settle()
            return self._cur_khz

    @property
    def limits_khz(self) -> tuple[int, int]:
        """The limits in force, in kHz."""
        with self._lock:
            self._settle()
            return self._min_khz, self._max_khz

    @property
    def online(self) -> bool:
        """Whether any of its CPUs is; if none is, its files answer EBUSY."""
        return len(self._offline) < len(self.spec.cpus)

    @online.setter
    def online(self, value: bool) -> None:
        for cpu in self.spec.cpus:
            self.set_cpu_online(cpu, value)

    @property
    def online_cpus(self) -> tuple[int, ...]:
        """Those of its CPUs that are online."""
        return tuple(cpu for cpu in self.spec.cpus if cpu not in self._offline)

    def set_cpu_online(self, cpu: int, online: bool) -> None:
        """Take a CPU offline or bring it back; when the first comes back the governor starts anew."""
        with self._lock:
            was_online = self.online
            self._offline = self._offline - {cpu} if online else self._offline | {cpu}
            if self.online and not was_online:
                self._guess_clock()
                self._start_governor()

    def _guess_clock(self) -> None:
        """Take the clock for the highest, as acpi-cpufreq does when a core returns (acpi_cpufreq_guess_freq)."""
        if self.spec.driver == "acpi-cpufreq":
            self.residency.change(self.hardware_max_khz)
            self._cur_khz = self.hardware_max_khz

    def cap_khz(self, khz: int | None, requester: str = "thermal") -> None:
        """Let somebody else in the kernel hold the maximum down to `khz` (kHz), or let go of it (None)."""
        with self._lock:
            self._caps.pop(requester, None)
            if khz is not None:
                self._caps[requester] = khz
            self._apply_limits()

    def fail_next_write(self) -> None:
        """Let the driver fail at the next change of the clock; the write that asked for it does not tell."""
        self._driver_fails = True

    def set_busy(self, busy: bool) -> None:
        """Give its cores work, or take it from them, and let the governor follow."""
        with self._lock:
            self._settle()
            self.busy = busy
            self._govern()

    # --- limits -----------------------------------------------------------------------------------

    def _wanted_limits(self) -> tuple[int, int]:
        """Return the limits that the requests come to (cpufreq_set_policy, cpufreq_frequency_table_verify)."""
        hardware_min, hardware_max = self.hardware_min_khz, self.hardware_max_khz
        high = min(max(min(self._requests["max"], *self._caps.values(), hardware_max), hardware_min), hardware_max)
        low = min(max(self._requests["min"], hardware_min), high)
        table = self._sorted_khz
        if table is None:
            return low, high
        if not any(low <= khz <= high for khz in table):
            high = min(khz for khz in table if khz > high)
        if self.spec.kernel < (5, 16):
            return low, high
        return self._resolve(low, low, high, up=True), self._resolve(high, low, high, up=False)

    def _resolve(self, khz: int, low: int, high: int, *, up: bool) -> int:
        """Return the entry of the table next to a frequency held within limits (RELATION_L up, RELATION_H down)."""
        khz = min(max(khz, low), high)
        table = self._sorted_khz
        if table is None:
            return khz
        if up:
            return next((entry for entry in table if entry >= khz), table[-1])
        return next((entry for entry in reversed(table) if entry <= khz), table[0])

    def _apply_limits(self) -> None:
        self._settle()
        if self.limits_lag_s > 0.0 and self.spec.kernel >= (5, 3):
            self._due_s = self._tree.clock.now_s() + self.limits_lag_s
        else:
            self._take_limits()

    def _settle(self) -> None:
        if self._due_s is not None and self._tree.clock.now_s() >= self._due_s:
            self._take_limits()

    def _take_limits(self) -> None:
        self._due_s = None
        self._min_khz, self._max_khz = self._wanted_limits()
        self._govern()

    # --- governor and clock -----------------------------------------------------------------------

    def _start_governor(self) -> None:
        self._setspeed_khz = self._cur_khz
        self._govern()

    def _govern(self) -> None:
        """Do what the governor does when limits or load change (cpufreq_userspace.c for userspace)."""
        if self.governor == "userspace":
            self._target(self._setspeed_khz, up=self._setspeed_khz <= self._max_khz)
        elif self._wants_the_top:
            self._target(self._max_khz, up=False)
        else:
            self._target(self._min_khz, up=True)

    @property
    def _wants_the_top(self) -> bool:
        """Whether the governor goes to the maximum; powersave follows the load where the driver sets the clock."""
        if self.governor == "performance":
            return True
        return self.busy and (self.governor != "powersave" or self._sets_policy)

    def _target(self, khz: int, *, up: bool) -> None:
        khz = self._resolve(khz, self._min_khz, self._max_khz, up=up)
        if khz == self._cur_khz:
            return
        if self._driver_fails:
            self._driver_fails = False
            return
        self._tree.clock.sleep_s(self.write_delay_s)
        self.residency.change(khz)
        self._cur_khz = khz

    # --- what is written --------------------------------------------------------------------------

    def _number(self, text: str) -> int:
        number = parse_unsigned(text) if self.spec.kernel >= (6, 7) else scan_unsigned(text, bits=32)
        if number is None:
            fail(errno.EINVAL)
        return number if number < 2**32 else fail(errno.ERANGE)

    def _store_limit(self, which: str, text: str) -> None:
        khz = self._number(text)
        if khz >= 2**31 and self.spec.kernel >= (5, 3):
            khz = _NO_REQUEST[which] if khz == 2**32 - 1 else fail(errno.EINVAL)
        wanted = {**self._requests, which: khz}
        if self.spec.kernel < (5, 3) and wanted["min"] > wanted["max"]:
            fail(errno.EINVAL)
        self._requests = wanted
        self._apply_limits()

    def _store_setspeed(self, text: str) -> None:
        khz = scan_unsigned(text, bits=32)
        if self.governor != "userspace" or khz is None:
            fail(errno.EINVAL)
        self._setspeed_khz = khz
        self._target(khz, up=True)

    def _store_governor(self, text: str) -> None:
        words = text.split()
        found = [name for name in self.spec.governors if words and name.lower() == words[0].lower()]
        if not found:
            fail(errno.EINVAL)
        if found[0] == self.governor:
            return
        before, self.governor = self.governor, found[0]
        if before in _TUNABLES and not any(policy.governor == before for policy in self._tree.policies):
            self._tree.remove(f"{CPUFREQ}/{before}")
        self._publish_tunables()
        self._start_governor()

    def _store_preference(self, text: str) -> None:
        word = text.strip()
        if word not in _PREFERENCES.split():
            fail(errno.EINVAL)
        if self.governor == "performance" and word != "performance":
            fail(errno.EBUSY)
        self.energy_preference = word

    # --- files ------------------------------------------------------------------------------------

    def _publish(self) -> None:
        spec = self.spec
        words = " ".join(spec.governors)
        self._file("affected_cpus", lambda: _numbers(self.online_cpus))
        self._file("related_cpus", lambda: _numbers(spec.cpus))
        self._file("cpuinfo_min_freq", lambda: f"{self.hardware_min_khz}\n")
        self._file("cpuinfo_max_freq", lambda: f"{self.hardware_max_khz}\n")
        self._file("cpuinfo_transition_latency", lambda: f"{spec.transition_latency_ns}\n")
        self._file("scaling_driver", lambda: f"{spec.driver}\n")
        self._file("scaling_available_governors", lambda: words + ("\n" if self._sets_policy else " \n"))
        self._file("scaling_cur_freq", lambda: f"{self._cur_khz}\n")
        self._file("scaling_governor", lambda: f"{self.governor}\n", self._store_governor)
        self._file("scaling_min_freq", lambda: f"{self._min_khz}\n", lambda text: self._store_limit("min", text))
        self._file("scaling_max_freq", lambda: f"{self._max_khz}\n", lambda text: self._store_limit("max", text))
        self._file("scaling_setspeed", self._show_setspeed, self._store_setspeed)
        self._publish_what_some_have()
        for cpu in spec.cpus:
            self._tree.add_link(
                f"/sys/devices/system/cpu/cpu{cpu}/cpufreq", f"../cpufreq/{self.folder.rpartition('/')[2]}"
            )
        self._publish_tunables()

    def _publish_what_some_have(self) -> None:
        spec, residency = self.spec, self.residency
        reading = spec.hardware_reading
        if reading if reading is not None else spec.driver not in _NO_HARDWARE_READING:
            self._file("cpuinfo_cur_freq", lambda: f"{self._cur_khz}\n", mode=0o400)
        if spec.table_khz is not None:
            self._file(
                "scaling_available_frequencies", lambda: "".join(f"{khz} " for khz in spec.table_khz or ()) + "\n"
            )
            self._file("stats/time_in_state", residency.time_in_state)
            self._file("stats/total_trans", lambda: f"{residency.changes}\n")
            self._file("stats/reset", lambda: fail(errno.EIO), lambda _: residency.reset(), mode=0o200)
        if spec.energy_preference is not None:
            self._file("energy_performance_available_preferences", lambda: f"{_PREFERENCES}\n")
            self._file(ENERGY_PREFERENCE, lambda: f"{self.energy_preference}\n", self._store_preference)

    def _publish_tunables(self) -> None:
        for name, value in _TUNABLES.get(self.governor, {}).items():
            path = f"{CPUFREQ}/{self.governor}/{name}"
            if not self._tree.exists(path):
                self._tree.add_file(path, f"{value}\n", 0o644)

    def _file(
        self, name: str, show: Callable[[], str], store: Callable[[str], None] | None = None, mode: int | None = None
    ) -> None:
        """Add a file that answers EBUSY while no CPU is online, and holds the policy while it is at work."""

        def guarded_show() -> str:
            with self._lock:
                self._settle()
                return show() if self.online else fail(errno.EBUSY)

        def guarded_store(text: str) -> None:
            with self._lock:
                self._settle()
                if not self.online:
                    fail(errno.EBUSY)
                (store or _refuse)(text)

        mode = mode if mode is not None else 0o644 if store else 0o444
        path = f"{self.folder}/{name}"
        self._tree.add(MemoryFile(path, guarded_show, guarded_store if store else None, mode=mode))

    def _show_setspeed(self) -> str:
        return f"{self._cur_khz}\n" if self.governor == "userspace" else "<unsupported>\n"

    @property
    def _sets_policy(self) -> bool:
        return self.spec.driver in _SET_POLICY_DRIVERS


def _numbers(cpus: tuple[int, ...]) -> str:
    return " ".join(str(cpu) for cpu in cpus) + "\n"


def _refuse(_: str) -> None:
    fail(errno.EIO)
