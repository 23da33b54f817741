"""Examines a machine: what it is, which clocks and sensors it has, what will work and what will not, and what mends it.

Everything is read, nothing is changed. What a machine does not show is None or empty: nothing is made up.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from edgeexit.clock import MonotonicClock
from edgeexit.device.clock_reports import ClockReport, find_clocks
from edgeexit.device.detect import BoardFacts, Detection, detect
from edgeexit.device.doctor_findings import (
    JournalState,
    find_notes,
    find_problems,
    read_journal_state,
    sensor_problems,
)
from edgeexit.device.finding import Finding
from edgeexit.device.firmware import Firmware, open_firmware
from edgeexit.device.journal import RUN_FOLDER
from edgeexit.device.meters import Meters, find_meters
from edgeexit.device.power_mode import read_power_mode
from edgeexit.device.rapl import RaplMeter
from edgeexit.device.rivals import Rival, find_rivals
from edgeexit.device.sampler import SampledMeter
from edgeexit.device.sum_meter import SumMeter
from edgeexit.device.thermal import Temperature, Thermometers, ThrottleSensors, hottest_c
from edgeexit.device.throttle_history import read_throttled_before

if TYPE_CHECKING:
    from edgeexit.device.nvml import NvmlGpu
    from edgeexit.device.profile import DeviceProfile
    from edgeexit.device.sysfs import Tree
    from edgeexit.protocols import PowerMeter


_INSTALL = "no ONNX Runtime: pip install onnxruntime"
_WHOLE = "the whole"
_RAPL_PARTS = {"psys": _WHOLE, "dram": "its memory"}
"""What the kinds of RAPL zones meter; the others are the processor."""


@dataclass(frozen=True, slots=True)
class MeterReport:
    """One power meter."""

    name: str
    source: str
    """Where its figures are from: "counter" or "integrated"."""
    min_window_s: float
    """The shortest stretch of time whose energy it can tell."""
    power_w: float | None
    """What it reads just now; None for a counter, which tells energy only."""


class Verdict(NamedTuple):
    """Whether something will work."""

    what: str
    works: bool | None
    """None: only trying it tells."""
    why: str


@dataclass(frozen=True, slots=True)
class Examination:
    """All that was found on one machine."""

    board: BoardFacts
    profile: DeviceProfile
    profile_path: str
    matched: str | None
    """The text by which the machine told its profile; None for a generic one."""
    clocks: tuple[ClockReport, ...]
    cards: tuple[str, ...]
    """Names of the GPUs that NVML shows."""
    nvml_reason: str | None
    """Why NVML shows none, or not all."""
    total: MeterReport | None
    """The meter of the whole, or of as much of it as the machine meters."""
    total_extent: str
    """What that meter covers: "the whole", or for instance "the processor alone, not the board"."""
    rails: Mapping[str, MeterReport]
    temperature_c: float | None
    """Of the hottest part."""
    temperatures: tuple[Temperature, ...]
    throttled: tuple[str, ...] | None
    """Why the clocks are held down now; None if nothing can tell."""
    throttled_before: tuple[str, ...] | None
    """Why they were at some time since boot; None if nothing can tell."""
    power_mode: str | None
    """Power mode of a Jetson, as nvpmodel keeps it."""
    rivals: tuple[Rival, ...]
    journal: JournalState
    memory_bytes: int | None
    memory_available_bytes: int | None
    software: Mapping[str, str | None]
    """Versions by name; None for what is not installed."""
    verdicts: tuple[Verdict, ...]
    problems: tuple[Finding, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON can hold it; units are in the names."""
        profile = self.profile
        return {
            "board": {**asdict(self.board), "title": self.board.title},
            "profile": {
                "name": profile.name,
                "title": profile.title,
                "path": self.profile_path,
                "matched": self.matched,
                "has_model": profile.model is not None,
            },
            "clocks": [asdict(clock) for clock in self.clocks],
            "nvml": {"gpus": list(self.cards), "reason": self.nvml_reason},
            "energy": {
                "total": None if self.total is None else asdict(self.total),
                "total_extent": None if self.total is None else self.total_extent,
                "rails": {name: asdict(rail) for name, rail in self.rails.items()},
            },
            "temperature_c": self.temperature_c,
            "temperatures": [temperature._asdict() for temperature in self.temperatures],
            "throttled": self.throttled,
            "throttled_before": self.throttled_before,
            "power_mode": self.power_mode,
            "rivals": [asdict(rival) for rival in self.rivals],
            "journal": self.journal._asdict(),
            "memory": {"total_bytes": self.memory_bytes, "available_bytes": self.memory_available_bytes},
            "software": dict(self.software),
            "verdicts": [verdict._asdict() for verdict in self.verdicts],
            "problems": [problem._asdict() for problem in self.problems],
            "notes": list(self.notes),
        }


