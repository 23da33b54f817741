from math import log

import pytest

from edgeexit.runtime.learned_power import LearnedPower
from edgeexit.testing.observations import make_cost_table, without_energy


def stretch(power, measured_j, *, ran=None, idled=0.0, switched=0.0, unknown_s=0.0):
    for point, expected_j in (ran or {}).items():
        power.ran(point, expected_j)
    power.idled(idled)
    power.switched(switched)
    power.unknown(unknown_s)
    power.close(measured_j, 1.0)


def test_a_board_that_draws_as_expected_is_left():
    power = LearnedPower(make_cost_table())
    stretch(power, 1.5, ran={0: 1.0}, idled=0.4, switched=0.1)
    assert power.log_factors() == (0.0,) * 5
    assert not power.moved


def test_a_point_that_draws_twice_as_much_is_learnt():
    power = LearnedPower(make_cost_table())
    for _ in range(60):
        stretch(power, 2.0, ran={2: 1.0})
    assert power.log_factors()[2] == pytest.approx(log(2.0), abs=1e-3)
    assert power.log_factors()[4] == 0.0  # idling
    assert power.moved


def test_a_point_that_has_not_been_tried_takes_part_in_what_all_have_in_common():
    power = LearnedPower(make_cost_table())
    for index in range(400):
        stretch(power, 2.0, ran={index % 3: 1.0})
    assert power.log_factors()[3] == pytest.approx(log(1.75), abs=0.01)  # own parts of a quarter each


def test_work_and_idling_are_told_apart_if_their_shares_change():
    power = LearnedPower(make_cost_table())
    for index in range(2000):
        work_j, idle_j = (1.0, 0.2) if index % 2 else (0.2, 1.0)
        stretch(power, 1.5 * work_j + 0.8 * idle_j, ran={1: work_j}, idled=idle_j)
    assert power.log_factors()[1] == pytest.approx(log(1.5), abs=1e-3)
    assert power.log_factors()[4] == pytest.approx(log(0.8), abs=1e-3)


def test_a_factor_is_bounded():
    power = LearnedPower(make_cost_table())
    for _ in range(100):
        stretch(power, 1000.0, ran={0: 1.0})
    assert power.log_factors()[0] == pytest.approx(log(4.0))


@pytest.mark.parametrize("measured_j", [None, 0.0, -1.0])
def test_what_the_meter_does_not_tell_teaches_nothing(measured_j):
    power = LearnedPower(make_cost_table())
    stretch(power, measured_j, ran={0: 1.0})
    assert power.log_factors() == (0.0,) * 5


def test_a_stretch_of_which_too_much_is_unknown_teaches_nothing():
    power = LearnedPower(make_cost_table())
    stretch(power, 2.0, ran={0: 1.0}, unknown_s=0.06)
    assert power.log_factors() == (0.0,) * 5
    stretch(power, 2.0, ran={0: 1.0}, unknown_s=0.04)
    assert power.log_factors()[0] > 0.0


def test_a_table_without_energy_cannot_be_corrected():
    assert not LearnedPower(without_energy(make_cost_table())).knows
