"""More time never costs more expected energy, counted up to one and the same next request.

It holds for what a governor expects when it chooses: with more time it has all the choices that it had and more. What
it then draws may only be less, where new choices come up on the way. On boards whose clocks idle alike that keeps the
order too.
"""

import re

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgeexit.governors.plan_cases import Options
from edgeexit.governors.plan_library import Library
from edgeexit.protocols import CostTable, Observation, PointCosts
from edgeexit.registry import load_governor

NEXT_REQUEST_S = 20.0
shares = st.floats(0.02, 1.0)


@st.composite
def boards(draw, *, alike, switching):
    """A network on a board: time goes with 1 / f and power with f^3 if `alike`; else any figures."""
    exit_count, static_w = draw(st.integers(1, 4)), draw(shares)
    work_s = draw(st.lists(shares, min_size=exit_count, max_size=exit_count))
    idle_w = draw(st.floats(0.0, 1.0)) * static_w
    points = []
    for speed in range(1, draw(st.integers(1, 4)) + 1):
        if alike:
            latency_s = tuple(work / speed for work in work_s)
            energy_j = tuple((static_w + 0.1 * speed**3) * latency for latency in latency_s)
        else:
            latency_s, energy_j = (tuple(draw(shares) for _ in work_s) for _ in range(2))
        heads = tuple(0.1 * x for x in latency_s), tuple(0.1 * x for x in energy_j)
        points.append(PointCosts({"gpu": 100 * speed}, idle_w, latency_s, energy_j, *heads))
    switch_s, switch_j = (draw(st.floats(0.0, 0.1)), draw(st.floats(0.0, 0.3))) if switching else (0.0, 0.0)
    return CostTable(tuple(points), tuple(range(exit_count)), switch_s, switch_j, source="modelled")


@st.composite
def demands(draw, *, alike=False, switching=True):
    """A board, how probable each exit is, and two deadlines, at both of which the whole network fits."""
    table = draw(boards(alike=alike, switching=switching))
    exit_count = len(table.exit_segments)
    weights = draw(st.lists(shares, min_size=exit_count, max_size=exit_count))
    least_s = table.switch_latency_s + table.work(-1, 0, exit_count - 1, first_head=0).latency_s
    factors = sorted((draw(st.floats(1.001, 3.0)), draw(st.floats(1.001, 3.0))))
    return table, tuple(weight / sum(weights) for weight in weights), [factor * least_s for factor in factors]


def make_observation(table, distribution, deadline_s, **changes):
    known = {
        "now_s": 0.0,
        "segments_done": 0,
        "next_exit": 0,
        "exit_count": len(distribution),
        "exit_distribution": distribution,
        "looks_at_every_exit": True,
        "operating_points": {"gpu": tuple(point.clocks["gpu"] for point in table.points)},
        "clocks": {"gpu": 100},
        "cost_table": table,
        "deadline_s": deadline_s,
        "next_request_s": NEXT_REQUEST_S,
    }
    return Observation(**{**known, **changes})


def expected_by_plan_j(observation):
    """Return the least energy that the governor `plan` expects of a plan in time, idling until the next request."""
    table = observation.cost_table
    library = Library(table, range(len(table.points)), True, Options(per_sample=True, joules_per_second=0.0))
    case = library.case(observation)
    energies_j = case.fixed_j + case.idle_w * observation.next_request_s
    return energies_j[case.worst_s <= observation.deadline_s].min()


def expected_by_deadline_j(observation):
    """Return what the governor `deadline` says it expects until the deadline, and idling from there."""
    reason = load_governor("deadline").decide(observation).reason
    until_deadline_j = float(re.fullmatch(r"cheapest in time: (\S+) J expected", reason)[1])
    idle_w = observation.cost_table.points[0].idle_power_w
    return until_deadline_j + idle_w * (observation.next_request_s - observation.deadline_s)


def draw_j(governor, table, distribution, deadline_s):
    """Return the expected energy of all that the governor decides on the way, idling until the next request."""
    now_s, clock, reached, energy_j = 0.0, 100, 1.0, 0.0
    for exit_index in range(len(distribution)):
        ahead = sum(distribution[exit_index:])
        forecast = (0.0,) * exit_index + tuple(p / ahead for p in distribution[exit_index:])
        asked = {"now_s": now_s, "segments_done": exit_index, "next_exit": exit_index, "clocks": {"gpu": clock}}
        decision = governor.decide(make_observation(table, forecast, deadline_s, **asked))
        assert decision.max_exit is None
        if decision.clocks.get("gpu", clock) != clock:
            clock = decision.clocks["gpu"]
            now_s += table.switch_latency_s
            energy_j += reached * table.switch_energy_j
        work = table.work(clock // 100 - 1, exit_index, exit_index)
        now_s += work.latency_s
        answers = distribution[exit_index] if exit_index < len(distribution) - 1 else reached
        energy_j += reached * work.energy_j
        energy_j += answers * table.points[clock // 100 - 1].idle_power_w * (NEXT_REQUEST_S - now_s)
        reached -= answers
    return energy_j


@given(demands())
def test_plan_expects_no_more_energy_with_more_time(demand):
    table, distribution, (sooner_s, later_s) = demand
    sooner_j = expected_by_plan_j(make_observation(table, distribution, sooner_s))
    assert expected_by_plan_j(make_observation(table, distribution, later_s)) <= sooner_j


@given(demands())
def test_deadline_expects_no_more_energy_with_more_time(demand):
    table, distribution, (sooner_s, later_s) = demand
    assume(later_s < NEXT_REQUEST_S)
    sooner_j = expected_by_deadline_j(make_observation(table, distribution, sooner_s))
    later_j = expected_by_deadline_j(make_observation(table, distribution, later_s))
    assert later_j <= sooner_j + 2e-3 * max(1.0, sooner_j)  # the reason has four digits


@settings(derandomize=True)
@given(demands(alike=True))
def test_plan_draws_no_more_energy_with_more_time(demand):
    table, distribution, (sooner_s, later_s) = demand
    governor = load_governor("plan")
    sooner_j = draw_j(governor, table, distribution, sooner_s)
    assert draw_j(governor, table, distribution, later_s) <= sooner_j * (1.0 + 1e-9)
