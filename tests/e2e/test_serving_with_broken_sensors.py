"""The service on a machine whose sensors fail while requests come: answers go on, and what is not known is not told."""

import asyncio
import errno
import logging
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgeexit import reference
from edgeexit.daemon.contracts import InferOptions
from edgeexit.daemon.seeing.metrics import Metrics
from edgeexit.daemon.service import DaemonService
from edgeexit.daemon.settings import ServedBundle, ServiceSettings
from edgeexit.device.host import HostDevice
from edgeexit.testing.fake_sysfs import FakeTree

SHIPPED = Path(reference.__file__).parent
ZONE = "/sys/class/thermal/thermal_zone0/temp"
CHIP = "/sys/class/hwmon/hwmon0"
VOLTS, AMPERES = f"{CHIP}/in1_input", f"{CHIP}/curr1_input"
THROTTLE = "/sys/class/thermal/cooling_device0/cur_state"
GOOD = {ZONE: "47500\n", VOLTS: "5000\n", AMPERES: "800\n", THROTTLE: "0\n"}
TEMPERATURE, POWER, THROTTLED = "edgeexit_temperature_celsius", "edgeexit_power_watts", "edgeexit_throttled"
PATIENCE_S = 60.0


@pytest.fixture
def tree():
    """A machine at 47.5 degrees that draws 5 V * 0.8 A = 4 W at its input."""
    machine = FakeTree()
    machine.add_file("/sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
    machine.add_file("/sys/class/thermal/cooling_device0/type", "cpufreq-cpu0\n")
    machine.add_file(f"{CHIP}/name", "ina3221\n")
    machine.add_file(f"{CHIP}/in1_label", "VDD_IN\n")
    mend(machine)
    return machine


def mend(tree):
    for path, text in GOOD.items():
        tree.add_file(path, text)


def fail_with(code):
    def fail(tree):
        for path in GOOD:
            tree.add_failing(path, code)

    return fail


def say(text):
    def say_it(tree):
        for path in GOOD:
            tree.add_file(path, text)

    return say_it


def vanish(tree):
    for path in GOOD:
        tree.remove(path)


class Serving:
    """A service that somebody asks all the time, in an event loop of its own."""

    def __init__(self, tree, folder):
        self.images = np.load(SHIPPED / "fashion-images.npz")["images"][:20, None].astype(np.float32) / 255
        self.labels = [set() for _ in self.images]
        self.answered = 0
        self.failures = []
        self.told = set()
        self._tree, self._folder = tree, folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._enough = False

    def __enter__(self):
        self._thread.start()
        self._do(self._start())
        self._asking = asyncio.run_coroutine_threadsafe(self._ask(), self._loop)
        return self

    def __exit__(self, *_):
        self._enough = True
        self._asking.result(PATIENCE_S)
        self._do(self._service.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)

    async def _start(self):
        self._service = DaemonService(
            [ServedBundle(name="shirts", path="fashion-resnet")],
            ServiceSettings(clockd_socket=None),
            open_board=lambda _: HostDevice(
                tree=self._tree, run_folder=self._folder / "run", nvml=False, looks_only=True
            ),
        )
        self._metrics = Metrics(self._service.status, self._service.models)
        self._service.observe(self._metrics)
        await self._service.start()

    async def _ask(self):
        while not self._enough:
            index = self.answered % len(self.images)
            try:
                answer = await self._service.infer("shirts", None, {"image": self.images[index][None]}, InferOptions())
            except Exception as error:
                self.failures.append(error)
            else:
                self.labels[index].add(answer.results[0].label)
            self.answered += 1
            await asyncio.sleep(0.005)

    def metrics(self):
        """Return the gauges of the sensors that are shown now."""

        async def read():
            return self._metrics.text().decode()

        lines = [line.split() for line in self._do(read()).splitlines() if not line.startswith("#")]
        shown = {words[0]: float(words[1]) for words in lines if words[0] in (TEMPERATURE, POWER, THROTTLED)}
        self.told.update(shown.items())
        return shown

    def wait_until_shown(self, *wanted):
        """Wait until these gauges and no others are shown; all that was shown meanwhile is in `told`."""
        end_s = time.monotonic() + PATIENCE_S
        while self.metrics().keys() != set(wanted):
            assert time.monotonic() < end_s, self.metrics()
            time.sleep(0.05)

    def wait_for_answers(self, count):
        answered, end_s = self.answered, time.monotonic() + PATIENCE_S
        while self.answered < answered + count:
            assert time.monotonic() < end_s, "no answers any more"
            time.sleep(0.01)


@pytest.fixture
def serving(tree, tmp_path):
    with Serving(tree, tmp_path) as running:
        running.wait_until_shown(TEMPERATURE, POWER, THROTTLED)
        yield running


@pytest.mark.parametrize(
    "break_sensors",
    [
        pytest.param(fail_with(errno.EIO), id="EIO"),
        pytest.param(fail_with(errno.EINVAL), id="EINVAL"),
        pytest.param(fail_with(errno.ENODEV), id="ENODEV"),
        pytest.param(say("garbage\n"), id="garbage"),
        pytest.param(say(""), id="nothing"),
        pytest.param(vanish, id="gone"),
    ],
)
def test_while_sensors_fail_answers_go_on_and_figures_are_absent_until_they_are_back(
    serving, tree, break_sensors, caplog
):
    caplog.set_level(logging.WARNING)
    break_sensors(tree)
    serving.wait_until_shown()
    serving.wait_for_answers(20)
    mend(tree)
    serving.wait_until_shown(TEMPERATURE, POWER, THROTTLED)
    assert serving.told == {(TEMPERATURE, 47.5), (POWER, 4.0), (THROTTLED, 0.0)}
    assert serving.failures == []
    assert [len(labels) for labels in serving.labels] == [1] * 20
    assert [record.message for record in caplog.records if record.name.startswith("edgeexit.device")] == []


def test_a_sensor_that_hangs_holds_up_no_answer_and_is_not_told_for_ever(serving, tree):
    go_on = threading.Event()

    def hang():
        go_on.wait(PATIENCE_S)
        return GOOD[ZONE]

    tree.add_file(ZONE, hang)
    try:
        serving.wait_until_shown()
        serving.wait_for_answers(20)
    finally:
        go_on.set()
    serving.wait_until_shown(TEMPERATURE, POWER, THROTTLED)
    assert serving.failures == []
    assert serving.told == {(TEMPERATURE, 47.5), (POWER, 4.0), (THROTTLED, 0.0)}


def test_what_no_part_can_be_like_is_not_told(serving, tree):
    tree.add_file(ZONE, "-256000\n")
    tree.add_failing(VOLTS, errno.EAGAIN)
    serving.wait_until_shown(THROTTLED)
    assert serving.told == {(TEMPERATURE, 47.5), (POWER, 4.0), (THROTTLED, 0.0)}
