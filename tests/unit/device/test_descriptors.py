"""What is opened for clocks is closed again; and they are not forgotten where the machine is short of everything."""

import errno
import json
import os
from pathlib import Path

import pytest
from clock_machines import (
    BOOT_ID,
    CPUFREQ,
    a_machine,
    die,
    fail_with,
    journal_of,
    knob_texts,
    lease_on,
    live,
    plain_limits,
    plain_policy,
)

from edgeexit.device import journal as journal_module
from edgeexit.device.host import HostDevice, machine_journal
from edgeexit.device.lease import Lease
from edgeexit.device.sysfs import Tree
from edgeexit.errors import ClocksUnavailable, JournalError

MHZ = 1_000_000
POLICY0 = f"{CPUFREQ}/policy0"
STAT = f"/proc/{os.getpid()}/stat"
SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


@pytest.fixture
def tree():
    machine = a_machine()
    machine.add_cpufreq_policy(0)
    return machine


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


def open_under(folder):
    """Return which files under a folder this process has open."""
    links = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [link for link in links if link.startswith(f"{folder}/")]


def switch_cores(tree, *, online):
    policy = tree.policies[0]
    for cpu in policy.spec.cpus:
        policy.set_cpu_online(cpu, online)


def left_behind(tree, folder):
    """Set a clock and die; return what every file held before."""
    before = knob_texts(tree)
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1000 * MHZ})
    die(tree, folder, lease)
    live(tree, started=8000)
    return before


# --- nothing stays open ------------------------------------------------------------------------------


def test_a_machine_that_is_closed_has_no_file_of_a_clock_open(tmp_path):
    plain_policy(tmp_path)
    with HostDevice(tree=Tree(tmp_path), run_folder=tmp_path / "run", nvml=False) as device:
        assert device.domains["cpu"].read_hz() == 1000 * MHZ
        assert open_under(tmp_path) != []
    assert open_under(tmp_path) == []


def test_clocks_that_are_set_and_given_back_leave_no_file_open(tmp_path):
    plain_policy(tmp_path)
    with HostDevice(tree=Tree(tmp_path), run_folder=tmp_path / "run", nvml=False) as device:
        journal = machine_journal(device.tree, device.run_folder)
        with Lease(device.domains, journal=journal, clock=device.clock) as lease:
            assert lease.set({"cpu": 1500 * MHZ})
    assert plain_limits(tmp_path) == ("1000000", "1900000")
    assert open_under(tmp_path) == []


def test_playing_back_a_dead_process_journal_leaves_no_file_open(tree, folder):
    before = left_behind(tree, folder)
    opened = set(tree._open)
    journal_of(tree, folder).restore_abandoned()
    assert knob_texts(tree) == before
    assert set(tree._open) == opened


def test_a_clock_that_cannot_be_given_back_costs_no_descriptor_however_often_it_is_tried(tree, folder):
    left_behind(tree, folder)
    switch_cores(tree, online=False)
    opened = set(tree._open)
    for _ in range(20):
        assert journal_of(tree, folder).restore_abandoned().failed
    assert set(tree._open) == opened


# --- what the machine is short of ------------------------------------------------------------------------


def fails(tree, path, code, times=1):
    """Let a file answer an errno so many times; return what it is like afterwards."""
    text, left = tree.read(path), [times]

    def show():
        if left[0]:
            left[0] -= 1
            raise OSError(code, os.strerror(code), path)
        return f"{text}\n"

    tree.add_file(path, show, 0o644)


@pytest.mark.parametrize("code", SHORT)
def test_a_boot_that_cannot_be_told_for_now_is_no_earlier_one_and_the_clocks_come_back(tree, folder, code):
    before = left_behind(tree, folder)
    fails(tree, BOOT_ID, code)
    with pytest.raises(JournalError, match="cannot be read for now"):
        journal_of(tree, folder).restore_abandoned()
    assert (folder / "lease.json").exists()
    journal_of(tree, folder).restore_abandoned()
    assert knob_texts(tree) == before


@pytest.mark.parametrize("code", SHORT)
def test_a_holder_of_which_nothing_can_be_told_for_now_keeps_its_clocks(tree, folder, code):
    with lease_on(tree, folder) as lease:
        lease.set({"cpu": 1000 * MHZ})
        held = knob_texts(tree)
        fails(tree, STAT, code)
        with pytest.raises(JournalError, match="cannot be read for now"):
            journal_of(tree, folder).restore_abandoned()
        assert knob_texts(tree) == held


@pytest.mark.parametrize("code", SHORT)
def test_no_journal_is_written_that_does_not_say_of_which_boot_it_is(tree, folder, code):
    fails(tree, BOOT_ID, code)
    before = knob_texts(tree)
    lease = lease_on(tree, folder)
    with pytest.warns(ClocksUnavailable, match="cannot be read for now"):
        assert lease.set({"cpu": 1000 * MHZ}) == ()
    assert not (folder / "lease.json").exists()
    lease.close()
    assert knob_texts(tree) == before


def test_a_kernel_that_does_not_say_which_boot_it_is_can_be_worked_with_as_before(tree, folder):
    tree.add_failing(BOOT_ID, errno.EACCES)
    before = left_behind(tree, folder)
    journal_of(tree, folder).restore_abandoned()
    assert knob_texts(tree) == before


def give_back_with_a_full_disk(tree, folder, monkeypatch):
    """Give clocks back while one cannot be, and no journal can be written that says so; return what was before."""
    before = knob_texts(tree)
    lease = lease_on(tree, folder)
    lease.set({"cpu": 1000 * MHZ})
    switch_cores(tree, online=False)
    with monkeypatch.context() as patch:
        patch.setattr(journal_module, "create_file", fail_with(errno.ENOSPC))
        lease.close()
    switch_cores(tree, online=True)
    assert knob_texts(tree) != before
    return before


def test_what_a_full_disk_kept_from_being_given_back_this_process_can_give_back_later(tree, folder, monkeypatch):
    before = give_back_with_a_full_disk(tree, folder, monkeypatch)
    assert not journal_of(tree, folder).restore_abandoned().failed
    assert knob_texts(tree) == before
    assert not (folder / "lease.json").exists()


def test_after_a_full_disk_the_same_process_can_take_the_clocks_again(tree, folder, monkeypatch):
    before = give_back_with_a_full_disk(tree, folder, monkeypatch)
    with lease_on(tree, folder) as lease:
        assert lease.set({"cpu": 1500 * MHZ})[0].effective_hz == 1500 * MHZ
    assert knob_texts(tree) == before


def test_a_journal_that_is_let_go_in_its_place_says_so_and_nothing_else_of_it_changes(tree, folder, monkeypatch):
    before = lease_on(tree, folder)
    before.set({"cpu": 1000 * MHZ})
    held = (folder / "lease.json").read_bytes()
    before.close()
    give_back_with_a_full_disk(tree, folder, monkeypatch)
    left = (folder / "lease.json").read_bytes()
    assert len(left) == len(held)
    assert json.loads(left) == {**json.loads(held), "pid": 0, "pid_started": 0}


def test_a_folder_that_cannot_be_listed_for_now_does_not_keep_clocks_from_coming_back(tree, folder, monkeypatch):
    before = left_behind(tree, folder)
    monkeypatch.setattr(Path, "glob", fail_with(errno.EMFILE))
    journal_of(tree, folder).restore_abandoned()
    assert knob_texts(tree) == before
