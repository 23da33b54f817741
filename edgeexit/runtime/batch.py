"""A batch through the segments: samples that have exited are taken out, so that they cost nothing further."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgeexit.errors import InferenceCancelled
from edgeexit.protocols import CombinesLooks, Evidence, Look, Verdict
from edgeexit.runtime.clocking import Chosen
from edgeexit.runtime.engine import make_look
from edgeexit.runtime.loop import Answer, reason_to_stop

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edgeexit.protocols import Device, Distribution, ExitRule, Workload
    from edgeexit.runtime.clocking import Clocking
    from edgeexit.runtime.engine import Engine, PieceSession
    from edgeexit.runtime.loop import Limits
    from edgeexit.runtime.meter import EnergyReading, EnergyWindow
    from edgeexit.runtime.result import ClockStep

    Array = NDArray[Any]


class TimedAnswer(NamedTuple):
    """An answer, when it stood, and the energy of the batch until then."""

    answer: Answer
    end_s: float
    energy: EnergyReading | None


class BatchLoop:
    """Runs batches through an engine's pieces.

    Args:
        engine: The sessions.
        device: The board; it is told of the work that was done.
        rule: The exit rule, asked for each sample.
        clocking: The governor's side; asked once for the whole batch before each stretch of work.
        work: The bundle's work for one sample.
    """

    def __init__(self, engine: Engine, device: Device, rule: ExitRule, clocking: Clocking, work: Workload) -> None:
        self.engine = engine
        self.device = device
        self.rule = rule
        self.combine = rule.combine if isinstance(rule, CombinesLooks) else None
        self.clocking = clocking
        self.work = work
        self.exit_after = {segment: index for index, segment in enumerate(work.exit_segments)}
        self.needed_after = _needed_after(engine)
        self._axes: dict[tuple[tuple[int, ...], ...], dict[str, int] | None] = {}

    def can_split(self, inputs: Mapping[str, Array]) -> bool:
        """True if samples can be taken out of every boundary tensor; else they are run one by one."""
        if not all(isinstance(tensor.shape[0], str) for tensor in self.engine.bundle.inputs if tensor.shape):
            return False
        return self._batch_axes(inputs) is not None

    def run(self, inputs: Mapping[str, Array], limits: Limits, window: EnergyWindow) -> list[TimedAnswer]:
        """Answer for every sample, in input order.

        Raises:
            InferenceCancelled: If the cancel token was set before any exit could be looked at.
        """
        axes = self._batch_axes(inputs)
        if axes is None:
            raise ValueError("this batch cannot be split: ask can_split first")
        return _BatchRun(self, dict(inputs), axes, limits, window).run()

    def _batch_axes(self, inputs: Mapping[str, Array]) -> dict[str, int] | None:
        """Find the batch axis of every tensor by running two and three samples; None if one has no such axis."""
        key = tuple(array.shape[1:] for array in inputs.values())
        if key not in self._axes:
            shapes = [self._shapes(inputs, samples) for samples in (2, 3)]
            axes = {name: _batch_axis(shape, shapes[1][name]) for name, shape in shapes[0].items()}
            known = {name: axis for name, axis in axes.items() if axis is not None}
            self._axes[key] = known if len(known) == len(axes) else None
        return self._axes[key]

    def _shapes(self, inputs: Mapping[str, Array], samples: int) -> dict[str, tuple[int, ...]]:
        tensors = {name: np.repeat(array[:1], samples, axis=0) for name, array in inputs.items()}
        for piece in self.engine.segments:
            piece.run(tensors)
        return {name: array.shape for name, array in tensors.items()}


class _BatchRun:
    """One batch on its way: which samples are left, what they have seen, and where they look next."""

    def __init__(
        self, loop: BatchLoop, tensors: dict[str, Array], axes: dict[str, int], limits: Limits, window: EnergyWindow
    ) -> None:
        self.loop = loop
        self.tensors = tensors
        self.axes = axes
        self.limits = limits
        self.window = window
        count = len(next(iter(tensors.values())))
        self.exit_count = len(loop.work.exit_segments)
        self.left = list(range(count))
        self.looks: list[list[Look]] = [[] for _ in range(count)]
        self.verdicts = [loop.rule.judge(Evidence(self.exit_count, ()))] * count
        self.answers: list[TimedAnswer | None] = [None] * count
        self.steps: list[ClockStep] = []
        self.chosen = Chosen(None, 0, self.exit_count - 1)
        self.done = 0

    def run(self) -> list[TimedAnswer]:
        loop = self.loop
        self._choose_clocks(0)
        for segment, piece in enumerate(loop.engine.segments):
            reason = reason_to_stop(
                self.limits, loop.device, loop.clocking, segment, loop.work.exit_segments[0], len(self.left)
            )
            if reason:
                self._answer_now(segment, reason)
                break
            piece.run(self.tensors)
            self.done = segment + 1
            loop.device.work_done(loop.work.segment_macs[segment] * len(self.left))
            looked = segment in loop.exit_after and self._look_at(loop.exit_after[segment])
            self._compact(segment)
            if not self.left:
                break
            if looked:
                self._choose_clocks(segment + 1)
        return [answer for answer in self.answers if answer is not None]

    def _choose_clocks(self, segments_done: int) -> None:
        verdicts = [self.verdicts[sample] for sample in self.left]
        joint = Verdict(False, min(verdict.next_exit for verdict in verdicts), _mean_distribution(verdicts))
        self.chosen = self.loop.clocking.choose(joint, segments_done, self.limits, len(self.left))
        if self.chosen.step is not None:
            self.steps.append(self.chosen.step)

    def _look_at(self, exit_index: int) -> bool:
        """Look at an exit for the samples that want to; True if there were any."""
        rows = [
            row
            for row, sample in enumerate(self.left)
            if exit_index >= self.chosen.target(self.verdicts[sample].next_exit)
        ]
        if not rows:
            return False
        for row, look in zip(rows, self._run_head(exit_index, rows), strict=True):
            self._judge(self.left[row], look)
        return True

    def _judge(self, sample: int, look: Look) -> None:
        self.looks[sample].append(look)
        if look.exit_index == self.exit_count - 1:
            self._answer(sample, "last exit")
            return
        verdict = self.loop.rule.judge(Evidence(self.exit_count, self.looks[sample]))
        if verdict.stop:
            self._answer(sample, "exit rule")
        elif look.exit_index >= self.chosen.deepest:
            self._answer(sample, "deepest exit allowed")
        self.verdicts[sample] = verdict

    def _run_head(self, exit_index: int, rows: list[int]) -> list[Look]:
        evidence = self.loop.engine.bundle.exits[exit_index].outputs
        head = self.loop.engine.heads[exit_index]
        tensors, picked = self.tensors, rows
        if head is not None:
            names = _head_needs(head, evidence)
            tensors = {name: np.take(self.tensors[name], rows, axis=self.axes[name]) for name in names}
            head.run(tensors)
            picked = list(range(len(rows)))
        self.loop.device.work_done(self.loop.work.head_macs[exit_index] * len(rows))
        return [make_look(exit_index, *(np.array(tensors[name][row]) for name in evidence)) for row in picked]

    def _answer_now(self, segments_done: int, reason: str) -> None:
        reachable = [i for i, segment in enumerate(self.loop.work.exit_segments) if segment < segments_done]
        if not reachable:
            raise InferenceCancelled(
                f"{reason} after {segments_done} segments, before the first exit could be looked at"
            )
        best = reachable[-1]
        clocking, deadline_s = self.loop.clocking, self.limits.deadline_s
        head_s = clocking.latency_guard * clocking.expected_head_s(best, len(self.left))
        end_s = self.loop.device.clock.now_s() + head_s
        late = deadline_s is not None and end_s > deadline_s
        rows = [
            row
            for row, sample in enumerate(self.left)
            if not self.looks[sample] or (not late and self.looks[sample][-1].exit_index < best)
        ]
        if rows:
            for row, look in zip(rows, self._run_head(best, rows), strict=True):
                self.looks[self.left[row]].append(look)
        for sample in self.left:
            self._answer(sample, reason)

    def _answer(self, sample: int, reason: str) -> None:
        looks, combine = self.looks[sample], self.loop.combine
        look = looks[-1] if combine is None else combine(Evidence(self.exit_count, looks))
        self.answers[sample] = TimedAnswer(
            Answer(look, looks, list(self.steps), reason, self.done),
            self.loop.device.clock.now_s(),
            self.window.read(),
        )

    def _compact(self, segment: int) -> None:
        rows = [row for row, sample in enumerate(self.left) if self.answers[sample] is None]
        needed = self.loop.needed_after[segment]
        whole = len(rows) == len(self.left)
        self.tensors = {
            name: array if whole else np.take(array, rows, axis=self.axes[name])
            for name, array in self.tensors.items()
            if name in needed
        }
        self.left = [self.left[row] for row in rows]


def _mean_distribution(verdicts: list[Verdict]) -> Distribution | None:
    given = [verdict.distribution for verdict in verdicts]
    if any(distribution is None for distribution in given):
        return None
    means: list[float] = np.mean(np.asarray(given, dtype=float), axis=0).tolist()
    return means


def _batch_axis(shape: tuple[int, ...], other: tuple[int, ...]) -> int | None:
    """Return the one axis that is 2 in `shape` and 3 in `other`, where all else is equal."""
    if len(shape) != len(other):
        return None
    differing = [axis for axis, sizes in enumerate(zip(shape, other, strict=True)) if sizes[0] != sizes[1]]
    if len(differing) != 1 or (shape[differing[0]], other[differing[0]]) != (2, 3):
        return None
    return differing[0]


def _needed_after(engine: Engine) -> list[frozenset[str]]:
    """For each segment the tensors that later segments, and heads not yet run, take."""
    needed: list[frozenset[str]] = []
    later: frozenset[str] = frozenset()
    heads = {e.segment: _head_needs(engine.heads[e.index], e.outputs) for e in engine.bundle.exits}
    for index in range(len(engine.segments) - 1, -1, -1):
        later |= heads.get(index, frozenset())
        needed.append(later)
        later |= frozenset(engine.segments[index].piece.inputs)
    return needed[::-1]


def _head_needs(head: PieceSession | None, evidence: tuple[str, ...]) -> frozenset[str]:
    """Name what a head takes, and what of its exit's evidence the segment has made already."""
    if head is None:
        return frozenset(evidence)
    return frozenset(head.piece.inputs) | frozenset(evidence).difference(head.piece.outputs)
