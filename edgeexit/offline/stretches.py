"""A cost table by stretches: from the exit looked at last to the one looked at next, with its head."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeexit.errors import OptionError
from edgeexit.protocols import CostTable

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class StretchCosts:
    """Time and energy of stretches at some operating points of a table, as arrays over these P points.

    Energy is counted beyond idling: less `idle_w` for as long as the work takes, so that the idling of a whole period
    can be added at once.

    Args:
        table: Costs of the bundle on the board.
        points: Indices of the operating points.

    Raises:
        OptionError: If the table has no energy figures.

    Attributes:
        points: The indices.
        idle_w: The least idle power of the points.
        extra_idle_w: (P,) how much more a point draws when idle.
        changes: (P, P) how many clock domains change from one point to another.
        switch_s: Time of one change.
        switch_j: Its energy beyond idling.
    """

    def __init__(self, table: CostTable, points: Sequence[int]) -> None:
        costs = [table.points[point] for point in points]
        if not table.has_energy or table.switch_energy_j is None:
            raise OptionError("this needs a cost table with energy figures: measure the board with a power meter")
        idle_w: FloatArray = np.array([cost.idle_power_w for cost in costs], dtype=np.float64)
        self.points = tuple(points)
        self.idle_w = float(idle_w.min())
        self.extra_idle_w = idle_w - self.idle_w
        settings = [tuple(cost.clocks.values()) for cost in costs]
        self.changes: IntArray = np.array(
            [[sum(a != b for a, b in zip(one, other, strict=True)) for other in settings] for one in settings]
        )
        self.switch_s = table.switch_latency_s
        self.switch_j = table.switch_energy_j - self.idle_w * table.switch_latency_s
        self.exit_count = len(table.exit_segments)
        self._ends = [segment + 1 for segment in table.exit_segments]
        self._segment_s = _sums([cost.segment_latency_s for cost in costs])
        self._segment_j = _sums([cost.segment_energy_j or () for cost in costs])
        self._head_s: FloatArray = np.array([cost.head_latency_s for cost in costs], dtype=np.float64)
        self._head_j: FloatArray = np.array([cost.head_energy_j for cost in costs], dtype=np.float64)
        self._quickest: dict[tuple[int, tuple[int, ...]], FloatArray] = {}

    def time_s(self, newest: int, exit_index: int) -> FloatArray:
        """Return (P,) the time from the look at exit `newest` (-1: from the start) until `exit_index` has answered."""
        start, end = self._span(newest, exit_index)
        return np.asarray(self._segment_s[:, end] - self._segment_s[:, start] + self._head_s[:, exit_index])

    def extra_j(self, newest: int, exit_index: int) -> FloatArray:
        """Return (P,) the energy beyond idling of that stretch."""
        start, end = self._span(newest, exit_index)
        energy_j = self._segment_j[:, end] - self._segment_j[:, start] + self._head_j[:, exit_index]
        return np.asarray(energy_j - self.idle_w * self.time_s(newest, exit_index))

    def chain_s(self, newest: int, chain: Sequence[int]) -> FloatArray:
        """Return (P,) the time to look at all exits of `chain` one after the other, at the same point all the way."""
        stretches = zip((newest, *chain), chain, strict=False)
        return np.asarray(np.sum([self.time_s(a, b) for a, b in stretches], axis=0))

    def quickest_s(self, newest: int, chain: tuple[int, ...]) -> FloatArray:
        """Return (P,) the least time for `chain` if its first stretch runs at a point and switches may follow."""
        key = newest, chain
        if key not in self._quickest:
            first_s = self.time_s(newest, chain[0])
            if len(chain) > 1:
                first_s = first_s + self.after_switch_s(self.quickest_s(chain[0], chain[1:]))
            self._quickest[key] = first_s
        return self._quickest[key]

    def after_switch_s(self, needed_s: FloatArray) -> FloatArray:
        """Return (P,) from each point the least sum of switching to a point and what is `needed_s` there."""
        return np.asarray((self.changes * self.switch_s + needed_s).min(axis=1))

    def _span(self, newest: int, exit_index: int) -> tuple[int, int]:
        start = 0 if newest < 0 else self._ends[newest]
        return start, max(self._ends[exit_index], start)


def worthwhile_points(table: CostTable) -> tuple[int, ...]:
    """Return the indices of the points that some best choice may use.

    A point is left out if another is as fast for every stretch and draws no more beyond idling: whoever uses it could
    use the other instead. That holds only if all switches cost the same and all points idle alike, so with several
    clock domains, or idle powers that differ, all points stay.
    """
    every = tuple(range(len(table.points)))
    costs = StretchCosts(table, every)
    if len(table.points[0].clocks) != 1 or costs.extra_idle_w.any():
        return every
    stretches = [(a, b) for b in range(costs.exit_count) for a in range(-1, b)]
    rows = [figures(*stretch) for stretch in stretches for figures in (costs.time_s, costs.extra_j)]
    figures_by_point: FloatArray = np.array(rows).T
    return tuple(p for p in every if not any(_beats(q, p, figures_by_point) for q in every))


def _beats(q: int, p: int, figures: FloatArray) -> bool:
    """Return whether point q costs at most as much as p throughout, and less somewhere or is the first of equals."""
    if q == p or not (figures[q] <= figures[p]).all():
        return False
    return bool((figures[q] < figures[p]).any()) or q < p


def _sums(rows: Sequence[Sequence[float]]) -> FloatArray:
    """Return (P, N + 1) running sums, each with a 0 before the first."""
    array = np.array(rows, dtype=np.float64)
    return np.concatenate([np.zeros((len(rows), 1)), array.cumsum(axis=1)], axis=1)
