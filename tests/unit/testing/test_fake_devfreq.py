import errno

import pytest
from errnos import errno_of

from edgeexit.clock import ManualClock
from edgeexit.testing.fake_sysfs import FakeTree

NODE = "/sys/class/devfreq/17000000.gv11b"


@pytest.fixture
def tree():
    return FakeTree(ManualClock())


@pytest.fixture
def gpu(tree):
    return tree.add_devfreq(frequencies_hz=(306_000_000, 408_000_000, 510_000_000, 612_000_000))


def write(tree, name, text):
    attribute = tree.open_attribute(f"{NODE}/{name}")
    try:
        attribute.write(text)
    finally:
        attribute.close()


def code_of_write(tree, name, text):
    return errno_of(write, tree, name, text)


def test_it_lies_below_its_hardware_and_has_a_link_in_the_class(tree, gpu):
    assert tree.resolve(NODE) == "/sys/devices/17000000.gv11b/devfreq/17000000.gv11b"
    assert tree.resolve(f"{NODE}/device") == "/sys/devices/17000000.gv11b"
    assert tree.file(f"{NODE}/available_frequencies").read() == b"306000000 408000000 510000000 612000000\n"


def test_an_unknown_governor_is_enoent(tree, gpu):
    assert code_of_write(tree, "governor", "turbo") == errno.ENOENT


def test_a_limit_between_two_frequencies_is_kept_as_written(tree, gpu):
    write(tree, "min_freq", "500000000")
    assert tree.read(f"{NODE}/min_freq") == "500000000"
    assert tree.read(f"{NODE}/cur_freq") == "510000000"


def test_a_minimum_above_the_maximum_reads_as_the_maximum_and_is_remembered(tree, gpu):
    write(tree, "max_freq", "408000000")
    write(tree, "min_freq", "612000000")
    assert gpu.limits_hz == (408_000_000, 408_000_000)
    assert gpu.cur_hz == 408_000_000
    write(tree, "max_freq", "0")
    assert gpu.limits_hz == (612_000_000, 612_000_000)


def test_zero_resets_a_limit(tree, gpu):
    write(tree, "min_freq", "510000000")
    write(tree, "max_freq", "510000000")
    write(tree, "max_freq", "0")
    write(tree, "min_freq", "0")
    assert gpu.limits_hz == (306_000_000, 612_000_000)


@pytest.mark.parametrize("name", ["min_freq", "max_freq"])
def test_a_limit_that_is_no_number_is_refused(tree, gpu, name):
    assert code_of_write(tree, name, "banana") == errno.EINVAL


def test_a_cap_from_inside_the_kernel_goes_before_everything(tree, gpu):
    write(tree, "min_freq", "612000000")
    gpu.cap_hz(408_000_000)
    assert gpu.cur_hz == 408_000_000
    gpu.cap_hz(None)
    assert gpu.cur_hz == 612_000_000


def test_set_freq_is_there_only_while_the_governor_is_userspace(tree, gpu):
    assert not tree.exists(f"{NODE}/userspace")
    write(tree, "governor", "userspace")
    assert tree.read(f"{NODE}/userspace/set_freq") == "undefined"
    write(tree, "userspace/set_freq", "400000000")
    assert tree.read(f"{NODE}/userspace/set_freq") == "400000000"
    assert gpu.cur_hz == 408_000_000
    write(tree, "governor", "performance")
    assert not tree.exists(f"{NODE}/userspace")


def test_a_permission_for_set_freq_is_lost_when_the_governor_changes(tree, gpu):
    write(tree, "governor", "userspace")
    tree.set_mode(f"{NODE}/userspace/set_freq", 0o666)
    write(tree, "governor", "powersave")
    write(tree, "governor", "userspace")
    assert tree.sys_mode(f"{NODE}/userspace/set_freq") & 0o777 == 0o644


def test_a_failure_of_the_driver_is_told_by_set_freq_only(tree, gpu):
    write(tree, "governor", "userspace")
    gpu.fail_next_write()
    assert code_of_write(tree, "userspace/set_freq", "612000000") == errno.EIO
    gpu.fail_next_write()
    write(tree, "min_freq", "510000000")
    assert gpu.cur_hz == 306_000_000


@pytest.mark.parametrize(("governor", "hz"), [("performance", 612_000_000), ("powersave", 306_000_000)])
def test_performance_and_powersave_go_to_the_ends(tree, gpu, governor, hz):
    write(tree, "governor", governor)
    assert gpu.cur_hz == hz


def test_simple_ondemand_follows_the_load(tree, gpu):
    gpu.set_busy(True)
    assert gpu.cur_hz == 612_000_000
    gpu.set_busy(False)
    assert gpu.cur_hz == 306_000_000


def test_a_gpu_without_power_reads_a_clock_of_0(tree, gpu):
    gpu.rail_gated = True
    assert tree.read(f"{NODE}/cur_freq") == "0"


@pytest.mark.parametrize(("name", "text"), [("min_freq", "612000000"), ("max_freq", "306000000")])
def test_a_kernel_before_5_3_refuses_limits_that_cross(tree, name, text):
    gpu = tree.add_devfreq(kernel=(4, 9), limit_min_hz=408_000_000, limit_max_hz=510_000_000)
    assert code_of_write(tree, name, text) == errno.EINVAL
    assert gpu.limits_hz == (408_000_000, 510_000_000)


def test_a_node_may_appear_late_and_go_away_again(tree):
    assert tree.names("/sys/class/devfreq") == ()
    gpu = tree.add_devfreq()
    attribute = tree.open_attribute(f"{NODE}/max_freq")
    assert attribute.read() == "612000000"
    tree.remove_devfreq(gpu)
    assert tree.names("/sys/class/devfreq") == ()
    with pytest.raises(FileNotFoundError):
        attribute.read()


def test_a_slow_driver_takes_its_time(tree, gpu):
    gpu.write_delay_s = 0.005
    write(tree, "min_freq", "612000000")
    assert tree.clock.now_s() == 0.005


def test_it_accounts_for_the_time_at_each_frequency_and_the_changes(tree, gpu):
    tree.clock.advance_s(0.25)
    write(tree, "min_freq", "612000000")
    tree.clock.advance_s(1.0)
    rows = tree.read(f"{NODE}/trans_stat").splitlines()
    assert rows[0] == "From  :   To"
    assert rows[1].split() == [":", "306000000", "408000000", "510000000", "612000000", "time(ms)"]
    assert rows[2].split() == ["306000000:", "0", "0", "0", "1", "250"]
    assert rows[5].split() == ["*", "612000000:", "0", "0", "0", "0", "1000"]
    assert rows[6] == "Total transition : 1"
