"""The profiles that ship."""

from collections import Counter
from pathlib import Path

import pytest

from edgeexit.device import CostModel, SimulatedDevice, list_profiles, load_profile
from edgeexit.device.clock_reports import find_clocks
from edgeexit.device.detect import detect_profile
from edgeexit.device.hwmon import find_rails
from edgeexit.device.profile import default_roots
from edgeexit.testing.devices import check_device
from edgeexit.testing.fake_sysfs import FakeTree

NAMES = list_profiles((default_roots()[0],))
BOARDS = Path(__file__).parents[2] / "boards"
MODELLED = ("jetson-nano", "jetson-orin-nano", "jetson-tx2", "raspberry-pi-4", "raspberry-pi-5")
RECORDED = {
    "jetson-agx-orin": "jetson-agx-orin",
    "jetson-nano": "jetson-nano",
    "jetson-orin-nano-jp5": "jetson-orin-nano",
    "jetson-orin-nano-jp6": "jetson-orin-nano",
    "jetson-tx2": "jetson-tx2",
    "jetson-xavier-nx": "jetson-xavier-nx",
    "raspberry-pi-3": "raspberry-pi-3",
    "raspberry-pi-4": "raspberry-pi-4",
    "raspberry-pi-5": "raspberry-pi-5",
    "raspberry-pi-zero-2-w": "raspberry-pi-zero-2-w",
}


def board(name):
    return FakeTree.from_recording((BOARDS / f"{name}.txt").read_text(encoding="utf-8"))


def joules_per_frame(profile):
    return [point.input_power_w / point.reference_frames_per_s for point in profile.model.operating_points]


