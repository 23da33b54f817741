"""Several meters as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeexit.protocols import EnergySource

if TYPE_CHECKING:
    from edgeexit.protocols import PowerMeter

_WORST_FIRST = (EnergySource.SIMULATED, EnergySource.MODELLED, EnergySource.INTEGRATED, EnergySource.COUNTER)


class SumMeter:
    """The sum of meters of different parts; closing them is their owner's.

    Args:
        parts: The meters, at least one; no part may lie within another.
        name: What the sum is of; without it the parts' names with a plus between them.
    """

    def __init__(self, parts: Sequence[PowerMeter], name: str | None = None) -> None:
        self._parts = tuple(parts)
        self._name = name or " + ".join(part.name for part in parts)

    @property
    def name(self) -> str:
        """What is in it."""
        return self._name

    @property
    def parts(self) -> tuple[PowerMeter, ...]:
        """The meters that are summed."""
        return self._parts

    @property
    def source(self) -> EnergySource:
        """The least trustworthy source among the parts'."""
        sources = {part.source for part in self._parts}
        return next(source for source in _WORST_FIRST if source in sources)

    @property
    def min_window_s(self) -> float:
        """That of the slowest part."""
        return max(part.min_window_s for part in self._parts)

    def uncertainty_j(self, energy_j: float, duration_s: float) -> float | None:
        """Return an upper bound of the standard deviation, in joules: that of the least certain part, had it all.

        How the energy divides is not known here. For parts whose uncertainty u_i grows in proportion to their energy
        E_i, sum of u_i(E_i) <= max u_i(E): the bound holds even if all are off in the same direction.
        """
        parts = [part.uncertainty_j(energy_j, duration_s) for part in self._parts]
        known = [part for part in parts if part is not None]
        return max(known) if len(known) == len(parts) else None

    def read_energy_j(self) -> float | None:
        """Return the sum in joules; None if a part cannot be read."""
        total_j = 0.0
        missing = False
        for part in self._parts:
            energy_j = part.read_energy_j()
            missing = missing or energy_j is None
            total_j += energy_j or 0.0
        return None if missing else total_j
