import errno

import pytest
from clock_machines import CPUFREQ, a_machine, knob_texts, put

from edgeexit.device.cpufreq import find_cpufreq, open_knob
from edgeexit.errors import ClockBusy, ClockNotWritable, ClockRefused, DeviceError
from edgeexit.testing.fake_sysfs import FakeTree

MHZ = 1_000_000
POLICY0 = f"{CPUFREQ}/policy0"
NO_USERSPACE = {"governors": ("ondemand", "performance", "schedutil")}
INTEL = {
    "table_khz": None,
    "driver": "intel_pstate",
    "governors": ("performance", "powersave"),
    "governor": "powersave",
}


@pytest.fixture
def tree():
    return a_machine()


def pi(tree, **options):
    return tree.add_cpufreq_policy(0, **options)


def only(tree):
    (domain,) = find_cpufreq(tree)
    return domain


# --- what there is -----------------------------------------------------------------------------------


def test_a_raspberry_pi_has_one_domain_with_the_drivers_table(tree):
    pi(tree)
    cpu = only(tree)
    assert cpu.name == "cpu"
    assert cpu.operating_points_hz == (600 * MHZ, 750 * MHZ, 1000 * MHZ, 1500 * MHZ)
    assert cpu.from_table
    assert cpu.how == "userspace"
    assert cpu.driver == "cpufreq-dt"
    assert cpu.policies == ("policy0",)
    assert cpu.cpus == (0, 1, 2, 3)
    assert cpu.hardware_range_hz == (600 * MHZ, 1500 * MHZ)
    assert cpu.read_kernel_governor() == "ondemand"


def test_a_machine_without_cpufreq_has_no_domain():
    assert find_cpufreq(FakeTree()) == ()


def test_folders_of_kernel_governors_beside_the_policies_are_no_policies(tree):
    pi(tree, governor="schedutil")
    tree.add_file(f"{CPUFREQ}/policyX/scaling_governor", "ondemand")
    assert "schedutil" in tree.names(CPUFREQ)
    assert [domain.policies for domain in find_cpufreq(tree)] == [("policy0",)]


def test_big_and_little_cores_are_two_domains_named_by_their_first_core(tree):
    tree.add_cpufreq_policy(4, cpus=(4, 5), table_khz=(500_000, 2_000_000))
    tree.add_cpufreq_policy(0, cpus=(0, 1, 2, 3), table_khz=(500_000, 1_400_000))
    assert [(domain.name, domain.cpus) for domain in find_cpufreq(tree)] == [("cpu0", (0, 1, 2, 3)), ("cpu4", (4, 5))]


def test_cores_of_an_x86_processor_with_a_policy_each_are_one_domain(tree):
    for number in (0, 1, 2, 10):
        tree.add_cpufreq_policy(number, cpus=(number,), driver="acpi-cpufreq", table_khz=(2_000_000, 1_000_000))
    cpu = only(tree)
    assert cpu.name == "cpu"
    assert cpu.policies == ("policy0", "policy1", "policy2", "policy10")
    assert cpu.cpus == (0, 1, 2, 10)
    assert cpu.operating_points_hz == (1000 * MHZ, 2000 * MHZ)


def test_a_core_that_was_held_lower_at_the_start_is_a_domain_of_its_own(tree):
    tree.add_cpufreq_policy(0, cpus=(0,))
    tree.add_cpufreq_policy(1, cpus=(1,), limit_max_khz=1_000_000)
    first, second = find_cpufreq(tree)
    assert first.operating_points_hz[-1] == 1500 * MHZ
    assert second.operating_points_hz[-1] == 1000 * MHZ


def test_a_policy_whose_cores_are_offline_is_left_out(tree):
    tree.add_cpufreq_policy(0, cpus=(0,))
    tree.add_cpufreq_policy(1, cpus=(1,)).online = False
    assert only(tree).policies == ("policy0",)


def test_a_core_that_is_offline_in_a_policy_is_not_counted(tree):
    pi(tree).set_cpu_online(2, False)
    assert only(tree).cpus == (0, 1, 3)


def test_intel_pstate_gets_a_grid_of_100_mhz_between_its_limits(tree):
    pi(tree, **INTEL, min_khz=400_000, max_khz=1_250_000)
    cpu = only(tree)
    assert cpu.how == "limits"
    assert not cpu.from_table
    assert cpu.operating_points_hz == tuple(mhz * MHZ for mhz in (400, 500, 600, 700, 800, 900, 1000, 1100, 1200, 1250))


