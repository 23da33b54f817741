"""A simulated battery: what everything draws, taken from it as the fake clock goes on."""

import random

import pytest

from edgeexit.clock import ManualClock
from edgeexit.errors import OptionError
from edgeexit.runtime.battery import BatteryControl, BatteryLife
from edgeexit.runtime.budget import BudgetControl

SHARES = (0.7, 0.35, 0.28, 0.22, 0.17)
DROPS = (0.0, 0.25, 0.5, 1.0, 2.0)
HOURS = 3600.0


class Board:
    """Runs inferences of 2 J for the whole network, and draws idle power all the while, until its battery is empty."""

    def __init__(self, capacity_j, life_s, *, gauge_j=0.0, seed=None):
        self.clock = ManualClock()
        self.left_j = capacity_j
        self.gauge_j = gauge_j
        self.generator = None if seed is None else random.Random(seed)
        self.readable = True
        self.budget = BudgetControl(SHARES, DROPS, 1e9, unit="joules")
        life = BatteryLife(life_s, self.read_j)
        self.battery = BatteryControl(life, self.budget, self.clock.now_s())

    def read_j(self):
        if not self.readable:
            return None
        return self.left_j if not self.gauge_j else self.left_j // self.gauge_j * self.gauge_j

    def run(self, duration_s, rate_hz, idle_w, claimed=1.0):
        """Run until the time is over or the battery is empty; an inference says that it drew `claimed` times that."""
        end_s = self.clock.now_s() + duration_s
        while self.clock.now_s() < end_s and self.left_j > 0.0:
            energy_j = 2.0 * SHARES[self.budget.choose()]
            if self.generator is not None:
                energy_j *= self.generator.expovariate(1.0)
            self.clock.advance_s(1.0 / rate_hz)
            self.left_j -= energy_j + idle_w / rate_hz
            self.budget.ran(claimed * energy_j)
            self.battery.ran(claimed * energy_j, self.clock.now_s())


def lasted_s(board, phases):
    """Run the phases, the last one until the battery is empty; return when that was."""
    for phase in phases[:-1]:
        board.run(*phase)
    board.run(100 * HOURS, *phases[-1][1:])
    return board.clock.now_s()


def test_a_battery_lasts_six_hours_under_changing_load():
    # Idle 1 to 2 W and 2 to 5 inferences a second of 0.34 to 1.4 J each: 3.6 to 5 W are held in the middle.
    board = Board(4.0 * 6 * HOURS, 6 * HOURS, seed=0)
    phases = [(1 * HOURS, 4.0, 1.5), (2 * HOURS, 5.0, 2.0), (1 * HOURS, 2.5, 2.2), (1 * HOURS, 4.0, 1.0), (0, 5.0, 1.5)]
    assert lasted_s(board, phases) == pytest.approx(6 * HOURS, rel=0.02)


def test_it_lasts_as_long_with_a_coarse_gauge_and_a_meter_that_is_wrong():
    board = Board(4.0 * 6 * HOURS, 6 * HOURS, gauge_j=36.0, seed=1)  # a gauge of 10 mWh
    phases = [(2 * HOURS, 4.0, 1.5, 1.3), (2 * HOURS, 5.0, 2.0, 1.3), (0, 4.0, 1.2, 1.3)]
    assert lasted_s(board, phases) == pytest.approx(6 * HOURS, rel=0.02)


def test_time_without_a_reading_is_made_good_later():
    board = Board(4.0 * 6 * HOURS, 6 * HOURS)
    board.run(2 * HOURS, 4.0, 1.5)
    board.readable = False
    board.run(1 * HOURS, 4.0, 2.0)
    board.readable = True
    assert lasted_s(board, [(0, 4.0, 1.5)]) == pytest.approx(6 * HOURS, rel=0.02)


def test_a_battery_that_is_large_enough_leaves_the_most_accurate_setting():
    board = Board(20.0 * HOURS, 1 * HOURS)
    board.run(0.9 * HOURS, 4.0, 1.5)
    assert board.budget.report().allowed_drop == 0.0
    report = board.battery.report
    assert report.lasts_s > report.left_s
    assert report.power_w == pytest.approx(4.0 * 1.4 + 1.5, rel=1e-3)


def test_a_battery_that_is_too_small_is_said_to_be():
    board = Board(2.0 * HOURS, 1 * HOURS)  # 2 W, where idling alone takes 1.5 W and the least work 1.36 W
    board.run(0.5 * HOURS, 4.0, 1.5)
    assert not board.budget.report().reachable
    assert board.battery.report.lasts_s < board.battery.report.left_s


def test_a_reserve_is_not_touched():
    left = [1000.0]
    budget = BudgetControl(SHARES, DROPS, 1e9, unit="joules")
    battery = BatteryControl(BatteryLife(1000.0, lambda: left[0], reserve_j=400.0), budget, 0.0)
    left[0] = 990.0
    battery.ran(4.0, 10.0)
    # 590 J for 990 s are 0.596 W; 10 J in 10 s, 4 of them by one inference in 10 s: 0.6 W are drawn anyway.
    assert battery.report.allowed_w == pytest.approx(590.0 / 990.0)
    assert budget.target == pytest.approx(0.004)  # a thousandth of an inference: it cannot be met
    left[0] = 988.0
    battery.ran(1.0, 20.0)
    # 588 J / 980 s = 0.6 W; other power 0.6 + 0.3 x (0.1 - 0.6) = 0.45 W; 0.1 inferences a second: 1.5 J each.
    assert budget.target == pytest.approx(1.5)


def test_when_the_time_is_over_it_goes_on_as_it_was():
    budget = BudgetControl(SHARES, DROPS, 3.0, unit="joules")
    battery = BatteryControl(BatteryLife(100.0, lambda: 50.0), budget, 0.0)
    battery.ran(1.0, 200.0)
    assert budget.target == 3.0
    assert battery.report.left_s == 0.0


@pytest.mark.parametrize(("life_s", "reserve_j"), [(0.0, 0.0), (float("inf"), 0.0), (1.0, -1.0)])
def test_a_life_that_is_none_is_refused(life_s, reserve_j):
    with pytest.raises(OptionError, match="life"):
        BatteryLife(life_s, lambda: 1.0, reserve_j)


def test_without_a_reading_of_ones_own_the_machines_battery_is_asked():
    budget = BudgetControl(SHARES, DROPS, 3.0, unit="joules")
    report = BatteryControl(BatteryLife(100.0), budget, 0.0).report
    assert report.left_j is None or report.left_j >= 0.0
