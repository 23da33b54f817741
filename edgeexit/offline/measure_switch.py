"""Measure what it costs to change the clocks."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Final, NamedTuple

from edgeexit.bundle.costs import Figure, PointRecord, SwitchRecord
from edgeexit.offline.measure_bench import Bench, Piece, figure, median_error
from edgeexit.offline.measure_point import METER_STEPS
from edgeexit.protocols import Clocks

if TYPE_CHECKING:
    from edgeexit.device import Lease

MIN_SWITCHES: Final = 6
MAX_SWITCHES: Final = 200
MAX_IN_WINDOW: Final = 20_000
SETTLE_TRIES: Final = 6
SETTLE_LIMIT_S: Final = 0.5
CERTAIN: Final = 0.02
VISIBLE: Final = 1.2
"""The work must be so many times as quick at the high clock for the moment of the change to be seen in it."""
SHORTEST_PROBE_S: Final = 20e-6
"""Shorter pieces are timed too coarsely to tell one clock from another."""


class SwitchCost(NamedTuple):
    """What a switch costs, and how that was measured."""

    latency_s: float
    energy_j: float | None
    record: SwitchRecord


class SwitchMeter:
    """Changes the clocks between a low and a high operating point, over and over.

    Args:
        bench: The pieces.
        lease: Hold on the clocks.
        low: All clocks at their lowest of the points measured.
        high: All at their highest.
        seconds: Time for it in all.
    """

    def __init__(self, bench: Bench, lease: Lease, low: PointRecord, high: PointRecord, seconds: float) -> None:
        self._bench = bench
        self._device = bench.device
        self._lease = lease
        self._records = (low, high)
        self._seconds = seconds
        self._at_high = False

    def measure(self) -> SwitchCost | None:
        """Measure a switch; None if no clock changed.

        Its latency is the time of setting and reading back, or the time until the work runs at the new speed where
        that is longer and could be seen: until then a plan cannot count on the new clock.
        """
        self._lease.set(self._records[0].costs.clocks)
        set_s = self._time_sets()
        if set_s is None:
            return None
        settle_s = self._time_settling()
        latency_s = set_s.median if settle_s is None else max(set_s.median, settle_s.median)
        energy_j, method = self._energy(latency_s)
        return SwitchCost(latency_s, energy_j, SwitchRecord(set_s, settle_s, method))

    def _toggle(self) -> bool:
        """Switch to the other point; return whether a clock changed."""
        before = self._lease.switch_count
        self._at_high = not self._at_high
        target: Clocks = self._records[self._at_high].costs.clocks
        self._lease.set(target)
        return self._lease.switch_count > before

    def _time_sets(self) -> Figure | None:
        now_s, times_s = self._device.clock.now_s, []
        end_s = now_s() + self._seconds / 3
        for tries in range(MAX_SWITCHES):
            start_s = now_s()
            if self._toggle():
                times_s.append(now_s() - start_s)
            if len(times_s) >= MIN_SWITCHES and median_error(figure(times_s)) <= CERTAIN:
                break
            if tries >= MIN_SWITCHES and now_s() >= end_s:
                break
        return figure(times_s) if times_s else None

    def _time_settling(self) -> Figure | None:
        """Return the time from the request until a piece runs at the new speed; None where that cannot be seen."""
        probe, boundary_s = self._probe()
        if probe is None:
            return None
        times_s = []
        for _ in range(SETTLE_TRIES):
            settled_s = self._settle_once(probe, boundary_s)
            if settled_s is not None:
                times_s.append(settled_s)
        return figure(times_s) if times_s else None

    def _settle_once(self, probe: Piece, boundary_s: float) -> float | None:
        now_s = self._device.clock.now_s
        request_s = now_s()
        self._toggle()
        while True:
            start_s = now_s()
            quick = self._bench.time_s(probe) < boundary_s
            if quick == self._at_high:
                return start_s - request_s
            if start_s - request_s > SETTLE_LIMIT_S:
                return None

    def _probe(self) -> tuple[Piece | None, float]:
        """Return the shortest piece that tells the two points apart, and the latency between its two."""
        low, high = self._records
        pieces = zip(self._bench.segments, low.costs.segment_latency_s, high.costs.segment_latency_s, strict=True)
        whole = self._bench.whole, low.whole_latency_s.median, high.whole_latency_s.median
        found: tuple[Piece | None, float] = None, 0.0
        for piece, low_s, high_s in (*pieces, whole):
            long_enough = self._device.simulated or high_s >= SHORTEST_PROBE_S
            boundary_s = sqrt(low_s * high_s)
            if low_s > VISIBLE * high_s and long_enough and (found[0] is None or boundary_s < found[1]):
                found = piece, boundary_s
        return found

    def _energy(self, latency_s: float) -> tuple[float | None, str | None]:
        """Return all that the board draws during a switch, and how that was found."""
        meter, high = self._device.meter, self._records[1]
        if meter is None:
            return None, None
        window_s = self._seconds / 3
        if window_s < METER_STEPS * meter.min_window_s:
            return _estimate(high, latency_s)
        now_s, before_j = self._device.clock.now_s, meter.read_energy_j()
        start_s, count = now_s(), 0
        for tries in range(MAX_IN_WINDOW):
            count += self._toggle()
            if tries >= MIN_SWITCHES and now_s() - start_s >= window_s:
                break
        after_j = meter.read_energy_j()
        if after_j is None or before_j is None or after_j < before_j or count == 0:
            return _estimate(high, latency_s)
        return (after_j - before_j) / count, f"a window of {count} switches"


def _estimate(high: PointRecord, latency_s: float) -> tuple[float | None, str | None]:
    if high.load_power_w is None:
        return None, None
    return high.load_power_w.median * latency_s, "power under load at the higher clocks x latency of a switch"
