"""Which segments of a bundle run in int8: those that gain time on this machine and cost next to no accuracy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import numpy as np

from edgeexit.bundle.manifest import FLOAT32, INT8
from edgeexit.bundle.precision import with_precision
from edgeexit.errors import DataError, OptionError
from edgeexit.offline.batching import pad_batch
from edgeexit.offline.compress.report import Figures
from edgeexit.offline.compress.segments import batch_size
from edgeexit.offline.compress.timing import least_times
from edgeexit.runtime.engine import Engine

if TYPE_CHECKING:
    from edgeexit.bundle import Bundle
    from edgeexit.offline.data import Samples
    from edgeexit.protocols import FloatArray64, IntArray
    from edgeexit.runtime.engine import Program

    Precisions = tuple[str, ...]

LEAST_GAIN: Final = 0.02
"""Share of its time by which a segment must be faster: less cannot be told from chance."""
ALLOWED_DROP: Final = 0.5
"""Percentage points that int8 may cost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentChoice:
    """Why a segment runs as it does.

    Attributes:
        float_s: Least time of the segment in float, for one sample.
        int8_s: The same in int8, its neighbours in int8 too; None if it has no such variant.
        kept: True if it runs in int8.
        why: One clause.
    """

    float_s: float
    int8_s: float | None
    kept: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionChoice:
    """Which segments run in int8, and what it comes to.

    Attributes:
        precisions: One a segment.
        segments: Why, one a segment.
        before: Of the bundle in float.
        after: Of the bundle as chosen; the figures of `before` if nothing is kept.
        lost_points: Accuracy that the choice costs on the samples given, in percentage points: the mean over the exits,
            or the loss of the last one if that is more; negative if it gains.
    """

    precisions: tuple[str, ...]
    segments: tuple[SegmentChoice, ...]
    before: Figures
    after: Figures
    lost_points: float

    @property
    def kept(self) -> bool:
        """Whether any segment runs in int8."""
        return INT8 in self.precisions


def choose_precisions(
    bundle: Bundle,
    samples: Samples,
    *,
    refused: Mapping[int, str] | None = None,
    allowed_drop: float = ALLOWED_DROP,
    least_gain: float = LEAST_GAIN,
) -> PrecisionChoice:
    """Choose the precision of each segment by measurement on this machine.

    A segment is a candidate if it is faster in int8. All candidates together are taken if they cost no more than
    `allowed_drop`; else they are added one by one, those first that alone cost least for the time they gain. The
    choice stands if the whole is faster than in float.

    Args:
        bundle: Segments without an int8 variant stay in float.
        samples: On which accuracy is measured: not those of the calibration. Without labels, what the network in
            float answers is right.
        refused: Segment -> why it has no variant, for the report.
        allowed_drop: Percentage points of accuracy that the choice may cost.
        least_gain: Share of its time by which a segment, and then the whole, must be faster.

    Raises:
        DataError: If there are no samples.
        OptionError: If `allowed_drop` is negative or `least_gain` no share.
        EngineError: If ONNX Runtime fails.
    """
    if not len(samples):
        raise DataError("there are no samples to measure the accuracy of int8 on")
    if allowed_drop < 0.0 or not 0.0 <= least_gain < 1.0:
        raise OptionError(f"allowed_drop {allowed_drop} must be 0 or more, least_gain {least_gain} from 0 to 1")
    with TemporaryDirectory(prefix="edgeexit-") as folder:
        return _Bench(bundle, samples, Path(folder), allowed_drop, least_gain).choose(refused or {})


