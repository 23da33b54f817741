"""The cheapest clock that is still in time even if the forecast is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from operator import mul

from edgeexit.protocols import Clocks, CostTable, Decision, Distribution, Observation, PointCosts

ROUNDING_S = 1e-9
"""Kept free before the deadline where a slower clock is chosen: times are sums of rounded figures."""


class Deadline:
    """Sets the clock with the least expected energy among those that keep the deadline whatever the forecast.

    **In time.** The worst case is the deepest exit that the exit distribution gives a probability (without one: the
    last) and every head on the way to it: a rule that skips exits looks at each of them when all its forecasts fail.
    A clock may run the next piece, that is the segments up to the next exit and its head, only if at least one of two
    plans ends by the deadline in the worst case, switches counted wherever the clock changes::

        stay     [switch] + piece + rest, all at this clock
        hurry    [switch] + piece at this clock, then [switch] + rest at the highest allowed clock

    At the next exit the governor is asked again, and there the rest of that plan is among its choices: so the deadline
    holds by induction, for as long as the cost table is right and no exit gets a probability that had none. The
    latencies of pieces and rests are multiplied by the observation's `latency_guard` here, and only here. Where no
    clock has such a plan, the one that is least late is set: the highest, unless too little is left to switch for.

    **Cheapest.** A clock counts as much as the cheaper of its plans that are in time. A plan's energy is the
    expectation over the exit distribution of work, switches, and idling from the answer to the next request, or to the
    deadline if that is not known: a board that races to idle draws power there too. Without a distribution the worst
    exit is taken for certain.

    Without a deadline the clock with the least expected energy is set: of work and switches, and of idling if the next
    request is known; else idling belongs to nobody. Without a cost table nothing is known of time: the highest clocks
    if there is a deadline, else they are left.

    **No energy figures.** A board without a meter has a table of times alone. That a slow clock saves energy cannot be
    taken for granted there: static power is drawn for as long as the work takes. On a Jetson TX2, metered
    (profiles/jetson-tx2.json), a frame at the lowest clock costs 3.1 times the least energy, at the highest 1.33 times,
    and for the Raspberry Pi its kernel's maintainers say that intermediate clocks rarely pay (raspberrypi/linux issue
    1335). So the choice with the smaller regret, and the safest for the deadline, is made: race to idle, at the
    highest clock. Without a deadline the clocks are left.
    """

    name = "deadline"

    def decide(self, observation: Observation) -> Decision:
        """Return the cheapest clocks that are in time."""
        table = observation.cost_table
        points = table.allowed_points(observation.operating_points) if table is not None else []
        if table is None or not points:
            return _without_costs(observation)
        rest = _Rest.of(observation, table)
        idles_until_s = observation.next_request_s if table.has_energy else None
        if observation.deadline_s is None and idles_until_s is None:
            return _least_energy(observation, table, points, rest)
        left_s = inf if observation.deadline_s is None else observation.deadline_s - observation.now_s
        until_s = left_s if idles_until_s is None else idles_until_s - observation.now_s
        return _Plans(observation, table, points[-1], rest, left_s, until_s).choose(points)


def _without_costs(observation: Observation) -> Decision:
    if not observation.operating_points:
        return Decision({}, reason="no clock to set")
    if observation.deadline_s is None:
        return Decision({}, reason="no cost table: clocks left as they are")
    highest = {name: points[-1] for name, points in observation.operating_points.items() if points}
    return Decision(highest, reason="no cost table: highest clocks for the deadline")


def _is_set(clocks: Clocks, current: Clocks) -> bool:
    """Return whether a board whose clocks are `current` runs at `clocks` already."""
    for name, frequency_hz in clocks.items():  # noqa: SIM110  a generator in `all` costs three times as much
        if current.get(name) != frequency_hz:
            return False
    return True


def _known(energy_j: float | None) -> float:
    """Return an energy, or infinity where it is not known: then nothing is chosen for it."""
    return inf if energy_j is None else energy_j


def _least_energy(observation: Observation, table: CostTable, points: list[int], rest: _Rest) -> Decision:
    best, best_j = points[-1], inf
    for index in points:
        point = table.points[index]
        switch_j = 0.0 if _is_set(point.clocks, observation.clocks) else _known(table.switch_energy_j)
        piece_j = _known(table.work(index, observation.segments_done, observation.next_exit).energy_j)
        energy_j = switch_j + piece_j + rest.expect(point)[1]
        if energy_j < best_j:
            best, best_j = index, energy_j
    if best_j == inf:
        return Decision({}, reason="no deadline, and energy not known: clocks left as they are")
    return Decision(table.points[best].clocks, reason=f"least energy, no deadline: {best_j:.4g} J expected")


@dataclass(frozen=True, slots=True)
class _Rest:
    """What may run behind the next exit.

    The weights say how probable it is that a segment, or a head, behind the next exit is run.
    """

    start: int
    """How many segments have run when the next exit is looked at."""
    worst_exit: int
    probability: float
    """That the next exit does not answer."""
    segment_weights: list[float]
    head_weights: list[float]

    @classmethod
    def of(cls, observation: Observation, table: CostTable) -> _Rest:
        """Work out the rest from the observation's exit distribution."""
        exits, first = table.exit_segments, observation.next_exit
        answers = _answers(observation.exit_distribution, first, len(exits) - 1)
        segments, heads = [0.0] * len(table.points[0].segment_latency_s), [0.0] * len(exits)
        worst, reached, end = len(exits) - 1, 0.0, len(segments)
        while answers[worst] <= 0.0:
            worst -= 1
        for exit_index in range(worst, first, -1):  # from the back, so that sums of probabilities never turn negative
            reached += answers[exit_index]
            heads[exit_index] = reached if observation.looks_at_every_exit else answers[exit_index]
            start, end = exits[exit_index - 1] + 1, exits[exit_index] + 1
            segments[start:end] = [reached] * (end - start)
        return cls(max(exits[first] + 1, observation.segments_done), worst, reached, segments, heads)

    def expect(self, point: PointCosts) -> tuple[float, float]:
        """Return the expected seconds and joules at an operating point; joules not known are infinite."""
        segments, heads = self.segment_weights, self.head_weights
        latency_s = sum(map(mul, segments, point.segment_latency_s)) + sum(map(mul, heads, point.head_latency_s))
        segment_j, head_j = point.segment_energy_j, point.head_energy_j
        if segment_j is None or head_j is None:
            return latency_s, inf
        return latency_s, sum(map(mul, segments, segment_j)) + sum(map(mul, heads, head_j))


