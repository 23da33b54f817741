"""Corrects the power of a cost table by what a meter counted, over stretches long enough for the meter."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeexit.protocols import CostTable

RATE = 0.2
"""Step of the normalised least-mean-squares rule, of at most 1."""
LOWEST, HIGHEST = 0.25, 4.0
MOVED = 0.01
"""A factor has moved if its logarithm has by so much."""
UNKNOWN_SHARE = 0.05
"""A stretch teaches nothing if more of its time than this is not known to have been at some operating point."""


class LearnedPower:
    """Learns by how much the power of each operating point, and idle power, are wrong.

    A meter tells the energy of a stretch with work at several operating points and idling between. What it should have
    been is linear in the factors, and a point's factor is a part that all points have in common and a part of its own,
    so that no point looks cheap only because it has not been tried::

        expected = sum over points p of (common + own(p)) * work(p)  +  idle * idling

    All parts are moved by the normalised least-mean-squares rule (Haykin, "Adaptive Filter Theory", chapter 7): each by
    RATE times the error times what it is multiplied by, over the sum of the squares of these. Factors stay within
    `LOWEST` and `HIGHEST`.

    Nothing is learnt for a table whose energy is not known.

    Args:
        table: The costs to correct.

    Attributes:
        knows: True if the table's energy is known.
        moved: Set to True when a factor has moved.
    """

    def __init__(self, table: CostTable) -> None:
        self.knows = table.has_energy
        self._idle = len(table.points)
        self._common = 1.0
        self._own = [0.0] * (self._idle + 1)
        self._own[-1] = 1.0  # idling has no part in what is common
        self._expected = [0.0] * (self._idle + 1)
        self._switches_j = 0.0
        self._unknown_s = 0.0
        self.moved = False
        self._logs: tuple[float, ...] = (0.0,) * (self._idle + 1)
        self._told = self._logs

    def log_factors(self) -> tuple[float, ...]:
        """Return the logarithms of the factors: one for each operating point, and the last for idling."""
        return self._logs

    def ran(self, point: int, expected_j: float) -> None:
        """Note work at an operating point, with its energy by the table's power and the time it really took."""
        self._expected[point] += expected_j

    def idled(self, expected_j: float) -> None:
        """Note idling, with its energy by the table."""
        self._expected[self._idle] += expected_j

    def switched(self, expected_j: float) -> None:
        """Note clock switches, with their energy by the table, which is taken as right."""
        self._switches_j += expected_j

    def unknown(self, duration_s: float) -> None:
        """Note time of which it is not known what was drawn."""
        self._unknown_s += duration_s

    def close(self, measured_j: float | None, duration_s: float) -> None:
        """End a stretch and learn from it.

        Args:
            measured_j: What the meter counted since the last stretch ended; None if it could not be read.
            duration_s: The time since then.
        """
        expected, unknown_s, switches_j = self._expected, self._unknown_s, self._switches_j
        self._expected, self._unknown_s, self._switches_j = [0.0] * len(expected), 0.0, 0.0
        all_work = sum(expected[:-1])
        squares = all_work * all_work + sum(x * x for x in expected)
        if measured_j is None or measured_j <= 0.0 or squares <= 0.0 or unknown_s > UNKNOWN_SHARE * duration_s:
            return
        own_j = sum(own * x for own, x in zip(self._own, expected, strict=True))
        step = RATE * (measured_j - switches_j - self._common * all_work - own_j) / squares
        self._common += step * all_work
        self._own = [own + step * x for own, x in zip(self._own, expected, strict=True)]
        self._set_logs()

    def _set_logs(self) -> None:
        factors = [self._common + own for own in self._own[:-1]] + [self._own[-1]]
        self._logs = tuple(log(min(max(factor, LOWEST), HIGHEST)) for factor in factors)
        if max(abs(new - old) for new, old in zip(self._logs, self._told, strict=True)) > MOVED:
            self.moved, self._told = True, self._logs
