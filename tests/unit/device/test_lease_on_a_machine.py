import atexit
import errno
import os
import subprocess
import sys

import pytest
from clock_machines import CPUFREQ, a_machine, die, journal_of, knob_texts, lease_on, plain_limits, plain_policy, put

from edgeexit.device import Lease
from edgeexit.device.cpufreq import find_cpufreq
from edgeexit.errors import ClocksUnavailable, DeviceError

MHZ = 1_000_000
POLICY0 = f"{CPUFREQ}/policy0"
BY_LIMITS = {"governors": ("ondemand", "performance")}
BOTH_WAYS = pytest.mark.parametrize("options", [{}, BY_LIMITS], ids=["userspace", "limits"])


@pytest.fixture
def tree():
    return a_machine()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


@BOTH_WAYS
def test_a_real_clock_is_set_read_back_and_given_back(tree, folder, options):
    policy = tree.add_cpufreq_policy(0, **options)
    before = knob_texts(tree)
    with lease_on(tree, folder) as lease:
        (applied,) = lease.set({"cpu": 1000 * MHZ})
        assert applied[:3] == (1000 * MHZ, 1000 * MHZ, "read back")
        assert policy.cur_khz == 1_000_000
        assert lease.read_clocks() == {"cpu": 1000 * MHZ}
    assert knob_texts(tree) == before
    assert sorted(path.name for path in folder.iterdir()) == ["lock"]


def test_an_equal_request_costs_no_system_call(tree, folder):
    tree.add_cpufreq_policy(0)
    with lease_on(tree, folder) as lease:
        lease.set({"cpu": 1000 * MHZ})
        before = list(tree.writes)
        assert lease.set({"cpu": 1000 * MHZ}) == ()
        assert tree.writes == before


@BOTH_WAYS
def test_a_clock_that_somebody_else_changes_is_left_to_them_and_counted_once(tree, folder, options, caplog):
    policy = tree.add_cpufreq_policy(0, **options)
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1000 * MHZ})
    put(tree, f"{POLICY0}/scaling_governor", "performance")
    put(tree, f"{POLICY0}/scaling_max_freq", "750000")
    before = knob_texts(tree)
    for mhz in (1500, 600, 1500):
        assert lease.set({"cpu": mhz * MHZ}) == ()
    assert knob_texts(tree) == before
    assert lease.yielded_count == 1
    assert "clock cpu is left to somebody else: cpufreq/policy0/" in caplog.text
    lease.close()
    assert lease.yielded_count == 1
    assert policy.governor == "performance"
    assert tree.read(f"{POLICY0}/scaling_max_freq") == "750000"


@BOTH_WAYS
def test_a_clock_that_is_as_we_left_it_again_is_ours_again(tree, folder, options):
    policy = tree.add_cpufreq_policy(0, **options)
    before = knob_texts(tree)
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1000 * MHZ})
    held = knob_texts(tree)
    name, value = ("scaling_max_freq", "1500000") if options else ("scaling_governor", "performance")
    put(tree, f"{POLICY0}/{name}", value)
    assert lease.set({"cpu": 600 * MHZ}) == ()
    for path, text in held.items():
        if path.endswith(("governor", "max_freq")):
            put(tree, path, text)
    if not options:
        put(tree, f"{POLICY0}/scaling_setspeed", "1000000")
    assert lease.set({"cpu": 600 * MHZ})[0].effective_hz == 600 * MHZ
    assert policy.cur_khz == 600_000
    assert lease.yielded_count == 1
    lease.close()
    assert knob_texts(tree) == before


def test_a_change_that_comes_after_our_last_set_is_counted_when_it_is_found_at_the_end(tree, folder):
    tree.add_cpufreq_policy(0, **BY_LIMITS)
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1000 * MHZ})
    put(tree, f"{POLICY0}/scaling_min_freq", "600000")
    put(tree, f"{POLICY0}/scaling_max_freq", "750000")
    lease.close()
    assert lease.yielded_count == 1
    assert tree.policies[0].limits_khz == (600_000, 750_000)


