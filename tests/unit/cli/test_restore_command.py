import json
from types import SimpleNamespace

import pytest
from clock_machines import CPUFREQ, a_machine, die, journal_of, knob_texts, put

from edgeexit.cli import main
from edgeexit.device.cpufreq import find_cpufreq
from edgeexit.device.lease import Lease
from edgeexit.device.restoring import Restoration

POLICY0 = f"{CPUFREQ}/policy0"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "run"


@pytest.fixture
def tree(folder, monkeypatch):
    machine = a_machine()
    machine.add_cpufreq_policy(0, governors=("ondemand", "performance"))
    monkeypatch.setattr("edgeexit.device.host.machine_journal", lambda: journal_of(machine, folder))
    return machine


def set_clocks(tree, folder):
    lease = Lease({domain.name: domain for domain in find_cpufreq(tree)}, journal=journal_of(tree, folder))
    lease.set({"cpu": 1_000_000_000})
    return lease


def test_where_nothing_was_left_changed_it_says_so_and_succeeds(tree, capsys):
    assert main(["restore"]) == 0
    assert capsys.readouterr().out == "nothing to put back: no edgeexit left clocks changed\n"


def test_clocks_that_a_killed_process_left_are_put_back_and_named(tree, folder, capsys):
    before = knob_texts(tree)
    die(tree, folder, set_clocks(tree, folder))
    assert main(["restore"]) == 0
    assert capsys.readouterr().out == (
        "put back   cpufreq/policy0/scaling_min_freq\nput back   cpufreq/policy0/scaling_max_freq\n"
    )
    assert knob_texts(tree) == before
    assert main(["restore"]) == 0
    assert "nothing to put back" in capsys.readouterr().out


def test_what_somebody_else_has_set_since_is_left_and_named(tree, folder, capsys):
    die(tree, folder, set_clocks(tree, folder))
    put(tree, f"{POLICY0}/scaling_max_freq", "1500000")
    put(tree, f"{POLICY0}/scaling_min_freq", "750000")
    assert main(["restore"]) == 0
    assert (
        "left alone cpufreq/policy0/scaling_min_freq: it is 750000, set by somebody else since\n"
        in capsys.readouterr().out
    )
    assert tree.read(f"{POLICY0}/scaling_min_freq") == "750000"


def test_what_has_no_device_any_more_is_not_said_to_be_set_by_somebody(monkeypatch, capsys):
    done = Restoration(left={"devfreq/17000000.gpu/max_freq": "gone"})
    monkeypatch.setattr("edgeexit.device.host.machine_journal", lambda: SimpleNamespace(restore_abandoned=lambda: done))
    assert main(["restore"]) == 0
    assert capsys.readouterr().out == "left alone devfreq/17000000.gpu/max_freq: its device is gone\n"


def test_what_cannot_be_put_back_is_an_error_and_can_be_tried_again(tree, folder, capsys):
    die(tree, folder, set_clocks(tree, folder))
    tree.policies[0].online = False
    assert main(["restore"]) == 5
    out = capsys.readouterr().out
    assert out.startswith("failed     cpufreq/policy0/scaling_min_freq: ")
    assert "busy" in out
    tree.policies[0].online = True
    assert main(["restore"]) == 0
    assert tree.policies[0].limits_khz == (600_000, 1_500_000)


def test_json_has_all_three(tree, folder, capsys):
    die(tree, folder, set_clocks(tree, folder))
    assert main(["restore", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "restored": ["cpufreq/policy0/scaling_min_freq", "cpufreq/policy0/scaling_max_freq"],
        "left": {},
        "failed": {},
    }


def test_json_of_nothing_is_three_empty_ones(tree, capsys):
    assert main(["restore", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"restored": [], "left": {}, "failed": {}}


def test_the_clocks_of_a_process_that_lives_are_its_own(tree, folder, capsys):
    with set_clocks(tree, folder):
        assert main(["restore"]) == 5
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "edgeexit: error: another session of this process holds the clocks of this machine" in captured.err
        assert tree.policies[0].limits_khz == (1_000_000, 1_000_000)


def test_a_damaged_journal_takes_one_line_and_stays(tree, folder, capsys):
    folder.mkdir()
    (folder / "lease.json").write_text("{", encoding="ascii")
    assert main(["restore"]) == 5
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be read" in line
    assert "delete it" in line
    assert (folder / "lease.json").exists()


def test_the_journal_of_this_machine_is_the_one_in_run(capsys):
    from edgeexit.device.host import machine_journal

    assert str(machine_journal().path) == "/run/edgeexit/lease.json"
