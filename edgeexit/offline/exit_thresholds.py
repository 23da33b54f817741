"""Choose a threshold of its own for each exit, and which exits to look at, by exact coordinate descent.

What is minimised is a price: mean cost as a share of the full network, plus `error_price` times the error rate. One
exit at a time gets its best threshold while all others stand. Sorted by score, the samples that reach the exit show
the price of every threshold at once, so that a step costs one sort and no trial.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgeexit.offline.replay import Costs
from edgeexit.offline.traces import BoolArray, IntArray

FloatArray = NDArray[np.float64]

GRID: Final[FloatArray] = np.round(
    np.concatenate([[0.0], np.linspace(0.1, 0.9, 41), 1 - np.geomspace(0.095, 1e-4, 40)]), 4
)
"""Thresholds that may be chosen: scores are probabilities, and most of them are close to 1."""

SWEEPS: Final = 12
"""More passes over all exits than a descent was seen to need."""


@dataclass(frozen=True, slots=True)
class Samples:
    """What choosing thresholds needs to know of S samples.

    Attributes:
        right: (S, E) whether, or how probably, each exit is right.
        scores: From (E,) "which exits are looked at" to (S, E) scores; a sample stops where its score is high enough.
        costs: Of the network.
    """

    right: NDArray[Any]
    scores: Callable[[BoolArray], FloatArray]
    costs: Costs

    def take(self, indices: IntArray) -> Samples:
        """Return the samples at `indices`."""
        return Samples(self.right[indices], lambda looked_at: self.scores(looked_at)[indices], self.costs)


@dataclass(frozen=True, slots=True)
class ExitThresholds:
    """A rule that looks at some exits in turn.

    Attributes:
        thresholds: (E,) scores at which a sample stops; the last does not count.
        looked_at: (E,) the exits that are looked at; the last is.
    """

    thresholds: FloatArray
    looked_at: BoolArray

    def as_list(self) -> list[float | None]:
        """Return the thresholds as exit rules take them: None for exits not to look at, and 0 for the last."""
        numbers = [float(t) if seen else None for t, seen in zip(self.thresholds, self.looked_at, strict=True)]
        return [*numbers[:-1], 0.0]

    @property
    def exits_reached(self) -> list[int]:
        """The exits that a sample can come to, and the last."""
        last = len(self.looked_at) - 1
        always = np.flatnonzero(self.looked_at & (self.thresholds <= 0.0))
        end = min([int(e) + 1 for e in always[:1]], default=last)
        return [*np.flatnonzero(self.looked_at[: min(end, last)]).tolist(), last]

    def tightened(self, factor: float) -> ExitThresholds:
        """Return thresholds whose distance from 1 is `factor` times as large."""
        return ExitThresholds(np.round(1 - factor * (1 - self.thresholds), 6), self.looked_at)

    def run(self, samples: Samples) -> tuple[FloatArray, FloatArray]:
        """Return (S,) whether, or how probably, each answer is right, and (S,) its cost in full networks."""
        stops = (samples.scores(self.looked_at) >= self.thresholds) & self.looked_at
        stops[:, -1] = True
        answer = stops.argmax(axis=1)
        right = np.take_along_axis(samples.right, answer[:, np.newaxis], 1)[:, 0]
        return np.asarray(right, dtype=np.float64), self._cost(samples.costs)[answer]

    def price(self, samples: Samples, error_price: float) -> float:
        """Return the mean price of a sample."""
        right, cost = self.run(samples)
        return float(cost.mean() + error_price * (1 - right.mean()))

    def _cost(self, costs: Costs) -> FloatArray:
        """Return (E,) what an answer at each exit costs: the segments, and the heads looked at on the way."""
        return (costs.depth + np.cumsum(costs.head * self.looked_at)) / costs.full


def look_everywhere(exit_count: int, threshold: float = 1.0) -> ExitThresholds:
    """Return one threshold for all exits."""
    return ExitThresholds(np.full(exit_count, threshold), np.ones(exit_count, dtype=np.bool_))


def descend(
    samples: Samples, error_price: float, start: ExitThresholds, *, may_leave_out: bool = True
) -> ExitThresholds:
    """Return thresholds that no change at a single exit makes better.

    Args:
        samples: To choose on.
        error_price: What one error costs, in full networks.
        start: Where to begin.
        may_leave_out: False if every exit has to be looked at.
    """
    best, price = start, start.price(samples, error_price)
    for _ in range(SWEEPS):
        before = price
        for exit_index in range(len(start.thresholds) - 1):
            candidates = [_best_threshold(samples, error_price, best, exit_index)]
            if may_leave_out and best.looked_at[exit_index]:
                candidates.append(_without(best, exit_index))
            for candidate in candidates:
                candidate_price = candidate.price(samples, error_price)
                if candidate_price < price - _LEAST_GAIN:
                    best, price = candidate, candidate_price
        if price >= before:
            break
    return best


def descend_along(
    samples: Samples, error_prices: Sequence[float], exit_count: int, *, may_leave_out: bool = True
) -> list[ExitThresholds]:
    """Return the best thresholds found for each price, each from where the one before ended and from the beginning."""
    found: list[ExitThresholds] = []
    for error_price in error_prices:
        starts = [look_everywhere(exit_count), *found[-1:]]
        ends = [descend(samples, error_price, start, may_leave_out=may_leave_out) for start in starts]
        found.append(min(ends, key=lambda end: end.price(samples, error_price)))
    return found


_LEAST_GAIN: Final = 1e-9


def _without(rule: ExitThresholds, exit_index: int) -> ExitThresholds:
    looked_at = rule.looked_at.copy()
    looked_at[exit_index] = False
    return ExitThresholds(rule.thresholds, looked_at)


def _best_threshold(samples: Samples, error_price: float, rule: ExitThresholds, exit_index: int) -> ExitThresholds:
    """Return `rule` with `exit_index` looked at and the best threshold of `GRID` there."""
    looked_at = rule.looked_at.copy()
    looked_at[exit_index] = True
    trial = ExitThresholds(rule.thresholds, looked_at)
    scores = samples.scores(looked_at)
    stops = (scores >= rule.thresholds) & looked_at
    stops[:, -1] = True
    reaches = ~stops[:, :exit_index].any(axis=1)
    stops, scores, right = stops[reaches], scores[reaches, exit_index], samples.right[reaches]
    otherwise = exit_index + 1 + stops[:, exit_index + 1 :].argmax(axis=1)
    cost = trial._cost(samples.costs)
    right_otherwise = np.take_along_axis(right, otherwise[:, np.newaxis], 1)[:, 0]
    gain = cost[otherwise] - cost[exit_index] + error_price * (right[:, exit_index] * 1.0 - right_otherwise)
    order = np.argsort(-scores)
    gains = np.concatenate([[0.0], np.cumsum(gain[order])])
    stopping = np.searchsorted(-scores[order], -GRID, side="right")
    thresholds = rule.thresholds.copy()
    thresholds[exit_index] = GRID[gains[stopping].argmax()]
    return ExitThresholds(thresholds, looked_at)
