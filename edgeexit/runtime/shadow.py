"""Shadow runs: a small share of the samples that exited early is run to the end, in idle time.

What the full network would have said is compared with what was said: how often both agree, with an exact interval,
and whether that has become rarer than in calibration. It needs no labels.

A shadow run begins after its sample's answer has been returned, and goes one segment at a time: `Session.idle` gives
it time, or the thread of `edgeexit.runtime.idling` takes some in which no inference runs. What it needs is copied when
the answer stands: the sample's boundary tensors, or of a batch its inputs.
"""

from __future__ import annotations

import warnings
from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from math import inf, isfinite
from numbers import Real
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from edgeexit.errors import AnswersDrifted, OptionError
from edgeexit.runtime.agreement import AgreementAlarm, Expected, clopper_pearson
from edgeexit.runtime.meter import EnergyWindow
from edgeexit.runtime.ways import BY_RULE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from edgeexit.protocols import Device
    from edgeexit.runtime.clocking import Clocking
    from edgeexit.runtime.engine import Engine, Program
    from edgeexit.runtime.loop import Answer

    Array = NDArray[Any]

_WORD: Final = 2**64


@dataclass(frozen=True, slots=True)
class Shadow:
    """How samples are checked.

    Attributes:
        share: Share of the samples that exit early by the exit rule, above 0 and up to 1.
        seed: Of the choice, which is a pure function of it and of how many have exited: the same each time.
        most_waiting: So many samples wait for idle time at most; further ones are dropped and counted.
        background: True if a thread takes idle time by itself, False if only `Session.idle` gives some; None takes
            the thread on every board that is not simulated.
        quiet_s: For how long no inference may have run before the thread begins.
    """

    share: float = 0.01
    seed: int = 0
    most_waiting: int = 8
    background: bool | None = None
    quiet_s: float = 0.005

    def __post_init__(self) -> None:
        """Refuse what makes no sense.

        Raises:
            OptionError: If an option is out of its range.
        """
        if not 0.0 < self.share <= 1.0:
            raise OptionError(f"shadow is a share of the samples, above 0 and up to 1, not {self.share!r}")
        if self.most_waiting < 1:
            raise OptionError(f"most_waiting must be 1 or more samples, not {self.most_waiting!r}")
        if not (isfinite(self.quiet_s) and self.quiet_s >= 0.0):
            raise OptionError(f"quiet_s must be seconds, 0 or more, not {self.quiet_s!r}")


class ShadowReport(NamedTuple):
    """What the shadow runs of a session have found so far."""

    exited: int
    """Samples that exited early by the exit rule."""
    checked: int
    """How many of them were run to the end."""
    agreed: int
    """For how many of these the full network said the same."""
    agreement: float | None
    """Their share; None before the first check."""
    low: float | None
    high: float | None
    """Its exact 95 % interval (Clopper-Pearson)."""
    expected: float | None
    """The share in calibration, of the settings in use; None where it was not recorded."""
    drift: bool
    """True if the answers agree less often than in calibration; False also where that was not recorded."""
    since_s: float | None
    """When that began, on the device's clock."""
    waiting: int
    """Samples that wait for idle time."""
    dropped: int
    """Samples that were chosen and not checked, because too many were waiting."""
    busy_s: float
    """Time that shadow runs took."""
    energy_j: float | None
    """What they drew, counted apart from the inferences: by the meter, or by the cost table where they were too short
    for it; None if neither knows."""


def as_shadow(shadow: object) -> Shadow:
    """Return the options for a share, or for options as they are.

    Raises:
        OptionError: If it is neither, or out of its range.
    """
    if isinstance(shadow, Shadow):
        return shadow
    if isinstance(shadow, bool) or not isinstance(shadow, Real):
        raise OptionError(f"shadow is a share of the samples, for instance 0.01, not {shadow!r}")
    return Shadow(float(shadow))


