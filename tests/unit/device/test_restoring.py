import errno

import pytest
from clock_machines import CPUFREQ, a_machine, die, journal_of, lease_on, put

from edgeexit.clock import ManualClock
from edgeexit.device.journal_file import KnobEntry
from edgeexit.device.knobs import open_knob
from edgeexit.device.restoring import restore_knobs

MHZ = 1_000_000
POLICY0 = f"{CPUFREQ}/policy0"
LOW, HIGH = "cpufreq/policy0/scaling_min_freq", "cpufreq/policy0/scaling_max_freq"
KERNELS = [(4, 9), (6, 1)]
BY_LIMITS = ("ondemand", "performance")
BY_USERSPACE = ("ondemand", "userspace")


@pytest.fixture
def tree():
    return a_machine()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def restore(tree, *entries):
    return restore_knobs(entries, lambda key: open_knob(tree, key), tree.clock)


def pinned(tree, khz, **options):
    """Add a policy whose limits we have pinned, and return the entries of a journal that says so."""
    policy = tree.add_cpufreq_policy(0, governors=BY_LIMITS, **options)
    put(tree, f"{POLICY0}/scaling_max_freq", str(khz))
    put(tree, f"{POLICY0}/scaling_min_freq", str(khz))
    return policy, (KnobEntry(LOW, "600000", (str(khz),)), KnobEntry(HIGH, "1500000", (str(khz),)))


# --- what is put back and what is left ---------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
def test_limits_that_hold_our_value_are_put_back(tree, kernel):
    policy, entries = pinned(tree, 1_000_000, kernel=kernel)
    done = restore(tree, *entries)
    assert policy.limits_khz == (600_000, 1_500_000)
    assert (done.restored, done.left, done.failed) == ([LOW, HIGH], {}, {})


def test_a_knob_that_we_never_wrote_is_not_touched(tree):
    tree.add_cpufreq_policy(0)
    done = restore(tree, KnobEntry(LOW, "750000", ()))
    assert tree.writes == []
    assert (done.restored, done.left, done.failed) == ([], {}, {})


def test_a_knob_that_somebody_else_has_set_is_left_and_named(tree):
    policy, entries = pinned(tree, 1_000_000)
    put(tree, f"{POLICY0}/scaling_max_freq", "1500000")
    put(tree, f"{POLICY0}/scaling_min_freq", "750000")
    done = restore(tree, *entries)
    assert done.left == {LOW: "750000"}
    assert policy.limits_khz == (750_000, 1_500_000)


def test_an_earlier_value_of_ours_that_is_no_more_in_the_journal_is_somebody_elses(tree, folder):
    tree.add_cpufreq_policy(0, governors=BY_LIMITS)
    lease = lease_on(tree, folder)
    for mhz in (750, 1000, 1500):
        lease.set({"cpu": mhz * MHZ})
    put(tree, f"{POLICY0}/scaling_min_freq", "750000")
    die(tree, folder, lease)
    done = journal_of(tree, folder).restore_abandoned()
    assert done.left == {LOW: "750000"}
    assert tree.read(f"{POLICY0}/scaling_min_freq") == "750000"


def test_a_knob_that_somebody_has_put_back_already_is_fine(tree):
    _, entries = pinned(tree, 1_000_000)
    put(tree, f"{POLICY0}/scaling_min_freq", "600000")
    put(tree, f"{POLICY0}/scaling_max_freq", "1500000")
    done = restore(tree, *entries)
    assert (done.left, done.failed) == ({}, {})


def test_any_of_the_values_that_may_be_ours_counts(tree):
    _, (low, high) = pinned(tree, 1_000_000)
    low = KnobEntry(low.key, low.was, ("750000", "1000000", "1500000"))
    assert restore(tree, low, high).restored == [LOW, HIGH]


def test_the_kernel_governor_is_put_back_and_with_it_the_clock(tree, folder):
    policy = tree.add_cpufreq_policy(0, governor="schedutil")
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1500 * MHZ})
    lease.close()
    assert policy.governor == "schedutil"
    assert tree.read(f"{POLICY0}/scaling_setspeed") == "<unsupported>"


