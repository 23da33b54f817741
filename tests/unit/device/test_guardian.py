import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from clock_machines import plain_limits, plain_policy

from edgeexit.device import guardian
from edgeexit.device.guardian import Guardian, main, wait_for_death
from edgeexit.device.processes import is_alive, read_mark
from edgeexit.device.sysfs import Tree

LONG_S = 60.0
"""Longer than anything here takes; a test that waits so long has failed."""
BEFORE = ("1000000", "1900000")
OWNER = """
import sys
from pathlib import Path
from edgeexit.device.cpufreq import find_cpufreq
from edgeexit.device.guardian import Guardian
from edgeexit.device.journal import FileJournal
from edgeexit.device.knobs import open_knob
from edgeexit.device.lease import Lease
from edgeexit.device.sysfs import Tree
root, run = Path(sys.argv[1]), Path(sys.argv[2])
tree = Tree(root)
guardians = []
def watch():
    guardian = Guardian(run, root)
    guardians.append(guardian.pid)
    return guardian
journal = FileJournal(lambda key: open_knob(tree, key), run, watch=watch)
with Lease({domain.name: domain for domain in find_cpufreq(tree)}, journal=journal) as lease:
    lease.set({"cpu": 1_200_000_000})
    lease.set({"cpu": 1_700_000_000})
    print(*guardians, flush=True)
    sys.stdin.read(1)
"""


@pytest.fixture
def root(tmp_path):
    plain_policy(tmp_path / "machine")
    return tmp_path / "machine"


@pytest.fixture
def run(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def owner(root, run):
    """A process that holds a lease, and its guardian's mark."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(root), str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    watcher = int(process.stdout.readline())
    yield process, read_mark(Tree(), watcher)
    process.kill()
    process.communicate()


def until(condition):
    end_s = time.monotonic() + LONG_S
    while not condition() and time.monotonic() < end_s:
        time.sleep(0.005)
    return condition()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_clocks_of_a_process_that_is_killed_are_given_back(owner, root, run, number):
    process, watcher = owner
    assert plain_limits(root) == ("1700000", "1700000")
    process.send_signal(number)
    assert until(lambda: not (run / "lease.json").exists())
    assert plain_limits(root) == BEFORE
    assert until(lambda: not is_alive(Tree(), watcher))


def test_a_guardian_outlives_what_kills_the_owners_process_group(root, run):
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(root), str(run)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert until(lambda: not (run / "lease.json").exists())
    assert plain_limits(root) == BEFORE


def test_an_orderly_end_leaves_no_guardian_behind(owner, root, run):
    process, watcher = owner
    assert is_alive(Tree(), watcher)
    process.communicate(b"x")
    assert process.returncode == 0
    assert not is_alive(Tree(), watcher)
    assert plain_limits(root) == BEFORE
    assert sorted(path.name for path in run.iterdir()) == ["lock"]


def test_while_the_owner_lives_its_guardian_leaves_everything_as_it_is(owner, root, run):
    process, watcher = owner
    process.send_signal(signal.SIGSTOP)  # stopped is not dead
    assert is_alive(Tree(), watcher)
    assert plain_limits(root) == ("1700000", "1700000")
    assert (run / "lease.json").exists()
    process.send_signal(signal.SIGCONT)


def test_what_somebody_else_has_set_is_left_by_the_guardian_too(owner, root, run):
    process, _ = owner
    path = root / "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq"
    path.write_text("1800000", encoding="ascii")
    process.kill()
    assert until(lambda: not (run / "lease.json").exists())
    assert plain_limits(root) == ("1000000", "1800000")


def test_closing_ends_the_process_and_a_second_time_does_nothing(run):
    watcher = Guardian(run)
    mark = read_mark(Tree(), watcher.pid)
    watcher.close()
    watcher.close()
    assert not is_alive(Tree(), mark)
    assert watcher.pid is None


def test_where_no_process_can_be_started_the_clocks_are_set_all_the_same(run, monkeypatch, caplog):
    monkeypatch.setattr(guardian.sys, "executable", "/no/such/python")
    watcher = Guardian(run)
    assert "nothing watches over the clocks" in caplog.text
    watcher.close()


def test_a_process_that_is_no_child_of_the_owner_does_not_wait():
    wait_for_death(os.getpid())


def test_a_process_that_is_dead_already_is_not_waited_for():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    wait_for_death(child.pid)


def test_a_guardian_that_comes_too_late_gives_back_at_once(run, tmp_path):
    main(2**22 + 1, str(run), str(tmp_path))
    assert not (run / "lease.json").exists()


@pytest.fixture
def parent():
    """A process that lives until it is told to end; this one is taken for its child."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.communicate()


@pytest.mark.parametrize("pidfd", ["there", "refused", "missing"])
def test_the_death_of_the_parent_is_waited_for_whatever_the_kernel_can_do(parent, monkeypatch, pidfd):
    monkeypatch.setattr(guardian.os, "getppid", lambda: parent.pid)
    if pidfd == "refused":
        monkeypatch.setattr(guardian.os, "pidfd_open", refuse)
    if pidfd == "missing":
        monkeypatch.delattr(guardian.os, "pidfd_open")
    polls = []

    def end_the_parent(duration_s):
        polls.append(duration_s)
        parent.communicate(b"\n")

    if pidfd == "there":
        monkeypatch.setattr(guardian.select, "select", lambda *_arguments: end_the_parent(0.0))
    monkeypatch.setattr(guardian.time, "sleep", end_the_parent)
    wait_for_death(parent.pid)
    assert parent.returncode == 0
    assert polls == [0.0 if pidfd == "there" else 0.25]


def refuse(_pid):
    raise OSError(38, "Function not implemented")


def test_it_finds_the_package_although_the_current_folder_is_the_root():
    assert (Path(guardian.__file__).resolve().parents[2] / "edgeexit" / "device" / "guardian.py").exists()