def test_a_value_that_equals_an_earlier_one_of_ours_is_somebody_elses(tree, folder):
    tree.add_cpufreq_policy(0)
    lease = lease_on(tree, folder)
    for mhz in (750, 1000, 1500):
        lease.set({"cpu": mhz * MHZ})
    put(tree, f"{POLICY0}/scaling_setspeed", "750000")
    assert lease.set({"cpu": 600 * MHZ}) == ()
    assert lease.yielded_count == 1
    lease.close()


def test_heat_that_holds_a_clock_down_is_nobody_else(tree, folder):
    policy = tree.add_cpufreq_policy(0)
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1500 * MHZ})
    policy.cap_khz(1_000_000)
    assert lease.set({"cpu": 600 * MHZ})[0].effective_hz == 600 * MHZ
    assert lease.set({"cpu": 1500 * MHZ})[0].effective_hz == 1000 * MHZ
    assert lease.clamped_count == 1
    policy.cap_khz(None)
    assert lease.set({"cpu": 750 * MHZ})[0].effective_hz == 750 * MHZ
    assert lease.yielded_count == 0
    lease.close()
    assert policy.governor == "ondemand"


def test_limits_that_were_set_while_it_was_hot_are_ours_during_and_after(tree, folder):
    policy = tree.add_cpufreq_policy(0, **BY_LIMITS)
    lease = lease_on(tree, folder)
    lease.set({"cpu": 600 * MHZ})
    policy.cap_khz(1_000_000)
    assert lease.set({"cpu": 1500 * MHZ})[0].effective_hz == 1000 * MHZ
    assert lease.set({"cpu": 600 * MHZ})[0].effective_hz == 600 * MHZ
    lease.set({"cpu": 1500 * MHZ})
    policy.cap_khz(None)
    assert lease.set({"cpu": 750 * MHZ})[0].effective_hz == 750 * MHZ
    assert lease.yielded_count == 0
    lease.close()
    assert policy.limits_khz == (600_000, 1_500_000)


def test_a_busy_clock_stops_no_other_one(tree, folder, caplog):
    policy = tree.add_cpufreq_policy(0)
    node = tree.add_devfreq()
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1000 * MHZ, "gpu": 408 * MHZ})
    policy.online = False
    for mhz in (612, 510):
        assert [applied.requested_hz for applied in lease.set({"cpu": mhz * MHZ, "gpu": mhz * MHZ})] == [mhz * MHZ]
    assert lease.failed_count == 2
    assert caplog.text.count("clock cpu cannot be set for now, inference goes on") == 1
    assert not lease.observe_only
    assert lease.read_clocks() == {"cpu": 1000 * MHZ, "gpu": 510 * MHZ}
    policy.online = True
    assert lease.set({"cpu": 600 * MHZ})[0].effective_hz == 600 * MHZ
    lease.close()
    assert policy.governor == "ondemand"
    assert node.limits_hz == (306 * MHZ, 612 * MHZ)


def test_a_device_that_is_away_is_passed_over_and_set_when_it_is_back(tree, folder):
    node = tree.add_devfreq()
    lease = lease_on(tree, folder)
    lease.set({"gpu": 408 * MHZ})
    tree.remove_devfreq(node)
    assert lease.set({"gpu": 510 * MHZ}) == ()
    assert lease.failed_count == 1
    node = tree.add_devfreq(limit_min_hz=408 * MHZ, limit_max_hz=408 * MHZ)
    assert lease.set({"gpu": 612 * MHZ})[0].effective_hz == 612 * MHZ
    lease.close()
    assert node.limits_hz == (306 * MHZ, 612 * MHZ)


def test_a_device_that_went_away_for_good_is_nothing_to_give_back(tree, folder):
    node = tree.add_devfreq()
    lease = lease_on(tree, folder)
    lease.set({"gpu": 408 * MHZ})
    tree.remove_devfreq(node)
    lease.close()
    assert sorted(path.name for path in folder.iterdir()) == ["lock"]


