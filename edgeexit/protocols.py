"""The contracts of edgeexit: read this file first.

Two questions are asked while a network runs, and each is answered by a pure function:

* ``ExitRule.judge(Evidence) -> Verdict``: may we answer now, and if not, at which exit do we look next?
* ``Governor.decide(Observation) -> Decision``: at which clocks does the next piece of work run?

What answers them knows nothing of ONNX Runtime, files or kernels. What a board offers, real or
simulated, is a ``Device`` with ``ClockDomain``, ``PowerMeter`` and ``Clock``.

Units are SI and stand in the name: ``_hz`` int; ``_s``, ``_w``, ``_j``, ``_c`` float. Exits and segments
count from 0. None means "not known" or "this board has no such sensor", never 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Self

    FloatArray = NDArray[np.float32]
    FloatArray64 = NDArray[np.float64]
    IntArray = NDArray[np.int64]

Clocks = Mapping[str, int]
"""Clock domain name -> frequency in Hz."""

Distribution = Sequence[float]
"""Probability of each exit to be the one that answers, length ``exit_count``; 0 means impossible."""


# --- Evidence -> Verdict ---------------------------------------------------------------------------


class Look(NamedTuple):
    """What one exit said about one sample."""

    exit_index: int
    label: int
    confidence: float
    """Largest probability."""
    margin: float
    """Largest probability less the second largest."""
    logits: FloatArray
    """(C,) float32; valid until the next inference: copy what must live longer."""
    probabilities: FloatArray
    """(C,) float32; valid until the next inference."""


class Evidence(NamedTuple):
    """All that an exit rule may use: the exits looked at so far, first to last."""

    exit_count: int
    looks: Sequence[Look]


class Verdict(NamedTuple):
    """An exit rule's answer.

    With `stop` the newest look answers. Otherwise `next_exit` is looked at next; it lies behind the newest
    look, and no head between the two is run.
    """

    stop: bool
    next_exit: int
    """The exit to look at next; with `stop` the one that answers."""
    distribution: Distribution | None = None
    """Forecast of the answering exit given the evidence; None where the rule has none."""
    precision: str | None = None
    """Reserved: variant of the next segments (for instance "int8"); None is the only one today."""
    place: str | None = None
    """Reserved: where the next segments run; None is this device, the only place today."""


@runtime_checkable
class ExitRule(Protocol):
    """Decides from the evidence whether to stop and which exit to look at next; pure.

    A rule is made by ``factory(exit_count, **parameters)``. `judge` is called once with no looks, to name the
    first exit, and then after each look. At the last exit the engine answers without asking.
    """

    @property
    def name(self) -> str: ...

    @property
    def looks_at_every_exit(self) -> bool:
        """True if no exit is skipped: the engine then fuses each head into its segment."""

    def judge(self, evidence: Evidence) -> Verdict: ...


@runtime_checkable
class CombinesLooks(Protocol):
    """An exit rule whose answer is made of several looks, for instance their mean, and not the newest one alone."""

    def combine(self, evidence: Evidence) -> Look:
        """Return what the looks say together, with the exit index of the newest; pure.

        It is the answer whenever an inference ends, whatever ended it: the rule, the last exit or the deadline.
        """


# --- Observation -> Decision -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PointCosts:
    """What a bundle's pieces cost at one operating point of a board, for one sample.

    `segment_*` have one entry a segment, `head_*` one an exit. Power and energy are None where no meter was there.
    """

    clocks: Clocks
    """Empty where no clock could be set: the costs are those of the clocks as they are."""
    idle_power_w: float | None
    segment_latency_s: tuple[float, ...]
    segment_energy_j: tuple[float, ...] | None
    head_latency_s: tuple[float, ...]
    head_energy_j: tuple[float, ...] | None


class Work(NamedTuple):
    """Latency and energy of some pieces, one after the other; the energy is None where it is not known."""

    latency_s: float
    energy_j: float | None


class _Sums(NamedTuple):
    """Running sums of a point's costs, each with a 0.0 before the first."""

    segment_latency_s: tuple[float, ...]
    head_latency_s: tuple[float, ...]
    segment_energy_j: tuple[float, ...] | None
    head_energy_j: tuple[float, ...] | None

    @classmethod
    def of(cls, point: PointCosts) -> _Sums:
        energies = point.segment_energy_j, point.head_energy_j
        rows = [None if row is None else tuple(accumulate(row, initial=0.0)) for row in energies]
        return cls(
            tuple(accumulate(point.segment_latency_s, initial=0.0)),
            tuple(accumulate(point.head_latency_s, initial=0.0)),
            *rows,
        )


