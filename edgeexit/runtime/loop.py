"""One inference: segment after segment, until the exit rule says that the answer is good enough.

After each look the exit rule names the exit to look at next, the governor chooses the clocks for the way there, and
the segments up to it run. Between segments the deadline and the cancel token are checked; if there is no more
time the best exit so far answers: the deepest one that the segments run so far can feed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from edgeexit.errors import InferenceCancelled
from edgeexit.protocols import CombinesLooks, Evidence, Look

if TYPE_CHECKING:
    from threading import Event

    from edgeexit.protocols import Device, ExitRule
    from edgeexit.runtime.clocking import Clocking
    from edgeexit.runtime.engine import Program
    from edgeexit.runtime.result import ClockStep


class Limits(NamedTuple):
    """What may end an inference before the exit rule does."""

    deadline_s: float | None
    """When the answer is due, on the device's clock; None for never."""
    cancel: Event | None
    anytime: bool
    """True if the best exit so far answers when the deadline comes; False runs on and misses it."""
    requested_s: float | None = None
    """When the answer was asked for, on the device's clock."""
    next_request_s: float | None = None
    """When the next one is expected to be asked for; None if there is no telling."""
    energy_budget_j: float | None = None
    """What the inference may draw, idling left out."""
    wanted_s: float | None = None
    """When others want it done, as they wait for their turn: clocks aim for it, but nothing is cut short for it."""


def reason_to_stop(
    limits: Limits, device: Device, clocking: Clocking, segment: int, first_exit_segment: int, samples: int = 1
) -> str:
    """Say why `segment` shall not run any more: "cancelled", "deadline", or an empty string to go on.

    The deadline stops nothing before the first exit can be looked at: a late answer is better than none.
    """
    if limits.cancel is not None and limits.cancel.is_set():
        return "cancelled"
    if limits.deadline_s is None or not limits.anytime or segment <= first_exit_segment:
        return ""
    end_s = device.clock.now_s() + clocking.latency_guard * clocking.expected_latency_s(segment, samples)
    return "deadline" if end_s > limits.deadline_s else ""


class Answer(NamedTuple):
    """Which exit answered, after which looks, and why."""

    look: Look
    """The newest look, or what the looks say together if the rule combines them."""
    looks: list[Look]
    steps: list[ClockStep]
    reason: str
    segments_done: int
    """How many segments have run; more than the exit needs where it was cut short."""


class Loop:
    """Runs one sample at a time through a program.

    Args:
        device: The board; it is told of the work that was done.
        rule: The exit rule.
        clocking: The governor's side.
        exit_segments: For each exit the segment after which it can be looked at.
        segment_macs: Multiply-accumulates of each segment.
        head_macs: Multiply-accumulates of each head.
    """

    def __init__(
        self,
        device: Device,
        rule: ExitRule,
        clocking: Clocking,
        exit_segments: tuple[int, ...],
        segment_macs: tuple[int, ...],
        head_macs: tuple[int, ...],
    ) -> None:
        self._device = device
        self._simulated = device.simulated
        self._rule = rule
        self._clocking = clocking
        self._exit_segments = exit_segments
        self._segment_macs = segment_macs
        self._head_macs = head_macs
        self._exit_count = len(exit_segments)
        self._first = rule.judge(Evidence(self._exit_count, ()))
        self._combine = rule.combine if isinstance(rule, CombinesLooks) else None

    def run(self, program: Program, limits: Limits) -> Answer:
        """Answer for the input that was loaded into `program`.

        Raises:
            InferenceCancelled: If the cancel token was set before any exit could be looked at.
        """
        looks: list[Look] = []
        steps: list[ClockStep] = []
        evidence = Evidence(self._exit_count, looks)
        verdict = self._first
        done = 0
        while True:
            chosen = self._clocking.choose(verdict, done, limits)
            if chosen.step is not None:
                steps.append(chosen.step)
            target = chosen.target(verdict.next_exit)
            done, stopped = self._run_to(program, done, self._exit_segments[target] + 1, limits)
            if stopped:
                self._look_at_the_best(program, done, looks, stopped, limits)
                return self._answer(evidence, steps, stopped, done)
            if looks and target <= looks[-1].exit_index:
                return self._answer(evidence, steps, "deepest exit allowed", done)
            looks.append(self._look(program, target))
            if target == self._exit_count - 1:
                return self._answer(evidence, steps, "last exit", done)
            verdict = self._rule.judge(evidence)
            if verdict.stop:
                return self._answer(evidence, steps, "exit rule", done)

    def _answer(self, evidence: Evidence, steps: list[ClockStep], reason: str, done: int) -> Answer:
        looks = evidence.looks
        look = looks[-1] if self._combine is None else self._combine(evidence)
        return Answer(look, list(looks), steps, reason, done)

    def _run_to(self, program: Program, done: int, end: int, limits: Limits) -> tuple[int, str]:
        """Run segments up to `end`; return how many have run, and why it stopped before, or an empty string."""
        if limits.cancel is None and (limits.deadline_s is None or not limits.anytime):
            self._run(program, done, end)
            return end, ""
        for segment in range(done, end):
            reason = reason_to_stop(limits, self._device, self._clocking, segment, self._exit_segments[0])
            if reason:
                return segment, reason
            self._run(program, segment, segment + 1)
        return end, ""

    def _run(self, program: Program, start: int, end: int) -> None:
        program.run_segments(start, end)
        if self._simulated:
            self._device.work_done(sum(self._segment_macs[start:end]))

    def _look_at_the_best(self, program: Program, done: int, looks: list[Look], reason: str, limits: Limits) -> None:
        reachable = [index for index, segment in enumerate(self._exit_segments) if segment < done]
        if not reachable:
            raise InferenceCancelled(f"{reason} after {done} segments, before the first exit could be looked at")
        deeper = not looks or looks[-1].exit_index < reachable[-1]
        if deeper and looks and limits.deadline_s is not None:
            head_s = self._clocking.latency_guard * self._clocking.expected_head_s(reachable[-1])
            end_s = self._device.clock.now_s() + head_s
            deeper = end_s <= limits.deadline_s
        if deeper:
            looks.append(self._look(program, reachable[-1]))

    def _look(self, program: Program, exit_index: int) -> Look:
        look = program.look(exit_index)
        if self._simulated:
            self._device.work_done(self._head_macs[exit_index])
        return look
