"""Inference while clocks are set by true system calls: a machine that answers as the kernel does, mounted by FUSE."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import edgeexit
from edgeexit.device.host import HostDevice
from edgeexit.testing.fake_sysfs import FakeTree
from edgeexit.testing.fuse import mounted, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")
POLICY = "/sys/devices/system/cpu/cpufreq/policy0"


@pytest.fixture
def machine(tmp_path):
    folder = tmp_path / "machine"
    folder.mkdir()
    tree = FakeTree()
    tree.add_cpufreq_policy(0)
    tree.add_devfreq()
    with mounted(tree, folder) as running:
        yield running


@pytest.fixture
def board(machine, tmp_path):
    with HostDevice(tree=machine.tree, run_folder=tmp_path / "run", nvml=False) as device:
        yield device


@pytest.fixture(scope="module")
def bundle():
    return edgeexit.load_bundle("fashion-resnet")


def images(count=5):
    return np.random.default_rng(3).random((count, 1, 1, 28, 28), dtype=np.float32)


def answers(session):
    return [(result.label, result.exit_index) for result in map(session.infer, images())]


def settings(machine):
    names = [f"{POLICY}/scaling_{part}" for part in ("governor", "min_freq", "max_freq")]
    names += [f"/sys/class/devfreq/17000000.gv11b/{part}_freq" for part in ("min", "max")]
    return {name: machine.tree.read(name) for name in names}


def test_answers_are_the_same_and_the_machine_is_left_as_it_was(machine, board, bundle):
    before = settings(machine)
    with edgeexit.open_device("host") as plain, edgeexit.Session(bundle, plain) as session:
        expected = answers(session)
    assert sorted(board.domains) == ["cpu", "gpu"]
    with edgeexit.Session(bundle, board, edgeexit.load_governor("performance"), wait_for_clocks=True) as session:
        assert answers(session) == expected
        assert machine.tree.read(f"{POLICY}/scaling_setspeed") == "1500000"
        assert machine.tree.read("/sys/class/devfreq/17000000.gv11b/min_freq") == "612000000"
        assert session.infer(images()[0]).clocks == {"cpu": 1_500_000_000, "gpu": 612_000_000}
    assert settings(machine) == before


def test_the_writer_thread_sets_them_too(machine, board, bundle):
    before = settings(machine)
    machine.control("delay policy0 0.05")
    with edgeexit.Session(bundle, board, edgeexit.load_governor("performance")) as session:
        answers(session)
    written = [path for path, _ in machine.writes()]
    assert f"{POLICY}/scaling_setspeed" in written
    assert settings(machine) == before


@pytest.mark.parametrize(
    "trouble",
    [
        ["fail policy0"],
        ["offline 0", "offline 1", "offline 2", "offline 3"],
        [f"fail_write {POLICY}/scaling_governor EINVAL"],
        [f"fail_write {POLICY}/scaling_setspeed EIO"],
        [f"fail_read {POLICY}/scaling_setspeed EIO"],
        [f"mode {POLICY}/scaling_governor 000", f"owner {POLICY}/scaling_governor 12345 12345"],
        ["cap policy0 750000", "cap 17000000.gv11b 408000000"],
        ["remove /sys/devices/17000000.gv11b/devfreq/17000000.gv11b"],
    ],
    ids=lambda lines: lines[0].partition(" ")[0] + " " + lines[0].rpartition("/")[2],
)
@pytest.mark.filterwarnings("default::edgeexit.errors.ClocksUnavailable")
@pytest.mark.parametrize("waits", [True, False], ids=["waiting", "thread"])
def test_no_inference_fails_because_of_a_clock(machine, board, bundle, trouble, waits):
    governor = edgeexit.load_governor("powersave")
    with edgeexit.Session(bundle, board, governor, wait_for_clocks=waits) as session:
        expected = answers(session)
        session.governor = edgeexit.load_governor("performance")
        for line in trouble:
            machine.control(line)
        assert answers(session) == expected


def test_what_a_rival_sets_is_left_to_it(machine, board, bundle):
    with edgeexit.Session(bundle, board, edgeexit.load_governor("powersave"), wait_for_clocks=True) as session:
        answers(session)
        machine.tree.open_attribute(f"{POLICY}/scaling_governor").write("performance")
    assert machine.tree.read(f"{POLICY}/scaling_governor") == "performance"
    assert machine.tree.read("/sys/class/devfreq/17000000.gv11b/max_freq") == "612000000"


UNPRIVILEGED = """
import os, sys, warnings
from pathlib import Path
import numpy
import edgeexit
from edgeexit.device.host import HostDevice
from edgeexit.device.sysfs import Tree
from edgeexit.errors import ClocksUnavailable

def run():
    with HostDevice(tree=Tree(Path(sys.argv[1])), run_folder=Path(sys.argv[2]), nvml=False) as board:
        governor = edgeexit.load_governor("performance")
        with edgeexit.Session(bundle, board, governor, optimise=False, wait_for_clocks=True) as session:
            return [session.infer(numpy.zeros((1, 1, 28, 28), numpy.float32)).label for _ in range(3)]

bundle = edgeexit.load_bundle("fashion-resnet")
with edgeexit.open_device("host") as plain, edgeexit.Session(bundle, plain, optimise=False) as session:
    expected = [session.infer(numpy.zeros((1, 1, 28, 28), numpy.float32)).label for _ in range(3)]
os.setgroups([]); os.setgid(65534); os.setuid(65534)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", ClocksUnavailable)
    assert run() == expected
print(len([w for w in caught if w.category is ClocksUnavailable]), caught[0].message)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_an_ordinary_user_gets_answers_and_one_warning():
    with tempfile.TemporaryDirectory(dir="/tmp") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        (folder / "machine").mkdir()
        tree = FakeTree()
        tree.add_cpufreq_policy(0)
        with mounted(tree, folder / "machine") as running:
            command = [sys.executable, "-c", UNPRIVILEGED, str(folder / "machine"), str(folder / "run")]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert done.stdout.startswith("1 clock 'cpu' cannot be set")
            assert running.writes() == ()
