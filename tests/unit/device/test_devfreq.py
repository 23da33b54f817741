import errno

import pytest
from clock_machines import GPU, a_machine, put

from edgeexit.device.devfreq import find_devfreq, open_knob
from edgeexit.device.knobs import open_knob as open_any_knob
from edgeexit.errors import ClockBusy, ClockNotWritable, ClockRefused, DeviceError
from edgeexit.testing.fake_sysfs import FakeTree

MHZ = 1_000_000


@pytest.fixture
def tree():
    return a_machine()


def only(tree):
    (domain,) = find_devfreq(tree)
    return domain


# --- what there is -----------------------------------------------------------------------------------


def test_a_jetsons_gpu_is_one_domain_in_hz(tree):
    tree.add_devfreq()
    gpu = only(tree)
    assert gpu.name == "gpu"
    assert gpu.node == "17000000.gv11b"
    assert gpu.operating_points_hz == (306 * MHZ, 408 * MHZ, 510 * MHZ, 612 * MHZ)
    assert gpu.hardware_range_hz == (306 * MHZ, 612 * MHZ)
    assert gpu.how == "limits"
    assert gpu.driver == "devfreq"
    assert gpu.from_table
    assert gpu.read_kernel_governor() == "simple_ondemand"
    assert [knob.key for knob in gpu.knobs] == ["devfreq/17000000.gv11b/min_freq", "devfreq/17000000.gv11b/max_freq"]
    assert gpu.paths == (f"{GPU}/min_freq", f"{GPU}/max_freq")


@pytest.mark.parametrize(
    "node",
    [
        "57000000.gpu",
        "17000000.gp10b",
        "17000000.gv11b",
        "17000000.ga10b",
        "17000000.gpu",
        "gpu-gpc-0",
        "57000000.gm20b",
    ],
)
def test_the_gpu_of_every_generation_of_jetson_is_found(tree, node):
    tree.add_devfreq(node)
    assert only(tree).node == node


def test_devices_that_are_no_gpu_are_left_out(tree):
    tree.add_devfreq("bwmgr", device="/sys/devices/bwmgr")
    tree.add_devfreq("15340000.vic", device="/sys/devices/15340000.vic")
    assert find_devfreq(tree) == ()


def test_a_gpu_is_also_found_by_its_name_in_the_device_tree(tree):
    tree.add_devfreq("devfreq0", device="/sys/devices/soc")
    tree.add_file("/sys/devices/soc/of_node/name", "gpu@10000000\0")
    assert only(tree).node == "devfreq0"


def test_a_profile_may_name_another_node(tree):
    tree.add_devfreq("bwmgr", device="/sys/devices/bwmgr")
    (emc,) = find_devfreq(tree, ["bwmgr"])
    assert emc.node == "bwmgr"


def test_two_gpus_are_numbered(tree):
    tree.add_devfreq("gpu-gpc-1", device="/sys/devices/one")
    tree.add_devfreq("gpu-gpc-0", device="/sys/devices/nought")
    assert [(domain.name, domain.node) for domain in find_devfreq(tree)] == [
        ("gpu0", "gpu-gpc-0"),
        ("gpu1", "gpu-gpc-1"),
    ]


def test_a_machine_without_devfreq_has_no_domain():
    assert find_devfreq(FakeTree()) == ()


def test_a_node_that_appears_late_is_found_when_it_is_asked_again(tree):
    assert find_devfreq(tree) == ()
    tree.add_devfreq()
    assert only(tree).name == "gpu"


def test_a_gpu_that_lists_no_frequency_is_left_out(tree):
    tree.add_devfreq()
    tree.set_text(f"{GPU}/available_frequencies", "\n")
    assert find_devfreq(tree) == ()


def test_a_table_that_is_gone_is_no_range(tree):
    tree.add_devfreq()
    gpu = only(tree)
    tree.set_text(f"{GPU}/available_frequencies", "\n")
    assert gpu.hardware_range_hz is None


def test_no_point_lies_outside_the_limits_found_at_the_start(tree):
    tree.add_devfreq(limit_min_hz=408 * MHZ, limit_max_hz=510 * MHZ)
    gpu = only(tree)
    assert gpu.operating_points_hz == (408 * MHZ, 510 * MHZ)
    assert gpu.set_hz(612 * MHZ).effective_hz == 510 * MHZ


def test_a_maximum_of_nought_is_no_maximum(tree):
    tree.add_devfreq()
    tree.set_text(f"{GPU}/max_freq", "0\n")
    assert only(tree).operating_points_hz[-1] == 612 * MHZ


# --- setting -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [(4, 9), (6, 1)])
def test_limits_never_cross_on_the_way_up_or_down(tree, kernel):
    node = tree.add_devfreq(kernel=kernel)
    gpu = only(tree)
    for mhz in (510, 306, 612, 408, 408):
        applied = gpu.set_hz(mhz * MHZ)
        assert applied[:3] == (mhz * MHZ, mhz * MHZ, "limits read back")
        assert node.limits_hz == (mhz * MHZ, mhz * MHZ)
        assert node.cur_hz == mhz * MHZ


@pytest.mark.parametrize(("asked_hz", "effective_hz"), [(1, 306 * MHZ), (409 * MHZ, 510 * MHZ), (10**12, 612 * MHZ)])
def test_what_lies_between_two_points_becomes_the_upper_one(tree, asked_hz, effective_hz):
    tree.add_devfreq()
    assert only(tree).set_hz(asked_hz).effective_hz == effective_hz


