"""Sequences of operating points that are worth a thought: what the governor `plan` chooses among.

While nothing new is learnt about a sample, the best a governor can do is to fix in advance at which operating point
each stretch runs, if it runs: all that it will know there is that no exit has answered yet. A stretch is the segments
up to an exit, and its head. So a plan is a sequence of points, one a stretch, and there is no need to search for it in
the hot path: the sequences that are best for some exit distribution and some time left are few. They are found here,
once for a cost table, by backward dynamic programming for a number of typical distributions at once::

    V_k(c, t) = min_p  S(c, p) + E_k(p) + V_{k+1}(p, t - T_k(p) - [c != p] T_switch)

with the energy E beyond idling of stretch k, weighted by the probability that it runs, its worst-case time T, and the
switching energy S where the point changes (infinite where the time does not suffice). That is the discrete form of
PACE (Lorch and Smith, SIGMETRICS 2001), where the best speed rises with the work done as (1 - F(w))^(-1/3); measured
tables take the place of the cubic law. The grid of time is only for finding sequences: the governor judges them by
their exact times and energies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgeexit.protocols import CostTable

    Array = NDArray[Any]

GRID: Final = 160
"""Steps of the grid of time; it reaches a little further than the plan that draws least takes."""
SPAN: Final = 1.05
BUDGETS: Final = 40
"""Times left from which sequences are read off."""


class Stretches(NamedTuple):
    """Costs of a table's K stretches at P operating points; energies are 0 where the table has none."""

    segment_s: Array
    """(K, P) the segments from the exit before to this one."""
    segment_j: Array
    head_s: Array
    """(K, P) the exit's head."""
    head_j: Array
    idle_w: Array
    """(P,)."""
    switch_s: float
    switch_j: float

    @classmethod
    def of(cls, table: CostTable, points: Sequence[int]) -> Stretches:
        """Add up the segments of `table` between exits, at the points with these indices."""
        starts = [0, *(segment + 1 for segment in table.exit_segments[:-1])]
        bounds = list(zip(starts, (segment + 1 for segment in table.exit_segments), strict=True))
        costs = [table.points[point] for point in points]
        nothing = (0.0,) * len(table.points[0].segment_latency_s)
        known = table.has_energy

        def by_stretch(rows: list[tuple[float, ...]]) -> Array:
            return np.array([[sum(row[start:end]) for row in rows] for start, end in bounds])

        return cls(
            by_stretch([cost.segment_latency_s for cost in costs]),
            by_stretch([cost.segment_energy_j or nothing if known else nothing for cost in costs]),
            np.array([cost.head_latency_s for cost in costs]).T,
            np.array([cost.head_energy_j or nothing if known else [0.0] * len(bounds) for cost in costs]).T,
            np.array([cost.idle_power_w or 0.0 if known else 0.0 for cost in costs]),
            table.switch_latency_s,
            (table.switch_energy_j or 0.0) if known else 0.0,
        )

    @property
    def exits(self) -> int:
        """K, the number of exits."""
        return len(self.segment_s)

    @property
    def points(self) -> int:
        """P."""
        return len(self.idle_w)


def find_sequences(stretches: Stretches, *, looks_at_every_exit: bool) -> tuple[Array, ...]:
    """Return for each exit e the (N, K - e) sequences of points for the stretches from e on, without repetition.

    Among them are all constant ones, and the rest of every sequence that begins before e: a plan that was in time can
    be gone on with.
    """
    found: list[set[bytes]] = [
        {bytes([point]) * (stretches.exits - first) for point in range(stretches.points)}
        for first in range(stretches.exits)
    ]
    for first, rows in enumerate(_best_sequences(stretches, looks_at_every_exit)):
        found[first].update(row.tobytes() for row in rows)
    for first in range(stretches.exits - 1):
        found[first + 1].update(row[1:] for row in found[first])
    return tuple(np.frombuffer(b"".join(sorted(rows)), dtype=np.uint8).reshape(len(rows), -1) for rows in found)


def typical_distributions(exit_count: int) -> Array:
    """Return (Q, K) distributions that differ in where they lie and in how sure they are."""
    exits = np.arange(exit_count)
    rows = [np.full(exit_count, 1.0 / exit_count)]
    for likely in sorted({round(place) for place in np.linspace(0, exit_count - 1, 7)}):
        rows += [(1.0 - sure) / exit_count + sure * (exits == likely) for sure in (0.98, 0.7)]
    for stop in (0.3, 0.6, 0.85):
        early = stop * (1.0 - stop) ** exits
        rows.append(early / early.sum())
    return np.array(rows)


