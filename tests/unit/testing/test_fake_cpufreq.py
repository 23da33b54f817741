import errno

import pytest
from errnos import errno_of

from edgeexit.clock import ManualClock
from edgeexit.testing.fake_sysfs import FakeTree

TABLE_KHZ = (600_000, 800_000, 1_000_000, 1_200_000, 1_500_000, 1_800_000)


@pytest.fixture
def tree():
    return FakeTree(ManualClock())


@pytest.fixture
def policy(tree):
    return tree.add_cpufreq_policy(0, table_khz=TABLE_KHZ, governor="userspace")


def write(tree, policy, name, text):
    attribute = tree.open_attribute(f"{policy.folder}/{name}")
    try:
        attribute.write(text)
    finally:
        attribute.close()


def code_of_write(tree, policy, name, text):
    return errno_of(write, tree, policy, name, text)


def read(tree, policy, name):
    return tree.read(f"{policy.folder}/{name}")


# --- scaling_setspeed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "becomes"),
    [
        ("1000001", 1_200_000),
        ("100", 600_000),
        ("99999999", 1_800_000),
        ("1500000 junk", 1_500_000),
        ("0x10", 600_000),
        ("1500000\n", 1_500_000),
    ],
)
def test_setspeed_rounds_up_to_the_table_and_stays_in_it(tree, policy, asked, becomes):
    write(tree, policy, "scaling_setspeed", asked)
    assert policy.cur_khz == becomes
    assert read(tree, policy, "scaling_setspeed") == str(becomes)
    assert read(tree, policy, "scaling_cur_freq") == str(becomes)


@pytest.mark.parametrize("text", ["banana", "-5"])
def test_setspeed_refuses_what_is_no_number(tree, policy, text):
    assert code_of_write(tree, policy, "scaling_setspeed", text) == errno.EINVAL


def test_setspeed_does_not_work_under_another_governor(tree, policy):
    write(tree, policy, "scaling_governor", "performance")
    assert read(tree, policy, "scaling_setspeed") == "<unsupported>"
    assert code_of_write(tree, policy, "scaling_setspeed", "1000000") == errno.EINVAL


def test_setspeed_is_held_within_the_limits_and_comes_back_when_they_are_lifted(tree, policy):
    write(tree, policy, "scaling_max_freq", "1000000")
    write(tree, policy, "scaling_setspeed", "1500000")
    assert policy.cur_khz == 1_000_000
    write(tree, policy, "scaling_max_freq", "1800000")
    assert policy.cur_khz == 1_500_000


def test_a_failure_of_the_driver_is_not_told(tree, policy):
    policy.fail_next_write()
    write(tree, policy, "scaling_setspeed", "1500000")
    assert policy.cur_khz == 600_000
    write(tree, policy, "scaling_setspeed", "1500000")
    assert policy.cur_khz == 1_500_000


# --- limits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "limits"),
    [
        ("scaling_max_freq", "1100000", (600_000, 1_000_000)),
        ("scaling_min_freq", "1100000", (1_200_000, 1_800_000)),
        ("scaling_max_freq", "0", (600_000, 600_000)),
        ("scaling_min_freq", "999999999", (1_800_000, 1_800_000)),
    ],
)
def test_a_minimum_rounds_up_and_a_maximum_down_within_the_hardware(tree, policy, name, text, limits):
    write(tree, policy, name, text)
    assert policy.limits_khz == limits


@pytest.mark.parametrize("text", ["xyz", "-1"])
def test_a_limit_that_is_no_number_is_refused(tree, policy, text):
    assert code_of_write(tree, policy, "scaling_max_freq", text) == errno.EINVAL
    assert code_of_write(tree, policy, "scaling_min_freq", text) == errno.EINVAL


def test_a_minimum_above_the_maximum_is_clamped_and_remembered(tree, policy):
    write(tree, policy, "scaling_max_freq", "1000000")
    write(tree, policy, "scaling_min_freq", "1500000")
    assert policy.limits_khz == (1_000_000, 1_000_000)
    write(tree, policy, "scaling_max_freq", "1800000")
    assert policy.limits_khz == (1_500_000, 1_800_000)


def test_a_maximum_between_two_frequencies_with_no_other_left_goes_up():
    tree = FakeTree()
    policy = tree.add_cpufreq_policy(0, table_khz=(600_000, 750_000, 1_000_000, 1_500_000))
    write(tree, policy, "scaling_min_freq", "2000000")
    assert policy.limits_khz == (1_500_000, 1_500_000)
    write(tree, policy, "scaling_max_freq", "700000")
    assert policy.limits_khz == (750_000, 750_000)


