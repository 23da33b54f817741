import pytest

from edgeexit.device.rivals import find_rivals
from edgeexit.testing.fake_sysfs import FakeTree


@pytest.fixture
def tree():
    machine = FakeTree()
    run(machine, 1, "systemd", "/sbin/init")
    run(machine, 77, "bash", "-bash")
    machine.add_file("/proc/uptime", "1 1\n")
    return machine


def run(tree, pid, comm, *arguments):
    tree.add_file(f"/proc/{pid}/comm", f"{comm}\n")
    tree.add_file(f"/proc/{pid}/cmdline", "\0".join(arguments) + "\0")


def found(tree):
    return [(rival.name, rival.pid) for rival in find_rivals(tree)]


def test_a_quiet_machine_has_none(tree):
    assert find_rivals(tree) == ()


def test_a_machine_without_proc_has_none():
    assert find_rivals(FakeTree()) == ()


@pytest.mark.parametrize(
    ("comm", "name"),
    [
        ("tuned", "tuned"),
        ("auto-cpufreq", "auto-cpufreq"),
        ("power-profiles-", "power-profiles-daemon"),
        ("cpupower-gui-he", "cpupower-gui-helper"),
        ("thermald", "thermald"),
        ("gamemoded", "gamemoded"),
        ("system76-power", "system76-power"),
    ],
)
def test_a_daemon_is_told_by_the_name_that_the_kernel_keeps_15_letters_of(tree, comm, name):
    run(tree, 500, comm, f"/usr/bin/{name}")
    assert found(tree) == [(name, 500)]


def test_a_daemon_that_is_a_python_script_is_told_by_its_arguments(tree):
    run(tree, 600, "python3", "/usr/bin/python3", "-Es", "/usr/sbin/tuned", "-l", "-P")
    run(tree, 601, "python3.11", "/opt/venv/bin/python", "/usr/local/bin/auto-cpufreq", "--daemon")
    assert found(tree) == [("auto-cpufreq", 601), ("tuned", 600)]


def test_a_python_program_that_works_on_a_file_of_that_name_later_is_none(tree):
    run(tree, 600, "python3", "python3", "train.py", "--data", "x", "tuned")
    assert find_rivals(tree) == ()


def test_another_program_with_such_an_argument_is_none(tree):
    run(tree, 600, "vim", "vim", "/etc/tuned")
    assert find_rivals(tree) == ()


def test_each_says_what_it_does_and_how_it_is_stopped(tree):
    run(tree, 500, "power-profiles-", "x")
    (rival,) = find_rivals(tree)
    assert rival.mend == "sudo systemctl stop power-profiles-daemon"
    assert rival.why == "sets the energy preference and the platform profile"


def test_a_daemon_of_the_users_own_is_stopped_as_one(tree):
    run(tree, 500, "gamemoded", "gamemoded")
    assert find_rivals(tree)[0].mend == "sudo systemctl --user stop gamemoded"


def test_tlp_is_told_by_what_it_leaves_behind(tree):
    tree.add_file("/run/tlp/last_pwr", "0\n")
    (rival,) = find_rivals(tree)
    assert (rival.name, rival.pid) == ("tlp", None)
    assert rival.mend == "sudo systemctl mask --now tlp"


def test_a_tlp_that_runs_is_named_once(tree):
    tree.add_file("/run/tlp/last_pwr", "0\n")
    run(tree, 500, "tlp", "tlp")
    assert found(tree) == [("tlp", 500)]


def test_clocks_that_jetson_clocks_has_pinned_are_named(tree):
    tree.add_file("/root/l4t_dfs.conf", "x\n")
    (rival,) = find_rivals(tree)
    assert rival.name == "jetson_clocks"
    assert rival.mend == "sudo jetson_clocks --restore"


def test_a_process_that_ends_while_it_is_looked_at_does_no_harm(tree):
    tree.add_folder("/proc/900")
    run(tree, 901, "python3", "python3", "/usr/sbin/tuned")
    tree.remove("/proc/901/cmdline")
    assert find_rivals(tree) == ()


def test_a_script_that_is_only_told_such_a_name_is_no_rival():
    tree = FakeTree()
    tree.add_file("/proc/77/comm", "python3\n")
    tree.add_file("/proc/77/cmdline", "/usr/bin/python3\0manage.py\0tuned\0")
    assert find_rivals(tree) == ()
