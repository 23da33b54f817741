"""What placing exits has to weigh: where each sample could leave, what that costs, and how often it is wrong.

All costs are parts of the full network's cost, which is that of all segments and the network's own head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgeexit.errors import DataError, OptionError

if TYPE_CHECKING:
    from edgeexit.offline.traces import BoolArray, IntArray, Trace

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Costs:
    """What E candidates and, last, the network's own output cost, in parts of the full network.

    Attributes:
        segment: (E,) from one candidate to the next.
        head: (E,) of each head.
        depth: (E,) all segments up to each.
    """

    segment: FloatArray
    head: FloatArray
    depth: FloatArray

    @classmethod
    def of(cls, segment_costs: Sequence[float], head_costs: Sequence[float], exit_count: int) -> Costs:
        """Bring costs of any unit into parts of the full network.

        Raises:
            DataError: If they are not one for each exit, negative, not finite, or 0 altogether.
        """
        segment, head = (np.asarray(row, dtype=np.float64) for row in (segment_costs, head_costs))
        if segment.shape != (exit_count,) or head.shape != (exit_count,):
            raise DataError(
                f"{segment.size} segment costs and {head.size} head costs were given for {exit_count} exits, "
                "the network's own output included: one of each is needed for each exit"
            )
        full = float(segment.sum() + head[-1])
        if not np.isfinite([segment, head]).all() or min(segment.min(), head.min()) < 0 or full <= 0:
            raise DataError("costs must be finite, not below 0, and not all 0")
        return cls(segment / full, head / full, segment.cumsum() / full)


@dataclass(frozen=True)
class Problem:
    """A placement problem for one price of an error.

    A sample is ready from the first candidate on where its confidence reaches the candidate's threshold: it leaves at
    the first exit at or behind that. So what it costs depends on the exits around that place alone.

    Attributes:
        trace: What all candidates say about S samples; the last exit is the network's own output.
        costs: Of the pieces.
        error_price: What one error costs, in full networks.
        thresholds: (E,) of each candidate; infinite where nobody may leave, and the last 0.
    """

    trace: Trace
    costs: Costs
    error_price: float
    thresholds: FloatArray

    @cached_property
    def ready(self) -> IntArray:
        """(S,) the first candidate at which the sample may leave."""
        return np.asarray(self._may_leave.argmax(axis=1))

    @cached_property
    def reach(self) -> FloatArray:
        """(E + 1,) share of the samples that are not ready before each candidate; 0 behind the last."""
        counts = np.bincount(self.ready, minlength=self.trace.exit_count)
        return np.concatenate([[1.0], 1.0 - counts.cumsum() / len(self.trace)])

    @cached_property
    def prices(self) -> FloatArray:
        """(E + 1, E) price of the step from exit ``i - 1`` (0: the input) to exit ``j``, per sample.

        Those that are not ready at the first run the segments between and the second's head; those that leave there
        may be wrong. Infinite where ``j <= i - 1``.
        """
        count = self.trace.exit_count
        before = np.concatenate([[0.0], self.costs.depth])
        run = self.costs.depth[np.newaxis, :] - before[:, np.newaxis] + self.costs.head[np.newaxis, :]
        steps = self.reach[:, np.newaxis] * run + self.error_price * self._errors()
        return np.where(np.arange(count + 1)[:, np.newaxis] <= np.arange(count), steps, np.inf)

    def price(self, kept: Sequence[int]) -> float:
        """Return the price per sample with exits at `kept` and the network's own output."""
        places = [-1, *kept, self.trace.exit_count - 1]
        return float(sum(self.prices[i + 1, j] for i, j in pairwise(places)))

    def run(self, kept: Sequence[int]) -> tuple[FloatArray, float, float]:
        """Let every sample leave at the first exit of `kept` whose own threshold it reaches.

        Returns:
            The share that leaves at each exit of `kept` and at the network's own output; the share of right answers;
            and the mean cost.
        """
        places = np.array([*kept, self.trace.exit_count - 1])
        leaves = self._may_leave[:, places].argmax(axis=1)
        exit_index = places[leaves]
        correct = self.trace.correct[np.arange(len(self.trace)), exit_index]
        cost = (self.costs.depth[places] + self.costs.head[places].cumsum())[leaves]
        return np.bincount(leaves, minlength=len(places)) / len(self.trace), float(correct.mean()), float(cost.mean())

    @cached_property
    def _may_leave(self) -> BoolArray:
        return np.asarray(self.trace.confidence >= self.thresholds)

    def _errors(self) -> FloatArray:
        """(E + 1, E) share of the samples that are ready from candidate i on and not behind j, and wrong at j."""
        count = self.trace.exit_count
        wrong = np.zeros((count + 1, count))
        np.add.at(wrong, self.ready, ~self.trace.correct)
        behind = wrong[::-1].cumsum(axis=0)[::-1]
        return np.asarray((behind - behind[np.arange(1, count + 1), np.arange(count)]) / len(self.trace))


def make_problem(trace: Trace, costs: Costs, error_price: float) -> Problem:
    """Choose the threshold of each candidate from the last to the first, for one price of an error.

    At each, the samples of the highest confidence leave, as many as make the price least; for the others it goes on
    as the thresholds behind say. A candidate's head is counted for those alone that leave there: which exits there
    will be is not known yet.

    Args:
        trace: Of all candidates.
        costs: Of the pieces.
        error_price: What one error costs, in full networks.
    """
    stop = costs.depth + costs.head + error_price * ~trace.correct
    thresholds = np.zeros(trace.exit_count)
    otherwise = stop[:, -1]
    for candidate in range(trace.exit_count - 2, -1, -1):
        confidence = trace.confidence[:, candidate]
        thresholds[candidate] = _best_threshold(confidence, otherwise - stop[:, candidate])
        otherwise = np.where(confidence >= thresholds[candidate], stop[:, candidate], otherwise)
    return Problem(trace, costs, error_price, thresholds)


def check_options(exit_count: int, allowed_drop: float, count: int | None) -> None:
    """Check what a placement is asked for.

    Raises:
        OptionError: If `count` is not 1 to the number of candidates, or `allowed_drop` not 0 to 100 points.
    """
    if not 0 <= allowed_drop <= 100:
        raise OptionError(f"the allowed drop must be 0 to 100 percentage points, not {allowed_drop}")
    if count is not None and not 1 <= count <= exit_count - 1:
        raise OptionError(f"{count} early exits were asked for, there are {exit_count - 1} places for one")


def _best_threshold(scores: NDArray[np.float32], gain: FloatArray) -> float:
    """Return the score from which on leaving gains most altogether; infinity where no sample should leave."""
    order = np.argsort(-scores, kind="stable")
    gains = gain[order].cumsum()
    falling = scores[order]
    last_of_equals = np.append(falling[1:] < falling[:-1], True)
    best = int(np.where(last_of_equals, gains, -np.inf).argmax())
    return float(falling[best]) if gains[best] > 0 else float("inf")
