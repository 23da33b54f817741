"""Finds what meters a machine has, and which of them tells the energy of the whole.

Counters come first, because nothing is lost between two readings: RAPL and GPUs. Then a sensor on the board's input
(Jetson), the power management chip of a Raspberry Pi 5, and last the battery. What a machine does not measure is not
made up: then there is no total.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from edgeexit.device import battery, hwmon, pmic, rapl
from edgeexit.device.finding import Finding
from edgeexit.device.firmware import Firmware, open_firmware
from edgeexit.device.sampler import SampledMeter
from edgeexit.device.sum_meter import SumMeter

if TYPE_CHECKING:
    from edgeexit.device.sysfs import Tree
    from edgeexit.protocols import Clock, PowerMeter

INPUT_RAILS = ("VDD_IN", "POM_5V_IN", "VIN")
"""Names of the rail that everything on a Jetson hangs on: modules, Nano, and the carrier of a Thor."""


class Meters:
    """The meters of a machine.

    Attributes:
        total: Energy of the whole as far as the machine measures it, or None; its name says what is in it.
        rails: Meters of parts, each under the board's own name for it.
        problems: What is there and cannot be used, why, and the command that mends it.
        firmware: A Raspberry Pi's firmware if it can be asked; `close` closes it, unless it was given.

    Args:
        total: See above.
        rails: See above.
        problems: See above.
        clock: Tells the time between two readings of `read_power_w`.
        firmware: See above.
        closers: Called by `close`.
    """

    def __init__(
        self,
        total: PowerMeter | None,
        rails: Mapping[str, PowerMeter],
        problems: Sequence[Finding],
        clock: Clock,
        *,
        firmware: Firmware | None = None,
        closers: Sequence[Callable[[], None]] = (),
    ) -> None:
        self.total = total
        self.rails = dict(rails)
        self.problems = tuple(problems)
        self.firmware = firmware
        self._clock = clock
        self._closers = tuple(closers)
        self._last: tuple[float, float] | None = None

    def read_power_w(self) -> float | None:
        """Return the power of the whole in watts: of now, or the mean since the last call where there is a counter.

        It may read a sensor. None if there is no total, or at the first call with a counter. Called every second or
        so it also keeps the counters from wrapping around unseen.
        """
        self.poll()
        if isinstance(self.total, SampledMeter):
            power_w = self.total.read_power_w()
            return self.total.take_sample() if power_w is None else power_w
        return None if self.total is None else self._mean_power_w(self.total)

    def poll(self) -> None:
        """Read every counter that may wrap around, so that none does so unseen."""
        for meter in self.rails.values():
            if isinstance(meter, rapl.RaplMeter):
                meter.poll()

    def close(self) -> None:
        """Stop sampling and close all sensors."""
        closers, self._closers = self._closers, ()
        for close in closers:
            close()

    def _mean_power_w(self, total: PowerMeter) -> float | None:
        now_s, energy_j = self._clock.now_s(), total.read_energy_j()
        last, self._last = self._last, None if energy_j is None else (now_s, energy_j)
        if last is None or energy_j is None or now_s <= last[0]:
            return None
        return (energy_j - last[1]) / (now_s - last[0])


def find_meters(
    tree: Tree,
    *,
    total_rails: Sequence[str] = (),
    gpu_meters: Sequence[PowerMeter] = (),
    clock: Clock,
    firmware: Firmware | None = None,
) -> Meters:
    """Return the meters of a machine. Every sensor is tried once; nothing is sampled yet.

    Args:
        tree: The machine.
        total_rails: Rails that together are the whole, from the device profile; without it only a rail on the board's
            input is taken for the whole.
        gpu_meters: Energy counters of GPUs; they are left open by `Meters.close`.
        clock: What tells the time of samples.
        firmware: A Raspberry Pi's firmware; without it the way to it is looked for, and closed by `Meters.close`.
    """
    return _Search(tree, clock, firmware, gpu_meters).meters(total_rails)


class _Search:
    """What was found on one machine."""

    def __init__(self, tree: Tree, clock: Clock, firmware: Firmware | None, gpu_meters: Sequence[PowerMeter]) -> None:
        self.tree = tree
        self.clock = clock
        self.gpu_meters = tuple(gpu_meters)
        self.rails: dict[str, PowerMeter] = {}
        self.problems: list[Finding] = []
        self.closers: list[Callable[[], None]] = []
        self.zones = self._find_zones()
        self.sensors = self._find_sensors()
        self.firmware = firmware or self._open_firmware()
        self.pmic = self._find_pmic()
        self.rails.update((meter.name, meter) for meter in self.gpu_meters)

    def meters(self, total_rails: Sequence[str]) -> Meters:
        """Choose the total, in the order that the module's docstring gives."""
        total = (
            self._named_total(total_rails)
            or self._counted_total()
            or self._input_total()
            or self._pmic_total()
            or self._battery_total()
        )
        if total is None and self.sensors:
            self.problems.append(_no_input_rail(self.sensors))
        return Meters(total, self.rails, self.problems, self.clock, firmware=self.firmware, closers=self.closers)

    def _find_zones(self) -> rapl.Zones:
        zones = rapl.find_zones(self.tree, self.clock)
        self.problems += zones.problems
        for meter in zones.meters:
            self.rails[meter.zone] = meter
            self.closers.append(meter.close)
        return zones

    def _find_sensors(self) -> dict[str, hwmon.RailSensor]:
        found = hwmon.find_rails(self.tree)
        self.problems += found.problems
        sensors: dict[str, hwmon.RailSensor] = {}
        for sensor in found.sensors:
            name = f"{sensor.name} ({sensor.place})" if sensor.name in sensors else sensor.name
            sensors[name] = sensor
            self.rails[name] = self._sampled(f"{name} ({sensor.chip})", sensor.read_power_w, sensor.close)
        return sensors

    def _sampled(
        self, name: str, read: Callable[[], float | None], close_sensor: Callable[[], None] | None = None
    ) -> SampledMeter:
        meter = SampledMeter(
            name,
            read,
            interval_s=hwmon.INTERVAL_S,
            relative_error=hwmon.RELATIVE_ERROR,
            clock=self.clock,
            close_sensor=close_sensor,
        )
        self.closers.append(meter.close)
        return meter

    def _open_firmware(self) -> Firmware | None:
        firmware, problem = open_firmware(self.tree)
        self.problems += [problem] if problem else []
        if firmware is not None:
            self.closers.append(firmware.close)
        return firmware

    def _find_pmic(self) -> pmic.PmicReader | None:
        if self.firmware is None:
            return None
        reader = pmic.PmicReader(self.firmware.ask, self.clock)
        rails_w = reader.read_rails_w()
        for rail in rails_w:
            meter = reader.rail_meter(rail)
            self.rails[rail] = meter
            self.closers.insert(0, meter.close)
        return reader if rails_w else None

    def _named_total(self, names: Sequence[str]) -> PowerMeter | None:
        missing = [name for name in names if name not in self.rails]
        if missing:
            why = f"the device profile's total_rails name {', '.join(missing)}; there are: {_list(self.rails)}"
            self.problems.append(Finding("total power", why, "correct total_rails in the device profile"))
        if missing or not names:
            return None
        if len(names) == 1:
            return self.rails[names[0]]
        return self._sum_of_sensors(names) if all(name in self.sensors for name in names) else self._sum_of(names)

    def _sum_of(self, names: Iterable[str]) -> SumMeter:
        return SumMeter([self.rails[name] for name in names])

    def _sum_of_sensors(self, names: Sequence[str]) -> SampledMeter:
        """One meter that samples all the sensors together, not one thread for each."""
        sensors = [self.sensors[name] for name in names]
        return self._sampled(f"{' + '.join(names)} (sum of module rails, {sensors[0].chip})", lambda: _total_w(sensors))

    def _counted_total(self) -> PowerMeter | None:
        """Platform zones hold all else; packages do not hold their memory, nor GPUs that are cards."""
        platform = [meter for meter in self.zones.meters if meter.kind == "psys"]
        inside = [meter for meter in self.zones.meters if meter.kind in ("package", "dram")]
        packages = inside if self.zones.complete else []
        parts: list[PowerMeter] = [*platform] or [*packages, *self.gpu_meters]
        return parts[0] if len(parts) == 1 else SumMeter(parts) if parts else None

    def _input_total(self) -> PowerMeter | None:
        return next((self.rails[name] for name in INPUT_RAILS if name in self.sensors), None)

    def _pmic_total(self) -> PowerMeter | None:
        if self.pmic is None or self.pmic.read_input_w() is None:
            return None
        meter = self.pmic.input_meter()
        self.closers.insert(0, meter.close)
        return meter

    def _battery_total(self) -> PowerMeter | None:
        found = battery.read_battery(self.tree)
        if found is None:
            return None
        if found.power_w is None:
            self.problems.append(_silent_battery(found))
            return None
        meter = SampledMeter(
            "whole machine (battery)",
            self._read_battery_w,
            interval_s=battery.INTERVAL_S,
            relative_error=battery.RELATIVE_ERROR,
            clock=self.clock,
        )
        self.closers.append(meter.close)
        return meter

    def _read_battery_w(self) -> float | None:
        found = battery.read_battery(self.tree)
        return None if found is None else found.power_w


def _total_w(sensors: Sequence[hwmon.RailSensor]) -> float | None:
    total_w = 0.0
    for sensor in sensors:
        power_w = sensor.read_power_w()
        if power_w is None:
            return None
        total_w += power_w
    return total_w


def _no_input_rail(sensors: Mapping[str, hwmon.RailSensor]) -> Finding:
    why = f"none of the rails {_list(sensors)} is known to carry the whole board"
    return Finding("total power", why, "name the rails that make up the whole in total_rails of the device profile")


def _silent_battery(found: battery.Battery) -> Finding:
    if found.status == battery.DISCHARGING:
        return Finding("battery", "its driver shows neither power_now nor current_now and voltage_now")
    why = f"it measures the machine only while it is discharging, and its status is {found.status!r}"
    return Finding("battery", why, "unplug the charger and start again")


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
