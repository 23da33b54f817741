"""Measure one operating point: idle power, latencies until they are certain enough, and energies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from edgeexit.bundle.costs import Figure, LeftOut, PointRecord
from edgeexit.errors import DeviceError
from edgeexit.offline.measure_bench import Bench, Power, figure, median_error
from edgeexit.protocols import Clocks, PointCosts

if TYPE_CHECKING:
    from edgeexit.device import Lease

IDLE_SHARE: Final = 0.2
LATENCY_SHARE: Final = 0.4
LOAD_SHARE: Final = 0.15
PIECES_SHARE: Final = 0.25
"""What of a point's time goes where; latencies are given the other shares too where there is no meter."""
MIN_ROUNDS: Final = 9
WARM_UP_ROUNDS: Final = 2
MAX_ROUNDS: Final = 2000
CERTAIN: Final = 0.005
"""A median is certain enough when its standard error is below this share of it."""
WINDOWS: Final = 3
METER_STEPS: Final = 20
"""A piece is metered alone only in windows of at least so many of the meter's shortest ones: a step is 5 % then."""
CLOCK_TOLERANCE: Final = 0.01
"""Share by which a clock that was read may differ from the one asked for: less than operating points lie apart."""

Tell = Callable[[str, float], None]
"""Is told what is being done, and how much of the point is done: 0 to 1."""


@dataclass(frozen=True, slots=True)
class Measured:
    """An operating point's record, and what belongs to the device profile."""

    record: PointRecord
    rail_power_w: Mapping[str, float]
    """Parts of the power under load, by the board's own names."""


class _Times(NamedTuple):
    segments: tuple[Figure, ...]
    heads: tuple[Figure, ...]
    whole: Figure


class _Energies(NamedTuple):
    pieces_j: tuple[float, ...]
    """Of the segments, then of the heads."""
    whole_j: Figure
    method: str


