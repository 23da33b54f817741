import os
import signal
import subprocess
import sys

import pytest
from clock_machines import BOOT_ID, live

from edgeexit.device.processes import ProcessMark, is_alive, read_boot_id, read_mark
from edgeexit.device.sysfs import Tree
from edgeexit.testing.fake_sysfs import FakeTree


@pytest.fixture
def tree():
    return FakeTree()


def test_this_process_lives():
    mark = read_mark(Tree(), os.getpid())
    assert mark.pid == os.getpid()
    assert mark.started > 0
    assert is_alive(Tree(), mark)


def test_a_process_that_is_not_there_has_no_mark(tree):
    assert read_mark(tree, 4711) is None


def test_a_name_with_brackets_and_spaces_does_not_mislead(tree):
    live(tree, started=123456)  # its name there is "py (thon) 3"
    assert read_mark(tree, os.getpid()) == ProcessMark(os.getpid(), 123456)


def test_another_process_with_the_same_id_is_another_process(tree):
    live(tree, started=100)
    mark = read_mark(tree, os.getpid())
    live(tree, started=200)
    assert not is_alive(tree, mark)


@pytest.mark.parametrize("state", ["Z", "X", "x"])
def test_a_zombie_is_dead(tree, state):
    live(tree, state=state)
    assert read_mark(tree, os.getpid()) is None


@pytest.mark.parametrize("state", ["R", "S", "D", "T", "t", "I"])
def test_a_process_that_sleeps_or_is_stopped_lives(tree, state):
    live(tree, state=state)
    assert read_mark(tree, os.getpid()) is not None


def test_a_line_that_is_cut_short_is_no_process(tree):
    tree.add_file("/proc/7/stat", "7 (x) S 1 7\n")
    assert read_mark(tree, 7) is None


def test_a_real_child_is_alive_until_it_is_killed_also_before_it_is_waited_for():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    mark = read_mark(Tree(), child.pid)
    assert is_alive(Tree(), mark)
    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and a zombie still
    assert not is_alive(Tree(), mark)
    child.communicate()
    assert not is_alive(Tree(), mark)


def test_the_boot_has_a_name(tree):
    tree.add_file(BOOT_ID, "0c2e0000-boot\n")
    assert read_boot_id(tree) == "0c2e0000-boot"


def test_a_kernel_that_does_not_name_its_boot_gives_an_empty_text(tree):
    assert read_boot_id(tree) == ""
