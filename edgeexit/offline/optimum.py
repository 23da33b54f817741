"""The best that any governor with the same evidence could do: the exact optimum without foresight.

What a governor sees of a sample is one of few verdict states (`edgeexit.offline.verdict_states`), so the best choice of
clocks is a Markov decision process with a finite horizon inside one without end: the clock that an inference ends at is
the clock that the next begins with. The time left is part of the state, and it is solved backwards::

    V(s, c, t) = min over the points p allowed of  n(c, p) E_switch + Q(s, p, t - n(c, p) T_switch)
    Q(s, p, t) = E(s, p) + sum over s' of P(s' | s) V(s', p, t - T(s, p)) + P(answered | s) H(p, t - T(s, p))

    H(p, t) = min over c of  n(p, c) E_switch + idling at c until the period ends + h(c)

for state s, clock c, time left t; n(c, p) is how many clock domains change, T and E are time and energy of the stretch
to the next exit with its head, and h(c) is the relative value of ending a period at clock c (Puterman, Markov Decision
Processes, 1994, chapter 8: relative value iteration, where the least and the largest difference between two rounds
enclose the average cost). In H, where an answer stands, c is p or a clock for which there is time left until the next
request, n(p, c) T_switch: the clocks may be set once more then (`edgeexit.protocols.SetsClocksAtRest`).

**Duty.** All governors that are compared have the same one: from each state the deepest exit that the distribution
gives a probability must still be reached by the deadline, however unlikely that is; a point is allowed only if that
stays so. Of a rule that looks at every exit all heads on the way are counted, of a rule that skips exits the next one
and the deepest, because after any look a governor may go straight to the deepest (`Decision.next_exit`): one more
choice at each state but the first. Where the deadline is too short for that even from the best clock, the rule is cut,
for all samples and all governors alike, at the deepest exit that is reached. A clock to end at is allowed only if the
next inference can then do its duty.

**Grid.** Time left is kept as slack: what is left beyond the worst case at the fastest point. With a rule that looks at
every exit, who stays there keeps it exactly. All else is rounded to the grid, up for what no governor falls below and
down for what one surely achieves, so that the optimum lies between the two. They are close but where a choice that
matters ends at the deadline to the last digit, because rounding then decides whether it is in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgeexit.errors import OptionError
from edgeexit.offline.backward import ROUNDING, Grid, Problem, Round, worst_looks
from edgeexit.offline.stretches import StretchCosts, worthwhile_points
from edgeexit.offline.verdict_states import VerdictState, cut_at
from edgeexit.protocols import CostTable

FloatArray = NDArray[np.float64]

FIRST_STEPS: Final = 500
MAX_STEPS: Final = 32_000
"""How many steps of the grid a deadline has at first, and at most."""
MAX_ROUNDS: Final = 100
STEADY_ROUNDS: Final = 12
"""After so many rounds clocks whose energies stay apart are taken to do so for good."""
ENOUGH: Final = 1e-4
"""Share of the energy by which two rounds of value iteration may still differ."""
ALIKE: Final = 1e-3
"""Share of the energy by which the clocks may differ that a best governor moves among."""


@dataclass(frozen=True, slots=True)
class Optimum:
    """The least mean energy of a period, between two figures; as simulated as the cost table.

    Attributes:
        lower_j: No governor that does its duty needs less.
        upper_j: Some governor needs no more.
        cap: The exit at which the deadline cuts the rule; None where it fits in the worst case.
        states: How many states a sample can be in.
        grid_s: Step of the grid of time.
    """

    lower_j: float
    upper_j: float
    cap: int | None
    states: int
    grid_s: float

    @property
    def gap(self) -> float:
        """How far the two figures are apart, as a share of the lower one."""
        return self.upper_j / self.lower_j - 1.0


def optimum(
    states: Sequence[VerdictState],
    table: CostTable,
    deadline_s: float,
    period_s: float,
    *,
    looks_at_every_exit: bool,
    tolerance: float = 0.003,
    rests: bool = True,
) -> Optimum:
    """Return the least mean energy of a period that a governor without foresight can reach.

    Args:
        states: From `edgeexit.offline.verdict_states.count_states`: what a governor can know of the samples, counted
            on them, which favours the optimum.
        table: Costs of the bundle on the board.
        deadline_s: When an answer is due, from its request.
        period_s: Time from one request to the next, idling included; not below `deadline_s`.
        looks_at_every_exit: From the exit rule: the worst case then has every head.
        tolerance: By what share the two figures may differ; the grid is made finer until they do not.
        rests: False if clocks are not set between inferences.

    Raises:
        DataError: If the rule's forecast allows an exit behind a look that it ruled out before.
        OptionError: If the table has no energy figures, the period is shorter than the deadline, or the deadline is
            too short for the first look.
    """
    if not 0.0 < deadline_s <= period_s:
        raise OptionError(f"the period must be at least as long as the deadline, not {period_s} s and {deadline_s} s")
    costs = StretchCosts(table, worthwhile_points(table))
    cap = _deepest_in_time(states, costs, deadline_s, looks_at_every_exit)
    problem = Problem(cut_at(states, cap), costs, deadline_s, period_s, looks_at_every_exit, rests=rests)
    values: FloatArray = np.zeros(len(costs.points))
    steps = FIRST_STEPS
    while True:
        grid = problem.make_grid(deadline_s / steps)
        gains_j, values = _iterate(problem, grid, values, rounds_up=True)
        lower_j = float(gains_j.min())
        if lower_j == inf:
            raise OptionError(f"no choice of clocks keeps a deadline of {deadline_s:.4g} s period after period")
        upper_j = _achieve(problem, grid, values, gains_j)
        if upper_j <= lower_j * (1.0 + tolerance) or steps >= MAX_STEPS:
            cut = cap if cap < states[0].possible[-1] else None
            return Optimum(lower_j, upper_j, cut, len(problem.states), grid.step_s)
        steps *= 4


def _deepest_in_time(states: Sequence[VerdictState], costs: StretchCosts, deadline_s: float, every: bool) -> int:
    """Return the deepest exit that is reached in the worst case if an inference begins at the best clock."""
    start = states[0]
    for deepest in range(start.possible[-1], start.next_exit - 1, -1):
        needed_s = float(costs.quickest_s(start.newest, worst_looks(start, deepest, every)).min())
        if needed_s <= deadline_s * (1.0 + ROUNDING):
            return deepest
    raise OptionError(
        f"a deadline of {deadline_s:.4g} s is too short for the first look, which takes {needed_s:.4g} s: allow more"
    )


def _iterate(problem: Problem, grid: Grid, values: FloatArray, *, rounds_up: bool) -> tuple[FloatArray, FloatArray]:
    """Return (P,) the mean energy of a period from each clock, and (P,) the clocks' relative values.

    No choice needs less than the least of the energies, the choices found need no more than the largest that is finite.
    They stay apart where the deadline leaves no time for switches: then no choice leads from some clocks to others.

    Args:
        problem: What to solve.
        grid: Of slack.
        values: (P,) values to begin with; infinite for clocks that no period may end at.
        rounds_up: How the grid rounds times left.
    """
    gains_j: FloatArray = np.zeros(len(values))
    for count in range(MAX_ROUNDS):
        after = Round(problem, grid, values, rounds_up=rounds_up).run()
        known = np.isfinite(values) & np.isfinite(after)
        settled = bool((known == np.isfinite(values)).all())
        before_j, gains_j = gains_j, np.full(len(values), inf)
        if not known.any():
            break
        gains_j[known] = after[known] - values[known]
        values = after - after[known].min()
        enough_j = ENOUGH * float(gains_j.min())
        steady = count >= STEADY_ROUNDS and bool((np.abs(gains_j[known] - before_j[known]) <= enough_j / 10).all())
        if settled and (steady or np.ptp(gains_j[known]) <= enough_j):
            break
    return gains_j, values


def _achieve(problem: Problem, grid: Grid, values: FloatArray, gains_j: FloatArray) -> float:
    """Return a mean energy that is surely achieved by who begins at the best clock; infinite if the grid is too coarse.

    Only clocks as good as the best are tried first: if one can stay among them, others do not count.
    """
    alike = gains_j <= float(gains_j.min()) * (1.0 + ALIKE)
    for kept in (alike, np.isfinite(values)):
        achieved_j, _ = _iterate(problem, grid, np.where(kept, values, inf), rounds_up=False)
        found = np.isfinite(achieved_j)
        if found.any():
            return float(achieved_j[found].max())
    return inf
