"""Follows an inference from one ask of the governor to the next: what ran at which clocks, how long it took."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from edgeexit.protocols import Clocks, CostTable, PowerMeter
    from edgeexit.runtime.learning import LearnedCosts

METER_WINDOWS = 20
"""A stretch to learn power from lasts so many of the meter's shortest windows."""


class _Begun(NamedTuple):
    """A piece of work that has begun."""

    start_s: float
    segments_done: int
    clocks: Clocks
    """As they were decided; where they are others in truth, nothing is learnt."""
    settled: bool
    """True if the clocks were as decided when it began."""


class _Idling(NamedTuple):
    """The board has been idle since."""

    since_s: float
    clocks: Clocks
    """As they are, or as they were decided and will be in a moment."""
    settled: bool
    """True if they were so at its beginning."""


class Follower:
    """Sums what an inference costs by the table, and learns from pieces that ran at the same clocks throughout.

    A piece that was cancelled, cut short by the deadline, or during which a clock changed teaches nothing.

    Args:
        table: Costs of one sample on this board.
        learned: What to teach; None only sums.
        meter: The board's, for its power; None where there is none.
    """

    def __init__(self, table: CostTable, learned: LearnedCosts | None, meter: PowerMeter | None) -> None:
        self.table = table
        self.learned = learned
        self.spent_j: float | None = 0.0
        """Energy of this inference so far by the table, switches included; None if the table has no energies."""
        self._names = tuple(table.points[0].clocks)
        self._indexes = {tuple(point.clocks.values()): index for index, point in enumerate(table.points)}
        self._exit_after = {segment + 1: index for index, segment in enumerate(table.exit_segments)}
        self._begun: _Begun | None = None
        self._meter = meter if learned is not None and learned.power.knows else None
        self._stretch_s: float | None = None
        self._stretch_j: float | None = None
        self._idling: _Idling | None = None

    def asked(self, now_s: float, segments_done: int, clocks: Clocks) -> None:
        """Note that the governor is asked: before the first segment, or after an exit has been looked at."""
        if segments_done == 0:
            self.broken(now_s)  # an inference that ended with an error
            self.spent_j = 0.0
            self._end_idling(now_s, clocks)
        else:
            self._end_piece(now_s, segments_done, clocks)

    def begins(self, start_s: float, segments_done: int, clocks: Clocks, wanted: Clocks, before: Clocks) -> None:
        """Note that a piece of work begins.

        Args:
            start_s: Now, after the clocks were set.
            segments_done: How many segments have run.
            clocks: The clocks as they are now.
            wanted: What the governor decided; empty for no change.
            before: The clocks when the governor was asked.
        """
        decided, settled = _as_decided(clocks, wanted)
        changed = self._switched(before, decided)
        self._begun = _Begun(start_s, segments_done, decided, settled)
        if changed:
            self._spend(self.table.switch_energy_j, changed)

    def rested(self, now_s: float, before: Clocks, start_s: float, clocks: Clocks, wanted: Clocks) -> None:
        """Note that the clocks were changed after an answer: that belongs to no piece of work, and to no inference.

        Args:
            now_s: When the governor was asked.
            before: The clocks then.
            start_s: Now, after the clocks were set.
            clocks: The clocks as they are now.
            wanted: What the governor decided.
        """
        decided, settled = _as_decided(clocks, wanted)
        if self._switched(before, decided):
            self._end_idling(now_s, before)
            self._idling = _Idling(start_s, decided, settled)

    def finished(self, start_s: float, end_s: float, exit_index: int | None, clocks: Clocks) -> None:
        """Note the end of an inference, or of a batch.

        Args:
            start_s: When it began.
            end_s: When it ended.
            exit_index: The exit that answered as the rule or the governor wanted; None if it was cut short.
            clocks: The clocks as they are now.
        """
        if self._begun is None:  # a batch, which is not followed
            self._end_idling(start_s, None)
            if self.learned is not None:
                self.learned.power.unknown(end_s - start_s)
        elif exit_index is None:
            self.broken(end_s)
        else:
            self._end_piece(end_s, self.table.exit_segments[exit_index] + 1, clocks)
        self._idling = _Idling(end_s, clocks, settled=True)
        self._read_meter(end_s)

    def broken(self, now_s: float) -> None:
        """Note that nothing can be told of the piece that has begun."""
        if self._begun is not None and self.learned is not None:
            self.learned.power.unknown(now_s - self._begun.start_s)
        self._begun = None

    def _end_piece(self, now_s: float, segments_done: int, clocks: Clocks) -> None:
        begun, exit_index = self._begun, self._exit_after.get(segments_done)
        if begun is None or exit_index is None or segments_done <= begun.segments_done:
            return
        self._begun = None
        point = self._point(begun.clocks)
        work = self.table.work(0 if point is None else point, begun.segments_done, exit_index)
        self._spend(work.energy_j, 1)
        if self.learned is None:
            return
        took_s = now_s - begun.start_s
        if point is None or not begun.settled or clocks != begun.clocks:
            self.learned.power.unknown(took_s)
            return
        expected = self.learned.base.work(point, begun.segments_done, exit_index)
        self.learned.observe(point, expected.latency_s, took_s)
        if expected.energy_j is not None and expected.latency_s > 0.0:
            self.learned.power.ran(point, expected.energy_j / expected.latency_s * took_s)

    def _point(self, clocks: Clocks) -> int | None:
        """Return the table's operating point with these clocks, whatever those that it does not name."""
        return self._indexes.get(tuple([clocks.get(name, 0) for name in self._names]))

    def _spend(self, energy_j: float | None, times: int) -> None:
        known = energy_j is not None and self.spent_j is not None
        self.spent_j = self.spent_j + times * energy_j if known else None  # type: ignore[operator]  # both are known

    def _switched(self, before: Clocks, clocks: Clocks) -> int:
        """Count the clocks that change, and note what that draws."""
        changed = sum(before.get(name) != frequency_hz for name, frequency_hz in clocks.items())
        if changed and self.learned is not None and self.learned.power.knows:
            self.learned.power.switched(changed * (self.learned.base.switch_energy_j or 0.0))
        return changed

    def _end_idling(self, now_s: float, clocks: Clocks | None) -> None:
        """Note how long the board was idle, until now and `clocks`; None where these are not known."""
        if self._idling is None or self.learned is None:
            return
        since_s, idle_clocks, settled = self._idling
        point = self._point(idle_clocks) if settled or clocks == idle_clocks else None
        power_w = None if point is None else self.learned.base.points[point].idle_power_w
        if power_w is None:
            self.learned.power.unknown(now_s - since_s)
        else:
            self.learned.power.idled(power_w * (now_s - since_s))
        self._idling = None

    def _read_meter(self, now_s: float) -> None:
        """End a stretch once it is long enough for the meter."""
        if self._meter is None or self.learned is None:
            return
        if self._stretch_s is not None and now_s - self._stretch_s < METER_WINDOWS * self._meter.min_window_s:
            return
        read_j = self._meter.read_energy_j()
        known = read_j is not None and self._stretch_j is not None
        measured_j = read_j - self._stretch_j if known else None  # type: ignore[operator]  # both are known
        self.learned.power.close(measured_j, 0.0 if self._stretch_s is None else now_s - self._stretch_s)
        self._stretch_s, self._stretch_j = now_s, read_j


def _as_decided(clocks: Clocks, wanted: Clocks) -> tuple[Clocks, bool]:
    """Return the clocks as they were decided, and whether they are so already."""
    settled = all(clocks.get(name) == frequency_hz for name, frequency_hz in wanted.items())
    return clocks if settled else {**clocks, **wanted}, settled
