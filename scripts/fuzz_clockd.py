"""Sends malformed messages to clockd: it must answer each one, set nothing, and go on.

    python scripts/fuzz_clockd.py [--messages N] [--socket-messages N] [--seed N]

Most go straight to the message handler, in process, on a fake machine; some over a true socket. A message that turns
out to be well formed after all, by a reading of its own here, may be done: it is counted apart, and then released.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from edgeexit.daemon.clockd.access import Access, Peer
from edgeexit.daemon.clockd.board_clocks import BoardClocks
from edgeexit.daemon.clockd.handler import Handler, Visitor
from edgeexit.daemon.clockd.listening import listening
from edgeexit.daemon.clockd.server import Limits, Server
from edgeexit.device.host import HostDevice
from edgeexit.testing.fake_sysfs import FakeTree

MAX_BYTES: Final = 4096
LONGEST_S: Final = 1.0
"""No message may take longer, on however busy a machine: a change on the fake machine takes none."""
VALID: Final = (
    b'{"op":"hello","version":1}',
    b'{"op":"set","clocks":{"cpu":1000000000,"gpu":408000000}}',
    b'{"op":"set","clocks":{"cpu":750000000}}',
    b'{"op":"read"}',
    b'{"op":"alive"}',
    b'{"op":"release"}',
)
TOKENS: Final = (
    *(b"NaN", b"Infinity", b"-Infinity", b"null", b"true", b"false", b"1e9", b"750000000.0", b"-1", b"0", b'""', b"[]"),
    *(b"9" * 400, b"99999999999999999999", b"1e999", b"0x10", b"+5", b"01", b'"750000000"', b"{}", b'{"cpu":1}', b"\0"),
    *(
        b'"\\ud800"',
        b'"\\u0000"',
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"//x",
        b"/*",
        b"'cpu'",
        b'"op"',
        b'"clocks"',
        b":",
        b",",
    ),
    *(b'"cpu"', b'"npu"', b'"../../../etc"', b'"version"', b'"set"', b'"cpu":750000000,', b'"op":"set",', b" ", b"\n"),
)


class Failed(Exception):
    """clockd did what it must not; the message says with which bytes."""


class Messages:
    """Makes messages that are wrong in some way.

    Args:
        seed: Of the random numbers.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._kinds: tuple[Callable[[], bytes], ...] = (
            self._bytes,
            self._mutated,
            self._mutated,
            self._spliced,
            self._spliced,
            self._structured,
            self._nested,
        )

    def next(self) -> bytes:
        """Return one; at least a byte long, as no shorter packet is a message."""
        return self._random.choice(self._kinds)() or b"\0"

    def _bytes(self) -> bytes:
        return self._random.randbytes(self._random.choice((1, 3, 17, 200, 4096, 4097)))

    def _mutated(self) -> bytes:
        """Flip, drop or repeat single bytes of a valid message."""
        data = bytearray(self._random.choice(VALID))
        for _ in range(self._random.randint(1, 4)):
            at = self._random.randrange(len(data)) if data else 0
            what = self._random.randrange(3)
            if what == 0 and data:
                data[at] ^= 1 << self._random.randrange(8)
            elif what == 1:
                del data[at : at + self._random.randint(1, 4)]
            else:
                data[at:at] = self._random.randbytes(1)
        return bytes(data)

    def _spliced(self) -> bytes:
        """Put tokens into a valid message, or in the place of a part of it."""
        data = self._random.choice(VALID)
        for _ in range(self._random.randint(1, 3)):
            start = self._random.randrange(len(data) + 1)
            end = min(len(data), start + self._random.choice((0, 0, 1, 4, 9)))
            data = data[:start] + self._random.choice(TOKENS) + data[end:]
        return data[: self._random.choice((4096, 4096, 4097, len(data)))]

    def _structured(self) -> bytes:
        """Write JSON of the right form, with values that are not."""
        document: Any = {self._text(): self._value(2) for _ in range(self._random.randint(0, 3))}
        document["op"] = self._random.choice(("set", "hello", "read", "alive", "release", self._value(1)))
        if self._random.random() < 0.7:
            document["clocks"] = self._value(2)
        return json.dumps(document).encode()

    def _nested(self) -> bytes:
        opening = self._random.choice((b"[", b"{", b'{"clocks":', b'{"op":"set","clocks":{"cpu":', b'["', b'"\\'))
        return (opening * self._random.choice((1, 2, 30, 1300)))[:4096]

    def _text(self) -> str:
        return self._random.choice(
            ("cpu", "gpu", "op", "clocks", "version", "", "x" * 300, "\0", "\ud800", "__class__")
        )

    def _value(self, depth: int) -> Any:
        plain = (None, True, 0, -1, 599_999_999, 1_500_000_001, 10**13, 10**400, 0.5, 7.5e8, float("nan"), self._text())
        if depth and self._random.random() < 0.5:
            return {self._text(): self._value(depth - 1) for _ in range(self._random.randint(0, 3))}
        return self._random.choice(plain)


