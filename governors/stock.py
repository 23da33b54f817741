"""What the board would do by itself: the kernel's load-following governor, simulated, as a baseline."""

from __future__ import annotations

from bisect import bisect_left

from edgeexit.protocols import Decision, Observation

UP_THRESHOLD = 90
"""Per cent of busy time above which the clock goes to its maximum; DFSO_UPTHRESHOLD in the kernel."""
DOWN_DIFFERENTIAL = 5
"""Per cent below `UP_THRESHOLD` down to which the clock is kept; DFSO_DOWNDIFFERENCTIAL (sic) in the kernel."""


class Stock:
    """Follows the load as devfreq's simple_ondemand does, the usual kernel governor of a GPU.

    The kernel samples by a timer of its own; here one sample is one inference: the load since the inference before
    decides once, before the first segment, and the clock stays for the whole inference.
    """

    name = "stock"

    def decide(self, observation: Observation) -> Decision:
        """Return the clocks that simple_ondemand would set for the load so far."""
        if observation.segments_done > 0:
            return Decision({}, reason="stock: kept during an inference")
        if observation.load is None:
            return Decision({}, reason="stock: load unknown, kept")
        load, current = observation.load, observation.clocks
        clocks = {
            name: _follow(load, current.get(name, 0), points)
            for name, points in observation.operating_points.items()
            if points
        }
        return Decision(clocks, reason=f"stock: load {load:.0%}")


def _follow(load: float, current_hz: int, points: tuple[int, ...]) -> int:
    """Return the frequency that simple_ondemand picks.

    From drivers/devfreq/governor_simpleondemand.c (Linux 6.1)::

        busy * 100 > total * 90         ->  the maximum
        current frequency unknown (0)   ->  the maximum
        busy * 100 > total * (90 - 5)   ->  keep
        otherwise                       ->  busy * current / total * 100 / (90 - 5 / 2)

    with integer division, so that the last divisor is 90 - 2 = 88: the load aimed at, in per cent. busy / total is
    `load`. The devfreq core then takes the lowest operating point that is not below (devfreq_recommended_opp).
    """
    if 100.0 * load > UP_THRESHOLD or current_hz == 0:
        return points[-1]
    if 100.0 * load > UP_THRESHOLD - DOWN_DIFFERENTIAL:
        target_hz = current_hz
    else:
        target_hz = int(load * current_hz) * 100 // (UP_THRESHOLD - DOWN_DIFFERENTIAL // 2)
    return points[min(bisect_left(points, target_hz), len(points) - 1)]
