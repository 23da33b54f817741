"""What the kernel's ondemand would do, simulated: a Raspberry Pi's kernel governor, as a baseline."""

from __future__ import annotations

from edgeexit.errors import OptionError
from edgeexit.protocols import Decision, Observation

UP_THRESHOLD = 80.0
"""Per cent of busy time above which the clock goes to its maximum: DEF_FREQUENCY_UP_THRESHOLD in Linux
drivers/cpufreq/cpufreq_ondemand.c. It is 95 where the kernel accounts idle time in microseconds, and Raspberry Pi OS
sets 50."""


class Ondemand:
    """Follows the load as ondemand does: the maximum above a threshold, else in proportion to the load.

    From drivers/cpufreq/cpufreq_ondemand.c, od_update (Linux 6.1)::

        load > up_threshold   ->  the maximum
        otherwise             ->  minimum + load * (maximum - minimum) / 100

    and the operating point closest to that (CPUFREQ_RELATION_C); of two that are as close the lower one, as in a table
    in ascending order (cpufreq_table_find_index_ac). The kernel samples by a timer of its own and may stay at the
    maximum for several samples (sampling_down_factor); here one sample is one inference: the load since the inference
    before decides once, before the first segment.

    Args:
        up_threshold: In per cent.

    Raises:
        OptionError: If it is not above 0 and at most 100.
    """

    name = "ondemand"

    def __init__(self, *, up_threshold: float = UP_THRESHOLD) -> None:
        if not 0.0 < up_threshold <= 100.0:
            raise OptionError(
                f"up_threshold of governor 'ondemand' must be above 0 and at most 100, not {up_threshold}"
            )
        self._up_threshold = float(up_threshold)

    def decide(self, observation: Observation) -> Decision:
        """Return the clocks that ondemand would set for the load so far."""
        if observation.segments_done > 0:
            return Decision({}, reason="ondemand: kept during an inference")
        if observation.load is None:
            return Decision({}, reason="ondemand: load unknown, kept")
        clocks = {
            name: self._follow(100.0 * observation.load, points)
            for name, points in observation.operating_points.items()
            if points
        }
        return Decision(clocks, reason=f"ondemand: load {observation.load:.0%}")

    def _follow(self, load: float, points: tuple[int, ...]) -> int:
        if load > self._up_threshold:
            return points[-1]
        target_hz = points[0] + load * (points[-1] - points[0]) / 100.0
        return min(points, key=lambda point: abs(point - target_hz))
