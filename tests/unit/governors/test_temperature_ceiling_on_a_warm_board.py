"""A Raspberry Pi 4 in a room, on the fake clock: 61.3 C at its lowest clock and 87.0 C at its highest if ever busy."""

import numpy as np
import pytest
from tiny_bundle import make_bundle, network_input

from edgeexit import Session
from edgeexit.device import load_profile
from edgeexit.protocols import Observation, Workload
from edgeexit.registry import load_governor
from edgeexit.testing.thermal_model import RASPBERRY_PI_4, ThermalModel, WarmBoard

FRAME = Workload((100_000_000, 100_000_000, 100_000_000), (0, 0, 0), (0, 1, 2))
"""The profile's own: 19.2 frames a second at 1800 MHz."""
TEN_TIME_CONSTANTS_S = 1200.0
SETTLED_S = 900.0


def ceiling(ceiling_c, governor="performance", **options):
    inner = load_governor(governor)
    return load_governor("temperature-ceiling", ceiling_c=ceiling_c, governor=inner, **options)


def keep_busy(governor, *, air_c=25.0, idle_s=0.0, sensor_step_c=0.0):
    """Run frame after frame for 20 minutes; return the time and the temperature before each segment: (S, 2)."""
    board = WarmBoard(load_profile("raspberry-pi-4"), ThermalModel(RASPBERRY_PI_4, air_c=air_c))
    table = board.modelled_costs(FRAME)
    cpu = board.domains["cpu"]
    seen = []
    while board.clock.now_s() < TEN_TIME_CONSTANTS_S:
        asked_s = board.clock.now_s()
        for segment in range(3):
            temperature_c = board.conditions().temperature_c
            seen.append((board.clock.now_s(), temperature_c))
            decision = governor.decide(
                Observation(
                    now_s=board.clock.now_s(),
                    segments_done=segment,
                    next_exit=segment,
                    exit_count=3,
                    exit_distribution=None,
                    looks_at_every_exit=True,
                    operating_points={"cpu": cpu.operating_points_hz},
                    clocks={"cpu": cpu.read_hz()},
                    cost_table=table,
                    deadline_s=asked_s + 0.06,
                    temperature_c=temperature_c // sensor_step_c * sensor_step_c if sensor_step_c else temperature_c,
                )
            )
            if decision.clocks:
                cpu.set_hz(decision.clocks["cpu"])
            board.work_done(FRAME.segment_macs[segment])
        board.clock.sleep_s(idle_s)
    return np.array(seen)


def frames_per_s(seen):
    return np.count_nonzero(seen[:, 0] > SETTLED_S) / 3.0 / (TEN_TIME_CONSTANTS_S - SETTLED_S)


def test_without_a_ceiling_the_board_comes_to_its_own_throttling():
    seen = keep_busy(load_governor("performance"))
    assert seen[:, 1].max() > RASPBERRY_PI_4.throttle_c
    assert seen[-1, 1] == pytest.approx(87.0, abs=0.1)


@pytest.mark.parametrize("governor", ["performance", "deadline", "plan"])
@pytest.mark.parametrize("ceiling_c", [65.0, 70.0, 79.0])
def test_under_a_load_that_would_exceed_the_ceiling_the_temperature_holds_within_a_degree_below(governor, ceiling_c):
    seen = keep_busy(ceiling(ceiling_c, governor))
    settled_c = seen[seen[:, 0] > SETTLED_S, 1]
    assert seen[:, 1].max() <= ceiling_c < RASPBERRY_PI_4.throttle_c
    assert settled_c.min() >= ceiling_c - 1.0


def test_the_board_does_as_much_work_as_the_ceiling_leaves():
    # 70 C in a room at 25 C is 4.128 W, between 1000 MHz (4.003 W, 10.67 frames/s) and 1100 MHz (4.188 W, 11.73).
    assert 10.67 <= frames_per_s(keep_busy(ceiling(70.0))) <= 11.73


def test_a_light_load_is_not_slowed_down():
    # 52 ms of work at 5.685 W and 150 ms at rest: 3.32 W, 61.2 C.
    free = keep_busy(load_governor("performance"), idle_s=0.15)
    assert free[-1, 1] == pytest.approx(61.2, abs=0.2)
    assert np.array_equal(free, keep_busy(ceiling(70.0), idle_s=0.15))


def test_a_coarse_sensor_is_no_harm():
    # A Raspberry Pi's thermometer counts in steps of 0.487 C.
    seen = keep_busy(ceiling(70.0), sensor_step_c=0.487)
    assert seen[:, 1].max() <= 70.5
    assert seen[seen[:, 0] > SETTLED_S, 1].min() >= 69.0


def test_in_air_too_warm_for_the_lowest_clock_the_lowest_is_set():
    # 45 + 10.9 x 3.326 = 81.25 C.
    seen = keep_busy(ceiling(70.0), air_c=45.0)
    assert seen[-1, 1] == pytest.approx(81.25, abs=0.1)
    assert frames_per_s(seen) == pytest.approx(6.4, abs=0.02)


def test_a_session_holds_the_ceiling(tmp_path):
    # The 60 MACs of the tiny network count as 2 billion: a third of a second at the highest clock, without rest.
    board = WarmBoard(load_profile("raspberry-pi-4"), ThermalModel(RASPBERRY_PI_4), work_scale=3.3e7)
    image = network_input()[:1]
    seen = []
    with Session(make_bundle(tmp_path), board, ceiling(70.0), exit_rule="last") as session:
        while board.clock.now_s() < TEN_TIME_CONSTANTS_S:
            session.infer(image)
            seen.append((board.clock.now_s(), board.conditions().temperature_c))
    times_s, temperatures_c = np.array(seen).T
    assert temperatures_c.max() <= 71.0
    assert temperatures_c[times_s > SETTLED_S].min() >= 69.0
