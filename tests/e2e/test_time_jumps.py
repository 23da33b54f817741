"""The wall clock is set hours ahead and back while the daemon answers and clockd holds clocks: nothing goes by it.

The programs are the true ones; what they ask the C library for the time is shifted under them.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest
from clockd_machine import until
from serving_process import serving

from edgeexit import reference
from edgeexit.device.sysfs import Tree
from edgeexit.testing.fake_sysfs import FakeTree
from edgeexit.testing.fuse import mounted, why_not

pytest_plugins = ("wall_clock",)
HERE = Path(__file__).parent.parent
INFER = "/v2/models/fashion-resnet/infer"
JUMPS_HOURS = (7, -30, 24 * 365, -24 * 365 * 50, 0)
"""The last but one is half a century back: a board whose clock has no battery begins in 1970."""
WATCHDOG_S = 5.0
GPU = "/sys/class/devfreq/17000000.gv11b"
FILES = [f"{GPU}/{part}" for part in ("min_freq", "max_freq")]


def image_request(**parameters):
    with np.load(Path(reference.__file__).parent / "fashion-images.npz") as images:
        image = images[images.files[0]][0].astype("float32").reshape(-1)
    inputs = [{"name": "image", "shape": [1, 1, 28, 28], "datatype": "FP32", "data": image.tolist()}]
    return json.dumps({"inputs": inputs, "parameters": parameters})


class Load:
    """Asks over one kept connection, again and again, from a thread of its own."""

    def __init__(self, port):
        self.statuses, self.labels, self.met = set(), set(), set()
        self.count = 0
        self.failure = None
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60.0)
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._enough.set()
        self._thread.join()
        self._connection.close()

    def wait_for(self, count):
        """Wait for so many answers more."""
        wanted = self.count + count
        assert until(lambda: self.count >= wanted or self.failure is not None)
        assert self.failure is None

    def _run(self):
        body = image_request(latency_budget_s=30.0)
        try:
            while not self._enough.is_set():
                self._connection.request("POST", INFER, body=body)
                answer = self._connection.getresponse()
                document = json.loads(answer.read())
                self.statuses.add(answer.status)
                self.labels.add(str(document.get("outputs", document)))
                self.met.add(document.get("parameters", {}).get("deadline_met"))
                self.count += 1
        except Exception as error:
            self.failure = error


@pytest.fixture(scope="module")
def systemd(tmp_path_factory):
    """What systemd hears, each with the time of hearing it."""
    path = tmp_path_factory.mktemp("systemd") / "notify"
    heard = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(path))

        def hear():
            while (data := listening.recv(200)) != b"end":
                heard.append((time.monotonic(), data))

        thread = threading.Thread(target=hear)
        thread.start()
        try:
            yield path, heard
        finally:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ending:
                ending.sendto(b"end", str(path))
            thread.join()


@pytest.fixture(scope="module")
def daemon(wall_clock, systemd):
    variables = {"NOTIFY_SOCKET": str(systemd[0]), "WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6))}
    settings = ("--set", "watch_s=0.2", "--set", "timeouts.keep_alive_s=20")
    with serving("fashion-resnet", *settings, environment={**wall_clock.environment, **variables}) as running:
        yield running


def told_time(daemon):
    return parsedate_to_datetime(daemon.ask("GET", "/v2/health/live")[1]["date"])


def gauges(daemon):
    lines = [line.split() for line in daemon.ask("GET", "/metrics")[2].splitlines() if not line.startswith("#")]
    return {words[0]: float(words[1]) for words in lines}


def test_the_daemon_really_sees_another_time(daemon, wall_clock):
    wall_clock.jump_to(7)
    ahead = datetime.now(timezone.utc) + timedelta(hours=6)
    assert until(lambda: told_time(daemon) > ahead)


def test_requests_on_a_kept_connection_are_answered_in_time_over_every_jump(daemon, wall_clock):
    with Load(daemon.port) as load:
        load.wait_for(20)
        for hours in JUMPS_HOURS:
            wall_clock.jump_to(hours)
            load.wait_for(50)
    assert load.failure is None
    assert load.statuses == {200}
    assert load.met == {True}
    assert len(load.labels) == 1


def test_several_connections_are_answered_over_every_jump_and_nothing_is_refused(daemon, wall_clock):
    with contextlib.ExitStack() as stack:
        loads = [stack.enter_context(Load(daemon.port)) for _ in range(3)]
        for hours in JUMPS_HOURS:
            wall_clock.jump_to(hours)
            for load in loads:
                load.wait_for(20)
    assert [load.failure for load in loads] == [None] * 3
    assert [load.statuses for load in loads] == [{200}] * 3
    assert daemon.ask("GET", "/edgeexit/v1/state")[2]["minute"]["refused"] == {}


def test_a_deadline_that_cannot_be_kept_is_refused_at_whatever_time_with_the_same_word(daemon, wall_clock):
    for hours in JUMPS_HOURS:
        wall_clock.jump_to(hours)
        status, headers, answer = daemon.ask("POST", INFER, image_request(latency_budget_s=1e-6))
        assert (status, headers.get("retry-after")) == (422, None)
        assert "ask for more time" in answer["error"]


def test_uptime_latencies_and_the_last_minute_do_not_jump(daemon, wall_clock):
    begun_s = time.monotonic()
    uptime_s = gauges(daemon)["edgeexit_uptime_seconds"]
    for hours in JUMPS_HOURS:
        wall_clock.jump_to(hours)
        assert daemon.ask("POST", INFER, image_request())[0] == 200
    shown, passed_s = gauges(daemon), time.monotonic() - begun_s
    assert uptime_s < shown["edgeexit_uptime_seconds"] < uptime_s + passed_s + 1.0
    assert shown['edgeexit_latency_seconds_sum{model="fashion-resnet",version="1"}'] < 600.0
    minute = daemon.ask("GET", "/edgeexit/v1/state")[2]["minute"]
    assert minute["answered"] >= 5
    assert minute["latency_s"]["p99"] < 60.0


def test_signs_of_life_go_on_for_systemd(daemon, wall_clock, systemd):
    _, heard = systemd
    for hours in (7, -30):
        wall_clock.jump_to(hours)
        pings = sum(data == b"WATCHDOG=1" for _, data in heard)
        assert until(lambda before=pings: sum(data == b"WATCHDOG=1" for _, data in heard) > before, 2 * WATCHDOG_S)


def test_bundles_are_loaded_anew_at_whatever_time(daemon, wall_clock):
    for count, hours in enumerate(JUMPS_HOURS[:2], 1):
        wall_clock.jump_to(hours)
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for("all bundles were loaded anew", count)
        assert daemon.ask("POST", INFER, image_request())[0] == 200


# --- clockd and its client ---------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path, wall_clock):
    """Start clockd and a client of it that changes clocks all the time; yields both, and the machine's files."""
    (tmp_path / "machine").mkdir()
    tree = FakeTree()
    tree.add_devfreq()
    environment = {**os.environ, **wall_clock.environment}
    with mounted(tree, tmp_path / "machine") as mount, contextlib.ExitStack() as stack:

        def start(program, *arguments):
            command = [sys.executable, str(HERE / program), str(tmp_path / "machine"), *map(str, arguments)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
            stack.callback(process.stdout.close)
            stack.callback(process.wait)
            stack.callback(process.kill)
            assert process.stdout.readline().split()[0] in ("ready", "setting")
            return process

        clockd = start("clockd_worker.py", tmp_path / "run", tmp_path / "s", 2.0)
        before = limits(mount.tree)
        client = start("clockd_client_worker.py", tmp_path / "s")
        yield clockd, client, mount, before


def limits(tree: Tree):
    return [tree.read_or_none(path) for path in FILES]


needs_fuse = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")


@needs_fuse
def test_a_client_keeps_its_clocks_over_every_jump_and_goes_on_changing_them(machine, wall_clock):
    clockd, client, mount, before = machine
    for hours in JUMPS_HOURS:
        wall_clock.jump_to(hours)
        changed = len(mount.writes())
        assert until(lambda count=changed: len(mount.writes()) > count + 50)
    assert (clockd.poll(), client.poll()) == (None, None)
    assert limits(mount.tree) != before


@needs_fuse
@pytest.mark.parametrize("hours", [7, -30])
def test_the_clocks_of_a_silent_client_come_back_after_a_jump(machine, wall_clock, hours):
    _, client, mount, before = machine
    wall_clock.jump_to(hours)
    client.send_signal(signal.SIGSTOP)
    assert until(lambda: limits(mount.tree) == before)
    client.send_signal(signal.SIGCONT)
    assert until(lambda: limits(mount.tree) != before)


@needs_fuse
@pytest.mark.parametrize("hours", [7, -30])
def test_the_clocks_that_a_killed_clockd_left_come_back_after_a_jump(machine, wall_clock, hours):
    clockd, _, mount, before = machine
    wall_clock.jump_to(hours)
    clockd.kill()
    assert until(lambda: limits(mount.tree) == before)
