"""Energy counters of x86 processors (RAPL), by the kernel's powercap class (Documentation/power/powercap).

Zones: package-0 (with dies package-0-die-1), in it core, uncore and dram; psys is the whole platform. Dram is not part
of its package; psys holds everything. Since CVE-2020-8694 only root may read the counters.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from edgeexit.device.finding import Finding
from edgeexit.protocols import EnergySource

if TYPE_CHECKING:
    from edgeexit.device.sysfs import Attribute, Tree
    from edgeexit.protocols import Clock

POWERCAP = "/sys/class/powercap"
UPDATE_S = 0.001
"""How often the processor updates its counters (Intel SDM volume 3B, Power and Thermal Management: about 1 ms)."""
WINDOW_UPDATES = 10
MOST_W = 5000.0
"""No machine that this runs on draws more: a counter that says so was set back, by suspend or by a driver."""
POLL_W = 500.0
"""Power at which `poll_interval_s` is half of the time to wrap around."""
MIRROR_SLACK_UJ = 500_000
"""Two readings in a row of one counter may differ by one update: 0.5 J at 500 W and 1 ms."""
MEND = (
    'sudo chgrp "$(id -gn)" /sys/class/powercap/intel-rapl*:*/energy_uj'
    " && sudo chmod g+r /sys/class/powercap/intel-rapl*:*/energy_uj   # until the next boot"
)
_ZONE = re.compile(r"(intel-rapl(?:-mmio)?):([0-9]+)(?::([0-9]+))?")
_DIE = re.compile(r"(package-[0-9]+)-die-[0-9]+")
_J_PER_UJ = 1e-6


class RaplMeter:
    """One zone's counter as a running sum that goes on when the counter wraps around.

    It must be read, or `poll`ed, more often than the counter wraps: every `poll_interval_s` is often enough.

    Args:
        zone: The zone's name, unique on this machine, for instance "package-0 dram".
        kind: "psys", "package", or the name of a part: "core", "uncore", "dram".
        counter: Its file energy_uj.
        range_uj: Where the counter starts again (max_energy_range_uj).
        clock: Tells a wrap from a counter that was set back.
    """

    source = EnergySource.COUNTER
    min_window_s = WINDOW_UPDATES * UPDATE_S

    def __init__(self, zone: str, kind: str, counter: Attribute, range_uj: int, clock: Clock) -> None:
        self.zone = zone
        self.kind = kind
        self._counter = counter
        self._range_uj = range_uj
        self._clock = clock
        self._lock = threading.Lock()
        self._sum_uj = 0
        self._last_uj: int | None = None
        self._last_s = 0.0

    @property
    def name(self) -> str:
        """The zone and how it is metered, for instance "package-0 (RAPL)"."""
        return f"{self.zone} (RAPL)"

    @property
    def path(self) -> str:
        """The counter's file."""
        return self._counter.path

    @property
    def poll_interval_s(self) -> float:
        """How often it has to be read so that no wrap goes unseen: half of the time to wrap at 500 W."""
        return self._range_uj * _J_PER_UJ / POLL_W / 2.0

    def uncertainty_j(self, energy_j: float, duration_s: float) -> float | None:
        """Return the standard deviation that comes of the counter's update period, in joules.

        Each end of the stretch is seen up to one update T late: uniform within P T, variance (P T)^2 / 12 (JCGM
        100:2008, 4.3.7), twice. How true the counter is in the large its makers do not say, so that is not in it.
        None if the stretch has no length.
        """
        return None if duration_s <= 0.0 else energy_j / duration_s * UPDATE_S / math.sqrt(6.0)

    def read_energy_j(self) -> float | None:
        """Return the energy since the first call, in joules; None if it cannot be read, or was just set back."""
        with self._lock:
            now_uj = self.read_counter_uj()
            if now_uj is None or not self._advance(now_uj):
                return None
            return self._sum_uj * _J_PER_UJ

    def poll(self) -> None:
        """Read the counter, so that no wrap goes unseen."""
        self.read_energy_j()

    def read_counter_uj(self) -> int | None:
        """Return the counter as the kernel shows it, in microjoules, or None."""
        try:
            return int(self._counter.read())
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        """Close its file; the next reading opens it again."""
        self._counter.close()

    def _advance(self, now_uj: int) -> bool:
        now_s = self._clock.now_s()
        last_uj, last_s = self._last_uj, self._last_s
        self._last_uj, self._last_s = now_uj, now_s
        if last_uj is None:
            return True
        wrapped = now_uj < last_uj
        delta_uj = now_uj - last_uj + (self._range_uj if wrapped else 0)
        if wrapped and delta_uj * _J_PER_UJ > MOST_W * (now_s - last_s):
            return False
        self._sum_uj += delta_uj
        return True


