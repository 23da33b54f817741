"""Worked by hand on the board of `edgeexit.testing.observations`: 1.1, 1.8, 3.7 and 7.4 W at 100 to 400 MHz."""

from dataclasses import replace

import numpy as np
import pytest

from edgeexit.errors import OptionError
from edgeexit.protocols import CostTable, DecidesMany, Decision, PointCosts, PreparesAhead, SetsClocksAtRest
from edgeexit.registry import load_governor
from edgeexit.testing.observations import FREQUENCIES_HZ, make_cost_table, make_observation


class Recorder:
    """A governor that keeps what it is asked, and decides what it is told to."""

    name = "recorder"

    def __init__(self, decision=None):
        self.decision = Decision({}, reason="as they are") if decision is None else decision
        self.asked = []

    def decide(self, observation):
        self.asked.append(observation)
        return self.decision


def power_cap(power_cap_w, governor="performance"):
    inner = load_governor(governor) if isinstance(governor, str) else governor
    return load_governor("power-cap", power_cap_w=power_cap_w, governor=inner)


def mhz(decision):
    return decision.clocks["gpu"] / 1e6


@pytest.mark.parametrize(("power_cap_w", "clock_mhz"), [(7.5, 400), (7.3, 300), (3.8, 300), (3.6, 200), (1.2, 100)])
def test_it_asks_with_the_clocks_that_draw_no_more_than_the_cap(power_cap_w, clock_mhz):
    decision = power_cap(power_cap_w).decide(make_observation())
    assert mhz(decision) == clock_mhz
    assert decision.reason == f"highest clocks; power cap {power_cap_w} W"


def test_if_even_the_lowest_clocks_draw_more_they_are_set_and_the_reason_says_so():
    decision = power_cap(0.8).decide(make_observation())
    assert mhz(decision) == 100
    assert decision.reason.endswith("; the lowest clocks draw 1.1 W, cap 0.8 W")


def test_one_piece_of_work_that_draws_more_counts():
    # 200 MHz with a third segment of 40 mJ in 10 ms: 4 W.
    table = make_cost_table()
    hot = replace(
        table.points[1], segment_latency_s=(0.02, 0.02, 0.01, 0.02), segment_energy_j=(0.036, 0.036, 0.04, 0.036)
    )
    table = replace(table, points=(table.points[0], hot, *table.points[2:]))
    assert mhz(power_cap(3.8).decide(make_observation(cost_table=table))) == 100
    assert mhz(power_cap(4.1).decide(make_observation(cost_table=table))) == 300


def test_idling_counts_too():
    table = make_cost_table()
    points = tuple(replace(point, idle_power_w=1.0 + index) for index, point in enumerate(table.points))
    assert mhz(power_cap(1.9).decide(make_observation(cost_table=replace(table, points=points)))) == 100
    assert mhz(power_cap(2.1).decide(make_observation(cost_table=replace(table, points=points)))) == 200


def test_a_piece_that_takes_no_time_has_no_power():
    table = make_cost_table()
    points = tuple(replace(point, head_latency_s=(0.0,) * 4, head_energy_j=(0.0,) * 4) for point in table.points)
    assert mhz(power_cap(3.8).decide(make_observation(cost_table=replace(table, points=points)))) == 300


def test_each_domain_is_cut_at_the_clock_of_the_fastest_point():
    def point(cpu, gpu, power_w):
        return PointCosts({"cpu": cpu, "gpu": gpu}, 0.5, (1.0,), (power_w,), (1.0,), (power_w,))

    points = (point(1, 10, 2.0), point(1, 20, 4.0), point(2, 10, 3.0), point(2, 20, 5.0))
    table = CostTable(points, (0,), 0.0, 0.0, source="modelled")
    inner = Recorder()
    board = make_observation(cost_table=table, operating_points={"cpu": (1, 2), "gpu": (10, 20)}, clocks={})
    for power_cap_w, cpu, gpu in [(5.0, (1, 2), (10, 20)), (4.5, (1, 2), (10,)), (2.5, (1,), (10,))]:
        power_cap(power_cap_w, inner).decide(board)
        assert inner.asked[-1].operating_points == {"cpu": cpu, "gpu": gpu}


@pytest.mark.parametrize("table", [None, make_cost_table(metered=False), make_cost_table(domains=("npu",))])
def test_without_power_figures_nothing_is_capped(table):
    decision = power_cap(2.0).decide(make_observation(cost_table=table))
    assert mhz(decision) == 400
    assert decision.reason == "highest clocks; power not known, not capped"


def test_a_clock_above_the_cap_that_the_inner_governor_leaves_comes_down():
    fast = make_observation(clocks={"gpu": 400_000_000})
    assert power_cap(2.0, Recorder()).decide(fast).clocks == {"gpu": 200_000_000}
    assert power_cap(2.0, Recorder()).decide(make_observation(clocks={})).clocks == {"gpu": 200_000_000}
    assert power_cap(2.0, Recorder()).decide(make_observation(clocks={"gpu": 100_000_000})).clocks == {}


