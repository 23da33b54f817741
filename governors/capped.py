"""How a governor wraps another one: it cuts the clocks that the other may choose from, and asks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from edgeexit.errors import OptionError
from edgeexit.protocols import (
    Clocks,
    CostTable,
    DecidesMany,
    Decision,
    Governor,
    Observation,
    PointCosts,
    PreparesAhead,
    SetsClocksAtRest,
)

if TYPE_CHECKING:
    from edgeexit.protocols import FloatArray64, IntArray

    DecideMany = Callable[[Observation, FloatArray64], tuple[Sequence[Decision], IntArray]]

Points = Mapping[str, tuple[int, ...]]


class Cap(NamedTuple):
    """Which clocks the inner governor may choose from."""

    operating_points: Points | None
    """None: all that are allowed anyway."""
    reason: str
    """Added to the inner governor's own."""

    def within(self, observation: Observation) -> Observation:
        """Return the observation as the inner governor shall see it."""
        points = self.operating_points
        return observation if points is None else replace(observation, operating_points=points)

    def hold(self, decision: Decision, clocks: Clocks) -> Decision:
        """Return the inner governor's decision; a clock that it leaves above the cap, or that is not known, comes down.

        Args:
            decision: The inner governor's.
            clocks: As they are set now.
        """
        held = dict(decision.clocks)
        for name, points in (self.operating_points or {}).items():
            if points and name not in held and clocks.get(name, inf) > points[-1]:
                held[name] = points[-1]
        return replace(decision, clocks=held, reason=f"{decision.reason}; {self.reason}")


class Capped:
    """A governor that asks another one within a cap.

    What else the other can do (prepare, decide many, choose clocks at rest) it can too.

    Args:
        kind: First part of the name: "power-cap" and "plan" make "power-cap(plan)".
        governor: The one that is asked.

    Raises:
        OptionError: If `governor` is none.
    """

    decide_many: DecideMany
    prepare: Callable[[CostTable, Points, bool], None]
    rest: Callable[[Observation], Decision]

    def __init__(self, kind: str, governor: Governor) -> None:
        if not isinstance(governor, Governor):
            raise OptionError(
                f"governor of governor {kind!r} must be a governor, as load_governor makes it, not {governor!r}"
            )
        self.name = f"{kind}({governor.name})"
        self._governor = governor
        if isinstance(governor, DecidesMany):
            self.decide_many = self._decide_many
        if isinstance(governor, PreparesAhead):
            self.prepare = self._prepare
        if isinstance(governor, SetsClocksAtRest):
            self.rest = self._rest

    def decide(self, observation: Observation) -> Decision:
        """Return what the inner governor decides within the cap."""
        cap = self.cap(observation)
        return cap.hold(self._governor.decide(cap.within(observation)), observation.clocks)

    def cap(self, observation: Observation) -> Cap:
        """Return the cap for an observation; its `now_s` may not count."""
        raise NotImplementedError

    def usual_points(self, cost_table: CostTable, operating_points: Points) -> Points:
        """Return the clocks that the inner governor will most often be asked with."""
        raise NotImplementedError

    def _decide_many(self, observation: Observation, now_s: FloatArray64) -> tuple[Sequence[Decision], IntArray]:
        assert isinstance(self._governor, DecidesMany)
        cap = self.cap(observation)
        decisions, which = self._governor.decide_many(cap.within(observation), now_s)
        return [cap.hold(decision, observation.clocks) for decision in decisions], which

    def _rest(self, observation: Observation) -> Decision:
        assert isinstance(self._governor, SetsClocksAtRest)
        cap = self.cap(observation)
        return cap.hold(self._governor.rest(cap.within(observation)), observation.clocks)

    def _prepare(self, cost_table: CostTable, operating_points: Points, looks_at_every_exit: bool) -> None:
        assert isinstance(self._governor, PreparesAhead)
        usual = self.usual_points(cost_table, operating_points)
        self._governor.prepare(cost_table, usual, looks_at_every_exit)


class Box(NamedTuple):
    """The operating points up to one of a cost table's, domain by domain."""

    operating_points: Points
    power_w: float
    """What a piece of work, or idling, draws at worst at any point in it."""


class Boxes:
    """The boxes of a cost table; they are worked out once for as long as the table and the allowed clocks stay."""

    __slots__ = ("_boxes", "_points", "_table")

    def __init__(self) -> None:
        self._table: CostTable | None = None
        self._points: Points = {}
        self._boxes: tuple[Box, ...] = ()

    def of(self, table: CostTable | None, operating_points: Points) -> tuple[Box, ...]:
        """Return a box for each allowed point of the table, slowest first; none if a power is not known."""
        if table is not self._table or operating_points != self._points:
            self._boxes = () if table is None else _find_boxes(table, operating_points)
            self._table, self._points = table, dict(operating_points)
        return self._boxes


def find_within(boxes: tuple[Box, ...], power_w: float) -> Box:
    """Return the fastest box that draws at most `power_w`, or the first if none does."""
    for box in reversed(boxes):
        if box.power_w <= power_w:
            return box
    return boxes[0]


def worst_power_w(point: PointCosts) -> float | None:
    """Return the highest mean power of a segment, a head or idling at an operating point; None if one is not known."""
    if point.idle_power_w is None or point.segment_energy_j is None or point.head_energy_j is None:
        return None
    energies_j = (*point.segment_energy_j, *point.head_energy_j)
    latencies_s = (*point.segment_latency_s, *point.head_latency_s)
    powers_w = [energy_j / latency_s for energy_j, latency_s in zip(energies_j, latencies_s, strict=True) if latency_s]
    return max(point.idle_power_w, *powers_w) if powers_w else point.idle_power_w


def _find_boxes(table: CostTable, operating_points: Points) -> tuple[Box, ...]:
    drawn = []
    for index in table.allowed_points(operating_points):
        power_w = worst_power_w(table.points[index])
        if power_w is None:
            return ()
        drawn.append((table.points[index].clocks, power_w))
    return tuple(
        Box(_cut(operating_points, corner), max(power_w for clocks, power_w in drawn if _is_within(clocks, corner)))
        for corner, _ in drawn
    )


def _is_within(clocks: Clocks, corner: Clocks) -> bool:
    return all(frequency_hz <= corner[name] for name, frequency_hz in clocks.items())


def _cut(operating_points: Points, corner: Clocks) -> Points:
    return {
        name: tuple([point for point in points if point <= corner.get(name, inf)])
        for name, points in operating_points.items()
    }