class Zones(NamedTuple):
    """The zones that can be metered, each energy once, and what is wrong with the others."""

    meters: tuple[RaplMeter, ...]
    problems: tuple[Finding, ...]
    complete: bool
    """Whether no package is among the others, so that the packages are all there are."""


def find_zones(tree: Tree, clock: Clock) -> Zones:
    """Return every zone whose counter may be read and counts.

    The same package may be shown twice (by MSR and by MMIO), and dies may show the counter of their package: each is
    taken once.
    """
    meters: list[RaplMeter] = []
    problems: list[Finding] = []
    forbidden: list[str] = []
    complete = True
    for folder, zone, kind in _named_zones(tree):
        path = f"{folder}/energy_uj"
        range_uj = tree.read_int_or_none(f"{folder}/max_energy_range_uj")
        meter = RaplMeter(zone, kind, tree.open_attribute(path), range_uj or 0, clock)
        problem = _problem(meter, range_uj)
        if problem is None:
            meters.append(meter)
            continue
        complete = complete and kind != "package"
        meter.close()
        if tree.exists(path) and not tree.can_read(path):
            forbidden.append(zone)
        else:
            problems.append(problem)
    kept, mirrors = _without_mirrors(meters)
    return Zones(kept, (*_forbidden(forbidden), *problems, *mirrors), complete)


def _named_zones(tree: Tree) -> list[tuple[str, str, str]]:
    """(folder, unique name, kind) of each zone once, those by MSR before those by MMIO."""
    zones: dict[str, tuple[str, str, str]] = {}
    for control, number, part in sorted(m.groups("") for n in tree.names(POWERCAP) if (m := _ZONE.fullmatch(n))):
        parent = f"{POWERCAP}/{control}:{number}"
        folder = f"{parent}:{part}" if part else parent
        name, outer = tree.read_or_none(f"{folder}/name"), tree.read_or_none(f"{parent}/name")
        if name and outer:
            zone = f"{outer} {name}" if part else name
            zones.setdefault(zone, (folder, zone, name.split("-")[0]))
    return list(zones.values())


def _forbidden(zones: Sequence[str]) -> tuple[Finding, ...]:
    """One finding for all: the kernel hides every counter in the same way, and one command mends it."""
    if not zones:
        return ()
    what = f"RAPL zone{'s' if len(zones) > 1 else ''} {', '.join(zones)}"
    return (Finding(what, "energy_uj may be read by root only", MEND),)


def _problem(meter: RaplMeter, range_uj: int | None) -> Finding | None:
    what = f"RAPL zone {meter.zone}"
    counted_uj = meter.read_counter_uj()
    if counted_uj is None or not range_uj:
        return Finding(what, f"{meter.path} or its max_energy_range_uj cannot be read")
    if counted_uj == 0:
        return Finding(what, f"{meter.path} reads 0: nothing is counted, as in many virtual machines")
    return None


def _without_mirrors(meters: Sequence[RaplMeter]) -> tuple[tuple[RaplMeter, ...], list[Finding]]:
    """Drop the dies, with all their parts, that show the counter of another die of their package."""
    kept: list[RaplMeter] = []
    mirrors: dict[str, RaplMeter] = {}
    for meter in meters:
        twin = mirrors.get(meter.zone.split(" ")[0]) or _twin(meter, kept)
        if twin is None:
            kept.append(meter)
        else:
            mirrors.setdefault(meter.zone, twin)
            meter.close()
    what = "shows the counter of {}, which is counted once"
    return tuple(kept), [Finding(f"RAPL zone {z}", what.format(t.zone)) for z, t in mirrors.items() if " " not in z]


def _twin(meter: RaplMeter, others: Sequence[RaplMeter]) -> RaplMeter | None:
    die = _DIE.fullmatch(meter.zone)
    if die is None:
        return None
    dies = (other for other in others if (m := _DIE.fullmatch(other.zone)) and m[1] == die[1])
    return next((other for other in dies if _mirrors(other, meter)), None)


def _mirrors(one: RaplMeter, other: RaplMeter) -> bool:
    """Whether the other's counter lies between two readings of the one's, as the same counter does."""
    first_uj, other_uj, last_uj = one.read_counter_uj(), other.read_counter_uj(), one.read_counter_uj()
    if first_uj is None or other_uj is None or last_uj is None:
        return False
    return first_uj - MIRROR_SLACK_UJ <= other_uj <= last_uj + MIRROR_SLACK_UJ
