"""Locking a GPU's clock through the real nvidia-ml-py and a stub of NVIDIA's library."""

import signal
import subprocess
import sys

import pytest

from edgeexit.device.nvml import find_gpus, open_knob
from edgeexit.device.nvml_clock import thin
from edgeexit.errors import ClockBusy, ClockNotWritable, ClockRefused, DeviceError, DeviceNotFound, JournalError
from edgeexit.testing.devices import check_clock_domain

pytest_plugins = ("nvml_stub",)

UUID = "GPU-96ab329d-7a1f-73a8-a9b7-18b4b2855f90"
KEY = "nvml/GPU-96ab329d-7a1f-73a8-a9b7-18b4b2855f90/locked_clocks"


@pytest.fixture
def domain(nvml_stub):
    with find_gpus() as found:
        yield found.gpus[0].domain


@pytest.fixture
def knob(domain):
    return domain.knobs[0]


# --- the domain ------------------------------------------------------------------------------------


def test_the_domain_keeps_the_contract(domain):
    check_clock_domain(domain)


def test_its_operating_points_ascend_in_hz_and_keep_both_ends(domain):
    points = domain.operating_points_hz
    assert len(points) == 32
    assert (points[0], points[1], points[-1]) == (135_000_000, 180_000_000, 1_530_000_000)


def test_a_short_list_of_clocks_is_kept_whole():
    assert thin([135, 150, 165]) == (135, 150, 165)


@pytest.mark.parametrize("limit", ["STUB_NVML_HIGHEST", "STUB_NVML_BOOST"])
def test_no_operating_point_lies_above_what_the_gpu_may_reach(nvml_stub, monkeypatch, limit):
    monkeypatch.setenv(limit, "1380")
    with find_gpus() as found:
        assert found.gpus[0].domain.operating_points_hz[-1] == 1_380_000_000


def test_unlocked_it_reads_the_clock_that_runs(domain):
    assert domain.read_hz() == 135_000_000


def test_a_clock_without_an_sm_reading_is_read_as_graphics_clock(nvml_stub, monkeypatch):
    import pynvml

    def read(handle, kind):
        if kind == pynvml.NVML_CLOCK_SM:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return 345

    monkeypatch.setattr(pynvml, "nvmlDeviceGetClockInfo", read)
    with find_gpus() as found:
        assert found.gpus[0].domain.read_hz() == 345_000_000


def test_setting_locks_both_ends_to_one_clock(domain, nvml_stub):
    domain.set_hz(990_000_000)
    assert nvml_stub.lock() == "990,990"


def test_a_frequency_between_two_points_becomes_the_upper_one(domain, nvml_stub):
    applied = domain.set_hz(980_000_000)
    assert (applied.requested_hz, applied.effective_hz) == (980_000_000, 990_000_000)
    assert nvml_stub.lock() == "990,990"


def test_it_says_read_back_where_the_clock_already_runs(domain):
    assert domain.set_hz(990_000_000).verified_by == "read back"


def test_it_says_accepted_where_the_clock_has_not_settled(domain, monkeypatch):
    monkeypatch.setenv("STUB_NVML_CLOCK", "1530")
    applied = domain.set_hz(990_000_000)
    assert applied.verified_by == "accepted by NVML"
    assert applied.effective_hz == domain.read_hz() == 990_000_000
    assert domain.read_running_hz() == 1_530_000_000


def test_it_says_accepted_where_the_clock_cannot_be_read(domain, monkeypatch):
    monkeypatch.setenv("STUB_NVML_FAIL", "nvmlDeviceGetClockInfo=999")
    assert domain.set_hz(990_000_000).verified_by == "accepted by NVML"


def test_it_tells_how_long_a_change_takes(domain):
    assert domain.switch_latency_s == 0.0245
    assert domain.how == "locked clocks"


