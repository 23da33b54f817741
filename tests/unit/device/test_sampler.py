import threading

import pytest

from edgeexit.clock import ManualClock
from edgeexit.device.sampler import SampledMeter
from edgeexit.protocols import EnergySource


class ByHand:
    """Stands where the thread does, and leaves the sampling to the test."""

    def __init__(self, step, interval_s, name):
        self.name = name
        self.interval_s = interval_s
        self.starts = 0
        self.closes = 0

    def start(self):
        self.starts += 1

    def close(self):
        self.closes += 1


class Board:
    """A power sensor read by a meter that is sampled every 0.5 s, by hand."""

    def __init__(self):
        self.clock = ManualClock(100.0)
        self.power_w = 4.0
        self.reads = 0
        self.sensor_closes = 0
        self.reading_takes_s = 0.0
        self.meter = SampledMeter(
            "VDD_IN (INA3221)",
            self.read,
            interval_s=0.5,
            relative_error=0.02,
            clock=self.clock,
            close_sensor=self.close_sensor,
            repeater=self.by_hand,
        )

    def by_hand(self, *arguments):
        self.repeater = ByHand(*arguments)
        return self.repeater

    def read(self):
        self.reads += 1
        self.clock.advance_s(self.reading_takes_s)
        if isinstance(self.power_w, Exception):
            raise self.power_w
        return self.power_w

    def close_sensor(self):
        self.sensor_closes += 1

    def sample_after(self, duration_s, power_w):
        self.clock.advance_s(duration_s)
        self.power_w = power_w
        return self.meter.take_sample()


@pytest.fixture
def board():
    return Board()


@pytest.fixture
def meter(board):
    board.meter.read_energy_j()
    board.meter.take_sample()
    return board.meter


def test_it_says_what_it_is(board):
    assert board.meter.name == "VDD_IN (INA3221)"
    assert board.meter.source is EnergySource.INTEGRATED
    assert board.meter.interval_s == 0.5
    assert board.meter.min_window_s == 1.5
    assert (board.repeater.name, board.repeater.interval_s) == ("meter VDD_IN (INA3221)", 0.5)


def test_nothing_is_sampled_until_the_energy_is_asked_for(board):
    assert board.repeater.starts == 0
    assert board.meter.read_energy_j() == 0.0
    assert board.repeater.starts == 1


def test_asking_for_the_energy_reads_no_sensor(board, meter):
    board.clock.advance_s(0.1)
    meter.read_energy_j()
    assert board.reads == 1


def test_before_the_first_sample_the_energy_is_not_known(board):
    board.meter.read_energy_j()
    board.clock.advance_s(0.1)
    assert board.meter.read_energy_j() is None


def test_the_time_before_the_first_sample_counts_at_its_power(board):
    board.meter.read_energy_j()
    board.sample_after(0.25, 4.0)
    assert board.meter.read_energy_j() == 1.0


def test_between_two_samples_the_power_is_a_straight_line(board, meter):
    board.sample_after(0.5, 8.0)
    assert meter.read_energy_j() == 3.0


def test_since_the_last_sample_the_power_is_the_last(board, meter):
    board.sample_after(0.5, 8.0)
    board.clock.advance_s(0.25)
    assert meter.read_energy_j() == 5.0


def test_the_sum_never_falls_when_the_power_has(board, meter):
    board.clock.advance_s(0.5)
    assert meter.read_energy_j() == 2.0
    board.power_w = 0.0
    meter.take_sample()
    assert meter.read_energy_j() == 2.0
    board.sample_after(0.5, 8.0)
    assert meter.read_energy_j() == 3.0


def test_a_slow_reading_counts_for_the_middle_of_the_time_it_took(board):
    board.meter.read_energy_j()
    board.reading_takes_s = 0.5
    board.meter.take_sample()
    assert board.meter.read_energy_j() == 2.0


def test_power_that_flows_back_counts_as_none(board, meter):
    board.sample_after(0.5, -8.0)
    assert meter.read_energy_j() == 1.0
    assert meter.read_power_w() == 0.0


@pytest.mark.parametrize("failure", [None, float("nan"), OSError(5, "I/O"), ValueError("text"), RuntimeError("lost")])
def test_one_sample_that_fails_is_bridged(board, meter, failure):
    assert board.sample_after(0.5, failure) is None
    board.sample_after(0.5, 8.0)
    assert meter.read_energy_j() == 6.0
    assert meter.gap_count == 0


def test_while_the_sensor_is_silent_for_long_the_energy_is_not_known(board, meter):
    board.clock.advance_s(2.5)
    assert meter.read_energy_j() == 10.0
    board.clock.advance_s(0.25)
    assert meter.read_energy_j() is None


def test_a_long_gap_is_counted_and_takes_the_certainty_of_what_reaches_into_it(board, meter):
    board.sample_after(4.0, 4.0)
    assert meter.gap_count == 1
    assert meter.read_energy_j() == 16.0
    board.sample_after(1.0, 4.0)
    assert meter.uncertainty_j(8.0, 2.0) is None
    assert meter.uncertainty_j(4.0, 1.0) is not None


def test_the_uncertainty_is_of_the_sensor_and_of_the_two_ends(meter):
    # 2 % of 30 J is 0.6 J; the ends: 3 W over 0.5 s, times the root of 2/3, is 1.2247 J
    assert meter.uncertainty_j(30.0, 10.0) == pytest.approx(1.36382, abs=1e-5)


def test_a_stretch_without_length_has_no_known_uncertainty(meter):
    assert meter.uncertainty_j(0.0, 0.0) is None


def test_the_power_is_that_of_the_last_sample_while_it_is_fresh(board):
    assert board.meter.read_power_w() is None
    assert board.meter.take_sample() == 4.0
    board.clock.advance_s(2.5)
    assert board.meter.read_power_w() == 4.0
    board.clock.advance_s(0.25)
    assert board.meter.read_power_w() is None


def test_samples_before_the_energy_was_asked_for_do_not_count(board):
    board.meter.take_sample()
    board.sample_after(10.0, 4.0)
    assert board.meter.read_energy_j() == 0.0
    board.sample_after(0.5, 4.0)
    assert board.meter.read_energy_j() == 2.0


def test_the_sampling_starts_after_the_sum_has_so_that_its_first_sample_counts(board):
    board.repeater.start = board.meter.take_sample
    board.meter.read_energy_j()
    board.clock.advance_s(0.25)
    assert board.meter.read_energy_j() == 1.0


def test_a_power_known_just_before_holds_until_the_first_sample(board):
    board.meter.take_sample()
    board.clock.advance_s(1.0)
    assert board.meter.read_energy_j() == 0.0
    board.clock.advance_s(0.25)
    assert board.meter.read_energy_j() == 1.0


def test_closing_stops_the_sampling_and_closes_the_sensor_once(board, meter):
    meter.close()
    meter.close()
    assert board.sensor_closes == 1
    assert board.repeater.closes >= 1
    assert meter.read_energy_j() is None
    assert meter.take_sample() is None
    assert (board.reads, board.repeater.starts) == (1, 1)


def test_its_own_thread_samples_until_it_is_closed():
    sampled = threading.Event()

    def read():
        sampled.set()
        return 1.0

    clock = ManualClock()
    meter = SampledMeter("x", read, interval_s=3600.0, relative_error=0.0, clock=clock)
    assert meter.read_energy_j() == 0.0
    assert sampled.wait(30.0)
    meter.close()
    assert "meter x" not in [thread.name for thread in threading.enumerate()]
