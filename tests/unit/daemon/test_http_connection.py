"""The HTTP server against clients that are slow, greedy or confused."""

import asyncio
import socket
import threading

import pytest
from http_under_test import ask, connect, echo, read_all, serving

from edgeexit.daemon.config import LimitsConfig, TimeoutsConfig

HEAD = b"POST /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
SLOW = TimeoutsConfig(header_read_s=0.05, body_read_s=0.05, keep_alive_s=0.05, shutdown_s=1.0)


def test_a_body_comes_back_whole():
    with serving(echo) as (port, _):
        answer = ask(port, HEAD + b"Content-Length: 5\r\n\r\nhello")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nhello")


def test_an_answer_names_no_server():
    with serving(echo) as (port, _):
        assert b"server:" not in ask(port, HEAD + b"\r\n").lower()


def test_a_connection_is_kept_for_the_next_request():
    with serving(echo) as (port, _), connect(port) as connection:
        for _ in range(2):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")


def test_pipelined_requests_are_answered_in_turn():
    with serving(echo) as (port, _):
        first = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"
        answers = ask(port, first + HEAD + b"Content-Length: 3\r\n\r\ntwo")
    assert answers.index(b"one") < answers.index(b"two")


def test_headers_that_do_not_end_are_refused_in_time():
    with serving(echo, timeouts=SLOW) as (port, _):
        assert ask(port, b"GET / HTTP/1.1\r\nHost: lo").startswith(b"HTTP/1.1 408 ")


def test_a_connection_without_a_byte_is_closed_in_time():
    with serving(echo, timeouts=SLOW) as (port, _):
        assert ask(port, b"") == b""


def test_a_connection_kept_too_long_is_closed():
    with serving(echo, timeouts=SLOW) as (port, _):
        assert ask(port, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").count(b"HTTP/1.1") == 1


def test_a_body_that_does_not_end_is_refused_in_time():
    with serving(echo, timeouts=SLOW) as (port, _):
        answer = ask(port, HEAD + b"Content-Length: 10\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'{"error":"the request\'s body did not come in time"}' in answer


def test_an_application_is_told_of_a_client_that_was_refused():
    told = threading.Event()

    async def app(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass
        told.set()

    with serving(app, timeouts=SLOW) as (port, _):
        ask(port, HEAD + b"Content-Length: 10\r\n\r\nabc")
        assert told.wait(10.0)


@pytest.mark.parametrize(
    "request_", [b"no HTTP at all\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"\x16\x03"]
)
def test_what_is_no_request_is_refused_in_json(request_):
    with serving(echo, timeouts=SLOW) as (port, _):
        answer = ask(port, request_)
    assert answer.startswith((b"HTTP/1.1 400 Bad Request\r\n", b"HTTP/1.1 408 "))
    assert b'\r\n\r\n{"error":"' in answer


def test_too_many_headers_are_refused():
    with serving(echo, limits=LimitsConfig(headers=8)) as (port, _):
        answer = ask(port, HEAD + b"".join(b"X-%d: 1\r\n" % number for number in range(7)) + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("greedy", [b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nX: " + b"a" * 2000])
def test_headers_that_are_too_large_are_refused(greedy):
    with serving(echo, limits=LimitsConfig(header_bytes=1000)) as (port, _):
        assert ask(port, greedy).startswith(b"HTTP/1.1 431 ")


def test_a_header_that_trickles_in_is_refused_before_it_ends():
    with serving(echo, limits=LimitsConfig(header_bytes=1000)) as (port, _), connect(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        for _ in range(20):
            connection.sendall(b"a" * 100)
        assert read_all(connection).startswith(b"HTTP/1.1 431 ")


def test_a_long_body_does_not_count_as_header_of_the_request_after_it():
    body = b"b" * 5000
    first = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n" + body
    with serving(echo, limits=LimitsConfig(header_bytes=300)) as (port, _), connect(port) as connection:
        connection.sendall(first + b"GET / HT")
        connection.sendall(b"TP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert read_all(connection).count(b"HTTP/1.1 200 OK") == 2


def test_headers_after_the_body_do_not_reach_the_application():
    seen = []

    async def app(scope, receive, send):
        await echo(scope, receive, send)
        seen.extend(name for name, _ in scope["headers"])

    request = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nAuthorization: Bearer x\r\n\r\n"
    with serving(app) as (port, _):
        assert ask(port, request).endswith(b"ab")
    assert b"authorization" not in seen


def test_connections_beyond_the_limit_are_told_so():
    with serving(echo, limits=LimitsConfig(connections=1)) as (port, _), connect(port) as first:
        first.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert first.recv(4096).startswith(b"HTTP/1.1 200")
        with connect(port) as second:
            assert second.recv(4096).startswith(b"HTTP/1.1 503 ")


def test_an_upgrade_to_another_protocol_is_answered_as_the_request_it_is():
    wanted = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    with serving(echo) as (port, _):
        assert ask(port, wanted).startswith(b"HTTP/1.1 200 OK")


def test_a_client_that_does_not_read_its_answer_is_dropped():
    dropped = threading.Event()

    async def flood(scope, receive, send):
        async def until_dropped():
            while (await receive())["type"] != "http.disconnect":
                pass

        gone = asyncio.ensure_future(until_dropped())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while not gone.done():
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            await asyncio.sleep(0)
        dropped.set()

    with serving(flood, timeouts=SLOW) as (port, _), connect(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert dropped.wait(10.0)


def test_a_request_in_flight_is_answered_before_the_server_stops():
    entered, go_on = threading.Event(), threading.Event()

    async def slow(scope, receive, send):
        entered.set()
        while not go_on.is_set():
            await asyncio.sleep(0.005)
        await echo(scope, receive, send)

    with serving(slow) as (port, stop), connect(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert entered.wait(10.0)
        stop()
        go_on.set()
        assert read_all(connection).startswith(b"HTTP/1.1 200 OK")


def test_a_server_that_stops_takes_no_more_connections():
    with serving(echo) as (port, stop):
        stop()
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=10.0):
        pass


def test_an_answer_without_a_body_is_sent_at_once():
    with serving(echo) as (port, _), connect(port) as connection:
        connection.sendall(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert connection.recv(4096).endswith(b"\r\n\r\n")


def test_a_large_answer_comes_whole():
    body = bytes(range(256)) * 1000
    with serving(echo) as (port, _):
        answer = ask(port, HEAD + b"Content-Length: 256000\r\n\r\n" + body)
    assert answer.partition(b"\r\n\r\n")[2] == body


def test_an_answer_in_parts_comes_part_by_part():
    go_on = threading.Event()

    async def parts(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        while not go_on.is_set():
            await asyncio.sleep(0.005)
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await send({"type": "http.response.body", "body": b"b"})

    with serving(parts) as (port, _), connect(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert connection.recv(4096).endswith(b"\r\n\r\n")
        go_on.set()
        assert read_all(connection) == b"ab"
