"""On the board of `edgeexit.testing.observations`: points 0 to 3; a segment with its head takes 44 ms at point 0."""

import random
from itertools import pairwise
from math import exp

import pytest

from edgeexit.errors import OptionError
from edgeexit.runtime.learning import LearnedCosts
from edgeexit.testing.observations import make_cost_table, without_energy


def learned(**options):
    return LearnedCosts(make_cost_table(), **options)


def observe(costs, ratio, point=0, times=1):
    for _ in range(times):
        costs.observe(point, 0.010, 0.010 * ratio)


def publish(costs):
    correction = costs.propose()
    costs.accept(correction)
    return correction.table


def test_the_first_piece_corrects_every_operating_point():
    costs = learned()
    observe(costs, 2.0, point=1)
    assert costs.factors() == pytest.approx((2.0, 2.0, 2.0, 2.0))


def test_the_first_piece_at_another_point_puts_that_point_right_and_leaves_the_first():
    costs = learned()
    observe(costs, 2.0, point=0, times=50)
    observe(costs, 1.5, point=3)
    assert costs.factors()[3] == pytest.approx(1.5)
    assert costs.factors()[0] == pytest.approx(2.0, rel=0.03)


def test_points_between_two_observed_ones_take_the_nearest_once_there_are_three():
    costs = LearnedCosts(make_cost_table(frequencies_hz=tuple(100_000_000 * n for n in range(1, 8))))
    for _ in range(300):
        observe(costs, 1.0, point=0)
        observe(costs, 2.0, point=3)
        observe(costs, 1.0, point=6)
    costs.propose()
    factors = costs.factors()
    assert factors[0] == pytest.approx(1.0, rel=0.1)
    assert factors[3] == pytest.approx(2.0, rel=0.1)
    assert factors[1] == pytest.approx(2**0.5, rel=0.1)  # halfway between 1 and 2, in the logarithm


def test_heat_seen_at_one_point_corrects_the_others_too():
    costs = learned()
    for point in range(4):
        observe(costs, 1.0, point=point, times=10)
    observe(costs, 1.3, point=3, times=30)
    assert costs.factors()[3] == pytest.approx(1.3, rel=0.02)
    assert costs.factors()[0] == pytest.approx(1.3, rel=0.1)


def test_it_forgets():
    costs = learned()
    observe(costs, 1.8, times=50)
    observe(costs, 1.0, times=100)
    assert costs.factors()[0] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("ratio", "factor"), [(100.0, 4.0), (0.001, 0.5)])
def test_a_factor_is_bounded(ratio, factor):
    costs = learned()
    observe(costs, ratio, times=20)
    assert costs.factors()[0] == pytest.approx(factor)


def test_one_piece_that_was_held_up_changes_little():
    costs = learned()
    observe(costs, 1.0, times=50)
    observe(costs, 50.0)
    assert costs.factors()[0] < 1.06


@pytest.mark.parametrize(("expected_s", "measured_s"), [(0.0, 1.0), (1.0, 0.0)])
def test_no_time_teaches_nothing(expected_s, measured_s):
    costs = learned()
    costs.observe(0, expected_s, measured_s)
    assert costs.pieces == 0


# --- The table ---------------------------------------------------------------------------------------


def test_no_table_is_offered_before_something_has_moved():
    costs = learned()
    assert costs.propose() is None
    observe(costs, 1.02, times=10)
    assert costs.propose() is None


def test_the_corrected_table_has_the_latency_and_the_energy_of_longer_work():
    costs = learned()
    observe(costs, 2.0)
    table = publish(costs)
    assert table.work(0, 0, 0).latency_s == pytest.approx(0.088)
    assert table.work(0, 0, 0).energy_j == pytest.approx(1.1 * 0.088)
    assert table.points[0].idle_power_w == 0.5
    assert (table.switch_latency_s, table.switch_energy_j) == (0.001, 0.002)


def test_a_table_is_offered_once():
    costs = learned()
    observe(costs, 2.0)
    publish(costs)
    observe(costs, 2.0, times=10)
    assert costs.propose() is None


def test_a_new_table_corrects_the_first_not_the_one_before():
    costs = learned()
    observe(costs, 2.0)
    publish(costs)
    observe(costs, 3.0, times=200)
    assert publish(costs).work(0, 0, 0).latency_s == pytest.approx(0.132, rel=0.01)


def test_a_table_without_energy_stays_without():
    costs = LearnedCosts(without_energy(make_cost_table()))
    observe(costs, 2.0)
    table = publish(costs)
    assert not table.has_energy
    assert table.work(0, 0, 0).latency_s == pytest.approx(0.088)


# --- The guard ---------------------------------------------------------------------------------------


def test_the_guard_starts_where_it_was_told():
    assert learned().guard == pytest.approx(1.1)
    assert learned(start_guard=1.3).guard == pytest.approx(1.3)


def test_a_piece_that_took_longer_raises_the_guard_at_once():
    costs = learned()
    observe(costs, 1.0, times=10)
    observe(costs, 1.5)
    assert 1.5 <= costs.guard <= 1.54


def test_work_as_the_table_says_lets_the_guard_down_to_one_after_a_while():
    costs = learned(quantile=0.99)
    observe(costs, 1.0, times=99)
    assert costs.guard == pytest.approx(1.1)
    observe(costs, 1.0, times=2)
    assert costs.guard == pytest.approx(1.0)


def test_a_table_that_has_caught_up_is_not_guarded_again():
    costs = learned()
    observe(costs, 1.0, times=20)
    observe(costs, 2.0, times=60)
    assert costs.guard >= 2.0
    publish(costs)
    assert costs.factors()[0] == pytest.approx(2.0, rel=0.02)
    assert costs.guard <= 1.12


def test_the_guard_covers_the_quantile_of_noise_that_it_was_set_for():
    generator = random.Random(1)
    costs = learned(quantile=0.99)
    late = 0
    for index in range(20_000):
        ratio = exp(0.1 * generator.gauss(0.0, 1.0))
        factor = exp(costs._published[0]) * costs.guard
        late += index >= 1000 and ratio > factor
        observe(costs, ratio)
        correction = costs.propose()
        if correction is not None:
            costs.accept(correction)
    assert late < 0.01 * 19_000
    assert costs.guard < 1.5


def test_the_guard_changes_in_steps():
    generator = random.Random(2)
    costs = learned(quantile=0.99)
    guards = []
    for _ in range(5000):
        observe(costs, 1.0 + 0.1 * generator.random())
        guards.append(costs.guard)
    changes = sum(one != other for one, other in pairwise(guards))
    assert changes < 10


@pytest.mark.parametrize(
    "options", [{"lowest": 0.0}, {"lowest": 2.0}, {"highest": 0.5}, {"start_guard": 0.9}, {"tolerance": 0.0}]
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(OptionError, match="learned costs need"):
        learned(**options)
