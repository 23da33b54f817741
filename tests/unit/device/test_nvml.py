"""NVIDIA's GPUs through the real nvidia-ml-py and a stub of NVIDIA's library."""

import sys

import pytest

from edgeexit.clock import ManualClock
from edgeexit.device import nvml_library
from edgeexit.device.nvml import find_gpus
from edgeexit.device.sampler import SampledMeter
from edgeexit.errors import ClockBusy, ClockNotWritable, ClockRefused, DeviceError
from edgeexit.protocols import EnergySource

pytest_plugins = ("nvml_stub",)


@pytest.fixture
def gpu(nvml_stub):
    with find_gpus() as found:
        yield found.gpus[0]


# --- what is found ---------------------------------------------------------------------------------


def test_a_volta_card_has_all_there_is(nvml_stub):
    with find_gpus() as found:
        (card,) = found.gpus
        assert found.reason is None
        assert found.read_driver_version() == "550.54.15"
        assert (card.name, card.uuid) == ("Tesla V100-SXM2-16GB", "GPU-96ab329d-7a1f-73a8-a9b7-18b4b2855f90")
        assert card.domain is not None
        assert card.meter is not None
        assert dict(card.cannot) == {}


def test_finding_gpus_sets_no_clock(nvml_stub):
    with find_gpus():
        pass
    assert nvml_stub.calls() == []


def test_two_cards_are_numbered(nvml_stub, monkeypatch):
    monkeypatch.setenv("STUB_NVML_COUNT", "2")
    with find_gpus() as found:
        assert [gpu.domain.name for gpu in found.gpus] == ["gpu0", "gpu1"]
        assert [gpu.meter.name for gpu in found.gpus] == ["gpu0 (NVML)", "gpu1 (NVML)"]
        assert [gpu.uuid for gpu in found.gpus] == [nvml_stub.uuid, nvml_stub.second_uuid]


def test_a_jetson_opens_shows_a_gpu_and_supports_nothing(nvml_stub, monkeypatch):
    monkeypatch.setenv("STUB_NVML_BOARD", "jetson")
    with find_gpus() as found:
        (orin,) = found.gpus
        assert orin.name == "Orin (nvgpu)"
        assert orin.uuid is None
        assert orin.domain is None
        assert orin.meter is None
        assert set(orin.cannot) == {"uuid", "clocks", "energy", "power", "temperature", "event reasons"}
        assert (orin.read_temperature_c(), orin.read_power_w(), orin.read_event_reasons()) == (None, None, None)


def test_what_cannot_be_done_says_why_and_what_is_behind_it(nvml_stub, monkeypatch):
    monkeypatch.setenv("STUB_NVML_FAIL", "nvmlDeviceGetTotalEnergyConsumption=4")
    with find_gpus() as found:
        assert found.gpus[0].cannot["energy"] == (
            "gpu: nvmlDeviceGetTotalEnergyConsumption failed: Insufficient Permissions (NVML error 4); it takes root "
            "or the capability CAP_SYS_ADMIN (in a container: --cap-add SYS_ADMIN)"
        )


def test_each_capability_is_found_out_for_itself(nvml_stub, monkeypatch):
    monkeypatch.setenv("STUB_NVML_FAIL", "nvmlDeviceGetTemperatureV=3 nvmlDeviceGetTemperature=3 nvmlDeviceGetName=999")
    with find_gpus() as found:
        (card,) = found.gpus
        assert set(card.cannot) == {"temperature", "name"}
        assert card.name == "NVIDIA GPU"
        assert card.read_temperature_c() is None
        assert card.read_power_w() == 51.125


def test_a_card_before_volta_has_sampled_power_and_no_clock(nvml_stub, monkeypatch):
    monkeypatch.setenv("STUB_NVML_BOARD", "pascal")
    with find_gpus() as found:
        (card,) = found.gpus
        assert card.domain is None
        assert card.cannot["clocks"] == (
            "gpu: Quadro P1000 is older than Volta, whose clock was the first to be locked"
        )
        assert isinstance(card.meter, SampledMeter)
        assert card.meter.name == "gpu (NVML)"
        assert card.meter.source is EnergySource.INTEGRATED


def test_a_sampled_meter_integrates_the_usual_power(nvml_stub, monkeypatch):
    monkeypatch.setenv("STUB_NVML_BOARD", "pascal")
    clock = ManualClock()
    with find_gpus(clock) as found:
        meter = found.gpus[0].meter
        meter.read_energy_j()
        meter.take_sample()
        clock.advance_s(0.2)
        meter.take_sample()
        assert meter.read_energy_j() == pytest.approx(9.65)  # 48.25 W for 0.2 s


def test_a_card_with_an_unknown_age_is_taken_for_a_new_one(nvml_stub, monkeypatch):
    monkeypatch.setenv("STUB_NVML_FAIL", "nvmlDeviceGetArchitecture=13")
    with find_gpus() as found:
        assert found.gpus[0].domain is not None


