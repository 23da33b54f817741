"""The last minute of answers and refusals, for the dashboard and `edgeexit top`.

What happens is summed second by second, and latencies by their size: memory, and the time that a summary takes, are
those of a minute and not of the requests in it.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from edgeexit.daemon.seeing.reasons import reason_of

if TYPE_CHECKING:
    from edgeexit.daemon.contracts import InferAnswer, InferOptions

SECONDS: Final = 60
"""So many are kept, the present one among them."""
QUANTILES: Final = (0.5, 0.95, 0.99)
STEP: Final = 1.02
"""From one size of latencies to the next: a quantile is right to 1 %."""
LEAST_S: Final = 1e-6
"""What takes less counts as this."""
_LOG_STEP: Final = math.log(STEP)


@dataclass(slots=True)
class _Second:
    at: int
    answered: int = 0
    met: int = 0
    missed: int = 0
    energy_j: float = 0.0
    energy_samples: int = 0
    sizes: Counter[int] = field(default_factory=Counter)
    """Size of a latency, see `_size` -> answers."""
    exits: dict[str, Counter[int]] = field(default_factory=dict)
    """Model -> exit index -> samples."""
    refused: Counter[str] = field(default_factory=Counter)


class LastMinute:
    """An observer that remembers a minute.

    Args:
        now_s: Tells the time, in seconds.
    """

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._start_s = now_s()
        self._seconds: deque[_Second] = deque()

    def answered(self, answer: InferAnswer, options: InferOptions) -> None:
        """Remember an answer."""
        second = self._present()
        second.answered += 1
        second.met += answer.deadline_met is True
        second.missed += answer.deadline_met is False
        second.sizes[_size(answer.latency_s)] += 1
        exits = second.exits.get(answer.model)
        if exits is None:
            exits = second.exits[answer.model] = Counter()
        for result in answer.results:
            exits[result.exit_index] += 1
        energies = [result.energy_j for result in answer.results if result.energy_j is not None]
        if energies and len(energies) == len(answer.results):
            second.energy_j += max(energies)  # of a batch each figure is that of all up to its own answer
            second.energy_samples += len(energies)

    def refused(self, model: str, error: Exception) -> None:
        """Remember a refusal."""
        self._present().refused[reason_of(error)] += 1

    def summary(self) -> dict[str, Any]:
        """Return what the last minute was like, as JSON takes it; None is not known."""
        now_s = self._now_s()
        self._forget(math.floor(now_s))
        total = _Second(0)
        for second in self._seconds:
            _add(total, second)
        first_s = max(math.floor(now_s) - SECONDS + 1, self._start_s)
        return {
            "answered": total.answered,
            "rate_hz": total.answered / max(now_s - first_s, 1.0),
            "refused": dict(total.refused),
            "latency_s": {f"p{100 * q:g}": _quantile(total.sizes, q) for q in QUANTILES},
            "deadlines_met": total.met,
            "deadlines_missed": total.missed,
            "energy_per_sample_j": total.energy_j / total.energy_samples if total.energy_samples else None,
            "exits": {model: {str(e): counts[e] for e in sorted(counts)} for model, counts in total.exits.items()},
        }

    def _present(self) -> _Second:
        at = math.floor(self._now_s())
        seconds = self._seconds
        if not seconds or seconds[-1].at != at:
            self._forget(at)
            seconds.append(_Second(at))
        return seconds[-1]

    def _forget(self, at: int) -> None:
        while self._seconds and self._seconds[0].at <= at - SECONDS:
            self._seconds.popleft()


def _add(total: _Second, second: _Second) -> None:
    total.answered += second.answered
    total.met += second.met
    total.missed += second.missed
    total.energy_j += second.energy_j
    total.energy_samples += second.energy_samples
    total.sizes.update(second.sizes)
    total.refused.update(second.refused)
    for model, exits in second.exits.items():
        total.exits.setdefault(model, Counter()).update(exits)


def _size(latency_s: float) -> int:
    """Return the nearest whole number of steps from `LEAST_S` up to a latency."""
    return round(math.log(max(latency_s, LEAST_S) / LEAST_S) / _LOG_STEP)


def _quantile(sizes: Counter[int], share: float) -> float | None:
    """Return the least latency that `share` of them do not exceed, to a step; None of none."""
    left = math.ceil(share * sizes.total())
    for size in sorted(sizes):
        left -= sizes[size]
        if left <= 0:
            return float(LEAST_S * STEP**size)
    return None
