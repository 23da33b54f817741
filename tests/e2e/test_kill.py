"""kill -9 at random moments, and every clock is given back: over FUSE, so by true system calls and a real process."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeexit.device.cpufreq import find_cpufreq
from edgeexit.device.devfreq import find_devfreq
from edgeexit.device.host import HostDevice
from edgeexit.device.journal import FileJournal
from edgeexit.device.knobs import open_knob
from edgeexit.device.lease import Lease
from edgeexit.device.sysfs import Tree
from edgeexit.errors import ClocksUnavailable
from edgeexit.testing.fake_sysfs import FakeTree
from edgeexit.testing.fuse import mounted, why_not

WORKER = Path(__file__).parent.parent / "clock_worker.py"
LONGEST_S = 0.06
TUNABLE = "/sys/devices/system/cpu/cpufreq/schedutil/rate_limit_us"
"""The kernel forgets it when the governor changes; here it is not what it is by default."""
pytestmark = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")


def board(*, kernel=(6, 1), userspace=True):
    """A big.LITTLE processor and a GPU: three clock domains."""
    governors = ("schedutil", "performance", *(("userspace",) if userspace else ()))
    tree = FakeTree()
    tree.add_cpufreq_policy(0, cpus=(0, 1), governors=governors, governor="schedutil", kernel=kernel)
    table = (500_000, 900_000, 1_300_000, 1_700_000, 2_100_000)
    tree.add_cpufreq_policy(
        2,
        cpus=(2, 3),
        table_khz=table,
        limit_max_khz=1_700_000,
        governors=governors,
        governor="schedutil",
        kernel=kernel,
    )
    tree.add_devfreq(kernel=kernel)
    return tree


def domains_of(tree):
    return {domain.name: domain for domain in (*find_cpufreq(tree), *find_devfreq(tree))}


def settings_of(tree):
    """Every file that a clock is set by, whichever way it is set."""
    policies = [f"/sys/devices/system/cpu/cpufreq/policy{number}" for number in (0, 2)]
    files = [f"{policy}/scaling_{part}" for policy in policies for part in ("governor", "min_freq", "max_freq")]
    files += [f"/sys/class/devfreq/17000000.gv11b/{part}" for part in ("governor", "min_freq", "max_freq")]
    files += [TUNABLE] if tree.exists(TUNABLE) else []
    return {path: tree.read(path) for path in files}


def journal_of(tree, folder):
    return FileJournal(lambda key: open_knob(tree, key), folder)


def start_worker(root, run_folder, *options):
    command = [sys.executable, str(WORKER), str(root), str(run_folder), *options]
    worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert "setting" in worker.stdout.readline()
    return worker


def kill(worker):
    worker.kill()
    worker.wait()
    worker.stdout.close()


@pytest.mark.parametrize(
    ("options", "rounds"),
    [({}, 80), ({"userspace": False}, 80), ({"userspace": False, "kernel": (4, 9)}, 50)],
    ids=["userspace", "limits", "limits on an old kernel"],
)
def test_every_clock_is_given_back_after_kill_at_any_moment(tmp_path, options, rounds):
    folder, run = tmp_path / "machine", tmp_path / "run"
    folder.mkdir()
    with mounted(board(**options), folder) as machine:
        machine.tree.open_attribute(TUNABLE).write("4321")
        before = settings_of(machine.tree)
        moments = random.Random(7)
        for _ in range(rounds):
            worker = start_worker(folder, run)
            time.sleep(moments.uniform(0.0, LONGEST_S))
            kill(worker)
            assert settings_of(machine.tree) != before
            done = journal_of(machine.tree, run).restore_abandoned()
            assert not done.failed
            assert settings_of(machine.tree) == before
            assert not (run / "lease.json").exists()


def test_what_somebody_else_has_set_since_is_left_alone(tmp_path):
    folder, run = tmp_path / "machine", tmp_path / "run"
    folder.mkdir()
    with mounted(board(userspace=False), folder) as machine:
        machine.tree.open_attribute(TUNABLE).write("4321")
        before = settings_of(machine.tree)
        moments = random.Random(11)
        for _ in range(20):
            worker = start_worker(folder, run)
            time.sleep(moments.uniform(0.0, LONGEST_S))
            kill(worker)
            theirs = "/sys/class/devfreq/17000000.gv11b/max_freq"
            machine.tree.open_attribute(theirs).write("450000000")
            done = journal_of(machine.tree, run).restore_abandoned()
            assert not done.failed
            assert done.left["devfreq/17000000.gv11b/max_freq"] == "450000000"
            assert settings_of(machine.tree) == {**before, theirs: "450000000"}
            machine.tree.open_attribute(theirs).write(before[theirs])
            machine.tree.open_attribute(theirs.replace("max", "min")).write(before[theirs.replace("max", "min")])


def test_the_next_edgeexit_gives_back_what_a_killed_one_left(tmp_path):
    folder, run = tmp_path / "machine", tmp_path / "run"
    folder.mkdir()
    with mounted(board(), folder) as machine:
        machine.tree.open_attribute(TUNABLE).write("4321")
        before = settings_of(machine.tree)
        kill(start_worker(folder, run))
        with HostDevice(tree=machine.tree, run_folder=run, nvml=False) as host:
            assert settings_of(machine.tree) == before
            with Lease(host.domains, journal=host.journal) as lease:
                assert lease.set({name: domain.operating_points_hz[0] for name, domain in host.domains.items()})
                assert not lease.observe_only
        assert settings_of(machine.tree) == before


def test_the_guardian_gives_back_what_a_killed_one_left(tmp_path):
    folder, run = tmp_path / "machine", tmp_path / "run"
    folder.mkdir()
    with mounted(board(), folder) as machine:
        machine.tree.open_attribute(TUNABLE).write("4321")
        before = settings_of(machine.tree)
        for _ in range(10):
            kill(start_worker(folder, run, "guarded"))
            end_s = time.monotonic() + 30.0
            while (run / "lease.json").exists() and time.monotonic() < end_s:
                time.sleep(0.01)
            assert settings_of(machine.tree) == before


def test_a_living_process_keeps_its_clocks(tmp_path):
    folder, run = tmp_path / "machine", tmp_path / "run"
    folder.mkdir()
    with mounted(board(), folder) as machine:
        worker = start_worker(folder, run)
        try:
            domains = domains_of(machine.tree)
            with (
                pytest.warns(ClocksUnavailable, match=f"process {worker.pid} .*holds the clocks"),
                Lease(domains, journal=journal_of(machine.tree, run)) as lease,
            ):
                lease.set({name: domain.operating_points_hz[0] for name, domain in domains.items()})
            assert lease.observe_only
            assert worker.poll() is None
        finally:
            kill(worker)


@pytest.fixture
def full_disk(tmp_path):
    """A file system of a few pages, filled to the last byte."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system that can be full")
    folder = tmp_path / "full"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)], check=True)
    try:
        (folder / "lock").touch()
        with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(b"x" * 4096)
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_with_a_full_disk_no_clock_is_ever_written(tmp_path, full_disk):
    folder = tmp_path / "machine"
    folder.mkdir()
    with mounted(board(), folder) as machine:
        domains = domains_of(machine.tree)
        lease = Lease(domains, journal=journal_of(machine.tree, full_disk))
        with pytest.warns(ClocksUnavailable, match="No space left"):
            lease.set({name: domain.operating_points_hz[0] for name, domain in domains.items()})
        for index in (1, 2, 0):  # a warning here would be an error: see pyproject.toml
            lease.set({name: domain.operating_points_hz[index] for name, domain in domains.items()})
        lease.close()
        assert machine.writes() == ()
        assert sorted(path.name for path in full_disk.iterdir()) == ["filler", "lock"]


