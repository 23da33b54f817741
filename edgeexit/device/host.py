"""This machine as it is: no clock is set, no energy is metered, time is real."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeexit.clock import MonotonicClock
from edgeexit.protocols import ClockDomain, CostTable, Workload

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a result records about the machine it was measured on."""

    cpu: str
    """The processor's name as the kernel gives it, or the architecture."""
    cores: int
    """Logical processors that this process may use."""
    memory_bytes: int


class HostDevice:
    """The machine edgeexit runs on, observed only."""

    name = "host"
    simulated = False
    meter = None

    def __init__(self) -> None:
        self._clock = MonotonicClock()

    @property
    def domains(self) -> Mapping[str, ClockDomain]:
        """No clock domain: this version sets no real clocks."""
        return {}

    @property
    def clock(self) -> MonotonicClock:
        """The machine's steady clock."""
        return self._clock

    def modelled_costs(self, workload: Workload) -> CostTable | None:
        """Return None: nothing is known of this machine's costs."""
        return None

    def work_done(self, macs: int) -> None:
        """Do nothing: real work takes its own time."""

    def close(self) -> None:
        """Do nothing: nothing was taken."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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
