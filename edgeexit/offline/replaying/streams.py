"""Independent streams of inferences in lockstep: one inference of each at a time.

Time runs as on the simulated board, for every sample by itself: the governor is asked, clocks that change cost the
switch, segments and head run, the exit rule judges, and between inferences the board idles. See
`edgeexit.runtime.loop` and `edgeexit.device.simulated`, which do the same with the real network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeexit.offline.replaying.asking import UNKNOWN, Asker
from edgeexit.offline.replaying.board import Board, RailPower
from edgeexit.offline.replaying.judging import judge_after
from edgeexit.offline.replaying.paths import Paths
from edgeexit.offline.replaying.resting import Resting
from edgeexit.offline.replaying.timeline import Timeline
from edgeexit.protocols import Verdict

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
NO_LOOK = -1


@dataclass(slots=True)
class Turn:
    """One inference in each of N streams; every array is (N,), and filled while it runs."""

    sample: IntArray
    now_s: FloatArray
    """Since the request."""
    point: IntArray
    verdict: IntArray
    next_exit: IntArray
    start_s: FloatArray
    done: IntArray
    newest: IntArray
    looks: IntArray
    cut: BoolArray
    """Not let go as deep as the rule wanted."""
    skipped: BoolArray
    """Sent on without a look that the rule wanted."""
    switches: IntArray
    work_j: FloatArray
    switch_j: FloatArray
    idle_j: FloatArray
    head_macs: FloatArray
    rail_j: dict[str, FloatArray]
    latency_s: FloatArray


class OffPaths:
    """What the rule says of samples that a governor has led astray: cut short, or sent on without a look.

    Args:
        paths: The ways of samples that go as the rule wants.
    """

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self.verdicts: list[Verdict] = list(paths.verdicts)
        self._numbers = {verdict: number for number, verdict in enumerate(self.verdicts)}
        self._known: dict[tuple[int, ...], int] = {}

    def judge(self, sample: int, exits: list[int]) -> int:
        """Return the number of the verdict on a sample after looks at `exits`."""
        key = (sample, *exits)
        if key not in self._known:
            verdict = judge_after(self._paths.rule, self._paths.trace, sample, exits)
            number = self._numbers.setdefault(verdict, len(self.verdicts))
            if number == len(self.verdicts):
                self.verdicts.append(verdict)
            self._known[key] = number
        return self._known[key]


class Streams:
    """The boards of N streams, and what runs on them.

    Args:
        paths: What the exit rule does.
        off_paths: The same for samples that a governor leads astray.
        board: Costs.
        asker: Asks the governor.
        count: N.
        start_point: The operating point before the first inference.
        rails: Power of single rails.
        rest_point: The operating point for idling, in place of what `resting` says.
        resting: Asks the governor for the clocks while a board idles; None leaves them.
        head_macs: (E,) multiply-accumulates of the heads.
    """

    def __init__(
        self,
        paths: Paths,
        off_paths: OffPaths,
        board: Board,
        asker: Asker,
        count: int,
        *,
        start_point: int,
        rails: Mapping[str, RailPower],
        rest_point: int | None,
        resting: Resting | None,
        head_macs: FloatArray,
    ) -> None:
        self._paths = paths
        self._off_paths = off_paths
        self._board = board
        self._asker = asker
        self._rails = rails
        self._rest_point = rest_point
        self._resting = resting
        self._head_macs = head_macs
        self._last = paths.exit_count - 1
        self._point = np.full(count, start_point)
        self._wait_s = np.zeros(count)
        self._since_start_s = np.full(count, np.nan)
        """From the start of the inference before to the next request; nan before the first."""
        self._busy_s = np.zeros(count)
        self.seconds = np.zeros(board.point_count)
        """How long all streams have been at each operating point."""

    def forget_warm_up(self) -> None:
        """Begin to count: clocks and loads stay as they are, but no request waits."""
        self.seconds[:] = 0.0
        self._wait_s[:] = 0.0

    def run(
        self, sample: IntArray, gap_s: FloatArray, factors: FloatArray | None, timeline: Timeline | None = None
    ) -> Turn:
        """Run one inference in each of the first N streams.

        Args:
            sample: (N,) indices into the trace.
            gap_s: (N,) time from these requests to the next.
            factors: (N, S + E) of the latencies of segments and heads; None: all are 1.
            timeline: Where the first stream's steps are noted.
        """
        turn = self._begin(sample)
        load = self._load(turn.now_s)
        active: IntArray = np.arange(len(sample))
        if timeline is not None:
            timeline.begin(float(turn.now_s[0]))
        off: dict[int, list[int]] = {}
        while len(active):
            noted = timeline if timeline is not None and active[0] == 0 else None
            going, target = self._set_clocks(turn, active, load[active], noted)
            self._work(turn, going, target, factors, noted)
            active = self._judge(turn, going, target, off)
            load[:] = UNKNOWN
        self._end(turn, gap_s, timeline)
        return turn

    def _begin(self, sample: IntArray) -> Turn:
        count, paths = len(sample), self._paths
        wait_s = self._wait_s[:count].copy()
        return Turn(
            sample=sample,
            now_s=wait_s,
            point=self._point[:count].copy(),
            verdict=np.zeros(count, dtype=np.int64),
            next_exit=np.full(count, paths.verdicts[0].next_exit),
            start_s=wait_s.copy(),
            done=np.zeros(count, dtype=np.int64),
            newest=np.full(count, NO_LOOK),
            looks=np.zeros(count, dtype=np.int64),
            cut=np.zeros(count, dtype=np.bool_),
            skipped=np.zeros(count, dtype=np.bool_),
            switches=np.zeros(count, dtype=np.int64),
            work_j=np.zeros(count),
            switch_j=np.zeros(count),
            idle_j=np.zeros(count),
            head_macs=np.zeros(count),
            rail_j={name: np.zeros(count) for name in self._rails},
            latency_s=wait_s,
        )

    def _load(self, now_s: FloatArray) -> FloatArray:
        """Return (N,) the busy share since the inference before began; `UNKNOWN` where there is no telling."""
        elapsed_s = self._since_start_s[: len(now_s)] + now_s
        with np.errstate(divide="ignore", invalid="ignore"):
            load = np.minimum(1.0, self._busy_s[: len(now_s)] / elapsed_s)
        return np.where(elapsed_s > 0.0, load, UNKNOWN)

    def _set_clocks(
        self, turn: Turn, active: IntArray, load: FloatArray, noted: Timeline | None
    ) -> tuple[IntArray, IntArray]:
        """Let the governor decide; return which streams run on, and where they look next."""
        point, changes, exits = self._asker.ask(
            turn.verdict[active], turn.done[active], turn.point[active], turn.now_s[active], load
        )
        self._switch(turn, active, point, changes)
        if noted is not None:
            noted.switch(int(point[0]), int(changes[0]))
        next_exit = turn.next_exit[active]
        target = np.minimum(np.maximum(next_exit, exits[:, 0]), exits[:, 1])
        turn.cut[active] |= target < next_exit
        turn.skipped[active] |= target > next_exit
        runs_on = target > turn.newest[active]
        return active[runs_on], target[runs_on]

    def _switch(self, turn: Turn, streams: IntArray, point: IntArray, changes: IntArray) -> None:
        switch_s = changes.astype(np.float64) * self._board.switch_s
        turn.point[streams] = point
        turn.now_s[streams] += switch_s
        turn.switches[streams] += changes
        turn.switch_j[streams] += changes * self._board.switch_j
        self._spend(turn, streams, point, switch_s)

    def _spend(self, turn: Turn, streams: IntArray, point: IntArray, busy_s: FloatArray) -> None:
        """Count busy time for the rails and the residency; while its clock changes a rail draws what it then draws."""
        self.seconds += np.bincount(point, busy_s, minlength=len(self.seconds))
        for name, rail in self._rails.items():
            turn.rail_j[name][streams] += rail.busy_w[point] * busy_s

    def _work(
        self, turn: Turn, streams: IntArray, target: IntArray, factors: FloatArray | None, noted: Timeline | None
    ) -> None:
        """Run the segments up to the exits `target`, and their heads."""
        board, point, done = self._board, turn.point[streams], turn.done[streams]
        end = np.maximum(board.exit_segments[target] + 1, done)
        if factors is None:
            work_s = board.segments_s[point, end] - board.segments_s[point, done] + board.head_s[point, target]
            work_j = board.segments_j[point, end] - board.segments_j[point, done] + board.head_j[point, target]
        else:
            drawn = factors[streams]
            segments = np.arange(board.segment_count)
            runs = (segments >= done[:, np.newaxis]) & (segments < end[:, np.newaxis])
            weights = np.where(runs, drawn[:, : board.segment_count], 0.0)
            head = drawn[np.arange(len(streams)), board.segment_count + target]
            work_s = (weights * board.segment_s[point]).sum(axis=1) + head * board.head_s[point, target]
            work_j = (weights * board.segment_j[point]).sum(axis=1) + head * board.head_j[point, target]
        if noted is not None and len(streams) and streams[0] == 0:
            noted.work(
                int(point[0]), int(done[0]), int(end[0]), int(target[0]), None if factors is None else factors[0]
            )
        turn.now_s[streams] += work_s
        turn.work_j[streams] += work_j
        turn.done[streams] = end
        turn.newest[streams] = target
        turn.looks[streams] += 1
        turn.head_macs[streams] += self._head_macs[target]
        self._spend(turn, streams, point, work_s)

    def _judge(self, turn: Turn, streams: IntArray, target: IntArray, off: dict[int, list[int]]) -> IntArray:
        """Let the exit rule judge the newest looks; return the streams that go on."""
        paths, ask, sample = self._paths, turn.looks[streams], turn.sample[streams]
        astray = turn.cut[streams] | turn.skipped[streams]
        goes_on = ~astray & (ask < paths.asks[sample])
        going = streams[goes_on]
        turn.verdict[going] = paths.verdict[sample[goes_on], ask[goes_on]]
        turn.next_exit[going] = paths.next_exit[sample[goes_on], ask[goes_on]]
        for place in np.flatnonzero(astray & (target < self._last)):
            goes_on[place] = self._judge_astray(turn, int(streams[place]), off)
        return streams[goes_on]

    def _judge_astray(self, turn: Turn, stream: int, off: dict[int, list[int]]) -> bool:
        """Ask the rule itself about a sample that a governor led astray, and return whether it goes on."""
        sample = int(turn.sample[stream])
        looked = off.setdefault(stream, self._paths.next_exit[sample, : int(turn.looks[stream]) - 1].tolist())
        looked.append(int(turn.newest[stream]))
        number = self._off_paths.judge(sample, looked)
        verdict = self._off_paths.verdicts[number]
        turn.verdict[stream], turn.next_exit[stream] = number, verdict.next_exit
        return not verdict.stop

    def _end(self, turn: Turn, gap_s: FloatArray, timeline: Timeline | None) -> None:
        """Idle until the next request, at the clocks for idling if there are any."""
        count = len(gap_s)
        turn.latency_s = turn.now_s.copy()
        self._rest(turn, np.flatnonzero(turn.now_s < gap_s), timeline)
        idle_s = np.maximum(gap_s - turn.now_s, 0.0)
        turn.idle_j = self._board.idle_w[turn.point] * idle_s
        self.seconds += np.bincount(turn.point, idle_s, minlength=len(self.seconds))
        for name, rail in self._rails.items():
            turn.rail_j[name] += rail.idle_w * idle_s
        if timeline is not None:
            timeline.end(float(gap_s[0]), int(turn.point[0]))
        self._point[:count] = turn.point
        self._wait_s[:count] = np.maximum(turn.now_s - gap_s, 0.0)
        self._since_start_s[:count] = gap_s - turn.start_s
        self._busy_s[:count] = turn.latency_s - turn.start_s

    def _rest(self, turn: Turn, idle: IntArray, timeline: Timeline | None) -> None:
        """Set the clocks until the next request; if that takes until after it, that request waits."""
        if not len(idle):
            return
        if self._rest_point is not None:
            changes = np.array([self._changes_to(at, self._rest_point) for at in range(self._board.point_count)])
            point: IntArray = np.full(len(idle), self._rest_point)
            changed: IntArray = changes[turn.point[idle]]
        elif self._resting is not None:
            point, changed = self._resting.ask(turn.done[idle], turn.newest[idle], turn.point[idle], turn.now_s[idle])
        else:
            return
        self._switch(turn, idle, point, changed)
        if timeline is not None and idle[0] == 0:
            timeline.switch(int(point[0]), int(changed[0]))

    def _changes_to(self, point: int, other: int) -> int:
        return self._board.apply(self._board.table.points[other].clocks, point)[1]
