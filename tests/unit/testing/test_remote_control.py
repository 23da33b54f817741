import errno

import pytest
from errnos import errno_of

from edgeexit.testing.fake_sysfs import FakeTree
from edgeexit.testing.remote_control import obey


@pytest.fixture
def tree():
    tree = FakeTree()
    tree.add_cpufreq_policy(0, governor="schedutil")
    tree.add_devfreq("gpu")
    tree.add_file("/sys/t", "1\n", 0o644)
    return tree


def test_it_caps_and_lifts_the_cap(tree):
    obey(tree, "cap policy0 1000000")
    obey(tree, "cap gpu 408000000\n")
    assert tree.policies[0].limits_khz == (600_000, 1_000_000)
    assert tree.devfreqs[0].limits_hz == (306_000_000, 408_000_000)
    obey(tree, "cap policy0 none")
    assert tree.policies[0].limits_khz == (600_000, 1_500_000)


def test_it_takes_cores_offline_and_back(tree):
    obey(tree, "offline 3")
    assert tree.policies[0].online_cpus == (0, 1, 2)
    obey(tree, "online 3")
    assert tree.policies[0].online_cpus == (0, 1, 2, 3)


def test_it_gives_work_and_takes_it_away(tree):
    obey(tree, "busy policy0")
    obey(tree, "busy gpu")
    assert (tree.policies[0].cur_khz, tree.devfreqs[0].cur_hz) == (1_500_000, 612_000_000)
    obey(tree, "idle policy0")
    assert tree.policies[0].cur_khz == 600_000


def test_it_makes_the_driver_slow_and_its_next_change_fail(tree):
    obey(tree, "delay gpu 0.25")
    obey(tree, "lag policy0 0.5")
    assert (tree.devfreqs[0].write_delay_s, tree.policies[0].limits_lag_s) == (0.25, 0.5)
    obey(tree, "fail policy0")
    obey(tree, "busy policy0")
    assert tree.policies[0].cur_khz == 600_000


def test_it_changes_files(tree):
    obey(tree, "text /sys/t hot and cold")
    assert tree.read("/sys/t") == "hot and cold"
    obey(tree, "mode /sys/t 0600")
    obey(tree, "owner /sys/t 0 44")
    assert (tree.sys_mode("/sys/t") & 0o777, tree.sys_owner("/sys/t")) == (0o600, (0, 44))
    obey(tree, "read_only yes")
    assert not tree.can_write("/sys/t")
    obey(tree, "remove /sys/t")
    assert not tree.exists("/sys/t")


def test_it_makes_a_read_or_a_write_fail(tree):
    obey(tree, "fail_read /sys/t EIO")
    assert errno_of(tree.read, "/sys/t") == errno.EIO
    obey(tree, "fail_write /sys/t EBUSY")
    assert errno_of(tree.open_attribute("/sys/t").write, "2") == errno.EBUSY


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("dance", "no command 'dance'; there are: busy, cap"),
        ("cap policy7 1", "no policy and no device is called 'policy7'"),
        ("offline 9", "no policy has CPU 9"),
        ("lag gpu 1", "only a policy's lag"),
        ("fail_read /sys/t", "lacks a word"),
        ("fail_read /sys/t EVERYTHING", "'EVERYTHING' is no name of an error"),
        ("cap policy0", "not enough values"),
        ("read_only perhaps", "yes or no"),
    ],
)
def test_what_it_does_not_understand_it_says(tree, line, message):
    with pytest.raises(ValueError, match=message):
        obey(tree, line)