def test_a_grid_starts_at_the_lowest_limit_also_between_two_steps(tree):
    pi(tree, **INTEL, min_khz=1_020_000, max_khz=1_200_000)
    assert only(tree).operating_points_hz == (1020 * MHZ, 1100 * MHZ, 1200 * MHZ)


def test_a_wide_grid_is_thinned_to_sixteen_points_with_both_ends(tree):
    pi(tree, **INTEL, min_khz=800_000, max_khz=5_100_000)  # 44 points
    points = only(tree).operating_points_hz
    assert len(points) == 16
    assert (points[0], points[1], points[-2], points[-1]) == (800 * MHZ, 1100 * MHZ, 4800 * MHZ, 5100 * MHZ)
    assert list(points) == sorted(set(points))


def test_amd_pstate_is_set_by_its_limits_although_it_has_a_userspace_governor(tree):
    pi(tree, table_khz=None, min_khz=400_000, max_khz=600_000, driver="amd-pstate", governor="schedutil")
    cpu = only(tree)
    assert cpu.how == "limits"
    assert cpu.operating_points_hz == (400 * MHZ, 500 * MHZ, 600 * MHZ)


def test_no_point_lies_above_the_maximum_found_at_the_start(tree):
    policy = pi(tree, limit_max_khz=1_000_000)
    cpu = only(tree)
    assert cpu.operating_points_hz == (600 * MHZ, 750 * MHZ, 1000 * MHZ)
    put(tree, f"{POLICY0}/scaling_max_freq", "1500000")
    assert cpu.set_hz(1500 * MHZ).effective_hz == 1000 * MHZ
    assert policy.cur_khz == 1_000_000


def test_no_point_lies_below_the_minimum_found_at_the_start(tree):
    pi(tree, limit_min_khz=750_000)
    assert only(tree).operating_points_hz[0] == 750 * MHZ


def test_without_limits_that_can_be_read_the_hardwares_count(tree):
    pi(tree)
    tree.set_text(f"{POLICY0}/scaling_min_freq", "<unknown>\n")
    cpu = only(tree)
    assert cpu.operating_points_hz[0] == 600 * MHZ


def test_a_policy_that_says_nothing_of_its_frequencies_is_left_out(tree):
    pi(tree, **INTEL, min_khz=400_000, max_khz=800_000)
    for name in ("scaling_min_freq", "cpuinfo_max_freq"):
        tree.remove(f"{POLICY0}/{name}")
    assert find_cpufreq(tree) == ()


def test_the_hardwares_range_is_not_known_where_the_driver_does_not_say(tree):
    pi(tree)
    tree.remove(f"{POLICY0}/cpuinfo_max_freq")
    assert only(tree).hardware_range_hz is None


def test_a_governor_that_cannot_be_read_is_none(tree):
    pi(tree)
    cpu = only(tree)
    tree.remove(f"{POLICY0}/scaling_governor")
    assert cpu.read_kernel_governor() is None


def test_knobs_are_named_for_the_journal(tree):
    pi(tree, governor="performance")
    assert [knob.key for knob in only(tree).knobs] == [
        "cpufreq/policy0/scaling_governor",
        "cpufreq/policy0/scaling_setspeed",
    ]


def test_the_tunables_of_a_kernel_governor_that_is_replaced_are_knobs_too(tree):
    pi(tree, governor="schedutil")
    keys = [knob.key for knob in only(tree).knobs]
    assert keys[2:] == ["cpufreq/schedutil/rate_limit_us"]
    assert open_knob(tree, keys[2]).read() == "10000"


def test_policies_that_share_tunables_have_one_knob_for_each(tree):
    for number in (0, 1):
        tree.add_cpufreq_policy(number, cpus=(number,), governor="schedutil")
    keys = [knob.key for knob in only(tree).knobs]
    assert keys.count("cpufreq/schedutil/rate_limit_us") == 1
    assert len(keys) == 5


def test_a_kernel_governor_whose_tunables_could_not_be_put_back_is_left_in_force(tree):
    pi(tree, governor="schedutil")
    tree.set_text(f"{CPUFREQ}/schedutil/rate_limit_us", "80 1000000:85")
    assert only(tree).how == "limits"


def test_a_user_who_may_not_write_the_tunables_sets_by_limits(tree):
    pi(tree, governor="schedutil")
    tree.as_user(True)
    assert only(tree).how == "limits"


