"""How a board warms up under load, simulated: one thermal resistance and one heat capacity.

The chip loses heat to the air in proportion to how much warmer it is::

    C dT/dt = P - (T - T_air) / R

so at a power P that stays, T goes towards T_air + P R and covers 63 % of the way in each time constant R C. A real
board has several such stages, from the silicon in milliseconds to the enclosure in many minutes; this is the one that
takes a minute or two, the one that decides whether a board throttles.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp
from typing import Final

from edgeexit.device.profile import DeviceProfile
from edgeexit.device.simulated import SimulatedDevice
from edgeexit.protocols import Conditions

AIR_C: Final = 25.0
"""Assumption: a room."""


@dataclass(frozen=True, slots=True)
class ThermalConstants:
    """What a board's temperature follows from."""

    resistance_k_per_w: float
    """From chip to air, for a watt that the whole board draws."""
    capacity_j_per_k: float
    throttle_c: float
    """Where the board's own firmware begins to lower clocks."""

    @property
    def time_constant_s(self) -> float:
        """In which a board covers 63 % of the way to its last temperature."""
        return self.resistance_k_per_w * self.capacity_j_per_k


RASPBERRY_PI_4: Final = ThermalConstants(resistance_k_per_w=10.9, capacity_j_per_k=11.0, throttle_c=80.0)
"""A bare Raspberry Pi 4 Model B in still air.

`throttle_c`: "between 80 C and 85 C ... the ARM cores will be progressively throttled back" (Raspberry Pi
documentation, frequency-management.md).

`resistance_k_per_w`: a thermocouple on the chip read 54.67 C at rest in air of 27.32 C (pi-plates.com, "Using a
THERMOplate to measure temperatures on the RPi4"): 27.35 K; divided by 2.5 W, the board at rest in
profiles/raspberry-pi-4.json. Assumption: that all of the board's power warms the chip alike. At the profile's 5 W for
1500 MHz that makes 79.5 C in a room, and with the 6.41 W metered under a worst-case load (MagPi 88, with the firmware
of November 2019) 94.9 C: such a board throttles, as all report.

`capacity_j_per_k`: an assumption, nothing published was found. It makes the time constant 120 s, and the time from
rest to 80 C at 6.41 W 125 s, where testers tell of "a handful of minutes" (Tom's Hardware, July 2019).
"""


class ThermalModel:
    """The temperature of a board's chip.

    Args:
        constants: Of the board.
        air_c: Temperature of the air around it, in degrees Celsius.
        start_c: Its temperature at first; that of the air if None.
    """

    def __init__(self, constants: ThermalConstants, *, air_c: float = AIR_C, start_c: float | None = None) -> None:
        self.constants = constants
        self._air_c = air_c
        self._temperature_c = air_c if start_c is None else start_c

    @property
    def temperature_c(self) -> float:
        """In degrees Celsius."""
        return self._temperature_c

    def settled_c(self, power_w: float) -> float:
        """Return the temperature that it comes to, given time, if the board draws `power_w`."""
        return self._air_c + power_w * self.constants.resistance_k_per_w

    def advance(self, power_w: float, duration_s: float) -> float:
        """Draw `power_w` for `duration_s` seconds, and return the temperature after that; exact for any duration."""
        end_c = self.settled_c(power_w)
        self._temperature_c = end_c + (self._temperature_c - end_c) * exp(-duration_s / self.constants.time_constant_s)
        return self._temperature_c


class WarmBoard(SimulatedDevice):
    """A simulated board with a thermometer: what it draws warms it, on its own clock.

    Args:
        profile: The board.
        thermal: Its temperature.
        work_scale: Every multiply-accumulate counts as so many.
    """

    def __init__(self, profile: DeviceProfile, thermal: ThermalModel, *, work_scale: float = 1.0) -> None:
        super().__init__(profile, work_scale=work_scale)
        self.thermal = thermal
        self._seen_s = self.clock.now_s()
        self._seen_j = self.meter.read_energy_j()

    def conditions(self) -> Conditions:
        """Return the temperature now, after the mean power since it was last asked for."""
        now_s, drawn_j = self.clock.now_s(), self.meter.read_energy_j()
        if now_s > self._seen_s:
            elapsed_s = now_s - self._seen_s
            self.thermal.advance((drawn_j - self._seen_j) / elapsed_s, elapsed_s)
            self._seen_s, self._seen_j = now_s, drawn_j
        return Conditions(temperature_c=self.thermal.temperature_c)
