"""What the plans of a cost table come to, whatever the clocks are now and however much time is left."""

from __future__ import annotations

from math import inf
from operator import ne
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from .plan_sequences import Stretches, find_sequences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from edgeexit.protocols import Clocks, CostTable, Distribution

    Array = NDArray[Any]

MAX_WAYS: Final = 6
"""How many ways to look are compared for each sequence of points."""
MAX_POINTS: Final = 64


class Outlook(NamedTuple):
    """M plans from the next exit on, whatever the clocks are now; (M,)."""

    plan: Array
    """Which sequence of points each follows."""
    worst_s: Array
    """Work in the worst case."""
    worst_switch_s: Array
    worst_j: Array
    expected_j: Array
    expected_s: Array
    idle_w: Array
    idle_before_j: Array
    """What the idle power after the answer would have drawn until then."""
    ends: Array
    """(M, P) the probability to end at each point."""


class Outlooks:
    """The sequences of a cost table, and what they come to.

    Args:
        table: Costs.
        points: Indices of the operating points that may be set, one at least.
        looks_at_every_exit: From the exit rule.

    Attributes:
        every: Whether the rule looks at every exit.
        stretches: Costs by stretch and point.
        sequences: For each exit the (N, K - e) sequences of points from it on.
        clocks: Of each point.
        changes: (P, P) how many clocks differ between two points.
        has_energy: Whether the table has energies.
    """

    def __init__(self, table: CostTable, points: Sequence[int], looks_at_every_exit: bool) -> None:
        points = points if len(points) <= MAX_POINTS else _worth_a_thought(table, points)
        self.every = looks_at_every_exit
        self.has_energy = table.has_energy
        self.stretches = Stretches.of(table, points)
        self.sequences = find_sequences(self.stretches, looks_at_every_exit=looks_at_every_exit)
        self.clocks = [dict(table.points[point].clocks) for point in points]
        self.names = tuple(self.clocks[0])
        self.changes = np.array([self.changes_from(clocks) for clocks in self.clocks])
        self._exit_segments = table.exit_segments
        self._segments_s = np.array([np.cumsum((0.0, *table.points[point].segment_latency_s)) for point in points])
        energies = [table.points[point].segment_energy_j or () for point in points] if table.has_energy else []
        self._segments_j = np.array([np.cumsum((0.0, *energy)) for energy in energies])

    def answers(self, distribution: Distribution | None, first: int) -> tuple[Array, Array]:
        """Return (K - first,) the probability of each exit from `first` on to answer, and whether it may be looked at.

        What the distribution gives to exits before counts at `first`: nothing can answer earlier any more.
        """
        count = self.stretches.exits
        if distribution is not None and len(distribution) == count:
            given = np.array(distribution, dtype=np.float64)
            given = np.where(given > 0.0, given, 0.0)
            answers = given[first:]
            answers[0] += given[:first].sum()
            total = answers.sum()
            if 0.0 < total < inf:
                supported = answers > 0.0
                supported[0] = True
                return answers / total, supported
        answers = np.zeros(count - first)
        answers[-1] = 1.0
        return answers, np.ones(count - first, dtype=np.bool_)

    def usually(self, usual: Distribution, supported: Array, first: int) -> Array:
        """Return how often the supported exits usually answer, given that none before `first` has."""
        answers = np.where(supported, np.maximum(np.array(usual, dtype=np.float64)[first:], 1e-9), 0.0)
        return np.asarray(answers / answers.sum())

    def outlook(self, first: int, answers: Array, supported: Array, last: int, share: float) -> Outlook:
        """Sum up the plans from exit `first` on.

        A plan follows a sequence of points, and looks at every supported exit up to one of them; from there it goes
        straight to exit `last`, if it has come so far. A rule that looks at every exit leaves no such choice.

        Args:
            first: The exit looked at next.
            answers: (K - first,) probability to answer.
            supported: (K - first,) which exits may be looked at.
            last: The deepest exit allowed; it answers for those behind it.
            share: How many of the exits on the way the rule looks at.
        """
        depth, s = last - first + 1, self.stretches
        answers, looked = self._looks(answers, supported, depth, share)
        sequences, rows = self.sequences[first][:, :depth], np.arange(first, last + 1)
        segment_s, segment_j = s.segment_s[rows, sequences], s.segment_j[rows, sequences]
        head_s, head_j = s.head_s[rows, sequences], s.head_j[rows, sequences]
        switches = np.zeros(sequences.shape)
        switches[:, 1:] = self.changes[sequences[:, :-1], sequences[:, 1:]]
        reached = answers[:, ::-1].cumsum(axis=1)[:, ::-1]
        heads = reached if self.every else answers + share * (reached - answers) * (looked > 0.0)
        heads[:, 0] = 1.0
        passed = segment_s + switches * s.switch_s
        if self.every:
            until_s = (passed + head_s).cumsum(axis=1)
        else:
            until_s = passed.cumsum(axis=1) + head_s
            until_s[:, 1:] += head_s[:, :1]
        idle_w = s.idle_w[sequences]
        at_point = sequences[:, :, np.newaxis] == np.arange(s.points)
        plans, ways = len(sequences), len(answers)

        def each(by_plan: Array) -> Array:
            return np.repeat(by_plan, ways)

        return Outlook(
            plan=each(np.arange(plans)),
            worst_s=each(segment_s.sum(axis=1)) + (head_s @ looked.T).ravel(),
            worst_switch_s=each(switches.sum(axis=1) * s.switch_s),
            worst_j=each((segment_j + switches * s.switch_j).sum(axis=1)) + (head_j @ looked.T).ravel(),
            expected_j=((segment_j + switches * s.switch_j) @ reached.T + head_j @ heads.T).ravel(),
            expected_s=(until_s @ answers.T).ravel(),
            idle_w=(idle_w @ answers.T).ravel(),
            idle_before_j=((idle_w * until_s) @ answers.T).ravel(),
            ends=np.einsum("nkp,lk->nlp", at_point, answers).reshape(plans * ways, s.points),
        )

    def worst_s(self, first: int, last: int, outlook: Outlook, guard: float) -> Array:
        """Return (M,) how long plans from exit `first` may take until exit `last` has answered, guard included.

        A rule that skips exits may ask nothing between two looks, and the clock stays. So what is promised is not the
        plan itself, but the way that can be gone whatever the rule says: the next look, and then straight to the end at
        the one point that is quickest.
        """
        planned_s = guard * outlook.worst_s + outlook.worst_switch_s
        if self.every or last == first:
            return planned_s
        s = self.stretches
        point = self.sequences[first][outlook.plan, 0]
        straight_s = guard * (s.segment_s[first + 1 : last + 1].sum(axis=0) + s.head_s[last])
        onward_s = (straight_s + self.changes * s.switch_s).min(axis=1)
        look_s = guard * (s.segment_s[first] + s.head_s[first])
        return np.asarray(np.maximum(planned_s, (look_s + onward_s)[point]))

    def _looks(self, answers: Array, supported: Array, depth: int, share: float) -> tuple[Array, Array]:
        """Return for each of L ways to look (L, depth) the probability of each exit to answer, and to be looked at.

        The first way is to look at the next exit and the last alone; each further one may look at one exit more. The
        exits on the way are looked at with probability `share` if the sample comes so far.
        """
        answers = answers[:depth].copy()
        answers[-1] += 1.0 - answers.sum()
        if self.every:
            return answers[np.newaxis], np.ones((1, depth))
        stops = np.flatnonzero(supported[:depth])
        stops = stops[stops < depth - 1] if depth > 1 else stops
        if len(stops) > MAX_WAYS:
            stops = stops[np.linspace(0, len(stops) - 1, MAX_WAYS).round().astype(np.intp)]
        allowed = supported[:depth] & (np.arange(depth) <= stops[:, np.newaxis])
        allowed[:, -1] = True
        given = np.where(allowed, answers, 0.0)
        given[:, -1] += 1.0 - given.sum(axis=1)
        looked = np.where(allowed, share, 0.0)
        looked[:, 0] = looked[:, -1] = looked[np.arange(len(stops)), stops] = 1.0
        return given, looked

    def skipped(self, segments_done: int, next_exit: int) -> tuple[Array, Array]:
        """Return (P,) time and energy of the segments to run before the next exit's stretch.

        They are negative where part of that stretch has run.
        """
        begin = self._exit_segments[next_exit - 1] + 1 if next_exit else 0
        skipped_s = self._segments_s[:, begin] - self._segments_s[:, segments_done]
        if not self.has_energy:
            return skipped_s, np.zeros_like(skipped_s)
        return skipped_s, self._segments_j[:, begin] - self._segments_j[:, segments_done]

    def changes_from(self, clocks: Clocks) -> Array:
        """Return (P,) how many clocks have to change to get to each point."""
        present = [clocks.get(name) for name in self.names]
        return np.array([sum(map(ne, point.values(), present)) for point in self.clocks])


def _worth_a_thought(table: CostTable, points: Sequence[int]) -> list[int]:
    """Return points that no other beats in the time and in the energy of every piece; at most `MAX_POINTS`."""
    rows = {point: _figures(table, point) for point in points}
    kept = [
        point
        for position, point in enumerate(points)
        if not any(
            (rows[other] <= rows[point]).all() and ((rows[other] < rows[point]).any() or earlier < position)
            for earlier, other in enumerate(points)
            if other != point
        )
    ]
    if len(kept) <= MAX_POINTS:
        return kept
    return [kept[round(place)] for place in np.linspace(0, len(kept) - 1, MAX_POINTS)]


def _figures(table: CostTable, point: int) -> Array:
    """Return the times of all pieces, and their energies as they are and beyond idling."""
    costs = table.points[point]
    latency_s = np.array([*costs.segment_latency_s, *costs.head_latency_s])
    if not table.has_energy:
        return latency_s
    energy_j = np.array([*(costs.segment_energy_j or ()), *(costs.head_energy_j or ())])
    idle_w = costs.idle_power_w or 0.0
    return np.concatenate([latency_s, energy_j, energy_j - idle_w * latency_s, [idle_w]])
