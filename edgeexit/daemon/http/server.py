"""The HTTP server: uvicorn on uvloop, run from within, on sockets that were opened before."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Coroutine, Iterator, Sequence
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final, TypeVar

import uvicorn
import uvloop

from edgeexit.daemon.http.connection import GuardedProtocol
from edgeexit.daemon.listening import BACKLOG

if TYPE_CHECKING:
    from edgeexit.daemon.config import LimitsConfig, TimeoutsConfig
    from edgeexit.daemon.http.refusal import App

T = TypeVar("T")

_DATE_EVERY_S: Final = 1.0


class HttpServer(uvicorn.Server):
    """Serves an application until it is told to stop.

    Args:
        app: The application.
        limits: How much a client may send.
        timeouts: How long it may take, and how long requests in flight have in the end.
    """

    def __init__(self, app: App, limits: LimitsConfig, timeouts: TimeoutsConfig) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=GuardedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=timeouts.keep_alive_s,  # type: ignore[arg-type]  # passed to call_later as it is
                timeout_graceful_shutdown=timeouts.shutdown_s,  # type: ignore[arg-type]  # and to wait_for
            )
        )
        self._limits = limits
        self._timeouts = timeouts
        self._stop = asyncio.Event()
        self._ready = asyncio.Event()

    async def run_on(self, sockets: Sequence[socket.socket]) -> None:
        """Serve on sockets, which it closes, until `stop` is called; requests in flight are then finished."""
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
        await self.serve(list(sockets))

    async def wait_until_ready(self) -> None:
        """Wait until the sockets are listened on."""
        await self._ready.wait()

    def stop(self) -> None:
        """Stop; a second call does not wait for requests in flight."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._stop.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the daemon."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on the sockets, with connections of our own kind."""
        loop = asyncio.get_running_loop()
        self.servers = []
        for each in sockets or []:
            listen = loop.create_unix_server if each.family == socket.AF_UNIX else loop.create_server
            self.servers.append(await listen(self._connection, sock=each, backlog=BACKLOG))
        self.started = True
        self._ready.set()

    async def main_loop(self) -> None:
        """Wait for the end; meanwhile the date of answers is kept right."""
        while not self.should_exit:
            date = formatdate(time.time(), usegmt=True).encode()
            self.server_state.default_headers = [(b"date", date)]
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _DATE_EVERY_S)

    def _connection(self) -> asyncio.Protocol:
        return GuardedProtocol(
            self._limits,
            self._timeouts,
            config=self.config,
            server_state=self.server_state,
            app_state={},
            _loop=asyncio.get_running_loop(),
        )


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on uvloop's event loop."""
    return uvloop.run(main)
