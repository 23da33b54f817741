import errno
import stat
from pathlib import Path

import pytest

from edgeexit.device.recording import parse_board, record_board
from edgeexit.device.sysfs import Tree
from edgeexit.testing.fake_sysfs import FakeTree


@pytest.fixture
def tree():
    tree = FakeTree()
    tree.add_cpufreq_policy(0)
    tree.add_devfreq()
    return tree


def recorded(tree):
    return {entry.path: entry for entry in parse_board(record_board(tree, "a test")).entries}


def test_it_says_where_it_is_from():
    assert parse_board(record_board(FakeTree(), "recorded on a Tuesday\nkernel 6.1")).notes == (
        "recorded on a Tuesday",
        "kernel 6.1",
    )


def test_it_records_clocks_with_permissions_and_owners(tree):
    path = "/sys/devices/system/cpu/cpufreq/policy0/scaling_setspeed"
    tree.set_mode(path, 0o664)
    tree.set_owner(path, 0, 990)
    entry = recorded(tree)[path]
    assert (entry.text, stat.S_IMODE(entry.mode), entry.owner) == ("<unsupported>\n", 0o664, (0, 990))


def test_it_records_links_and_what_they_lead_to_once(tree):
    found = recorded(tree)
    assert found["/sys/class/devfreq/17000000.gv11b"].target == "../../devices/17000000.gv11b/devfreq/17000000.gv11b"
    assert found["/sys/devices/17000000.gv11b/devfreq/17000000.gv11b/governor"].text == "simple_ondemand\n"
    assert "/sys/class/devfreq/17000000.gv11b/governor" not in found


def test_a_file_that_cannot_be_read_is_recorded_with_the_error(tree):
    tree.add_failing("/sys/class/thermal/thermal_zone2/temp", errno.EAGAIN)
    assert recorded(tree)["/sys/class/thermal/thermal_zone2/temp"].error == errno.EAGAIN


def test_an_ordinary_users_recording_tells_what_only_root_may_read(tree):
    tree.as_user(unprivileged=True)
    entry = recorded(tree)["/sys/devices/system/cpu/cpufreq/policy0/cpuinfo_cur_freq"]
    assert (entry.error, stat.S_IMODE(entry.mode)) == (errno.EACCES, 0o400)


def test_a_policy_whose_cores_are_offline_is_recorded_as_busy(tree):
    tree.policies[0].online = False
    assert recorded(tree)["/sys/devices/system/cpu/cpufreq/policy0/related_cpus"].error == errno.EBUSY


def test_devices_are_told_but_never_opened(tree):
    tree.add_file("/dev/vcio", lambda: pytest.fail("opened"), 0o20660, (0, 44))
    entry = recorded(tree)["/dev/vcio"]
    assert (entry.text, stat.S_ISCHR(entry.mode)) == (None, True)


def test_nothing_is_recorded_that_tells_whose_machine_it_is(tree):
    secret = "10000000c0ffee00"
    tree.add_file("/proc/cpuinfo", f"processor\t: 0\nSerial\t\t: {secret}\nModel\t\t: Raspberry Pi 4\n")
    tree.add_file("/proc/sys/kernel/random/boot_id", f"{secret}\n")
    tree.add_file("/proc/sys/kernel/hostname", f"{secret}\n")
    tree.add_file("/sys/firmware/devicetree/base/serial-number", f"{secret}\0")
    tree.add_file("/sys/firmware/devicetree/base/model", "Raspberry Pi 4\0")
    tree.add_link("/proc/device-tree", "/sys/firmware/devicetree/base")
    for name in ("product_serial", "product_uuid", "board_serial", "product_name"):
        tree.add_file(f"/sys/class/dmi/id/{name}", "Laptop\n" if name == "product_name" else f"{secret}\n")
    for name in ("serial_number", "manufacturer", "uevent", "capacity"):
        tree.add_file(f"/sys/class/power_supply/BAT0/{name}", "83\n" if name == "capacity" else f"{secret}\n")
    tree.add_file("/sys/class/net/eth0/address", f"{secret}\n")
    text = record_board(tree, "a test")
    assert secret not in text
    found = {entry.path: entry.text for entry in parse_board(text).entries}
    assert found["/proc/cpuinfo"] == "processor\t: 0\nModel\t\t: Raspberry Pi 4\n"
    assert found["/proc/sys/kernel/random/boot_id"] == "00000000-0000-0000-0000-000000000000\n"
    assert found["/sys/firmware/devicetree/base/model"] == "Raspberry Pi 4\0"
    assert found["/sys/class/dmi/id/product_name"] == "Laptop\n"
    assert found["/sys/class/power_supply/BAT0/capacity"] == "83\n"


def test_loops_of_links_and_dead_ends_do_no_harm(tree):
    tree.add_link("/sys/class/hwmon/hwmon0", "hwmon1")
    tree.add_link("/sys/class/hwmon/hwmon1", "hwmon0")
    tree.add_link("/sys/class/hwmon/hwmon2", "../../devices/gone")
    found = recorded(tree)
    assert found["/sys/class/hwmon/hwmon2"].target == "../../devices/gone"
    assert not [path for path in found if path.startswith("/sys/class/hwmon/hwmon0/")]


def test_it_stops_where_there_is_too_much_and_says_so():
    tree = FakeTree()
    for number in range(2000):
        tree.add_file(f"/sys/class/hwmon/hwmon0/temp{number}_input", "x" * 1000)
    text = record_board(tree, "a test")
    assert "cut off: there is more than a recording holds" in parse_board(text).notes


def test_it_works_on_this_machine_and_its_recording_can_be_played_back():
    text = record_board(Tree(), "this machine")
    played = FakeTree.from_recording(text)
    release = Path("/proc/sys/kernel/osrelease").read_text(encoding="utf-8").strip()
    assert played.read("/proc/sys/kernel/osrelease") == release
