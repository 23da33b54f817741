"""Ask a governor for the clocks between inferences: once the answers of many samples stand."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeexit.offline.replaying.asking import MOST_REMEMBERED, WatchedObservation
from edgeexit.offline.replaying.board import Board
from edgeexit.offline.replaying.effects import Effects
from edgeexit.protocols import Observation, SetsClocksAtRest

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class _Group:
    """Samples that differ for a governor in the time of their answers alone, and what it has said."""

    __slots__ = ("always", "by_time", "values")

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self.always: int | None = None
        """The decision whatever the time is."""
        self.by_time: dict[float, int] = {}


class Resting:
    """Asks a governor what the clocks shall be until the next request, and never twice for what it need not know.

    A governor that has not read the time answers the same whatever it is. One that has is asked for every time: how its
    answer depends on it is its own affair.

    Args:
        governor: Pure.
        board: Whose clocks it sets.
        constants: What all observations have in common.
        remembers: Keep every answer: pays where the same times come again, that is without noise.
    """

    def __init__(self, governor: SetsClocksAtRest, board: Board, constants: dict[str, Any], *, remembers: bool) -> None:
        self._governor = governor
        self._board = board
        self._constants = constants
        self._remembers = remembers
        self._exit_count = int(constants["exit_count"])
        self._effects = Effects(board, self._exit_count)
        self._groups: dict[int, _Group] = {}

    def ask(self, done: IntArray, newest: IntArray, point: IntArray, now_s: FloatArray) -> tuple[IntArray, IntArray]:
        """Ask for N samples whose answers stand.

        Args:
            done: (N,) segments that have run.
            newest: (N,) exits that have answered.
            point: (N,) operating points.
            now_s: (N,) times of the answers since their requests.

        Returns:
            (N,) the operating points until the next request, and (N,) how many clock domains change for them.
        """
        key = (done * self._exit_count + newest) * self._board.point_count + point
        number = np.empty(len(key), dtype=np.int64)
        found, which = np.unique(key, return_inverse=True)
        for position, each in enumerate(found.tolist()):
            members = np.flatnonzero(which.reshape(-1) == position)
            number[members] = self._ask_group(each, now_s[members])
        tables = self._effects.tables
        return tables.point[number, point], tables.changes[number, point]

    def _ask_group(self, key: int, now_s: FloatArray) -> IntArray | int:
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = self._begin_group(key, float(now_s[0]))
        if group.always is not None:
            return group.always
        if not self._remembers:
            return np.array([self._ask_one(group, now) for now in now_s.tolist()])
        if len(group.by_time) > MOST_REMEMBERED:
            group.by_time.clear()
        times = now_s.tolist()
        for now in times:
            if now not in group.by_time:
                group.by_time[now] = self._ask_one(group, now)
        return np.array([group.by_time[now] for now in times])

    def _begin_group(self, key: int, now_s: float) -> _Group:
        rest, point = divmod(key, self._board.point_count)
        done, newest = divmod(rest, self._exit_count)
        group = _Group(
            {
                **self._constants,
                "segments_done": done,
                "next_exit": min(newest + 1, self._exit_count - 1),
                "exit_distribution": None,
                "clocks": self._board.table.points[point].clocks,
            }
        )
        observation = WatchedObservation(**group.values, now_s=now_s)
        answer = self._effects.number(self._governor.rest(observation))
        if "now_s" not in observation.seen:
            group.always = answer
        return group

    def _ask_one(self, group: _Group, now_s: float) -> int:
        return self._effects.number(self._governor.rest(Observation(**group.values, now_s=now_s)))
