"""Energy of a stretch of time, with its source and how far it may be off."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeexit.protocols import EnergySource

if TYPE_CHECKING:
    from edgeexit.protocols import Clock, PowerMeter


class EnergyReading(NamedTuple):
    """The energy of a stretch of time."""

    energy_j: float
    source: EnergySource
    uncertainty_j: float | None
    """One standard deviation, as far as the meter knows it."""


class EnergyWindow:
    """Energy since the window was opened.

    None where there is no meter, where it cannot be read, and where the window is shorter than what the meter can tell
    apart: a meter that is read ten times a second says nothing about an inference of 5 ms. Open a window around many
    inferences then. None also where a counter has not moved: no machine draws nothing.

    Args:
        meter: The board's; None where there is none.
        clock: The board's.
    """

    __slots__ = ("_clock", "_meter", "_start_j", "_start_s")

    def __init__(self, meter: PowerMeter | None, clock: Clock) -> None:
        self._meter = meter
        self._clock = clock
        self._start_s = clock.now_s()
        self._start_j = None if meter is None else meter.read_energy_j()

    def read(self) -> EnergyReading | None:
        """Return the energy since the window was opened."""
        meter, start_j = self._meter, self._start_j
        if meter is None or start_j is None:
            return None
        duration_s = self._clock.now_s() - self._start_s
        if duration_s < meter.min_window_s:
            return None
        now_j = meter.read_energy_j()
        if now_j is None:
            return None
        energy_j = now_j - start_j
        if energy_j == 0.0 and meter.source is EnergySource.COUNTER:
            return None
        return EnergyReading(energy_j, meter.source, meter.uncertainty_j(energy_j, duration_s))
