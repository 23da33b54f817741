"""Corrects a cost table by what work really took, so that heat, contention or a wrong profile do no harm for long.

Plain arithmetic: nothing here reads a clock or a meter.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil, exp, log
from operator import sub
from typing import TYPE_CHECKING, NamedTuple

from edgeexit.errors import OptionError
from edgeexit.runtime.learned_power import LearnedPower
from edgeexit.runtime.quantile import UpperQuantile

if TYPE_CHECKING:
    from edgeexit.protocols import CostTable, PointCosts

COMMON_RATE = 0.1
"""Weight of the newest piece in what all operating points have in common: heat and contention come within seconds."""
POINT_RATE = 0.02
"""Weight of the newest piece in what is an operating point's own."""
SURPRISE = log(1.5)
"""A single piece counts as at most so far off: one that the kernel held up for long says little of the next."""
SETTLED = 4
"""The first so many pieces count as they are, however far off."""
FEW = 3
"""With fewer observed operating points than this, a point that was not observed takes the mean of those that were."""
OUTLIER = log(8.0)
"""No piece counts as more than 8 times, or less than an 8th, of what was expected."""
GUARD_STEP = 0.02
"""The guard is a multiple of this, so that it does not change with every piece: what is planned for it then holds."""
GUARD_SLACK = 0.05
"""A guard goes down only where it is too high by this share."""


class Correction(NamedTuple):
    """A corrected cost table, and the factors it was made with."""

    table: CostTable
    log_latency: tuple[float, ...]
    """For each operating point the logarithm of what its latencies were multiplied by."""
    log_power: tuple[float, ...]
    """For each operating point, and for idling at the end, the same of its power."""


