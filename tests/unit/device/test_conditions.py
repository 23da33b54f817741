import threading

import pytest

from edgeexit.clock import ManualClock
from edgeexit.device.conditions import ConditionSensors, ConditionWatch
from edgeexit.device.firmware import Firmware
from edgeexit.protocols import Conditions
from edgeexit.testing.fake_sysfs import FakeTree


class ByHand:
    """Stands where the thread does, and leaves the reading to the test."""

    starts = 0
    closes = 0

    def __init__(self, step, interval_s, name):
        pass

    def start(self):
        self.starts += 1

    def close(self):
        self.closes += 1


@pytest.fixture
def clock():
    return ManualClock(50.0)


@pytest.fixture
def readings():
    return [Conditions(temperature_c=40.0), Conditions(temperature_c=41.0)]


@pytest.fixture
def watch(clock, readings):
    return ConditionWatch(lambda: readings.pop(0), interval_s=1.0, clock=clock, repeater=ByHand)


def test_before_the_first_reading_nothing_is_known(watch):
    assert watch.latest() == Conditions()


def test_asking_reads_no_sensor(watch, readings):
    watch.latest()
    assert len(readings) == 2


def test_the_newest_reading_is_told(watch):
    watch.refresh()
    assert watch.latest() == Conditions(temperature_c=40.0)
    watch.refresh()
    assert watch.latest() == Conditions(temperature_c=41.0)


def test_what_is_old_is_no_longer_told(watch, clock):
    watch.refresh()
    clock.advance_s(5.0)
    assert watch.latest() == Conditions(temperature_c=40.0)
    clock.advance_s(0.5)
    assert watch.latest() == Conditions()


def test_after_the_close_nothing_is_read(watch, readings):
    watch.close()
    watch.close()
    watch.refresh()
    watch.latest()
    assert len(readings) == 2


def test_its_own_thread_reads_from_the_first_question_on(clock):
    read = threading.Event()

    def reading():
        read.set()
        return Conditions()

    watch = ConditionWatch(reading, interval_s=3600.0, clock=clock)
    assert not read.is_set()
    watch.latest()
    assert read.wait(30.0)
    watch.close()


def test_a_machine_without_sensors_has_no_conditions():
    assert ConditionSensors(FakeTree()).read() == Conditions()


def test_the_conditions_are_put_together_from_all_sensors():
    tree = FakeTree()
    tree.add_file("/sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
    tree.add_file("/sys/class/thermal/thermal_zone0/temp", "60000\n")
    sensors = ConditionSensors(
        tree,
        firmware=Firmware(lambda _: "throttled=0x4"),
        read_power_w=lambda: 7.5,
        read_load=lambda: (0.25, 1_000_000),
    )
    assert sensors.read() == Conditions(60.0, 7.5, ("throttled",), 0.25, 1_000_000)
    sensors.close()


def test_gpus_count_for_heat_and_for_reasons():
    sensors = ConditionSensors(
        FakeTree(),
        gpu_temperatures=[lambda: 80.0, lambda: None, lambda: 70.0],
        gpu_reasons=[lambda: ("power cap",), lambda: None, lambda: ("power cap",)],
    )
    assert sensors.read() == Conditions(temperature_c=80.0, throttled=("power cap",))


def test_a_gpu_that_is_not_held_down_gives_no_reason():
    assert ConditionSensors(FakeTree(), gpu_temperatures=[lambda: None], gpu_reasons=[lambda: ()]).read() == Conditions(
        throttled=()
    )
