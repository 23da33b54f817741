"""clockd and its client as processes, killed, stopped and started again: by true system calls on a fake kernel."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from clockd_machine import ask, connected, until, warned

import edgeexit
from edgeexit.daemon.clockd.client import ClockdLease
from edgeexit.device.host import HostDevice
from edgeexit.device.journal import FileJournal
from edgeexit.device.knobs import open_knob
from edgeexit.testing.fake_sysfs import FakeTree
from edgeexit.testing.fuse import mounted, why_not

HERE = Path(__file__).parent.parent
CPU = "/sys/devices/system/cpu/cpufreq/policy0"
GPU = "/sys/class/devfreq/17000000.gv11b"
FILES = [f"{CPU}/scaling_{part}" for part in ("governor", "min_freq", "max_freq")]
FILES += [f"{GPU}/{part}" for part in ("min_freq", "max_freq")]
FILES += ["/sys/devices/system/cpu/cpufreq/schedutil/rate_limit_us"]
pytestmark = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")


class Machine:
    """A mounted machine, clockd on it, and clients."""

    def __init__(self, tree, folder, stack):
        self.tree = tree
        self.root, self.run, self.socket = folder / "machine", folder / "run", folder / "clockd.sock"
        self._stack = stack
        self.before = self.settings()

    def settings(self):
        return {path: self.tree.read_or_none(path) for path in FILES}

    def start(self, program, *arguments):
        command = [sys.executable, str(HERE / program), str(self.root), *map(str, arguments)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._stack.callback(end, process)
        assert process.stdout.readline().split()[0] in ("ready", "setting")
        return process

    def clockd(self, silence_s=2.0):
        return self.start("clockd_worker.py", self.run, self.socket, silence_s)

    def client(self):
        client = self.start("clockd_client_worker.py", self.socket)
        assert self.settings() != self.before
        return client

    def device(self):
        return self._stack.enter_context(HostDevice(tree=self.tree, run_folder=self.run.parent / "none", nvml=False))

    def restored(self):
        return until(lambda: self.settings() == self.before)

    def restore(self):
        """Do what ExecStopPost does."""
        return FileJournal(lambda key: open_knob(self.tree, key), self.run).restore_abandoned()


def end(process):
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def machine(tmp_path):
    (tmp_path / "machine").mkdir()
    tree = FakeTree()
    tree.add_cpufreq_policy(0, cpus=(0, 1), governors=("schedutil", "userspace"), governor="schedutil")
    tree.add_devfreq()
    with mounted(tree, tmp_path / "machine") as mount, contextlib.ExitStack() as stack:
        mount.tree.open_attribute(FILES[-1]).write("4321")
        yield Machine(mount.tree, tmp_path, stack)


def test_the_clocks_come_back_when_the_client_is_killed(machine):
    machine.clockd()
    end(machine.client())
    assert machine.restored()


def test_the_guardian_gives_the_clocks_back_when_clockd_is_killed(machine):
    clockd = machine.clockd()
    client = machine.client()
    end(clockd)
    assert machine.restored()
    assert client.poll() is None


def test_the_clocks_come_back_when_both_are_killed_at_once(machine):
    clockd = machine.clockd()
    client = machine.client()
    os.kill(clockd.pid, signal.SIGKILL)
    os.kill(client.pid, signal.SIGKILL)
    assert machine.restored()


def test_a_service_manager_gives_the_clocks_back_that_a_killed_clockd_left(machine):
    clockd = machine.clockd()
    client = machine.client()
    os.kill(client.pid, signal.SIGSTOP)
    end(clockd)
    done = machine.restore()
    assert not done.failed
    assert machine.restored()


def test_the_clocks_come_back_when_the_client_is_stopped(machine):
    machine.clockd(silence_s=0.5)
    client = machine.client()
    os.kill(client.pid, signal.SIGSTOP)
    assert machine.restored()
    assert client.poll() is None


def test_a_client_that_goes_on_takes_the_clocks_again(machine):
    machine.clockd(silence_s=0.5)
    client = machine.client()
    os.kill(client.pid, signal.SIGSTOP)
    assert machine.restored()
    os.kill(client.pid, signal.SIGCONT)
    assert until(lambda: machine.settings() != machine.before)


def test_the_client_goes_on_after_clockd_was_killed_and_started_again(machine):
    clockd = machine.clockd()
    machine.client()
    end(clockd)
    assert machine.restored()
    machine.clockd()
    assert until(lambda: machine.settings() != machine.before)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_clockd_gives_the_clocks_back_when_it_is_told_to_end(machine, number):
    clockd = machine.clockd()
    machine.client()
    clockd.send_signal(number)
    assert clockd.wait(timeout=60) == 0
    assert machine.settings() == machine.before
    assert not (machine.run / "lease.json").exists()
    assert not machine.socket.exists()


def test_what_somebody_else_has_set_since_is_left_alone(machine):
    machine.clockd()
    with connected(machine.socket) as client:
        assert ask(client, op="set", clocks={"gpu": 408_000_000})["ok"]
        machine.tree.open_attribute(f"{GPU}/max_freq").write("510000000")
    assert until(lambda: not (machine.run / "lease.json").exists())
    assert machine.tree.read(f"{GPU}/max_freq") == "510000000"


def test_a_clock_file_that_fails_does_not_end_the_service(machine):
    machine.clockd()
    control = machine.tree.open_attribute("/.control")
    with connected(machine.socket) as client:
        control.write(f"fail_write {CPU}/scaling_governor EIO")
        answer = ask(client, op="set", clocks={"cpu": 1_000_000_000, "gpu": 408_000_000})
        assert list(answer["applied"]) == ["gpu"]
        assert list(answer["not_set"]) == ["cpu"]
        assert ask(client, op="set", clocks={"cpu": 1_000_000_000})["applied"] == {"cpu": 1_000_000_000}
    assert machine.restored()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system that can be full")
def test_while_the_disk_is_full_no_clock_is_set_and_once_it_is_not_clocks_are(machine):
    machine.run.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(machine.run)], check=True)
    try:
        fill(machine.run)
        clockd = machine.clockd()
        with connected(machine.socket) as client:
            answer = ask(client, op="set", clocks={"gpu": 408_000_000})
            assert answer["fault"] == "unavailable"
            assert "No space left" in answer["error"]
            assert machine.settings() == machine.before
            (machine.run / "filler").unlink()
            assert until(lambda: ask(client, op="set", clocks={"gpu": 408_000_000})["ok"])
        assert machine.restored()
        end(clockd)
    finally:
        subprocess.run(["umount", "-l", str(machine.run)], check=True)


def fill(folder):
    """Fill a file system to the last byte, once what is always there is."""
    (folder / "lock").touch()
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(b"x" * 4096)


def test_a_session_answers_alike_with_clockd_and_after_it_was_killed(machine):
    bundle = edgeexit.load_bundle("fashion-resnet")
    with np.load(Path(edgeexit.__file__).parent / "reference" / "fashion-images.npz") as stored:
        images = list(stored["images"][:6].reshape(-1, 1, 1, 28, 28).astype(np.float32) / 255.0)
    device = machine.device()
    governor = Steps()
    clockd = machine.clockd()
    with (
        warned() as texts,
        ClockdLease(machine.socket, device.domains) as lease,
        edgeexit.Session(bundle, device, governor, lease=lease) as session,
    ):
        labels = [session.infer(image).label for image in images]
        assert until(lambda: lease.switch_count > 0)
        end(clockd)
        assert [session.infer(image).label for image in images] == labels
        assert until(lambda: lease.state == "not reachable")
        assert [session.infer(image).label for image in images] == labels
    assert machine.restored()
    assert len(texts) == 1
    assert "clockd is not reachable" in texts[0]


class Steps:
    """Asks for another operating point each time."""

    name = "steps"

    def __init__(self):
        self._count = 0

    def decide(self, observation):
        self._count += 1
        points = observation.operating_points
        return edgeexit.Decision({name: some[self._count % len(some)] for name, some in points.items()})
