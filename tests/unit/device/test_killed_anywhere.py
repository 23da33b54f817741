import os
from contextlib import contextmanager

import pytest
from clock_machines import CPUFREQ, GPU, a_machine, die, journal_of, knob_texts, lease_on, live, put

MHZ = 1_000_000
TUNABLE = f"{CPUFREQ}/ondemand/up_threshold"
BY_LIMITS = ("ondemand", "performance")
BY_USERSPACE = ("ondemand", "userspace")


class Killed(BaseException):
    """The process ends here: nothing after it is done."""


@contextmanager
def killing(tree, count, *, after):
    """Let the process die at its `count`-th system call that changes something: before the call or `after` it."""
    patch = pytest.MonkeyPatch()
    calls = []

    def deadly(call):
        def call_and_die(*arguments, **options):
            if len(calls) >= count:  # dead already: whatever still runs changes nothing
                raise Killed
            calls.append(call)
            if len(calls) == count and not after:
                raise Killed
            result = call(*arguments, **options)
            if len(calls) == count:
                raise Killed
            return result

        return call_and_die

    patch.setattr(tree, "sys_write", deadly(tree.sys_write))
    for name in ("pwrite", "write", "link", "rename", "unlink"):
        patch.setattr(os, name, deadly(getattr(os, name)))
    try:
        yield calls
    finally:
        patch.undo()


def a_board(governors, kernel, lag_s):
    tree = a_machine()
    for number, khz in ((0, 1_000_000), (4, 1_500_000)):
        policy = tree.add_cpufreq_policy(
            number, cpus=(number,), table_khz=(600_000, 750_000, khz), governors=governors, kernel=kernel
        )
        policy.limits_lag_s = lag_s
    if tree.exists(TUNABLE):
        put(tree, TUNABLE, "50")  # as raspi-config sets it: the kernel forgets it when another governor comes
    tree.add_devfreq(kernel=kernel)
    return tree


def work(tree, folder, lease=None):
    """Set clocks up and down on every domain, one after the other at first, and give them back."""
    lease = lease or lease_on(tree, folder)
    leases.append(lease)
    lease.set({"cpu0": 750 * MHZ})
    lease.set({"gpu": 510 * MHZ, "cpu4": 1500 * MHZ})
    lease.set({"cpu0": 1000 * MHZ, "cpu4": 600 * MHZ, "gpu": 306 * MHZ})
    lease.set({"cpu0": 600 * MHZ, "cpu4": 750 * MHZ, "gpu": 612 * MHZ})
    lease.close()


leases = []


def lives_through(tree, folder, count, after):
    """Return whether `work` is done before the `count`-th call; else the process is dead."""
    del leases[:]
    try:
        with killing(tree, count, after=after):
            work(tree, folder)
    except Killed:
        die(tree, folder, *leases)
        return False
    return True


BOARDS = [
    pytest.param(BY_USERSPACE, (4, 9), 0.0, id="userspace, kernel 4.9"),
    pytest.param(BY_USERSPACE, (6, 1), 0.001, id="userspace, kernel 6.1"),
    pytest.param(BY_LIMITS, (4, 9), 0.0, id="limits, kernel 4.9"),
    pytest.param(BY_LIMITS, (6, 1), 0.0, id="limits, kernel 6.1"),
    pytest.param(BY_LIMITS, (6, 1), 0.005, id="limits that lag, kernel 6.1"),
]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(("governors", "kernel", "lag_s"), BOARDS)
def test_killed_at_any_point_everything_is_given_back(tmp_path, governors, kernel, lag_s, after):
    count = 1
    while True:
        tree, folder = a_board(governors, kernel, lag_s), tmp_path / str(count)
        before = knob_texts(tree)
        if lives_through(tree, folder, count, after):
            break
        done = journal_of(tree, folder).restore_abandoned()
        tree.clock.advance_s(1.0)
        assert (done.left, done.failed) == ({}, {}), count
        assert knob_texts(tree) == before, count
        assert not (folder / "lease.json").exists()
        count += 1
    assert count > 40
    tree.clock.advance_s(1.0)
    assert knob_texts(tree) == before


@pytest.mark.parametrize(("governors", "kernel", "lag_s"), BOARDS)
def test_killed_while_it_gives_back_what_a_killed_one_left(tmp_path, governors, kernel, lag_s):
    count = 1
    while True:
        tree, folder = a_board(governors, kernel, lag_s), tmp_path / str(count)
        before = knob_texts(tree)
        assert not lives_through(tree, folder, 35, after=False)
        late = journal_of(tree, folder)
        try:
            with killing(tree, count, after=False):
                late.restore_abandoned()
        except Killed:
            die(tree, folder)
            done = journal_of(tree, folder).restore_abandoned()
            tree.clock.advance_s(1.0)
            assert (done.left, done.failed) == ({}, {}), count
            assert knob_texts(tree) == before, count
            count += 1
        else:
            break
    assert count > 3
    tree.clock.advance_s(1.0)
    assert knob_texts(tree) == before


@pytest.mark.parametrize(("governors", "kernel", "lag_s"), BOARDS)
def test_killed_at_any_point_the_next_process_starts_from_what_was(tmp_path, governors, kernel, lag_s):
    for count in range(1, 60, 7):
        tree, folder = a_board(governors, kernel, lag_s), tmp_path / str(count)
        before = knob_texts(tree)
        next_lease = lease_on(tree, folder)
        if lives_through(tree, folder, count, after=True):
            break
        live(tree, started=8000)
        work(tree, folder, next_lease)
        tree.clock.advance_s(1.0)
        assert knob_texts(tree) == before, count


@pytest.mark.parametrize(("governors", "kernel", "lag_s"), BOARDS)
def test_killed_at_any_point_what_somebody_else_set_since_is_left(tmp_path, governors, kernel, lag_s):
    left = 0
    for count in range(40, 70, 3):
        tree, folder = a_board(governors, kernel, lag_s), tmp_path / str(count)
        before = knob_texts(tree)
        if lives_through(tree, folder, count, after=True):
            break
        tree.clock.advance_s(1.0)
        theirs = f"{GPU}/max_freq"
        try:
            put(tree, theirs, "511000000")
        except OSError:  # kernel 4.9, and our minimum lies above it
            continue
        done = journal_of(tree, folder).restore_abandoned()
        tree.clock.advance_s(1.0)
        assert done.failed == {}, count
        assert knob_texts(tree) == {**before, theirs: "511000000"}, count
        left += 1
    assert left > 1


def test_a_limit_that_shows_only_after_its_writer_died_is_put_back(tmp_path):
    tree, folder = a_machine(), tmp_path / "run"
    policy = tree.add_cpufreq_policy(0, governors=BY_LIMITS)
    policy.limits_lag_s = 0.01
    lease = lease_on(tree, folder)
    with killing(tree, 3, after=True), pytest.raises(Killed):
        lease.set({"cpu": 1000 * MHZ})  # the journal, a note, and the minimum is written
    assert policy.limits_khz == (600_000, 1_500_000)
    die(tree, folder, lease)
    journal_of(tree, folder).restore_abandoned()
    tree.clock.advance_s(1.0)
    assert policy.limits_khz == (600_000, 1_500_000)
