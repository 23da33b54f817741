"""A devfreq device in memory, as a Jetson's GPU has one: its files take, clamp and refuse as the kernel's do.

What it does was seen on a Linux 6.1 kernel or follows its source (drivers/devfreq/devfreq.c, governor_userspace.c);
before 5.3, as on a Jetson with R32, limits that cross are refused.
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

DEVFREQ_CLASS = "/sys/class/devfreq"
NO_LIMIT_HZ = 2**63
"""Stands for a maximum that nobody asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DevfreqSpec:
    """What a devfreq device is like when it appears.

    `device` is the folder of the hardware; the node lies in its devfreq/. `limit_*_hz` are what has been written to
    min_freq and max_freq before, None for nothing. At `current_hz` it stays until something happens.
    """

    frequencies_hz: tuple[int, ...]
    device: str
    governors: tuple[str, ...] = ("userspace", "performance", "powersave", "simple_ondemand")
    governor: str = "simple_ondemand"
    kernel: tuple[int, int] = (6, 1)
    limit_min_hz: int | None = None
    limit_max_hz: int | None = None
    current_hz: int | None = None
    polling_interval_ms: int = 50
    """How often a governor that follows the load looks at it; 0 is never, and then the clock stays."""


class FakeDevfreq:
    """One devfreq device, living in a tree.

    Attributes:
        folder: Where its files lie; /sys/class/devfreq has a link to it.
        busy: Whether it has work: governors that follow the load then go to the top, else to the bottom.
        rail_gated: Whether its power is off; then cur_freq reads 0.
        write_delay_s: How long the driver sleeps at each change of the clock, on the tree's clock.
    """

    def __init__(self, tree: FakeTree, name: str, spec: DevfreqSpec) -> None:
        self.name = name
        self.spec = spec
        self.folder = f"{spec.device}/devfreq/{name}"
        self.governor = spec.governor
        self.busy = False
        self.rail_gated = False
        self.write_delay_s = 0.0
        self._tree = tree
        self._lock = RLock()
        self._sorted_hz = tuple(sorted(spec.frequencies_hz))
        old = self._is_old
        self._min_request_hz = spec.limit_min_hz or (self._sorted_hz[0] if old else 0)
        self._max_request_hz = spec.limit_max_hz or (self._sorted_hz[-1] if old else NO_LIMIT_HZ)
        self._caps: dict[str, int] = {}
        self._set_freq_hz: int | None = None
        self._driver_fails = False
        self._cur_hz = spec.current_hz or self._sorted_hz[0]
        self.residency = Residency(self._sorted_hz, self._cur_hz, tree.clock)
        self._publish()
        self._publish_governor_files()
        if spec.current_hz is None:
            self._govern()

    # --- what a test does to it ---------------------------------------------------------------------

    @property
    def cur_hz(self) -> int:
        """The clock it runs at, in Hz."""
        return self._cur_hz

    @property
    def limits_hz(self) -> tuple[int, int]:
        """The limits in force, in Hz (devfreq_get_freq_range): the maximum goes before the minimum."""
        table = self._sorted_hz
        high = min(table[-1], self._max_request_hz, *self._caps.values())
        return min(max(table[0], self._min_request_hz), high), high

    def cap_hz(self, hz: int | None, requester: str = "thermal") -> None:
        """Let somebody else in the kernel hold the maximum down to `hz`, or let go of it (None)."""
        with self._lock:
            self._caps.pop(requester, None)
            if hz is not None:
                self._caps[requester] = hz
            self._govern()

    def fail_next_write(self) -> None:
        """Let the driver fail at the next change of the clock; the limits' writes do not tell, set_freq's says EIO."""
        self._driver_fails = True

    def set_busy(self, busy: bool) -> None:
        """Give it work, or take it from it, and let the governor follow."""
        with self._lock:
            self.busy = busy
            self._govern()

    # --- governor and clock -----------------------------------------------------------------------

    def _start_governor(self) -> None:
        self._publish_governor_files()
        self._govern()

    def _publish_governor_files(self) -> None:
        """Add the files that exist only while their governor does; userspace's folder is a new one each time."""
        self._set_freq_hz = None
        self._tree.remove(f"{self.folder}/userspace")
        self._tree.remove(f"{self.folder}/polling_interval")
        if self.spec.kernel < (5, 11) or self._follows_load:
            self._tree.add_file(f"{self.folder}/polling_interval", f"{self.spec.polling_interval_ms}\n", 0o644)
        if self.governor == "userspace":
            self._file("userspace/set_freq", self._show_set_freq, self._store_set_freq)

    def _govern(self) -> bool:
        """Let the governor choose, hold it within the limits, and change the clock (update_devfreq)."""
        low, high = self.limits_hz
        if self._follows_load and self.spec.polling_interval_ms == 0:
            return True
        wanted = {
            "userspace": self._set_freq_hz if self._set_freq_hz is not None else self._cur_hz,
            "performance": NO_LIMIT_HZ,
            "powersave": 0,
        }.get(self.governor, NO_LIMIT_HZ if self.busy else 0)
        if wanted > high:
            return self._change(self._at_most(high))
        return self._change(self._at_least(max(wanted, low)))

    @property
    def _follows_load(self) -> bool:
        return self.governor not in ("userspace", "performance", "powersave")

    def _at_least(self, hz: int) -> int:
        return next((entry for entry in self._sorted_hz if entry >= hz), self._sorted_hz[-1])

    def _at_most(self, hz: int) -> int:
        return next((entry for entry in reversed(self._sorted_hz) if entry <= hz), self._sorted_hz[0])

    def _change(self, hz: int) -> bool:
        if hz == self._cur_hz:
            return True
        if self._driver_fails:
            self._driver_fails = False
            return False
        self._tree.clock.sleep_s(self.write_delay_s)
        self.residency.change(hz)
        self._cur_hz = hz
        return True

    # --- what is read and written -----------------------------------------------------------------

    @property
    def _is_old(self) -> bool:
        return self.spec.kernel < (5, 3)

    def _show_limit(self, which: int) -> str:
        request = (self._min_request_hz, self._max_request_hz)[which]
        if self._is_old and request != NO_LIMIT_HZ:
            return f"{request}\n"
        return f"{self.limits_hz[which]}\n"

    def _store_min(self, text: str) -> None:
        hz = _number(text)
        if self._is_old and hz > self._max_request_hz:
            fail(errno.EINVAL)
        self._min_request_hz = hz if self._is_old else hz // 1000 * 1000
        self._govern()

    def _store_max(self, text: str) -> None:
        hz = _number(text)
        if self._is_old and 0 < hz < self._min_request_hz:
            fail(errno.EINVAL)
        if not self._is_old and hz:
            hz = (hz + 999) % 2**64 // 1000 * 1000  # DIV_ROUND_UP, which the highest numbers overflow
            self._max_request_hz = hz
        else:
            self._max_request_hz = hz or NO_LIMIT_HZ
        self._govern()

    def _store_governor(self, text: str) -> None:
        name = "".join(text.split()[:1])
        if name not in self.spec.governors:
            fail(errno.ENOENT)
        if name != self.governor:
            self.governor = name
            self._start_governor()

    def _show_set_freq(self) -> str:
        return "undefined\n" if self._set_freq_hz is None else f"{self._set_freq_hz}\n"

    def _store_set_freq(self, text: str) -> None:
        hz = parse_unsigned(text) if self.spec.kernel >= (6, 1) else _number(text)
        if hz is None:
            fail(errno.EINVAL)
        self._set_freq_hz = hz if hz < 2**64 else fail(errno.ERANGE)
        if not self._govern():
            fail(errno.EIO)

    # --- files ------------------------------------------------------------------------------------

    def _publish(self) -> None:
        spec, tree = self.spec, self._tree
        self._file("available_frequencies", lambda: _words(self._sorted_hz))
        self._file("available_governors", lambda: _words(spec.governors))
        self._file("governor", lambda: f"{self.governor}\n", self._store_governor)
        self._file("cur_freq", lambda: f"{0 if self.rail_gated else self._cur_hz}\n")
        self._file("target_freq", lambda: f"{self._cur_hz}\n")
        self._file("min_freq", lambda: self._show_limit(0), self._store_min)
        self._file("max_freq", lambda: self._show_limit(1), self._store_max)
        self._file("trans_stat", self.residency.trans_stat)
        if not self._is_old:
            self._file("name", lambda: f"{spec.device.rpartition('/')[2]}\n")
        tree.add_link(f"{self.folder}/device", "../..")
        tree.add_link(f"{DEVFREQ_CLASS}/{self.name}", f"../../{self.folder.removeprefix('/sys/')}")

    def _file(self, name: str, show: Callable[[], str], store: Callable[[str], None] | None = None) -> None:
        def guarded_show() -> str:
            with self._lock:
                return show()

        def guarded_store(text: str) -> None:
            with self._lock:
                (store or (lambda _: None))(text)

        path = f"{self.folder}/{name}"
        mode = 0o644 if store else 0o444
        self._tree.add(MemoryFile(path, guarded_show, guarded_store if store else None, mode=mode))


def _number(text: str) -> int:
    number = scan_unsigned(text)
    return number if number is not None else fail(errno.EINVAL)


def _words(items: tuple[object, ...]) -> str:
    return " ".join(str(item) for item in items) + "\n"