def test_the_boards_that_were_promised_are_there():
    assert NAMES == (
        "generic-linux",
        "generic-nvidia-gpu",
        "jetson-agx-orin",
        "jetson-nano",
        "jetson-orin-nano",
        "jetson-tx2",
        "jetson-xavier-nx",
        "raspberry-pi-3",
        "raspberry-pi-4",
        "raspberry-pi-5",
        "raspberry-pi-zero-2-w",
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_named_for_the_profile_in_it(name):
    assert load_profile(name).name == name


@pytest.mark.parametrize("name", NAMES)
def test_every_group_of_figures_says_where_it_is_from(name):
    profile = load_profile(name)
    groups = {"clocks"} | ({"match"} if profile.match else set()) | ({"total_rails"} if profile.total_rails else set())
    if profile.model is None:
        groups |= {"model"}
    else:
        groups |= {"operating_points", "reference_workload", "idle_power_w", "switch_latency_s", "switch_energy_j"}
    assert groups <= set(profile.provenance)


@pytest.mark.parametrize("name", NAMES)
def test_a_model_says_that_it_is_modelled_or_who_measured_it(name):
    profile = load_profile(name)
    where = profile.provenance.get("operating_points", "")
    if profile.model is not None:
        assert where.startswith(("Modelled", "Measured by others"))
        assert "Assumption" in where or where.startswith("Measured by others")
    assert (profile.model is not None) == (name in MODELLED)
    assert profile.model is not None or profile.provenance["model"].startswith("None")


def test_no_board_is_claimed_by_two_profiles():
    texts = Counter(text for name in NAMES for text in load_profile(name).match)
    assert [text for text, count in texts.items() if count > 1] == []


@pytest.mark.parametrize("name", MODELLED)
def test_a_simulated_board_can_be_made_of_every_model(name):
    check_device(SimulatedDevice(load_profile(name), work_scale=100.0))


@pytest.mark.parametrize("name", MODELLED)
def test_a_higher_clock_draws_more_and_a_rail_never_more_than_the_whole(name):
    profile = load_profile(name)
    points = profile.model.operating_points
    powers_w = [point.input_power_w for point in points]
    assert powers_w == sorted(powers_w)
    assert powers_w[0] > profile.model.idle_power_w
    for point in points:
        assert sum(point.rail_power_w.values()) < point.input_power_w


@pytest.mark.parametrize("name", [name for name in MODELLED if name != "jetson-tx2"])
def test_a_modelled_board_is_as_fast_as_its_clock(name):
    points = load_profile(name).model.operating_points
    rates = [point.reference_frames_per_s / next(iter(point.clocks.values())) for point in points]
    assert rates == pytest.approx([rates[-1]] * len(rates), rel=0.01)


def test_the_raspberry_pi_4_draws_what_is_commonly_reported_of_it():
    # P = 2.5 + 2.152e-9 f V^2: 5 W at 1500 MHz and 0.88 V; 2.5 + 2.152e-9 * 600e6 * 0.8^2 = 3.326 W at 600 MHz
    points = {point.clocks["cpu"]: point for point in load_profile("raspberry-pi-4").model.operating_points}
    assert points[1_500_000_000].input_power_w == 5.0
    assert points[600_000_000].input_power_w == 3.326
    assert points[1_500_000_000].reference_frames_per_s == 16.0


def test_the_raspberry_pi_5_draws_at_its_core_what_was_published():
    # input = 1.1451 * (4.5 + 1.2) + 0.5879 = 7.115 W
    fastest = load_profile("raspberry-pi-5").model.operating_points[-1]
    assert fastest.clocks == {"cpu": 2_400_000_000}
    assert fastest.rail_power_w == {"VDD_CORE": 4.5}
    assert fastest.input_power_w == 7.115


def test_the_jetson_nano_follows_its_gpu_voltages():
    # C = 5 W / (921.6e6 * 1.068^2) = 4.7565 nF; 4.7565e-9 * 460.8e6 * 0.816^2 = 1.459 W
    point = load_profile("jetson-nano").model.operating_points[5]
    assert point.clocks == {"gpu": 460_800_000}
    assert point.rail_power_w == {"POM_5V_GPU": 1.459}
    assert point.input_power_w == 5.459


def test_a_raspberry_pi_4_whose_rest_draws_most_is_cheapest_at_its_highest_clock():
    energies_j = joules_per_frame(load_profile("raspberry-pi-4"))
    assert min(energies_j) == energies_j[-1]


def test_on_a_raspberry_pi_5_the_steps_between_hardly_pay():
    # 5.807 W / 42.67 frames a second at 2000 MHz = 0.1361 J; 7.115 / 51.2 at 2400 MHz = 0.1390 J: 2 % more
    energies_j = joules_per_frame(load_profile("raspberry-pi-5"))
    assert energies_j.index(min(energies_j)) == 5
    assert energies_j[-1] / min(energies_j) == pytest.approx(1.021, abs=0.002)


def test_the_jetson_tx2_keeps_its_interior_optimum():
    energies_j = joules_per_frame(load_profile("jetson-tx2"))
    assert energies_j.index(min(energies_j)) == 6


@pytest.mark.parametrize(("recording", "name"), RECORDED.items())
def test_a_profile_fits_its_recorded_board(recording, name):
    tree = board(recording)
    profile = detect_profile(tree)
    assert profile.name == name
    clocks = {clock.name: clock for clock in find_clocks(tree, profile)}
    assert set(clocks) == set(profile.clocks)
    assert {name: clock.kind for name, clock in clocks.items()} == {n: c.kind for n, c in profile.clocks.items()}
    rails = {sensor.name for sensor in find_rails(tree).sensors}
    assert set(profile.total_rails) <= rails


@pytest.mark.parametrize(("recording", "name"), [(r, n) for r, n in RECORDED.items() if n in MODELLED])
def test_a_model_has_the_operating_points_of_its_recorded_board(recording, name):
    profile = load_profile(name)
    clocks = {clock.name: clock.operating_points_hz for clock in find_clocks(board(recording), profile)}
    for domain, frequencies_hz in profile.model.frequencies_hz().items():
        assert frequencies_hz == clocks[domain]


def test_a_cost_table_can_be_made_of_every_model():
    for name in MODELLED:
        assert CostModel(load_profile(name)).work(0, 1_000_000).energy_j > 0.0
