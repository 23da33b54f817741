"""The daemon's HTTP server around any application, in a thread of the test."""

import asyncio
import contextlib
import socket
import threading

from edgeexit.daemon.config import LimitsConfig, TimeoutsConfig
from edgeexit.daemon.http.server import HttpServer, run
from edgeexit.daemon.listening import bind_tcp


@contextlib.contextmanager
def serving(app, *, limits=None, timeouts=None, sockets=None):
    """Serve `app` on sockets, by default on a port that the kernel chooses; yields that port, and what stops it."""
    sockets = bind_tcp("127.0.0.1", 0) if sockets is None else sockets
    name = sockets[0].getsockname()
    port = name[1] if isinstance(name, tuple) else None
    ready, held = threading.Event(), {}

    async def main():
        held["loop"] = asyncio.get_running_loop()
        held["server"] = HttpServer(app, limits or LimitsConfig(), timeouts or TimeoutsConfig(shutdown_s=2.0))
        served = asyncio.ensure_future(held["server"].run_on(sockets))
        await held["server"].wait_until_ready()
        ready.set()
        await served

    thread = threading.Thread(target=run, args=(main(),))
    thread.start()
    assert ready.wait(10.0)

    def stop():
        with contextlib.suppress(RuntimeError):  # it has stopped already, and its loop is closed
            held["loop"].call_soon_threadsafe(held["server"].stop)

    try:
        yield port, stop
    finally:
        stop()
        thread.join(10.0)
        assert not thread.is_alive()


def connect(port):
    """Return a connection whose reads do not wait for ever."""
    return socket.create_connection(("127.0.0.1", port), timeout=10.0)


def read_all(connection):
    """Return what comes until the server closes the connection."""
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    return data


def ask(port, request):
    """Send bytes and return all that comes back; the request has to have the server close the connection."""
    with connect(port) as connection:
        connection.sendall(request)
        return read_all(connection)


async def echo(scope, receive, send):
    """Answer with the request's body."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
