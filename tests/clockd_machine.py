"""A machine in memory with a processor and a GPU, and clockd's parts on it, in this process."""

import json
import os
import socket
import threading
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

from edgeexit.daemon.clockd.access import Access, Peer
from edgeexit.daemon.clockd.board_clocks import BoardClocks
from edgeexit.daemon.clockd.handler import Handler, Visitor
from edgeexit.daemon.clockd.listening import listening
from edgeexit.daemon.clockd.server import Limits, Server
from edgeexit.device.host import HostDevice
from edgeexit.errors import ClocksUnavailable
from edgeexit.testing.fake_sysfs import FakeTree

POLICY = "/sys/devices/system/cpu/cpufreq/policy0"
GPU = "/sys/class/devfreq/17000000.gv11b"
CPU_POINTS = [600_000_000, 750_000_000, 1_000_000_000, 1_500_000_000]
GPU_POINTS = [306_000_000, 408_000_000, 510_000_000, 612_000_000]
PEER = Peer(4711, 1000, frozenset({1000}))


class Desk:
    """clockd without its socket: `ask` sends a message as one client or another, and returns the answer.

    Attributes:
        now_s: The time; a test moves it.
    """

    def __init__(self, folder, silence_s=2.0):
        self.now_s = 100.0
        self.tree = machine()
        self.run_folder = folder / "run"
        self.device = HostDevice(tree=self.tree, run_folder=self.run_folder, nvml=False)
        self.clocks = BoardClocks(self.device, self.read_s)
        self.handler = Handler(self.clocks, silence_s=silence_s, now_s=self.read_s)

    def read_s(self):
        return self.now_s

    def visitor(self, *, greeted=True):
        visitor = Visitor(PEER, self.now_s)
        if greeted:
            self.ask(visitor, op="hello", version=1)
        return visitor

    def ask(self, visitor, **message):
        return self.send(visitor, json.dumps(message).encode())

    def send(self, visitor, data):
        return json.loads(self.handler.answer(visitor, data))

    def writes(self):
        """Every write to a clock so far."""
        return [(path, text) for path, text in self.tree.writes if path.startswith("/sys")]

    def settings(self):
        return settings_of(self.tree)

    def close(self):
        self.clocks.give_back()
        self.device.close()


def machine():
    tree = FakeTree()
    tree.add_cpufreq_policy(0, cpus=(0, 1), table_khz=[hz // 1000 for hz in CPU_POINTS], governor="schedutil")
    tree.add_devfreq()
    return tree


def settings_of(tree):
    files = [f"{POLICY}/scaling_{part}" for part in ("governor", "min_freq", "max_freq")]
    files += [f"{GPU}/{part}" for part in ("min_freq", "max_freq")]
    return {path: tree.read_or_none(path) for path in files}


@contextmanager
def served(desk, path, *, access=None, limits=None):
    """Serve a desk's clocks on a socket, from a thread, by the true clock."""
    access = Access(frozenset({os.geteuid()}), frozenset()) if access is None else access
    handler = Handler(desk.clocks, silence_s=desk.handler._silence_s, now_s=time.monotonic)
    desk.clocks._now_s = time.monotonic
    with listening(path, users=access.users, groups=access.groups) as listener:
        server = Server(listener, handler, desk.clocks, access, time.monotonic, limits=limits or Limits())
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield server
        finally:
            server.stop()
            thread.join()


@contextmanager
def connected(path, *, greeted=True):
    """A client's bare socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.settimeout(30.0)
        client.connect(str(path))
        if greeted:
            ask(client, op="hello", version=1)
        yield client


def ask(client, **message):
    client.send(json.dumps(message).encode())
    return json.loads(client.recv(65536))


@contextmanager
def warned():
    """Collects warnings, also those of another thread, into a list of texts."""
    texts = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
        texts += [str(warning.message) for warning in caught if issubclass(warning.category, ClocksUnavailable)]


def open_files():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def until(condition, timeout_s=30.0):
    """Wait until something is so; return whether it came to be."""
    end_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end_s:
            return False
        time.sleep(0.005)
    return True
