"""The least expected energy over the exit distribution, in time even if every forecast is wrong."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace
from itertools import chain
from math import inf, isfinite
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from edgeexit.errors import OptionError
from edgeexit.protocols import CostTable, Decision, Observation

from .deadline import Deadline
from .plan_cases import Case, Options
from .plan_library import Library

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]

ROUNDING_S: Final = 1e-9
"""By how much a plan may end after the deadline: times are sums of rounded figures."""
MAX_LIBRARIES: Final = 3


class Plan:
    """Plans the rest of an inference over the exit distribution and sets the first clock of the best plan.

    **Plan.** A plan gives each stretch that may still run (the segments up to an exit, and its head) an operating
    point, and says up to which exit it looks. Until the next exit has been looked at nothing new is learnt, so that a
    governor can do no better than to follow such a plan; `plan_sequences` finds the sequences of points that are worth
    a thought by dynamic programming, once for a cost table. At the next exit, with new evidence, the governor plans
    anew (open-loop feedback control: Bertsekas, Dynamic Programming and Optimal Control, volume 1, section 6.2).

    **Energy.** Of the plans in time the one with the least expected energy is begun. It counts work weighted by the
    probability that it runs, switches, idling from the answer to the next request (or to the deadline, if nothing is
    known of the next), and what the clock it ends at is worth to the next inference: so a switch that pays only over
    several periods is made. That worth is the relative value of average-cost dynamic programming (Howard, Dynamic
    Programming and Markov Processes, 1960), by value iteration for the exits that usually answer. With neither
    deadline nor next request the idling belongs to nobody: then energy of work and switches is least, or that plus
    `joules_per_second` times the expected latency.

    **In time.** A plan is in time if the deepest exit that the distribution gives a probability has answered by the
    deadline whatever the forecast: with `latency_guard` times the table's latencies, with its switches, and with the
    heads of all exits that it may look at. Behind the last of these it goes straight to the deepest exit
    (`Decision.next_exit`); a plan that looks at fewer exits has more time for slow clocks, and counts as running deeper
    where an exit that it does not look at would have answered. A rule that looks at every exit leaves no such choice.
    All constant plans are among the choices, so a plan that was in time can be gone on with: the deadline holds by
    induction, as long as no latency exceeds the guarded one and no exit gets a probability that had none.

    **Out of time.** Where no plan is in time, or within the energy budget, these are tried in turn: once something has
    been looked at, to go straight to the deepest exit; the deepest exit that is reached in time becomes `max_exit`, not
    before `floor_exit`; to go straight to one that may answer. An answer from a shallower exit is chosen before a late
    one. If no exit is reached, the newest look answers; if nothing has been looked at, the quickest plan is begun. A
    budget that not even the first answer allowed can keep is left out of account, and the reason says so.

    **At rest.** Once an answer stands and the next request is known, the clocks change to those that cost least until
    then and are worth most there: a switch that no deadline has time for is made between inferences. Energy never
    lowers the depth: a clock from which the next inference could not reach as deep as from others is worth nothing.

    Without a cost table, or without a known operating point, the governor "deadline" decides. With a table of times
    alone the quickest plan counts as the cheapest, for the reasons given there.

    Args:
        per_sample: False plans with how often each exit usually answers instead of this sample's forecast: what the
            forecast is worth is the difference.
        joules_per_second: How much energy a second of latency is worth; used where there is no deadline.

    Raises:
        OptionError: If `joules_per_second` is negative or not finite.
    """

    name = "plan"

    def __init__(self, *, per_sample: bool = True, joules_per_second: float = 0.0) -> None:
        if not (isfinite(joules_per_second) and joules_per_second >= 0.0):
            raise OptionError(
                f"joules_per_second of governor 'plan' must be finite and not negative, not {joules_per_second}"
            )
        self._options = Options(bool(per_sample), float(joules_per_second))
        self._libraries: dict[Any, Library | None] = {}
        self._without_costs = Deadline()

    def prepare(
        self, cost_table: CostTable, operating_points: Mapping[str, tuple[int, ...]], looks_at_every_exit: bool
    ) -> None:
        """Find the sequences for a cost table."""
        self._library(cost_table, operating_points, looks_at_every_exit)

    def decide(self, observation: Observation) -> Decision:
        """Return the first clocks of the plan with the least expected energy among those in time."""
        o = observation
        library = self._library_of(o)
        if library is None:
            return self._without_costs.decide(o)
        whole = library.case(o)
        left_s = inf if o.deadline_s is None else o.deadline_s - o.now_s + ROUNDING_S
        end_s = o.deadline_s if o.next_request_s is None else o.next_request_s
        period_s = 0.0 if end_s is None else end_s - o.now_s
        best = _choose(whole, left_s, period_s, o.energy_budget_j)
        if best >= 0:
            return whole.decision(best)
        for case in library.fallbacks(whole, o):
            best = _choose(case, left_s, period_s, o.energy_budget_j)
            if best >= 0:
                return case.decision(best)
        return self._beyond(o, library, whole)

    def decide_many(self, observation: Observation, now_s: Array) -> tuple[Sequence[Decision], Array]:
        """Return the decisions that occur, and (S,) which is for each time in `now_s` (S,)."""
        library = self._library_of(observation)
        if library is None:
            times = map(float, now_s)
            return [self._without_costs.decide(replace(observation, now_s=now)) for now in times], np.arange(len(now_s))
        whole = library.case(observation)
        decisions: list[Decision] = []
        which = np.full(len(now_s), -1)
        for case in chain([whole], library.fallbacks(whole, observation)):
            left = np.flatnonzero(which < 0)
            best = _choose_many(case, observation, now_s[left])
            for plan in np.unique(best[best >= 0]):
                which[left[best == plan]] = len(decisions)
                decisions.append(case.decision(int(plan)))
            if (best >= 0).all():
                return decisions, which
        left = np.flatnonzero(which < 0)
        if observation.energy_budget_j is None or library.newest_exit(observation) >= observation.floor_exit:
            which[left] = len(decisions)
            decisions.append(self._beyond(observation, library, whole))
            return decisions, which
        more, which[left] = self.decide_many(replace(observation, energy_budget_j=None), now_s[left])
        which[left] += len(decisions)
        return [*decisions, *map(_over_budget, more)], which

    def rest(self, observation: Observation) -> Decision:
        """Return the clocks until the next request: those that cost least until then and suit the next inference."""
        library = self._library_of(observation)
        clocks = None if library is None else library.rest_clocks(observation)
        if clocks is None:
            return Decision({}, reason="the clocks stay until the next request")
        return Decision(clocks, reason="for the next request")

    def _beyond(self, o: Observation, library: Library, whole: Case) -> Decision:
        """Decide where no exit is reached in time and within the budget."""
        newest = library.newest_exit(o)
        if newest >= o.floor_exit:
            why = "in time" if o.energy_budget_j is None else "in time and within the energy budget"
            return Decision({}, max_exit=newest, reason=f"no further exit is reached {why}: the newest look answers")
        if o.energy_budget_j is not None:
            return _over_budget(self.decide(replace(o, energy_budget_j=None)))
        case = library.nearest(whole, o)
        return case.decision(int(case.worst_s.argmin()), late=True)

    def _library_of(self, o: Observation) -> Library | None:
        table = o.cost_table
        if table is None or not o.operating_points:
            return None
        if o.deadline_s is None and not table.has_energy:
            return None
        return self._library(table, o.operating_points, o.looks_at_every_exit)

    def _library(
        self, table: CostTable, operating_points: Mapping[str, tuple[int, ...]], every: bool
    ) -> Library | None:
        key = (id(table), every, *operating_points.items())
        library = self._libraries.get(key)
        if library is not None and library.table is table:
            return library
        points = table.allowed_points(operating_points)
        if not points:
            return None
        if len(self._libraries) >= MAX_LIBRARIES:
            del self._libraries[next(iter(self._libraries))]
        library = self._libraries[key] = Library(table, points, every, self._options)
        return library


def _over_budget(decision: Decision) -> Decision:
    return replace(decision, reason=f"the energy budget cannot be kept; {decision.reason}")


def _choose(case: Case, left_s: float, period_s: float, budget_j: float | None) -> int:
    """Return the plan of a case with the least expected energy in time and within the budget; -1 if there is none."""
    if case.times_s is not None:
        return bisect_right(case.times_s, left_s) - 1
    fits = case.worst_s <= left_s
    if budget_j is not None:
        fits &= case.worst_j <= budget_j
    best = int(np.where(fits, case.fixed_j + case.idle_w * period_s, inf).argmin())
    return best if fits[best] else -1


def _choose_many(case: Case, o: Observation, now_s: Array) -> Array:
    """Return (S,) what `_choose` says at each time in `now_s` (S,)."""
    left_s = np.full(len(now_s), inf) if o.deadline_s is None else o.deadline_s - now_s + ROUNDING_S
    if case.times_s is not None:
        return np.asarray(np.searchsorted(case.worst_s, left_s, side="right") - 1)
    end_s = o.deadline_s if o.next_request_s is None else o.next_request_s
    period_s = np.zeros(len(now_s)) if end_s is None else end_s - now_s
    energy_j = case.fixed_j[:, np.newaxis] + case.idle_w[:, np.newaxis] * period_s
    fits = case.worst_s[:, np.newaxis] <= left_s
    if o.energy_budget_j is not None:
        fits = fits & (case.worst_j <= o.energy_budget_j)[:, np.newaxis]
    best = np.where(fits, energy_j, inf).argmin(axis=0)
    return np.where(fits[best, np.arange(len(now_s))], best, -1)
