"""Limits of bodies, of each and of all together."""

import asyncio

import pytest
from http_under_test import echo

from edgeexit.daemon.http.limits import BodyLimits


class Client:
    """Sends a body in parts and notes the answer."""

    def __init__(self, *parts, length=None):
        self._parts = list(parts)
        self.scope = {"headers": [] if length is None else [(b"content-length", str(length).encode())]}
        self.sent = []

    async def receive(self):
        part = self._parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(self._parts)}

    async def send(self, message):
        self.sent.append(message)

    @property
    def status(self):
        (start,) = [message for message in self.sent if message["type"] == "http.response.start"]
        return start["status"]


def ask(limits, client):
    asyncio.run(limits(client.scope, client.receive, client.send))
    return client


@pytest.fixture
def limits():
    return BodyLimits(echo, body_bytes=10, all_bodies_bytes=15)


def test_a_body_within_the_limit_passes(limits):
    assert ask(limits, Client(b"12345", b"67890")).sent[1]["body"] == b"1234567890"


def test_a_body_that_says_it_is_too_large_is_not_even_read(limits):
    client = ask(limits, Client(length=11))
    assert client.status == 413
    assert b"limits.body_bytes" in client.sent[1]["body"]


def test_a_body_that_does_not_say_so_is_refused_where_it_becomes_too_large(limits):
    client = Client(b"12345", b"678901", b"never asked for")
    assert ask(limits, client).status == 413
    assert len(client.sent) == 2
    assert client._parts == [b"never asked for"]


def test_bodies_that_are_too_much_together_are_refused_for_now():
    async def both():
        arrived = asyncio.Event()

        async def hold(scope, receive, send):
            await receive()
            arrived.set()
            await asyncio.sleep(3600.0)

        limits = BodyLimits(hold, body_bytes=10, all_bodies_bytes=15)
        first, second = Client(b"1234567890"), Client(b"123456")
        held = asyncio.ensure_future(limits(first.scope, first.receive, first.send))
        await arrived.wait()
        refused = asyncio.ensure_future(limits(second.scope, second.receive, second.send))
        while not second.sent:
            await asyncio.sleep(0)
        for task in (held, refused):
            task.cancel()
        return second

    second = asyncio.run(both())
    assert second.status == 503
    assert (b"retry-after", b"1") in second.sent[0]["headers"]


def test_bodies_that_were_answered_count_no_more(limits):
    for _ in range(5):
        assert ask(limits, Client(b"1234567890")).status == 200
