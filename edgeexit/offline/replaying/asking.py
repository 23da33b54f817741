"""Ask a governor for many samples at once, and never twice for what it need not know.

Samples with the same verdict, segments done and clocks differ for a governor in the time and the load alone. Since it
is pure, one that has not read the time, or the load, answers the same whatever it is: so it is watched what it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeexit.offline.replaying.board import Board
from edgeexit.offline.replaying.effects import Effects
from edgeexit.protocols import DecidesMany, Governor, Observation, Verdict

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

UNKNOWN = -1.0
"""Stands for a load that is not known."""
MOST_REMEMBERED = 200_000
"""Answers that are kept for each group, so that memory stays bounded."""


class WatchedObservation(Observation):
    """An observation that notes whether its time and its load have been read.

    Attributes:
        seen: Names of those of "now_s" and "load" that have been read.
    """

    __slots__ = ("seen",)
    seen: set[str]

    def __init__(self, **values: Any) -> None:
        object.__setattr__(self, "seen", set())
        super().__init__(**values)

    def __getattribute__(self, name: str) -> Any:
        if name in ("now_s", "load"):
            object.__getattribute__(self, "seen").add(name)
        return object.__getattribute__(self, name)


Observe = Callable[..., Observation]
"""From keyword arguments (class to make, now_s, segments_done, clocks, load and what the verdict says)."""


class _Group:
    """Samples that a governor can tell apart by time and load alone, and what it has answered."""

    __slots__ = ("always", "by_load", "by_time", "one_by_one", "values")

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self.always: int | None = None
        """The decision whatever time and load are."""
        self.by_time: dict[float, int | None] = {}
        """The decision whatever the load is; None where it depends on the load."""
        self.by_load: dict[tuple[float, float], int] = {}
        self.one_by_one = False
        """True if the governor's answers for many times depend on the load."""

    def learn(self, now_s: float, load: float, answer: int, *, depends_on_load: bool) -> None:
        """Remember an answer."""
        self.by_time[now_s] = None if depends_on_load else answer
        if depends_on_load:
            self.by_load[now_s, load] = answer


class Asker:
    """Asks a governor, and keeps its distinct decisions by number.

    Args:
        governor: Pure.
        board: Whose clocks it sets.
        constants: What all observations have in common.
        verdicts: The list of verdicts that numbers refer to; it may grow.
        remembers: Keep every answer: pays where the same times come again, that is without noise.
    """

    def __init__(
        self,
        governor: Governor,
        board: Board,
        constants: dict[str, Any],
        verdicts: Sequence[Verdict],
        *,
        remembers: bool,
    ) -> None:
        self._governor = governor
        self._many = governor if isinstance(governor, DecidesMany) else None
        self._board = board
        self._constants = constants
        self._verdicts = verdicts
        self._remembers = remembers
        self._effects = Effects(board, int(constants["exit_count"]))
        self._groups: dict[int, _Group] = {}

    def ask(
        self, verdict: IntArray, done: IntArray, point: IntArray, now_s: FloatArray, load: FloatArray
    ) -> tuple[IntArray, IntArray, IntArray]:
        """Ask for N samples.

        Args:
            verdict: (N,) numbers of verdicts.
            done: (N,) segments done.
            point: (N,) operating points.
            now_s: (N,) time since the request.
            load: (N,) `UNKNOWN` where it is not known.

        Returns:
            (N,) the operating points after the decision, (N,) how many clock domains changed, and (N, 2) the first
            exit to look at and the deepest allowed.
        """
        board = self._board
        key = (verdict * (board.segment_count + 1) + done) * board.point_count + point
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        starts = np.flatnonzero(np.diff(ordered, prepend=-1))
        number = np.empty(len(key), dtype=np.int64)
        for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(key)], strict=True):
            members = order[start:end]
            number[members] = self._ask_group(int(ordered[start]), now_s[members], load[members])
        tables = self._effects.tables
        return tables.point[number, point], tables.changes[number, point], tables.exits[number]

    def _ask_group(self, key: int, now_s: FloatArray, load: FloatArray) -> IntArray | int:
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = self._begin_group(key, float(now_s[0]), float(load[0]))
        if group.always is not None:
            return group.always
        if not self._remembers:
            return self._ask_anew(group, now_s, load)
        self._learn(group, now_s, load)
        by_time, by_load = group.by_time, group.by_load
        answers = [
            by_load[now, busy] if (number := by_time[now]) is None else number
            for now, busy in zip(now_s.tolist(), load.tolist(), strict=True)
        ]
        return np.array(answers)

    def _begin_group(self, key: int, now_s: float, load: float) -> _Group:
        rest, point = divmod(key, self._board.point_count)
        number, done = divmod(rest, self._board.segment_count + 1)
        verdict = self._verdicts[number]
        group = _Group(
            {
                **self._constants,
                "segments_done": done,
                "next_exit": verdict.next_exit,
                "exit_distribution": verdict.distribution,
                "clocks": self._board.table.points[point].clocks,
            }
        )
        observation = WatchedObservation(**group.values, now_s=now_s, load=_load(load))
        answer = self._effects.number(self._governor.decide(observation))
        if not observation.seen:
            group.always = answer
        else:
            group.learn(now_s, load, answer, depends_on_load="load" in observation.seen)
        return group

    def _learn(self, group: _Group, now_s: FloatArray, load: FloatArray) -> None:
        """Ask for the times and loads that have not come up before."""
        by_time, by_load = group.by_time, group.by_load
        if len(by_time) + len(by_load) > MOST_REMEMBERED:
            by_time.clear()
            by_load.clear()
        new = [now for now in dict.fromkeys(now_s.tolist()) if now not in by_time]
        if len(new) > 1 and (answers := self._ask_many(group, np.array(new), load[0])) is not None:
            by_time.update(zip(new, answers.tolist(), strict=True))
            return
        for now, busy in zip(now_s.tolist(), load.tolist(), strict=True):
            if by_time.get(now, -1) is None:
                if (now, busy) not in by_load:
                    by_load[now, busy] = self._ask_one(group, now, busy)
            elif now not in by_time:
                observation = WatchedObservation(**group.values, now_s=now, load=_load(busy))
                answer = self._effects.number(self._governor.decide(observation))
                group.learn(now, busy, answer, depends_on_load="load" in observation.seen)

    def _ask_anew(self, group: _Group, now_s: FloatArray, load: FloatArray) -> IntArray:
        if len(now_s) > 1 and (answers := self._ask_many(group, now_s, load[0])) is not None:
            return answers
        return np.array(
            [self._ask_one(group, now, busy) for now, busy in zip(now_s.tolist(), load.tolist(), strict=True)]
        )

    def _ask_many(self, group: _Group, now_s: FloatArray, load: float) -> IntArray | None:
        """Ask for many times at once; None if the governor cannot, or looks at the load."""
        if self._many is None or group.one_by_one:
            return None
        observation = WatchedObservation(**group.values, now_s=float(now_s[0]), load=_load(float(load)))
        decisions, index = self._many.decide_many(observation, now_s)
        if "load" in observation.seen:
            group.one_by_one = True
            return None
        return np.array([self._effects.number(decision) for decision in decisions])[index]

    def _ask_one(self, group: _Group, now_s: float, load: float) -> int:
        return self._effects.number(self._governor.decide(Observation(**group.values, now_s=now_s, load=_load(load))))


def _load(value: float) -> float | None:
    return None if value == UNKNOWN else value