def examine(
    tree: Tree,
    *,
    gpus: Sequence[NvmlGpu] = (),
    nvml_reason: str | None = None,
    firmware: Firmware | None = None,
    roots: Sequence[Path] | None = None,
    run_folder: Path = RUN_FOLDER,
) -> Examination:
    """Examine a machine.

    Args:
        tree: Its files.
        gpus: What NVML found on it.
        nvml_reason: Why NVML found none, or not all.
        firmware: A Raspberry Pi's firmware; without it the way to it is looked for.
        roots: Folders to search for profiles; the usual ones if None.
        run_folder: Where the journal of the clocks lies.
    """
    usable = any(gpu.domain is not None or gpu.meter is not None for gpu in gpus)
    detection = detect(tree, roots, nvidia_gpu=usable)
    with ExitStack() as stack:
        problems: list[Finding] = []
        if firmware is None:
            firmware, problem = open_firmware(tree)
            problems += [] if problem is None else [problem]
            if firmware is not None:
                stack.callback(firmware.close)
        meters = find_meters(
            tree,
            total_rails=detection.profile.total_rails,
            gpu_meters=[gpu.meter for gpu in gpus if gpu.meter is not None],
            clock=MonotonicClock(),
            firmware=firmware,
        )
        stack.callback(meters.close)
        problems += meters.problems
        return _report(tree, detection, gpus, nvml_reason, meters, firmware, problems, run_folder)


def _report(
    tree: Tree,
    detection: Detection,
    gpus: Sequence[NvmlGpu],
    nvml_reason: str | None,
    meters: Meters,
    firmware: Firmware | None,
    sensors: Sequence[Finding],
    run_folder: Path,
) -> Examination:
    profile = detection.profile
    clocks = find_clocks(tree, profile, gpus)
    temperatures = _read_temperatures(tree, gpus)
    throttled = _read_throttled(tree, firmware, gpus)
    power_mode = read_power_mode(tree)
    rivals = find_rivals(tree)
    journal = read_journal_state(tree, run_folder)
    total = None if meters.total is None else _meter_report(meters.total)
    extent = _WHOLE if meters.total is None else _extent(meters.total, gpus)
    software = _software()
    problems = (
        *detection.problems,
        *find_problems(tree, detection, clocks, rivals, journal, run_folder, throttled or ()),
        *sensor_problems(sensors),
    )
    return Examination(
        board=detection.facts,
        profile=profile,
        profile_path=str(detection.path),
        matched=detection.matched,
        clocks=clocks,
        cards=tuple(gpu.name for gpu in gpus),
        nvml_reason=nvml_reason,
        total=total,
        total_extent=extent,
        rails={name: _meter_report(meter) for name, meter in meters.rails.items()},
        temperature_c=hottest_c(temperatures),
        temperatures=temperatures,
        throttled=throttled,
        throttled_before=read_throttled_before(tree, firmware),
        power_mode=power_mode,
        rivals=rivals,
        journal=journal,
        memory_bytes=_memory_bytes(tree, "MemTotal"),
        memory_available_bytes=_memory_bytes(tree, "MemAvailable"),
        software=software,
        verdicts=_verdicts(clocks, _energy_verdict(total, extent), profile, temperatures, throttled, software),
        problems=problems,
        notes=find_notes(tree, detection, clocks, gpus),
    )


def _read_temperatures(tree: Tree, gpus: Sequence[NvmlGpu]) -> tuple[Temperature, ...]:
    thermometers = Thermometers(tree)
    try:
        found = thermometers.read()
    finally:
        thermometers.close()
    cards = ((gpu.name, gpu.read_temperature_c()) for gpu in gpus)
    return (*found, *(Temperature(name, celsius) for name, celsius in cards if celsius is not None))