def test_a_card_without_a_uuid_is_not_locked_because_no_journal_could_name_it(nvml_stub, monkeypatch):
    monkeypatch.setenv("STUB_NVML_FAIL", "nvmlDeviceGetUUID=3")
    with find_gpus() as found:
        assert found.gpus[0].domain is None
        assert "no journal can name it" in found.gpus[0].cannot["clocks"]


@pytest.mark.parametrize("function", ["nvmlDeviceGetSupportedMemoryClocks", "nvmlDeviceGetSupportedGraphicsClocks"])
def test_a_card_that_lists_no_clocks_has_no_domain(nvml_stub, monkeypatch, function):
    monkeypatch.setenv("STUB_NVML_FAIL", f"{function}=3")
    with find_gpus() as found:
        assert found.gpus[0].domain is None
        assert function in found.gpus[0].cannot["clocks"]


def test_a_card_whose_clocks_are_all_out_of_reach_has_no_domain(nvml_stub, monkeypatch):
    monkeypatch.setenv("STUB_NVML_HIGHEST", "100")
    with find_gpus() as found:
        assert found.gpus[0].domain is None
        assert found.gpus[0].cannot["clocks"] == "gpu: NVML lists no clocks for it"


def test_without_a_gpu_there_is_a_reason(nvml_stub, monkeypatch):
    monkeypatch.setenv("STUB_NVML_BOARD", "none")
    with find_gpus() as found:
        assert found.gpus == ()
        assert found.reason == "NVML shows no GPU"


def test_without_a_driver_there_is_a_reason(nvml_stub, monkeypatch):
    monkeypatch.delenv("STUB_NVML_FOLDER")
    with find_gpus() as found:
        assert found.gpus == ()
        assert found.reason == (
            "NVML cannot be opened: Driver Not Loaded (NVML error 9); load NVIDIA's driver: sudo modprobe nvidia"
        )
        assert found.read_driver_version() is None


def test_without_the_library_there_is_a_reason(nvml_stub, tmp_path):
    (tmp_path / "libnvidia-ml.so.1").write_text("this is no library")
    code = "from edgeexit.device.nvml import find_gpus\nfound = find_gpus()\nprint(found.gpus, found.reason)"
    assert nvml_stub.run(code, LD_LIBRARY_PATH=str(tmp_path)) == (
        "() NVML cannot be opened: NVML Shared Library Not Found (NVML error 12); there is no libnvidia-ml.so.1; it "
        "comes with NVIDIA's driver"
    )


