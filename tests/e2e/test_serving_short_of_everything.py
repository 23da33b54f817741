"""The true programs without descriptors, disk or anybody to read their log: they go on, and recover by themselves."""

import contextlib
import fcntl
import http.client
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from clockd_machine import ask, connected, until
from serving_process import BOARD, serving

from edgeexit import reference
from edgeexit.testing.fake_sysfs import FakeTree
from edgeexit.testing.fuse import mounted, why_not

HERE = Path(__file__).parent.parent
MODEL = "/v2/models/fashion-resnet"
GPU = "/sys/class/devfreq/17000000.gv11b"
CPU = "/sys/devices/system/cpu/cpufreq/policy0"
FILES = [f"{CPU}/scaling_{part}" for part in ("governor", "min_freq", "max_freq")]
FILES += [f"{GPU}/{part}" for part in ("min_freq", "max_freq")]
FILES += ["/sys/devices/system/cpu/cpufreq/schedutil/rate_limit_us"]
needs_fuse = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system that can be full")


def image_request():
    with np.load(Path(reference.__file__).parent / "fashion-images.npz") as images:
        image = images[images.files[0]][0].astype("float32").reshape(-1)
    return {"inputs": [{"name": "image", "shape": [1, 1, 28, 28], "datatype": "FP32", "data": image.tolist()}]}


def answer_of(daemon, **rest):
    status, _, answer = daemon.ask("POST", f"{MODEL}/infer", image_request(), **rest)
    assert status == 200, answer
    return answer["outputs"]


