"""Asks the governor before each piece of work, and has the lease set what it decides."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from edgeexit.errors import GovernorError
from edgeexit.protocols import Decision, Observation, SetsClocksAtRest
from edgeexit.runtime.following import Follower
from edgeexit.runtime.publishing import Publisher, as_preparing
from edgeexit.runtime.result import ClockStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeexit.protocols import Applied, Clocks, CostTable, Device, Distribution, Governor, PointCosts, Verdict
    from edgeexit.runtime.learning import LearnedCosts
    from edgeexit.runtime.loop import Limits

_LEAVE = Decision({})


class SetsClocks(Protocol):
    """A hold on clocks, as a session uses it: a lease, or what drives one from another thread or process."""

    @property
    def switch_count(self) -> int:
        """How often a frequency really changed."""

    def set(self, clocks: Clocks) -> Sequence[Applied]:
        """Ask for clocks."""

    def read_clocks(self) -> Clocks:
        """Return the present frequency of each domain in Hz, as far as it is known."""

    def close(self) -> None:
        """Give the clocks back."""


class Chosen(NamedTuple):
    """What a governor has chosen for the next piece of work."""

    step: ClockStep | None
    """For the trace; None if no governor was asked."""
    nearest: int
    """No exit before it is looked at."""
    deepest: int
    """No exit behind it is looked at."""

    def target(self, next_exit: int) -> int:
        """Return the exit to look at next where the exit rule wants `next_exit`."""
        return min(max(next_exit, self.nearest), self.deepest)


class Clocking:
    """The governor's side of a session.

    Args:
        device: The board.
        lease: Hold on its clocks, driven from this thread or from one of its own.
        governor: Decides; None leaves the clocks alone.
        cost_table: Costs of the bundle's pieces on this board for one sample, or None if not known.
        exit_count: Exits of the bundle.
        looks_at_every_exit: From the exit rule.
        floor_exit: No answer may come from an exit before it because the governor wants so.
        learned: Corrects the cost table by what is measured; None leaves it as it is.
        latency_guard: What latencies are multiplied by where a deadline must hold; None is what was learnt, or 1.

    Attributes:
        looks_at_every_exit: Of the exit rule in use.
        usual_exits: How often each exit has answered of late, for the governor.
        looked_share: How many of the exits on the way are looked at, for the governor.
    """

    def __init__(
        self,
        device: Device,
        lease: SetsClocks,
        governor: Governor | None,
        cost_table: CostTable | None,
        *,
        exit_count: int,
        looks_at_every_exit: bool,
        floor_exit: int = 0,
        learned: LearnedCosts | None = None,
        latency_guard: float | None = None,
    ) -> None:
        self._device = device
        self._lease = lease
        self._asked: Observation | None = None
        self._samples = 1
        self._tables: dict[int, CostTable | None] = {1: cost_table}
        self._points = {name: domain.operating_points_hz for name, domain in device.domains.items()}
        self._exit_count = exit_count
        self.looks_at_every_exit = looks_at_every_exit
        self.usual_exits: Distribution | None = None
        self.looked_share = 1.0
        self._floor_exit = floor_exit
        self._latency_guard = latency_guard
        self._learned = learned
        self._follower: Follower | None = None
        self._govern(governor)
        self._previous_start_s: float | None = None
        self._busy_s = 0.0
        if learned is not None:
            self.follow()

    def _govern(self, governor: Governor | None) -> None:
        useful = self._device.domains or self._tables[1] is not None
        self._governor = governor if useful else None
        self._resting = _as_resting(self._governor)
        self._publisher = Publisher(self._governor, self._points, background=not self._device.simulated)

    def use_governor(self, governor: Governor | None) -> None:
        """Have another governor decide from now on; None leaves the clocks alone."""
        self._publisher.close()
        self._govern(governor)
        self.prepare(self.looks_at_every_exit)

    def prepare(self, looks_at_every_exit: bool) -> None:
        """Have the governor do ahead of time what its first decision would otherwise take long for."""
        table, governor = self._tables[1], as_preparing(self._governor)
        if table is not None and governor is not None:
            governor.prepare(table, self._points, looks_at_every_exit)

    def follow(self) -> None:
        """Sum what inferences cost by the table from now on; without a table nothing is known."""
        table = self._tables[1]
        if self._follower is None and table is not None:
            self._follower = Follower(table, self._learned, self._device.meter)

    @property
    def spent_j(self) -> float | None:
        """What this inference, or the one before, has drawn so far by the table; None if not known or not followed."""
        return None if self._follower is None else self._follower.spent_j

    @property
    def latency_guard(self) -> float:
        """What latencies are multiplied by where a deadline must hold."""
        if self._latency_guard is not None:
            return self._latency_guard
        return 1.0 if self._learned is None else self._learned.guard

    def cost_table(self, samples: int = 1) -> CostTable | None:
        """Return the cost table for a batch of `samples`."""
        if samples not in self._tables:
            table = self._tables[1]
            self._tables[samples] = None if table is None else table.scaled(samples)
        return self._tables[samples]

    def choose(self, verdict: Verdict, segments_done: int, limits: Limits, samples: int = 1) -> Chosen:
        """Set the clocks for the work up to the verdict's next exit."""
        follower = self._follower if samples == 1 else None
        governor = self._governor
        if governor is None and follower is None:
            return Chosen(None, 0, self._exit_count - 1)
        now_s, before = self._device.clock.now_s(), self.read_clocks()
        if follower is not None:
            follower.asked(now_s, segments_done, before)
        if governor is None:
            decision, clocks = _LEAVE, before
        else:
            if segments_done == 0:
                self._samples = samples
            self._asked = self._observe(verdict, segments_done, limits, samples, now_s, before)
            decision = _checked(governor, governor.decide(self._asked))
            if decision.clocks:
                self._lease.set(decision.clocks)
            clocks = self.read_clocks()
        if follower is not None:
            start_s = now_s if clocks == before else self._device.clock.now_s()
            follower.begins(start_s, segments_done, clocks, decision.clocks, before)
        step = None if governor is None else ClockStep(segments_done, clocks, decision.reason)
        if decision.max_exit is None or _hurried(limits):
            return Chosen(step, 0 if _hurried(limits) else decision.next_exit or 0, self._exit_count - 1)
        return Chosen(step, decision.next_exit or 0, decision.max_exit)

    def rest(self, exit_index: int, segments_done: int) -> None:
        """Set the clocks until the next request, if it is known and the governor chooses them for then too.

        To be called once all that is told of an inference, or of a batch, has been read. The governor sees the cost
        table of as many samples as the batch had at its beginning: the next may have as many.

        Args:
            exit_index: The exit that was looked at last.
            segments_done: How many segments have run.
        """
        asked, governor = self._asked, self._resting
        if governor is None or asked is None or asked.next_request_s is None:
            return
        now_s = self._device.clock.now_s()
        if now_s >= asked.next_request_s:
            return
        before = self.read_clocks()
        observation = replace(
            asked,
            now_s=now_s,
            segments_done=segments_done,
            next_exit=min(exit_index + 1, self._exit_count - 1),
            exit_distribution=None,
            clocks=before,
            cost_table=self.cost_table(self._samples),
            latency_guard=self.latency_guard,
            load=None,
        )
        wanted = _checked(governor, governor.rest(observation)).clocks
        if not wanted:
            return
        self._lease.set(wanted)
        if self._follower is not None:
            self._follower.rested(now_s, before, self._device.clock.now_s(), self.read_clocks(), wanted)

    def _observe(
        self, verdict: Verdict, segments_done: int, limits: Limits, samples: int, now_s: float, clocks: Clocks
    ) -> Observation:
        conditions = self._device.conditions()
        hurried = _hurried(limits)
        return Observation(
            now_s=now_s,
            segments_done=segments_done,
            next_exit=verdict.next_exit,
            exit_count=self._exit_count,
            exit_distribution=verdict.distribution,
            looks_at_every_exit=self.looks_at_every_exit,
            operating_points=self._points,
            clocks=clocks,
            cost_table=self.cost_table(samples),
            deadline_s=limits.wanted_s if hurried else limits.deadline_s,
            load=self._load(now_s) if segments_done == 0 else None,
            power_w=conditions.power_w,
            temperature_c=conditions.temperature_c,
            requested_s=limits.requested_s,
            next_request_s=limits.next_request_s,
            usual_exits=self.usual_exits,
            looked_share=self.looked_share,
            latency_guard=self.latency_guard,
            energy_budget_j=self._energy_left_j(limits.energy_budget_j),
            floor_exit=self._exit_count - 1 if hurried else self._floor_exit,
        )

    def read_clocks(self) -> Clocks:
        """Return the present frequency of each clock domain, as far as it is known."""
        return self._lease.read_clocks()

    def expected_latency_s(self, segment: int, samples: int = 1) -> float:
        """Return what the cost table expects of a segment and the head behind it; 0.0 where it is not known.

        The head counts because it has to answer if there is no time for more.
        """
        table = self.cost_table(samples)
        if table is None or segment not in table.exit_segments:
            return 0.0 if table is None else self._at_present(table).segment_latency_s[segment]
        return self._at_present(table).segment_latency_s[segment] + self.expected_head_s(
            table.exit_segments.index(segment), samples
        )

    def expected_head_s(self, exit_index: int, samples: int = 1) -> float:
        """Return what the cost table expects of a head at the present clocks; 0.0 where it is not known."""
        table = self.cost_table(samples)
        return 0.0 if table is None else self._at_present(table).head_latency_s[exit_index]

    def expected_energy_j(self, segment: int) -> float | None:
        """Return what the cost table expects a segment to draw at the present clocks; None where it is not known."""
        table = self.cost_table()
        energies = None if table is None else self._at_present(table).segment_energy_j
        return None if energies is None else energies[segment]

    def worked_apart(self, duration_s: float) -> None:
        """Note work between inferences: idle power is not learnt from a time with much of it."""
        if self._learned is not None:
            self._learned.power.unknown(duration_s)

    def _at_present(self, table: CostTable) -> PointCosts:
        """Return the costs at the present clocks; at the slowest point if they are none of the table's.

        Clocks that the table does not name are left out: they could not be set when it was measured.
        """
        present = self.read_clocks().items()
        return next((point for point in table.points if point.clocks.items() <= present), table.points[0])

    def finished(self, start_s: float, end_s: float, exit_index: int | None = None) -> None:
        """Note when an inference ran: the next load is its busy share, and its last piece is learnt from.

        Args:
            start_s: When it was asked for.
            end_s: When the answer stood.
            exit_index: The exit that answered, if no piece of the work was cut short; else None, and for a batch.
        """
        self._previous_start_s = start_s
        self._busy_s = end_s - start_s
        if self._follower is not None:
            self._follower.finished(start_s, end_s, exit_index, self.read_clocks())
            if self._learned is not None:
                self._publish(self._learned)

    def close(self) -> None:
        """Wait until no corrected table is being prepared any more."""
        self._publisher.close()

    def _publish(self, learned: LearnedCosts) -> None:
        """Take a corrected table into use if one is ready; have one prepared if one is due."""
        publisher = self._publisher
        if not publisher.busy:
            correction = learned.propose()
            if correction is None:
                return
            publisher.offer(correction, self.looks_at_every_exit)
        ready = publisher.take()
        if ready is not None:
            learned.accept(ready)
            self._tables = {1: ready.table}
            if self._follower is not None:
                self._follower.table = ready.table

    def _energy_left_j(self, budget_j: float | None) -> float | None:
        if budget_j is None or self._follower is None or self._follower.spent_j is None:
            return budget_j
        return max(budget_j - self._follower.spent_j, 0.0)

    def _load(self, now_s: float) -> float | None:
        if self._previous_start_s is None or now_s <= self._previous_start_s:
            return None
        return min(1.0, self._busy_s / (now_s - self._previous_start_s))


def _checked(governor: object, decision: Decision) -> Decision:
    """Return a governor's decision; governors of other packages may be anything.

    Raises:
        GovernorError: If it is none.
    """
    if not isinstance(decision, Decision) or (decision.max_exit or 0) < 0:
        name = getattr(governor, "name", type(governor).__name__)
        raise GovernorError(
            f"governor {name!r} answered {decision!r}: it must be a Decision whose deepest exit is 0 or more; take "
            "another governor, or tell its author"
        )
    return decision


def _hurried(limits: Limits) -> bool:
    """Return whether others want the work done before it is due: then clocks alone may change for it, not the exits."""
    wanted_s, due_s = limits.wanted_s, limits.deadline_s
    return wanted_s is not None and (due_s is None or wanted_s < due_s)


def _as_resting(governor: object) -> SetsClocksAtRest | None:
    return governor if isinstance(governor, SetsClocksAtRest) else None
