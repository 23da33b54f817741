"""Exit rules over all samples of a trace at once, as calibration needs them to try thousands of settings.

Each rule has one implementation that counts, its own `judge`: `edgeexit.offline.replay` runs that, what is chosen
here is measured there, and tests hold the two equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeexit.offline.fit import NO_LOOK, ForecastTable
from edgeexit.offline.replay import Costs
from edgeexit.offline.traces import BoolArray, IntArray

FloatArray = NDArray[np.float64]


class Outcomes(NamedTuple):
    """What became of each of S samples."""

    right: FloatArray
    """(S,) how probably the answer is right; 0 or 1 where that was counted."""
    cost: FloatArray
    """(S,) as a share of the full network, heads included."""


class ForecastSettings(NamedTuple):
    """Parameters of `edgeexit.exits.forecast.Forecast` but for the predictor."""

    stop: tuple[float | None, ...]
    reach: float
    abstain: float
    start: int
    cap: int

    @property
    def looked_at(self) -> list[int]:
        """The exits that may be looked at."""
        return [e for e in range(self.start, self.cap) if self.stop[e] is not None] + [self.cap]


def look_in_turn(stops: BoolArray, looked_at: Sequence[int], right: NDArray[Any], costs: Costs) -> Outcomes:
    """Run a rule that looks at some exits one after the other.

    Args:
        stops: (S, E) whether the rule would stop there.
        looked_at: Exit indices, ascending; the last of them always answers.
        right: (S, E) whether, or how probably, each exit's answer is right.
        costs: Of the network.
    """
    seen = list(looked_at)
    there = stops[:, seen].copy()
    there[:, -1] = True
    turn = there.argmax(axis=1)
    cost = (costs.depth[seen] + np.cumsum(costs.head[seen])) / costs.full
    return Outcomes(_right_at(right, np.array(seen)[turn]), cost[turn])


def growing_activations(logits: NDArray[np.float32], rounds: int) -> FloatArray:
    """Return (S, E, rounds + 1) the largest absolute logits after 0, 1, ... `rounds` convolutions with [1, 1, 1]."""
    values = logits.astype(np.float64)
    largest = [np.abs(values).max(axis=2)]
    for _ in range(rounds):
        padded = np.pad(values, ((0, 0), (0, 0), (1, 1)))
        values = padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]
        largest.append(np.abs(values).max(axis=2))
    return np.stack(largest, axis=2)


def run_predictive_exit(
    activations: FloatArray, thresholds: FloatArray, start: int, right: NDArray[Any], costs: Costs
) -> Outcomes:
    """Run the rule of the Predictive Exit paper.

    Args:
        activations: From `growing_activations`.
        thresholds: (E,) beta * T.
        start: The first exit to look at.
        right: (S, E) whether, or how probably, each exit's answer is right.
        costs: Of the network.
    """
    last = right.shape[1] - 1
    at = np.full(len(right), start)
    answered = np.zeros(len(right), dtype=np.bool_)
    heads = np.zeros(len(right))
    for exit_index in range(start, last + 1):
        here = np.flatnonzero((at == exit_index) & ~answered)
        heads[here] += costs.head[exit_index]
        stops = activations[here, exit_index, 0] >= thresholds[exit_index]
        answered[here] = stops | (exit_index == last)
        rounds = min(activations.shape[2] - 1, last - exit_index)
        if rounds:
            going = here[~stops]
            ahead = thresholds[exit_index + 1 : exit_index + 1 + rounds]
            enough = activations[going, exit_index, 1 : rounds + 1] >= ahead
            enough[:, -1] = True
            at[going] = exit_index + 1 + enough.argmax(axis=1)
    return Outcomes(_right_at(right, at), (costs.depth[at] + heads) / costs.full)


def run_forecast(
    table: ForecastTable, settings: ForecastSettings, right: NDArray[Any], costs: Costs, samples: IntArray | None = None
) -> Outcomes:
    """Run the rule `forecast`.

    Args:
        table: Of the rule's predictor and a trace.
        settings: All other parameters.
        right: (S, E) whether, or how probably, each exit's answer is right.
        costs: Of the network.
        samples: Which samples of the trace to run; all by default.
    """
    samples = np.arange(len(right)) if samples is None else samples
    seen = np.array(settings.looked_at)
    at = np.full(len(samples), seen[0])
    before = np.full(len(samples), NO_LOOK)
    heads = np.zeros(len(samples))
    for exit_index in seen:
        here = np.flatnonzero((at == exit_index) & (before < exit_index))
        heads[here] += costs.head[exit_index]
        later = seen[seen > exit_index]
        if not len(later):
            break
        for earlier in np.unique(before[here]):
            group = here[before[here] == earlier]
            settled = table.distribution(int(earlier), int(exit_index))[samples[group]]
            going = settled[:, exit_index] < (settings.stop[exit_index] or 0.0)
            at[group[going]] = _look_ahead(settled[going], int(exit_index), later, settings)
        before[here] = exit_index
    return Outcomes(np.asarray(right[samples, at], dtype=np.float64), (costs.depth[at] + heads) / costs.full)


def _look_ahead(settled: FloatArray, exit_index: int, later: IntArray, settings: ForecastSettings) -> IntArray:
    """Return (S,) where samples look next that have not settled at `exit_index`."""
    reached = np.cumsum(settled[:, exit_index + 1 :], axis=1)[:, later - exit_index - 1]
    total = settled[:, exit_index + 1 :].sum(axis=1)
    reached[:, -1] = total
    enough = reached >= settings.reach * total[:, np.newaxis]
    enough[:, -1] = True
    unsure = np.diff(reached, axis=1, prepend=0.0).max(axis=1) < settings.abstain * total
    enough[unsure, 0] = True
    return np.asarray(later[enough.argmax(axis=1)])


def _right_at(right: NDArray[Any], exit_index: IntArray) -> FloatArray:
    return np.asarray(np.take_along_axis(right, exit_index[:, np.newaxis], axis=1)[:, 0], dtype=np.float64)