class Desk:
    """clockd's handler on a fake machine."""

    def __init__(self, folder: Path) -> None:
        self.tree = FakeTree()
        self.tree.add_cpufreq_policy(0, cpus=(0, 1), table_khz=(600_000, 750_000, 1_000_000, 1_500_000))
        self.tree.add_devfreq()
        device = HostDevice(tree=self.tree, run_folder=folder / "run", nvml=False)
        self.clocks = BoardClocks(device, time.monotonic)
        self.handler = Handler(self.clocks, silence_s=60.0, now_s=time.monotonic)

    def visitor(self) -> Visitor:
        """Return a client that has said hello."""
        visitor = Visitor(Peer(os.getpid(), os.geteuid(), frozenset()), time.monotonic())
        self.handler.answer(visitor, VALID[0])
        return visitor


def fuzz_handler(desk: Desk, messages: Messages, count: int) -> Counter[str]:
    """Send messages to the handler; return how often each kind of answer came.

    Raises:
        Failed: If one was done that should not be, took too long, or had no answer.
    """
    visitor, kinds = desk.visitor(), Counter[str]()
    for _ in range(count):
        data, written = messages.next(), len(desk.tree.writes)
        start_s = time.monotonic()
        answer = json.loads(desk.handler.answer(visitor, data))
        if time.monotonic() - start_s > LONGEST_S:
            raise Failed(f"took {time.monotonic() - start_s:.1f} s for {data!r}")
        kinds[_judge(data, answer, set_anything=len(desk.tree.writes) > written)] += 1
        if desk.handler.holder is not None:
            desk.handler.leave(visitor, "was well formed")
    return kinds


def _judge(data: bytes, answer: dict[str, Any], *, set_anything: bool) -> str:
    """Return what became of a message, in a word."""
    if not answer["ok"]:
        if set_anything:
            raise Failed(f"refused ({answer}) and yet set clocks for {data!r}")
        return str(answer["fault"])
    if not _is_well_formed(data):
        raise Failed(f"answered {answer} to {data!r}")
    if set_anything and answer["op"] != "set":
        raise Failed(f"set clocks for {data!r}")
    return f"well formed: {answer['op']}"


def _is_well_formed(data: bytes) -> bool:
    """Judge a message by other means than clockd's own reader."""
    keys: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys.extend(key for key, _ in pairs)
        return dict(pairs)

    document = json.loads(data, object_pairs_hook=note)
    op = document.pop("op")
    if len(set(keys)) < len(keys) or len(data) > MAX_BYTES:
        return False
    if op == "set":
        points = {"cpu": range(600_000_000, 1_500_000_001), "gpu": range(306_000_000, 612_000_001)}
        clocks = document.pop("clocks")
        fits = all(type(hz) is int and hz in points.get(name, ()) for name, hz in clocks.items())
        return bool(clocks) and fits and not document
    return (op in ("read", "alive", "release") and not document) or (op == "hello" and document == {"version": 1})


@contextmanager
def served(desk: Desk, path: Path) -> Iterator[None]:
    """Serve the handler on a socket, from a thread, at any rate."""
    limits = Limits(rate_hz=1e9, burst=10**9)
    with listening(path) as listener:
        access = Access(frozenset({os.geteuid()}), frozenset())
        server = Server(listener, desk.handler, desk.clocks, access, time.monotonic, limits=limits)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            yield
        finally:
            server.stop()
            thread.join()


def fuzz_socket(desk: Desk, path: Path, messages: Messages, count: int) -> Counter[str]:
    """Send messages over a socket, of which some clients go without waiting for an answer.

    Raises:
        Failed: If there is no answer, or a wrong one.
    """
    kinds = Counter[str]()
    with served(desk, path):
        for number in range(0, count, 50):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
                client.settimeout(10.0)
                client.connect(str(path))
                if number % 100:
                    client.send(VALID[0])
                    client.recv(65536)
                for _ in range(50):
                    data = messages.next()
                    client.send(data)
                    if number % 500 != 450:
                        answer = json.loads(client.recv(65536))
                        kinds[_judge(data, answer, set_anything=False)] += 1
    return kinds


def main(arguments: argparse.Namespace) -> int:
    """Fuzz, and print what came of it; return an exit code."""
    messages, start_s = Messages(arguments.seed), time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        desk = Desk(Path(scratch))
        before = desk.clocks.read()
        in_process = fuzz_handler(desk, messages, arguments.messages)
        print(f"in process: {sum(in_process.values()):,} messages in {time.monotonic() - start_s:.0f} s")
        print("  " + ", ".join(f"{kind} {count:,}" for kind, count in in_process.most_common()))
        over_socket = fuzz_socket(desk, Path(scratch) / "clockd.sock", messages, arguments.socket_messages)
        print(f"over a socket: {sum(over_socket.values()):,} answers")
        print("  " + ", ".join(f"{kind} {count:,}" for kind, count in over_socket.most_common()))
        if desk.clocks.read() != before:
            raise Failed(f"the clocks are {desk.clocks.read()}, and were {before}")
    print("no crash, no hang, nothing set by a malformed message")
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Send malformed messages to clockd.")
    parser.add_argument("--messages", type=int, default=1_000_000, help="straight to the handler")
    parser.add_argument("--socket-messages", type=int, default=20_000, help="over a true socket")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(parse(sys.argv[1:])))
