"""The last minute of answers and refusals, for the dashboard and `edgeexit top`."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from edgeexit.daemon.contracts import InferAnswer, InferOptions

WINDOW_S: Final = 60.0
MOST: Final = 20_000
"""So many answers are kept at most; of more in a minute the last ones."""
QUANTILES: Final = (0.5, 0.95, 0.99)


class _Answered(NamedTuple):
    at_s: float
    model: str
    exits: tuple[int, ...]
    latency_s: float
    met: bool | None
    energy_j: float | None


class LastMinute:
    """An observer that remembers a minute.

    Args:
        now_s: Tells the time, in seconds.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._start_s = now_s()
        self._answers: deque[_Answered] = deque(maxlen=MOST)
        self._refusals: deque[tuple[float, str]] = deque(maxlen=MOST)

    def answered(self, answer: InferAnswer, options: InferOptions) -> None:
        """Remember an answer."""
        exits = tuple([result.exit_index for result in answer.results])
        energies = [result.energy_j for result in answer.results]
        energy_j = None if None in energies or not energies else max(e for e in energies if e is not None)
        if energy_j is not None and len(energies) > 1:  # of a batch it is the energy of all up to the last answer
            energy_j /= len(energies)
        self._answers.append(
            _Answered(self._now_s(), answer.model, exits, answer.latency_s, answer.deadline_met, energy_j)
        )

    def refused(self, model: str, error: Exception) -> None:
        """Remember a refusal."""
        self._refusals.append((self._now_s(), type(error).__name__))

    def summary(self) -> dict[str, Any]:
        """Return what the last minute was like, as JSON takes it; None is not known."""
        now_s = self._now_s()
        self._forget(now_s - WINDOW_S)
        latencies = sorted(each.latency_s for each in self._answers)
        energies = [each.energy_j for each in self._answers if each.energy_j is not None]
        exits: dict[str, Counter[int]] = {}
        for each in self._answers:
            exits.setdefault(each.model, Counter()).update(each.exits)
        window_s = max(min(WINDOW_S, now_s - self._start_s), 1.0)
        return {
            "answered": len(latencies),
            "rate_hz": len(latencies) / window_s,
            "refused": dict(Counter(name for _, name in self._refusals)),
            "latency_s": {f"p{100 * q:g}": _quantile(latencies, q) for q in QUANTILES},
            "deadlines_met": sum(each.met is True for each in self._answers),
            "deadlines_missed": sum(each.met is False for each in self._answers),
            "energy_per_sample_j": sum(energies) / len(energies) if energies else None,
            "exits": {model: {str(e): counts[e] for e in sorted(counts)} for model, counts in exits.items()},
        }

    def _forget(self, before_s: float) -> None:
        while self._answers and self._answers[0].at_s < before_s:
            self._answers.popleft()
        while self._refusals and self._refusals[0][0] < before_s:
            self._refusals.popleft()


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    """Return the least of the figures that `share` of them do not exceed; None of none."""
    if not ordered:
        return None
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
