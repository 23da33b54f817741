from dataclasses import replace

import pytest

from edgeexit.device import CostModel, load_profile, reference_scale
from edgeexit.errors import DeviceError, OptionError, ProfileError
from edgeexit.protocols import Workload

VGG19_MACS = 19_632_062_464


@pytest.fixture
def model():
    return CostModel(load_profile("jetson-tx2"))


def joules_per_frame(model, gpu_hz):
    return model.work(model.find_point({"gpu": gpu_hz}), VGG19_MACS).energy_j


def test_a_frame_costs_least_at_727_mhz(model):
    energies = {hz: joules_per_frame(model, hz) for hz in model.profile.model.frequencies_hz()["gpu"]}
    assert min(energies, key=energies.get) == 726_750_000
    assert energies[726_750_000] == pytest.approx(0.978, rel=0.02)


def test_a_frame_costs_1_33_times_as_much_at_the_highest_clock(model):
    ratio = joules_per_frame(model, 1_300_500_000) / joules_per_frame(model, 726_750_000)
    assert ratio == pytest.approx(1.33, rel=0.02)


def test_a_frame_costs_3_1_times_as_much_at_the_lowest_clock(model):
    ratio = joules_per_frame(model, 114_750_000) / joules_per_frame(model, 726_750_000)
    assert ratio == pytest.approx(3.1, rel=0.02)


def test_a_frame_takes_as_long_as_was_measured(model):
    work = model.work(model.find_point({"gpu": 1_300_500_000}), VGG19_MACS)
    assert work.latency_s == pytest.approx(1 / 12.18, rel=1e-12)
    assert work.energy_j == pytest.approx(15.91 / 12.18, rel=1e-12)


def test_half_the_work_takes_half_the_time_and_energy(model):
    whole, half = model.work(6, VGG19_MACS), model.work(6, VGG19_MACS // 2)
    assert half.latency_s == pytest.approx(whole.latency_s / 2, rel=1e-12)
    assert half.energy_j == pytest.approx(whole.energy_j / 2, rel=1e-12)


def test_the_table_has_a_point_for_each_clock_and_says_that_it_is_modelled(model):
    table = model.cost_table(Workload((VGG19_MACS, VGG19_MACS // 2), (0, VGG19_MACS // 4), (0, 1)))
    assert table.source == "modelled"
    assert [point.clocks["gpu"] for point in table.points] == list(model.profile.model.frequencies_hz()["gpu"])
    assert table.exit_segments == (0, 1)
    assert (table.switch_latency_s, table.switch_energy_j) == (0.003, 0.029)
    fastest = table.points[-1]
    assert fastest.idle_power_w == 1.95
    assert fastest.segment_latency_s == pytest.approx((0.0821018, 0.0410509), rel=1e-5)
    assert fastest.head_latency_s == pytest.approx((0.0, 0.0205255), rel=1e-5)
    assert fastest.head_energy_j == pytest.approx((0.0, 0.326560), rel=1e-5)


def test_the_reference_scale_makes_the_whole_network_cost_one_frame():
    profile = load_profile("jetson-tx2")
    small = Workload((4_000_000, 5_000_000), (100_000, 200_000), (0, 1))
    model = CostModel(profile, work_scale=reference_scale(profile, small))
    table = model.cost_table(small)
    whole_s = sum(table.points[-1].segment_latency_s) + table.points[-1].head_latency_s[-1]
    assert whole_s == pytest.approx(1 / 12.18, rel=1e-12)


def test_a_workload_without_work_cannot_be_scaled():
    with pytest.raises(OptionError, match="cannot be scaled"):
        reference_scale(load_profile("jetson-tx2"), Workload((0,), (0,), (0,)))


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_senseless_work_scale_is_refused(scale):
    with pytest.raises(OptionError, match="work_scale must be finite and above 0"):
        CostModel(load_profile("jetson-tx2"), work_scale=scale)


@pytest.mark.parametrize("clocks", [{"gpu": 115_000_000}, {"cpu": 114_750_000}, {}])
def test_clocks_that_are_no_operating_point_are_refused(model, clocks):
    with pytest.raises(DeviceError, match="no operating point"):
        model.find_point(clocks)


def test_a_profile_without_a_model_is_refused():
    with pytest.raises(ProfileError, match="profile 'raspberry-pi-3' says how to drive this board"):
        CostModel(load_profile("raspberry-pi-3"))


def test_what_was_measured_without_a_meter_gives_latencies_and_no_energies():
    tx2 = load_profile("jetson-tx2")
    points = tuple(replace(point, input_power_w=None) for point in tx2.model.operating_points)
    unmetered = replace(tx2.model, operating_points=points, idle_power_w=None, switch_energy_j=None)
    model = CostModel(replace(tx2, model=unmetered))
    assert model.work(12, VGG19_MACS) == (pytest.approx(1 / 12.18, rel=1e-12), None)
    table = model.cost_table(Workload((VGG19_MACS,), (5,), (0,)))
    assert table.switch_energy_j is None
    fastest = table.points[-1]
    assert fastest.segment_latency_s == pytest.approx((0.0821018,), rel=1e-5)
    assert (fastest.idle_power_w, fastest.segment_energy_j, fastest.head_energy_j) == (None, None, None)
