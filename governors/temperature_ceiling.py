"""Any governor, below a temperature."""

from __future__ import annotations

from math import isfinite, isnan

from edgeexit.errors import OptionError
from edgeexit.protocols import CostTable, Governor, Observation

from .capped import Boxes, Cap, Capped, Points, find_within

BAND_C = 1.0
"""The temperature under a load that would exceed the ceiling settles within the band below it: here one degree."""


class TemperatureCeiling(Capped):
    """Asks another governor, with fewer clocks to choose from the closer the temperature is to the ceiling.

    A proportional controller on power, as the kernel's power allocator is (drivers/thermal/gov_power_allocator.c,
    without its integral): what the board may draw falls in a straight line with the temperature, from all that it can
    draw one band below the ceiling to what its lowest operating point draws at the ceiling::

        allowed power = lowest + (highest - lowest) * (ceiling - temperature) / band

    A board's temperature follows its power with a delay of a minute or so and no overshoot (first order), and a
    governor is asked several times a second: so the gain may be this high. The temperature settles where the allowed
    power just holds it. That is within the band, for every load that the lowest clocks can keep below the ceiling and
    the highest cannot; a lighter load is not cut at all. A board whose own throttling begins above the ceiling never
    comes to it. If even the lowest clocks are too warm, only more idling, or a fan, can help.

    What a point draws is reckoned as in `power-cap`. Without powers the clock itself falls in a straight line from
    the highest to the lowest. Without a temperature nothing is cut.

    Args:
        ceiling_c: In degrees Celsius; choose it below the board's own throttling (a Raspberry Pi 4: 80).
        governor: The one that is asked, as `load_governor` makes it.
        band_c: How far below the ceiling it begins, in kelvin. A wide band changes clocks less often where the
            sensor is coarse or noisy.

    Raises:
        OptionError: If an option is not finite, `band_c` not above 0, or `governor` is none.
    """

    def __init__(self, *, ceiling_c: float, governor: Governor, band_c: float = BAND_C) -> None:
        super().__init__("temperature-ceiling", governor)
        if not isfinite(ceiling_c):
            raise OptionError(f"ceiling_c of governor 'temperature-ceiling' must be finite, not {ceiling_c}")
        if not (isfinite(band_c) and band_c > 0.0):
            raise OptionError(f"band_c of governor 'temperature-ceiling' must be finite and above 0, not {band_c}")
        self._ceiling_c = float(ceiling_c)
        self._band_c = float(band_c)
        self._boxes = Boxes()

    def cap(self, observation: Observation) -> Cap:
        """Return the clocks that the temperature leaves."""
        temperature_c = observation.temperature_c
        if temperature_c is None or isnan(temperature_c):
            return Cap(None, "temperature not known, no ceiling held")
        share = min(1.0, (self._ceiling_c - temperature_c) / self._band_c)
        if share >= 1.0:
            return Cap(None, f"{temperature_c:.1f} C, ceiling {self._ceiling_c:g} C")
        points = self._points_for(observation, max(0.0, share))
        return Cap(points, f"{temperature_c:.1f} C, clocks cut for the ceiling {self._ceiling_c:g} C")

    def usual_points(self, cost_table: CostTable, operating_points: Points) -> Points:
        """Return all clocks: the board is cool most of the time."""
        return operating_points

    def _points_for(self, observation: Observation, share: float) -> Points:
        boxes = self._boxes.of(observation.cost_table, observation.operating_points)
        if not boxes:
            return {name: _lower(points, share) for name, points in observation.operating_points.items()}
        lowest_w = boxes[0].power_w
        allowed_w = lowest_w + share * (max(box.power_w for box in boxes) - lowest_w)
        return find_within(boxes, allowed_w).operating_points


def _lower(points: tuple[int, ...], share: float) -> tuple[int, ...]:
    """Return the lowest frequency, and those up to `share` of the way to the highest."""
    limit_hz = points[0] + share * (points[-1] - points[0]) if points else 0.0
    return tuple([point for point in points if point <= limit_hz])