class _Bench:
    """Runs a bundle in several mixes of precisions."""

    def __init__(self, bundle: Bundle, samples: Samples, folder: Path, allowed_drop: float, least_gain: float) -> None:
        self._bundle = bundle
        self._samples = samples
        self._folder = folder
        self._allowed_drop = allowed_drop
        self._least_gain = least_gain
        self._count = len(bundle.segments)
        self._float = (FLOAT32,) * self._count
        self._answers = lru_cache(self._run_all)
        self._right = self._right_answers()

    def choose(self, refused: Mapping[int, str]) -> PrecisionChoice:
        able = [i for i, s in enumerate(self._bundle.segments) if INT8 in s.precisions]
        float_s, int8_s = self._segment_times(self._mix(able))
        faster = [i for i in able if int8_s[i] < (1.0 - self._least_gain) * float_s[i]]
        cheap = self._cheap_enough(faster, [own - new for own, new in zip(float_s, int8_s, strict=True)])
        whole_s = self._whole_times([self._float, self._mix(cheap)])
        gains = whole_s[1] < (1.0 - self._least_gain) * whole_s[0]
        kept = cheap if gains else ()

        def why(index: int) -> str:
            if index not in able:
                return refused.get(index, "it has no int8 variant")
            if index not in faster:
                return "int8 is not faster"
            if index not in cheap:
                return (
                    f"int8 is faster and costs more than {self._allowed_drop:g} points, {self._alone(index):.2f} alone"
                )
            return "int8 is faster" if gains else "int8 is faster here and gains the whole nothing"

        segments = [
            SegmentChoice(float_s=float_s[i], int8_s=int8_s[i] if i in able else None, kept=i in kept, why=why(i))
            for i in range(self._count)
        ]
        mix = self._mix(kept)
        return PrecisionChoice(
            precisions=mix,
            segments=tuple(segments),
            before=self._figures(whole_s[0], self._float),
            after=self._figures(whole_s[1] if kept else whole_s[0], mix),
            lost_points=self._lost_points(mix),
        )

    def _figures(self, latency_s: float, precisions: Precisions) -> Figures:
        work = self._bundle.workload
        return Figures(
            latency_s=latency_s,
            accuracy=float(self._accuracies(precisions)[-1]),
            macs=sum(work.segment_macs) + work.head_macs[-1],
        )

    def _cheap_enough(self, wanted: Sequence[int], gained_s: Sequence[float]) -> tuple[int, ...]:
        """Return those of the segments `wanted` that together cost no more accuracy than is allowed."""
        if self._lost_points(self._mix(wanted)) <= self._allowed_drop:
            return tuple(wanted)
        kept: tuple[int, ...] = ()
        for index in sorted(wanted, key=lambda i: self._alone(i) / gained_s[i]):
            if self._lost_points(self._mix([*kept, index])) <= self._allowed_drop:
                kept = (*kept, index)
        return tuple(sorted(kept))

    def _alone(self, index: int) -> float:
        return self._lost_points(self._mix([index]))

    def _mix(self, int8: Sequence[int]) -> Precisions:
        return tuple(INT8 if index in int8 else FLOAT32 for index in range(self._count))

    def _lost_points(self, precisions: Precisions) -> float:
        lost = 100.0 * (self._accuracies(self._float) - self._accuracies(precisions))
        return float(max(lost.mean(), lost[-1]))

    def _accuracies(self, precisions: Precisions) -> FloatArray64:
        """Return (E,) the share of right answers of each exit."""
        return np.asarray((self._answers(precisions) == self._right[:, np.newaxis]).mean(axis=0))

    def _right_answers(self) -> IntArray:
        labels = self._samples.labels
        if labels is None:
            return np.asarray(self._answers(self._float)[:, -1])
        if labels.ndim == 2:
            return np.asarray(labels.astype(np.int64) @ (1 << np.arange(labels.shape[1], dtype=np.int64)))
        return np.asarray(labels, dtype=np.int64)

    def _run_all(self, precisions: Precisions) -> IntArray:
        """Return (S, E) what each exit answers."""
        engine = self._engine(precisions, fuse_heads=True)
        size, fixed = batch_size(self._bundle)
        rows = []
        for tensors in self._samples.batches(size):
            count = len(next(iter(tensors.values())))
            values = dict(tensors if fixed is None else pad_batch(tensors, fixed))
            for piece in engine.segments:
                piece.run(values)
            rows.append(np.stack([values[e.top_labels][:count, 0] for e in self._bundle.exits], axis=1))
        return np.concatenate(rows)

    def _engine(self, precisions: Precisions, *, fuse_heads: bool = False) -> Engine:
        return Engine(with_precision(self._bundle, precisions), fuse_heads=fuse_heads, cache_dir=self._folder)

    def _program(self, precisions: Precisions) -> Program:
        fixed = batch_size(self._bundle)[1]
        tensors = self._samples.read(np.arange(1))
        program = self._engine(precisions).program(tensors if fixed is None else pad_batch(tensors, fixed))
        program.run_segments(0, self._count)
        return program

    def _segment_times(self, able: Precisions) -> tuple[tuple[float, ...], tuple[float, ...]]:
        runs = [run for mix in (self._float, able) for run in self._runs(self._program(mix))]
        times = least_times(runs)
        return times[: self._count], times[self._count :]

    def _runs(self, program: Program) -> list[Callable[[], object]]:
        return [lambda i=i: program.run_segments(i, i + 1) for i in range(self._count)]  # type: ignore[misc]

    def _whole_times(self, mixes: Sequence[Precisions]) -> tuple[float, ...]:
        programs = [self._program(mix) for mix in mixes]
        return least_times([lambda p=p: p.run_segments(0, self._count) for p in programs])  # type: ignore[misc]