def test_with_a_journal_that_cannot_be_written_no_clock_is_ever_written(tmp_path):
    folder = tmp_path / "machine"
    folder.mkdir()
    (tmp_path / "run").write_text("a file where the folder should be", encoding="utf-8")
    with mounted(board(), folder) as machine:
        domains = domains_of(machine.tree)
        lease = Lease(domains, journal=journal_of(machine.tree, tmp_path / "run"))
        with pytest.warns(ClocksUnavailable, match="cannot be kept in"):
            lease.set({name: domain.operating_points_hz[0] for name, domain in domains.items()})
        lease.close()
        assert machine.writes() == ()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_command_that_is_told_to_end_gives_its_clocks_back(tmp_path, number):
    folder, run = tmp_path / "machine", tmp_path / "run"
    folder.mkdir()
    script = (
        "import sys; from edgeexit.cli.ending import orderly_end\n"
        f"sys.path.insert(0, {str(WORKER.parent)!r}); import clock_worker\n"
        "with orderly_end(): clock_worker.main(*sys.argv[1:])"
    )
    with mounted(board(), folder) as machine:
        machine.tree.open_attribute(TUNABLE).write("4321")
        before = settings_of(machine.tree)
        worker = subprocess.Popen(
            [sys.executable, "-c", script, str(folder), str(run)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert "setting" in worker.stdout.readline()
        worker.send_signal(number)
        worker.wait(timeout=60)
        worker.stdout.close()
        assert settings_of(machine.tree) == before
        assert not (run / "lease.json").exists()


def test_the_journal_of_a_killed_process_can_be_read_by_a_person(tmp_path):
    folder, run = tmp_path / "machine", tmp_path / "run"
    folder.mkdir()
    with mounted(board(), folder):
        kill(start_worker(folder, run))
        document = json.loads((run / "lease.json").read_text(encoding="ascii"))
        was = {knob["key"]: knob["was"] for knob in document["knobs"]}
        assert was["cpufreq/policy0/scaling_governor"] == "schedutil"
        assert was["devfreq/17000000.gv11b/max_freq"] == "612000000"
        journal_of(Tree(folder), run).restore_abandoned()
