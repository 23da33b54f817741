import subprocess
import sys
import warnings

import pytest

from edgeexit.device import HostDevice, SimulatedDevice, list_devices, open_device
from edgeexit.errors import ClocksUnavailable, DeviceNotFound, OptionError, ProfileError, ProfileMismatch
from edgeexit.testing.fake_sysfs import FakeTree


def test_the_argument_decides(monkeypatch):
    monkeypatch.setenv("EDGEEXIT_DEVICE", "simulated:jetson-tx2")
    assert isinstance(open_device("host"), HostDevice)


def test_without_argument_the_environment_decides(monkeypatch):
    monkeypatch.setenv("EDGEEXIT_DEVICE", "simulated:jetson-tx2")
    assert isinstance(open_device(), SimulatedDevice)


def test_without_both_the_machine_is_used_with_one_warning(monkeypatch):
    monkeypatch.delenv("EDGEEXIT_DEVICE", raising=False)
    monkeypatch.setattr("edgeexit.device.host.Tree", FakeTree)
    with pytest.warns(ClocksUnavailable, match="shows no clock that could be set.*edgeexit doctor") as caught:
        device = open_device()
    assert isinstance(device, HostDevice)
    assert len(caught) == 1
    assert caught[0].filename == __file__


def with_clocks(*, unprivileged):
    tree = FakeTree()
    tree.add_cpufreq_policy(0)
    tree.as_user(unprivileged)
    return tree


def test_a_machine_whose_clocks_this_user_may_not_set_gives_one_warning(monkeypatch):
    monkeypatch.setattr("edgeexit.device.host.Tree", lambda: with_clocks(unprivileged=True))
    with pytest.warns(ClocksUnavailable, match="this user may not set the clocks") as caught:
        open_device()
    assert len(caught) == 1


def test_a_machine_whose_clocks_may_be_set_gives_no_warning(monkeypatch):
    monkeypatch.setattr("edgeexit.device.host.Tree", lambda: with_clocks(unprivileged=False))
    assert list(open_device().domains) == ["cpu"]


def test_the_host_asked_for_by_name_gives_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_device("host")


def test_a_simulated_board_is_opened_by_the_path_of_a_profile(tmp_path):
    from edgeexit.device.profile import default_roots

    copy = tmp_path / "mine.json"
    copy.write_bytes((default_roots()[0] / "jetson-tx2.json").read_bytes())
    assert open_device(f"simulated:{copy}").name == "simulated:jetson-tx2"


def test_the_work_scale_reaches_the_board():
    assert open_device("simulated:jetson-tx2", work_scale=7.5).work_scale == 7.5


def test_a_work_scale_for_real_work_is_refused():
    with pytest.raises(OptionError, match="needs a simulated board"):
        open_device("host", work_scale=2.0)


def a_board(compatible, model):
    tree = FakeTree()
    tree.add_file("/proc/device-tree/compatible", f"{compatible}\0")
    tree.add_file("/proc/device-tree/model", f"{model}\0")
    return tree


def test_this_machine_can_be_taken_for_a_board_that_it_is_not_with_one_warning(monkeypatch):
    monkeypatch.setattr("edgeexit.device.sysfs.Tree", lambda: a_board("acme,rocket", "ACME Rocket"))
    with pytest.warns(
        ProfileMismatch, match="'jetson-tx2' is asked for, but this machine says it is 'ACME R"
    ) as caught:
        device = open_device("jetson-tx2")
    assert device.name == "jetson-tx2"
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_a_machine_that_does_not_say_what_it_is_is_taken_for_a_board_with_a_warning(monkeypatch):
    monkeypatch.setattr("edgeexit.device.sysfs.Tree", FakeTree)
    with pytest.warns(ProfileMismatch, match="this machine does not say what it is"):
        open_device("jetson-tx2")


@pytest.mark.parametrize("name", ["jetson-tx2", "generic-linux"])
def test_the_profile_of_this_very_board_and_one_for_all_give_no_warning(monkeypatch, name):
    monkeypatch.setattr("edgeexit.device.sysfs.Tree", lambda: a_board("nvidia,p2771-0000", "quill"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_device(name).name == name


@pytest.mark.parametrize("name", ["nonsense", "simulated"])
def test_an_unknown_device_is_refused_with_the_devices_there_are(name):
    with pytest.raises(DeviceNotFound, match=r"there are: host, .*simulated:jetson-tx2"):
        open_device(name)


def test_an_unknown_profile_is_refused():
    with pytest.raises(DeviceNotFound, match="'jetson-tx3'"):
        open_device("simulated:jetson-tx3")


def test_a_damaged_profile_is_refused(tmp_path):
    (tmp_path / "bad.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ProfileError, match=r"bad\.json"):
        open_device(f"simulated:{tmp_path / 'bad.json'}")


def test_the_devices_are_listed():
    assert list_devices()[0] == "host"
    assert "simulated:jetson-tx2" in list_devices()


def test_importing_the_package_loads_no_board_code():
    code = "import sys, edgeexit.device; print([m for m in sys.modules if m.startswith('edgeexit.device.')])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_an_unknown_name_in_the_package_is_an_attribute_error():
    import edgeexit.device

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = edgeexit.device.nonsense