def test_one_core_that_goes_offline_does_not_hold_the_others_back(tree, folder):
    policies = [tree.add_cpufreq_policy(number, cpus=(number,), **BY_LIMITS) for number in range(3)]
    before = knob_texts(tree)
    lease = lease_on(tree, folder)
    lease.set({"cpu": 600 * MHZ})
    policies[1].online = False
    for mhz in (1500, 750, 600, 1500, 1000):
        assert lease.set({"cpu": mhz * MHZ}) == ()
        assert policies[2].limits_khz == (mhz * 1000, mhz * 1000)
    policies[1].online = True
    assert policies[1].limits_khz == (600_000, 600_000)
    assert lease.set({"cpu": 750 * MHZ})[0].effective_hz == 750 * MHZ
    assert [policy.limits_khz for policy in policies] == [(750_000, 750_000)] * 3
    assert lease.yielded_count == 0
    lease.close()
    assert knob_texts(tree) == before


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EINVAL, errno.EIO])
@BOTH_WAYS
def test_a_first_set_that_fails_is_tried_again(tree, folder, options, code):
    tree.add_cpufreq_policy(0, **options)
    before = knob_texts(tree)
    lease = lease_on(tree, folder)
    for name in ("scaling_max_freq", "scaling_setspeed", "scaling_governor", "scaling_min_freq"):
        tree.fail_next_write(f"{POLICY0}/{name}", code)
    assert lease.set({"cpu": 1000 * MHZ}) == ()
    assert lease.set({"cpu": 1000 * MHZ}) == ()
    assert lease.failed_count == 2
    assert lease.set({"cpu": 1000 * MHZ})[0].effective_hz == 1000 * MHZ
    assert lease.yielded_count == 0
    lease.close()
    assert knob_texts(tree) == before


@pytest.mark.parametrize("name", ["scaling_min_freq", "scaling_max_freq"])
@pytest.mark.parametrize("ending", ["close", "die"])
def test_a_limit_that_is_refused_again_and_again_still_holds_our_value(tree, folder, name, ending):
    tree.add_cpufreq_policy(0, **BY_LIMITS)
    before = knob_texts(tree)
    lease = lease_on(tree, folder)
    lease.set({"cpu": 750 * MHZ})
    for mhz in (600, 1000, 1500, 600, 1000, 1500):
        tree.fail_next_write(f"{POLICY0}/{name}", errno.EINVAL)
        assert lease.set({"cpu": mhz * MHZ}) == ()
    assert lease.yielded_count == 0
    if ending == "close":
        lease.close()
    else:
        die(tree, folder, lease)
        journal_of(tree, folder).restore_abandoned()
    assert knob_texts(tree) == before


@pytest.mark.parametrize("ending", ["close", "die"])
def test_a_limit_that_shows_only_after_the_other_one_was_refused_is_given_back(tree, folder, ending):
    policy = tree.add_cpufreq_policy(0, **BY_LIMITS)
    policy.limits_lag_s = 0.004
    lease = lease_on(tree, folder)
    tree.fail_next_write(f"{POLICY0}/scaling_max_freq", errno.EBUSY)
    assert lease.set({"cpu": 1000 * MHZ}) == ()  # the minimum was taken and does not show yet
    if ending == "close":
        lease.close()
    else:
        die(tree, folder, lease)
        journal_of(tree, folder).restore_abandoned()
    tree.clock.advance_s(1.0)
    assert policy.limits_khz == (600_000, 1_500_000)


def test_a_limit_that_shows_only_after_the_other_one_was_refused_is_ours(tree, folder):
    policy = tree.add_cpufreq_policy(0, **BY_LIMITS)
    policy.limits_lag_s = 0.004
    lease = lease_on(tree, folder)
    tree.fail_next_write(f"{POLICY0}/scaling_max_freq", errno.EBUSY)
    lease.set({"cpu": 1000 * MHZ})
    tree.clock.advance_s(1.0)
    assert lease.set({"cpu": 750 * MHZ})[0].effective_hz == 750 * MHZ
    assert lease.yielded_count == 0
    lease.close()


