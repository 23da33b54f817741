"""What meters and temperatures are found on each recorded board."""

from pathlib import Path

import pytest
from raspberry_pi import NOT_REGISTERED, PMIC_ANSWER

from edgeexit.clock import ManualClock
from edgeexit.device.firmware import Firmware
from edgeexit.device.meters import find_meters
from edgeexit.device.thermal import hottest_c, read_temperatures
from edgeexit.testing.fake_sysfs import FakeTree

BOARDS = Path(__file__).parents[2] / "boards"
ORIN_RAILS = ["VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC"]
AGX_RAILS = ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"]
RASPBERRY_PIS = ("raspberry-pi-zero-2-w", "raspberry-pi-3", "raspberry-pi-4", "raspberry-pi-5")


def board(name):
    return FakeTree.from_recording((BOARDS / f"{name}.txt").read_text(encoding="utf-8"))


def firmware(**answers):
    return Firmware(lambda command: answers.get(command, NOT_REGISTERED))


@pytest.fixture
def find():
    """Finds the meters of a board, and closes them."""
    found = []

    def find(tree, **options):
        found.append(find_meters(tree, clock=ManualClock(), **options))
        return found[-1]

    yield find
    for meters in found:
        meters.close()


@pytest.mark.parametrize(
    ("name", "total", "rails"),
    [
        ("jetson-nano", "POM_5V_IN (INA3221)", ["POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU"]),
        (
            "jetson-tx2",
            "VDD_IN (INA3221)",
            ["VDD_SYS_GPU", "VDD_SYS_SOC", "VDD_4V0_WIFI", "VDD_IN", "VDD_SYS_CPU", "VDD_SYS_DDR"],
        ),
        ("jetson-xavier-nx", "VDD_IN (INA3221)", ORIN_RAILS),
        ("jetson-orin-nano-jp5", "VDD_IN (INA3221)", ORIN_RAILS),
        ("jetson-orin-nano-jp6", "VDD_IN (INA3221)", ORIN_RAILS),
        ("amd-desktop", "package-0 (RAPL)", ["package-0", "package-0 core"]),
        ("x86-laptop-intel-pstate", "psys (RAPL)", ["package-0", "package-0 core", "package-0 uncore", "psys"]),
    ],
)
def test_a_board_has_its_total_and_its_rails(find, name, total, rails):
    meters = find(board(name))
    assert meters.total.name == total
    assert list(meters.rails) == rails
    assert meters.problems == ()


@pytest.mark.parametrize("name", ["jetson-nano", "jetson-tx2", "jetson-xavier-nx", "jetson-orin-nano-jp6"])
def test_a_jetson_needs_no_root_to_be_metered(find, name):
    tree = board(name)
    tree.as_user(unprivileged=True)
    meters = find(tree)
    assert meters.read_power_w() > 0.0
    assert meters.problems == ()


def test_an_agx_orin_has_no_input_rail_but_its_profile_knows_the_sum(find):
    assert find(board("jetson-agx-orin")).total is None
    meters = find(board("jetson-agx-orin"), total_rails=AGX_RAILS)
    assert list(meters.rails) == AGX_RAILS
    assert meters.total.name == (
        "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0 + VDDQ_VDD2_1V8AO (sum of module rails, INA3221)"
    )
    parts_w = [meter.take_sample() for meter in meters.rails.values()]
    assert meters.read_power_w() == pytest.approx(sum(parts_w))


def test_a_raspberry_pi_5_is_metered_through_its_firmware(find):
    meters = find(board("raspberry-pi-5"), firmware=firmware(pmic_read_adc=PMIC_ANSWER))
    assert meters.total.name == "board input, estimated from 12 rails (PMIC)"
    assert len(meters.rails) == 12


@pytest.mark.parametrize("name", RASPBERRY_PIS[:3])
def test_an_earlier_raspberry_pi_has_no_meter(find, name):
    meters = find(board(name), firmware=firmware())
    assert (meters.total, meters.rails, meters.problems) == (None, {}, ())


@pytest.mark.parametrize("name", RASPBERRY_PIS)
def test_a_raspberry_pis_firmware_wants_the_group_video(find, name):
    tree = board(name)
    tree.as_user(unprivileged=True)
    (problem,) = find(tree).problems
    assert "usermod -aG video" in problem.mend


def test_without_root_a_laptop_is_metered_by_its_battery(find):
    tree = board("x86-laptop-intel-pstate")
    tree.as_user(unprivileged=True)
    meters = find(tree)
    assert meters.total.name == "whole machine (battery)"
    assert [problem.what for problem in meters.problems] == [
        "RAPL zones package-0, package-0 core, package-0 uncore, psys"
    ]


def test_a_server_without_sensors_has_no_meter(find):
    meters = find(board("server-without-cpufreq"))
    assert (meters.total, meters.rails, meters.problems) == (None, {}, ())


@pytest.mark.parametrize("path", sorted(BOARDS.glob("*.txt")), ids=lambda path: path.stem)
def test_no_board_is_said_to_boil_though_some_of_their_sensors_read_100(path):
    hottest = hottest_c(read_temperatures(board(path.stem)))
    assert hottest is None or 20.0 < hottest < 90.0