def test_without_nvidia_ml_py_there_is_a_reason(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert find_gpus().reason == "NVML cannot be called: install nvidia-ml-py"


def test_a_card_that_cannot_be_used_does_not_hide_the_others(nvml_stub, monkeypatch):
    monkeypatch.setenv("STUB_NVML_FAIL", "nvmlDeviceGetHandleByIndex_v2=15")
    monkeypatch.setenv("STUB_NVML_COUNT", "2")
    with find_gpus() as found:
        assert found.gpus == ()
        assert found.reason == (
            "gpu0 cannot be used: GPU is lost (NVML error 15); the GPU has fallen off its bus; reboot; "
            "gpu1 cannot be used: GPU is lost (NVML error 15); the GPU has fallen off its bus; reboot"
        )


def test_gpus_that_cannot_be_counted_are_a_reason(nvml_stub, monkeypatch):
    monkeypatch.setenv("STUB_NVML_FAIL", "nvmlDeviceGetCount_v2=999 nvmlSystemGetDriverVersion=999")
    with find_gpus() as found:
        assert found.reason == "NVML cannot count the GPUs: Unknown Error (NVML error 999)"
        assert found.read_driver_version() is None


def test_an_old_driver_is_asked_by_the_old_names(old_nvml_stub):
    code = (
        "from edgeexit.device.nvml import find_gpus\n"
        "gpu = find_gpus().gpus[0]\n"
        "print(gpu.read_temperature_c(), gpu.read_power_w(), gpu.read_event_reasons(), dict(gpu.cannot))"
    )
    assert old_nvml_stub.run(code, STUB_NVML_REASONS="40") == "47.0 48.25 ('hw thermal slowdown',) {}"


def test_an_old_binding_is_asked_by_the_old_names(nvml_stub, monkeypatch):
    import pynvml

    monkeypatch.delattr(pynvml, "nvmlDeviceGetTemperatureV", raising=False)
    with find_gpus() as found:
        assert found.gpus[0].read_temperature_c() == 47.0


def test_closing_twice_closes_nvml_once(nvml_stub):
    before = nvml_stub.open_count()
    with find_gpus():
        found = find_gpus()
        found.close()
        found.close()
        assert nvml_stub.open_count() == before + 1
    assert nvml_stub.open_count() == before


def test_after_closing_nothing_is_known(nvml_stub):
    found = find_gpus()
    found.close()
    (card,) = found.gpus
    assert (card.read_temperature_c(), card.read_power_w(), card.meter.read_energy_j()) == (None, None, None)
    with pytest.raises(DeviceError, match="Uninitialized"):
        card.domain.read_hz()


def test_closing_outlives_a_driver_that_has_gone(nvml_stub, monkeypatch):
    found = find_gpus()
    monkeypatch.setenv("STUB_NVML_FAIL", "nvmlShutdown=999")
    found.close()


def test_nvml_is_closed_if_looking_is_interrupted(nvml_stub, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("edgeexit.device.nvml.NvmlGpu", interrupt)
    before = nvml_stub.open_count()
    with pytest.raises(KeyboardInterrupt):
        find_gpus()
    assert nvml_stub.open_count() == before


def test_a_text_that_is_none_is_an_error_of_ours(nvml_stub, monkeypatch):
    import pynvml

    def read_name(handle):
        return b"\xff".decode()

    monkeypatch.setattr(pynvml, "nvmlDeviceGetName", read_name)
    with find_gpus() as found:
        assert found.gpus[0].name == "NVIDIA GPU"
        assert "can't decode" in found.gpus[0].cannot["name"]


# --- conditions ------------------------------------------------------------------------------------


def test_it_reads_temperature_and_power(gpu):
    assert gpu.read_temperature_c() == 47.0
    assert gpu.read_power_w() == 51.125


@pytest.mark.parametrize(
    ("bits", "reasons"),
    [
        ("0", ()),
        ("1", ()),
        ("2", ()),
        ("3", ()),
        ("4", ("power cap",)),
        ("8", ("hw slowdown",)),
        ("10", ("sync boost",)),
        ("20", ("sw thermal slowdown",)),
        ("48", ("hw slowdown", "hw thermal slowdown")),
        ("80", ("hw power brake",)),
        ("100", ("display clock",)),
    ],
)
def test_it_says_in_words_what_holds_the_clocks_down(gpu, monkeypatch, bits, reasons):
    monkeypatch.setenv("STUB_NVML_REASONS", bits)
    assert gpu.read_event_reasons() == reasons


def test_conditions_of_a_lost_gpu_are_not_known(gpu, monkeypatch):
    monkeypatch.setenv("STUB_NVML_FAIL", "*=15")
    assert (gpu.read_temperature_c(), gpu.read_power_w(), gpu.read_event_reasons()) == (None, None, None)


# --- energy ----------------------------------------------------------------------------------------


def test_the_meter_counts_joules_from_its_first_reading(gpu, monkeypatch):
    assert gpu.meter.source is EnergySource.COUNTER
    monkeypatch.setenv("STUB_NVML_ENERGY", "7000000")
    assert gpu.meter.read_energy_j() == 0.0
    monkeypatch.setenv("STUB_NVML_ENERGY", "7002500")
    assert gpu.meter.read_energy_j() == 2.5


def test_the_counter_of_a_lost_gpu_is_not_known(gpu, monkeypatch):
    gpu.meter.read_energy_j()
    monkeypatch.setenv("STUB_NVML_FAIL", "*=15")
    assert gpu.meter.read_energy_j() is None


def test_a_counter_that_is_set_back_goes_on_from_there(gpu, monkeypatch):
    energies = []
    for mj in ("7000000", "7003000", "1000", "2000"):
        monkeypatch.setenv("STUB_NVML_ENERGY", mj)
        energies.append(gpu.meter.read_energy_j())
    assert energies == [0.0, 3.0, None, 4.0]


def test_the_meter_tells_windows_of_a_second_and_longer(gpu):
    assert gpu.meter.min_window_s == 1.0


def test_the_uncertainty_has_the_sensor_and_the_ends_in_it(gpu):
    # 100 J in 1 s: 5 J of the sensor, 100 W * 0.1 s / sqrt(6) = 4.0825 J of the ends
    assert gpu.meter.uncertainty_j(100.0, 1.0) == pytest.approx(6.4550, abs=1e-4)
    assert gpu.meter.uncertainty_j(100.0, 0.0) is None


# --- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "advice"),
    [
        (1, ClockBusy, "Uninitialized"),
        (2, ClockRefused, "Invalid Argument"),
        (3, ClockNotWritable, "does not support it"),
        (4, ClockNotWritable, "CAP_SYS_ADMIN"),
        (9, ClockBusy, "modprobe"),
        (10, ClockBusy, "Timeout"),
        (15, ClockBusy, "fallen off its bus"),
        (16, ClockBusy, "--gpu-reset"),
        (17, ClockNotWritable, "blocked"),
        (18, ClockNotWritable, "reboot"),
        (24, ClockRefused, "error 24"),
        (26, ClockNotWritable, "does not support it"),
        (999, ClockBusy, "Unknown Error"),
        (12345, ClockBusy, "an error of the stub"),
    ],
)
def test_every_error_of_setting_becomes_one_of_three(nvml_stub, monkeypatch, code, kind, advice):
    import pynvml

    monkeypatch.setenv("STUB_NVML_FAIL", f"nvmlDeviceResetGpuLockedClocks={code}")
    library = nvml_library.NvmlLibrary()
    handle = library.find_gpu(nvml_stub.uuid)
    with pytest.raises(DeviceError, match=advice) as caught:
        library.set("no lock", "nvmlDeviceResetGpuLockedClocks", handle)
    library.close()
    assert type(caught.value) is kind
    assert isinstance(caught.value.__cause__, pynvml.NVMLError)
