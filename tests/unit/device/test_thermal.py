import pytest
from raspberry_pi import RaspberryPi

from edgeexit.device.firmware import Firmware, open_firmware
from edgeexit.device.thermal import (
    Temperature,
    Thermometers,
    ThrottleSensors,
    hottest_c,
    read_temperatures,
    throttled_words,
)
from edgeexit.testing.fake_sysfs import FakeTree

THERMAL = "/sys/class/thermal"
HEAT = "/sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count"


@pytest.fixture
def tree():
    return FakeTree()


def add_zone(tree, number, kind, millicelsius):
    tree.add_file(f"{THERMAL}/thermal_zone{number}/type", f"{kind}\n")
    tree.add_file(f"{THERMAL}/thermal_zone{number}/temp", f"{millicelsius}\n")


def add_cooling(tree, number, kind, state):
    tree.add_file(f"{THERMAL}/cooling_device{number}/type", f"{kind}\n")
    tree.add_file(f"{THERMAL}/cooling_device{number}/cur_state", f"{state}\n")


def add_hwmon(tree, number, name, **files):
    for key, value in {"name": name, **files}.items():
        tree.add_file(f"/sys/class/hwmon/hwmon{number}/{key}", f"{value}\n")


def test_a_machine_without_sensors_has_no_temperature(tree):
    assert read_temperatures(tree) == ()
    assert hottest_c(()) is None


def test_zones_are_named_by_their_type(tree):
    add_zone(tree, 0, "cpu-thermal", 48_312)
    assert read_temperatures(tree) == (Temperature("cpu-thermal", 48.312),)


def test_chips_are_named_by_chip_and_label(tree):
    add_hwmon(tree, 2, "coretemp", temp1_input=61_000, temp1_label="Package id 0", temp1_crit=100_000)
    add_hwmon(tree, 3, "k10temp", temp1_input=55_500)
    assert read_temperatures(tree) == (
        Temperature("coretemp Package id 0", 61.0),
        Temperature("k10temp", 55.5),
    )


def test_the_hottest_part_is_told(tree):
    add_zone(tree, 0, "CPU-therm", 41_500)
    add_zone(tree, 1, "GPU-therm", 44_000)
    assert hottest_c(read_temperatures(tree)) == 44.0


@pytest.mark.parametrize("kind", ["PMIC-Die", "thermal-fan-est", "iwlwifi_1", "INT3400 Thermal"])
def test_what_says_nothing_of_the_processor_is_not_the_hottest(tree, kind):
    add_zone(tree, 0, "CPU-therm", 41_500)
    add_zone(tree, 1, kind, 100_000)
    assert hottest_c(read_temperatures(tree)) == 41.5


def test_the_board_counts_only_where_there_is_nothing_better(tree):
    add_zone(tree, 0, "acpitz", 70_000)
    assert hottest_c(read_temperatures(tree)) == 70.0
    add_zone(tree, 1, "x86_pkg_temp", 50_000)
    assert hottest_c(read_temperatures(tree)) == 50.0


def test_a_zone_without_power_or_without_an_answer_is_left_out(tree):
    add_zone(tree, 0, "cv0-thermal", -256_000)
    add_zone(tree, 1, "gpu-thermal", "")
    add_zone(tree, 2, "cpu-thermal", 50_000)
    thermometers = Thermometers(tree)
    assert thermometers.read() == (Temperature("cpu-thermal", 50.0),)
    thermometers.close()


def test_the_bits_of_a_raspberry_pi_mean_words():
    assert throttled_words(0x0) == ()
    assert throttled_words(0x50000) == ()
    assert throttled_words(0x50005) == ("under-voltage", "throttled")
    assert throttled_words(0xF) == ("under-voltage", "frequency capped", "throttled", "soft temperature limit")


def test_a_machine_that_cannot_tell_says_so(tree):
    assert ThrottleSensors(tree).read_reasons() is None


def test_the_firmware_is_asked():
    firmware = open_firmware(RaspberryPi({"get_throttled": "throttled=0x50005"})).firmware
    assert ThrottleSensors(FakeTree(), firmware).read_reasons() == ("under-voltage", "throttled")


def test_a_firmware_that_is_not_throttled_gives_no_reason():
    assert ThrottleSensors(FakeTree(), Firmware(lambda _: "throttled=0x0")).read_reasons() == ()


def test_the_kernels_own_word_of_the_firmware_is_preferred(tree):
    tree.add_file("/sys/devices/platform/soc/soc:firmware/get_throttled", "50008\n")
    sensors = ThrottleSensors(tree, Firmware(lambda _: "throttled=0x1"))
    assert sensors.read_reasons() == ("soft temperature limit",)
    tree.set_text("/sys/devices/platform/soc/soc:firmware/get_throttled", "no number")
    assert sensors.read_reasons() is None
    sensors.close()


def test_under_voltage_is_told_once_though_two_say_it(tree):
    add_hwmon(tree, 1, "rpi_volt", in0_lcrit_alarm=1)
    firmware = Firmware(lambda _: "throttled=0x1")
    assert ThrottleSensors(tree, firmware).read_reasons() == ("under-voltage",)


def test_the_alarm_alone_is_enough(tree):
    add_hwmon(tree, 1, "rpi_volt", in0_lcrit_alarm=0)
    sensors = ThrottleSensors(tree)
    assert sensors.read_reasons() == ()
    tree.set_text("/sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1")
    assert sensors.read_reasons() == ("under-voltage",)
    sensors.close()


@pytest.mark.parametrize(
    "kind", ["thermal-cpufreq-0", "cpufreq-cpu4", "devfreq-17000000.gpu", "Processor", "gpu-throttle-alert"]
)
def test_cooling_by_lower_clocks_is_a_reason(tree, kind):
    add_cooling(tree, 0, kind, 0)
    sensors = ThrottleSensors(tree)
    assert sensors.read_reasons() == ()
    tree.set_text(f"{THERMAL}/cooling_device0/cur_state", "2")
    assert sensors.read_reasons() == (f"thermal: {kind}",)
    sensors.close()


@pytest.mark.parametrize("kind", ["pwm-fan", "intel_powerclamp", "TCC Offset", "hot-surface-alert"])
def test_other_cooling_is_no_reason(tree, kind):
    add_cooling(tree, 0, kind, 3)
    assert ThrottleSensors(tree).read_reasons() is None


def test_cores_of_one_type_make_one_reason(tree):
    add_cooling(tree, 0, "Processor", 1)
    add_cooling(tree, 1, "Processor", 1)
    assert ThrottleSensors(tree).read_reasons() == ("thermal: Processor",)


def test_x86_is_throttled_while_its_counts_rise(tree):
    tree.add_file(HEAT, "5\n")
    tree.add_file("/sys/devices/system/cpu/cpufreq/boost", "1\n")
    sensors = ThrottleSensors(tree)
    assert sensors.read_reasons() == ()
    tree.set_text(HEAT, "6\n")
    assert sensors.read_reasons() == ("thermal: processor",)
    assert sensors.read_reasons() == ()
    sensors.close()


def test_over_current_is_told_while_its_counts_rise(tree):
    add_hwmon(tree, 5, "soctherm_oc", oc1_event_cnt=0, oc1_throt_en=1, oc3_event_cnt=7)
    sensors = ThrottleSensors(tree)
    assert sensors.read_reasons() == ()
    tree.set_text("/sys/class/hwmon/hwmon5/oc3_event_cnt", "8\n")
    assert sensors.read_reasons() == ("over-current",)
    sensors.close()
