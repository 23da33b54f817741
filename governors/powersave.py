"""The lowest clocks, always."""

from __future__ import annotations

from edgeexit.protocols import Decision, Observation


class Powersave:
    """Sets every clock domain to the lowest frequency that is allowed."""

    name = "powersave"

    def decide(self, observation: Observation) -> Decision:
        """Return the lowest allowed clocks."""
        clocks = {name: points[0] for name, points in observation.operating_points.items() if points}
        return Decision(clocks, reason="lowest clocks")