def test_without_permission_it_says_what_to_do(domain, nvml_stub, monkeypatch):
    monkeypatch.setenv("STUB_NVML_FAIL", "nvmlDeviceSetGpuLockedClocks=4")
    with pytest.raises(ClockNotWritable) as caught:
        domain.set_hz(990_000_000)
    assert str(caught.value) == (
        f"the clock of {UUID} cannot be locked to 990 to 990 MHz: Insufficient Permissions (NVML error 4); it takes "
        "root or the capability CAP_SYS_ADMIN (in a container: --cap-add SYS_ADMIN)"
    )
    assert nvml_stub.calls() == []
    assert domain.read_hz() == 135_000_000


def test_a_gpu_without_locked_clocks_says_so(domain, monkeypatch):
    monkeypatch.setenv("STUB_NVML_FAIL", "nvmlDeviceSetGpuLockedClocks=3")
    with pytest.raises(ClockNotWritable, match="does not support it"):
        domain.set_hz(990_000_000)


def test_a_clock_that_nvml_does_not_take_is_refused(domain, monkeypatch):
    monkeypatch.setenv("STUB_NVML_FAIL", "nvmlDeviceSetGpuLockedClocks=2")
    with pytest.raises(ClockRefused, match="Invalid Argument"):
        domain.set_hz(990_000_000)


def test_a_gpu_that_is_lost_is_busy(domain, monkeypatch):
    monkeypatch.setenv("STUB_NVML_LOST_AFTER", "0")
    with pytest.raises(ClockBusy, match="GPU is lost"):
        domain.set_hz(990_000_000)
    with pytest.raises(DeviceError, match="GPU is lost"):
        domain.read_hz()


def test_two_gpus_are_set_apart(nvml_stub, monkeypatch):
    monkeypatch.setenv("STUB_NVML_COUNT", "2")
    with find_gpus() as found:
        first, second = (gpu.domain for gpu in found.gpus)
        first.set_hz(990_000_000)
        second.set_hz(1_530_000_000)
    assert (nvml_stub.lock(0), nvml_stub.lock(1)) == ("990,990", "1530,1530")


# --- the knob --------------------------------------------------------------------------------------


def test_the_knob_is_named_by_the_uuid(knob):
    assert knob.key == KEY


def test_nobody_can_ask_for_the_lock(knob):
    knob.write("975,975")
    assert knob.read() is None


def test_a_range_may_be_locked(knob, domain, nvml_stub):
    knob.write("975,1200")
    assert nvml_stub.lock() == "975,1200"
    assert domain.read_hz() == 1_200_000_000


def test_writing_nothing_lets_the_clock_go(knob, domain, nvml_stub):
    knob.write("975,975")
    knob.write("")
    assert nvml_stub.calls() == ["gpu0 set 975,975", "gpu0 reset"]
    assert nvml_stub.lock() is None
    assert domain.read_hz() == 135_000_000


@pytest.mark.parametrize("value", ["975", "975,", "0,975", "975;975", " 975,975", "975,975\n", "-1,975", "975,975,1"])
def test_what_is_no_lock_is_refused_before_anything_is_noted_or_set(knob, nvml_stub, value):
    noted = []
    knob.before_write = lambda knob, value: noted.append(value)
    with pytest.raises(ClockRefused, match="takes two clocks in MHz"):
        knob.write(value)
    assert noted == nvml_stub.calls() == []


def test_before_a_write_it_is_noted(knob, nvml_stub):
    noted = []
    knob.before_write = lambda knob, value: noted.append((knob.key, value, nvml_stub.calls()))
    knob.write("975,975")
    assert noted == [(KEY, "975,975", [])]


def test_what_cannot_be_noted_is_not_written(knob, nvml_stub):
    def refuse(knob, value):
        raise JournalError("the disk is full")

    knob.before_write = refuse
    with pytest.raises(JournalError):
        knob.write("975,975")
    assert nvml_stub.calls() == []
    assert not knob.holds("975,975")