def test_what_was_asked_for_while_it_was_hot_is_ours_also_after_a_refusal(tree, folder):
    policy = tree.add_cpufreq_policy(0, **BY_LIMITS)
    lease = lease_on(tree, folder)
    lease.set({"cpu": 600 * MHZ})
    policy.cap_khz(1_000_000)
    lease.set({"cpu": 1500 * MHZ})
    tree.fail_next_write(f"{POLICY0}/scaling_min_freq", errno.EINVAL)
    assert lease.set({"cpu": 750 * MHZ}) == ()
    policy.cap_khz(None)
    assert lease.set({"cpu": 750 * MHZ})[0].effective_hz == 750 * MHZ
    assert lease.yielded_count == 0
    lease.close()
    assert policy.limits_khz == (600_000, 1_500_000)


def test_after_a_failure_the_request_before_is_not_taken_for_done(tree, folder):
    policy = tree.add_cpufreq_policy(0, **BY_LIMITS)
    lease = lease_on(tree, folder)
    lease.set({"cpu": 600 * MHZ})
    tree.fail_next_write(f"{POLICY0}/scaling_min_freq", errno.EBUSY)
    lease.set({"cpu": 1500 * MHZ})
    assert policy.limits_khz == (600_000, 1_500_000)
    assert lease.set({"cpu": 600 * MHZ})[0].effective_hz == 600 * MHZ
    assert policy.limits_khz == (600_000, 600_000)
    lease.close()


def test_a_file_that_fails_once_at_the_end_of_a_set_does_not_lose_what_is_ours(tree, folder):
    policy = tree.add_cpufreq_policy(0, **BY_LIMITS)
    lease = lease_on(tree, folder)
    lease.set({"cpu": 600 * MHZ})
    policy.cap_khz(750_000)
    tree.fail_next_read(f"{POLICY0}/scaling_cur_freq", errno.EIO)
    lease.set({"cpu": 1500 * MHZ})
    policy.cap_khz(None)
    lease.close()
    assert policy.limits_khz == (600_000, 1_500_000)


def test_a_knob_that_cannot_be_read_once_it_was_set_may_hold_any_value_of_ours(tree, folder):
    policy = tree.add_cpufreq_policy(0)
    (cpu,) = find_cpufreq(tree)
    lease = Lease({"cpu": cpu}, journal=journal_of(tree, folder))
    policy.cap_khz(1_000_000)
    read_hz = cpu.read_hz

    def read_and_go_away():
        found_hz = read_hz()
        tree.fail_next_read(f"{POLICY0}/scaling_governor", errno.EBUSY)
        return found_hz

    cpu.read_hz = read_and_go_away
    lease.set({"cpu": 600 * MHZ})
    lease.set({"cpu": 1500 * MHZ})
    tree.file(f"{POLICY0}/scaling_governor").next_read_errno = None
    lease.close()
    assert policy.governor == "ondemand"


def test_without_a_journal_no_knob_is_ever_written(tree):
    tree.add_cpufreq_policy(0)
    lease = Lease({domain.name: domain for domain in find_cpufreq(tree)})
    with pytest.warns(ClocksUnavailable, match="no journal"):
        assert lease.set({"cpu": 1000 * MHZ}) == ()
    lease.close()
    assert tree.writes == []


def test_an_ordinary_user_gets_one_warning_and_nothing_changes(tree, folder):
    tree.add_cpufreq_policy(0)
    tree.add_devfreq()
    tree.as_user(True)
    before = knob_texts(tree)
    lease = lease_on(tree, folder)
    with pytest.warns(ClocksUnavailable, match="Permission denied"):
        lease.set({"cpu": 1000 * MHZ, "gpu": 408 * MHZ})
    lease.set({"gpu": 510 * MHZ})
    lease.close()
    assert knob_texts(tree) == before
    assert lease.yielded_count == 0
    assert sorted(path.name for path in folder.iterdir()) == ["lock"]


def test_a_journal_that_fails_at_the_second_domain_leaves_the_first_to_be_given_back(tree, folder):
    tree.add_cpufreq_policy(0)
    tree.add_devfreq()
    before = knob_texts(tree)
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1000 * MHZ})
    (folder / f"lease.json.{os.getpid()}.new").mkdir()
    with pytest.warns(ClocksUnavailable, match="clock 'gpu' cannot be set"):
        lease.set({"gpu": 408 * MHZ})
    lease.close()
    assert knob_texts(tree) == before


