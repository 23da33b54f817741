"""What becomes of one inference or batch: from checked inputs to a result, what was learnt, and clocks at rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeexit.runtime.inputs import InputCheck, made_up_inputs
from edgeexit.runtime.loop import Answer, Limits
from edgeexit.runtime.meter import EnergyReading, EnergyWindow
from edgeexit.runtime.result import Result, name_answer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from threading import Event

    from numpy.typing import NDArray

    from edgeexit.bundle import Bundle
    from edgeexit.protocols import Device
    from edgeexit.runtime.clocking import Clocking
    from edgeexit.runtime.engine import Engine, Program
    from edgeexit.runtime.shadowing import Shadowing
    from edgeexit.runtime.steering import Steering
    from edgeexit.runtime.ways import Way, Ways

    Array = NDArray[Any]
    Inputs = Array | Mapping[str, Array]
    Asked = tuple[str | None, float | None]

MAX_PROGRAMS = 4
CUT = frozenset({"deadline", "cancelled"})
"""Reasons of an answer with which a piece of the work may have been cut short."""
ROUNDING = 1.0 + 1e-9
"""How much longer than its budget a latency may be and still meet it: times are sums of rounded figures."""


class Answering:
    """Answers of one session; the session sees to it that one inference runs at a time.

    Args:
        bundle: What is run.
        device: Where.
        engine: Of the bundle.
        ways: The settings that may be asked for.
        clocking: Sets the clocks and learns what pieces cost.
        steering: Holds an average budget; None without one.
        shadowing: Runs samples that exited early to the end.
        anytime: True if the best exit so far answers when the deadline comes.
        period_s: Time between inferences, in seconds, where a call does not say; None if it is not known.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: Device,
        engine: Engine,
        ways: Ways,
        clocking: Clocking,
        *,
        steering: Steering | None,
        shadowing: Shadowing,
        anytime: bool,
        period_s: float | None,
    ) -> None:
        self._bundle = bundle
        self._engine = engine
        self._ways = ways
        self._clocking = clocking
        self._steering = steering
        self._shadowing = shadowing
        self._anytime = anytime
        self._period_s = period_s
        self._meter = device.meter
        self._clock = device.clock
        self._now_s = device.clock.now_s
        self._inputs = InputCheck(bundle)
        self._labels = bundle.labels
        self._newest: Answer | None = None
        self._programs: dict[tuple[tuple[int, ...], ...], Program] = {}
        self._warm_up()

    def check(self, inputs: Inputs, samples: int | None) -> dict[str, Array]:
        """Return the inputs by name, of the dtypes that the bundle takes; `samples` None takes any number.

        Raises:
            InputError: If a name, shape or dtype is wrong, or a value is not finite.
        """
        return self._inputs.check(inputs, samples=samples)

    def limits(
        self,
        start_s: float,
        latency_budget_s: float | None,
        cancel: Event | None,
        energy_budget_j: float | None = None,
        next_request_in_s: float | None = None,
        wanted_in_s: float | None = None,
    ) -> Limits:
        """Return what bounds an inference that began at `start_s`; times in seconds from then, as for `Session`."""
        period_s = self._period_s
        due_s = period_s if latency_budget_s is None else latency_budget_s
        next_s = period_s if next_request_in_s is None else next_request_in_s
        return Limits(
            None if due_s is None else start_s + due_s,
            cancel,
            self._anytime,
            start_s,
            None if next_s is None else start_s + next_s,
            energy_budget_j,
            None if wanted_in_s is None else start_s + wanted_in_s,
        )

    def one(self, inputs: Inputs, start_s: float, limits: Limits, asked: Asked) -> Result:
        """Answer for one sample with the setting that is asked for, and leave the clocks as they are then."""
        self._newest, result = self._answer(inputs, start_s, limits, asked)
        return result

    def batch(
        self,
        arrays: dict[str, Array],
        samples: int,
        start_s: float,
        limits: Limits,
        asked: Asked,
    ) -> list[Result]:
        """Answer for `samples` samples with the setting that is asked for, and leave the clocks as they are then."""
        window = EnergyWindow(self._meter, self._clock)
        way = self._ways.choose(*asked)
        if not way.batch.can_split(arrays):
            return self._answer_one_by_one(arrays, samples, limits, asked)
        timed = way.batch.run(arrays, limits, window)
        end_s = self._now_s()
        self._clocking.finished(start_s, end_s)
        for one in timed:
            self._ways.track(way, one.answer, one.end_s)
        if self._steering is not None:
            last = max(timed, key=lambda one: one.end_s)
            mean_s = sum(one.end_s - start_s for one in timed) / samples
            mean_j = None if last.energy is None else last.energy.energy_j / samples
            self._steering.ran([one.answer for one in timed], mean_s, mean_j, end_s)
        self._shadowing.answered_batch(way.setting, timed, arrays, end_s, limits.next_request_s)
        results = [self._result(way, t.answer, start_s, t.end_s, t.energy, limits.deadline_s) for t in timed]
        self._newest = max((one.answer for one in timed), key=lambda a: (a.segments_done, a.look.exit_index))
        return results

    def rest(self) -> None:
        """Let the governor choose the clocks until the next request, once after an answer."""
        newest, self._newest = self._newest, None
        if newest is not None:
            self._clocking.rest(newest.look.exit_index, newest.segments_done)

    def _answer(self, inputs: Inputs, start_s: float, limits: Limits, asked: Asked) -> tuple[Answer, Result]:
        arrays = self._inputs.check(inputs, samples=1)
        if limits.energy_budget_j is not None:
            self._clocking.follow()
        window = None if self._meter is None else EnergyWindow(self._meter, self._clock)
        way, program = self._ways.choose(*asked), self._loaded(arrays)
        answer = way.loop.run(program, limits)
        end_s = self._now_s()
        energy = None if window is None else window.read()
        self._clocking.finished(start_s, end_s, None if answer.reason in CUT else answer.look.exit_index)
        self._ways.track(way, answer, end_s)
        if self._steering is not None:
            energy_j = self._clocking.spent_j if energy is None else energy.energy_j
            self._steering.ran([answer], end_s - start_s, energy_j, end_s)
        self._shadowing.answered(way.setting, answer, program, end_s, limits.next_request_s)
        result = self._result(way, answer, start_s, end_s, energy, limits.deadline_s)
        spent_j = self._clocking.spent_j
        if limits.energy_budget_j is not None and spent_j is not None:
            result = result._replace(energy_budget_met=spent_j <= limits.energy_budget_j * ROUNDING)
        return answer, result

    def _answer_one_by_one(
        self, arrays: Mapping[str, Array], samples: int, limits: Limits, asked: Asked
    ) -> list[Result]:
        answered = []
        for index in range(samples):
            one = {name: array[index : index + 1] for name, array in arrays.items()}
            start_s = self._now_s()
            left = self.limits(start_s, self._left_s(limits.deadline_s), limits.cancel)
            answered.append(self._answer(one, start_s, left._replace(wanted_s=limits.wanted_s), asked))
        self._newest = answered[-1][0]
        return [result for _, result in answered]

    def _left_s(self, deadline_s: float | None) -> float | None:
        """Return the time until the deadline, and next to none once it has passed."""
        return None if deadline_s is None else max(deadline_s - self._now_s(), 1e-9)

    def _warm_up(self) -> None:
        """Allocate and run once for a single sample, if its shape is known, so that the first input is not late."""
        shapes = [tensor.shape for tensor in self._bundle.inputs]
        if all(shape is not None and all(isinstance(size, int) for size in shape[1:]) for shape in shapes):
            self._loaded(made_up_inputs(self._bundle))

    def _loaded(self, arrays: dict[str, Array]) -> Program:
        key = tuple(array.shape for array in arrays.values())
        program = self._programs.get(key)
        if program is None:
            if len(self._programs) >= MAX_PROGRAMS:
                del self._programs[next(iter(self._programs))]
            program = self._programs[key] = self._engine.program(arrays)
        else:
            program.load(arrays)
        return program

    def _result(
        self,
        way: Way,
        answer: Answer,
        start_s: float,
        end_s: float,
        energy: EnergyReading | None,
        deadline_s: float | None,
    ) -> Result:
        look = answer.look
        labels = self._labels
        return Result(
            label=look.label,
            class_name=None if labels is None else name_answer(labels, look.label, self._bundle.task),
            probabilities=np.array(look.probabilities),
            exit_index=look.exit_index,
            exits_looked_at=tuple([each.exit_index for each in answer.looks]),
            latency_s=end_s - start_s,
            energy_j=None if energy is None else energy.energy_j,
            energy_source=None if energy is None else energy.source,
            energy_uncertainty_j=None if energy is None else energy.uncertainty_j,
            clock_steps=tuple(answer.steps),
            reason=answer.reason,
            deadline_met=None if deadline_s is None else end_s - start_s <= (deadline_s - start_s) * ROUNDING,
            allowed_drop=way.setting.allowed_drop,
            logits=np.array(look.logits),
        )
