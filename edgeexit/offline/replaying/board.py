"""A board as arrays: what pieces cost at each operating point, and what a request for clocks comes to."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgeexit.device.profile import DeviceProfile
from edgeexit.errors import DataError, OptionError
from edgeexit.protocols import Clocks, CostTable

FloatArray = NDArray[np.float64]
_Figure = TypeVar("_Figure")


@dataclass(frozen=True)
class RailPower:
    """What one power rail of a board draws.

    Attributes:
        busy_w: (P,) while it works, at each operating point of the cost table.
        idle_w: While it idles.
    """

    busy_w: FloatArray
    idle_w: float


def rails_of(profile: DeviceProfile) -> dict[str, RailPower]:
    """Return the rails whose power a profile gives at every operating point and idle.

    Raises:
        ProfileError: If the profile has no model.
    """
    model = profile.require_model()
    points = model.operating_points
    return {
        name: RailPower(np.array([point.rail_power_w[name] for point in points]), idle_w)
        for name, idle_w in model.idle_rail_power_w.items()
        if all(name in point.rail_power_w for point in points)
    }


def clocks_text(clocks: Clocks) -> str:
    """Return clocks as text: "gpu 726.75 MHz"; "as they are" where none can be set."""
    return ", ".join(f"{name} {frequency_hz / 1e6:.8g} MHz" for name, frequency_hz in clocks.items()) or "as they are"


class Board:
    """The figures of a cost table over P operating points, S segments and E exits.

    Args:
        table: Costs, energies included.
        operating_points: The frequencies that may be set; those of the table by default.

    Attributes:
        table: As given.
        operating_points: By clock domain, ascending.
        segment_s, segment_j: (P, S).
        head_s, head_j: (P, E).
        segments_s, segments_j: (P, S + 1) running sums.
        idle_w: (P,).
        exit_segments: (E,).

    Raises:
        OptionError: If the table has no energy figures.
    """

    def __init__(self, table: CostTable, operating_points: Mapping[str, tuple[int, ...]] | None = None) -> None:
        points = table.points
        self.table = table
        self.operating_points = frequencies_of(table) if operating_points is None else dict(operating_points)
        self.switch_s = table.switch_latency_s
        self.switch_j = _known(table.switch_energy_j)
        self.segment_s = np.array([point.segment_latency_s for point in points])
        self.segment_j = np.array([_known(point.segment_energy_j) for point in points])
        self.head_s = np.array([point.head_latency_s for point in points])
        self.head_j = np.array([_known(point.head_energy_j) for point in points])
        self.segments_s = np.cumsum(np.pad(self.segment_s, ((0, 0), (1, 0))), axis=1)
        self.segments_j = np.cumsum(np.pad(self.segment_j, ((0, 0), (1, 0))), axis=1)
        self.idle_w = np.array([_known(point.idle_power_w) for point in points])
        self.exit_segments = np.array(table.exit_segments)
        self._indexes = {tuple(sorted(point.clocks.items())): index for index, point in enumerate(points)}

    @property
    def point_count(self) -> int:
        """P."""
        return len(self.table.points)

    @property
    def segment_count(self) -> int:
        """S."""
        return int(self.segment_s.shape[1])

    @property
    def lowest_point(self) -> int:
        """The operating point where every clock is at its lowest: an idle board starts there."""
        return self._index({name: points[0] for name, points in self.operating_points.items()})

    @property
    def highest_point(self) -> int:
        """The operating point where every clock is at its highest."""
        return self._index({name: points[-1] for name, points in self.operating_points.items()})

    @property
    def full_latency_s(self) -> float:
        """All segments and the last head at the highest clocks."""
        return self.table.work(self.highest_point, 0, len(self.exit_segments) - 1).latency_s

    def apply(self, clocks: Clocks, point: int) -> tuple[int, int]:
        """Return the operating point after a request for `clocks` at `point`, and how many domains changed.

        A frequency between two operating points becomes the upper one, as on the simulated board.

        Raises:
            DataError: If the table has no such operating point.
        """
        before = dict(self.table.points[point].clocks)
        after = before | {name: self._round_up(name, wanted_hz) for name, wanted_hz in clocks.items()}
        return self._index(after), sum(after[name] != before[name] for name in before)

    def _round_up(self, name: str, wanted_hz: int) -> int:
        if name not in self.operating_points:
            raise DataError(f"a governor asks for clock {name!r}; the board has {', '.join(self.operating_points)}")
        points = self.operating_points[name]
        return points[min(bisect_left(points, wanted_hz), len(points) - 1)]

    def _index(self, clocks: Clocks) -> int:
        try:
            return self._indexes[tuple(sorted(clocks.items()))]
        except KeyError as error:
            raise DataError(f"the cost table has no operating point {dict(clocks)}") from error


def frequencies_of(table: CostTable) -> dict[str, tuple[int, ...]]:
    """Return the frequencies of each clock domain in a cost table, ascending."""
    names = table.points[0].clocks
    return {name: tuple(sorted({point.clocks[name] for point in table.points})) for name in names}


def _known(figure: _Figure | None) -> _Figure:
    if figure is None:
        raise OptionError("a replay needs a cost table with energy figures: measure the board with a power meter")
    return figure