def test_knobs_of_a_domain_that_is_set_by_limits_are_the_limits(tree):
    pi(tree, **NO_USERSPACE)
    cpu = only(tree)
    assert [knob.key for knob in cpu.knobs] == [
        "cpufreq/policy0/scaling_min_freq",
        "cpufreq/policy0/scaling_max_freq",
    ]
    assert cpu.paths == (f"{POLICY0}/scaling_min_freq", f"{POLICY0}/scaling_max_freq")


# --- setting by userspace ----------------------------------------------------------------------------


def test_the_first_clock_takes_two_writes_and_the_next_one(tree):
    policy = pi(tree)
    cpu = only(tree)
    assert cpu.set_hz(1000 * MHZ).effective_hz == 1000 * MHZ
    assert cpu.set_hz(600 * MHZ).verified_by == "read back"
    assert tree.writes == [
        (f"{POLICY0}/scaling_governor", "userspace"),
        (f"{POLICY0}/scaling_setspeed", "1000000"),
        (f"{POLICY0}/scaling_setspeed", "600000"),
    ]
    assert policy.cur_khz == 600_000


@pytest.mark.parametrize("options", [{}, NO_USERSPACE])
@pytest.mark.parametrize(
    ("asked_hz", "effective_hz"), [(700 * MHZ, 750 * MHZ), (1, 600 * MHZ), (9_000 * MHZ, 1500 * MHZ)]
)
def test_what_lies_between_two_points_becomes_the_upper_one(tree, options, asked_hz, effective_hz):
    pi(tree, **options)
    applied = only(tree).set_hz(asked_hz)
    assert (applied.requested_hz, applied.effective_hz) == (asked_hz, effective_hz)
    assert applied.elapsed_s >= 0.0


def test_a_driver_that_fails_in_secret_is_seen_by_reading_back(tree):
    policy = pi(tree, governor="userspace", current_khz=600_000)
    policy.fail_next_write()
    applied = only(tree).set_hz(1500 * MHZ)
    assert (applied.requested_hz, applied.effective_hz) == (1500 * MHZ, 600 * MHZ)


def test_a_clock_that_the_kernel_holds_down_is_told_as_it_is(tree):
    policy = pi(tree)
    policy.cap_khz(1_000_000)
    cpu = only(tree)
    assert cpu.operating_points_hz[-1] == 1000 * MHZ
    policy.cap_khz(750_000)
    assert cpu.set_hz(1000 * MHZ).effective_hz == 750 * MHZ


def test_setspeed_that_heat_holds_down_still_holds_our_value(tree):
    policy = pi(tree)
    cpu = only(tree)
    cpu.set_hz(1500 * MHZ)
    setspeed = cpu.knobs[1]
    policy.cap_khz(750_000)
    assert setspeed.read() == "750000"
    assert setspeed.holds("1500000")
    assert not setspeed.holds("600000")


def test_setspeed_that_somebody_lowered_does_not_hold_our_value(tree):
    pi(tree)
    cpu = only(tree)
    cpu.set_hz(1500 * MHZ)
    put(tree, f"{POLICY0}/scaling_setspeed", "750000")
    assert not cpu.knobs[1].holds("1500000")


def test_setspeed_under_another_governor_does_not_hold_our_value(tree):
    pi(tree)
    cpu = only(tree)
    cpu.set_hz(1500 * MHZ)
    put(tree, f"{POLICY0}/scaling_governor", "performance")
    assert not cpu.knobs[1].holds("1500000")
    assert cpu.knobs[1].holds("<unsupported>")


def test_setspeed_whose_maximum_cannot_be_read_does_not_hold_another_value(tree):
    pi(tree)
    cpu = only(tree)
    cpu.set_hz(750 * MHZ)
    tree.fail_next_read(f"{POLICY0}/scaling_max_freq", errno.EIO)
    assert not cpu.knobs[1].holds("1500000")


# --- setting by limits -------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [(4, 9), (6, 1)])
def test_limits_never_cross_on_the_way_up_or_down(kernel):
    tree = a_machine()
    policy = pi(tree, **NO_USERSPACE, kernel=kernel)
    cpu = only(tree)
    for mhz in (750, 1500, 600, 1000, 1000, 600, 1500):
        assert cpu.set_hz(mhz * MHZ).effective_hz == mhz * MHZ
        assert policy.limits_khz == (mhz * 1000, mhz * 1000)


