"""The machine edgeexit runs on: its clocks, meters and sensors, as far as there are any."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgeexit.clock import MonotonicClock
from edgeexit.device.conditions import ConditionSensors, ConditionWatch
from edgeexit.device.cpufreq import CpufreqDomain, find_cpufreq
from edgeexit.device.detect import detect_profile
from edgeexit.device.devfreq import GPU_NODES, DevfreqDomain, find_devfreq
from edgeexit.device.firmware import open_firmware
from edgeexit.device.guardian import Guardian
from edgeexit.device.journal import RUN_FOLDER, FileJournal
from edgeexit.device.knobs import open_knob
from edgeexit.device.meters import Meters, find_meters
from edgeexit.device.nvml import find_gpus
from edgeexit.device.sysfs import Tree
from edgeexit.device.thermal import check_no_heat
from edgeexit.errors import JournalError, LeaseTaken
from edgeexit.protocols import ClockDomain, Conditions, CostTable, Journal, PowerMeter, Workload

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from edgeexit.device.profile import DeviceProfile

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a result records about the machine it was measured on."""

    cpu: str
    """The processor's name as the kernel gives it, or the architecture."""
    cores: int
    """Logical processors that this process may use."""
    memory_bytes: int


class HostDevice:
    """A real machine. What it does not have is left out: no domain, no meter, no rail, None for a condition.

    Opening it gives back clocks that a dead process left behind, unless it is only looked at, and changes nothing else.

    Args:
        profile: What is known of the board; None looks which one it is.
        tree: The machine's files.
        run_folder: Where the journal of the clocks lies.
        nvml: False leaves NVIDIA's library alone, for a machine that is a copy of files.
        looks_only: True writes no clock, not even to give one back: another process holds them.
    """

    simulated = False

    def __init__(
        self,
        profile: DeviceProfile | None = None,
        *,
        tree: Tree | None = None,
        run_folder: Path = RUN_FOLDER,
        nvml: bool = True,
        looks_only: bool = False,
    ) -> None:
        self.tree = Tree() if tree is None else tree
        self.run_folder = run_folder
        self._stack = ExitStack()
        self._clock = MonotonicClock()
        if not looks_only:
            self._give_back_abandoned()
        self.gpus = self._stack.enter_context(find_gpus()).gpus if nvml else ()
        usable = any(gpu.domain is not None or gpu.meter is not None for gpu in self.gpus)
        self.profile = detect_profile(self.tree, nvidia_gpu=usable) if profile is None else profile
        self.meters, self._watch = self._find_sensors()
        self._domains: dict[str, ClockDomain] = {}
        self._add(find_cpufreq(self.tree))
        self._domains.update({gpu.domain.name: gpu.domain for gpu in self.gpus if gpu.domain is not None})
        self._find_late_nodes()

    @property
    def name(self) -> str:
        """Name of its profile, for instance "raspberry-pi-4"."""
        return self.profile.name

    @property
    def domains(self) -> Mapping[str, ClockDomain]:
        """Its clock domains; a GPU whose node appears long after boot is found when it is asked for."""
        self._find_late_nodes()
        return self._domains

    @property
    def clock(self) -> MonotonicClock:
        """The machine's steady clock."""
        return self._clock

    @property
    def meter(self) -> PowerMeter | None:
        """The best meter of the whole machine, or None."""
        return self.meters.total

    @property
    def rails(self) -> Mapping[str, PowerMeter]:
        """Meters of its parts, under the board's own names."""
        return self.meters.rails

    @property
    def journal(self) -> Journal:
        """A journal for one lease; a second lease on this machine, also of this process, is refused."""
        return machine_journal(self.tree, self.run_folder, guarded=True)

    def conditions(self) -> Conditions:
        """Return temperature, power, throttling and load as of a second ago at most; never waits for a sensor."""
        return self._watch.latest()

    def modelled_costs(self, workload: Workload) -> CostTable | None:
        """Return None: a profile's figures are of another workload, often on another processor of the board.

        Deadlines and energies of real work go by a cost table that `edgeexit measure` has made on this machine.
        """
        return None

    def work_done(self, macs: int) -> None:
        """Do nothing: real work takes its own time."""

    def close(self) -> None:
        """Stop looking at sensors, and close their files and those of clocks; these are given back by the lease."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _give_back_abandoned(self) -> None:
        try:
            done = machine_journal(self.tree, self.run_folder).restore_abandoned()
        except LeaseTaken:
            return
        except JournalError as error:
            log.warning("%s", error)
            return
        if done.restored:
            log.warning("an edgeexit that died had left clocks changed: %s put back", ", ".join(done.restored))
        for key, problem in done.failed.items():
            log.warning("%s could not be put back: %s", key, problem)

    def _find_sensors(self) -> tuple[Meters, ConditionWatch]:
        firmware = open_firmware(self.tree).firmware
        if firmware is not None:
            self._stack.callback(firmware.close)
        meters = find_meters(
            self.tree,
            total_rails=self.profile.total_rails,
            gpu_meters=[gpu.meter for gpu in self.gpus if gpu.meter is not None],
            clock=self._clock,
            firmware=firmware,
        )
        self._stack.callback(meters.close)
        sensors = ConditionSensors(
            self.tree,
            firmware=firmware,
            read_power_w=meters.read_power_w,
            read_load=LoadSensor().read,
            gpu_temperatures=[gpu.read_temperature_c for gpu in self.gpus],
            gpu_reasons=[gpu.read_event_reasons for gpu in self.gpus],
        )
        self._stack.callback(sensors.close)
        watch = ConditionWatch(sensors.read, clock=self._clock)
        self._stack.callback(watch.close)
        return meters, watch

    def _find_late_nodes(self) -> None:
        if any(name.startswith("gpu") for name in self._domains):
            return
        patterns = [pattern for spec in self.profile.clocks.values() for pattern in spec.nodes] or GPU_NODES
        self._add(find_devfreq(self.tree, patterns))

    def _add(self, domains: Iterable[CpufreqDomain | DevfreqDomain]) -> None:
        """Add domains whose files are closed with the machine."""
        for domain in domains:
            self._domains[domain.name] = domain
            self._stack.callback(domain.close)


def machine_journal(tree: Tree | None = None, run_folder: Path = RUN_FOLDER, *, guarded: bool = False) -> FileJournal:
    """Return the journal of a machine's clocks, whichever drivers they are of.

    Args:
        tree: The machine's files.
        run_folder: Where the journal lies.
        guarded: True for a lease's: a guardian then gives the clocks back if this process is killed.
    """
    machine = Tree() if tree is None else tree
    watch = (lambda: Guardian(run_folder, machine.root)) if guarded else None
    check = partial(check_no_heat, machine)
    return FileJournal(lambda key: open_knob(machine, key), run_folder, check=check, watch=watch)


def read_host_facts(cpuinfo: Path = Path("/proc/cpuinfo")) -> HostFacts:
    """Read what kind of machine this is.

    Args:
        cpuinfo: The kernel's list of processors.
    """
    import psutil  # noqa: PLC0415  costs 20 ms that most runs need not pay

    return HostFacts(
        cpu=_read_cpu_name(cpuinfo),
        cores=len(psutil.Process().cpu_affinity()),
        memory_bytes=psutil.virtual_memory().total,
    )


class LoadSensor:
    """Reads how busy the machine is."""

    def __init__(self) -> None:
        self._busy_s: tuple[float, float] | None = None

    def read(self) -> tuple[float | None, int | None]:
        """Return the busy share of all cores since the last call (None at the first), and the bytes of free memory.

        Both are None if the kernel cannot be asked for now.
        """
        import psutil  # noqa: PLC0415  costs 20 ms that most runs need not pay

        try:
            times, available = psutil.cpu_times(), psutil.virtual_memory().available
        except OSError:  # no file descriptors left, for instance
            return None, None
        idle_s = times.idle + getattr(times, "iowait", 0.0)
        now = (sum(times[:8]), idle_s)
        before, self._busy_s = self._busy_s, now
        if before is None or now[0] <= before[0]:
            return None, available
        return min(1.0, max(0.0, 1.0 - (now[1] - before[1]) / (now[0] - before[0]))), available


def _read_cpu_name(cpuinfo: Path) -> str:
    """Return the first "model name" (x86) or "Model" (Raspberry Pi) that the kernel lists."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model") and value.strip():
            return value.strip()
    return os.uname().machine
