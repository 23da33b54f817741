"""Asks the governor before each piece of work, and has the lease set what it decides."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeexit.protocols import Observation
from edgeexit.runtime.result import ClockStep

if TYPE_CHECKING:
    from edgeexit.device.lease import Lease
    from edgeexit.device.writer import ClockWriter
    from edgeexit.protocols import Clocks, CostTable, Device, Governor, PointCosts, Verdict


class Clocking:
    """The governor's side of a session.

    Args:
        device: The board.
        lease: Hold on its clocks, driven from this thread or from one of its own.
        governor: Decides; None leaves the clocks alone.
        cost_table: Costs of the bundle's pieces on this board for one sample, or None if not known.
        exit_count: Exits of the bundle.
        looks_at_every_exit: From the exit rule.
    """

    def __init__(
        self,
        device: Device,
        lease: Lease | ClockWriter,
        governor: Governor | None,
        cost_table: CostTable | None,
        *,
        exit_count: int,
        looks_at_every_exit: bool,
    ) -> None:
        self._device = device
        self._lease = lease
        self._governor = governor if device.domains or cost_table is not None else None
        self._tables: dict[int, CostTable | None] = {1: cost_table}
        self._points = {name: domain.operating_points_hz for name, domain in device.domains.items()}
        self._exit_count = exit_count
        self._looks_at_every_exit = looks_at_every_exit
        self._previous_start_s: float | None = None
        self._busy_s = 0.0

    def cost_table(self, samples: int = 1) -> CostTable | None:
        """Return the cost table for a batch of `samples`."""
        if samples not in self._tables:
            table = self._tables[1]
            self._tables[samples] = None if table is None else table.scaled(samples)
        return self._tables[samples]

    def choose(
        self, verdict: Verdict, segments_done: int, deadline_s: float | None, samples: int = 1
    ) -> tuple[ClockStep | None, int]:
        """Set the clocks for the work up to the verdict's next exit.

        Returns:
            The step for the trace (None if no governor is asked), and the deepest exit allowed.
        """
        if self._governor is None:
            return None, self._exit_count - 1
        now_s = self._device.clock.now_s()
        conditions = self._device.conditions()
        observation = Observation(
            now_s=now_s,
            segments_done=segments_done,
            next_exit=verdict.next_exit,
            exit_count=self._exit_count,
            exit_distribution=verdict.distribution,
            looks_at_every_exit=self._looks_at_every_exit,
            operating_points=self._points,
            clocks=self.read_clocks(),
            cost_table=self.cost_table(samples),
            deadline_s=deadline_s,
            load=self._load(now_s) if segments_done == 0 else None,
            power_w=conditions.power_w,
            temperature_c=conditions.temperature_c,
        )
        decision = self._governor.decide(observation)
        if decision.clocks:
            self._lease.set(decision.clocks)
        deepest = self._exit_count - 1 if decision.max_exit is None else decision.max_exit
        return ClockStep(segments_done, self.read_clocks(), decision.reason), deepest

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

    def _at_present(self, table: CostTable) -> PointCosts:
        """Return the costs at the present clocks; at the slowest point if they are none of the table's.

        Clocks that the table does not name are left out: they could not be set when it was measured.
        """
        present = self.read_clocks().items()
        return next((point for point in table.points if point.clocks.items() <= present), table.points[0])

    def finished(self, start_s: float, end_s: float) -> None:
        """Note when an inference ran: the next load is its busy share."""
        self._previous_start_s = start_s
        self._busy_s = end_s - start_s

    def _load(self, now_s: float) -> float | None:
        if self._previous_start_s is None or now_s <= self._previous_start_s:
            return None
        return min(1.0, self._busy_s / (now_s - self._previous_start_s))
