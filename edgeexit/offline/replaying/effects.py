"""What a governor's decisions come to on a board: distinct decisions by number."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeexit.offline.replaying.board import Board
from edgeexit.protocols import Decision

IntArray = NDArray[np.int64]


class Tables(NamedTuple):
    """What D decisions do at each of P operating points."""

    point: IntArray
    """(D, P) the operating point afterwards."""
    changes: IntArray
    """(D, P) how many clock domains change."""
    exits: IntArray
    """(D, 2) the first exit to look at and the deepest allowed."""


class Effects:
    """Numbers decisions, those being one that do the same, and knows what each comes to.

    Args:
        board: Whose clocks are set.
        exit_count: Exits of the network.
    """

    def __init__(self, board: Board, exit_count: int) -> None:
        self._board = board
        self._last_exit = exit_count - 1
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._points: list[list[int]] = []
        self._changes: list[list[int]] = []
        self._exits: list[tuple[int, int]] = []
        self._tables: Tables | None = None

    def number(self, decision: Decision) -> int:
        """Return the number of a decision, for what it does and not for its reason.

        Raises:
            DataError: If it asks for clocks that the board does not have.
        """
        key = (*decision.clocks.items(), decision.next_exit, decision.max_exit)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._numbers)
            effects = [self._board.apply(decision.clocks, point) for point in range(self._board.point_count)]
            self._points.append([point for point, _ in effects])
            self._changes.append([changes for _, changes in effects])
            deepest = self._last_exit if decision.max_exit is None else decision.max_exit
            self._exits.append((decision.next_exit or 0, deepest))
            self._tables = None
        return number

    @property
    def tables(self) -> Tables:
        """What the decisions so far do, by their numbers."""
        if self._tables is None:
            self._tables = Tables(np.array(self._points), np.array(self._changes), np.array(self._exits))
        return self._tables