def _times(factor: float, row: tuple[float, ...] | None) -> tuple[float, ...] | None:
    return None if row is None else tuple(factor * x for x in row)


@dataclass(frozen=True, slots=True)
class CostTable:
    """Latency and energy of one bundle's segments and heads at each operating point of one board.

    `points` go from the slowest to the fastest operating point. `exit_segments[e]` is the segment after which exit
    `e` can be looked at. `source` says where the figures are from: "modelled" or "measured". A switch costs 0.0 where
    no clock can be set, and its energy is None where no meter was there.
    """

    points: tuple[PointCosts, ...]
    exit_segments: tuple[int, ...]
    switch_latency_s: float
    switch_energy_j: float | None
    source: str
    has_energy: bool = field(init=False, repr=False, compare=False)
    """True if every power and energy of the table is known."""
    _sums: tuple[_Sums, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        known = all(None not in (p.idle_power_w, p.segment_energy_j, p.head_energy_j) for p in self.points)
        object.__setattr__(self, "has_energy", known and self.switch_energy_j is not None)
        object.__setattr__(self, "_sums", tuple(_Sums.of(point) for point in self.points))

    def work(self, point: int, segments_done: int, exit_index: int, *, first_head: int | None = None) -> Work:
        """Return what remains until exit `exit_index` has answered, at operating point `point`.

        Args:
            point: Index into `points`.
            segments_done: How many segments have run.
            exit_index: The exit that answers; its head is counted.
            first_head: If given, the heads `first_head` to `exit_index` are all counted: the cost of a rule that
                looks at every exit.
        """
        latency, head_latency, energy, head_energy = self._sums[point]
        end = max(self.exit_segments[exit_index] + 1, segments_done)
        first = exit_index if first_head is None else min(first_head, exit_index)
        latency_s = latency[end] - latency[segments_done] + head_latency[exit_index + 1] - head_latency[first]
        if energy is None or head_energy is None:
            return Work(latency_s, None)
        return Work(latency_s, energy[end] - energy[segments_done] + head_energy[exit_index + 1] - head_energy[first])

    def allowed_points(self, operating_points: Mapping[str, tuple[int, ...]]) -> list[int]:
        """Return the indexes of the points whose clocks are all among `operating_points`, slowest first.

        There are none if the table is of a board with other clock domains.
        """
        indexes = []
        for index, point in enumerate(self.points):
            for name, frequency_hz in point.clocks.items():
                if frequency_hz not in operating_points.get(name, ()):
                    break
            else:
                indexes.append(index)
        return indexes

    def scaled(self, factor: float) -> CostTable:
        """Return the table for `factor` samples at once, taking cost as proportional to their number."""
        points = tuple(
            PointCosts(
                clocks=p.clocks,
                idle_power_w=p.idle_power_w,
                segment_latency_s=tuple(factor * x for x in p.segment_latency_s),
                segment_energy_j=_times(factor, p.segment_energy_j),
                head_latency_s=tuple(factor * x for x in p.head_latency_s),
                head_energy_j=_times(factor, p.head_energy_j),
            )
            for p in self.points
        )
        return CostTable(points, self.exit_segments, self.switch_latency_s, self.switch_energy_j, self.source)


@dataclass(frozen=True, slots=True)
class Observation:
    """What a governor may know when it chooses the clocks for the next piece of work."""

    now_s: float
    segments_done: int
    """Segments of this inference that have run; 0 before the first."""
    next_exit: int
    """The exit that will be looked at next."""
    exit_count: int
    exit_distribution: Distribution | None
    looks_at_every_exit: bool
    """True if the heads before `next_exit` and after it are all run, False if only the exits looked at."""
    operating_points: Mapping[str, tuple[int, ...]]
    """Frequencies that are allowed now, ascending, for each clock domain."""
    clocks: Clocks
    """Current frequencies."""
    cost_table: CostTable | None
    deadline_s: float | None
    """When the answer is due, on the scale of `now_s`."""
    load: float | None = None
    """Busy share of the time since the governor was asked for the inference before, 0 to 1."""
    power_w: float | None = None
    temperature_c: float | None = None
    requested_s: float | None = None
    """When this inference was asked for; None if there is no telling."""
    next_request_s: float | None = None
    """When the next inference is expected: energy is counted until then; None: until the deadline."""
    usual_exits: Distribution | None = None
    """How often each exit has answered of late, or is expected to before the first sample; None if not known."""
    looked_share: float = 1.0
    """How many of the exits between the first look and the answer, of those that may be looked at, are looked at of
    late: 1 for a rule that looks at one after the other, less if its forecast skips some."""
    latency_guard: float = 1.0
    """What the cost table's latencies are multiplied by where a deadline must hold: an upper quantile of the measured
    latency over the table's. Energy is reckoned with the table as it is."""
    energy_budget_j: float | None = None
    """What the rest of this inference may draw, idling left out, whichever exit answers; None: no such limit."""
    floor_exit: int = 0
    """`Decision.max_exit` may not lie before it: an answer from there would cost more accuracy than is allowed."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A governor's answer: the clocks to set (an empty mapping leaves them), and how deep the network may run."""

    clocks: Clocks
    max_exit: int | None = None
    """The deepest exit allowed; None: the last."""
    reason: str = ""
    next_exit: int | None = None
    """Look at this exit next, and at none before it, because there is no time for the looks on the way; None, or an
    exit before the verdict's: the verdict's."""


@runtime_checkable
class Governor(Protocol):
    """Chooses clocks; pure: no I/O, no clock reading, no randomness, no memory."""

    @property
    def name(self) -> str: ...

    def decide(self, observation: Observation) -> Decision: ...


@runtime_checkable
class PreparesAhead(Protocol):
    """A governor that can do ahead of time what its first decision would otherwise take long for."""

    def prepare(
        self, cost_table: CostTable, operating_points: Mapping[str, tuple[int, ...]], looks_at_every_exit: bool
    ) -> None:
        """Work out what depends on these alone; decisions stay the same with and without."""


@runtime_checkable
class DecidesMany(Protocol):
    """A governor that can decide for many samples at once: a replay asks so."""

    def decide_many(self, observation: Observation, now_s: FloatArray64) -> tuple[Sequence[Decision], IntArray]:
        """Answer one observation as if it were made at many times.

        Args:
            observation: All that the samples share; its own `now_s` does not count.
            now_s: (S,) float64.

        Returns:
            The decisions that occur, and (S,) which of them is for each time: what `decide` would have said.
        """


@runtime_checkable
class SetsClocksAtRest(Protocol):
    """A governor that also chooses the clocks between inferences, where a switch takes no time from a deadline."""

    def rest(self, observation: Observation) -> Decision:
        """Choose the clocks until the next request; asked once an answer stands, if the next request is known.

        Args:
            observation: As `decide` got it last, but `now_s` and `clocks` are of the answer, and `segments_done` are
                all that have run. What may have to change in time for `next_request_s` is for the governor to see.
        """


# --- What a board offers ---------------------------------------------------------------------------


class EnergySource(Enum):
    """Where an energy figure is from."""

    COUNTER = "counter"
    INTEGRATED = "integrated"
    MODELLED = "modelled"
    SIMULATED = "simulated"


class Applied(NamedTuple):
    """What became of a request to set a clock."""

    requested_hz: int
    effective_hz: int
    verified_by: str
    """How `effective_hz` is known, for instance "read back"."""
    elapsed_s: float


class Workload(NamedTuple):
    """The work in a bundle's pieces: multiply-accumulates (MACs) for one sample."""

    segment_macs: tuple[int, ...]
    head_macs: tuple[int, ...]
    exit_segments: tuple[int, ...]
    own_macs: int | None = None
    """Of the network without its early exits, where segments hold layers that these alone read; else None."""

    @property
    def whole_macs(self) -> int:
        """MACs of the network without its early exits: what a share of the full network's work is a share of."""
        return sum(self.segment_macs) + self.head_macs[-1] if self.own_macs is None else self.own_macs


class Clock(Protocol):
    """A steady clock."""

    def now_s(self) -> float: ...

    def sleep_s(self, duration_s: float) -> None: ...


class Knob(Protocol):
    """One value of the machine that a clock domain writes, and that has to be put back: a file, or a driver's lock."""

    before_write: Callable[[Knob, str], None] | None
    """Called with the value before each write; if it raises, nothing is written. The lease journals by it."""

    @property
    def key(self) -> str:
        """Names it, also for another process: "cpufreq/policy0/scaling_max_freq"."""

    def read(self) -> str | None:
        """Return the value, or None where the machine has no way to ask (NVML's locked clocks)."""

    def holds(self, value: str) -> bool:
        """Return whether it still holds a value that was written, as far as the machine can tell.

        A value that the machine itself holds down for a while (heat) still counts as held.
        """

    def write(self, value: str) -> None:
        """Write the value, whatever it is at present."""


class ClockDomain(Protocol):
    """Cores or a GPU that share one clock. Only the lease sets it.

    What can go wrong with a real clock has three classes: `ClockNotWritable` (never, for this process), `ClockBusy`
    (not now) and `ClockRefused` (not this value). `set_hz` and knobs raise them, `read_hz` raises any `DeviceError`.
    """

    @property
    def name(self) -> str: ...

    @property
    def knobs(self) -> Sequence[Knob]:
        """All that `set_hz` may write, in the order to put back; empty where nothing outlives the process."""

    @property
    def operating_points_hz(self) -> tuple[int, ...]:
        """Frequencies that may be asked for, ascending; none lies above what was allowed at the start."""

    def read_hz(self) -> int: ...

    def set_hz(self, frequency_hz: int) -> Applied:
        """Ask for a frequency: the lowest operating point that is not below it, or the highest there is.

        Raises:
            ClockNotWritable: If the clock cannot be set.
            ClockBusy: If it cannot be set now.
            ClockRefused: If the machine does not take the value.
        """


class PowerMeter(Protocol):
    """Energy since some start, as a running sum."""

    @property
    def name(self) -> str:
        """What is metered and how, for instance "VDD_IN (INA3221)"."""

    @property
    def source(self) -> EnergySource: ...

    @property
    def min_window_s(self) -> float:
        """The shortest stretch of time whose energy it can tell; 0.0 for a simulated meter."""

    def uncertainty_j(self, energy_j: float, duration_s: float) -> float | None:
        """Return how far the energy of such a stretch may be off, in joules (one standard deviation), if known."""

    def read_energy_j(self) -> float | None:
        """Return the energy so far in joules, or None if it cannot be read now."""


class Conditions(NamedTuple):
    """How the machine is doing, as of a short while ago; None where it has no such sensor."""

    temperature_c: float | None = None
    """Of the hottest part."""
    power_w: float | None = None
    throttled: tuple[str, ...] | None = None
    """Why the board holds its clocks down just now; empty if it does not."""
    cpu_load: float | None = None
    """Busy share of all cores, 0 to 1."""
    memory_available_bytes: int | None = None


class Journal(Protocol):
    """Where a lease writes down what has to be put back, before it changes it."""

    def open(self, knobs: Sequence[Knob]) -> None:
        """Write down the present value of every knob; a later call adds knobs.

        Raises:
            LeaseTaken: If a living process holds the clocks.
            JournalError: If nothing can be written down, so that no clock may be changed.
        """

    def note(self, knob: Knob, values: Sequence[str]) -> None:
        """Write down the values that count as ours from now on: what the knob may hold because of us, at most three.

        Raises:
            JournalError: If it cannot be written down.
        """

    def restore(self) -> Sequence[str]:
        """Put back every knob that still holds our value, and end the journal.

        Returns:
            The keys of the knobs that were left alone because somebody else has changed them.
        """


@runtime_checkable
class Device(Protocol):
    """A board, real or simulated."""

    @property
    def name(self) -> str: ...

    @property
    def simulated(self) -> bool: ...

    @property
    def domains(self) -> Mapping[str, ClockDomain]: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def meter(self) -> PowerMeter | None:
        """Meter of the whole board or module, as far as there is one."""

    @property
    def rails(self) -> Mapping[str, PowerMeter]:
        """Meters of parts of it, each under the board's own name for that rail."""

    @property
    def journal(self) -> Journal | None:
        """Where the lease journals; None where no clock outlives the process (a simulated board)."""

    def conditions(self) -> Conditions:
        """Return how the machine was doing a short while ago, without waiting for a sensor."""

    def modelled_costs(self, workload: Workload) -> CostTable | None:
        """Return the cost table that the board's profile predicts, or None if it has no model."""

    def work_done(self, macs: int) -> None:
        """Tell the board that `macs` multiply-accumulates have just run. Only a simulated board uses it."""

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


Parameters = Mapping[str, Any]
"""Keyword arguments of a governor's or an exit rule's factory, as they stand in JSON."""
