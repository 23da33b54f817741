"""What stands in the way on a machine, with the exact command that mends it, and what its user should know."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from edgeexit.device.cpufreq import FOLDER, read_policies
from edgeexit.device.finding import Finding, own_command
from edgeexit.device.journal import FILE_NAME, LOCK_NAME, FileJournal
from edgeexit.device.knobs import open_knob
from edgeexit.errors import JournalError

if TYPE_CHECKING:
    from edgeexit.device.clock_reports import ClockReport
    from edgeexit.device.cpufreq import Policy
    from edgeexit.device.detect import Detection
    from edgeexit.device.nvml import NvmlGpu
    from edgeexit.device.rivals import Rival
    from edgeexit.device.sysfs import Tree

FIX: Final = "edgeexit doctor --fix | sudo sh   # read it first; it counts from the next login on"
_READ_ONLY = re.compile(r"^\S+ /sys \S+ ro[, ]", re.MULTILINE)
_VIRTUAL = re.compile(r"QEMU|KVM|VMware|VirtualBox|Virtual Machine|Google Compute|Amazon EC2|OpenStack|HVM domU|Bochs")
_ROOT_ONLY = "may be read by root only"


class JournalState(NamedTuple):
    """What lies where the journal of the clocks is kept."""

    state: str
    """"none", "held" by a living process, "abandoned" by a dead one, or "unreadable"."""
    pid: int | None = None
    """Of the process that wrote it."""
    problem: str | None = None


def read_journal_state(tree: Tree, run_folder: Path) -> JournalState:
    """Return whether clocks are held, or were left behind.

    Args:
        tree: The machine whose processes tell who lives.
        run_folder: Where the journal lies.
    """
    journal = FileJournal(lambda key: open_knob(tree, key), run_folder, tree)
    try:
        holder = journal.read_holder()
        if holder is None:
            return JournalState("none")
        return JournalState("abandoned" if journal.is_abandoned() else "held", holder.process.pid)
    except JournalError as error:
        return JournalState("unreadable", problem=str(error))


def find_problems(
    tree: Tree,
    detection: Detection,
    clocks: Sequence[ClockReport],
    rivals: Sequence[Rival],
    journal: JournalState,
    run_folder: Path,
    throttled: Sequence[str],
) -> tuple[Finding, ...]:
    """Return what will not work as it could, the gravest first.

    Args:
        tree: The machine's files.
        detection: What machine it is.
        clocks: The clock domains found.
        rivals: Programs that set clocks too.
        journal: What lies where the journal is kept.
        run_folder: Where that is.
        throttled: Why the clocks are held down just now.
    """
    return (
        *_missing_clocks(tree, detection, clocks),
        *(_forbidden(tree, clock) for clock in clocks if clock.forbidden),
        *_journal_problems(journal, run_folder / FILE_NAME),
        *(_folder_problems(tree, run_folder) if clocks else ()),
        *(Finding(_rival_title(rival), rival.why, rival.mend) for rival in rivals),
        *(finding for clock in clocks for finding in _limit_problems(tree, clock, journal)),
        *_throttle_problems(throttled),
    )


def sensor_problems(problems: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the sensors' problems, each once; energy counters get the command that lasts.

    Args:
        problems: What the search for sensors found.
    """
    return tuple(
        each._replace(mend=FIX) if each.what.startswith("RAPL ") and each.why.endswith(_ROOT_ONLY) else each
        for each in dict.fromkeys(problems)
    )


def find_notes(
    tree: Tree, detection: Detection, clocks: Sequence[ClockReport], gpus: Sequence[NvmlGpu]
) -> tuple[str, ...]:
    """Return what its user should know of a machine.

    Args:
        tree: The machine's files.
        detection: What machine it is.
        clocks: The clock domains found.
        gpus: What NVML found.
    """
    return (
        *detection.profile.notes,
        *(_grid_note(clock) for clock in clocks if not clock.from_table),
        *(f"{policy.name}: all its cores are offline; it is left out" for policy in _offline_policies(tree)),
        *(f"{gpu.name}: NVML does not give its {what} ({why})" for gpu in gpus for what, why in gpu.cannot.items()),
    )


def _missing_clocks(tree: Tree, detection: Detection, clocks: Sequence[ClockReport]) -> Iterator[Finding]:
    if not any(clock.kind == "cpufreq" for clock in clocks) and not _offline_policies(tree):
        yield _no_cpufreq(tree, detection.facts.product or "")
    nodes = [node for spec in detection.profile.clocks.values() for node in spec.nodes]
    if nodes and not any(clock.name.startswith("gpu") for clock in clocks):
        yield Finding(
            "clock of the GPU",
            f"/sys/class/devfreq has none of {', '.join(nodes)}; it may appear only when the GPU is used first",
            "start something that uses the GPU, or 'sudo modprobe nvgpu', then look again",
        )