def _read_throttled(tree: Tree, firmware: Firmware | None, gpus: Sequence[NvmlGpu]) -> tuple[str, ...] | None:
    sensors = ThrottleSensors(tree, firmware)
    try:
        answers = (sensors.read_reasons(), *(gpu.read_event_reasons() for gpu in gpus))
    finally:
        sensors.close()
    known = [answer for answer in answers if answer is not None]
    return tuple(dict.fromkeys(reason for answer in known for reason in answer)) if known else None


def _meter_report(meter: PowerMeter) -> MeterReport:
    power_w = meter.take_sample() if isinstance(meter, SampledMeter) else None
    return MeterReport(meter.name, meter.source.value, meter.min_window_s, power_w)


def _extent(meter: PowerMeter, gpus: Sequence[NvmlGpu]) -> str:
    """Return what a meter covers, in words: counters of a processor and of GPUs know nothing of the rest."""
    parts = meter.parts if isinstance(meter, SumMeter) else (meter,)
    covered = dict.fromkeys(_part_name(part, gpus) for part in parts)
    return _WHOLE if _WHOLE in covered else f"{' and '.join(covered)} alone, not the board"


def _part_name(meter: PowerMeter, gpus: Sequence[NvmlGpu]) -> str:
    if any(meter is gpu.meter for gpu in gpus):
        return "the GPU"
    return _RAPL_PARTS.get(meter.kind, "the processor") if isinstance(meter, RaplMeter) else _WHOLE


def _memory_bytes(tree: Tree, key: str) -> int | None:
    for line in (tree.read_or_none("/proc/meminfo") or "").splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if name == key and words and words[0].isdigit():
            return int(words[0]) * 1024
    return None


def _software() -> dict[str, str | None]:
    return {
        "edgeexit": _version("edgeexit"),
        "python": platform.python_version(),
        "onnxruntime": _version("onnxruntime"),
        "numpy": _version("numpy"),
        "nvidia-ml-py": _version("nvidia-ml-py"),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _verdicts(
    clocks: Sequence[ClockReport],
    energy: Verdict,
    profile: DeviceProfile,
    temperatures: Sequence[Temperature],
    throttled: tuple[str, ...] | None,
    software: Mapping[str, str | None],
) -> tuple[Verdict, ...]:
    runtime = software["onnxruntime"]
    return (
        Verdict("run networks", runtime is not None, f"ONNX Runtime {runtime}" if runtime else _INSTALL),
        *(_clock_verdict(clock) for clock in clocks),
        *(
            []
            if clocks
            else [Verdict("set clocks", False, "there is none to set: inference runs at the clocks as they are")]
        ),
        energy,
        Verdict("plan by costs", None, "with --costs: 'edgeexit measure BUNDLE' makes the table of this machine"),
        _simulation_verdict(profile),
        Verdict("watch the temperature", bool(temperatures), _count(len(temperatures), "sensor")),
        Verdict(
            "notice throttling", throttled is not None, "" if throttled is not None else "nothing here tells of it"
        ),
    )


def _clock_verdict(clock: ClockReport) -> Verdict:
    what = f"set the clock of {clock.name}"
    if clock.writable is False:
        return Verdict(what, False, f"this user may not write {_count(len(clock.forbidden), 'file')}: observed only")
    if len(clock.operating_points_hz) < 2:
        return Verdict(what, False, "there is only one operating point between its limits")
    why = f"{_count(len(clock.operating_points_hz), 'operating point')}, {clock.how_in_words}"
    return Verdict(what, clock.writable, why)


def _energy_verdict(total: MeterReport | None, extent: str) -> Verdict:
    if total is None:
        return Verdict(
            "measure energy", False, "no meter of the whole: results have no energy, 'measure' has latencies only"
        )
    meter = f"{total.name}, windows from {total.min_window_s:g} s"
    return Verdict("measure energy", True, meter if extent == _WHOLE else f"of {extent}: {meter}")


def _simulation_verdict(profile: DeviceProfile) -> Verdict:
    what = "simulate this board"
    if profile.model is None or not profile.model.has_power:
        return Verdict(what, False, "the profile has no figures of speed and power; 'edgeexit measure' makes some")
    return Verdict(what, True, f"--device simulated:{profile.name}, by {len(profile.model.operating_points)} points")


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