@contextlib.contextmanager
def kept_connection(port):
    """Yield what asks over one connection, and returns status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60.0)

    def ask_over_it(method, path, document=None):
        connection.request(method, path, body=None if document is None else json.dumps(document))
        answer = connection.getresponse()
        return answer.status, answer.read()

    try:
        yield ask_over_it
    finally:
        connection.close()


def descriptors_of(process):
    return sum(1 for _ in Path(f"/proc/{process.pid}/fd").iterdir())


def leave_descriptors(process, count):
    """Let a process open so many files more than it has now, and no others."""
    wanted = descriptors_of(process) + count
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (wanted, wanted))


# --- descriptors -----------------------------------------------------------------------------------------


@contextlib.contextmanager
def starving(*arguments):
    """Run a daemon with one kept connection, whose descriptors are all taken by others that say nothing."""
    with serving(*arguments) as daemon, kept_connection(daemon.port) as keep:
        assert keep("POST", f"{MODEL}/infer", image_request())[0] == 200
        leave_descriptors(daemon.process, 20)
        full = descriptors_of(daemon.process) + 20
        with contextlib.ExitStack() as others:
            for _ in range(60):
                others.enter_context(socket.create_connection(("127.0.0.1", daemon.port), timeout=60.0))
            assert until(lambda: descriptors_of(daemon.process) >= full)
            yield daemon, keep, others


@pytest.fixture
def starved():
    with starving("fashion-resnet") as daemon_keep_and_others:
        yield daemon_keep_and_others


def test_without_descriptors_requests_metrics_and_state_of_a_kept_connection_are_answered(starved):
    _, keep, _ = starved
    answers = {json.dumps(json.loads(keep("POST", f"{MODEL}/infer", image_request())[1])["outputs"]) for _ in range(20)}
    assert len(answers) == 1
    assert keep("GET", "/metrics")[0] == 200
    assert keep("GET", "/edgeexit/v1/state")[0] == 200


def test_without_descriptors_the_log_is_not_flooded(starved):
    daemon, keep, _ = starved
    lines = len(daemon.lines)
    for _ in range(50):
        assert keep("POST", f"{MODEL}/infer", image_request())[0] == 200
    assert len(daemon.lines) <= lines + 5


def test_without_descriptors_a_bundle_cannot_be_loaded_anew_and_the_one_before_serves_on(starved):
    daemon, keep, others = starved
    daemon.process.send_signal(signal.SIGHUP)
    assert "Too many open files" in daemon.wait_for("so the one before serves on")
    assert keep("POST", f"{MODEL}/infer", image_request())[0] == 200
    before = descriptors_of(daemon.process)
    others.close()
    assert until(lambda: descriptors_of(daemon.process) < before - 15)
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for("all bundles were loaded anew")


def test_a_bundle_that_changed_while_there_were_no_descriptors_is_loaded_once_there_are(tmp_path):
    folder = tmp_path / "bundle"
    shutil.copytree(Path(reference.__file__).parent / "fashion-resnet", folder)
    with starving(f"fashion-resnet={folder}", "--set", "watch_s=0.2") as (daemon, keep, others):
        os.utime(folder / "manifest.json")
        assert "Too many open files" in daemon.wait_for("so the one before serves on")
        assert keep("POST", f"{MODEL}/infer", image_request())[0] == 200
        others.close()
        daemon.wait_for("model fashion-resnet version 1 is ready", count=2)
        assert sum("so the one before serves on" in line for line in daemon.lines) < 4


def test_once_there_are_descriptors_again_newcomers_are_answered(starved):
    daemon, _, others = starved
    before = descriptors_of(daemon.process)
    others.close()
    assert until(lambda: descriptors_of(daemon.process) < before - 15)
    assert len(answer_of(daemon)) > 0


class Machine:
    """A mounted machine with clockd on it."""

    def __init__(self, tree, folder, clockd):
        self.tree, self.clockd, self.socket = tree, clockd, folder / "s"
        self.journal = folder / "run" / "lease.json"
        self.said = folder / "said"

    def settings(self):
        return {path: self.tree.read_or_none(path) for path in FILES}


@contextlib.contextmanager
def machine_with_clockd(folder, said):
    """Yield a mounted machine with clockd on it, whose standard error is given."""
    (folder / "machine").mkdir()
    tree = FakeTree()
    tree.add_cpufreq_policy(0, cpus=(0, 1), governors=("schedutil", "userspace"), governor="schedutil")
    tree.add_devfreq()
    command = [sys.executable, HERE / "clockd_worker.py", folder / "machine", folder / "run", folder / "s"]
    with (
        mounted(tree, folder / "machine") as mount,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as clockd,
    ):
        try:
            assert clockd.stdout.readline().startswith("ready")
            yield Machine(mount.tree, folder, clockd)
        finally:
            clockd.kill()


@pytest.fixture
def machine(tmp_path):
    with (tmp_path / "said").open("w") as said, machine_with_clockd(tmp_path, said) as machine:
        yield machine


@needs_fuse
def test_clockd_without_descriptors_keeps_its_holder_and_has_everything_back_once_there_are_some(machine):
    before = machine.settings()
    with connected(machine.socket) as holder, contextlib.ExitStack() as others:
        assert len(ask(holder, op="set", clocks={"cpu": 1_000_000_000, "gpu": 408_000_000})["applied"]) == 2
        leave_descriptors(machine.clockd, 8)
        full = descriptors_of(machine.clockd) + 8
        for _ in range(15):
            other = others.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            other.connect(str(machine.socket))
        assert until(lambda: descriptors_of(machine.clockd) >= full)
        assert len(ask(holder, op="set", clocks={"cpu": 600_000_000, "gpu": 306_000_000})["applied"]) == 2
        assert ask(holder, op="release")["ok"]
        others.close()
        assert until(lambda: machine.settings() == before and not machine.journal.exists())
        assert until(lambda: ask(holder, op="set", clocks={"gpu": 408_000_000})["ok"])
    assert until(lambda: machine.settings() == before)
    assert machine.clockd.poll() is None


@needs_fuse
def test_clockd_says_once_and_not_ten_times_a_second_that_it_can_let_nobody_in(machine):
    leave_descriptors(machine.clockd, 2)
    with contextlib.ExitStack() as others:
        for _ in range(6):
            other = others.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            other.connect(str(machine.socket))
        assert until(lambda: "nobody can be let in" in machine.said.read_text())
        assert not until(lambda: machine.said.read_text().count("nobody can be let in") > 1, timeout_s=1.0)


# --- the log -----------------------------------------------------------------------------------------------


class Unread:
    """A daemon at debug level, a line for each request, whose standard error is given."""

    def __init__(self, folder, stderr, prefix=()):
        self._socket = folder / "s"
        command = [*prefix, sys.executable, "-m", "edgeexit", "serve", "fashion-resnet", *BOARD, "--no-tcp"]
        command += ["--unix", str(self._socket), "--log-level", "debug"]
        self.process = subprocess.Popen(command, stderr=stderr, stdout=subprocess.DEVNULL)
        assert until(self._answers)

    def _answers(self):
        assert self.process.poll() is None
        with contextlib.suppress(OSError):
            return self.ask(1) == {200}
        return False

    def ask(self, count):
        """Return the statuses of so many requests over one connection."""
        connection = http.client.HTTPConnection("localhost", timeout=60.0)
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.settimeout(60.0)
            connection.sock.connect(str(self._socket))
            statuses = set()
            for _ in range(count):
                connection.request("POST", f"{MODEL}/infer", body=json.dumps(image_request()))
                answer = connection.getresponse()
                answer.read()
                statuses.add(answer.status)
            return statuses
        finally:
            connection.close()

    def end(self):
        self.process.terminate()
        return self.process.wait(60.0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def pipe():
    ends = list(os.pipe())
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def test_a_log_that_nobody_reads_holds_up_no_answer_and_says_later_how_much_is_missing(tmp_path, pipe):
    reading, writing = pipe
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    with Unread(tmp_path, writing) as daemon:
        os.close(writing)
        assert daemon.ask(300) == {200}
        said = bytearray()
        reader = threading.Thread(
            target=lambda: [said.extend(data) for data in iter(lambda: os.read(reading, 65536), b"")]
        )
        reader.start()
        assert until(lambda: daemon.ask(1) == {200} and b"lines could not be logged" in said)
        assert daemon.end() == 0
        reader.join()


def test_a_log_whose_reader_has_gone_ends_nothing(tmp_path, pipe):
    reading, writing = pipe
    with Unread(tmp_path, writing) as daemon:
        os.close(reading)
        assert daemon.ask(300) == {200}
        assert daemon.end() == 0


def clocks_come_and_go(machine, times):
    """Have so many clients set clocks and leave; each is a line or more in clockd's log."""
    before = machine.settings()
    for _ in range(times):
        with connected(machine.socket) as client:
            assert len(ask(client, op="set", clocks={"cpu": 1_000_000_000, "gpu": 408_000_000})["applied"]) == 2
        assert until(lambda: machine.settings() == before and not machine.journal.exists())
    assert machine.clockd.poll() is None
    machine.clockd.terminate()
    assert machine.clockd.wait(60.0) == 0


