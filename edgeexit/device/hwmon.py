"""Power monitor chips on the board: TI's INA3221 in both of its drivers, and INA2xx.

* Jetson on Linux 4.9 (JetPack 4): NVIDIA's driver ina3221x, an iio device with rail_name_0 and in_power0_input (mW).
* Linux 5.10 and later: driver ina3221 (Documentation/hwmon/ina3221.rst), a hwmon device with in1_label, in1_input (mV)
  and curr1_input (mA), channels 1 to 3. Its in7 is the sum of the shunt voltages and no rail.
* INA226, INA238 and their like (Documentation/hwmon/ina2xx.rst, ina238.rst): one channel, power1_input (uW).

Numbers of hwmon devices change between boots, so everything is found by name. Rails keep the board's own names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from edgeexit.device.finding import Finding, unreadable

if TYPE_CHECKING:
    from edgeexit.device.sysfs import Attribute, Tree

HWMON = "/sys/class/hwmon"
DRIVERS = "/sys/bus/i2c/drivers"
INTERVAL_S = 0.02
"""Time between two samples: a reading is two I2C transfers, well under 1 ms together."""
RELATIVE_ERROR = 0.02
"""Of an INA3221 at 1 A through 5 mOhm: its offset of at most 80 uV is 1.6 % of 5 mV, its two gains 0.25 % each (TI
datasheet SBOS576B), the shunt 1 % (assumed): together 1.9 %."""
NOT_CONNECTED = "NC"
_W_PER_MW = 1e-3
_W_PER_UW = 1e-6
_W_PER_MV_MA = 1e-6
_ONE_CHANNEL = re.compile(r"ina2[0-9]{2}")
_I2C_ADDRESS = re.compile(r"[0-9]+-[0-9a-f]{4}")


class RailSensor:
    """One rail that a chip watches.

    Args:
        name: The board's own name of the rail, for instance "VDD_CPU_GPU_CV".
        chip: The chip, for instance "INA3221".
        place: Where the chip sits, for instance "1-0040".
        files: Their product is the power.
        scale: Makes watts of it.
    """

    __slots__ = ("_files", "_scale", "chip", "name", "place")

    def __init__(self, name: str, chip: str, place: str, files: tuple[Attribute, ...], scale: float) -> None:
        self.name = name
        self.chip = chip
        self.place = place
        self._files = files
        self._scale = scale

    @property
    def paths(self) -> tuple[str, ...]:
        """The files it reads."""
        return tuple(file.path for file in self._files)

    def read_power_w(self) -> float | None:
        """Return the power in watts, or None if the channel cannot be read now; below 0 if current flows back."""
        try:
            return self._scale * prod(int(file.read()) for file in self._files)
        except (OSError, ValueError):
            return None

    def close(self) -> None:
        """Close its files; the next reading opens them again."""
        for file in self._files:
            file.close()


class Rails(NamedTuple):
    """The rails of a machine, and the ones that this process may not read."""

    sensors: tuple[RailSensor, ...]
    problems: tuple[Finding, ...]


def find_rails(tree: Tree) -> Rails:
    """Return every rail that answers; a channel that gives errors is switched off, or there is nothing on it."""
    sensors: list[RailSensor] = []
    problems: list[Finding] = []
    for sensor in (*_iio_rails(tree), *_hwmon_rails(tree)):
        if sensor.read_power_w() is not None:
            sensors.append(sensor)
            continue
        sensor.close()
        problems += _forbidden(tree, sensor)
    return Rails(tuple(sensors), tuple(problems))


def find_hwmon(tree: Tree, chip: str) -> tuple[str, ...]:
    """Return the hwmon folders of all chips of this name."""
    return tuple(folder for folder, name in _hwmon_folders(tree) if name == chip)


def _forbidden(tree: Tree, sensor: RailSensor) -> Iterator[Finding]:
    for path in sensor.paths:
        if tree.exists(path) and not tree.can_read(path):
            yield unreadable(f"power rail {sensor.name}", path)


def _hwmon_folders(tree: Tree) -> Iterator[tuple[str, str]]:
    """Each hwmon device's folder and chip name, once; a device may be shown under its driver only."""
    seen = set()
    for folder in (*_class_folders(tree), *_driver_folders(tree)):
        number = folder.rsplit("/", 1)[1]
        chip = tree.read_or_none(f"{folder}/name")
        if chip is not None and number not in seen:
            seen.add(number)
            yield folder, chip


