"""Load on a server by bare sockets: the same few lines for every server, so that no client library is measured.

A connection is HTTP/1.1 with keep-alive over TCP or a Unix socket; a request is bytes that were made before.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Final, NamedTuple

from typing_extensions import Self

Address = tuple[str, int] | str
"""Host and port, or the path of a Unix socket."""

_HEAD_END: Final = b"\r\n\r\n"
_TIMEOUT_S: Final = 60.0


class Reply(NamedTuple):
    """An answer as it came."""

    status: int
    head: bytes
    """Status line and headers."""
    body: bytes

    def header(self, name: str) -> str | None:
        """Return a header's value; None if there is none of this name (in whatever case)."""
        wanted = name.lower().encode() + b":"
        for line in self.head.split(b"\r\n")[1:]:
            if line.lower().startswith(wanted):
                return line[len(wanted) :].strip().decode()
        return None


class Connection:
    """One connection with keep-alive.

    Args:
        address: Where the server listens.
        timeout_s: How long it may be silent.
    """

    def __init__(self, address: Address, *, timeout_s: float = _TIMEOUT_S) -> None:
        if isinstance(address, str):
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(address)
        else:
            self._socket = socket.create_connection(address)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(timeout_s)

    def ask(self, request: bytes) -> Reply:
        """Send one request and return its answer.

        Raises:
            ConnectionError: If the server hangs up before the answer is whole.
            TimeoutError: If it is silent for too long.
        """
        self._socket.sendall(request)
        data = self._more(b"")
        while (end := data.find(_HEAD_END)) < 0:
            data = self._more(data)
        head, body_start = data[:end], end + len(_HEAD_END)
        reply = Reply(int(head[9:12]), head, b"")
        size = int(reply.header("content-length") or 0)
        while len(data) < body_start + size:
            data = self._more(data)
        return reply._replace(body=data[body_start:])

    def _more(self, data: bytes) -> bytes:
        part = self._socket.recv(1 << 18)
        if not part:
            raise ConnectionError("the server hung up")
        return data + part

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def post(path: str, body: bytes, **headers: str) -> bytes:
    """Return a POST request; a header `content_type` is sent as ``content-type``."""
    lines = [f"POST {path} HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + _HEAD_END + body


def get(path: str) -> bytes:
    """Return a GET request."""
    return f"GET {path} HTTP/1.1\r\nhost: localhost".encode() + _HEAD_END


def one_by_one(address: Address, requests: Sequence[bytes], for_s: float) -> list[tuple[int, float]]:
    """Send requests one after the other over one connection.

    Returns:
        Each one's place in `requests` and the seconds until its answer was there.
    """
    times: list[tuple[int, float]] = []
    with Connection(address) as connection:
        end = time.perf_counter() + for_s
        while (start := time.perf_counter()) < end:
            place = len(times) % len(requests)
            _expect_answer(connection.ask(requests[place]))
            times.append((place, time.perf_counter() - start))
    return times


def side_by_side(address: Address, requests: Sequence[bytes], for_s: float, connections: int) -> float:
    """Send requests over several connections at once, each the next as soon as it has its answer.

    Returns:
        Answers a second.
    """
    counts = [0] * connections
    failures: list[BaseException] = []
    start = time.perf_counter()

    def run(place: int) -> None:
        try:
            counts[place] = len(one_by_one(address, [*requests[place:], *requests[:place]], for_s))
        except BaseException as error:  # raised by the caller's thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(place,)) for place in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sum(counts) / (time.perf_counter() - start)


def _expect_answer(reply: Reply) -> None:
    if reply.status != 200:
        raise RuntimeError(f"status {reply.status}: {reply.body[:200]!r}")