def is_chosen(seed: int, counter: int, share: float) -> bool:
    """Tell whether the sample with this number is checked: a pure function, true for a share of all numbers.

    The finaliser of SplitMix64, and its increment (Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014), of which the value for `counter` is the generator's output number `counter`.
    """
    mixed = (seed * 0xD1342543DE82EF95 + (counter + 1) * 0x9E3779B97F4A7C15) % _WORD
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % _WORD
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % _WORD
    return (mixed ^ (mixed >> 31)) < share * _WORD


@dataclass(slots=True)
class _Run:
    """A sample on its way to the end."""

    tensors: dict[str, Array]
    done: int
    """Segments that have run."""
    label: int
    """What was answered."""
    expected: Expected | None


class ShadowRuns:
    """Chooses samples, runs them to the end, and counts.

    Nothing in here is guarded: one thread at a time, see `edgeexit.runtime.idling.Turn`.

    Args:
        engine: The sessions of the bundle's pieces.
        device: The board.
        clocking: Knows what pieces cost.
        shadow: The options.
    """

    def __init__(self, engine: Engine, device: Device, clocking: Clocking, shadow: Shadow) -> None:
        self._engine = engine
        self._device = device
        self._clocking = clocking
        self._shadow = shadow
        self._needed = _needed_from(engine)
        self._macs = _macs_of(engine)
        self._took_s = [0.0] * len(engine.segments)
        self._waiting: deque[_Run] = deque()
        self._alarm = AgreementAlarm()
        self._exited = self._dropped = self._checked = self._agreed = 0
        self._expected_sum: float | None = 0.0
        self._busy_s = 0.0
        self._energy_j: float | None = 0.0

    @property
    def waiting(self) -> int:
        """How many samples wait for idle time."""
        return len(self._waiting)

    def exited(self, answer: Answer, program: Program, expected: Expected | None) -> None:
        """Take an answer into account, and copy what a shadow run needs if its sample is chosen.

        Args:
            answer: It stands already.
            program: Holds the tensors that the segments have made for it.
            expected: What calibration found for the setting in use.
        """
        if self._takes(answer):
            done = answer.segments_done
            tensors = {name: program.value(name) for name in self._needed[done]}
            self._waiting.append(_Run(tensors, done, answer.look.label, expected))

    def exited_in_batch(self, answer: Answer, inputs: Mapping[str, Array], row: int, expected: Expected | None) -> None:
        """Take one answer of a batch into account; its shadow run begins at the first segment.

        Args:
            answer: It stands already.
            inputs: Of the batch.
            row: Which of them it is for.
            expected: What calibration found for the setting in use.
        """
        if self._takes(answer):
            tensors = {name: array[row : row + 1].copy() for name, array in inputs.items()}
            self._waiting.append(_Run(tensors, 0, answer.look.label, expected))

    def work(self, until_s: float = inf, stop: Callable[[], bool] | None = None) -> int:
        """Run one segment after the other.

        Args:
            until_s: None is begun that would not be done by then, as far as is known; on the device's clock.
            stop: Asked after each segment.

        Returns:
            How many samples were checked.

        Raises:
            EngineError: If ONNX Runtime fails; the sample is dropped.
        """
        if not self._fits(until_s):
            return 0
        before, start_s = self._checked, self._device.clock.now_s()
        window = EnergyWindow(self._device.meter, self._device.clock)
        expected_j: float | None = 0.0
        while self._fits(until_s):
            energy_j = self._clocking.expected_energy_j(self._waiting[0].done)
            expected_j = None if expected_j is None or energy_j is None else expected_j + energy_j
            self._run_segment()
            if stop is not None and stop():
                break
        self._spent(self._device.clock.now_s() - start_s, window, expected_j)
        return self._checked - before

    def report(self) -> ShadowReport:
        """Return what was found so far."""
        checked, agreed = self._checked, self._agreed
        low, high = clopper_pearson(agreed, checked) if checked else (None, None)
        known = checked > 0 and self._expected_sum is not None
        return ShadowReport(
            exited=self._exited,
            checked=checked,
            agreed=agreed,
            agreement=agreed / checked if checked else None,
            low=low,
            high=high,
            expected=self._expected_sum / checked if known else None,  # type: ignore[operator]  # it is known
            drift=self._alarm.since_s is not None,
            since_s=self._alarm.since_s,
            waiting=len(self._waiting),
            dropped=self._dropped,
            busy_s=self._busy_s,
            energy_j=self._energy_j,
        )

    def _takes(self, answer: Answer) -> bool:
        """Count an answer, if it came early as the exit rule wanted; tell whether it is to be checked."""
        if answer.reason != BY_RULE or answer.segments_done >= len(self._engine.segments):
            return False
        self._exited += 1
        if not is_chosen(self._shadow.seed, self._exited, self._shadow.share):
            return False
        if len(self._waiting) >= self._shadow.most_waiting:
            self._dropped += 1
            return False
        return True

    def _fits(self, until_s: float) -> bool:
        if not self._waiting:
            return False
        segment = self._waiting[0].done
        expected_s = self._clocking.latency_guard * self._clocking.expected_latency_s(segment)
        return self._device.clock.now_s() + max(expected_s, self._took_s[segment]) <= until_s

    def _run_segment(self) -> None:
        run = self._waiting[0]
        segment, start_s = run.done, self._device.clock.now_s()
        try:
            self._engine.segments[segment].run(run.tensors)
        except Exception:
            self._waiting.popleft()
            self._dropped += 1
            raise
        if self._device.simulated:
            self._device.work_done(self._macs[segment])
        self._took_s[segment] = self._device.clock.now_s() - start_s
        run.done += 1
        run.tensors = {name: run.tensors[name] for name in self._needed[run.done]}
        if run.done == len(self._engine.segments):
            self._waiting.popleft()
            self._check(run)

    def _check(self, run: _Run) -> None:
        """Compare what was answered with what the full network says."""
        agrees = next(iter(run.tensors.values())).item(0) == run.label
        self._checked += 1
        self._agreed += agrees
        if run.expected is None:
            self._expected_sum = None
            return
        if self._expected_sum is not None:
            self._expected_sum += run.expected.agreement
        if self._alarm.checked(agrees, _usual_disagreement(run.expected), self._device.clock.now_s()):
            self._warn(run.expected)

    def _warn(self, expected: Expected) -> None:
        warnings.warn(
            f"early answers of {self._engine.bundle.name!r} agree with the full network less often than in "
            f"calibration ({self._agreed} of {self._checked} so far, {expected.agreement:.1%} then): accuracy is no "
            "longer as calibrated; calibrate with samples like those seen now",
            AnswersDrifted,
            stacklevel=5,
        )

    def _spent(self, took_s: float, window: EnergyWindow, expected_j: float | None) -> None:
        """Count time and energy of a stretch of segments, and tell who learns from idle time that it was none."""
        measured = window.read()
        energy_j = expected_j if measured is None else measured.energy_j
        self._busy_s += took_s
        self._energy_j = None if self._energy_j is None or energy_j is None else self._energy_j + energy_j
        self._clocking.worked_apart(took_s)


@lru_cache(maxsize=64)
def _usual_disagreement(expected: Expected) -> float:
    """Return how often the full network disagrees where all is well: at most so, for calibration is but a sample."""
    return 1.0 - clopper_pearson(expected.agreed, expected.exited)[0]


def _needed_from(engine: Engine) -> list[tuple[str, ...]]:
    """For each number of segments that have run: the tensors that the rest needs; in the end the full network's label.

    The last head is always part of the last segment.
    """
    needed: list[tuple[str, ...]] = [(engine.bundle.exits[-1].top_labels,)]
    for part in reversed(engine.segments):
        later = [name for name in needed[-1] if name not in part.piece.outputs]
        needed.append(tuple(dict.fromkeys((*part.piece.inputs, *later))))
    return needed[::-1]


def _macs_of(engine: Engine) -> tuple[int, ...]:
    """Return the work in each segment, with the heads that are fused into it."""
    work = engine.bundle.workload
    heads = {work.exit_segments[index]: work.head_macs[index] for index in engine.fused_exits}
    return tuple(macs + heads.get(segment, 0) for segment, macs in enumerate(work.segment_macs))