def test_it_holds_what_was_written_last(knob):
    knob.write("975,975")
    knob.write("990,990")
    assert knob.holds("990,990")
    assert not knob.holds("975,975")


def test_it_does_not_hold_what_this_process_was_not_allowed_to_write(knob, monkeypatch):
    monkeypatch.setenv("STUB_NVML_FAIL", "nvmlDeviceSetGpuLockedClocks=4")
    with pytest.raises(ClockNotWritable):
        knob.write("975,975")
    assert not knob.holds("975,975")


def test_a_failure_that_leaves_it_uncertain_counts_as_held(knob, domain, monkeypatch):
    knob.write("975,975")
    monkeypatch.setenv("STUB_NVML_FAIL", "nvmlDeviceSetGpuLockedClocks=10")
    with pytest.raises(ClockBusy):
        knob.write("990,990")
    assert knob.holds("975,975")
    assert knob.holds("990,990")
    assert domain.read_hz() == 975_000_000  # not known: what the GPU itself says


def test_closing_the_knob_of_a_domain_leaves_the_domain_open(knob, domain):
    knob.close()
    assert domain.read_hz() == 135_000_000


# --- after a crash ---------------------------------------------------------------------------------


def test_a_lock_outlives_sigkill_and_another_process_undoes_it(nvml_stub):
    code = (
        "import sys\n"
        "from edgeexit.device.nvml import find_gpus\n"
        "find_gpus().gpus[0].domain.set_hz(900_000_000)\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=nvml_stub.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "locked\n"
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert nvml_stub.lock() == "900,900"
    knob = open_knob(KEY)
    assert knob.holds("900,900")
    knob.write("")
    knob.close()
    assert nvml_stub.lock() is None


@pytest.mark.parametrize(
    "key",
    [
        "nvml/../locked_clocks",
        "nvml/GPU-1/locked_clocks",
        f"nvml/{UUID}/power_limit",
        f"nvml/{UUID}/locked_clocks/",
        f"nvml/{UUID}/locked_clocks\n",
        f"nvml/{UUID.upper()}/locked_clocks",
        "cpufreq/policy0/scaling_max_freq",
        "",
    ],
)
def test_a_key_that_is_no_knob_of_a_gpu_is_refused(key):
    with pytest.raises(DeviceError, match="is no knob of a GPU"):
        open_knob(key)


def test_a_gpu_that_is_not_there_any_more_is_not_found(nvml_stub, monkeypatch):
    monkeypatch.setenv("STUB_NVML_BOARD", "none")
    with pytest.raises(DeviceNotFound, match=f"there is no way to the GPU {UUID}: Not Found"):
        open_knob(KEY)


def test_a_gpu_that_does_not_answer_is_busy(nvml_stub, monkeypatch):
    monkeypatch.setenv("STUB_NVML_FAIL", "nvmlDeviceGetHandleByUUID=15")
    with pytest.raises(ClockBusy, match="GPU is lost"):
        open_knob(KEY)


def test_without_a_driver_no_knob_can_be_opened(nvml_stub, monkeypatch):
    monkeypatch.delenv("STUB_NVML_FOLDER")
    with pytest.raises(DeviceError, match="Driver Not Loaded"):
        open_knob(KEY)


def test_a_knob_that_was_opened_to_restore_closes_nvml(nvml_stub):
    before = nvml_stub.open_count()
    knob = open_knob(KEY)
    assert nvml_stub.open_count() == before + 1
    knob.close()
    assert nvml_stub.open_count() == before
    with pytest.raises(ClockBusy, match="Uninitialized"):
        knob.write("")


def test_a_knob_that_cannot_be_opened_leaves_nvml_closed(nvml_stub, monkeypatch):
    monkeypatch.setenv("STUB_NVML_BOARD", "none")
    before = nvml_stub.open_count()
    with pytest.raises(DeviceNotFound):
        open_knob(KEY)
    assert nvml_stub.open_count() == before
