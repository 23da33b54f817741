"""Which operating points of a board are measured, and in which order they stand in a cost table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import prod
from typing import Final, NamedTuple

from edgeexit.errors import OptionError
from edgeexit.protocols import Clocks

MAX_GRID: Final = 64
"""Points that are measured at most as a full grid of all clock domains: five minutes at five seconds each."""


class Plan(NamedTuple):
    """The operating points to measure, from low clocks to high ones."""

    points: tuple[Clocks, ...]
    is_grid: bool
    """True if every combination is in it; False if each domain is moved alone, the others at their highest."""


def plan_points(operating_points_hz: Mapping[str, Sequence[int]], count: int | None = None) -> Plan:
    """Choose the operating points to measure.

    All combinations of all domains, if there are no more than `MAX_GRID`. Otherwise each domain in turn, with the
    others at their highest frequency: that is where a latency counts, and combinations of low clocks are what is left
    out. Without a domain there is one point, the clocks as they are.

    Args:
        operating_points_hz: For each clock domain its frequencies, ascending.
        count: Take so many frequencies of each domain, evenly spread with the lowest and the highest, 1 the highest
            alone; None takes all.

    Raises:
        OptionError: If `count` is below 1.
    """
    if count is not None and count < 1:
        raise OptionError(f"the number of operating points must be 1 or more, not {count}")
    chosen = {name: thin(points, count) for name, points in operating_points_hz.items()}
    if prod(len(points) for points in chosen.values()) <= MAX_GRID:
        return Plan(tuple(dict(zip(chosen, point, strict=True)) for point in product(*chosen.values())), True)
    highest = {name: points[-1] for name, points in chosen.items()}
    alone = [{**highest, name: hz} for name, points in chosen.items() for hz in points[:-1]]
    return Plan((*alone, highest), False)


def thin(points: Sequence[int], count: int | None) -> tuple[int, ...]:
    """Return `count` of the points, evenly spread, both ends among them; the last for 1, all for None."""
    last = len(points) - 1
    if count is None or count > last:
        return tuple(points)
    if count == 1:
        return (points[last],)
    return tuple(points[round(index * last / (count - 1))] for index in range(count))


def slowest_first(latencies_s: Sequence[tuple[Clocks, float]]) -> list[int]:
    """Return the order of measured points from the slowest to the fastest: their indexes.

    A point whose clocks are all as high as another's comes after it, also where chance had it measured slower: each
    counts with the lowest latency of all points that are not above it in any clock. So for one domain the order is that
    of its frequency.

    Args:
        latencies_s: Clocks and latency of each point.
    """

    def place(index: int) -> tuple[float, tuple[int, ...]]:
        clocks = latencies_s[index][0]
        below = (s for other, s in latencies_s if all(other[name] <= hz for name, hz in clocks.items()))
        return -min(below), tuple(clocks.values())

    return sorted(range(len(latencies_s)), key=place)