def _no_cpufreq(tree: Tree, product: str) -> Finding:
    what, why = "clock of the processor", f"the kernel shows no cpufreq policy in {FOLDER}"
    cpuinfo = tree.read_or_none("/proc/cpuinfo") or ""
    if re.search(r"^flags\s*:.*\bhypervisor\b", cpuinfo, re.MULTILINE) or _VIRTUAL.search(product):
        return Finding(what, f"{why}: this is a virtual machine, whose host keeps the clocks to itself")
    if "vendor_id" in cpuinfo:
        return Finding(what, why, "sudo modprobe acpi-cpufreq   # or allow P-states in the machine's setup")
    return Finding(what, why, "sudo modprobe cpufreq-dt   # or a kernel with the board's cpufreq driver")


def _forbidden(tree: Tree, clock: ClockReport) -> Finding:
    what = f"clock {clock.name}"
    if _READ_ONLY.search(tree.read_or_none("/proc/self/mounts") or ""):
        why = f"/sys is mounted read-only here, as in a container, so {clock.forbidden[0]} cannot be written"
        return Finding(what, why, "let the container write it, for instance: docker run --privileged ...")
    more = f" and {len(clock.forbidden) - 1} more" if len(clock.forbidden) > 1 else ""
    return Finding(what, f"this user may not write {clock.forbidden[0]}{more}", FIX)


def _journal_problems(journal: JournalState, path: Path) -> Iterator[Finding]:
    if journal.state == "abandoned":
        why = f"process {journal.pid} died and left clocks changed; {path} tells what they were"
        yield Finding("clocks left behind", why, f"sudo {own_command('restore')}")
    elif journal.state == "held":
        why = f"process {journal.pid} holds the clocks, by {path}; a second edgeexit can only observe"
        yield Finding("clocks taken", why, f"wait for it, or stop it: kill {journal.pid}")
    elif journal.state == "unreadable":
        yield Finding("journal of the clocks", str(journal.problem), f"sudo rm {path}   # look at it first")


def _folder_problems(tree: Tree, run_folder: Path) -> Iterator[Finding]:
    if not _may_keep_journal(tree, str(run_folder)):
        why = f"this user may not write {run_folder}, where is kept what has to be put back: no clock is set without it"
        yield Finding("journal of the clocks", why, FIX)


def _may_keep_journal(tree: Tree, folder: str) -> bool:
    if not tree.exists(folder):
        parent = folder.rsplit("/", 1)[0] or "/"
        return not tree.exists(parent) or tree.can_write(parent)
    lock = f"{folder}/{LOCK_NAME}"
    return tree.can_write(folder) and (not tree.exists(lock) or tree.can_write(lock))


def _rival_title(rival: Rival) -> str:
    return rival.name if rival.pid is None else f"{rival.name} (process {rival.pid})"


def _limit_problems(tree: Tree, clock: ClockReport, journal: JournalState) -> Iterator[Finding]:
    if clock.limits_hz is None or clock.hardware_range_hz is None or journal.state in ("held", "abandoned"):
        return
    (low, high), (lowest, highest) = clock.limits_hz, clock.hardware_range_hz
    jetson = tree.exists("/etc/nvpmodel.conf") or tree.exists("/etc/nv_tegra_release")
    if low == high and lowest < highest:
        why = f"is pinned: minimum = maximum = {_mhz(low)}, so there is nothing to choose"
        mend = "sudo jetson_clocks --restore   # or reboot" if jetson else _write(clock.minimum_path, lowest, clock)
        yield Finding(f"clock {clock.name}", why, mend)
    if 0 < high < highest:
        why = f"may go up to {_mhz(high)} only, the chip could {_mhz(highest)}; edgeexit never goes above such a limit"
        mend = (
            "sudo nvpmodel -m 0   # the mode without limits" if jetson else _write(clock.maximum_path, highest, clock)
        )
        yield Finding(f"clock {clock.name}", why, mend)


def _write(path: str | None, hz: int, clock: ClockReport) -> str | None:
    if path is None:
        return None
    value = hz // 1000 if clock.kind == "cpufreq" else hz
    if len(clock.parts) > 1:
        path = path.replace(f"/{clock.parts[0]}/", "/policy*/")
    return f"echo {value} | sudo tee {path}"


def _throttle_problems(throttled: Sequence[str]) -> Iterator[Finding]:
    for reason in throttled:
        mend = "use a stronger power supply and a short, thick cable" if "voltage" in reason else None
        if mend is None and ("therm" in reason or "temp" in reason):
            mend = "cool it: a heat sink, a fan, or less work"
        yield Finding("throttled", f"the machine holds its clocks down just now: {reason}", mend)


def _offline_policies(tree: Tree) -> list[Policy]:
    return [policy for policy in read_policies(tree) if not policy.online]


def _grid_note(clock: ClockReport) -> str:
    return (
        f"{clock.name}: the driver {clock.driver} lists no frequencies; the operating points are a grid between its "
        "limits, and the hardware may run at another clock in between"
    )


def _mhz(hz: int) -> str:
    return f"{hz / 1e6:g} MHz"
