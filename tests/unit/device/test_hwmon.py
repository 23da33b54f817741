import errno

import pytest

from edgeexit.device.hwmon import find_hwmon, find_rails
from edgeexit.testing.fake_sysfs import FakeTree

NANO = "/sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
ORIN = "/sys/class/hwmon/hwmon3"


@pytest.fixture
def tree():
    return FakeTree()


def add_iio(tree, folder, channel, label, *, volts_mv, current_ma, power_mw=None):
    tree.add_file(f"{folder}/rail_name_{channel}", f"{label}\n")
    tree.add_file(f"{folder}/in_voltage{channel}_input", f"{volts_mv}\n")
    tree.add_file(f"{folder}/in_current{channel}_input", f"{current_ma}\n")
    if power_mw is not None:
        tree.add_file(f"{folder}/in_power{channel}_input", f"{power_mw}\n")


def add_chip(tree, folder, name="ina3221"):
    tree.add_file(f"{folder}/name", f"{name}\n")


def add_channel(tree, folder, channel, label, *, volts_mv, current_ma):
    tree.add_file(f"{folder}/in{channel}_label", f"{label}\n")
    tree.add_file(f"{folder}/in{channel}_input", f"{volts_mv}\n")
    tree.add_file(f"{folder}/curr{channel}_input", f"{current_ma}\n")


def powers(tree):
    return {sensor.name: sensor.read_power_w() for sensor in find_rails(tree).sensors}


def test_a_machine_without_chips_has_no_rails(tree):
    assert find_rails(tree) == ((), ())


def test_the_old_driver_gives_each_rail_its_power_in_milliwatts(tree):
    add_iio(tree, NANO, 0, "POM_5V_IN", volts_mv=5080, current_ma=400, power_mw=2032)
    add_iio(tree, NANO, 1, "POM_5V_GPU", volts_mv=5080, current_ma=8, power_mw=40)
    assert powers(tree) == {"POM_5V_IN": 2.032, "POM_5V_GPU": 0.04}


def test_the_old_driver_without_a_power_file_gives_voltage_times_current(tree):
    add_iio(tree, NANO, 0, "POM_5V_IN", volts_mv=5000, current_ma=400)
    assert powers(tree) == {"POM_5V_IN": 2.0}


def test_the_new_driver_gives_voltage_times_current(tree):
    add_chip(tree, ORIN)
    add_channel(tree, ORIN, 1, "VDD_IN", volts_mv=5000, current_ma=1200)
    add_channel(tree, ORIN, 2, "VDD_CPU_GPU_CV", volts_mv=5000, current_ma=300)
    assert powers(tree) == {"VDD_IN": 6.0, "VDD_CPU_GPU_CV": 1.5}


def test_the_new_driver_with_a_power_file_gives_that(tree):
    add_chip(tree, ORIN)
    add_channel(tree, ORIN, 1, "VDD_IN", volts_mv=5000, current_ma=1200)
    tree.add_file(f"{ORIN}/power1_input", "5900000\n")
    assert powers(tree) == {"VDD_IN": pytest.approx(5.9)}


def test_the_sum_of_the_shunt_voltages_is_no_rail(tree):
    add_chip(tree, ORIN)
    add_channel(tree, ORIN, 1, "VDD_IN", volts_mv=5000, current_ma=1200)
    add_channel(tree, ORIN, 7, "sum of shunt voltages", volts_mv=12, current_ma=1)
    assert list(powers(tree)) == ["VDD_IN"]


@pytest.mark.parametrize("driver", ["old", "new"])
def test_a_channel_that_is_not_connected_is_no_rail(tree, driver):
    if driver == "old":
        add_iio(tree, NANO, 1, "NC", volts_mv=0, current_ma=0, power_mw=0)
    else:
        add_chip(tree, ORIN)
        add_channel(tree, ORIN, 1, "NC", volts_mv=0, current_ma=0)
    assert powers(tree) == {}


def test_a_channel_that_is_switched_off_is_no_rail_and_no_problem(tree):
    add_chip(tree, ORIN)
    add_channel(tree, ORIN, 1, "VDD_IN", volts_mv=5000, current_ma=1200)
    tree.add_file(f"{ORIN}/in2_label", "VDD_SOC\n")
    tree.add_file(f"{ORIN}/in2_input", "5000\n")
    tree.add_failing(f"{ORIN}/curr2_input", errno.ENODATA)
    found = find_rails(tree)
    assert [sensor.name for sensor in found.sensors] == ["VDD_IN"]
    assert found.problems == ()


