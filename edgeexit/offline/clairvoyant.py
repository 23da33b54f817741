"""Clock choices with hindsight, worked out from a cost table: a bound, and the best clock that never changes."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgeexit.errors import OptionError
from edgeexit.protocols import CostTable, PointCosts, Work

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_Figure = TypeVar("_Figure")
ROUNDING = 1e-9
"""Share of a time that rounding may cost: a deadline is kept if it is missed by less."""


class Step(NamedTuple):
    """A faster operating point for one piece: what it saves and what it costs beyond idling."""

    price: float
    """Joules for each second saved."""
    saved_s: float


def clairvoyant_work(
    table: CostTable, exit_index: int, deadline_s: float, *, other_looks: Collection[int] = ()
) -> Work:
    """Return a lower bound of the energy until the deadline, where exit `exit_index` is known in advance to answer.

    Only the segments up to that exit and its head run, switching is free, and each piece runs at the operating points
    that suit it best. A piece may even change its clock halfway: this is the linear relaxation of the choice of one
    point for each piece, so no real choice needs less. It is solved exactly by buying time where it is cheapest: all
    pieces begin at the point that draws least beyond idling, and the steps along each piece's lower convex hull to
    faster points are taken in the order of their price, the last one in part.

    Args:
        table: Costs of the bundle on the board.
        exit_index: The exit that answers.
        deadline_s: Length of the period; what the work leaves of it is idled away.
        other_looks: Exits on the way that are looked at as well: none if also the rule knows the exit in advance.

    Returns:
        Latency of the answer, and energy of the whole period, idling included. The latency lies above the deadline if
        the work does not fit at any clock.

    Raises:
        OptionError: If the table has no energy figures.
    """
    idle_w = min(_known(point.idle_power_w) for point in table.points)
    latency_s = extra_j = 0.0
    steps: list[Step] = []
    for piece in _pieces(table, exit_index, other_looks):
        options = [(work_s, work_j - idle_w * work_s) for work_s, work_j in piece]
        start = min(options, key=lambda option: (option[1], option[0]))
        latency_s, extra_j = latency_s + start[0], extra_j + start[1]
        steps.extend(_hull(options, start))
    for step in sorted(steps):
        late_s = latency_s - deadline_s
        if late_s <= 0.0:
            break
        saved_s = min(step.saved_s, late_s)
        latency_s, extra_j = latency_s - saved_s, extra_j + step.price * saved_s
    return Work(latency_s, extra_j + idle_w * max(deadline_s, latency_s))


def clairvoyant_energies(
    table: CostTable, exit_index: IntArray, deadline_s: float, *, looks: IntArray | None = None
) -> FloatArray:
    """Return (S,) the energy of `clairvoyant_work` for each of S samples.

    Args:
        table: Costs of the bundle on the board.
        exit_index: (S,) the exit that answers.
        deadline_s: Length of the period.
        looks: (S, A) the exits looked at, -1 behind the last. With them the bound is one for governors alone: it pays
            for the rule's looks. Without, only the head of the exit that answers runs.

    Raises:
        OptionError: If the table has no energy figures.
    """
    if not len(exit_index):
        return np.zeros(0)
    looked_at = np.zeros((len(exit_index), len(table.exit_segments)), dtype=np.bool_)
    if looks is not None:
        samples, asks = np.nonzero(looks >= 0)
        looked_at[samples, looks[samples, asks]] = True
    looked_at[np.arange(len(exit_index)), exit_index] = True
    rows, answers = np.packbits(looked_at, axis=1), np.asarray(exit_index, dtype=np.int64)[:, np.newaxis]
    _, firsts, which = np.unique(np.hstack([answers, rows]), axis=0, return_index=True, return_inverse=True)
    works = [
        clairvoyant_work(table, int(exit_index[first]), deadline_s, other_looks=np.flatnonzero(looked_at[first]))
        for first in firsts.tolist()
    ]
    return np.asarray(np.array([_known(work.energy_j) for work in works], dtype=np.float64)[which.reshape(-1)])


def best_fixed_point(table: CostTable, deadline_s: float, *, looks_at_every_exit: bool) -> PointCosts:
    """Return the operating point that draws least over a period among those that keep the deadline in the worst case.

    The worst case is the whole network, with all heads if the rule looks at every exit. It also stands for the work
    whose energy is compared. If it is late at every point, the fastest is returned.

    Args:
        table: Costs of the bundle on the board.
        deadline_s: Length of the period.
        looks_at_every_exit: From the exit rule.

    Raises:
        OptionError: If the table has no energy figures.
    """
    last = len(table.exit_segments) - 1
    works = [
        table.work(index, 0, last, first_head=0 if looks_at_every_exit else None) for index in range(len(table.points))
    ]
    in_time = [index for index, work in enumerate(works) if work.latency_s <= deadline_s * (1.0 + ROUNDING)]
    if not in_time:
        return table.points[min(range(len(works)), key=lambda index: works[index].latency_s)]

    def period_j(index: int) -> float:
        idle_j = _known(table.points[index].idle_power_w) * (deadline_s - works[index].latency_s)
        return _known(works[index].energy_j) + idle_j

    return table.points[min(in_time, key=period_j)]


def _known(figure: _Figure | None) -> _Figure:
    if figure is None:
        raise OptionError("this needs a cost table with energy figures: measure the board with a power meter")
    return figure


def _pieces(table: CostTable, exit_index: int, other_looks: Collection[int]) -> list[list[tuple[float, float]]]:
    """Return the segments and heads that lead to an exit, each with its (seconds, joules) at every point."""
    segments = [
        [(point.segment_latency_s[segment], _known(point.segment_energy_j)[segment]) for point in table.points]
        for segment in range(table.exit_segments[exit_index] + 1)
    ]
    heads = [
        [(point.head_latency_s[head], _known(point.head_energy_j)[head]) for point in table.points]
        for head in sorted({int(look) for look in other_looks if look < exit_index} | {exit_index})
    ]
    return [*segments, *heads]


def _hull(options: list[tuple[float, float]], start: tuple[float, float]) -> list[Step]:
    """Return the steps from `start` along the lower convex hull of (seconds, joules) to ever faster options."""
    steps: list[Step] = []
    latency_s, extra_j = start
    while faster := [option for option in options if option[0] < latency_s]:
        price, next_s, next_j = min(((j - extra_j) / (latency_s - s), s, j) for s, j in faster)
        steps.append(Step(price, latency_s - next_s))
        latency_s, extra_j = next_s, next_j
    return steps
