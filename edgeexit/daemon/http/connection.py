"""One client's connection: uvicorn's protocol on httptools, with the limits and timeouts that it does not have."""

from __future__ import annotations

import asyncio
import socket
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from edgeexit.daemon.access import UNIX_KEY
from edgeexit.daemon.http.refusal import error_body

if TYPE_CHECKING:
    from edgeexit.daemon.config import LimitsConfig, TimeoutsConfig

LINGER_S: Final = 1.0
"""How long a refused client's bytes are still read and dropped: a socket that is closed with bytes unread resets the
connection, and the client may lose the answer that it was refused with."""
COPIED_BYTES: Final = 65_536
"""Bodies up to this size are copied behind their head: it costs less than a second packet."""
_FOR_FLOODS: Final = 2
"""Connections beyond this multiple of the limit are dropped without an answer."""


class _Phase(Enum):
    """What is expected of the client."""

    IDLE = "idle"
    HEADERS = "headers"
    BODY = "body"


class GuardedProtocol(HttpToolsProtocol):
    """A connection with limits.

    Args:
        limits: How much a client may send.
        timeouts: How long it may take.
        uvicorn: What uvicorn's own class is made of: config, server_state, app_state and _loop.
    """

    def __init__(self, limits: LimitsConfig, timeouts: TimeoutsConfig, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._limits = limits
        self._timeouts = timeouts
        self._phase = _Phase.IDLE
        self._request = 0
        self._waits_for: tuple[_Phase, int] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._header_bytes = 0
        self._unparsed_bytes = 0
        self._ended = False
        self._refusal: tuple[HTTPStatus, str] | None = None
        self._refused = False
        self._unix = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """Take a connection, unless there are too many."""
        super().connection_made(transport)
        here = transport.get_extra_info("socket")
        self._unix = here is not None and here.family == socket.AF_UNIX
        self._together = _Together(transport, self.loop)
        others = len(self.connections) - 1
        if others >= _FOR_FLOODS * self._limits.connections:
            transport.abort()
        elif others >= self._limits.connections:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "the server has as many connections as it takes; try again")
        else:
            self._wait_for_client()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        for timer in (self._timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self._refused or self.parser is None:
            return
        self._unset_keepalive_if_required()
        self._ended = False
        if self._phase is _Phase.IDLE:
            self._phase = _Phase.HEADERS
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # to nothing that is spoken here: the request is answered as it stands
            self.cycle.keep_alive = False
        except httptools.HttpParserError:
            self._refuse(*(self._refusal or (HTTPStatus.BAD_REQUEST, "this is no HTTP request")))
            return
        self._check_unparsed(len(data))
        self._wait_for_client()

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope[UNIX_KEY] = self._unix  # type: ignore[typeddict-unknown-key]  # ours
        self._phase = _Phase.HEADERS
        self._request += 1
        self._header_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Take a part of the request line."""
        self._count_header(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those that come after the body are dropped: nobody has checked them."""
        self._count_header(len(name) + len(value) + 4)
        if self._phase is _Phase.HEADERS:
            super().on_header(name, value)
            if len(self.headers) > self._limits.headers:
                self._stop(
                    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                    f"the request has more than {self._limits.headers} headers (limits.headers)",
                )

    def on_headers_complete(self) -> None:
        """Hand the request to the application."""
        self._phase = _Phase.BODY
        super().on_headers_complete()
        self.cycle.transport = self._together  # type: ignore[assignment]  # as much of a transport as it uses

    def on_message_complete(self) -> None:
        """End a request."""
        super().on_message_complete()
        self._phase = _Phase.IDLE
        self._unparsed_bytes = 0
        self._ended = True

    def pause_writing(self) -> None:
        """Give a client that does not read its answers the time of a body."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self._timeouts.body_read_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on with a client that reads again."""
        if self._write_timer is not None:
            self._write_timer.cancel()
        super().resume_writing()

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > self._limits.header_bytes:
            self._stop(*self._headers_too_large())

    def _check_unparsed(self, size: int) -> None:
        """Count bytes of a header that has not ended: the parser keeps them to itself until it has."""
        if self._phase is not _Phase.HEADERS or self._ended:
            return
        self._unparsed_bytes += size
        if self._unparsed_bytes > self._limits.header_bytes:
            self._refuse(*self._headers_too_large())

    def _headers_too_large(self) -> tuple[HTTPStatus, str]:
        limit = self._limits.header_bytes
        text = f"the request's line and headers are larger than {limit} bytes (limits.header_bytes)"
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, text

    def _stop(self, status: HTTPStatus, text: str) -> None:
        """Have the parser stop; what it was fed is refused."""
        self._refusal = (status, text)
        raise ValueError(text)

    def _wait_for_client(self) -> None:
        """See to it that the client does not take for ever over what it is expected to send."""
        wanted = None if self._phase is _Phase.IDLE and self._request else (self._phase, self._request)
        if wanted == self._waits_for or self._refused:
            return
        self._waits_for = wanted
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if wanted is not None:
            body = self._phase is _Phase.BODY
            patience_s = self._timeouts.body_read_s if body else self._timeouts.header_read_s
            self._timer = self.loop.call_later(patience_s, self._too_slow)

    def _too_slow(self) -> None:
        answered = self.cycle is None or self.cycle.response_complete
        if self._phase is _Phase.IDLE or (self._phase is _Phase.BODY and answered):
            self.transport.close()
        else:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"the request's {self._phase.value} did not come in time")

    def _refuse(self, status: HTTPStatus, text: str) -> None:
        """Answer with an error, unless an answer has begun, and close the connection."""
        self._refused = True
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or self.pipeline:
                self.transport.close()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.write(_answer(status, text))
        self._linger()

    def _linger(self) -> None:
        """Say that no more comes, and close the connection in a while."""
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(LINGER_S, self.transport.close)


class _Together:
    """Sends the head of an answer with the body that follows it: one packet, for which the client wakes up once.

    Args:
        transport: Where to.
        loop: Sends what nothing follows.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: bytes | None = None
        self._flush: asyncio.Handle | None = None

    def write(self, data: bytes) -> None:
        held, self._held = self._held, None
        if held is None:
            self._held = data
            self._flush = self._loop.call_soon(self._send_held)
            return
        if self._flush is not None:
            self._flush.cancel()
        if len(data) <= COPIED_BYTES:
            self._transport.write(held + data)  # uvloop's writelines makes a system call for each
        else:
            self._transport.write(held)
            self._transport.write(data)

    def close(self) -> None:
        self._send_held()
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def _send_held(self) -> None:
        held, self._held = self._held, None
        if held is not None and not self._transport.is_closing():
            self._transport.write(held)


def _answer(status: HTTPStatus, text: str) -> bytes:
    body = error_body(text)
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