def test_a_clock_that_was_set_by_hand_before_us_is_put_back(tree, folder):
    policy = tree.add_cpufreq_policy(0, governor="userspace", current_khz=750_000)
    with lease_on(tree, folder) as lease:
        lease.set({"cpu": 1500 * MHZ})
        assert policy.cur_khz == 1_500_000
    assert (policy.governor, policy.cur_khz) == ("userspace", 750_000)


def test_where_the_governor_was_changed_by_somebody_else_it_stays(tree, folder):
    policy = tree.add_cpufreq_policy(0)
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1000 * MHZ})
    put(tree, f"{POLICY0}/scaling_governor", "performance")
    lease.close()
    assert policy.governor == "performance"


# --- order and failure -------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("khz", [600_000, 750_000, 1_000_000, 1_500_000])
@pytest.mark.parametrize(("low", "high"), [(600_000, 600_000), (1_000_000, 1_500_000), (1_500_000, 1_500_000)])
def test_a_kernel_that_refuses_crossing_limits_gets_them_in_the_right_order(tree, khz, low, high, order):
    policy, _ = pinned(tree, khz, kernel=(4, 9))
    entries = KnobEntry(LOW, str(low), (str(khz),)), KnobEntry(HIGH, str(high), (str(khz),))
    done = restore(tree, *(entries[index] for index in order))
    assert done.failed == {}
    assert policy.limits_khz == (low, high)


def test_one_that_fails_does_not_stop_the_others(tree):
    tree.add_cpufreq_policy(0, cpus=(0,), governors=BY_LIMITS)
    tree.add_cpufreq_policy(1, cpus=(1,), governors=BY_LIMITS)
    entries = []
    for number in (0, 1):
        put(tree, f"{CPUFREQ}/policy{number}/scaling_max_freq", "1000000")
        entries.append(KnobEntry(f"cpufreq/policy{number}/scaling_max_freq", "1500000", ("1000000",)))
    tree.policies[0].online = False
    done = restore(tree, *entries)
    assert list(done.failed) == [HIGH]
    assert "busy" in done.failed[HIGH]
    assert done.restored == ["cpufreq/policy1/scaling_max_freq"]


def test_one_that_fails_once_is_tried_again(tree):
    policy, entries = pinned(tree, 1_000_000)
    tree.fail_next_write(f"{POLICY0}/scaling_min_freq", errno.EBUSY)
    done = restore(tree, *entries)
    assert (done.restored, done.failed) == ([HIGH, LOW], {})
    assert policy.limits_khz == (600_000, 1_500_000)


def test_a_knob_that_may_not_be_written_is_named_with_the_reason(tree):
    policy, entries = pinned(tree, 1_000_000)
    tree.as_user(True)
    done = restore(tree, *entries)
    assert set(done.failed) == {LOW, HIGH}
    assert "Permission denied" in done.failed[LOW]
    assert policy.limits_khz == (1_000_000, 1_000_000)


def test_a_device_that_is_gone_has_nothing_to_put_back(tree):
    node = tree.add_devfreq()
    tree.remove_devfreq(node)
    done = restore(tree, KnobEntry("devfreq/17000000.gv11b/max_freq", "612000000", ("408000000",)))
    assert done.left == {"devfreq/17000000.gv11b/max_freq": "gone"}
    assert done.failed == {}


def test_a_knob_that_nobody_knows_is_named(tree):
    _, entries = pinned(tree, 1_000_000)
    done = restore(tree, KnobEntry("banana/peel", "1", ("2",)), *entries)
    assert "no kind of clock" in done.failed["banana/peel"]
    assert done.restored == [LOW, HIGH]


class Lock:
    """A knob that nobody can read, as NVML's."""

    key = "nvml/GPU-1/locked_clocks"

    def __init__(self, *held):
        self.held = held
        self.writes = []

    def read(self):
        return None

    def holds(self, value):
        return value in self.held

    def write(self, value):
        self.writes.append(value)


def test_a_lock_that_cannot_be_read_is_let_go():
    lock = Lock("975,975")
    done = restore_knobs([KnobEntry(lock.key, None, ("975,975",))], lambda _key: lock, ManualClock())
    assert done.restored == [lock.key]
    assert lock.writes == [""]


def test_a_lock_that_was_refused_is_left_without_a_word():
    lock = Lock("")
    done = restore_knobs([KnobEntry(lock.key, None, ("", "975,975"))], lambda _key: lock, ManualClock())
    assert (done.restored, done.left, done.failed) == ([], {}, {})
    assert lock.writes == []


