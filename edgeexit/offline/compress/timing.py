"""Compare the times of networks that run in turn, so that what else the machine does hits all alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final

ENOUGH_S: Final = 2.0
"""Time after which no further round is begun, in seconds."""
LEAST_ROUNDS: Final = 7
MOST_ROUNDS: Final = 1000


def least_times(runs: Sequence[Callable[[], object]], *, enough_s: float = ENOUGH_S) -> tuple[float, ...]:
    """Run all in turn, round after round, and return the least time of each in seconds.

    The least, because everything else that the machine does only makes a run longer. A network that a round leaves
    out of the processor's cache is not favoured: the order turns around with every round.
    """
    least = [float("inf")] * len(runs)
    start_s, rounds = perf_counter(), 0
    while rounds < LEAST_ROUNDS or (rounds < MOST_ROUNDS and perf_counter() - start_s < enough_s):
        for index in range(len(runs))[:: 1 if rounds % 2 else -1]:
            begin_s = perf_counter()
            runs[index]()
            least[index] = min(least[index], perf_counter() - begin_s)
        rounds += 1
    return tuple(least)
