"""Temperatures, and why a machine holds its clocks down."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from edgeexit.device.hwmon import find_hwmon
from edgeexit.errors import ClockBusy

if TYPE_CHECKING:
    from edgeexit.device.firmware import Firmware
    from edgeexit.device.sysfs import Attribute, Tree
    from edgeexit.protocols import Knob

THERMAL = "/sys/class/thermal"
CPUS = "/sys/devices/system/cpu"
THROTTLED_BITS = (
    (0, "under-voltage"),
    (1, "frequency capped"),
    (2, "throttled"),
    (3, "soft temperature limit"),
)
"""Bits of get_throttled that are about now (raspberrypi.com, os.html#get_throttled); 16 to 19 say "since boot"."""
POSSIBLE_C = (-45.0, 200.0)
"""A sensor outside of this is switched off: Jetson zones of parts without power read -256 (JetPack 5)."""
_CHIPS = ("coretemp", "cpu_thermal", "k10temp", "zenpower")
_NOT_THE_PROCESSOR = re.compile(r"pmic|fan|wifi|iwl|nvme|batt|charger|INT3400", re.IGNORECASE)
"""PMIC-Die of a Jetson always reads 100; INT3400 is no place at all; the others do not slow the processor."""
_BOARD = re.compile(r"acpitz")
"""Often a made-up value; better than nothing."""
_COOLING = re.compile(r"(?:thermal-)?(?:cpufreq|devfreq)-.+|Processor|.+-throttle-alert")
"""Cooling devices that work by lower clocks (Linux drivers/thermal/cpufreq_cooling.c, devfreq_cooling.c,
drivers/acpi/processor_thermal.c), and the alerts by which a Jetson's firmware says that it does so."""
_CPU = re.compile(r"cpu[0-9]+")
_FIRMWARE_PLACES = re.compile(r"soc.*")


class Temperature(NamedTuple):
    """What one sensor says."""

    name: str
    """Type of the thermal zone ("CPU-therm"), or chip and label ("coretemp Package id 0")."""
    celsius: float


class Thermometers:
    """All temperature sensors of a machine, found once; their files stay open."""

    def __init__(self, tree: Tree) -> None:
        self._files = (*_zones(tree), *_chips(tree))

    def read(self) -> tuple[Temperature, ...]:
        """Return what each sensor says; one that cannot be read now, or says what cannot be, is left out."""
        temperatures = []
        for name, file in self._files:
            millicelsius = _read_int(file)
            if millicelsius is not None and POSSIBLE_C[0] <= millicelsius / 1000.0 <= POSSIBLE_C[1]:
                temperatures.append(Temperature(name, millicelsius / 1000.0))
        return tuple(temperatures)

    def close(self) -> None:
        """Close the files."""
        for _, file in self._files:
            file.close()


def read_temperatures(tree: Tree) -> tuple[Temperature, ...]:
    """Return what each temperature sensor of a machine says."""
    thermometers = Thermometers(tree)
    try:
        return thermometers.read()
    finally:
        thermometers.close()


def hottest_c(temperatures: Iterable[Temperature]) -> float | None:
    """Return the highest temperature of processor, GPU and their surroundings, or None if there is none."""
    relevant = [t for t in temperatures if not _NOT_THE_PROCESSOR.search(t.name)]
    near = [t.celsius for t in relevant if not _BOARD.match(t.name)]
    return max(near or [t.celsius for t in relevant], default=None)


class ThrottleSensors:
    """All by which a machine says that it holds its clocks down, found once.

    Files stay open but for the counters: a large server has hundreds of those.

    Args:
        tree: The machine.
        firmware: A Raspberry Pi's firmware, asked if the kernel does not show its word.
    """

    def __init__(self, tree: Tree, firmware: Firmware | None = None) -> None:
        self._tree = tree
        self._throttled = _firmware_file(tree)
        self._firmware = firmware if self._throttled is None else None
        volts = find_hwmon(tree, "rpi_volt")
        self._low_volts = tuple(tree.open_attribute(f"{folder}/in0_lcrit_alarm") for folder in volts)
        self._cooling = tuple(_cooling_devices(tree))
        self._heat_counts = tuple(_heat_counts(tree))
        self._current_counts = tuple(_current_counts(tree))
        self._counted: dict[str, int] = {}

    def read_reasons(self) -> tuple[str, ...] | None:
        """Return why the clocks are held down just now, in words; empty if they are not, None if nothing can tell.

        The counters of x86 and of a Jetson's over-current alarms count as now if they rose since the last call.
        """
        answers = (
            self._firmware_reasons(),
            _on(self._low_volts, "under-voltage"),
            _cooling_reasons(self._cooling),
            self._risen(self._heat_counts, "thermal: processor"),
            self._risen(self._current_counts, "over-current"),
        )
        known = [answer for answer in answers if answer is not None]
        return tuple(dict.fromkeys(reason for answer in known for reason in answer)) if known else None

    def close(self) -> None:
        """Close the files."""
        files = (*self._low_volts, *(file for _, file in self._cooling))
        for file in (*files, *([self._throttled] if self._throttled else [])):
            file.close()

    def _firmware_reasons(self) -> tuple[str, ...] | None:
        bits = self._read_throttled()
        return None if bits is None else throttled_words(bits)

    def _read_throttled(self) -> int | None:
        if self._throttled is None:
            return None if self._firmware is None else self._firmware.read_throttled()
        try:
            return int(self._throttled.read(), 16)
        except (OSError, ValueError):
            return None

    def _risen(self, paths: tuple[str, ...], reason: str) -> tuple[str, ...] | None:
        known = {path: count for path in paths if (count := self._tree.read_int_or_none(path)) is not None}
        risen = any(count > self._counted.get(path, count) for path, count in known.items())
        self._counted.update(known)
        return ((reason,) if risen else ()) if known else None


def check_no_heat(tree: Tree, knobs: Sequence[Knob]) -> None:
    """Check that the limits among the knobs read as they were set, before somebody writes down what to put back.

    While a cooling device is at work a maximum reads as its cap, and what it was set to does not show.

    Raises:
        ClockBusy: If heat holds clocks down just now.
    """
    if not any(knob.key.endswith("max_freq") for knob in knobs):
        return
    for kind, file in _cooling_devices(tree):
        state = _read_int(file)
        file.close()
        if state:
            raise ClockBusy(f"heat holds clocks down ({kind}): until it is over, what they were set to cannot be read")


def throttled_words(bits: int) -> tuple[str, ...]:
    """Return what the present bits of a Raspberry Pi's get_throttled mean."""
    return tuple(word for bit, word in THROTTLED_BITS if bits >> bit & 1)


def _on(files: tuple[Attribute, ...], reason: str) -> tuple[str, ...] | None:
    states = [state for file in files if (state := _read_int(file)) is not None]
    return ((reason,) if any(states) else ()) if states else None


def _cooling_reasons(devices: tuple[tuple[str, Attribute], ...]) -> tuple[str, ...] | None:
    states = [(kind, state) for kind, file in devices if (state := _read_int(file)) is not None]
    return tuple(f"thermal: {kind}" for kind, state in states if state > 0) if states else None


def _zones(tree: Tree) -> Iterator[tuple[str, Attribute]]:
    for folder in _thermal_folders(tree, "thermal_zone"):
        yield tree.read_or_none(f"{folder}/type") or folder, tree.open_attribute(f"{folder}/temp")


def _chips(tree: Tree) -> Iterator[tuple[str, Attribute]]:
    for chip in _CHIPS:
        for folder in find_hwmon(tree, chip):
            for name in tree.names(folder):
                if re.fullmatch(r"temp[0-9]+_input", name):
                    label = tree.read_or_none(f"{folder}/{name.replace('_input', '_label')}")
                    yield f"{chip} {label}" if label else chip, tree.open_attribute(f"{folder}/{name}")


def _thermal_folders(tree: Tree, kind: str) -> Iterator[str]:
    return (f"{THERMAL}/{name}" for name in tree.names(THERMAL) if name.startswith(kind))


def _cooling_devices(tree: Tree) -> Iterator[tuple[str, Attribute]]:
    for folder in _thermal_folders(tree, "cooling_device"):
        kind = tree.read_or_none(f"{folder}/type")
        if kind and _COOLING.fullmatch(kind):
            yield kind, tree.open_attribute(f"{folder}/cur_state")


def _heat_counts(tree: Tree) -> Iterator[str]:
    """How often cores and packages were too hot (Linux arch/x86/kernel/cpu/mce/therm_throt.c)."""
    for cpu in tree.names(CPUS):
        folder = f"{CPUS}/{cpu}/thermal_throttle"
        for name in tree.names(folder) if _CPU.fullmatch(cpu) else ():
            if name.endswith("_throttle_count"):
                yield f"{folder}/{name}"


def _current_counts(tree: Tree) -> Iterator[str]:
    """How often a Jetson was slowed for drawing too much (NVIDIA's driver soctherm_oc, JetPack 5 and later)."""
    for folder in find_hwmon(tree, "soctherm_oc"):
        for name in tree.names(folder):
            if re.fullmatch(r"oc[0-9]+_event_cnt", name):
                yield f"{folder}/{name}"


def _firmware_file(tree: Tree) -> Attribute | None:
    """The Raspberry Pi kernel's own get_throttled, which needs no permission."""
    platform = "/sys/devices/platform"
    for soc in filter(_FIRMWARE_PLACES.fullmatch, tree.names(platform)):
        for child in tree.names(f"{platform}/{soc}"):
            path = f"{platform}/{soc}/{child}/get_throttled"
            if child.endswith(":firmware") and tree.exists(path):
                return tree.open_attribute(path)
    return None


def _read_int(file: Attribute) -> int | None:
    try:
        return int(file.read())
    except (OSError, ValueError):
        return None