def test_a_lock_that_is_neither_is_left_as_unknown():
    lock = Lock("1200,1200")
    done = restore_knobs([KnobEntry(lock.key, None, ("975,975",))], lambda _key: lock, ManualClock())
    assert done.left == {lock.key: "unknown"}


# --- heat --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("lag_s", [0.0, 0.003])
@pytest.mark.parametrize("cap_khz", [600_000, 750_000])
def test_limits_that_heat_holds_down_are_put_back_for_when_it_is_over(tree, folder, kernel, lag_s, cap_khz):
    policy = tree.add_cpufreq_policy(0, governors=BY_LIMITS, kernel=kernel)
    policy.limits_lag_s = lag_s
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1000 * MHZ})
    policy.cap_khz(cap_khz)
    tree.clock.advance_s(1.0)
    lease.close()
    policy.cap_khz(None)
    tree.clock.advance_s(1.0)
    assert policy.limits_khz == (600_000, 1_500_000)


@pytest.mark.parametrize("options", [{"governors": BY_LIMITS}, {"governors": BY_USERSPACE}])
def test_a_clock_that_was_set_while_it_was_hot_is_put_back(tree, folder, options):
    policy = tree.add_cpufreq_policy(0, **options)
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1000 * MHZ})
    policy.cap_khz(750_000)
    lease.set({"cpu": 1500 * MHZ})
    policy.cap_khz(600_000)
    lease.close()
    policy.cap_khz(None)
    assert policy.limits_khz == (600_000, 1_500_000)
    assert policy.governor == "ondemand"


def test_a_gpu_that_heat_holds_down_is_put_back_for_when_it_is_over(tree, folder):
    node = tree.add_devfreq()
    lease = lease_on(tree, folder)
    lease.set({"gpu": 612 * MHZ})
    node.cap_hz(408 * MHZ)
    lease.close()
    node.cap_hz(None)
    assert node.limits_hz == (306 * MHZ, 612 * MHZ)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("lag_s", [0.0, 0.003])
def test_limits_that_somebody_set_lower_than_ours_stay_theirs(tree, folder, kernel, lag_s):
    policy = tree.add_cpufreq_policy(0, governors=BY_LIMITS, kernel=kernel)
    policy.limits_lag_s = lag_s
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1500 * MHZ})
    put(tree, f"{POLICY0}/scaling_min_freq", "750000")
    put(tree, f"{POLICY0}/scaling_max_freq", "1000000")
    tree.clock.advance_s(1.0)
    lease.close()
    tree.clock.advance_s(1.0)
    assert policy.limits_khz == (750_000, 1_000_000)
    assert lease.yielded_count == 1


def test_a_maximum_that_somebody_lowered_stays_and_our_minimum_goes(tree, folder):
    policy = tree.add_cpufreq_policy(0, governors=BY_LIMITS)
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1500 * MHZ})
    put(tree, f"{POLICY0}/scaling_max_freq", "1000000")
    lease.close()
    assert policy.limits_khz == (600_000, 1_000_000)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("lag_s", [0.0, 0.003])
def test_a_clock_that_somebody_pinned_lower_than_ours_stays_pinned(tree, folder, kernel, lag_s):
    policy = tree.add_cpufreq_policy(0, governors=BY_LIMITS, kernel=kernel)
    policy.limits_lag_s = lag_s
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1500 * MHZ})
    put(tree, f"{POLICY0}/scaling_min_freq", "1000000")
    put(tree, f"{POLICY0}/scaling_max_freq", "1000000")
    tree.clock.advance_s(1.0)
    lease.close()
    tree.clock.advance_s(1.0)
    assert policy.limits_khz == (1_000_000, 1_000_000)


def test_a_minimum_that_somebody_lowered_stays_while_heat_holds_our_maximum_down(tree, folder):
    policy = tree.add_cpufreq_policy(0, governors=BY_LIMITS)
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1000 * MHZ})
    put(tree, f"{POLICY0}/scaling_min_freq", "600000")
    policy.cap_khz(750_000)
    lease.close()
    policy.cap_khz(None)
    assert policy.limits_khz == (600_000, 1_500_000)
