"""The highest clocks, always."""

from __future__ import annotations

from edgeexit.protocols import Decision, Observation


class Performance:
    """Sets every clock domain to the highest frequency that is allowed."""

    name = "performance"

    def decide(self, observation: Observation) -> Decision:
        """Return the highest allowed clocks."""
        clocks = {name: points[-1] for name, points in observation.operating_points.items() if points}
        return Decision(clocks, reason="highest clocks")
