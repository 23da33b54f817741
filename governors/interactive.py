"""What Android's cpufreq governor interactive would do, simulated: a phone's kernel governor, as a baseline."""

from __future__ import annotations

from bisect import bisect_left

from edgeexit.errors import OptionError
from edgeexit.protocols import Decision, Observation

TARGET_LOAD = 90.0
"""The load aimed at, in per cent: DEFAULT_TARGET_LOAD in drivers/cpufreq/cpufreq_interactive.c (Android common)."""
GO_HISPEED_LOAD = 99.0
"""Load in per cent from which the clock goes to hispeed_freq at least: DEFAULT_GO_HISPEED_LOAD in the same file."""


class Interactive:
    """Follows the load as interactive does: the lowest clock at which the load would not exceed the target load.

    From drivers/cpufreq/cpufreq_interactive.c, eval_target_freq and choose_freq (Android common kernel 3.4 to 4.14)::

        loadadjfreq = load * current                  load in per cent
        load >= go_hispeed_load   ->  hispeed_freq, or what follows if that is higher
        otherwise                 ->  the lowest operating point with loadadjfreq / target_load <= frequency

    With the kernel's defaults target_loads is one figure for every clock, so that choose_freq ends at once, and
    hispeed_freq is the maximum, so that a load from `go_hispeed_load` on goes straight there. The kernel samples each
    20 ms and lowers a clock only after 80 ms at it (min_sample_time); here one sample is one inference: the load since
    the inference before decides once, before the first segment. The kernel's whole kHz and per cent are not rounded to.

    Args:
        target_load: In per cent.
        go_hispeed_load: In per cent.

    Raises:
        OptionError: If one of them is not above 0 and at most 100.
    """

    name = "interactive"

    def __init__(self, *, target_load: float = TARGET_LOAD, go_hispeed_load: float = GO_HISPEED_LOAD) -> None:
        for option, value in (("target_load", target_load), ("go_hispeed_load", go_hispeed_load)):
            if not 0.0 < value <= 100.0:
                raise OptionError(f"{option} of governor 'interactive' must be above 0 and at most 100, not {value}")
        self._target_load = float(target_load)
        self._go_hispeed_load = float(go_hispeed_load)

    def decide(self, observation: Observation) -> Decision:
        """Return the clocks that interactive would set for the load so far."""
        if observation.segments_done > 0:
            return Decision({}, reason="interactive: kept during an inference")
        if observation.load is None:
            return Decision({}, reason="interactive: load unknown, kept")
        current = observation.clocks
        clocks = {
            name: self._follow(100.0 * observation.load, current.get(name, points[-1]), points)
            for name, points in observation.operating_points.items()
            if points
        }
        return Decision(clocks, reason=f"interactive: load {observation.load:.0%}")

    def _follow(self, load: float, current_hz: int, points: tuple[int, ...]) -> int:
        if load >= self._go_hispeed_load:
            return points[-1]
        return points[min(bisect_left(points, load * current_hz / self._target_load), len(points) - 1)]