class _Stage(NamedTuple):
    """What is best from one stretch on, for each distribution q, point c before it, and time left b."""

    following: Array
    """(Q, P, B) the point to go on at."""
    start: Array
    """(Q, B) the point to begin at if switching to it is free."""
    possible: Array
    """(Q, B) whether the time suffices."""


def _best_sequences(stretches: Stretches, every: bool) -> list[Array]:
    """Return for each stretch the (M, K - k) sequences that are best from there on for some distribution and time."""
    times_s = stretches.segment_s + stretches.head_s
    extra_j = stretches.segment_j + stretches.head_j - stretches.idle_w * times_s
    frugal_s = np.take_along_axis(times_s, extra_j.argmin(axis=1)[:, np.newaxis], axis=1).sum()
    step_s = SPAN * float(max(frugal_s, 1.1 * times_s.min(axis=1).sum()) + 2.0 * stretches.switch_s) / GRID
    if not step_s > 0.0:
        return []
    steps = np.rint(times_s / step_s).astype(np.intp)
    switch_steps = round(stretches.switch_s / step_s)
    stages = _solve(stretches, steps, switch_steps, step_s, every)
    return [_read_off(first, stages, steps, switch_steps) for first in range(stretches.exits)]


def _solve(stretches: Stretches, steps: Array, switch_steps: int, step_s: float, every: bool) -> list[_Stage]:
    answers = typical_distributions(stretches.exits)
    reached = answers[:, ::-1].cumsum(axis=1)[:, ::-1]
    heads = reached if every else answers
    idle_w = float(stretches.idle_w.mean())
    segment_j = stretches.segment_j - idle_w * stretches.segment_s
    head_j = stretches.head_j - idle_w * stretches.head_s
    costs = reached[:, :, np.newaxis] * segment_j + heads[:, :, np.newaxis] * head_j
    switch_j = stretches.switch_j - idle_w * stretches.switch_s
    extra_w, left_s = stretches.idle_w - idle_w, step_s * np.arange(GRID + 1)
    ahead: Array = np.zeros((len(answers), stretches.points, GRID + 1))
    stages = []
    for k in range(stretches.exits - 1, -1, -1):
        run = np.full_like(ahead, np.inf)
        for point, step in enumerate(steps[k]):
            if step <= GRID:
                run[:, point, step:] = ahead[:, point, : GRID + 1 - step] + costs[:, k, point, np.newaxis]
                if extra_w[point]:
                    run[:, point, step:] += answers[:, k, np.newaxis] * extra_w[point] * left_s[: GRID + 1 - step]
        start = run.argmin(axis=1)
        best = np.take_along_axis(run, start[:, np.newaxis], axis=1)[:, 0]
        switched, target = np.full_like(best, np.inf), np.zeros_like(start)
        if switch_steps <= GRID:
            target[:, switch_steps:] = start[:, : GRID + 1 - switch_steps]
            switched[:, switch_steps:] = best[:, : GRID + 1 - switch_steps]
        switched += reached[:, k, np.newaxis] * switch_j
        stays = run <= switched[:, np.newaxis]
        following = np.where(stays, np.arange(stretches.points)[:, np.newaxis], target[:, np.newaxis])
        stages.append(_Stage(following.astype(np.uint8), start.astype(np.uint8), np.isfinite(best)))
        ahead = np.where(stays, run, switched[:, np.newaxis])
    return stages[::-1]


def _read_off(first: int, stages: list[_Stage], steps: Array, switch_steps: int) -> Array:
    """Return (M, K - first) uint8, distinct sequences; those that the grid's rounding breaks are left out.

    They begin at the point that suits best, or at any that is not worth leaving if the clock is there already.
    """
    stage = stages[first]
    budgets = np.unique(np.linspace(0, GRID, BUDGETS).astype(np.intp))
    which, begun = np.nonzero(stage.possible[:, budgets])
    fewer = budgets[::2]
    points = np.arange(stage.following.shape[1], dtype=np.uint8)
    stays = (stage.following[:, :, fewer] == points[:, np.newaxis]) & stage.possible[:, np.newaxis, fewer]
    stays &= stage.start[:, np.newaxis, fewer] != points[:, np.newaxis]
    kept, clock, column = np.nonzero(stays)
    left = np.concatenate([budgets[begun], fewer[column]])
    point = np.concatenate([stage.start[which, budgets[begun]], points[clock]])
    which = np.concatenate([which, kept])
    chosen = [point]
    left = left - steps[first, point]
    for k in range(first + 1, len(stages)):
        following = stages[k].following[which, point, np.maximum(left, 0)]
        left = left - switch_steps * (following != point) - steps[k, following]
        point = following
        chosen.append(point)
    rows = np.stack(chosen, axis=1)[left >= 0]
    return np.ascontiguousarray(rows)
