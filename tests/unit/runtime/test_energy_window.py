import pytest

from edgeexit.clock import ManualClock
from edgeexit.protocols import EnergySource
from edgeexit.runtime.meter import EnergyReading, EnergyWindow


class Meter:
    """A meter whose reading a test sets; it tells windows of 0.1 s and more."""

    name = "VDD_IN"
    source = EnergySource.INTEGRATED
    min_window_s = 0.1

    def __init__(self):
        self.energy_j = 5.0

    def read_energy_j(self):
        return self.energy_j

    def uncertainty_j(self, energy_j, duration_s):
        return 0.01 * energy_j + 0.5 * duration_s


@pytest.fixture
def meter():
    return Meter()


@pytest.fixture
def clock():
    return ManualClock(10.0)


def test_it_is_the_difference_of_two_readings_with_source_and_uncertainty(meter, clock):
    window = EnergyWindow(meter, clock)
    meter.energy_j = 8.0
    clock.advance_s(2.0)
    assert window.read() == EnergyReading(3.0, EnergySource.INTEGRATED, 1.03)


def test_a_window_shorter_than_the_meter_can_tell_has_no_energy(meter, clock):
    window = EnergyWindow(meter, clock)
    meter.energy_j = 8.0
    clock.advance_s(0.099)
    assert window.read() is None


def test_without_a_meter_there_is_no_energy(clock):
    assert EnergyWindow(None, clock).read() is None


def test_a_meter_that_cannot_be_read_at_either_end_gives_none(meter, clock):
    window = EnergyWindow(meter, clock)
    clock.advance_s(1.0)
    meter.energy_j = None
    assert window.read() is None
    late = EnergyWindow(meter, clock)
    clock.advance_s(1.0)
    meter.energy_j = 9.0
    assert late.read() is None


def test_a_counter_that_has_not_moved_has_no_energy(meter, clock):
    meter.source = EnergySource.COUNTER
    window = EnergyWindow(meter, clock)
    clock.advance_s(1.0)
    assert window.read() is None
