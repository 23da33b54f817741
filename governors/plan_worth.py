"""What a clock is worth at the end of an inference: to the next, and while the board idles."""

from __future__ import annotations

from math import inf, isfinite
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeexit.protocols import Distribution, Observation

    from .plan_outlook import Outlook, Outlooks

    Array = NDArray[Any]

PERIOD_STEPS: Final = 10_000_000
"""Periods are told apart by this part of the whole network's time: finer than a head, coarser than rounding."""
MOST_UNITS: Final = 1e15
SHALLOW: Final = 10.0
"""How many of the dearest inferences it counts as to end at a clock from which the next cannot reach as deep as from
others, because there is no time for a switch: no accuracy is given up for energy."""
ROUNDS: Final = 30
"""Of value iteration."""
ROUNDING: Final = 1e-9
"""Share of an energy by which sums of the same figures may differ."""
MAX_WORTHS: Final = 200


class Worth:
    """What each point at the end of a period costs the periods to come.

    Args:
        outlooks: The plans of a cost table.
    """

    def __init__(self, outlooks: Outlooks) -> None:
        self._outlooks = outlooks
        stretches = outlooks.stretches
        self._whole_s = float((stretches.segment_s + stretches.head_s).min(axis=1).sum()) or 1.0
        self._unit_s = self._whole_s / PERIOD_STEPS
        self._known: dict[Any, Array] = {}

    def period(self, o: Observation) -> tuple[int, int] | None:
        """Return the time for the answer and the whole period in whole units; None if neither is known."""
        end_s = o.deadline_s if o.next_request_s is None else o.next_request_s
        due_s = end_s if o.deadline_s is None else o.deadline_s
        if o.requested_s is None or end_s is None or due_s is None or min(due_s, end_s) <= o.requested_s:
            return None
        due, end = (min((time_s - o.requested_s) / self._unit_s, MOST_UNITS) for time_s in (due_s, end_s))
        return int(due + 0.5), int(end + 0.5)

    def of(self, o: Observation) -> Array:
        """Return (P,) in joules what each point at the end of a period costs the periods to come.

        It is the relative value of Howard's average-cost dynamic programming for the exits that usually answer. Clocks
        from which the next inference would have to be cut short are worth nothing.
        """
        period = self.period(o)
        if period is None or not self._outlooks.has_energy:
            return np.zeros(self._outlooks.stretches.points)
        usual = o.usual_exits
        if usual is None and o.segments_done == 0:
            usual = o.exit_distribution
        rests = o.next_request_s is not None
        key = (period, rests, o.latency_guard, o.looked_share, o.floor_exit, None if usual is None else tuple(usual))
        if key not in self._known:
            if len(self._known) >= MAX_WORTHS:
                self._known.clear()
            self._known[key] = self._iterate(o, period, usual, rests=rests)
        return self._known[key]

    def at_rest(self, o: Observation) -> Array:
        """Return (P,) the same, where the clock may still change once the answer stands."""
        worth = self.of(o)
        if o.next_request_s is None:
            return worth
        return np.asarray((worth + self._outlooks.changes * self._outlooks.stretches.switch_j).min(axis=1))

    def rest_point(self, observation: Observation) -> int | None:
        """Return the point to change to until the next request, None to stay.

        It costs least until the next request and is worth most there; without a known next request, or with too little
        time to change, the clocks stay.
        """
        o = observation
        if o.next_request_s is None or not self._outlooks.has_energy:
            return None
        changes = self._outlooks.changes_from(o.clocks)
        switch_s = changes * self._outlooks.stretches.switch_s
        idle_s = o.next_request_s - o.now_s - switch_s
        worth = self.of(o)
        cost_j = changes * self._outlooks.stretches.switch_j + self._outlooks.stretches.idle_w * idle_s + worth
        cost_j = np.where((idle_s >= 0.0) | (changes == 0), cost_j, inf)
        least_j = float(cost_j.min())
        if not isfinite(least_j):
            return None
        alike = cost_j <= least_j + ROUNDING * abs(least_j)  # to change now or later may cost the same: change now
        worth = np.where(alike, worth, inf)
        best = worth <= worth.min() + ROUNDING * abs(least_j)
        return None if best[changes == 0].any() else int(best.argmax())

    def _iterate(self, o: Observation, period: tuple[int, int], usual: Distribution | None, *, rests: bool) -> Array:
        guard, share, floor = o.latency_guard, o.looked_share, o.floor_exit
        answers, _ = self._outlooks.answers(usual, 0)
        first = int(np.flatnonzero(answers)[0])
        answers, supported = self._outlooks.answers(usual, first)
        due_s, end_s = (length * self._unit_s for length in period)
        outlook, in_time, late_s = self._reach(first, max(first, floor), answers, supported, due_s, guard, share)
        points = self._outlooks.sequences[first][outlook.plan, 0]
        skipped_s, skipped_j = self._outlooks.skipped(0, first)
        changes = self._outlooks.changes[:, points]
        energy_j = outlook.expected_j - outlook.idle_before_j + skipped_j[points]
        energy_j = energy_j + changes * self._outlooks.stretches.switch_j
        energy_j = energy_j + outlook.idle_w * (end_s - changes * self._outlooks.stretches.switch_s - skipped_s[points])
        energy_j = np.where(in_time, energy_j, inf)
        dearest_j = float(energy_j[np.isfinite(energy_j)].max())
        cut_j = np.where(late_s > 0.0, SHALLOW * dearest_j * (1.0 + late_s / self._whole_s), 0.0)
        between_j = self._outlooks.changes * self._outlooks.stretches.switch_j
        worth = np.zeros(self._outlooks.stretches.points)
        for _ in range(ROUNDS):
            at_rest = (worth + between_j).min(axis=1) if rests else worth
            value = (energy_j + outlook.ends @ at_rest).min(axis=1) + cut_j
            worth = value - value.min()
        return worth

    def _reach(
        self, first: int, floor: int, answers: Array, supported: Array, due_s: float, guard: float, share: float
    ) -> tuple[Outlook, Array, Array]:
        """Return the plans of an inference from its start, as deep as they reach in time from some clock.

        Returns:
            The M plans, (P, M) which of them are in time from each clock (the quickest where none is), and (P,) by how
            much the quickest is late; 0 where it is not.
        """
        skipped_s, _ = self._outlooks.skipped(0, first)
        deepest = int(np.flatnonzero(supported)[-1]) + first
        for last in range(deepest, min(floor, deepest) - 1, -1):
            outlook = self._outlooks.outlook(first, answers, supported, last, share)
            points = self._outlooks.sequences[first][outlook.plan, 0]
            switch_s = self._outlooks.changes[:, points] * self._outlooks.stretches.switch_s
            worst_s = self._outlooks.worst_s(first, last, outlook, guard) + guard * skipped_s[points] + switch_s
            in_time = np.asarray(worst_s <= due_s + self._unit_s)
            if in_time.any():
                break
        shallow = ~in_time.any(axis=1)
        in_time[shallow] = worst_s[shallow] <= worst_s[shallow].min(axis=1, keepdims=True)
        return outlook, in_time, np.where(shallow, worst_s.min(axis=1) - due_s, 0.0)