@pytest.mark.parametrize(
    ("kernel", "name", "text"), [((4, 9), "scaling_min_freq", "1500000"), ((4, 9), "scaling_max_freq", "0")]
)
def test_a_kernel_before_5_3_refuses_limits_that_cross(tree, kernel, name, text):
    policy = tree.add_cpufreq_policy(
        1, cpus=(4,), table_khz=TABLE_KHZ, limit_min_khz=800_000, limit_max_khz=1_000_000, kernel=kernel
    )
    assert code_of_write(tree, policy, name, text) == errno.EINVAL
    assert policy.limits_khz == (800_000, 1_000_000)


def test_a_kernel_before_5_16_keeps_a_limit_between_two_frequencies(tree):
    policy = tree.add_cpufreq_policy(0, table_khz=TABLE_KHZ, kernel=(5, 10), governor="performance")
    write(tree, policy, "scaling_max_freq", "1100000")
    assert policy.limits_khz == (600_000, 1_100_000)
    assert policy.cur_khz == 1_000_000


@pytest.mark.parametrize(("kernel", "limits"), [((6, 6), (1_500_000, 1_800_000)), ((6, 7), None)])
def test_kernels_from_6_7_on_take_nothing_but_a_number_for_a_limit(tree, kernel, limits):
    policy = tree.add_cpufreq_policy(0, table_khz=TABLE_KHZ, kernel=kernel)
    if limits is None:
        assert code_of_write(tree, policy, "scaling_min_freq", "1500000 junk") == errno.EINVAL
    else:
        write(tree, policy, "scaling_min_freq", "1500000 junk")
        assert policy.limits_khz == limits


def test_a_cap_from_inside_the_kernel_holds_the_clock_down_until_it_is_lifted(tree, policy):
    write(tree, policy, "scaling_setspeed", "1800000")
    policy.cap_khz(1_200_000)
    assert policy.cur_khz == 1_200_000
    assert read(tree, policy, "scaling_max_freq") == "1200000"
    policy.cap_khz(1_000_000, "power mode")
    policy.cap_khz(None)
    assert policy.limits_khz == (600_000, 1_000_000)
    policy.cap_khz(None, "power mode")
    assert policy.cur_khz == 1_800_000


def test_limits_may_show_only_some_time_after_they_were_written(tree, policy):
    policy.limits_lag_s = 0.002
    write(tree, policy, "scaling_max_freq", "1000000")
    assert read(tree, policy, "scaling_max_freq") == "1800000"
    tree.clock.advance_s(0.002)
    assert read(tree, policy, "scaling_max_freq") == "1000000"


# --- governors ----------------------------------------------------------------------------------------


def test_an_unknown_governor_is_refused(tree, policy):
    assert code_of_write(tree, policy, "scaling_governor", "turbo") == errno.EINVAL
    assert read(tree, policy, "scaling_governor") == "userspace"


@pytest.mark.parametrize(("governor", "khz"), [("performance", 1_800_000), ("powersave", 600_000)])
def test_performance_and_powersave_go_to_the_ends(tree, policy, governor, khz):
    write(tree, policy, "scaling_setspeed", "1000000")
    write(tree, policy, "scaling_governor", f"{governor}\n")
    assert policy.cur_khz == khz


def test_schedutil_follows_the_load(tree, policy):
    write(tree, policy, "scaling_governor", "schedutil")
    policy.set_busy(True)
    assert policy.cur_khz == 1_800_000
    policy.set_busy(False)
    assert policy.cur_khz == 600_000


def test_userspace_starts_at_the_clock_that_it_finds(tree, policy):
    write(tree, policy, "scaling_governor", "performance")
    write(tree, policy, "scaling_governor", "userspace")
    assert read(tree, policy, "scaling_setspeed") == "1800000"


def test_a_governors_tunables_lie_beside_the_policies_while_any_uses_it(tree, policy):
    other = tree.add_cpufreq_policy(4, cpus=(4, 5))
    write(tree, policy, "scaling_governor", "schedutil")
    write(tree, other, "scaling_governor", "schedutil")
    assert tree.names("/sys/devices/system/cpu/cpufreq") == ("policy0", "policy4", "schedutil")
    write(tree, policy, "scaling_governor", "userspace")
    assert tree.exists("/sys/devices/system/cpu/cpufreq/schedutil/rate_limit_us")
    write(tree, other, "scaling_governor", "userspace")
    assert tree.names("/sys/devices/system/cpu/cpufreq") == ("policy0", "policy4")


# --- files --------------------------------------------------------------------------------------------


def test_the_lists_end_with_a_space_as_the_kernels_do(tree, policy):
    text = tree.file(f"{policy.folder}/scaling_available_frequencies").read()
    assert text == b"600000 800000 1000000 1200000 1500000 1800000 \n"
    assert tree.file(f"{policy.folder}/scaling_available_governors").read().endswith(b" schedutil \n")


