"""The HTTP server's connection is fed what no client should send: it answers or closes, and nothing else happens."""

import asyncio

import uvicorn
from http_under_test import echo
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from edgeexit.daemon.access import Access
from edgeexit.daemon.config import LimitsConfig, TimeoutsConfig
from edgeexit.daemon.http.connection import GuardedProtocol
from edgeexit.daemon.http.guard import Guard
from edgeexit.daemon.http.limits import BodyLimits

LIMITS = LimitsConfig(header_bytes=2000, headers=8, body_bytes=500, all_bodies_bytes=1000)
STATUSES = {b"200", b"400", b"401", b"403", b"413", b"431"}
LINES = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"POST /v2/models/a/infer HTTP/1.1\r\n",
        b"POST /x%00%ff HTTP/1.1\r\n",
        b"GET http://a:99999/ HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"CONNECT a:1 HTTP/1.1\r\n",
        b"GET /\xff\xfe HTTP/1.0\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ]
)
HEADERS = st.sampled_from(
    [
        b"Host: localhost\r\n",
        b"Host: evil.example\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Content-Length: 600\r\n",
        b"Content-Length: +5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Connection: Upgrade, close\r\n",
        b"Upgrade: h2c\r\n",
        b"Expect: 100-continue\r\n",
        b"Authorization: Basic \xff\xff=\r\n",
        b"Origin: \xe9\r\n",
        b" folded\r\n",
        b"X: " + b"a" * 1500 + b"\r\n",
        b": nameless\r\n",
    ]
)
BODIES = st.one_of(
    st.binary(max_size=700),
    st.sampled_from([b"5\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffff\r\n", b"5;x=" + b"y" * 600 + b"\r\nhello\r\n"]),
)
REQUESTS = st.builds(
    lambda line, headers, body: line + b"".join(headers) + b"\r\n" + body, LINES, st.lists(HEADERS), BODIES
)
STREAMS = st.lists(st.one_of(REQUESTS, st.binary(max_size=200)), min_size=1, max_size=4).map(b"".join)


class Transport:
    """What a protocol writes to."""

    def __init__(self):
        self.written = b""
        self.closed = False

    def get_extra_info(self, name, default=None):
        return default

    def write(self, data):
        assert not self.closed
        self.written += data

    def close(self):
        self.closed = True

    abort = close

    def is_closing(self):
        return self.closed

    def can_write_eof(self):
        return True

    def write_eof(self):
        pass

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


async def feed(stream, cuts):
    """Feed a stream in pieces; returns what was answered and what went wrong unseen."""
    wrong = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: wrong.append(context))
    limited = BodyLimits(echo, body_bytes=LIMITS.body_bytes, all_bodies_bytes=LIMITS.all_bodies_bytes)
    config = uvicorn.Config(Guard(limited, Access(None)), ws="none", log_config=None, access_log=False)
    state = ServerState()
    protocol = GuardedProtocol(
        LIMITS, TimeoutsConfig(), config=config, server_state=state, app_state={}, _loop=asyncio.get_running_loop()
    )
    transport = Transport()
    protocol.connection_made(transport)
    at = 0
    for cut in [*sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]:
        if transport.closed:
            break
        if stream[at:cut]:
            protocol.data_received(stream[at:cut])
        at = cut
        await asyncio.sleep(0)
    protocol.connection_lost(None)
    await asyncio.gather(*state.tasks)
    assert limited._present_bytes == 0
    return transport.written, wrong


@settings(max_examples=300, deadline=None)
@given(STREAMS, st.lists(st.integers(0, 5000), max_size=4))
def test_whatever_is_sent_is_answered_with_a_client_s_fault_or_not_at_all(stream, cuts):
    written, wrong = asyncio.run(feed(stream, cuts))
    assert wrong == []
    for head in written.split(b"HTTP/1.1 ")[1:]:
        assert head.startswith(b"100 Continue") or head[:3] in STATUSES
