"""From what became of each inference to the figures of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeexit.offline.bootstrap import Estimate
from edgeexit.offline.replaying.board import Board, clocks_text
from edgeexit.offline.replaying.noise import Noise
from edgeexit.offline.replaying.paths import Paths
from edgeexit.offline.replaying.results import GovernorRun, SampleArrays, TimelineStep
from edgeexit.offline.replaying.streams import Turn
from edgeexit.protocols import Workload

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ROUNDING = 1.0 + 1e-9
"""How much longer than its deadline a latency may be and still keep it: as in a session."""
BINS = 60
"""Bars of a histogram."""
MOST_DEADLINES = 4.0
NORMAL_95 = 1.959964
"""97.5 % quantile of the standard normal distribution."""


class Tally:
    """Collects turns.

    Args:
        paths: What the rule does.
        board: Its costs.
        workload: MACs of the pieces.
        order: (N,) the samples in the order of the turns.
        rails: Names of the rails.
    """

    def __init__(self, paths: Paths, board: Board, workload: Workload, order: IntArray, rails: tuple[str, ...]) -> None:
        self._paths = paths
        self._board = board
        self._depth_macs = np.cumsum([0.0, *workload.segment_macs])
        self._full_macs = workload.whole_macs
        self._order = order
        self._filled = 0
        self._ints = {name: np.zeros(len(order), dtype=np.int64) for name in ("newest", "looks", "point")}
        floats = ("latency_s", "work_j", "switch_j", "idle_j")
        self._floats = {name: np.zeros(len(order)) for name in floats}
        self._rails = {name: np.zeros(len(order)) for name in rails}
        self._macs = 0.0
        self._cut = 0
        self._skipped = 0
        self._switches = 0

    def add(self, turn: Turn) -> None:
        """Count the inferences of a turn."""
        part = slice(self._filled, self._filled + len(turn.sample))
        self._filled = part.stop
        for name, array in (self._ints | self._floats).items():
            array[part] = getattr(turn, name)
        for name, energy_j in self._rails.items():
            energy_j[part] = turn.rail_j[name]
        self._macs += float((self._depth_macs[turn.done] + turn.head_macs).sum())
        self._cut += int(turn.cut.sum())
        self._skipped += int(turn.skipped.sum())
        self._switches += int(turn.switches.sum())

    def sum_up(
        self,
        *,
        rule: str,
        governor: str,
        deadline_s: float | None,
        arrivals: str,
        noise: Noise | None,
        guard: float,
        seconds: FloatArray,
        timeline: tuple[TimelineStep, ...],
    ) -> GovernorRun:
        """Return the figures of the run."""
        samples = self._samples()
        latency_s = samples.latency_s
        factor = None if deadline_s is None else deadline_s / self._board.full_latency_s
        parts = {"work": "work_j", "switches": "switch_j", "idle": "idle_j"}
        return GovernorRun(
            rule=rule,
            governor=governor,
            deadline_factor=None if factor is None else round(factor, 9),
            deadline_s=deadline_s,
            arrivals=arrivals,
            inferences=len(self._order),
            accuracy=self._estimate(samples.correct),
            energy_j=self._estimate(samples.energy_j),
            energy_parts_j={name: float(self._floats[key].mean()) for name, key in parts.items()},
            rail_energy_j={name: self._estimate(energy_j) for name, energy_j in self._rails.items()},
            latency_s=_spread(latency_s),
            latency_histogram=_histogram(latency_s, deadline_s),
            misses=0 if deadline_s is None else int((latency_s > deadline_s * ROUNDING).sum()),
            cut_short=self._cut,
            sent_on=self._skipped,
            exit_counts=tuple(np.bincount(samples.exit_index, minlength=self._paths.exit_count).tolist()),
            looks=float(samples.looks.mean()),
            macs_share=self._macs / len(self._order) / self._full_macs,
            switches=self._switches / len(self._order),
            residency=self._residency(seconds),
            noise=None if noise is None else noise.text,
            guard=guard,
            timeline=timeline,
            samples=samples,
        )

    def _samples(self) -> SampleArrays:
        sample, exit_index = self._order, self._ints["newest"]
        return SampleArrays(
            sample=sample,
            exit_index=exit_index,
            looks=self._ints["looks"],
            correct=self._paths.correct_at(sample, exit_index),
            latency_s=self._floats["latency_s"],
            energy_j=self._floats["work_j"] + self._floats["switch_j"] + self._floats["idle_j"],
            point=self._ints["point"],
        )

    def _estimate(self, values: NDArray[Any]) -> Estimate:
        """Return the mean over the inferences and its normal interval.

        Inferences of the same sample are alike, so the interval is that of the mean over samples.
        """
        return mean_over_samples(values, self._order)

    def _residency(self, seconds: FloatArray) -> Mapping[str, float]:
        total = float(seconds.sum()) or 1.0
        names = [clocks_text(point.clocks) for point in self._board.table.points]
        return {name: float(spent_s) / total for name, spent_s in zip(names, seconds, strict=True) if spent_s > 0.0}


def mean_over_samples(values: NDArray[Any], sample: IntArray) -> Estimate:
    """Return the mean of `values` (N,) and its 95 % interval, by the normal distribution of the mean over samples.

    With M_i the sum over the inferences of sample i less their number times the mean, the variance of the mean is
    sum M_i^2 / N^2: the usual estimate for clusters (Cochran, Sampling Techniques, 1977, section 9A.1).

    Args:
        values: A figure of each inference.
        sample: (N,) whose inference it is.
    """
    mean = float(values.mean(dtype=np.float64))
    residuals = np.bincount(sample, values - mean)
    half = NORMAL_95 * float(np.sqrt((residuals**2).sum())) / len(values)
    return Estimate(mean, mean - half, mean + half)


def _spread(latency_s: FloatArray) -> dict[str, float]:
    p50, p95, p99 = np.quantile(latency_s, (0.5, 0.95, 0.99)).tolist()
    return {"mean": float(latency_s.mean()), "p50": p50, "p95": p95, "p99": p99, "max": float(latency_s.max())}


def _histogram(latency_s: FloatArray, deadline_s: float | None) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return edges and counts; the deadline is an edge, so that late answers have bars of their own.

    Bars are equally wide, but the last one goes as far as the longest latency if that is beyond four deadlines.
    """
    longest_s = float(latency_s.max())
    if deadline_s is None:
        edges_s = np.arange(BINS + 1) * ((longest_s or 1.0) / BINS)
    else:
        span = min(max(longest_s / deadline_s, 1.0), MOST_DEADLINES)
        bars = max(1, round(BINS / span))
        edges_s = np.arange(int(np.ceil(span * bars)) + 1) * (deadline_s / bars)
    in_time = latency_s <= (0.0 if deadline_s is None else deadline_s * ROUNDING)
    shown_s = np.where(in_time & (latency_s >= (deadline_s or np.inf)), np.nextafter(deadline_s or 0.0, 0.0), latency_s)
    edges_s[-1] = max(float(edges_s[-1]), longest_s)
    counts = np.histogram(shown_s, edges_s)[0]
    return tuple(edges_s.tolist()), tuple(counts.tolist())
