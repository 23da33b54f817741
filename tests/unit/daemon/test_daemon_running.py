"""The daemon's life, with a service that only notes what happens to it."""

import asyncio
import os
import signal
import socket

import pytest

from edgeexit.daemon.config import ServeConfig
from edgeexit.daemon.contracts import ModelView
from edgeexit.daemon.listening import bind_tcp
from edgeexit.daemon.notify import Notifier
from edgeexit.daemon.running import Daemon
from edgeexit.errors import BundleError


class NotingService:
    """Notes what is asked of it."""

    def __init__(self, failure=None, slow=False):
        self.noted = []
        self.alive = True
        self._failure = failure
        self._slow = slow

    async def start(self):
        self.noted.append("start")
        if self._failure is not None:
            raise self._failure
        if self._slow:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(60.0)

    async def close(self):
        self.noted.append("close")

    async def reload(self):
        self.noted.append("reload")

    def models(self):
        return [ModelView("a", "1", None, True, "ready", "")]


async def nothing(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


class Listener(Notifier):
    """Notes what systemd would be told, and sends signals to itself when the time has come."""

    def __init__(self, *signals, ping_every_s=None):
        super().__init__()
        self.told = []
        self._signals = list(signals)
        self._every_s = ping_every_s

    @property
    def ping_every_s(self):
        return self._every_s

    def _send(self, *lines):
        self.told.append(lines[0])
        if lines[0] in ("READY=1", "WATCHDOG=1") and self._signals:
            os.kill(os.getpid(), self._signals.pop(0))


def run(service, notifier):
    async def main():
        await Daemon(service, lambda: nothing, ServeConfig(), notifier).run(bind_tcp("127.0.0.1", 0))

    asyncio.run(main())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_closes_the_service(number):
    service, systemd = NotingService(), Listener(number)
    run(service, systemd)
    assert service.noted == ["start", "close"]
    assert systemd.told == ["READY=1", "STOPPING=1"]


def test_sighup_loads_everything_anew_and_goes_on():
    service, systemd = NotingService(), Listener(signal.SIGHUP, signal.SIGTERM)
    run(service, systemd)
    assert service.noted == ["start", "reload", "close"]
    assert systemd.told == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]


def test_a_service_that_cannot_start_is_closed():
    service = NotingService(BundleError("damaged"))
    with pytest.raises(BundleError):
        run(service, Listener())
    assert service.noted == ["start", "close"]


def test_a_signal_while_it_starts_calls_the_start_off():
    service, systemd = NotingService(slow=True), Listener()
    run(service, systemd)
    assert service.noted == ["start", "close"]
    assert systemd.told == ["STOPPING=1"]


def test_a_port_that_is_lost_closes_the_service():
    service = NotingService()

    async def main():
        (bound,) = bind_tcp("127.0.0.1", 0)
        bound.close()
        await Daemon(service, lambda: nothing, ServeConfig(), Listener()).run([bound])

    with pytest.raises(OSError, match=r"Bad file descriptor|closed|Invalid"):
        asyncio.run(main())
    assert service.noted == ["start", "close"]


def test_signs_of_life_are_given_while_the_engine_lives():
    systemd = Listener(signal.SIGCONT, signal.SIGCONT, signal.SIGTERM, ping_every_s=0.01)
    run(NotingService(), systemd)
    assert systemd.told[:3] == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]


def test_a_dead_engine_gives_no_sign_of_life():
    service, systemd = NotingService(), Listener(ping_every_s=0.01)
    looks = []

    class Engine:
        def __bool__(self):
            looks.append(1)
            if len(looks) == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            return False

    service.alive = Engine()
    run(service, systemd)
    assert "WATCHDOG=1" not in systemd.told
    assert len(looks) >= 3


def test_the_sockets_are_closed_in_the_end():
    bound = bind_tcp("127.0.0.1", 0)
    port = bound[0].getsockname()[1]

    async def main():
        await Daemon(NotingService(), lambda: nothing, ServeConfig(), Listener(signal.SIGTERM)).run(bound)

    asyncio.run(main())
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=10.0):
        pass