def test_a_restored_lease_journals_anew(tree, folder):
    tree.add_cpufreq_policy(0)
    before = knob_texts(tree)
    with lease_on(tree, folder) as lease:
        lease.set({"cpu": 1000 * MHZ})
        lease.restore()
        assert knob_texts(tree) == before
        assert not (folder / "lease.json").exists()
        lease.set({"cpu": 600 * MHZ})
        assert (folder / "lease.json").exists()
    assert knob_texts(tree) == before


# --- interrupts and the end --------------------------------------------------------------------------


def interrupt_at(tree, count):
    """Let Ctrl-C come after the `count`-th write that reaches the machine, once."""
    write = tree.sys_write
    seen = []

    def write_and_interrupt(descriptor, data):
        done = write(descriptor, data)
        seen.append(data)
        if len(seen) == count:
            raise KeyboardInterrupt
        return done

    tree.sys_write = write_and_interrupt


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("lag_s", [0.0, 0.004])
@BOTH_WAYS
def test_an_interrupt_in_the_middle_of_a_set_is_given_back(tree, folder, options, count, lag_s):
    policy = tree.add_cpufreq_policy(0, **options)
    policy.limits_lag_s = lag_s
    before = knob_texts(tree)
    interrupt_at(tree, count)

    def work():
        with lease_on(tree, folder) as lease:
            for mhz in (1000, 600, 1500, 750):
                lease.set({"cpu": mhz * MHZ})

    with pytest.raises(KeyboardInterrupt):
        work()
    tree.clock.advance_s(1.0)
    assert knob_texts(tree) == before


@BOTH_WAYS
def test_a_second_interrupt_while_clocks_are_given_back_leaves_the_rest_to_the_next_close(tree, folder, options):
    tree.add_cpufreq_policy(0, **options)
    tree.add_devfreq()
    before = knob_texts(tree)
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1000 * MHZ, "gpu": 408 * MHZ})
    interrupt_at(tree, 1)
    with pytest.raises(KeyboardInterrupt):
        lease.close()
    assert knob_texts(tree) != before
    with pytest.raises(DeviceError, match="closed"):
        lease.set({"cpu": 600 * MHZ})
    lease.close()
    assert knob_texts(tree) == before
    assert not (folder / "lease.json").exists()


def test_the_end_of_python_gives_clocks_back(tree, folder, monkeypatch):
    tree.add_cpufreq_policy(0)
    at_exit = []
    monkeypatch.setattr(atexit, "register", at_exit.append)
    before = knob_texts(tree)
    lease = lease_on(tree, folder)
    assert at_exit == []
    lease.set({"cpu": 1000 * MHZ})
    (act,) = at_exit
    act()
    assert knob_texts(tree) == before


SCRIPT = """
import sys
from pathlib import Path
from edgeexit.device.cpufreq import find_cpufreq
from edgeexit.device.journal import FileJournal
from edgeexit.device.knobs import open_knob
from edgeexit.device.lease import Lease
from edgeexit.device.sysfs import Tree
tree = Tree(Path(sys.argv[1]))
journal = FileJournal(lambda key: open_knob(tree, key), Path(sys.argv[2]))
lease = Lease({domain.name: domain for domain in find_cpufreq(tree)}, journal=journal)
lease.set({"cpu": 1_200_000_000})
print(Path(sys.argv[1], "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq").read_text())
"""


@pytest.mark.parametrize(("last_words", "code"), [("", 0), ("raise ZeroDivisionError", 1), ("sys.exit(7)", 7)])
def test_a_program_that_ends_without_closing_its_lease_gives_clocks_back(tmp_path, last_words, code):
    plain_policy(tmp_path / "machine")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT + last_words, str(tmp_path / "machine"), str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
        text=True,
    )
    assert done.stdout.strip() == "1200000"
    assert done.returncode == code
    assert plain_limits(tmp_path / "machine") == ("1000000", "1900000")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["lock"]


# --- the tunables of the kernel governor -------------------------------------------------------------


