import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from errnos import errno_of

from edgeexit.device.sysfs import Tree
from edgeexit.errors import DeviceError
from edgeexit.testing.fake_sysfs import FakeTree
from edgeexit.testing.fuse import mounted, why_not

REASON = why_not()
pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))
POLICY = "/sys/devices/system/cpu/cpufreq/policy0"
BOARDS = Path(__file__).parents[2] / "boards"


@pytest.fixture
def machine(tmp_path):
    tree = FakeTree()
    tree.add_cpufreq_policy(0, governor="userspace")
    tree.add_devfreq()
    tree.add_link("/proc/device-tree", "/sys/firmware/devicetree/base")
    tree.add_file("/sys/firmware/devicetree/base/model", "a board\0")
    with mounted(tree, tmp_path) as machine:
        yield machine


def test_writes_are_rounded_and_read_back_by_true_system_calls(machine):
    setspeed = machine.tree.open_attribute(f"{POLICY}/scaling_setspeed")
    setspeed.write("700000")
    assert setspeed.read() == "750000"
    assert machine.tree.read(f"{POLICY}/scaling_cur_freq") == "750000"
    setspeed.close()


def test_the_kernel_hands_on_the_error_numbers(machine):
    tree = machine.tree
    assert errno_of(tree.open_attribute(f"{POLICY}/scaling_setspeed").write, "banana") == errno.EINVAL
    assert errno_of(tree.open_attribute("/sys/class/devfreq/17000000.gv11b/governor").write, "x") == errno.ENOENT
    assert errno_of(tree.sys_open, f"{POLICY}/scaling_cur_freq", os.O_WRONLY) == errno.EACCES
    assert errno_of(tree.read, f"{POLICY}/nothing") == errno.ENOENT


def test_links_lead_inside_the_mounted_tree(machine):
    assert machine.tree.read("/proc/device-tree/model") == "a board"
    assert machine.tree.read("/sys/class/devfreq/17000000.gv11b/device/devfreq/17000000.gv11b/min_freq") == "306000000"


def test_a_shells_echo_with_its_truncation_works(machine):
    path = machine.folder / POLICY[1:] / "scaling_max_freq"
    subprocess.run(["/bin/sh", "-c", f"echo 1000000 > {path}"], check=True)
    assert path.read_text(encoding="ascii") == "1000000\n"
    assert path.stat().st_size == 4096


def test_it_lists_what_it_was_made_of(machine):
    assert set(machine.tree.names("/")) == {"proc", "sys"}
    assert "policy0" in machine.tree.names("/sys/devices/system/cpu/cpufreq")


def test_it_can_be_told_to_change_while_somebody_has_its_files_open(machine):
    setspeed = machine.tree.open_attribute(f"{POLICY}/scaling_setspeed")
    setspeed.write("1500000")
    machine.control("cap policy0 1000000")
    assert setspeed.read() == "1000000"
    machine.control("offline 0\noffline 1\noffline 2\noffline 3\n")
    assert errno_of(setspeed.read) == errno.EBUSY
    setspeed.close()


def test_a_command_that_is_not_understood_is_einval(machine):
    assert errno_of(machine.control, "dance") == errno.EINVAL


def test_a_device_that_goes_away_is_enodev_to_those_who_have_it_open(machine):
    path = "/sys/class/devfreq/17000000.gv11b/max_freq"
    descriptor = machine.tree.sys_open(path, os.O_RDONLY)
    machine.control("remove /sys/devices/17000000.gv11b/devfreq")
    assert errno_of(machine.tree.sys_read, descriptor) == errno.ENODEV
    assert not machine.tree.exists(path)
    machine.tree.sys_close(descriptor)


def test_it_tells_what_was_written_by_whom_ever(machine):
    (machine.folder / POLICY[1:] / "scaling_max_freq").write_text("1000000\n", encoding="ascii")
    machine.tree.open_attribute(f"{POLICY}/scaling_setspeed").write("750000")
    machine.control("busy policy0")
    assert machine.writes() == ((f"{POLICY}/scaling_max_freq", "1000000"), (f"{POLICY}/scaling_setspeed", "750000"))


def test_an_ordinary_user_is_held_to_the_permissions():
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "if os.geteuid() == 0:\n"
        "    os.setuid(65534)\n"
        "folder = Path(sys.argv[1])\n"
        "print((folder / 'scaling_cur_freq').read_text().strip(), os.access(folder / 'scaling_setspeed', os.W_OK))\n"
        "try:\n"
        "    (folder / 'scaling_setspeed').write_text('750000')\n"
        "except PermissionError as error:\n"
        "    print(error.errno)\n"
    )
    tree = FakeTree()
    tree.add_cpufreq_policy(0, governor="userspace")
    tree.set_owner(f"{POLICY}/scaling_setspeed", 12345, 12345)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with mounted(tree, folder):
            command = [sys.executable, "-c", code, str(folder / POLICY[1:])]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["600000", "False", "13"]


def test_what_a_killed_client_wrote_stays(machine):
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from edgeexit.device.sysfs import Tree\n"
        f"Tree(Path(sys.argv[1])).open_attribute({POLICY!r} + '/scaling_max_freq').write('1000000')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(machine.folder)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert machine.tree.read(f"{POLICY}/scaling_max_freq") == "1000000"


def test_it_unmounts_after_a_failure(tmp_path):
    def fail():
        with mounted(FakeTree(), tmp_path):
            assert os.path.ismount(tmp_path)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not os.path.ismount(tmp_path)


def test_its_server_ends_with_the_process_that_started_it(tmp_path):
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from edgeexit.testing.fake_sysfs import FakeTree\n"
        "from edgeexit.testing.fuse import mounted\n"
        "with mounted(FakeTree(), Path(sys.argv[1])):\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    for _ in range(1000):
        if not os.path.ismount(tmp_path):
            break
        time.sleep(0.01)
    assert not os.path.ismount(tmp_path)


def test_it_unmounts_although_a_file_is_still_open(tmp_path):
    tree = FakeTree()
    tree.add_file("/sys/t", "1\n")
    with mounted(tree, tmp_path) as machine:
        descriptor = machine.tree.sys_open("/sys/t", os.O_RDONLY)
    assert not os.path.ismount(tmp_path)
    os.close(descriptor)


def test_it_mounts_a_recorded_board(tmp_path):
    text = (BOARDS / "jetson-orin-nano-jp6.txt").read_text(encoding="utf-8")
    with mounted(text, tmp_path) as machine:
        tree = Tree(machine.folder)
        assert tree.read("/proc/device-tree/model") == "NVIDIA Jetson Orin Nano Developer Kit"
        tree.open_attribute("/sys/class/devfreq/17000000.gpu/min_freq").write("510000000")
        assert tree.read("/sys/class/devfreq/17000000.gpu/cur_freq") == "510000000"
        hwmon = "/sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"
        assert tree.read(f"{hwmon}/in1_label") == "VDD_IN"
        assert errno_of(tree.read, "/sys/class/thermal/thermal_zone2/temp") == errno.EAGAIN


def test_a_folder_that_cannot_be_mounted_on_is_said(tmp_path):
    with pytest.raises(DeviceError, match="could not be mounted on"), mounted(FakeTree(), tmp_path / "missing"):
        pass