@needs_fuse
def test_clockd_whose_log_has_no_reader_any_more_answers_and_gives_clocks_back(tmp_path, pipe):
    reading, writing = pipe
    with machine_with_clockd(tmp_path, writing) as machine:
        os.close(reading)
        clocks_come_and_go(machine, 3)


@needs_fuse
def test_clockd_whose_log_nobody_reads_answers_and_gives_clocks_back(tmp_path, pipe):
    _, writing = pipe
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    with contextlib.suppress(BlockingIOError):
        os.set_blocking(writing, False)
        while True:
            os.write(writing, b"x")
    os.set_blocking(writing, True)
    with machine_with_clockd(tmp_path, writing) as machine:
        clocks_come_and_go(machine, 3)


def test_without_standard_files_connections_do_not_get_their_numbers(tmp_path):
    with Unread(tmp_path, None, ("sh", "-c", 'exec "$@" 0<&- 1>&- 2>&-', "sh")) as daemon:
        files = [str(Path(f"/proc/{daemon.process.pid}/fd/{number}").readlink()) for number in range(3)]
        assert files == ["/dev/null"] * 3
        assert daemon.ask(20) == {200}
        assert daemon.end() == 0


# --- the disk ----------------------------------------------------------------------------------------------


@pytest.fixture
def full_disk(tmp_path):
    """A disk of four pages without a byte left; more files can be made on it, and stay empty."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)], check=True)
    try:
        with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(b"x" * 4096)
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@needs_root
def test_a_cache_and_a_socket_on_a_full_disk_hold_up_no_answer(full_disk):
    settings = ("--set", f"cache_dir={full_disk / 'cache'}", "--unix", str(full_disk / "s"))
    with serving("fashion-resnet", *settings) as daemon:
        expected = answer_of(daemon)
        assert answer_of(daemon, unix=full_disk / "s") == expected
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("all bundles were loaded anew")
        assert answer_of(daemon) == expected
        assert "No space left" in daemon.wait_for("optimised pieces are not kept")


@needs_root
def test_a_log_on_a_full_disk_holds_up_no_answer_and_goes_on_once_there_is_room(full_disk, tmp_path):
    with (full_disk / "log").open("wb", buffering=0) as log, Unread(tmp_path, log) as daemon:
        assert daemon.ask(50) == {200}
        assert (full_disk / "log").stat().st_size == 0
        (full_disk / "filler").unlink()
        assert daemon.ask(1) == {200}
        assert until(lambda: b"lines could not be logged" in (full_disk / "log").read_bytes())
        assert daemon.end() == 0
