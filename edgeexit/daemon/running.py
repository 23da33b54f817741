"""The daemon's life: load, listen, answer, reload on SIGHUP, and give everything back on SIGTERM, come what may."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final, Protocol

from edgeexit.daemon.contracts import Service

if TYPE_CHECKING:
    import socket

    from edgeexit.daemon.config import ServeConfig
    from edgeexit.daemon.http.refusal import App
    from edgeexit.daemon.notify import Notifier

log = logging.getLogger(__name__)

_ENDING: Final = (signal.SIGTERM, signal.SIGINT)


class LivingService(Service, Protocol):
    """A service as the daemon holds it."""

    @property
    def alive(self) -> bool:
        """True while it can answer."""

    async def start(self) -> None:
        """Begin."""

    async def close(self) -> None:
        """End, and give the clocks back."""

    async def reload(self) -> None:
        """Load every model anew; what fails serves on as it was."""


class Daemon:
    """Runs a service behind HTTP, and what there is beside it, until a signal ends it.

    Args:
        service: Bundles, queue, engine and clocks.
        make_app: Returns what answers requests.
        config: Limits and timeouts.
        notifier: Told how it goes.
        beside: Returns what serves beside HTTP while it is entered.
    """

    def __init__(
        self,
        service: LivingService,
        make_app: Callable[[], App],
        config: ServeConfig,
        notifier: Notifier,
        beside: Callable[[], AbstractAsyncContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._service = service
        self._make_app = make_app
        self._config = config
        self._notifier = notifier
        self._beside = beside
        self._ended = asyncio.Event()
        self._end: Callable[[], None] = self._ended.set
        self._reloading: asyncio.Task[None] | None = None
        self._ready = False

    async def run(self, sockets: Sequence[socket.socket]) -> None:
        """Serve until SIGTERM or SIGINT comes.

        Args:
            sockets: To listen on; they are closed in the end.

        Raises:
            EdgeExitError: If the service cannot start.
        """
        loop = asyncio.get_running_loop()
        for number in _ENDING:
            loop.add_signal_handler(number, self._on_end, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)
        try:
            if await self._or_end(self._service.start()):
                await self._serve(sockets)
        finally:
            self._notifier.stopping()
            with contextlib.suppress(asyncio.CancelledError):
                await self._stop_reloading()
            await self._service.close()
            log.info("stopped")

    async def _serve(self, sockets: Sequence[socket.socket]) -> None:
        from edgeexit.daemon.http.server import HttpServer  # noqa: PLC0415  the heaviest import comes last

        server = HttpServer(self._make_app(), self._config.limits, self._config.timeouts)
        self._end = server.stop
        if self._ended.is_set():
            return
        async with self._beside():
            telling = asyncio.get_running_loop().create_task(self._tell(server.wait_until_ready))
            try:
                await server.run_on(sockets)
            finally:
                telling.cancel()

    async def _or_end(self, start: Awaitable[None]) -> bool:
        """Wait for a start; return False if a signal came first, and the start was called off."""
        starting = asyncio.ensure_future(start)
        ended = asyncio.ensure_future(self._ended.wait())
        await asyncio.wait((starting, ended), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
            return False
        ended.cancel()
        starting.result()
        return True

    async def _tell(self, until_ready: Callable[[], Awaitable[None]]) -> None:
        """Tell that the daemon answers, and then, as long as it does, that it lives."""
        await until_ready()
        self._ready = True
        models = self._service.models()
        log.info("ready with %s", ", ".join(f"{each.name} version {each.version}" for each in models))
        self._notifier.ready(f"serving {len(models)} bundle{'' if len(models) == 1 else 's'}")
        every_s = self._notifier.ping_every_s
        while every_s is not None:
            if self._service.alive:
                self._notifier.alive()
            await asyncio.sleep(every_s)

    def _on_end(self, number: signal.Signals) -> None:
        log.info("stopping: %s came", signal.Signals(number).name)
        self._ended.set()
        self._end()

    def _on_reload(self) -> None:
        if not self._ready:  # it loads them anyway
            return
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.get_running_loop().create_task(self._reload())

    async def _reload(self) -> None:
        log.info("loading all bundles anew: SIGHUP came")
        self._notifier.reloading()
        try:
            await self._service.reload()
        except Exception:
            log.exception("the bundles could not be loaded anew")
        failed = [each for each in self._service.models() if each.reason]
        for each in failed:
            log.warning("%s version %s: %s", each.name, each.version, each.reason)
        if not failed:
            log.info("all bundles were loaded anew")
        self._notifier.ready()

    async def _stop_reloading(self) -> None:
        if self._reloading is not None and not self._reloading.done():
            self._reloading.cancel()
            await self._reloading
