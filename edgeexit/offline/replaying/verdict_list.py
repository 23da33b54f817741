"""The distinct verdicts of a rule, by numbers."""

from __future__ import annotations

import numpy as np

from edgeexit.offline.traces import BoolArray, IntArray
from edgeexit.protocols import Verdict


class VerdictList:
    """Distinct verdicts, numbered as they come."""

    def __init__(self) -> None:
        self._numbers: dict[Verdict, int] = {}
        self._stops: BoolArray = np.zeros(0, dtype=np.bool_)
        self._next_exits: IntArray = np.zeros(0, dtype=np.int64)

    def number(self, verdict: Verdict) -> int:
        """Return the number of a verdict."""
        return self._numbers.setdefault(verdict, len(self._numbers))

    def as_tuple(self) -> tuple[Verdict, ...]:
        """Return the verdicts by their numbers."""
        return tuple(self._numbers)

    @property
    def stops(self) -> BoolArray:
        """(V,) whether each verdict says to stop."""
        self._catch_up()
        return self._stops

    @property
    def next_exits(self) -> IntArray:
        """(V,) the next exit of each verdict."""
        self._catch_up()
        return self._next_exits

    def _catch_up(self) -> None:
        if len(self._stops) < len(self._numbers):
            self._stops = np.array([verdict.stop for verdict in self._numbers])
            self._next_exits = np.array([verdict.next_exit for verdict in self._numbers])