class PointMeter:
    """Measures operating points, one after the other.

    Args:
        bench: The pieces.
        lease: Hold on the clocks that can be set; None measures at the clocks as they are.
        seconds: Time for one point; a meter that needs long windows makes it longer.
        other_load: Busy share of all cores without us, 0 to 1, if it is known.
    """

    def __init__(self, bench: Bench, lease: Lease | None, seconds: float, other_load: float | None = None) -> None:
        self._bench = bench
        self._device = bench.device
        self._lease = lease
        self._seconds = seconds
        self._other_load = other_load

    def measure(self, clocks: Clocks, tell: Tell) -> Measured | LeftOut:
        """Pin the clocks and measure; or say why the point is left out: the clocks did not hold, or were throttled."""
        verified_by = self._pin(clocks)
        problem = self._clock_problem(clocks)
        if problem:
            return LeftOut(clocks, problem)
        tell("idle", 0.0)
        idle = self._rest()
        problem = self._problem(clocks)
        if problem:
            return LeftOut(clocks, problem)
        times = self._time_pieces(tell)
        problem = self._problem(clocks)
        if problem:
            return LeftOut(clocks, problem)
        tell("power", IDLE_SHARE + LATENCY_SHARE)
        load = self._load()
        energies = self._energies(times, load, tell)
        problem = self._problem(clocks)
        if problem:
            return LeftOut(clocks, problem)
        tell("done", 1.0)
        record = PointRecord(
            costs=_costs(clocks, idle, times, energies),
            verified_by=verified_by,
            repeats=times.whole.repeats,
            segment_latency_spread=tuple(each.spread for each in times.segments),
            head_latency_spread=tuple(each.spread for each in times.heads),
            whole_latency_s=times.whole,
            idle_power_w=idle,
            load_power_w=None if load is None else load.board_w,
            whole_energy_j=None if energies is None else energies.whole_j,
            energy_method=None if energies is None else energies.method,
            temperature_c=self._device.conditions().temperature_c,
            cpu_load=self._other_load,
        )
        return Measured(record, {} if load is None else load.rail_w)

    def _pin(self, clocks: Clocks) -> str:
        if self._lease is None:
            return "not set"
        applied = self._lease.set(clocks)
        return ", ".join(sorted({each.verified_by for each in applied})) or "read back"

    def _problem(self, clocks: Clocks) -> str:
        """Say why figures of this point are not its own just now, or return an empty text.

        Throttling is told a second late at most: straight after a switch it may still be that of the point before.
        """
        throttled = self._device.conditions().throttled
        return self._clock_problem(clocks) or (f"throttled: {', '.join(throttled)}" if throttled else "")

    def _clock_problem(self, clocks: Clocks) -> str:
        if self._lease is not None and self._lease.observe_only:
            return "the clocks could not be set any more"
        for name, asked_hz in clocks.items():
            try:
                found_hz = self._device.domains[name].read_hz()
            except DeviceError as error:
                return f"clock {name} could not be read: {error}"
            if abs(found_hz - asked_hz) > CLOCK_TOLERANCE * asked_hz:
                return f"clock {name} was asked for {asked_hz / 1e6:g} MHz and ran at {found_hz / 1e6:g} MHz"
        return ""

    def _rest(self) -> Figure | None:
        """Let the board be idle, and meter that if it can be."""
        seconds = IDLE_SHARE * self._seconds
        if self._device.meter is None:
            self._device.clock.sleep_s(seconds)
            return None
        return _if_any(self._bench.meter_idle(*self._windows(seconds)).board_w)

    def _windows(self, seconds: float) -> tuple[float, int]:
        """Return the length and number of windows that fill so many seconds, none shorter than the meter can tell."""
        meter = self._device.meter
        shortest_s = 0.0 if meter is None else meter.min_window_s
        count = WINDOWS if shortest_s <= 0.0 else max(1, min(WINDOWS, int(seconds / shortest_s)))
        return max(seconds / count, shortest_s), count

    def _time_pieces(self, tell: Tell) -> _Times:
        """Time all pieces until every median is certain enough, or the time is over."""
        now_s, bench = self._device.clock.now_s, self._bench
        share = LATENCY_SHARE if self._device.meter is not None else 1.0 - IDLE_SHARE
        budget_s = share * self._seconds
        for _ in range(WARM_UP_ROUNDS):
            bench.time_all_s()
        start_s, rounds, look_again = now_s(), [], MIN_ROUNDS
        while True:
            segments_s, heads_s, whole_s = bench.time_all_s()
            rounds.append((*segments_s, *heads_s, whole_s))
            spent_s = now_s() - start_s
            if len(rounds) < look_again and spent_s < budget_s:
                continue
            tell("latency", IDLE_SHARE + share * min(1.0, spent_s / budget_s))
            figures = [figure(column) for column in zip(*rounds, strict=True)]
            certain = all(median_error(each) <= CERTAIN for each in figures)
            enough = len(rounds) >= MIN_ROUNDS and (certain or spent_s >= budget_s)
            if enough or len(rounds) >= MAX_ROUNDS:
                break
            look_again = max(MIN_ROUNDS, len(rounds) * 5 // 4)
        count = len(bench.segments)
        return _Times(tuple(figures[:count]), tuple(figures[count:-1]), figures[-1])

    def _load(self) -> Power | None:
        if self._device.meter is None:
            return None
        load = self._bench.meter_load(self._bench.whole, *self._windows(LOAD_SHARE * self._seconds))
        return None if _if_any(load.board_w) is None else load

    def _energies(self, times: _Times, load: Power | None, tell: Tell) -> _Energies | None:
        """Return the energy of every segment and head, and of the whole network; None if it cannot be known."""
        meter = self._device.meter
        if meter is None or load is None or load.board_w is None or load.energy_j is None:
            return None
        power = load.board_w
        pieces = (*self._bench.segments, *self._bench.heads)
        by_power = tuple(power.median * each.median for each in (*times.segments, *times.heads))
        window_s = PIECES_SHARE * self._seconds / (WINDOWS * len(pieces))
        if window_s < METER_STEPS * meter.min_window_s:
            why = f"windows of {window_s:.2g} s are too short for this meter"
            spread = power.spread + times.whole.spread
            whole_j = Figure(power.median * times.whole.median, spread, power.repeats)
            return _Energies(by_power, whole_j, f"power under load x latency, because {why}")
        found = []
        for index, piece in enumerate(pieces):
            tell("energy", 1.0 - PIECES_SHARE * (1.0 - index / len(pieces)))
            energy_j = self._bench.meter_load(piece, window_s, WINDOWS).energy_j
            found.append(by_power[index] if energy_j is None else energy_j.median)
        method = f"{WINDOWS} windows of {window_s:.2g} s for each piece, run over and over"
        return _Energies(tuple(found), load.energy_j, method)


def _if_any(power_w: Figure | None) -> Figure | None:
    """Return a power; None where it is 0: no board draws nothing, so its meter stands still."""
    return None if power_w is None or power_w.median <= 0.0 else power_w


def _costs(clocks: Clocks, idle: Figure | None, times: _Times, energies: _Energies | None) -> PointCosts:
    count = len(times.segments)
    return PointCosts(
        clocks=dict(clocks),
        idle_power_w=None if idle is None else idle.median,
        segment_latency_s=tuple(each.median for each in times.segments),
        segment_energy_j=None if energies is None else energies.pieces_j[:count],
        head_latency_s=tuple(each.median for each in times.heads),
        head_energy_j=None if energies is None else energies.pieces_j[count:],
    )