def _answers(distribution: Distribution | None, first: int, last: int) -> list[float]:
    """Return the probability of each exit to answer, given that exit `first` is looked at next.

    What the distribution gives to exits before `first` counts there: nothing can answer earlier any more.
    """
    if distribution is not None and len(distribution) == last + 1:
        answers = [0.0] * first + [probability if probability > 0.0 else 0.0 for probability in distribution[first:]]
        answers[first] += sum(probability for probability in distribution[:first] if probability > 0.0)
        total = sum(answers)
        if 0.0 < total < inf:
            return [probability / total for probability in answers]
    return [0.0] * last + [1.0]


class _Plans:
    """Judges operating points by the plans that start with them.

    `left_s` is the time until the deadline, and `until_s` the time for which idling counts.
    """

    __slots__ = (
        "_guard",
        "_left_s",
        "_observation",
        "_rest",
        "_switch_j",
        "_table",
        "_top",
        "_top_expected",
        "_top_idle_w",
        "_top_rest_s",
        "_until_s",
    )

    def __init__(
        self, observation: Observation, table: CostTable, top: int, rest: _Rest, left_s: float, until_s: float
    ) -> None:
        self._observation = observation
        self._table = table
        self._top = top
        self._rest = rest
        self._left_s = left_s
        self._until_s = until_s
        self._guard = observation.latency_guard
        self._top_rest_s = self._worst_rest_s(top)
        self._top_expected = rest.expect(table.points[top])
        self._top_idle_w = table.points[top].idle_power_w
        self._switch_j = _known(table.switch_energy_j)

    def choose(self, points: list[int]) -> Decision:
        """Return the point with the cheapest plan in time, the top one if energy is not known, or the least late.

        The top point is the last of `points`.
        """
        best, best_j, least_late, most_spare_s, spare_s = -1, inf, self._top, -inf, -inf
        for index in points:
            spare_s, energy_j = self._judge(index)
            if energy_j < best_j:
                best, best_j = index, energy_j
            if spare_s >= most_spare_s:
                least_late, most_spare_s = index, spare_s
        if best >= 0:
            return Decision(self._table.points[best].clocks, reason=f"cheapest in time: {best_j:.4g} J expected")
        if spare_s >= -ROUNDING_S:
            return Decision(self._table.points[self._top].clocks, reason="energy not known: highest clocks")
        clocks = self._table.points[least_late].clocks
        if most_spare_s >= -ROUNDING_S:
            return Decision(clocks, reason="energy not known: clocks that are in time")
        return Decision(clocks, reason=f"quickest, and yet up to {-most_spare_s:.4g} s late")

    def _judge(self, index: int) -> tuple[float, float]:
        """Return the time to spare in the worst case, and the energy of the cheapest plan in time (inf: none is)."""
        table, rest, observation = self._table, self._rest, self._observation
        point = table.points[index]
        piece_s, piece_j = table.work(index, observation.segments_done, observation.next_exit)
        begin_j = inf if piece_j is None else piece_j
        after_s, spare_s = self._until_s - piece_s, self._left_s - self._guard * piece_s
        if not _is_set(point.clocks, observation.clocks):
            after_s -= table.switch_latency_s
            spare_s -= table.switch_latency_s
            begin_j += self._switch_j
        if index == self._top:
            stay_s = spare_s - self._top_rest_s
            return stay_s, self._stay_j(begin_j, point, after_s) if stay_s >= -ROUNDING_S else inf
        stay_s = spare_s - self._worst_rest_s(index)
        energy_j = self._stay_j(begin_j, point, after_s) if stay_s >= ROUNDING_S else inf
        if rest.probability <= 0.0:
            return stay_s, energy_j
        hurry_s = spare_s - table.switch_latency_s - self._top_rest_s
        if hurry_s >= ROUNDING_S:
            energy_j = min(energy_j, self._hurry_j(begin_j, point, after_s))
        return max(stay_s, hurry_s), energy_j

    def _stay_j(self, begin_j: float, point: PointCosts, after_s: float) -> float:
        """Return what a plan is expected to draw, idling included, if it goes on as it began."""
        rest_s, rest_j = self._rest.expect(point)
        if point.idle_power_w is None:
            return inf
        return begin_j + rest_j + point.idle_power_w * max(after_s - rest_s, 0.0)

    def _hurry_j(self, begin_j: float, point: PointCosts, after_s: float) -> float:
        """Return what a plan is expected to draw, idling included, if it goes on at the top clock."""
        onward = self._rest.probability
        rest_s, rest_j = self._top_expected
        idle_s = onward * (after_s - self._table.switch_latency_s) - rest_s
        idle_w, top_idle_w = point.idle_power_w, self._top_idle_w
        if idle_w is None or top_idle_w is None:
            return inf
        idle_j = (1.0 - onward) * idle_w * max(after_s, 0.0) + top_idle_w * max(idle_s, 0.0)
        return begin_j + onward * self._switch_j + rest_j + idle_j

    def _worst_rest_s(self, index: int) -> float:
        rest, first_head = self._rest, self._observation.next_exit + 1
        if rest.worst_exit < first_head:
            return 0.0
        return self._guard * self._table.work(index, rest.start, rest.worst_exit, first_head=first_head).latency_s
