"""One period of the search for the least energy without foresight, solved backwards on a grid of slack.

The equations are those of `edgeexit.offline.optimum`, energy counted beyond the least idling: so the idling of a whole
period is a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, inf
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgeexit.errors import DataError
from edgeexit.offline.stretches import StretchCosts
from edgeexit.offline.verdict_states import VerdictState

FloatArray = NDArray[np.float64]

ROUNDING: Final = 1e-9
"""Share of a deadline by which it may be missed: times are sums of rounded figures."""
GRID_ROUNDING: Final = 1e-7
"""Share of a grid step that counts as none."""


def worst_looks(state: VerdictState, deepest: int, every: bool) -> tuple[int, ...]:
    """Return the exits that must be looked at from a state on until `deepest` answers, if no other does.

    A rule that skips exits can be told after the next look to go straight to the deepest.
    """
    if every:
        return tuple(range(state.next_exit, deepest + 1))
    return (state.next_exit, deepest) if state.next_exit < deepest else (deepest,)


class Grid(NamedTuple):
    """Slacks from `first_s` on, `step_s` apart; the start has the one with index `start`."""

    first_s: float
    step_s: float
    size: int
    start: int

    def slack_s(self) -> FloatArray:
        """Return (T,) the slacks."""
        return np.asarray(self.first_s + self.step_s * np.arange(self.size), dtype=np.float64)

    def shift(self, time_s: float, *, rounds_up: bool) -> int:
        """Return a difference of time as a whole number of steps."""
        steps = time_s / self.step_s
        return ceil(steps - GRID_ROUNDING) if rounds_up else floor(steps + GRID_ROUNDING)


class Problem:
    """The decision process, but for the grid and the values of the clocks to end at.

    Attributes:
        states: What a governor can see.
        rests: Whether the clock may still change once an answer stands.
        worst_s: (states,) how long the worst case takes from each at the fastest point.
        needed_s: (states) of (P,) the slack that is needed to run up to the next look at a point.
        straight_s: (states) of (P,) the slack that is needed to go straight to the deepest exit at a point; None where
            that is not allowed: before the first look, if the rule looks at every exit, or if it is the next anyway.
    """

    def __init__(
        self,
        states: Sequence[VerdictState],
        costs: StretchCosts,
        deadline_s: float,
        period_s: float,
        every: bool,
        *,
        rests: bool = True,
    ) -> None:
        self.states = states
        self.rests = rests
        self.costs = costs
        self.deadline_s = deadline_s
        self.period_s = period_s
        self.tolerance_s = ROUNDING * deadline_s
        chains = [worst_looks(state, state.possible[-1], every) for state in states]
        fastest = int(costs.chain_s(-1, range(costs.exit_count)).argmin())
        pairs = list(zip(states, chains, strict=True))
        self.worst_s = [float(costs.chain_s(state.newest, chain)[fastest]) for state, chain in pairs]
        self.needed_s = [
            costs.quickest_s(state.newest, chain) - worst_s
            for (state, chain), worst_s in zip(pairs, self.worst_s, strict=True)
        ]
        self.straight_s = [
            None if every or state.newest < 0 or len(chain) == 1 else costs.time_s(state.newest, chain[-1]) - worst_s
            for (state, chain), worst_s in zip(pairs, self.worst_s, strict=True)
        ]
        self._require_coherence()

    def make_grid(self, step_s: float) -> Grid:
        """Return a grid with steps of about `step_s` that the start lies on, and of which a switch is a multiple."""
        costs, start_s = self.costs, self.deadline_s - self.worst_s[0]
        if costs.switch_s > 0.2 * step_s:
            step_s = costs.switch_s / ceil(costs.switch_s / step_s)
        needs_s = [needed_s for needed_s in (*self.needed_s, *self.straight_s) if needed_s is not None]
        least_s = min(start_s, *(float(needed_s.min()) for needed_s in needs_s))
        most_s = self.deadline_s
        if not costs.extra_idle_w.any():
            most_s = min(most_s, self._most_useful_s() + 2 * costs.exit_count * step_s)
        below = ceil((start_s - least_s) / step_s)
        size = below + max(0, ceil((most_s - start_s) / step_s)) + 1
        return Grid(start_s - below * step_s, step_s, size, below)

    def _most_useful_s(self) -> float:
        """Return the slack from which on more is of no use: all may run at the slowest point, with switches."""
        costs, most_s = self.costs, 0.0
        most_changes = int(costs.changes.max())
        rest_s = max(0.0, most_changes * costs.switch_s - (self.period_s - self.deadline_s)) if self.rests else 0.0
        for state, worst_s in zip(self.states, self.worst_s, strict=True):
            chain = range(state.next_exit, state.possible[-1] + 1)
            stretches = zip((state.newest, *chain), chain, strict=False)
            slowest_s = sum(float(costs.time_s(a, b).max()) for a, b in stretches)
            switches_s = len(chain) * most_changes * costs.switch_s
            most_s = max(most_s, slowest_s + switches_s + rest_s - worst_s)
        return most_s

    def _require_coherence(self) -> None:
        for state in self.states:
            ahead = {e for index, _ in state.following for e in self.states[index].possible}
            if wrong := {e for e in ahead if e > state.possible[-1]}:
                raise DataError(
                    f"the rule's forecast before exit {state.next_exit} rules out exit {min(wrong)}, and behind it no "
                    "longer: no deadline is sure with such a rule, and no choice of clocks the best"
                )


class Round:
    """One backward pass over all states.

    Args:
        problem: What to solve.
        grid: Of slack.
        values: (P,) what ending a period at a clock is worth to those behind it.
        rounds_up: How the grid rounds times left: up gives a lower bound of the energy, down an upper one.
    """

    def __init__(self, problem: Problem, grid: Grid, values: FloatArray, *, rounds_up: bool) -> None:
        self._problem = problem
        self._costs = problem.costs
        self._grid = grid
        self._values = values
        self._rounds_up = rounds_up
        self._slack_s = grid.slack_s()
        most_s = grid.step_s * (1 + int(self._costs.changes.max()))
        rounding_j = float(self._costs.extra_idle_w.max()) * most_s
        self._rounding_j = -rounding_j if rounds_up else rounding_j
        self._pad = -grid.shift(-int(self._costs.changes.max()) * self._costs.switch_s, rounds_up=False)
        self._ahead: list[FloatArray] = [np.empty(0)] * len(problem.states)
        self._rests = self._make_rests()

    def run(self) -> FloatArray:
        """Return (P,) the least expected energy, with the value of what follows, of a period from each clock."""
        for index in range(len(self._ahead) - 1, -1, -1):
            run = self._look(index)
            if (straight_s := self._problem.straight_s[index]) is not None:
                np.minimum(run, self._go_straight(index, straight_s), out=run)
            self._ahead[index] = np.array([self._choose(run, clock) for clock in range(len(self._values))])
        return np.asarray(self._ahead[0][:, self._grid.start] + self._costs.idle_w * self._problem.period_s)

    def _look(self, index: int) -> FloatArray:
        """Return (P, pad + T) the expected energy to come if work up to the next look runs at a point."""
        problem, state = self._problem, self._problem.states[index]
        time_s, worst_s = self._costs.time_s(state.newest, state.next_exit), problem.worst_s[index]
        run, energy_j = self._empty()
        energy_j[:] = self._costs.extra_j(state.newest, state.next_exit)[:, np.newaxis] + self._rounding_j
        if state.answered > 0.0:
            energy_j += state.answered * self._idle(self._slack_s + worst_s - time_s[:, np.newaxis])
        for following, share in state.following:
            for point, spent_s in enumerate(time_s):
                left_s = worst_s - spent_s - problem.worst_s[following]
                shift = self._grid.shift(left_s, rounds_up=self._rounds_up)
                _add_shifted(energy_j[point], share, self._ahead[following][point], shift)
        self._forbid(energy_j, problem.needed_s[index])
        return run

    def _go_straight(self, index: int, straight_s: FloatArray) -> FloatArray:
        """Return (P, pad + T) the energy to come if all up to the deepest exit runs at a point, with no other look."""
        state = self._problem.states[index]
        stretch = state.newest, state.possible[-1]
        run, energy_j = self._empty()
        left_s = self._slack_s + self._problem.worst_s[index] - self._costs.time_s(*stretch)[:, np.newaxis]
        energy_j[:] = self._costs.extra_j(*stretch)[:, np.newaxis] + self._rounding_j + self._idle(left_s)
        self._forbid(energy_j, straight_s)
        return run

    def _empty(self) -> tuple[FloatArray, FloatArray]:
        """Return (P, pad + T) infinite energies, and (P, T) the view of them without the padding for a switch."""
        run = np.full((len(self._values), self._pad + self._grid.size), inf)
        return run, run[:, self._pad :]

    def _forbid(self, energy_j: FloatArray, needed_s: FloatArray) -> None:
        energy_j[self._slack_s + self._problem.tolerance_s < needed_s[:, np.newaxis]] = inf

    def _choose(self, run: FloatArray, clock: int) -> FloatArray:
        """Return (T,) the least energy to come at a clock over the points that are allowed."""
        costs, size = self._costs, self._grid.size
        best = np.full(size, inf)
        for changes in np.unique(costs.changes[clock]):
            rows = np.flatnonzero(costs.changes[clock] == changes)
            first = self._pad + self._grid.shift(-changes * costs.switch_s, rounds_up=self._rounds_up)
            energy_j = run[rows, first : first + size].min(axis=0) + changes * costs.switch_j
            np.minimum(best, energy_j, out=best)
        return best

    def _idle(self, left_s: FloatArray) -> FloatArray:
        """Return (P, T) what follows an answer, with `left_s` (P, T) until the deadline.

        It is what idling draws beyond the least, and the value of the clock that the period ends at. If the clock may
        change once the answer stands, the best of these choices counts that are done when the next request comes.
        """
        idle_s = left_s + (self._problem.period_s - self._problem.deadline_s)
        best = np.asarray(self._costs.extra_idle_w[:, np.newaxis] * idle_s + self._values[:, np.newaxis])
        for changes, extra_w, value in self._rests:
            after_s = idle_s - changes * self._costs.switch_s
            rest_j = extra_w[:, np.newaxis] * after_s + (value + changes * self._costs.switch_j)[:, np.newaxis]
            np.minimum(best, rest_j, out=best, where=after_s >= -self._problem.tolerance_s)
        return best

    def _make_rests(self) -> list[tuple[int, FloatArray, FloatArray]]:
        """Return the choices of who has answered: how many clocks change, and (P,) extra idle power and value then.

        From each point every choice leads to one clock. Where all idle alike, of those that as many changes lead to the
        one with the least value is enough.
        """
        costs, values = self._costs, self._values
        if not self._problem.rests:
            return []
        numbers = [int(number) for number in np.unique(costs.changes) if number]
        if not costs.extra_idle_w.any():
            least = [np.where(costs.changes == number, values, inf).min(axis=1) for number in numbers]
            return list(zip(numbers, [costs.extra_idle_w] * len(numbers), least, strict=True))
        return [
            (number, np.full(len(values), costs.extra_idle_w[to]), np.where(costs.changes[:, to] == number, value, inf))
            for number in numbers
            for to, value in enumerate(values)
        ]


def _add_shifted(total: FloatArray, share: float, energy_j: FloatArray, shift: int) -> None:
    """Add `share` of `energy_j` read `shift` entries on: infinite before its start, its last behind its end."""
    size = len(total)
    first, last = min(size, max(0, -shift)), max(0, min(size, size - shift))
    total[:first] = inf
    total[first:last] += share * energy_j[first + shift : last + shift]
    total[max(first, last) :] += share * energy_j[-1]
