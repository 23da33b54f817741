"""How long each clock domain has been at each of its operating points, by looking ten times a second."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import Final

EVERY_S: Final = 0.1
LONGEST_S: Final = 1.0
"""A longer gap between two looks (the machine slept) is of nobody knows which clock, and is not counted."""


class Residency:
    """Sums the time at each operating point.

    Args:
        now_s: Tells the time, in seconds.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._before: tuple[float, Mapping[str, int]] | None = None
        self.seconds: dict[tuple[str, int], float] = {}
        """(domain, operating point in Hz) -> seconds."""

    def look(self, clocks: Mapping[str, int], points_hz: Mapping[str, Sequence[int]]) -> None:
        """Count the time since the last look for the clocks that were seen then, half, and now, half.

        Args:
            clocks: Present frequencies in Hz.
            points_hz: The operating points of each domain, ascending; a frequency between two counts as the nearer.
        """
        now_s = self._now_s()
        present = {name: _nearest(hz, points_hz[name]) for name, hz in clocks.items() if points_hz.get(name)}
        if self._before is not None and now_s - self._before[0] <= LONGEST_S:
            half_s = (now_s - self._before[0]) / 2
            for seen in (self._before[1], present):
                for key in seen.items():
                    self.seconds[key] = self.seconds.get(key, 0.0) + half_s
        self._before = (now_s, present)


def _nearest(frequency_hz: int, points_hz: Sequence[int]) -> int:
    index = bisect_left(points_hz, frequency_hz)
    around = points_hz[max(index - 1, 0) : index + 1]
    return min(around, key=lambda point: abs(point - frequency_hz))