def test_a_rail_that_only_root_may_read_is_a_problem_with_its_mend(tree):
    add_chip(tree, ORIN)
    add_channel(tree, ORIN, 1, "VDD_IN", volts_mv=5000, current_ma=1200)
    tree.set_mode(f"{ORIN}/curr1_input", 0o400)
    tree.as_user(unprivileged=True)
    found = find_rails(tree)
    assert found.sensors == ()
    (problem,) = found.problems
    assert problem.what == "power rail VDD_IN"
    assert problem.why == "/sys/class/hwmon/hwmon3/curr1_input may be read by root only"
    assert "sudo chmod g+r /sys/class/hwmon/hwmon3/curr1_input" in problem.mend


def test_a_channel_without_a_label_is_named_by_its_chip(tree):
    add_chip(tree, ORIN)
    tree.add_link(f"{ORIN}/device", "../../../bus/i2c/devices/1-0041")
    tree.add_file(f"{ORIN}/in3_input", "5000\n")
    tree.add_file(f"{ORIN}/curr3_input", "100\n")
    assert powers(tree) == {"ina3221 1-0041 channel 3": 0.5}


def test_a_chip_that_shows_under_its_driver_only_is_found_too(tree):
    folder = "/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon4"
    add_chip(tree, folder)
    add_channel(tree, folder, 1, "VDD_GPU_SOC", volts_mv=10000, current_ma=500)
    tree.add_file("/sys/bus/i2c/drivers/ina3221/bind", "", mode=0o200)
    (sensor,) = find_rails(tree).sensors
    assert (sensor.name, sensor.chip, sensor.place) == ("VDD_GPU_SOC", "INA3221", "1-0040")


def test_a_chip_that_shows_twice_is_counted_once(tree):
    folder = "/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    for place in (folder, ORIN):
        add_chip(tree, place)
        add_channel(tree, place, 1, "VDD_IN", volts_mv=5000, current_ma=1000)
    assert len(find_rails(tree).sensors) == 1


def test_a_one_channel_chip_gives_its_power_in_microwatts(tree):
    add_chip(tree, ORIN, "ina238")
    tree.add_file(f"{ORIN}/power1_input", "12040000\n")
    tree.add_file(f"{ORIN}/label", "VIN\n")
    (sensor,) = find_rails(tree).sensors
    assert (sensor.name, sensor.chip, sensor.read_power_w()) == ("VIN", "INA238", pytest.approx(12.04))


def test_a_one_channel_chip_is_named_by_its_place_if_the_board_gives_it_no_name(tree):
    add_chip(tree, ORIN, "ina226")
    tree.add_file(f"{ORIN}/power1_input", "1000000\n")
    assert list(powers(tree)) == ["ina226 hwmon3 channel 1"]


def test_other_chips_are_left_alone(tree):
    add_chip(tree, ORIN, "amdgpu")
    tree.add_file(f"{ORIN}/power1_input", "1000000\n")
    tree.add_file("/sys/class/hwmon/hwmon9/in1_input", "1\n")
    assert powers(tree) == {}


def test_chips_are_found_by_name_whatever_their_number(tree):
    add_chip(tree, "/sys/class/hwmon/hwmon11", "rpi_volt")
    assert find_hwmon(tree, "rpi_volt") == ("/sys/class/hwmon/hwmon11",)
    assert find_hwmon(tree, "coretemp") == ()


def test_a_sensor_that_fails_later_reads_none(tree):
    add_chip(tree, ORIN)
    add_channel(tree, ORIN, 1, "VDD_IN", volts_mv=5000, current_ma=1200)
    (sensor,) = find_rails(tree).sensors
    assert sensor.paths == (f"{ORIN}/in1_input", f"{ORIN}/curr1_input")
    tree.fail_next_read(f"{ORIN}/curr1_input", errno.EIO)
    assert sensor.read_power_w() is None
    assert sensor.read_power_w() == 6.0
    sensor.close()
    assert sensor.read_power_w() == 6.0