def test_the_kernel_governor_is_left_as_it_is(tree):
    node = tree.add_devfreq(governors=("nvhost_podgov", "userspace"), governor="nvhost_podgov")
    only(tree).set_hz(510 * MHZ)
    assert node.governor == "nvhost_podgov"
    assert {path.rpartition("/")[2] for path, _ in tree.writes} == {"min_freq", "max_freq"}


def test_a_gpu_that_heat_holds_down_is_told_as_it_is(tree):
    node = tree.add_devfreq()
    gpu = only(tree)
    node.cap_hz(408 * MHZ)
    assert gpu.set_hz(612 * MHZ).effective_hz == 408 * MHZ
    node.cap_hz(None)
    assert gpu.read_hz() == 612 * MHZ


def test_a_gpu_that_is_not_pinned_is_told_by_the_clock_that_runs(tree):
    node = tree.add_devfreq()
    gpu = only(tree)
    node.set_busy(True)
    assert gpu.read_hz() == 612 * MHZ


def test_a_gpu_without_power_is_at_its_lowest_point(tree):
    node = tree.add_devfreq()
    node.rail_gated = True
    assert only(tree).read_hz() == 306 * MHZ


def test_a_pinned_gpu_without_power_is_at_what_it_is_pinned_to(tree):
    node = tree.add_devfreq()
    gpu = only(tree)
    gpu.set_hz(510 * MHZ)
    node.rail_gated = True
    assert gpu.read_hz() == 510 * MHZ


# --- what goes wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind"),
    [(errno.EACCES, ClockNotWritable), (errno.EBUSY, ClockBusy), (errno.EINVAL, ClockRefused), (errno.EIO, ClockBusy)],
)
def test_what_the_kernel_answers_to_a_write_has_a_class(tree, code, kind):
    tree.add_devfreq()
    gpu = only(tree)
    tree.fail_next_write(f"{GPU}/max_freq", code)
    with pytest.raises(kind, match="/max_freq: "):
        gpu.set_hz(510 * MHZ)


def test_a_gpu_that_went_away_is_refused_and_works_when_it_is_back(tree):
    node = tree.add_devfreq()
    gpu = only(tree)
    gpu.set_hz(510 * MHZ)
    tree.remove_devfreq(node)
    with pytest.raises(ClockRefused, match="cannot be read: No such file"):
        gpu.set_hz(408 * MHZ)
    with pytest.raises(DeviceError):
        gpu.read_hz()
    node = tree.add_devfreq()
    assert gpu.set_hz(408 * MHZ).effective_hz == 408 * MHZ
    assert node.limits_hz == (408 * MHZ, 408 * MHZ)


def test_an_ordinary_user_may_look_and_not_set(tree):
    tree.add_devfreq()
    tree.as_user(True)
    gpu = only(tree)
    assert not gpu.writable
    assert gpu.read_hz() == 306 * MHZ
    with pytest.raises(ClockNotWritable):
        gpu.set_hz(510 * MHZ)


def test_root_may_set(tree):
    tree.add_devfreq()
    assert only(tree).writable


def test_a_closed_domain_opens_its_files_again(tree):
    tree.add_devfreq()
    gpu = only(tree)
    gpu.set_hz(510 * MHZ)
    gpu.close()
    gpu.close()
    assert gpu.read_hz() == 510 * MHZ


def test_a_governor_that_cannot_be_read_is_none(tree):
    tree.add_devfreq()
    gpu = only(tree)
    tree.remove("/sys/devices/17000000.gv11b/devfreq/17000000.gv11b/governor")
    assert gpu.read_kernel_governor() is None


# --- a journal's keys --------------------------------------------------------------------------------


def test_a_key_of_a_journal_opens_its_file(tree):
    tree.add_devfreq()
    knob = open_knob(tree, "devfreq/17000000.gv11b/max_freq")
    assert knob.read() == "612000000"
    knob.write("510000000")
    assert tree.writes == [("/sys/devices/17000000.gv11b/devfreq/17000000.gv11b/max_freq", "510000000")]


@pytest.mark.parametrize(
    "key",
    [
        "devfreq/../../etc/max_freq",
        "devfreq/../max_freq",
        "devfreq/a..b/max_freq",
        "devfreq/gpu/governor",
        "devfreq//max_freq",
        "devfreq/gpu/max_freq/..",
        "devfreq/gpu/max_freq\n",
        f"devfreq/{'g' * 81}/max_freq",
    ],
)
def test_a_key_that_names_anything_else_is_refused(tree, key):
    with pytest.raises(DeviceError, match="no knob of a devfreq device"):
        open_knob(tree, key)


def test_a_key_goes_to_the_driver_it_names(tree):
    tree.add_cpufreq_policy(0)
    tree.add_devfreq()
    assert open_any_knob(tree, "cpufreq/policy0/scaling_max_freq").read() == "1500000"
    assert open_any_knob(tree, "devfreq/17000000.gv11b/max_freq").read() == "612000000"


@pytest.mark.parametrize("key", ["", "proc/sysrq", "/etc/passwd", "nvmlx/GPU-1/locked_clocks"])
def test_a_key_of_no_driver_is_refused(tree, key):
    with pytest.raises(DeviceError, match="no kind of clock is called"):
        open_any_knob(tree, key)


def test_a_key_of_nvml_goes_to_nvml(tree):
    with pytest.raises(DeviceError):
        open_any_knob(tree, "nvml/../locked_clocks")


def test_another_program_that_pins_the_gpu_is_seen(tree):
    tree.add_devfreq()
    gpu = only(tree)
    gpu.set_hz(510 * MHZ)
    put(tree, f"{GPU}/min_freq", "306000000")
    assert not gpu.knobs[0].holds("510000000")
    assert gpu.knobs[1].holds("510000000")
