"""Energy of a stretch of time, with its source."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeexit.protocols import EnergySource, PowerMeter


class EnergyWindow:
    """Energy since the window was opened; None where there is no meter or it cannot be read."""

    __slots__ = ("_meter", "_start_j")

    def __init__(self, meter: PowerMeter | None) -> None:
        self._meter = meter
        self._start_j = None if meter is None else meter.read_energy_j()

    def read_energy_j(self) -> float | None:
        """Return the energy since the window was opened, in joules."""
        if self._meter is None or self._start_j is None:
            return None
        now_j = self._meter.read_energy_j()
        return None if now_j is None else now_j - self._start_j

    @property
    def source(self) -> EnergySource | None:
        """Where the energy is from; None without a meter."""
        return None if self._meter is None else self._meter.source
