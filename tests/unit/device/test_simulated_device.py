from dataclasses import replace

import pytest

from edgeexit.device import SimulatedDevice, load_profile, open_device
from edgeexit.errors import DeviceError, ProfileError
from edgeexit.protocols import Conditions, EnergySource, Workload

VGG19_MACS = 19_632_062_464
WORKLOAD = Workload((1_130_003,) * 7 + (977,), (12_345, 0, 99_999, 5, 4_321, 7, 8, 1_000), tuple(range(8)))


@pytest.fixture
def board():
    return SimulatedDevice(load_profile("jetson-tx2"))


def test_it_starts_at_the_lowest_clock_with_no_time_and_energy_spent(board):
    assert board.domains["gpu"].read_hz() == 114_750_000
    assert board.clock.now_s() == 0.0
    assert board.meter.read_energy_j() == 0.0


def test_it_says_that_it_is_simulated(board):
    assert board.name == "simulated:jetson-tx2"
    assert board.simulated
    assert board.meter.source is EnergySource.SIMULATED


def test_work_takes_the_measured_time_and_energy_of_the_clock_that_is_set(board):
    board.domains["gpu"].set_hz(726_750_000)
    start_s, start_j = board.clock.now_s(), board.meter.read_energy_j()
    board.work_done(VGG19_MACS)
    assert board.clock.now_s() - start_s == pytest.approx(0.101833, rel=1e-5)
    assert board.meter.read_energy_j() - start_j == pytest.approx(0.978615, rel=1e-5)


def test_work_counts_as_often_as_the_scale_says():
    board = SimulatedDevice(load_profile("jetson-tx2"), work_scale=1000.0)
    board.work_done(VGG19_MACS // 1000)
    assert board.clock.now_s() == pytest.approx(1 / 1.73, rel=1e-6)
    assert board.work_scale == 1000.0


def test_waiting_draws_idle_power(board):
    board.clock.sleep_s(2.0)
    board.clock.sleep_s(0.0)
    board.clock.sleep_s(-1.0)
    assert board.clock.now_s() == 2.0
    assert board.meter.read_energy_j() == pytest.approx(3.9)


def test_a_switch_takes_time_and_energy(board):
    applied = board.domains["gpu"].set_hz(854_250_000)
    assert (applied.requested_hz, applied.effective_hz, applied.elapsed_s) == (854_250_000, 854_250_000, 0.003)
    assert board.clock.now_s() == 0.003
    assert board.meter.read_energy_j() == 0.029


def test_setting_what_is_set_costs_nothing(board):
    applied = board.domains["gpu"].set_hz(114_750_000)
    assert applied.elapsed_s == 0.0
    assert board.clock.now_s() == 0.0
    assert board.meter.read_energy_j() == 0.0


@pytest.mark.parametrize(
    ("requested_hz", "effective_hz"),
    [
        (114_750_001, 216_750_000),
        (700_000_000, 726_750_000),
        (1, 114_750_000),
        (-5, 114_750_000),
        (9_999_999_999, 1_300_500_000),
    ],
)
def test_a_frequency_is_rounded_up_and_clamped_as_by_the_kernel(board, requested_hz, effective_hz):
    assert board.domains["gpu"].set_hz(requested_hz).effective_hz == effective_hz
    assert board.domains["gpu"].read_hz() == effective_hz


@pytest.mark.parametrize("work_scale", [1.0, 2168.7])
@pytest.mark.parametrize("point", range(13))
def test_board_and_table_agree(point, work_scale):
    board = SimulatedDevice(load_profile("jetson-tx2"), work_scale=work_scale)
    table = board.modelled_costs(WORKLOAD)
    board.domains["gpu"].set_hz(table.points[point].clocks["gpu"])
    start_s, start_j = board.clock.now_s(), board.meter.read_energy_j()
    for segment, head in zip(WORKLOAD.segment_macs, WORKLOAD.head_macs, strict=True):
        board.work_done(segment)
        board.work_done(head)
    expected = table.work(point, 0, 7, first_head=0)
    assert board.clock.now_s() == pytest.approx(start_s + expected.latency_s, rel=1e-12)
    assert board.meter.read_energy_j() == pytest.approx(start_j + expected.energy_j, rel=1e-12)


def test_work_cannot_be_undone(board):
    with pytest.raises(DeviceError, match="cannot be undone"):
        board.work_done(-1)


def test_two_boards_know_nothing_of_each_other():
    one, two = open_device("simulated:jetson-tx2"), open_device("simulated:jetson-tx2")
    one.clock.sleep_s(1.0)
    one.domains["gpu"].set_hz(1_300_500_000)
    assert two.clock.now_s() == 0.0
    assert two.domains["gpu"].read_hz() == 114_750_000


def test_a_profile_without_a_model_cannot_be_simulated():
    with pytest.raises(ProfileError, match="profile 'generic-linux' says how to drive this board, not what it costs"):
        open_device("simulated:generic-linux")


def test_a_board_measured_without_a_meter_cannot_be_simulated():
    tx2 = load_profile("jetson-tx2")
    with pytest.raises(ProfileError, match="profile 'jetson-tx2' was measured without a meter"):
        SimulatedDevice(replace(tx2, model=replace(tx2.model, idle_power_w=None)))


def test_it_has_no_rails_no_conditions_and_nothing_to_journal(board):
    assert board.rails == {}
    assert board.conditions() == Conditions()
    assert board.journal is None
    assert board.domains["gpu"].knobs == ()
    assert board.meter.uncertainty_j(1.0, 1.0) is None