def _class_folders(tree: Tree) -> Iterator[str]:
    return (f"{HWMON}/{name}" for name in tree.names(HWMON))


def _driver_folders(tree: Tree) -> Iterator[str]:
    for driver in tree.names(DRIVERS):
        if driver == "ina3221" or driver.startswith("ina2"):
            for place in _places(tree, driver):
                folder = f"{DRIVERS}/{driver}/{place}/hwmon"
                yield from (f"{folder}/{name}" for name in tree.names(folder))


def _places(tree: Tree, driver: str) -> Iterable[str]:
    return (name for name in tree.names(f"{DRIVERS}/{driver}") if _I2C_ADDRESS.fullmatch(name))


def _iio_rails(tree: Tree) -> Iterator[RailSensor]:
    for place in _places(tree, "ina3221x"):
        chip = f"{DRIVERS}/ina3221x/{place}"
        for device in tree.names(chip):
            if device.startswith("iio:device"):
                yield from _iio_channels(tree, f"{chip}/{device}", place)


def _iio_channels(tree: Tree, folder: str, place: str) -> Iterator[RailSensor]:
    for channel in range(3):
        label = tree.read_or_none(f"{folder}/rail_name_{channel}")
        if label and label != NOT_CONNECTED:
            power = f"{folder}/in_power{channel}_input"
            product = (f"{folder}/in_voltage{channel}_input", f"{folder}/in_current{channel}_input")
            yield _sensor(tree, label, "INA3221", place, (power, _W_PER_MW, product))


def _hwmon_rails(tree: Tree) -> Iterator[RailSensor]:
    for folder, chip in _hwmon_folders(tree):
        if chip == "ina3221":
            channels = 3
        elif _ONE_CHANNEL.fullmatch(chip):
            channels = 1
        else:
            continue
        place = _place(tree, folder)
        for channel in range(1, channels + 1):
            label = _label(tree, folder, channel, only=channels == 1) or f"{chip} {place} channel {channel}"
            if label != NOT_CONNECTED:
                product = (f"{folder}/in{channel}_input", f"{folder}/curr{channel}_input")
                power = f"{folder}/power{channel}_input"
                yield _sensor(tree, label, chip.upper(), place, (power, _W_PER_UW, product))


def _sensor(tree: Tree, label: str, chip: str, place: str, files: tuple[str, float, tuple[str, str]]) -> RailSensor:
    power, scale, product = files
    if tree.read_int_or_none(power) is not None:
        return RailSensor(label, chip, place, (tree.open_attribute(power),), scale)
    return RailSensor(label, chip, place, tuple(map(tree.open_attribute, product)), _W_PER_MV_MA)


def _label(tree: Tree, folder: str, channel: int, *, only: bool) -> str | None:
    names = (f"in{channel}_label", f"power{channel}_label", *(("label", "device/of_node/label") if only else ()))
    return next((text for name in names if (text := tree.read_or_none(f"{folder}/{name}"))), None)


def _place(tree: Tree, folder: str) -> str:
    """The chip's I2C address, whichever of the two ways its folder was found; else the hwmon number."""
    parts = folder.split("/")
    if parts[-2] == "hwmon" and _I2C_ADDRESS.fullmatch(parts[-3]):
        return parts[-3]
    try:
        return tree.sys_readlink(f"{folder}/device").rsplit("/", 1)[-1]
    except OSError:
        return parts[-1]
