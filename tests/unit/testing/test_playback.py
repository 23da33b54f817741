import errno
from pathlib import Path

import pytest
from errnos import errno_of

from edgeexit.device.board_text import parse_board
from edgeexit.device.recording import record_board
from edgeexit.errors import RecordingError
from edgeexit.testing.fake_sysfs import FakeTree

BOARDS = sorted((Path(__file__).parents[2] / "boards").glob("*.txt"))
MHZ = 1_000_000


def board(name):
    (path,) = [path for path in BOARDS if path.stem == name]
    return FakeTree.from_recording(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_board_played_back_and_recorded_again_is_the_same(path):
    text = path.read_text(encoding="utf-8")
    notes = "\n".join(parse_board(text).notes)
    assert record_board(FakeTree.from_recording(text), notes) == text


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_every_board_says_that_no_hardware_was_recorded(path):
    first = parse_board(path.read_text(encoding="utf-8")).notes[0]
    assert first.startswith("Made from published facts, not recorded on hardware")


@pytest.mark.parametrize(
    ("name", "policies", "khz"),
    [
        ("raspberry-pi-3", 1, (600_000, 1_200_000)),
        ("raspberry-pi-4", 1, (600_000, 1_800_000)),
        ("raspberry-pi-5", 1, (1_500_000, 2_400_000)),
        ("raspberry-pi-zero-2-w", 1, (600_000, 1_000_000)),
        ("jetson-nano", 1, (102_000, 1_479_000)),
        ("jetson-tx2", 2, (345_600, 2_035_200)),
        ("jetson-orin-nano-jp5", 2, (115_200, 1_510_400)),
        ("jetson-orin-nano-jp6", 2, (115_200, 1_510_400)),
        ("jetson-agx-orin", 3, (268_800, 2_201_600)),
        ("x86-laptop-intel-pstate", 8, (400_000, 4_700_000)),
        ("amd-desktop", 16, (400_000, 5_389_000)),
    ],
)
def test_the_policies_of_a_board_are_alive(name, policies, khz):
    tree = board(name)
    assert len(tree.policies) == policies
    assert {policy.limits_khz for policy in tree.policies} == {khz}
    tree.open_attribute(f"{tree.policies[0].folder}/scaling_max_freq").write(str(khz[0]))
    assert tree.policies[0].limits_khz == (khz[0], khz[0])


@pytest.mark.parametrize(
    ("name", "node", "points", "highest_hz"),
    [
        ("jetson-nano", "57000000.gpu", 12, 921_600_000),
        ("jetson-tx2", "17000000.gp10b", 13, 1_300_500_000),
        ("jetson-xavier-nx", "17000000.gv11b", 15, 1_109_250_000),
        ("jetson-orin-nano-jp5", "17000000.ga10b", 5, 624_750_000),
        ("jetson-orin-nano-jp6", "17000000.gpu", 5, 624_750_000),
        ("jetson-agx-orin", "17000000.ga10b", 13, 1_300_500_000),
    ],
)
def test_the_gpu_of_a_board_is_alive(name, node, points, highest_hz):
    tree = board(name)
    (gpu,) = tree.devfreqs
    assert (gpu.name, len(gpu.spec.frequencies_hz), gpu.governor) == (node, points, "nvhost_podgov")
    tree.open_attribute(f"/sys/class/devfreq/{node}/min_freq").write(str(highest_hz))
    assert gpu.cur_hz == highest_hz


def test_a_board_without_clocks_has_none():
    tree = board("server-without-cpufreq")
    assert (tree.policies, tree.devfreqs) == ([], [])
    assert tree.read("/sys/devices/system/cpu/online") == "0-3"


def test_cores_that_were_offline_stay_so():
    tree = board("jetson-xavier-nx")
    assert [policy.spec.cpus for policy in tree.policies] == [(0, 1)]
    assert tree.read("/sys/devices/system/cpu/online") == "0-1"
    assert errno_of(tree.read, "/sys/devices/system/cpu/cpufreq/policy2/scaling_governor") == errno.EBUSY


def test_it_behaves_as_the_recorded_kernel_does():
    tree = board("jetson-tx2")
    assert tree.policies[0].spec.kernel == (4, 9)
    tree.open_attribute(f"{tree.policies[0].folder}/scaling_max_freq").write("960000")
    minimum = tree.open_attribute(f"{tree.policies[0].folder}/scaling_min_freq")
    assert errno_of(minimum.write, "2035200") == errno.EINVAL


def test_live_files_keep_recorded_permissions_and_there_are_no_others():
    first = FakeTree()
    policy = first.add_cpufreq_policy(0, driver="acpi-cpufreq")
    path = f"{policy.folder}/scaling_setspeed"
    first.set_mode(path, 0o664)
    first.set_owner(path, 0, 990)
    second = FakeTree.from_recording(first.to_recording())
    assert (second.sys_mode(path) & 0o777, second.sys_owner(path)) == (0o664, (0, 990))
    assert not second.exists(f"{policy.folder}/cpuinfo_cur_freq")


def test_a_cap_and_a_pinned_clock_are_still_there():
    first = FakeTree()
    first.add_cpufreq_policy(0, governor="userspace", limit_max_khz=1_000_000, current_khz=750_000)
    first.add_devfreq(limit_min_hz=408 * MHZ, limit_max_hz=510 * MHZ)
    second = FakeTree.from_recording(first.to_recording())
    assert second.policies[0].limits_khz == (600_000, 1_000_000)
    assert second.policies[0].cur_khz == 750_000
    assert second.devfreqs[0].limits_hz == (408 * MHZ, 510 * MHZ)


def test_every_file_of_a_fake_machine_survives_its_recording():
    first = FakeTree()
    first.add_cpufreq_policy(0, kernel=(5, 10))
    first.add_devfreq(governor="userspace")
    first.add_failing("/sys/x/in3_input", errno.ENODATA)
    first.add_folder("/sys/class/empty")
    text = first.to_recording("once")
    second = FakeTree.from_recording(text)
    assert second.to_recording("once") == text
    assert second.policies[0].spec.kernel == (5, 10)


def test_what_is_no_recording_is_refused():
    with pytest.raises(RecordingError):
        FakeTree.from_recording("hello")
