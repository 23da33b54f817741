"""What the kernel's schedutil would do, simulated: the usual kernel governor of a processor, as a baseline."""

from __future__ import annotations

from bisect import bisect_left

from edgeexit.protocols import Decision, Observation

HEADROOM = 1.25
"""The clock aimed at leaves a quarter above what the load needs: map_util_perf, util + (util >> 2), in Linux
include/linux/sched/cpufreq.h."""


class Schedutil:
    """Follows the utilisation as schedutil does: 1.25 times the clock at which the load would just fit.

    From kernel/sched/cpufreq_schedutil.c, get_next_freq (Linux 6.1), for a utilisation that is invariant to
    frequency::

        util = load * current / maximum
        next = 1.25 * maximum * util  =  1.25 * load * current

    and the lowest operating point that is not below. The kernel averages the utilisation over some 32 ms (PELT) and
    decides every `rate_limit_us`; here one sample is one inference: the load since the inference before decides once,
    before the first segment. An inference that keeps the processor busy all the time therefore raises the clock by a
    quarter each time, where the kernel does so within the inference if that is long.
    """

    name = "schedutil"

    def decide(self, observation: Observation) -> Decision:
        """Return the clocks that schedutil would set for the load so far."""
        if observation.segments_done > 0:
            return Decision({}, reason="schedutil: kept during an inference")
        if observation.load is None:
            return Decision({}, reason="schedutil: load unknown, kept")
        clocks = {}
        for name, points in observation.operating_points.items():
            if points:
                current_hz = observation.clocks.get(name, points[-1])
                wanted_hz = HEADROOM * observation.load * current_hz
                clocks[name] = points[min(bisect_left(points, wanted_hz), len(points) - 1)]
        return Decision(clocks, reason=f"schedutil: load {observation.load:.0%}")
