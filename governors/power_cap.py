"""Any governor, below a power in watts."""

from __future__ import annotations

from math import isfinite

from edgeexit.errors import OptionError
from edgeexit.protocols import CostTable, Governor, Observation

from .capped import Boxes, Cap, Capped, Points, find_within


class PowerCap(Capped):
    """Asks another governor, with only those clocks to choose from at which the board never draws more than the cap.

    What an operating point draws is the highest mean power of its segments and heads in the cost table, energy over
    latency, and its idle power. The fastest point is found below which no point draws more than the cap; each domain
    may run at that point's clock and below. If even the lowest point draws more, the lowest is set, and the reason
    says so: no clock can help. A switch, a millisecond, is not counted, nor is what varies within a segment: the cap
    is for supplies and batteries, not for fuses.

    Where a deadline is not possible below the cap the other governor does what it does when time is short: `plan`
    lowers the deepest exit. Without a cost table, or powers in it, nothing is known and nothing is cut.

    Args:
        power_cap_w: What the board may draw, in watts.
        governor: The one that is asked, as `load_governor` makes it.

    Raises:
        OptionError: If the cap is not finite or not above 0, or `governor` is none.
    """

    def __init__(self, *, power_cap_w: float, governor: Governor) -> None:
        super().__init__("power-cap", governor)
        if not (isfinite(power_cap_w) and power_cap_w > 0.0):
            raise OptionError(f"power_cap_w of governor 'power-cap' must be finite and above 0, not {power_cap_w}")
        self._power_cap_w = float(power_cap_w)
        self._boxes = Boxes()

    def cap(self, observation: Observation) -> Cap:
        """Return the fastest clocks within the cap."""
        boxes = self._boxes.of(observation.cost_table, observation.operating_points)
        if not boxes:
            return Cap(None, "power not known, not capped")
        box = find_within(boxes, self._power_cap_w)
        if box.power_w > self._power_cap_w:
            return Cap(box.operating_points, f"the lowest clocks draw {box.power_w:.3g} W, cap {self._power_cap_w:g} W")
        spared = box.operating_points == observation.operating_points
        return Cap(None if spared else box.operating_points, f"power cap {self._power_cap_w:g} W")

    def usual_points(self, cost_table: CostTable, operating_points: Points) -> Points:
        """Return the clocks within the cap: they stay the same for as long as the cost table does."""
        boxes = self._boxes.of(cost_table, operating_points)
        return find_within(boxes, self._power_cap_w).operating_points if boxes else operating_points
