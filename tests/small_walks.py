"""Small networks, rules and boards to work the best choice of clocks out for, without any grid."""

from functools import cache
from itertools import product

import numpy as np

from edgeexit.offline.verdict_states import count_states
from edgeexit.protocols import CostTable, PointCosts, Verdict

FIRST = Verdict(False, 0, (0.5, 0.3, 0.2))
EASY = Verdict(False, 1, (0.0, 0.8, 0.2))
HARD = Verdict(False, 2, (0.0, 0.0, 1.0))
VERDICTS = (FIRST, EASY, HARD)
STRETCHES = {100: (4.0, 4.0), 200: (2.0, 3.2), 400: (1.0, 4.5)}
"""Clock -> seconds and joules of a segment; a head takes a tenth."""


def make_table(*, stretches=None, idle_w=0.5, switch_s=0.3, switch_j=0.4, exits=3):
    """Segments of equal length, one an exit; `idle_w` may be one figure a point."""
    chosen = STRETCHES if stretches is None else stretches
    idles = [idle_w] * len(chosen) if isinstance(idle_w, float) else idle_w
    points = tuple(
        PointCosts(
            clocks=dict(zip(("cpu", "gpu"), clock, strict=True)) if isinstance(clock, tuple) else {"gpu": clock},
            idle_power_w=idle,
            segment_latency_s=(s,) * exits,
            segment_energy_j=(j,) * exits,
            head_latency_s=(s / 10,) * exits,
            head_energy_j=(j / 10,) * exits,
        )
        for (clock, (s, j)), idle in zip(chosen.items(), idles, strict=True)
    )
    return CostTable(points, tuple(range(exits)), switch_s, switch_j, source="modelled")


def make_walks(*ways):
    """Return the verdicts at each ask (S, A) and the asks (S,) of samples given as (how many, indices of verdicts)."""
    most = max(len(way) for _, way in ways)
    rows = [[*way, *[-1] * (most - len(way))] for count, way in ways for _ in range(count)]
    asks = [len(way) for count, way in ways for _ in range(count)]
    return np.array(rows), np.array(asks)


def usual_states():
    """Half of the samples are answered at once, some after an easy and some after a hard look, few are wrong."""
    rows, asks = make_walks((5, (0,)), (3, (0, 1)), (1, (0, 1, 2)), (1, (0, 2)))
    return count_states(VERDICTS, rows, asks, exit_count=3)


class Exact:
    """The least mean energy of a period by trying every sequence of clocks, in exact time."""

    def __init__(self, states, table, deadline_s, period_s, *, every, rests=True):
        self.states, self.table, self.every, self.rests = states, table, every, rests
        self.deadline_s, self.period_s = deadline_s, period_s
        self.points = range(len(table.points))

    def changes(self, a, b):
        one, other = self.table.points[a].clocks, self.table.points[b].clocks
        return sum(one[name] != other[name] for name in one)

    def work(self, newest, exit_index, point):
        return self.table.work(point, newest + 1, exit_index)

    def fits(self, newest, chain, clock, first, left_s):
        """Try every sequence of clocks for the looks of `chain` that begins with `first`."""
        for rest in product(self.points, repeat=len(chain) - 1):
            taken, before, now = 0.0, newest, clock
            for exit_index, point in zip(chain, (first, *rest), strict=True):
                taken += self.changes(now, point) * self.table.switch_latency_s
                taken += self.work(before, exit_index, point).latency_s
                before, now = exit_index, point
            if taken <= left_s + 1e-9:
                return True
        return False

    def choices(self, state):
        """Return the looks that must be in time for each choice, and whether it goes straight to the last of them."""
        deepest = state.possible[-1]
        if self.every:
            return [(tuple(range(state.next_exit, deepest + 1)), False)]
        look = (state.next_exit,) if state.next_exit == deepest else (state.next_exit, deepest)
        return [(look, False), *([((deepest,), True)] if state.newest >= 0 else [])]

    def rest_j(self, point, idle_s, values):
        """Return the least of idling until the next request, with one more switch where there is time for it."""

        def after(to):
            left_s = idle_s - self.changes(point, to) * self.table.switch_latency_s
            if to != point and not (self.rests and left_s >= -1e-9):
                return np.inf
            switch_j = self.changes(point, to) * self.table.switch_energy_j
            return switch_j + self.table.points[to].idle_power_w * left_s + values[to]

        return min(after(to) for to in self.points)

    def mean_energy_j(self, rounds=60):
        values = [0.0] * len(self.table.points)
        for _ in range(rounds):
            after = self._period(tuple(values))
            gain = min(a - v for a, v in zip(after, values, strict=True) if a < np.inf and v < np.inf)
            least = min(after)
            values = [a - least for a in after]
        return gain

    def _period(self, values):
        @cache
        def solve(index, clock, left_s):
            state, best = self.states[index], np.inf
            for (chain, straight), point in product(self.choices(state), self.points):
                if self.fits(state.newest, chain, clock, point, left_s):
                    best = min(best, run(state, clock, point, left_s, straight))
            return best

        def run(state, clock, point, left_s, straight):
            changes = self.changes(clock, point)
            work = self.work(state.newest, state.possible[-1] if straight else state.next_exit, point)
            left_s -= changes * self.table.switch_latency_s + work.latency_s
            idle_s = left_s + self.period_s - self.deadline_s
            rest_j = self.rest_j(point, idle_s, values)
            energy_j = changes * self.table.switch_energy_j + work.energy_j
            if straight:
                return energy_j + rest_j
            if state.answered:
                energy_j += state.answered * rest_j
            return energy_j + sum(share * solve(index, point, left_s) for index, share in state.following)

        return [solve(0, clock, self.deadline_s) for clock in self.points]
