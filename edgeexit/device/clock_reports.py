"""What the doctor says of each clock domain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgeexit.device.cpufreq import FOLDER, HZ_PER_KHZ, CpufreqDomain, find_cpufreq
from edgeexit.device.devfreq import CLASS, GPU_NODES, DevfreqDomain, find_devfreq
from edgeexit.errors import DeviceError

if TYPE_CHECKING:
    from edgeexit.device.nvml import NvmlGpu
    from edgeexit.device.nvml_clock import NvmlDomain
    from edgeexit.device.profile import DeviceProfile
    from edgeexit.device.sysfs import Tree
    from edgeexit.protocols import ClockDomain

_IN_WORDS = {
    "userspace": "set by the kernel governor userspace",
    "limits": "set by minimum = maximum",
    "locked clocks": "set by NVML's locked clocks, as root",
}


@dataclass(frozen=True, slots=True)
class ClockReport:
    """One clock domain."""

    name: str
    kind: str
    """"cpufreq", "devfreq" or "nvml"."""
    driver: str
    """The kernel's driver, or the GPU's name."""
    parts: tuple[str, ...]
    """The cpufreq policies, or the devfreq node, or the GPU's id."""
    cpus: tuple[int, ...]
    kernel_governor: str | None
    operating_points_hz: tuple[int, ...]
    from_table: bool
    """True if the operating points are the driver's, False if they are a grid between its limits."""
    hardware_range_hz: tuple[int, int] | None
    """What the chip can do, lowest and highest."""
    present_hz: int | None
    how: str
    """"userspace", "limits" or "locked clocks"."""
    writable: bool | None
    """Whether this user may set it; None if only trying tells."""
    forbidden: tuple[str, ...]
    """The files of it that this user may not write."""
    minimum_path: str | None
    """The file of its lower limit."""
    maximum_path: str | None
    """The file of its upper limit."""
    limits_hz: tuple[int, int] | None
    """Lowest and highest frequency that are allowed just now."""

    @property
    def how_in_words(self) -> str:
        """How it is set, in words."""
        return _IN_WORDS.get(self.how, self.how)


def find_clocks(tree: Tree, profile: DeviceProfile, gpus: Sequence[NvmlGpu] = ()) -> tuple[ClockReport, ...]:
    """Return a report of every clock domain of a machine.

    Args:
        tree: The machine's files.
        profile: Names the GPU's devfreq nodes; without any every known one is looked for.
        gpus: What NVML found.
    """
    reports = [_cpufreq_report(tree, domain) for domain in find_cpufreq(tree)]
    cards = [_nvml_report(gpu, gpu.domain) for gpu in gpus if gpu.domain is not None]
    if cards:
        return (*reports, *cards)
    patterns = [pattern for spec in profile.clocks.values() for pattern in spec.nodes] or GPU_NODES
    return (*reports, *(_devfreq_report(tree, domain) for domain in find_devfreq(tree, patterns)))


def _cpufreq_report(tree: Tree, domain: CpufreqDomain) -> ClockReport:
    folder = f"{FOLDER}/{domain.policies[0]}"
    limits = (f"{folder}/scaling_min_freq", f"{folder}/scaling_max_freq")
    return _kernel_report(tree, domain, "cpufreq", domain.policies, domain.cpus, limits, HZ_PER_KHZ)


def _devfreq_report(tree: Tree, domain: DevfreqDomain) -> ClockReport:
    limits = (f"{CLASS}/{domain.node}/min_freq", f"{CLASS}/{domain.node}/max_freq")
    return _kernel_report(tree, domain, "devfreq", (domain.node,), (), limits, 1)


def _kernel_report(
    tree: Tree,
    domain: CpufreqDomain | DevfreqDomain,
    kind: str,
    parts: tuple[str, ...],
    cpus: tuple[int, ...],
    limits: tuple[str, str],
    hz_per_unit: int,
) -> ClockReport:
    """Report a domain that is set by files, and close it; `limits` are the paths of its minimum and maximum."""
    forbidden = tuple(path for path in domain.paths if not tree.can_write(path))
    report = ClockReport(
        name=domain.name,
        kind=kind,
        driver=domain.driver,
        parts=parts,
        cpus=cpus,
        kernel_governor=domain.read_kernel_governor(),
        operating_points_hz=domain.operating_points_hz,
        from_table=domain.from_table,
        hardware_range_hz=domain.hardware_range_hz,
        present_hz=_present_hz(domain),
        how=domain.how,
        writable=not forbidden,
        forbidden=forbidden,
        minimum_path=limits[0],
        maximum_path=limits[1],
        limits_hz=_limits_hz(tree, limits, hz_per_unit),
    )
    domain.close()
    return report


def _nvml_report(gpu: NvmlGpu, domain: NvmlDomain) -> ClockReport:
    return ClockReport(
        name=domain.name,
        kind="nvml",
        driver=gpu.name,
        parts=() if gpu.uuid is None else (gpu.uuid,),
        cpus=(),
        kernel_governor=None,
        operating_points_hz=domain.operating_points_hz,
        from_table=True,
        hardware_range_hz=None,
        present_hz=_present_hz(domain),
        how=domain.how,
        writable=None,
        forbidden=(),
        minimum_path=None,
        maximum_path=None,
        limits_hz=None,
    )


def _present_hz(domain: ClockDomain) -> int | None:
    try:
        return domain.read_hz()
    except DeviceError:
        return None


def _limits_hz(tree: Tree, paths: tuple[str, str], hz: int) -> tuple[int, int] | None:
    low, high = (tree.read_int_or_none(path) for path in paths)
    return None if low is None or high is None else (low * hz, high * hz)
