from math import exp

import pytest

from edgeexit.device import load_profile
from edgeexit.testing.thermal_model import RASPBERRY_PI_4, ThermalConstants, ThermalModel, WarmBoard

TEN = ThermalConstants(resistance_k_per_w=10.0, capacity_j_per_k=2.0, throttle_c=80.0)
"""A time constant of 20 s."""


def test_it_covers_63_per_cent_of_the_way_in_a_time_constant():
    model = ThermalModel(TEN, air_c=20.0)
    assert TEN.time_constant_s == 20.0
    assert model.settled_c(3.0) == 50.0
    assert model.advance(3.0, 20.0) == pytest.approx(20.0 + 30.0 * 0.6321, abs=1e-3)


def test_it_comes_to_rest_and_cools_again():
    model = ThermalModel(TEN, air_c=20.0)
    assert model.advance(3.0, 1e6) == pytest.approx(50.0)
    assert model.advance(0.0, 20.0) == pytest.approx(20.0 + 30.0 / exp(1.0))


def test_many_short_steps_are_one_long_one():
    short, long = ThermalModel(TEN, start_c=60.0), ThermalModel(TEN, start_c=60.0)
    for _ in range(100):
        short.advance(2.0, 0.1)
    assert short.temperature_c == pytest.approx(long.advance(2.0, 10.0))


def test_a_bare_raspberry_pi_in_a_room_throttles_under_full_load_and_not_at_rest():
    model = ThermalModel(RASPBERRY_PI_4)
    assert RASPBERRY_PI_4.time_constant_s == pytest.approx(119.9)
    assert model.settled_c(2.5) == pytest.approx(52.25)
    assert model.settled_c(6.41) == pytest.approx(94.869)
    assert model.settled_c(6.41) > RASPBERRY_PI_4.throttle_c > model.settled_c(2.5)


def test_a_warm_board_tells_the_temperature_that_its_work_made():
    # 5.685 W while it works at 1800 MHz, for one frame in 1 / 19.2 s; then 2.5 W for 60 s.
    board = WarmBoard(load_profile("raspberry-pi-4"), ThermalModel(TEN, air_c=20.0))
    board.domains["cpu"].set_hz(1_800_000_000)
    assert board.conditions().temperature_c == pytest.approx(20.0 + 0.0025 / 2.0, rel=1e-3)  # the switch: 2.5 mJ
    before_c = board.conditions().temperature_c
    board.work_done(300_000_000)
    assert board.conditions().temperature_c - before_c == pytest.approx(5.685 / 19.2 / 2.0, rel=1e-2)
    board.clock.sleep_s(1e4)
    assert board.conditions().temperature_c == pytest.approx(45.0)
    assert board.conditions().power_w is None
