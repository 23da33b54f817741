"""What a board does in the first few inferences, step by step."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeexit.offline.replaying.board import Board, clocks_text
from edgeexit.offline.replaying.results import TimelineStep

FloatArray = NDArray[np.float64]


class Timeline:
    """Notes the steps of one stream.

    Args:
        board: Its costs.
        inferences: How many are noted.
    """

    def __init__(self, board: Board, inferences: int) -> None:
        self._board = board
        self._left = inferences
        self._steps: list[TimelineStep] = []
        self._request_s = 0.0
        self._now_s = 0.0

    @property
    def steps(self) -> tuple[TimelineStep, ...]:
        """The steps so far."""
        return tuple(self._steps)

    @property
    def full(self) -> bool:
        """True once all inferences are noted."""
        return self._left <= 0

    def begin(self, wait_s: float) -> None:
        """An inference begins `wait_s` after its request."""
        self._now_s = self._request_s + wait_s

    def switch(self, point: int, changes: int) -> None:
        """Clocks change."""
        board = self._board
        power_w = board.switch_j / board.switch_s if board.switch_s > 0.0 else 0.0
        if changes:
            self._add("switch", changes * board.switch_s, point, power_w)

    def work(self, point: int, done: int, end: int, exit_index: int, factors: FloatArray | None) -> None:
        """Segments `done` to `end` run, and the head of `exit_index`; `factors` (S + E,) are the latencies'."""
        board = self._board
        for segment in range(done, end):
            factor = 1.0 if factors is None else float(factors[segment])
            self._piece(f"segment {segment}", board.segment_s[point, segment], board.segment_j, point, segment, factor)
        factor = 1.0 if factors is None else float(factors[board.segment_count + exit_index])
        self._piece(f"head {exit_index}", board.head_s[point, exit_index], board.head_j, point, exit_index, factor)

    def end(self, gap_s: float, point: int) -> None:
        """The inference has ended; the next request comes `gap_s` after this one."""
        self._request_s += gap_s
        self._add("idle", self._request_s - self._now_s, point, float(self._board.idle_w[point]))
        self._left -= 1

    def _piece(
        self, what: str, latency_s: float, energies_j: FloatArray, point: int, index: int, factor: float
    ) -> None:
        if latency_s > 0.0:
            self._add(what, float(latency_s) * factor, point, float(energies_j[point, index] / latency_s))

    def _add(self, what: str, duration_s: float, point: int, power_w: float) -> None:
        if duration_s > 0.0:
            clocks = clocks_text(self._board.table.points[point].clocks)
            end_s = self._now_s + duration_s
            self._steps.append(TimelineStep(self._now_s, end_s, clocks, what, power_w))
            self._now_s = end_s
