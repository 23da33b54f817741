"""A bundle on a device with a governor and an exit rule: what a user holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgeexit.device.lease import Lease
from edgeexit.device.writer import ClockWriter
from edgeexit.exits.settings import make_rule
from edgeexit.runtime.batch import BatchLoop
from edgeexit.runtime.clocking import Clocking
from edgeexit.runtime.engine import Engine
from edgeexit.runtime.inputs import InputCheck, check_budget, made_up_inputs
from edgeexit.runtime.loop import Answer, Limits, Loop
from edgeexit.runtime.meter import EnergyReading, EnergyWindow
from edgeexit.runtime.result import Result

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from threading import Event
    from types import TracebackType

    from numpy.typing import NDArray
    from typing_extensions import Self

    from edgeexit.bundle import Bundle
    from edgeexit.protocols import CostTable, Device, ExitRule, Governor
    from edgeexit.runtime.engine import Program

    Array = NDArray[Any]
    Inputs = Array | Mapping[str, Array]

MAX_PROGRAMS = 4
ROUNDING = 1.0 + 1e-9
"""How much longer than its budget a latency may be and still meet it: times are sums of rounded figures."""


class Session:
    """Runs a bundle on a device; one inference at a time, from one thread at a time.

    Args:
        bundle: From `edgeexit.load_bundle`.
        device: From `edgeexit.open_device`; the caller closes it.
        governor: From `edgeexit.load_governor`; None leaves the clocks as they are.
        exit_rule: A rule, the name of one of the bundle's calibrated settings ("threshold", "forecast", ...), or
            None for the setting that the bundle recommends.
        allowed_drop: Accuracy that the calibrated setting may cost, in points: one that the bundle has.
        threads: Threads for ONNX Runtime in all.
        providers: ONNX Runtime execution providers, the preferred first; the CPU by default.
        optimise: Optimise the whole graph on this device first, and keep the result in `cache_dir`.
        cache_dir: Folder for optimised pieces; by default ``$XDG_CACHE_HOME/edgeexit``.
        cost_table: Costs of the bundle's pieces on this device; by default what the device's profile predicts.
        anytime: True if the best exit so far answers when the deadline comes; False runs on and misses it.
        wait_for_clocks: True if an inference waits until a clock has changed; False has a thread of its own set the
            clocks meanwhile, and None does so on every board that is not simulated.

    Raises:
        EngineError: If ONNX Runtime refuses the bundle.
        OptionError: If an option is out of range, or the bundle has no such setting.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: Device,
        governor: Governor | None = None,
        *,
        exit_rule: ExitRule | str | None = None,
        allowed_drop: float = 0.0,
        threads: int = 1,
        providers: Sequence[str] | None = None,
        optimise: bool = True,
        cache_dir: Path | None = None,
        cost_table: CostTable | None = None,
        anytime: bool = True,
        wait_for_clocks: bool | None = None,
    ) -> None:
        self.bundle = bundle
        self.device = device
        self.governor = governor
        self.rule = make_rule(exit_rule, bundle.exit_count, bundle.read_rules(), bundle.read_predictor(), allowed_drop)
        self._anytime = anytime
        self._meter = device.meter
        self._now_s = device.clock.now_s
        self._inputs = InputCheck(bundle)
        self._labels = bundle.labels
        self._engine = Engine(
            bundle,
            fuse_heads=self.rule.looks_at_every_exit,
            threads=threads,
            providers=providers,
            optimise=optimise,
            cache_dir=cache_dir,
        )
        domains = device.domains
        lease = Lease(domains, journal=device.journal, clock=device.clock)
        waits = device.simulated or governor is None or not domains if wait_for_clocks is None else wait_for_clocks
        self._lease = lease if waits else ClockWriter(lease, tuple(domains))
        clocking = Clocking(
            device,
            self._lease,
            governor,
            device.modelled_costs(bundle.workload) if cost_table is None else cost_table,
            exit_count=bundle.exit_count,
            looks_at_every_exit=self.rule.looks_at_every_exit,
        )
        work = bundle.workload
        self._clocking = clocking
        self._loop = Loop(device, self.rule, clocking, work.exit_segments, work.segment_macs, work.head_macs)
        self._batch = BatchLoop(self._engine, device, self.rule, clocking, work)
        self._programs: dict[tuple[tuple[int, ...], ...], Program] = {}
        self._warm_up()

    @property
    def optimised(self) -> bool:
        """True if the pieces were optimised on this device as one graph before they were cut."""
        return self._engine.optimised

    @property
    def switch_count(self) -> int:
        """How often the session has changed a clock."""
        return self._lease.switch_count

    def infer(self, inputs: Inputs, *, latency_budget_s: float | None = None, cancel: Event | None = None) -> Result:
        """Answer for one sample.

        Args:
            inputs: The bundle's input with a batch of one, for instance image: (1, 1, 28, 28) float32; a mapping
                from name to array where the bundle has several inputs.
            latency_budget_s: Time until the answer is due, in seconds, from now.
            cancel: Checked between segments; once it is set, the best exit so far answers.

        Raises:
            InputError: If a name, shape or dtype is wrong, or a value is not finite.
            InferenceCancelled: If `cancel` was set before any exit could be looked at.
            EngineError: If ONNX Runtime fails.
        """
        check_budget(latency_budget_s)
        start_s = self._now_s()
        arrays = self._inputs.check(inputs, samples=1)
        window = None if self._meter is None else EnergyWindow(self._meter, self.device.clock)
        deadline_s = None if latency_budget_s is None else start_s + latency_budget_s
        answer = self._loop.run(self._loaded(arrays), Limits(deadline_s, cancel, self._anytime))
        end_s = self._now_s()
        self._clocking.finished(start_s, end_s)
        return self._result(answer, start_s, end_s, None if window is None else window.read(), deadline_s)

    def infer_batch(
        self, inputs: Inputs, *, latency_budget_s: float | None = None, cancel: Event | None = None
    ) -> list[Result]:
        """Answer for a batch, in the order of the inputs; a sample that has exited costs nothing further.

        Args:
            inputs: The bundle's input, (N, ...); a mapping where it has several. An empty batch gives an empty list.
            latency_budget_s: Time until the last answer is due, in seconds, from now.
            cancel: Checked between segments; once it is set, the best exits so far answer.

        Raises:
            InputError: If a name, shape or dtype is wrong, or a value is not finite.
            InferenceCancelled: If `cancel` was set before any exit could be looked at.
            EngineError: If ONNX Runtime fails.
        """
        check_budget(latency_budget_s)
        start_s = self._now_s()
        arrays = self._inputs.check(inputs, samples=None)
        samples = len(next(iter(arrays.values())))
        if samples == 0:
            return []
        window = EnergyWindow(self._meter, self.device.clock)
        deadline_s = None if latency_budget_s is None else start_s + latency_budget_s
        limits = Limits(deadline_s, cancel, self._anytime)
        if not self._batch.can_split(arrays):
            one_by_one = [{name: array[i : i + 1] for name, array in arrays.items()} for i in range(samples)]
            return [self.infer(one, latency_budget_s=self._left_s(deadline_s), cancel=cancel) for one in one_by_one]
        timed = self._batch.run(arrays, limits, window)
        self._clocking.finished(start_s, self._now_s())
        return [self._result(t.answer, start_s, t.end_s, t.energy, deadline_s) for t in timed]

    def _left_s(self, deadline_s: float | None) -> float | None:
        """Return the time until the deadline, and next to none once it has passed."""
        return None if deadline_s is None else max(deadline_s - self._now_s(), 1e-9)

    def close(self) -> None:
        """Give the clocks back; may be called more than once."""
        self._lease.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _warm_up(self) -> None:
        """Allocate and run once for a single sample, if its shape is known, so that the first input is not late."""
        shapes = [tensor.shape for tensor in self.bundle.inputs]
        if all(shape is not None and all(isinstance(size, int) for size in shape[1:]) for shape in shapes):
            self._loaded(made_up_inputs(self.bundle))

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
        self, answer: Answer, start_s: float, end_s: float, energy: EnergyReading | None, deadline_s: float | None
    ) -> Result:
        look = answer.look
        labels = self._labels
        return Result(
            label=look.label,
            class_name=None if labels is None else labels[look.label],
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
        )