class LearnedCosts:
    """Learns by how much the latencies of a cost table are wrong, at each operating point.

    A piece of work (some segments and a head) that took `measured_s` where the table says `expected_s` at operating
    point p is one observation of ``y = log(measured_s / expected_s)``. What is wrong is taken as a part that all
    points have in common, and a part of the point's own::

        log factor(p) = common + own(p)

        common += max(1 / pieces, COMMON_RATE) * (y - common - own(p))
        own(p) += max(1 / (1 + 3 * pieces at p before), POINT_RATE) * (y - common - own(p))

    So a board that heats up, or that others work on too, is corrected at all points by what is seen at one of them,
    within some ten pieces; and the first piece at a point puts that point right at once. Nothing is a point's own until
    a second one has been observed. Exponential forgetting of logarithms keeps a factor and its inverse alike. Points
    that were not observed take the own part of the nearest observed ones below and above, or while few were the mean
    of all. Factors stay within `lowest` and `highest`.

    **The guard** is what the corrected latencies are to be multiplied by where a deadline must hold: an upper quantile
    of ``exp(y - own(p))``, divided by what the table at hand makes of it already. Because the quantile is of the
    latency itself and not of what was left after correcting, a table that catches up with heat lowers the guard by as
    much as it rises, and the two are never both counted. Until the quantile rests on enough pieces the guard is at
    least `start_guard`.

    Args:
        table: The costs to correct, for one sample.
        quantile: Of the guard.
        start_guard: The guard to start with, 1 or more.
        tolerance: A new table is offered when a latency or power has moved by more than this share.
        lowest: The smallest factor.
        highest: The largest factor.

    Raises:
        OptionError: If an option is out of its range.
    """

    def __init__(
        self,
        table: CostTable,
        *,
        quantile: float = 0.999,
        start_guard: float = 1.1,
        tolerance: float = 0.05,
        lowest: float = 0.5,
        highest: float = 4.0,
    ) -> None:
        if not (0.0 < lowest <= 1.0 <= highest and start_guard >= 1.0 and tolerance > 0.0):
            raise OptionError(
                "learned costs need 0 < lowest <= 1 <= highest, start_guard >= 1 and tolerance > 0, not "
                f"{lowest!r}, {highest!r}, {start_guard!r} and {tolerance!r}"
            )
        self.base = table
        self.power = LearnedPower(table)
        self._quantile = UpperQuantile(quantile, low=-OUTLIER, high=2.0 * OUTLIER)
        self._start_guard = start_guard
        self._enough = ceil(1.0 / (1.0 - quantile))
        self._tolerance = log(1.0 + tolerance)
        self._lowest, self._highest = log(lowest), log(highest)
        self._common = 0.0
        self._own = [0.0] * len(table.points)
        self._counts = [0] * len(table.points)
        self._published = [0.0] * len(table.points)
        self._published_power: tuple[float, ...] = (0.0,) * (len(table.points) + 1)
        self._guard = _round_up(start_guard)
        self._moved = False

    @property
    def pieces(self) -> int:
        """How many pieces were learnt from."""
        return self._quantile.count

    @property
    def guard(self) -> float:
        """What the latencies of the newest accepted table are to be multiplied by where a deadline must hold."""
        return self._guard

    def factors(self) -> tuple[float, ...]:
        """Return what the table's latencies are to be multiplied by, for each operating point."""
        return tuple(exp(value) for value in self._log_latency())

    def observe(self, point: int, expected_s: float, measured_s: float) -> None:
        """Learn from a piece of work.

        Args:
            point: Index of the operating point it ran at, from beginning to end.
            expected_s: What the table to correct says; a piece of no time teaches nothing.
            measured_s: What it took.
        """
        if expected_s <= 0.0 or measured_s <= 0.0:
            return
        seen = min(max(log(measured_s / expected_s), -OUTLIER), OUTLIER)
        count = self._counts[point]
        if count == 0:
            self._fill()  # the point's own part is still its neighbours'
        self._quantile.add(seen - self._own[point])
        if self._quantile.count > SETTLED:
            off = seen - self._common - self._own[point]
            seen += min(max(off, -SURPRISE), SURPRISE) - off
        rate = max(1.0 / self._quantile.count, COMMON_RATE)
        self._common += rate * (seen - self._common - self._own[point])
        if self._quantile.count > count + 1:  # of a single point nothing is its own
            rate = max(1.0 / (1 + 3 * count), POINT_RATE)
            self._own[point] += rate * (seen - self._common - self._own[point])
        self._counts[point] = count + 1
        self._moved |= abs(self._common + self._own[point] - self._published[point]) > 0.5 * self._tolerance
        self._set_guard()

    def propose(self) -> Correction | None:
        """Return a corrected table if one is due: if some cost has moved away from the accepted table's."""
        if not (self._moved or self.power.moved):
            return None
        self._moved = self.power.moved = False
        self._fill()
        latency, power = self._log_latency(), self.power.log_factors()
        moved = max(abs(new - old) for new, old in zip(latency, self._published, strict=True))
        moved_power = max(abs(new - old) for new, old in zip(power, self._published_power, strict=True))
        if max(moved, moved_power) <= self._tolerance:
            return None
        points = tuple(
            _corrected(point, exp(latency[index]), exp(power[index]), exp(power[-1]))
            for index, point in enumerate(self.base.points)
        )
        return Correction(replace(self.base, points=points), tuple(latency), power)

    def accept(self, correction: Correction) -> None:
        """Note that `correction` is the table in use from now on."""
        self._published = list(correction.log_latency)
        self._published_power = correction.log_power
        self._guard = 1.0
        self._set_guard()

    def _log_latency(self) -> list[float]:
        return [min(max(self._common + own, self._lowest), self._highest) for own in self._own]

    def _set_guard(self) -> None:
        """Raise the guard at once where it is too low, and lower it where it is much too high."""
        quantile = self._quantile.value
        needed = 1.0
        if quantile is not None:
            short = max(map(sub, self._own, self._published))
            needed = min(max(exp(quantile + short), 1.0), exp(self._highest))
        if self._quantile.count < self._enough:
            needed = max(needed, self._start_guard)
        if needed > self._guard or needed < self._guard / (1.0 + GUARD_SLACK):
            self._guard = _round_up(needed)

    def _fill(self) -> None:
        """Give points that were not observed the own part of observed ones."""
        observed = [index for index, count in enumerate(self._counts) if count]
        if not observed or len(observed) == len(self._counts):
            return
        mean = sum(self._own[index] for index in observed) / len(observed)
        for index, count in enumerate(self._counts):
            if count == 0:
                self._own[index] = mean if len(observed) < FEW else self._nearest(index, observed)

    def _nearest(self, point: int, observed: list[int]) -> float:
        below = [index for index in observed if index < point][-1:]
        above = [index for index in observed if index > point][:1]
        near = below + above
        return sum(self._own[index] for index in near) / len(near)


def _round_up(guard: float) -> float:
    return ceil(guard / GUARD_STEP - 1e-9) * GUARD_STEP


def _corrected(point: PointCosts, slower: float, stronger: float, idler: float) -> PointCosts:
    """Return a point's costs with `slower` times the latency, `stronger` times the power and `idler` times idle."""
    energies = [
        None if row is None else tuple(slower * stronger * x for x in row)
        for row in (point.segment_energy_j, point.head_energy_j)
    ]
    return replace(
        point,
        idle_power_w=None if point.idle_power_w is None else idler * point.idle_power_w,
        segment_latency_s=tuple(slower * x for x in point.segment_latency_s),
        segment_energy_j=energies[0],
        head_latency_s=tuple(slower * x for x in point.head_latency_s),
        head_energy_j=energies[1],
    )
