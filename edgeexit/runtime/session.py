"""A bundle on a device with a governor and an exit rule: what a user holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeexit.bundle.precision import with_precision
from edgeexit.device.lease import Lease
from edgeexit.device.writer import ClockWriter
from edgeexit.errors import OptionError
from edgeexit.protocols import Governor
from edgeexit.runtime.answering import Answering
from edgeexit.runtime.clocking import Clocking, SetsClocks
from edgeexit.runtime.engine import Engine
from edgeexit.runtime.inputs import check_budget, checked_guard, period_of
from edgeexit.runtime.learning import LearnedCosts
from edgeexit.runtime.settings import floor_exit, one_setting, settings_along
from edgeexit.runtime.shadowing import Shadowing
from edgeexit.runtime.steering import Steering, check_energy_is_known
from edgeexit.runtime.tracking import Drift
from edgeexit.runtime.ways import Ways

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from threading import Event
    from types import TracebackType

    from numpy.typing import NDArray
    from typing_extensions import Self

    from edgeexit.bundle import Bundle
    from edgeexit.protocols import CostTable, Device, ExitRule
    from edgeexit.runtime.battery import BatteryLife, BatteryReport
    from edgeexit.runtime.budget import Budget, BudgetReport
    from edgeexit.runtime.result import Result
    from edgeexit.runtime.shadow import Shadow, ShadowReport

    Array = NDArray[Any]
    Inputs = Array | Mapping[str, Array]


class Session:
    """Runs a bundle on a device; one inference at a time, from one thread at a time.

    Args:
        bundle: From `edgeexit.load_bundle`.
        device: From `edgeexit.open_device`; the caller closes it.
        governor: From `edgeexit.load_governor`; None leaves the clocks as they are.
        exit_rule: A rule, the name of one of the bundle's calibrated settings ("threshold", "forecast", ...), or
            None for the setting that the bundle recommends.
        allowed_drop: Accuracy that the calibrated setting may cost, in points: one that the bundle has. None takes 0,
            or where the setting has none for 0, as a certified one, its least. With a `budget` the setting is not
            fixed: `max_drop` bounds it.
        threads: Threads for ONNX Runtime in all.
        providers: ONNX Runtime execution providers, the preferred first; the CPU by default.
        optimise: Optimise the whole graph on this device first, and keep the result in `cache_dir`.
        cache_dir: Folder for optimised pieces; by default ``$XDG_CACHE_HOME/edgeexit``.
        cost_table: Costs of the bundle's pieces on this device; by default what the device's profile predicts.
        anytime: True if the best exit so far answers when the deadline comes; False runs on and misses it.
        wait_for_clocks: True if an inference waits until a clock has changed; False has a thread of its own set the
            clocks meanwhile, and None does so on every board that is not simulated.
        lease: A hold on the device's clocks that others use too, and that somebody else closes; by default one of the
            session's own.
        frame_rate_hz: How often an inference is asked for: each is then due within a period, and the governor counts
            energy until the next begins, and may change the clocks once more after an answer, unless a call of `infer`
            says otherwise.
        budget: What an inference may cost on average, or how long a battery shall last. The session moves along the
            calibrated settings of its exit rule to hold it.
        max_drop: The user's accuracy floor: how much accuracy a budget, or a governor that answers early on purpose,
            may cost, in points. None: as much as was calibrated. An answer that the deadline or the cancel token
            forces comes from the best exit so far all the same.
        learn: True if measured latency and energy correct the cost table; None does so on real boards.
        latency_guard: What latencies are multiplied by where a deadline must hold; None takes an upper quantile of
            what was measured if the session learns, else 1.
        shadow: Share of the samples that exit early to run to the end in idle time, for instance 0.01, or all its
            options; `shadow_report` tells how often the full network agrees. None checks none.
        precision: "float32", "int8" for every segment that has it, or one for each segment; by default what the
            bundle says, for which its settings were calibrated.

    Raises:
        EngineError: If ONNX Runtime refuses the bundle.
        OptionError: If an option is out of range, the bundle has no such setting, or a budget in joules is asked for
            where nobody knows the energy of an inference.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: Device,
        governor: Governor | None = None,
        *,
        exit_rule: ExitRule | str | None = None,
        allowed_drop: float | None = None,
        threads: int = 1,
        providers: Sequence[str] | None = None,
        optimise: bool = True,
        cache_dir: Path | None = None,
        cost_table: CostTable | None = None,
        anytime: bool = True,
        wait_for_clocks: bool | None = None,
        lease: SetsClocks | None = None,
        frame_rate_hz: float | None = None,
        budget: Budget | BatteryLife | None = None,
        max_drop: float | None = None,
        learn: bool | None = None,
        latency_guard: float | None = None,
        shadow: Shadow | float | None = None,
        precision: str | Sequence[str] | None = None,
    ) -> None:
        if not (governor is None or isinstance(governor, Governor)):
            raise OptionError(f"governor must be a governor, as edgeexit.load_governor makes it, not {governor!r}")
        bundle = with_precision(bundle, precision)
        self.bundle = bundle
        self.device = device
        self.governor = governor
        period_s = period_of(frame_rate_hz)
        deepest_floor = floor_exit(bundle, max_drop, anytime=anytime)
        self._settings = (
            [one_setting(bundle, exit_rule, allowed_drop)]
            if budget is None
            else settings_along(bundle, exit_rule, allowed_drop, max_drop)
        )
        self.rule = self._settings[0].rule
        self._now_s = device.clock.now_s
        self._engine = Engine(
            bundle,
            fuse_heads=all(setting.rule.looks_at_every_exit for setting in self._settings),
            threads=threads,
            providers=providers,
            optimise=optimise,
            cache_dir=cache_dir,
        )
        self._lease: SetsClocks = _own_lease(device, governor, wait_for_clocks) if lease is None else lease
        self._owns_lease = lease is None
        work = bundle.workload
        table = device.modelled_costs(work) if cost_table is None else cost_table
        learns = not device.simulated if learn is None else learn
        self._clocking = Clocking(
            device,
            self._lease,
            governor,
            table,
            exit_count=bundle.exit_count,
            looks_at_every_exit=self.rule.looks_at_every_exit,
            floor_exit=deepest_floor,
            learned=LearnedCosts(table) if learns and table is not None else None,
            latency_guard=checked_guard(latency_guard),
        )
        self._steering = None if budget is None else self._steer(budget, table)
        self._ways = Ways(self._settings, self._steering, self._engine, device, self._clocking)
        self._shadowing = Shadowing(shadow, self._engine, device, self._clocking)
        self._answering = Answering(
            bundle,
            device,
            self._engine,
            self._ways,
            self._clocking,
            steering=self._steering,
            shadowing=self._shadowing,
            anytime=anytime,
            period_s=period_s,
        )
        for every in sorted({setting.rule.looks_at_every_exit for setting in self._settings}):
            self._clocking.prepare(every)

    @property
    def optimised(self) -> bool:
        """True if the pieces were optimised on this device as one graph before they were cut."""
        return self._engine.optimised

    @property
    def switch_count(self) -> int:
        """How often the session has changed a clock."""
        return self._lease.switch_count

    @property
    def cost_table(self) -> CostTable | None:
        """The cost table in use, with what was learnt so far; None if costs are not known."""
        return self._clocking.cost_table()

    @property
    def latency_guard(self) -> float:
        """What its latencies are multiplied by where a deadline must hold."""
        return self._clocking.latency_guard

    @property
    def drift(self) -> Drift:
        """Whether the exits that answer are distributed as in calibration; of the setting that drifted, if one did."""
        return self._ways.drift

    @property
    def budget(self) -> BudgetReport | None:
        """How the average budget is being held; None without one."""
        return None if self._steering is None else self._steering.report

    @property
    def battery(self) -> BatteryReport | None:
        """How the battery's life is being held; None if none was asked for."""
        return None if self._steering is None else self._steering.battery_report

    def infer(
        self,
        inputs: Inputs,
        *,
        latency_budget_s: float | None = None,
        energy_budget_j: float | None = None,
        next_request_in_s: float | None = None,
        wanted_in_s: float | None = None,
        exit_rule: str | None = None,
        allowed_drop: float | None = None,
        rest: bool = True,
        cancel: Event | None = None,
    ) -> Result:
        """Answer for one sample.

        Args:
            inputs: The bundle's input with a batch of one, for instance image: (1, 1, 28, 28) float32; a mapping
                from name to array where the bundle has several inputs.
            latency_budget_s: Time until the answer is due, in seconds, from now; by default a period of the frame rate.
            energy_budget_j: What the inference may draw, in joules, idling left out: a governor that heeds it answers
                earlier rather than exceed it.
            next_request_in_s: Time until the next input is expected, in seconds, from now: energy is counted until
                then; by default a period of the frame rate.
            wanted_in_s: Time until others want it done, in seconds, as they wait for their turn: the governor aims for
                the earlier of this and the deadline, but no answer is cut short for it.
            exit_rule: Name of one of the bundle's settings for this inference alone; by default the session's.
            allowed_drop: Accuracy that it may cost, in points, as for the session.
            rest: False leaves the clocks as they are after the answer, until `rest` is called.
            cancel: Checked between segments; once it is set, the best exit so far answers.

        Raises:
            InputError: If a name, shape or dtype is wrong, or a value is not finite.
            OptionError: If the bundle has no such setting.
            InferenceCancelled: If `cancel` was set before any exit could be looked at.
            EngineError: If ONNX Runtime fails.
        """
        check_budget(latency_budget_s, energy_budget_j, next_request_in_s, wanted_in_s)
        start_s = self._now_s()
        limits = self._answering.limits(
            start_s, latency_budget_s, cancel, energy_budget_j, next_request_in_s, wanted_in_s
        )
        with self._shadowing.turn:
            result = self._answering.one(inputs, start_s, limits, (exit_rule, allowed_drop))
            if rest:
                self._answering.rest()
        return result

    def rest(self) -> None:
        """Let the governor choose the clocks until the next request, after an `infer(..., rest=False)`."""
        with self._shadowing.turn:
            self._answering.rest()

    def worked_apart(self, duration_s: float) -> None:
        """Tell the session of work on this device that was not its own: it learns no idle power from such a time.

        Args:
            duration_s: How long it took, in seconds.
        """
        self._clocking.worked_apart(duration_s)

    def idle(self, for_s: float | None = None) -> int:
        """Give time to shadow runs: between two inferences, from the thread that calls `infer`.

        Args:
            for_s: How long, in seconds: no segment is begun that would take longer, as far as is known. None: until
                no sample waits any more.

        Returns:
            How many samples were checked; 0 without `shadow`.

        Raises:
            EngineError: If ONNX Runtime fails.
        """
        return self._shadowing.idle(for_s)

    def shadow_report(self) -> ShadowReport | None:
        """Return how often the full network agrees with the samples that exited early; None without `shadow`."""
        return self._shadowing.report()

    def infer_batch(
        self,
        inputs: Inputs,
        *,
        latency_budget_s: float | None = None,
        next_request_in_s: float | None = None,
        wanted_in_s: float | None = None,
        exit_rule: str | None = None,
        allowed_drop: float | None = None,
        rest: bool = True,
        cancel: Event | None = None,
    ) -> list[Result]:
        """Answer for a batch, in the order of the inputs; a sample that has exited costs nothing further.

        Args:
            inputs: The bundle's input, (N, ...); a mapping where it has several. An empty batch gives an empty list.
            latency_budget_s: Time until the last answer is due, in seconds, from now.
            next_request_in_s: As for `infer`.
            wanted_in_s: As for `infer`.
            exit_rule: As for `infer`.
            allowed_drop: As for `infer`.
            rest: As for `infer`.
            cancel: Checked between segments; once it is set, the best exits so far answer.

        Raises:
            InputError: If a name, shape or dtype is wrong, or a value is not finite.
            OptionError: If the bundle has no such setting.
            InferenceCancelled: If `cancel` was set before any exit could be looked at.
            EngineError: If ONNX Runtime fails.
        """
        check_budget(latency_budget_s, None, next_request_in_s, wanted_in_s)
        start_s = self._now_s()
        arrays = self._answering.check(inputs, samples=None)
        samples = len(next(iter(arrays.values())))
        if samples == 0:
            return []
        limits = self._answering.limits(start_s, latency_budget_s, cancel, None, next_request_in_s, wanted_in_s)
        with self._shadowing.turn:
            results = self._answering.batch(arrays, samples, start_s, limits, (exit_rule, allowed_drop))
            if rest:
                self._answering.rest()
        return results

    def check(self, inputs: Inputs) -> dict[str, Array]:
        """Check the inputs of a batch without answering; from any thread.

        Returns:
            The inputs by name, of the dtypes that the bundle takes.

        Raises:
            InputError: If a name, shape or dtype is wrong, or a value is not finite.
        """
        return self._answering.check(inputs, samples=None)

    def use_governor(self, governor: Governor | None) -> None:
        """Have another governor choose the clocks from now on; from the thread that calls `infer`.

        Args:
            governor: From `edgeexit.load_governor`; None leaves the clocks as they are now.
        """
        self.governor = governor
        self._clocking.use_governor(governor)

    def _steer(self, budget: Budget | BatteryLife, table: CostTable | None) -> Steering:
        steering = Steering(budget, self._settings, self.bundle.workload, self._now_s())
        if steering.unit == "joules":
            check_energy_is_known(table, self.device.meter)
            self._clocking.follow()
        return steering

    def close(self) -> None:
        """Give the clocks back; may be called more than once."""
        self._shadowing.close()
        self._clocking.close()
        if self._owns_lease:
            self._lease.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _own_lease(device: Device, governor: Governor | None, wait_for_clocks: bool | None) -> SetsClocks:
    domains = device.domains
    lease = Lease(domains, journal=device.journal, clock=device.clock)
    waits = device.simulated or governor is None or not domains if wait_for_clocks is None else wait_for_clocks
    return lease if waits else ClockWriter(lease, tuple(domains))