def test_the_hardwares_own_clock_is_for_root_and_not_every_driver_has_it(tree, policy):
    assert tree.sys_mode(f"{policy.folder}/cpuinfo_cur_freq") & 0o777 == 0o400
    acpi = tree.add_cpufreq_policy(4, cpus=(4,), table_khz=(1_500_000, 600_000), driver="acpi-cpufreq")
    assert not tree.exists(f"{acpi.folder}/cpuinfo_cur_freq")
    assert read(tree, acpi, "scaling_available_frequencies") == "1500000 600000"


def test_intel_pstate_has_no_table_no_setspeed_and_two_governors(tree):
    policy = tree.add_cpufreq_policy(
        0,
        table_khz=None,
        min_khz=400_000,
        max_khz=4_700_000,
        governors=("performance", "powersave"),
        governor="powersave",
        driver="intel_pstate",
        energy_preference="balance_performance",
    )
    assert not tree.exists(f"{policy.folder}/scaling_available_frequencies")
    assert not tree.exists(f"{policy.folder}/stats")
    assert read(tree, policy, "scaling_setspeed") == "<unsupported>"
    assert code_of_write(tree, policy, "scaling_governor", "userspace") == errno.EINVAL
    write(tree, policy, "scaling_max_freq", "1234567")
    assert policy.limits_khz == (400_000, 1_234_567)
    policy.set_busy(True)
    assert policy.cur_khz == 1_234_567
    assert tree.file(f"{policy.folder}/scaling_available_governors").read() == b"performance powersave\n"


def test_the_energy_preference_is_busy_while_the_governor_is_performance(tree):
    policy = tree.add_cpufreq_policy(
        0,
        table_khz=None,
        min_khz=400_000,
        max_khz=4_700_000,
        governors=("performance", "powersave"),
        governor="performance",
        driver="intel_pstate",
        energy_preference="performance",
    )
    assert code_of_write(tree, policy, "energy_performance_preference", "power") == errno.EBUSY
    assert code_of_write(tree, policy, "energy_performance_preference", "nonsense") == errno.EINVAL
    write(tree, policy, "scaling_governor", "powersave")
    write(tree, policy, "energy_performance_preference", "power")
    assert read(tree, policy, "energy_performance_preference") == "power"


def test_a_policy_without_a_table_has_to_say_what_the_hardware_can_do(tree):
    with pytest.raises(ValueError, match="needs min_khz and max_khz"):
        tree.add_cpufreq_policy(0, table_khz=None)


def test_a_policy_whose_cpus_are_all_offline_is_busy_and_comes_back(tree, policy):
    policy.online = False
    assert code_of_write(tree, policy, "scaling_governor", "performance") == errno.EBUSY
    assert errno_of(read, tree, policy, "scaling_cur_freq") == errno.EBUSY
    policy.set_cpu_online(2, True)
    assert read(tree, policy, "affected_cpus") == "2"
    assert read(tree, policy, "related_cpus") == "0 1 2 3"


def test_the_lists_of_cpus_follow_what_is_online(tree, policy):
    tree.add_cpufreq_policy(4, cpus=(4, 5))
    policy.set_cpu_online(1, False)
    assert tree.read("/sys/devices/system/cpu/online") == "0,2-5"
    assert tree.read("/sys/devices/system/cpu/possible") == "0-5"


def test_an_ordinary_user_reads_but_does_not_write(tree, policy):
    tree.as_user(unprivileged=True)
    assert read(tree, policy, "scaling_cur_freq") == "600000"
    assert code_of_write(tree, policy, "scaling_setspeed", "1000000") == errno.EACCES


def test_a_slow_driver_takes_its_time_only_when_the_clock_changes(tree, policy):
    policy.write_delay_s = 0.0003
    write(tree, policy, "scaling_setspeed", "1000000")
    write(tree, policy, "scaling_setspeed", "1000000")
    assert tree.clock.now_s() == 0.0003


def test_it_accounts_for_the_time_at_each_frequency_and_the_changes(tree, policy):
    tree.clock.advance_s(1.5)
    write(tree, policy, "scaling_setspeed", "1000000")
    tree.clock.advance_s(0.25)
    lines = read(tree, policy, "stats/time_in_state").splitlines()
    assert lines == ["600000 150", "800000 0", "1000000 25", "1200000 0", "1500000 0", "1800000 0"]
    assert read(tree, policy, "stats/total_trans") == "1"
    write(tree, policy, "stats/reset", "1")
    assert read(tree, policy, "stats/total_trans") == "0"
