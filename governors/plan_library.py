"""The situations that a cost table's plans have come up in, each worked out once."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .plan_cases import Case
from .plan_outlook import Outlooks
from .plan_worth import Worth

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from edgeexit.protocols import CostTable, Observation

    from .plan_cases import Options
    from .plan_outlook import Outlook

    Array = NDArray[Any]

MAX_CASES: Final = 1000


class Library:
    """The plans of one cost table, and the cases that have come up.

    Args:
        table: Costs.
        points: Indices of the operating points that may be set, one at least.
        looks_at_every_exit: From the exit rule.
        options: The governor's.
    """

    def __init__(self, table: CostTable, points: Sequence[int], looks_at_every_exit: bool, options: Options) -> None:
        self.table = table
        self._options = options
        self._outlooks = Outlooks(table, points, looks_at_every_exit)
        self._worth = Worth(self._outlooks)
        self._cases: dict[Any, Case] = {}
        self._made = 0

    def case(self, observation: Observation) -> Case:
        """Return the plans for an observation; its times count only by the length of the period."""
        o = observation
        clocks = tuple([o.clocks.get(name) for name in self._outlooks.names])
        distribution, usual = o.exit_distribution, o.usual_exits
        key = (
            o.segments_done,
            o.next_exit,
            clocks,
            o.latency_guard,
            o.looked_share,
            o.floor_exit,
            o.deadline_s is None and o.next_request_s is None,
            o.energy_budget_j is None,
            self._worth.period(o),
            distribution if distribution is None or type(distribution) is tuple else tuple(distribution),
            usual if usual is None or type(usual) is tuple else tuple(usual),
        )
        case = self._cases.get(key)
        if case is None:
            case = self._cases[key] = self._make_case(o)
        return case

    def fallbacks(self, whole: Case, observation: Observation) -> Iterator[Case]:
        """Yield what else may be done where no plan of `whole` is in time, the best first.

        Once something has been looked at: go straight to the deepest exit. Else, or then: stop at a shallower one, not
        before the floor. Then: go straight to any of them, also to one before the next exit.
        """
        skips = not self._outlooks.every
        if skips and observation.segments_done:
            yield self._other(whole, observation, whole.deepest, straight=True)
        for exit_index in range(whole.deepest - 1, max(observation.next_exit, observation.floor_exit) - 1, -1):
            yield self._other(whole, observation, exit_index, straight=False)
        if skips:
            for exit_index in range(whole.deepest, self._nearest_exit(observation) - 1, -1):
                yield self._other(whole, observation, exit_index, straight=True)

    def nearest(self, whole: Case, observation: Observation) -> Case:
        """Return the plans to the first exit that may answer."""
        exit_index = min(self._nearest_exit(observation), whole.deepest)
        if self._outlooks.every:
            exit_index = max(exit_index, observation.next_exit)
        return self._other(whole, observation, exit_index, straight=not self._outlooks.every)

    def newest_exit(self, observation: Observation) -> int:
        """Return the exit that was looked at last, as far as the segments tell; -1 if there is none."""
        return bisect_left(self.table.exit_segments, observation.segments_done) - 1

    def _nearest_exit(self, observation: Observation) -> int:
        return max(self.newest_exit(observation) + 1, observation.floor_exit)

    def rest_clocks(self, observation: Observation) -> dict[str, int] | None:
        """Return the clocks to change to until the next request, None to stay."""
        point = self._worth.rest_point(observation)
        return None if point is None else self._outlooks.clocks[point]

    def _other(self, whole: Case, observation: Observation, exit_index: int, *, straight: bool) -> Case:
        other = whole.others.get((exit_index, straight))
        if other is None:
            other = self._make_case(observation, exit_index, straight=straight)
            whole.others[exit_index, straight] = other
        return other

    def _make_case(self, o: Observation, cut: int | None = None, *, straight: bool = False) -> Case:
        """Sum up the plans to exit `cut`, or as deep as the distribution goes; `straight`: it is the next looked at."""
        self._make_room()
        answers, supported = self._outlooks.answers(o.exit_distribution, o.next_exit)
        if not self._options.per_sample and o.usual_exits is not None:
            answers = self._outlooks.usually(o.usual_exits, supported, o.next_exit)
        deepest = int(np.flatnonzero(supported)[-1]) + o.next_exit
        last, next_exit = deepest if cut is None else min(cut, deepest), o.next_exit
        if straight:
            next_exit, answers, supported = last, np.ones(1), np.ones(1, dtype=np.bool_)
        outlook = self._outlooks.outlook(next_exit, answers, supported, last, o.looked_share)
        sequences = self._outlooks.sequences[next_exit][outlook.plan]
        costs = self._add_lead(o, outlook, sequences[:, 0], next_exit, last)
        return Case(
            *costs,
            sequences=sequences,
            clocks=self._outlooks.clocks,
            deepest=last,
            cut=last < deepest,
            straight=straight,
            budget=o.energy_budget_j is not None,
        )

    def _add_lead(
        self, o: Observation, outlook: Outlook, first: Array, next_exit: int, last: int
    ) -> tuple[Array, Array, Array, Array]:
        """Return (M,) worst time, worst energy, fixed energy and idle power of plans, from the present clocks on.

        Args:
            o: The observation.
            outlook: The plans.
            first: (M,) the point that each begins at.
            next_exit: The exit looked at next.
            last: The deepest.
        """
        outlooks, s = self._outlooks, self._outlooks.stretches
        skipped_s, skipped_j = (each[first] for each in outlooks.skipped(o.segments_done, next_exit))
        changes = outlooks.changes_from(o.clocks)[first]
        switch_s, lead_j = changes * s.switch_s, changes * s.switch_j + skipped_j
        worst_s = outlooks.worst_s(next_exit, last, outlook, o.latency_guard) + o.latency_guard * skipped_s + switch_s
        fixed_j, idle_w = outlook.expected_j + lead_j, np.zeros_like(worst_s)
        if o.deadline_s is not None or o.next_request_s is not None:
            idle_w = outlook.idle_w
            fixed_j = fixed_j - outlook.idle_before_j - idle_w * (switch_s + skipped_s)
            fixed_j = fixed_j + outlook.ends @ self._worth.at_rest(o)
        else:
            fixed_j = fixed_j + self._options.joules_per_second * (outlook.expected_s + switch_s + skipped_s)
        if not self.table.has_energy:
            fixed_j, idle_w = worst_s, np.zeros_like(worst_s)
        return worst_s, outlook.worst_j + lead_j, fixed_j, idle_w

    def _make_room(self) -> None:
        """Forget all cases once they are too many: each is made again from its key alone."""
        if self._made >= MAX_CASES:
            self._cases.clear()
            self._made = 0
        self._made += 1