def test_up_writes_the_maximum_first_and_down_the_minimum(tree):
    pi(tree, **NO_USERSPACE)
    cpu = only(tree)
    cpu.set_hz(600 * MHZ)
    del tree.writes[:]
    cpu.set_hz(1000 * MHZ)
    cpu.set_hz(750 * MHZ)
    assert tree.writes == [
        (f"{POLICY0}/scaling_max_freq", "1000000"),
        (f"{POLICY0}/scaling_min_freq", "1000000"),
        (f"{POLICY0}/scaling_min_freq", "750000"),
        (f"{POLICY0}/scaling_max_freq", "750000"),
    ]


def test_limits_that_show_a_moment_later_are_waited_for(tree):
    policy = pi(tree, **NO_USERSPACE)
    policy.limits_lag_s = 0.003
    cpu = only(tree)
    for mhz in (600, 1500, 1000):
        assert cpu.set_hz(mhz * MHZ).effective_hz == mhz * MHZ


def test_limits_that_never_show_are_waited_for_50_ms_only(tree):
    policy = pi(tree, **NO_USERSPACE)
    cpu = only(tree)
    policy.cap_khz(750_000)
    applied = cpu.set_hz(1500 * MHZ)
    assert applied.effective_hz == 750 * MHZ
    assert 0.05 <= tree.clock.now_s() < 0.051


def test_limits_under_a_cap_are_written_as_they_were_asked_for(tree):
    policy = pi(tree, **NO_USERSPACE)
    cpu = only(tree)
    policy.cap_khz(750_000)
    cpu.set_hz(1500 * MHZ)
    policy.cap_khz(None)
    assert policy.limits_khz == (1_500_000, 1_500_000)


def test_reading_limits_that_are_apart_gives_the_clock_that_runs(tree):
    policy = pi(tree, **NO_USERSPACE)
    policy.set_busy(True)
    assert only(tree).read_hz() == 1500 * MHZ


def test_every_core_of_an_x86_processor_is_set(tree):
    policies = [tree.add_cpufreq_policy(number, cpus=(number,), **NO_USERSPACE) for number in range(3)]
    cpu = only(tree)
    assert cpu.set_hz(1000 * MHZ).effective_hz == 1000 * MHZ
    assert [policy.limits_khz for policy in policies] == [(1_000_000, 1_000_000)] * 3


def test_of_several_cores_the_slowest_is_told(tree):
    policies = [tree.add_cpufreq_policy(number, cpus=(number,)) for number in range(3)]
    cpu = only(tree)
    cpu.set_hz(1500 * MHZ)
    policies[1].cap_khz(750_000)
    assert cpu.read_hz() == 750 * MHZ


def test_acpi_cpufreq_needs_no_hardware_reading(tree):
    pi(tree, driver="acpi-cpufreq", table_khz=(2_000_000, 1_000_000), hardware_reading=False)
    assert not tree.exists(f"{POLICY0}/cpuinfo_cur_freq")
    cpu = only(tree)
    assert cpu.read_hz() == 1000 * MHZ
    assert cpu.set_hz(2000 * MHZ).effective_hz == 2000 * MHZ


def test_intel_pstate_is_pinned_between_two_steps_of_its_own(tree):
    policy = pi(tree, **INTEL, min_khz=400_000, max_khz=4_700_000)
    cpu = only(tree)
    assert cpu.set_hz(cpu.operating_points_hz[3]).effective_hz == cpu.operating_points_hz[3]
    assert policy.governor == "powersave"


# --- what goes wrong ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.EACCES, ClockNotWritable),
        (errno.EPERM, ClockNotWritable),
        (errno.EROFS, ClockNotWritable),
        (errno.EBUSY, ClockBusy),
        (errno.EAGAIN, ClockBusy),
        (errno.EIO, ClockBusy),
        (errno.EINVAL, ClockRefused),
        (errno.ERANGE, ClockRefused),
        (errno.ENOENT, ClockRefused),
        (errno.ENOSPC, DeviceError),
    ],
)
@pytest.mark.parametrize(("options", "file"), [({}, "scaling_setspeed"), (NO_USERSPACE, "scaling_max_freq")])
def test_what_the_kernel_answers_to_a_write_has_a_class(tree, code, kind, options, file):
    pi(tree, **options)
    cpu = only(tree)
    tree.fail_next_write(f"{POLICY0}/{file}", code)
    with pytest.raises(DeviceError, match=f"{file}: ") as caught:
        cpu.set_hz(1000 * MHZ)
    assert type(caught.value) is kind
    assert caught.value.__cause__.errno == code