def test_tunables_that_the_kernel_forgets_are_put_back_with_their_governor(tmp_path):
    tree = a_machine()
    tree.add_cpufreq_policy(0)
    put(tree, f"{CPUFREQ}/ondemand/up_threshold", "50")  # what a Raspberry Pi sets at boot
    put(tree, f"{CPUFREQ}/ondemand/sampling_down_factor", "50")
    before = knob_texts(tree)
    with lease_on(tree, tmp_path) as lease:
        lease.set({"cpu": 1_000_000_000})
        lease.set({"cpu": 600_000_000})
        assert not tree.exists(f"{CPUFREQ}/ondemand/up_threshold")
        assert lease.yielded_count == 0
    assert knob_texts(tree) == before


def test_tunables_are_left_where_somebody_else_has_chosen_another_governor(tmp_path):
    tree = a_machine()
    tree.add_cpufreq_policy(0)
    with lease_on(tree, tmp_path) as lease:
        lease.set({"cpu": 1_000_000_000})
        put(tree, f"{CPUFREQ}/policy0/scaling_governor", "performance")
    assert tree.read(f"{CPUFREQ}/policy0/scaling_governor") == "performance"
    assert not tree.exists(f"{CPUFREQ}/ondemand")
    assert not (tmp_path / "lease.json").exists()


# --- heat, where a clock is set by its limits ---------------------------------------------------------


@pytest.fixture
def hot(tmp_path):
    """A machine set by its limits, and a lease that holds it at the top while heat caps it at 1000 MHz."""
    tree = a_machine()
    policy = tree.add_cpufreq_policy(0, governors=("schedutil", "performance"), governor="schedutil")
    before = knob_texts(tree)
    with lease_on(tree, tmp_path) as lease:
        lease.set({"cpu": 1500 * MHZ})
        policy.cap_khz(1_000_000)
        yield tree, policy, lease
    policy.cap_khz(None)
    assert knob_texts(tree) == before


def test_below_the_cap_of_heat_the_lease_goes_on(hot):
    _tree, policy, lease = hot
    assert lease.set({"cpu": 600 * MHZ})[0].effective_hz == 600 * MHZ
    assert policy.cur_khz == 600_000
    assert lease.yielded_count == 0


def test_above_the_cap_of_heat_the_clock_is_the_cap_and_rises_when_it_is_over(hot):
    _tree, policy, lease = hot
    lease.set({"cpu": 750 * MHZ})
    assert lease.set({"cpu": 1500 * MHZ})[0].effective_hz == 1000 * MHZ
    policy.cap_khz(None)
    assert policy.cur_khz == 1_500_000
    assert lease.set({"cpu": 750 * MHZ})[0].effective_hz == 750 * MHZ
    assert lease.yielded_count == 0


def test_heat_that_grows_is_told_anew(hot):
    _tree, policy, lease = hot
    policy.cap_khz(750_000)
    assert lease.set({"cpu": 600 * MHZ})[0].effective_hz == 600 * MHZ
    assert lease.yielded_count == 0


def test_a_gpu_in_the_heat_goes_on_below_the_cap_too(tmp_path):
    tree = a_machine()
    gpu = tree.add_devfreq()
    before = knob_texts(tree)
    with lease_on(tree, tmp_path) as lease:
        lease.set({"gpu": 612 * MHZ})
        gpu.cap_hz(510 * MHZ)
        assert lease.set({"gpu": 408 * MHZ})[0].effective_hz == 408 * MHZ
        assert lease.yielded_count == 0
        gpu.cap_hz(None)
    assert knob_texts(tree) == before


def test_a_lower_maximum_of_somebody_else_is_no_heat_and_stays_theirs(tmp_path):
    tree = a_machine()
    tree.add_cpufreq_policy(0, governors=("schedutil", "performance"), governor="schedutil")
    maximum = f"{CPUFREQ}/policy0/scaling_max_freq"
    with lease_on(tree, tmp_path) as lease:
        lease.set({"cpu": 1500 * MHZ})
        put(tree, maximum, "1000000")
        assert lease.set({"cpu": 600 * MHZ}) == ()
        assert tree.read(maximum) == "1000000"
        del tree.writes[:]
        assert lease.set({"cpu": 750 * MHZ}) == ()
        assert tree.writes == []  # it is not tried again and again
        assert lease.yielded_count == 1
    assert tree.read(maximum) == "1000000"
