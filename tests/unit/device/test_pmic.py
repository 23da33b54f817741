import pytest
from raspberry_pi import NOT_REGISTERED, PMIC_ANSWER

from edgeexit.clock import ManualClock
from edgeexit.device.pmic import RAILS, PmicReader, estimate_input_w, parse_rails
from edgeexit.protocols import EnergySource


class Chip:
    """Answers as a Raspberry Pi 5 and counts the questions."""

    def __init__(self):
        self.answer = PMIC_ANSWER
        self.asked = []

    def ask(self, command):
        self.asked.append(command)
        return self.answer


@pytest.fixture
def chip():
    return Chip()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def reader(chip, clock):
    return PmicReader(chip.ask, clock)


def test_a_rail_is_voltage_times_current():
    answer = "  VDD_CORE_A current(7)=2.00000000A\n  VDD_CORE_V volt(15)=0.75000000V\n"
    assert parse_rails(answer) == {"VDD_CORE": 1.5}


def test_a_voltage_without_a_current_is_no_rail():
    assert parse_rails("EXT5V_V volt(24)=4.92450000V\nBATT_V volt(25)=0.00341880V\n") == {}


def test_an_earlier_board_has_no_rails():
    assert parse_rails(NOT_REGISTERED) == {}


def test_a_recorded_answer_has_the_12_rails():
    rails_w = parse_rails(PMIC_ANSWER)
    assert tuple(rails_w) == RAILS
    assert rails_w["VDD_CORE"] == pytest.approx(4.50113, abs=1e-5)


def test_the_board_input_is_the_published_line_through_the_sum():
    rails_w = dict.fromkeys(RAILS, 0.0) | {"VDD_CORE": 2.0, "HDMI": 1.0}
    assert estimate_input_w(rails_w) == pytest.approx(4.0232)


def test_the_board_input_is_not_known_without_one_of_the_rails():
    assert estimate_input_w(dict.fromkeys(RAILS[1:], 1.0)) is None


def test_it_is_asked_ten_times_a_second_at_most(reader, chip, clock):
    reader.read_input_w()
    clock.advance_s(0.05)
    reader.read_rails_w()
    assert chip.asked == ["pmic_read_adc"]
    clock.advance_s(0.05)
    reader.read_rails_w()
    assert len(chip.asked) == 2


def test_a_chip_that_falls_silent_is_not_known(reader, chip, clock):
    assert reader.read_input_w() == pytest.approx(7.36874, abs=1e-5)
    chip.answer = None
    clock.advance_s(0.1)
    assert reader.read_input_w() is None
    assert reader.read_rails_w() == {}


def test_the_meter_of_the_input_says_that_it_is_an_estimate(reader):
    meter = reader.input_meter()
    assert meter.name == "board input, estimated from 12 rails (PMIC)"
    assert meter.source is EnergySource.INTEGRATED
    assert meter.interval_s == 0.1
    assert meter.take_sample() == pytest.approx(7.36874, abs=1e-5)


def test_the_input_is_off_by_a_tenth(reader):
    # 10 % of 500 J; the ends: 5 W over 0.1 s add nothing to speak of
    assert reader.input_meter().uncertainty_j(500.0, 100.0) == pytest.approx(50.0, abs=0.01)


def test_a_rail_has_a_meter_of_its_own(reader, chip):
    meter = reader.rail_meter("VDD_CORE")
    assert meter.name == "VDD_CORE (PMIC)"
    assert meter.take_sample() == pytest.approx(4.50113, abs=1e-5)
    assert reader.rail_meter("HDMI").take_sample() == pytest.approx(0.10643, abs=1e-5)
    assert len(chip.asked) == 1