def test_the_deepest_exit_is_the_inner_governor_s():
    assert power_cap(2.0, Recorder(Decision({}, max_exit=2))).decide(make_observation()).max_exit == 2


def test_below_a_cap_the_deadline_is_kept_with_a_sooner_exit():
    # 4 x 22 ms at 200 MHz: the last exit is late after 60 ms, the second is not.
    observation = make_observation(deadline_s=10.060, clocks={"gpu": 200_000_000})
    assert power_cap(8.0, "plan").decide(observation).max_exit is None
    assert power_cap(2.0, "plan").decide(observation).max_exit == 1


class Planner(Recorder):
    """A governor with all that a governor may have."""

    def __init__(self):
        super().__init__()
        self.prepared = []

    def prepare(self, cost_table, operating_points, looks_at_every_exit):
        self.prepared.append((cost_table, operating_points, looks_at_every_exit))

    def decide_many(self, observation, now_s):
        self.asked.append(observation)
        return [Decision({}, reason="soon"), Decision({}, reason="later")], (now_s > 10.0).astype(int)


def test_it_can_decide_many_and_prepare_where_the_inner_governor_can():
    assert not isinstance(power_cap(2.0, Recorder()), DecidesMany | PreparesAhead)
    assert isinstance(power_cap(2.0, Planner()), DecidesMany)
    assert isinstance(power_cap(2.0, Planner()), PreparesAhead)


def test_many_decisions_are_capped_like_one():
    inner = Planner()
    observation = make_observation(clocks={"gpu": 400_000_000})
    decisions, which = power_cap(2.0, inner).decide_many(observation, np.array([9.0, 11.0]))
    assert [decision.clocks for decision in decisions] == [{"gpu": 200_000_000}] * 2
    assert [decisions[index].reason for index in which] == ["soon; power cap 2 W", "later; power cap 2 W"]
    assert inner.asked[0].operating_points == {"gpu": FREQUENCIES_HZ[:2]}


def test_the_inner_governor_is_prepared_for_the_clocks_within_the_cap():
    inner, table = Planner(), make_cost_table()
    power_cap(2.0, inner).prepare(table, {"gpu": FREQUENCIES_HZ}, True)
    power_cap(2.0, inner).prepare(make_cost_table(metered=False), {"gpu": FREQUENCIES_HZ}, False)
    assert inner.prepared[0] == (table, {"gpu": FREQUENCIES_HZ[:2]}, True)
    assert inner.prepared[1][1:] == ({"gpu": FREQUENCIES_HZ}, False)


def test_another_table_or_other_clocks_are_noticed():
    governor = power_cap(3.8)
    assert mhz(governor.decide(make_observation())) == 300
    assert mhz(governor.decide(make_observation(operating_points={"gpu": FREQUENCIES_HZ[:2]}))) == 200
    table = make_cost_table()
    double = tuple(replace(p, segment_energy_j=tuple(2 * e for e in p.segment_energy_j)) for p in table.points)
    assert mhz(governor.decide(make_observation(cost_table=replace(table, points=double)))) == 200


def test_its_name_tells_what_it_wraps():
    inner = power_cap(2.0, "deadline")
    assert inner.name == "power-cap(deadline)"
    outer = load_governor("temperature-ceiling", ceiling_c=70.0, governor=inner)
    assert outer.name == "temperature-ceiling(power-cap(deadline))"


@pytest.mark.parametrize("power_cap_w", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_cap_is_refused(power_cap_w):
    with pytest.raises(OptionError, match="power_cap_w of governor 'power-cap' must be finite and above 0"):
        power_cap(power_cap_w)


def test_what_it_wraps_has_to_be_a_governor():
    with pytest.raises(OptionError, match="must be a governor, as load_governor makes it, not 'plan'"):
        load_governor("power-cap", power_cap_w=1.0, governor="plan")
    with pytest.raises(OptionError, match="needs the option governor"):
        load_governor("power-cap", power_cap_w=1.0)


class Resting:
    """A governor that leaves looks out, and wants the highest clock that is allowed between inferences."""

    name = "resting"

    def decide(self, observation):
        return Decision({}, max_exit=3, next_exit=2, reason="looks left out")

    def rest(self, observation):
        return Decision({"gpu": observation.operating_points["gpu"][-1]}, reason="at rest")


def test_what_the_inner_governor_says_of_exits_is_kept():
    decision = load_governor("power-cap", power_cap_w=2.0, governor=Resting()).decide(make_observation())
    assert (decision.max_exit, decision.next_exit) == (3, 2)


def test_clocks_at_rest_are_within_the_cap_too():
    # At 200 MHz the made-up board draws 1.8 W, at 300 MHz 3.7 W.
    governor = load_governor("power-cap", power_cap_w=2.0, governor=Resting())
    decision = governor.rest(make_observation(next_request_s=11.0))
    assert decision.clocks == {"gpu": 200_000_000}
    assert decision.reason == "at rest; power cap 2 W"


def test_a_cap_chooses_no_clocks_at_rest_where_the_inner_governor_does_not():
    governor = load_governor("power-cap", power_cap_w=2.0, governor=load_governor("performance"))
    assert not isinstance(governor, SetsClocksAtRest)