def test_cores_that_went_offline_are_busy(tree):
    policy = pi(tree)
    cpu = only(tree)
    policy.online = False
    with pytest.raises(ClockBusy, match="policy0"):
        cpu.set_hz(1000 * MHZ)
    with pytest.raises(ClockBusy):
        cpu.read_hz()
    policy.online = True
    assert cpu.set_hz(1000 * MHZ).effective_hz == 1000 * MHZ


def test_one_core_that_went_offline_does_not_hold_the_others_back(tree):
    policies = [tree.add_cpufreq_policy(number, cpus=(number,)) for number in range(3)]
    cpu = only(tree)
    cpu.set_hz(600 * MHZ)
    policies[1].online = False
    with pytest.raises(ClockBusy, match="policy1"):
        cpu.set_hz(1500 * MHZ)
    assert cpu.read_hz() == 1500 * MHZ
    policies[1].online = True
    assert [policy.cur_khz for policy in policies] == [1_500_000, 600_000, 1_500_000]


@pytest.mark.parametrize("options", [{}, NO_USERSPACE])
def test_an_ordinary_user_may_look_and_not_set(tree, options):
    pi(tree, **options)
    tree.as_user(True)
    cpu = only(tree)
    assert not cpu.writable
    assert cpu.read_hz() == 600 * MHZ
    before = knob_texts(tree)
    with pytest.raises(ClockNotWritable, match="Permission denied"):
        cpu.set_hz(1000 * MHZ)
    assert knob_texts(tree) == before


def test_a_user_whose_group_may_write_the_files_may_set(tree):
    pi(tree)
    for name in ("scaling_governor", "scaling_setspeed", "scaling_min_freq", "scaling_max_freq"):
        tree.set_owner(f"{POLICY0}/{name}", 0, 44)
        tree.set_mode(f"{POLICY0}/{name}", 0o664)
    tree.as_user(True, groups=(44,))
    cpu = only(tree)
    assert cpu.writable
    assert cpu.how == "limits"  # the tunables of ondemand are root's, so ondemand stays in force
    assert cpu.set_hz(1000 * MHZ).effective_hz == 1000 * MHZ


def test_files_mounted_read_only_are_not_writable(tree):
    pi(tree)
    tree.read_only = True
    cpu = only(tree)
    assert not cpu.writable
    with pytest.raises(ClockNotWritable, match="Read-only"):
        cpu.set_hz(1000 * MHZ)


def test_a_limit_that_is_no_number_is_an_error(tree):
    pi(tree, **NO_USERSPACE)
    cpu = only(tree)
    tree.set_text(f"{POLICY0}/scaling_max_freq", "banana\n")
    with pytest.raises(DeviceError, match="'banana', not a number"):
        cpu.read_hz()


def test_a_closed_domain_opens_its_files_again(tree):
    pi(tree)
    cpu = only(tree)
    cpu.set_hz(1000 * MHZ)
    cpu.knobs[1].holds("1500000")
    cpu.close()
    cpu.close()
    assert cpu.set_hz(600 * MHZ).effective_hz == 600 * MHZ


# --- a journal's keys --------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["scaling_governor", "scaling_min_freq", "scaling_max_freq", "scaling_setspeed"])
def test_a_key_of_a_journal_opens_its_file(tree, part):
    pi(tree)
    knob = open_knob(tree, f"cpufreq/policy0/{part}")
    assert knob.path == f"{POLICY0}/{part}"
    assert knob.key == f"cpufreq/policy0/{part}"
    assert knob.read()


@pytest.mark.parametrize(
    "key",
    [
        "cpufreq/policy0/../../../etc/passwd",
        "cpufreq/policy0/scaling_governor/../boost",
        "cpufreq/policy/scaling_governor",
        "cpufreq/policy0/scaling_governor\n",
        "cpufreq/policy00000/scaling_governor",
        "cpufreq/policy٣/scaling_governor",
        "cpufreq/policy0/boost",
        "CPUFREQ/policy0/scaling_governor",
        "",
    ],
)
def test_a_key_that_names_anything_else_is_refused(tree, key):
    with pytest.raises(DeviceError, match="no knob of a cpufreq policy"):
        open_knob(tree, key)
