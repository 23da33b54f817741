"""One connection to clockd, from a client's side: a question, and its answer."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from edgeexit.daemon.clockd.messages import (
    MAX_REPLY_BYTES,
    VERSION,
    Fault,
    Op,
    Request,
    parse_reply,
    request_bytes,
)
from edgeexit.errors import ClockdRefused

REPLY_S: Final = 6.0
"""clockd itself waits up to 5 s for another edgeexit that is putting clocks back."""


class ClockdConnection:
    """Connects and says hello.

    Args:
        path: clockd's socket.
        reply_s: How long an answer may take, in seconds.

    Attributes:
        operating_points_hz: What each domain may be asked for, ascending.
        silence_s: A client that says nothing for so long loses the clocks.

    Raises:
        OSError: If nobody listens there, or there is no answer in time.
        ClockdRefused: If clockd turns this process away.
    """

    def __init__(self, path: Path, reply_s: float = REPLY_S) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._socket.settimeout(reply_s)
            self._socket.connect(str(path))
            self.greet()
        except BaseException:
            self._socket.close()
            raise

    def greet(self) -> None:
        """Say hello, also again: clockd may know more clock domains than before.

        Raises:
            OSError: If clockd has gone, or there is no answer in time.
            ClockdRefused: If it speaks another version.
        """
        welcome = self.ask(Request(Op.HELLO, version=VERSION))
        self.operating_points_hz = _operating_points(welcome.get("domains"))
        self.silence_s = _seconds(welcome.get("silence_s"))

    def ask(self, request: Request) -> dict[str, Any]:
        """Ask, and return the answer.

        Raises:
            OSError: If clockd has gone, or there is no answer in time.
            ClockdRefused: If it does not do so.
        """
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its last words may be there to read
            self._socket.send(request_bytes(request))
        return parse_reply(self._receive(), request.op)

    def read_last_words(self) -> NoReturn:
        """Read what clockd says unasked: why it ends the connection.

        Raises:
            OSError: If it has gone without a word.
            ClockdRefused: With what it says.
        """
        parse_reply(self._receive(), Op.HELLO)
        raise ClockdRefused(Fault.MALFORMED.value, "clockd answered a question that was not asked")

    def fileno(self) -> int:
        """Return the socket's descriptor, to wait for its end."""
        return self._socket.fileno()

    def interrupt(self) -> None:
        """Have whoever waits for an answer in another thread get an error."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it; clocks that it held are given back. A second call does nothing."""
        self._socket.close()

    def _receive(self) -> bytes:
        try:
            data = self._socket.recv(MAX_REPLY_BYTES)
        except ConnectionResetError:  # it closed before it had read everything; what it said last comes after the error
            data = self._socket.recv(MAX_REPLY_BYTES)
        if not data:
            raise ConnectionResetError("clockd has gone")
        return data


def frequencies(value: object) -> dict[str, int]:
    """Take frequencies by domain from an answer.

    Raises:
        ClockdRefused: With `Fault.MALFORMED` if it holds anything else.
    """
    if not isinstance(value, Mapping) or not all(isinstance(hz, int) for hz in value.values()):
        raise ClockdRefused(Fault.MALFORMED.value, f"clockd answered {value!r:.100} for frequencies")
    return {str(name): hz for name, hz in value.items()}


def _operating_points(value: object) -> dict[str, tuple[int, ...]]:
    if not isinstance(value, Mapping) or not all(isinstance(points, list) and points for points in value.values()):
        raise ClockdRefused(Fault.MALFORMED.value, f"clockd answered {value!r:.100} for its clock domains")
    return {str(name): tuple(int(hz) for hz in points) for name, points in value.items()}


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0.0:
        raise ClockdRefused(Fault.MALFORMED.value, f"clockd answered {value!r:.100} for a time")
    return float(value)
