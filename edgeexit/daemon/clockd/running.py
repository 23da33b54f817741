"""clockd as a process: from its options to its end, which signals and systemd may ask for."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgeexit.daemon.clockd.access import access_for
from edgeexit.daemon.clockd.board_clocks import BoardClocks
from edgeexit.daemon.clockd.handler import Handler
from edgeexit.daemon.clockd.listening import listening
from edgeexit.daemon.clockd.server import Limits, Server
from edgeexit.daemon.clockd.watching import Watch
from edgeexit.daemon.notify import Notifier
from edgeexit.daemon.settings import CLOCKD_SOCKET
from edgeexit.errors import OptionError

if TYPE_CHECKING:
    from edgeexit.device.host import HostDevice

log = logging.getLogger(__name__)

SILENCE_S: Final = 1.5
"""The clocks of a client that hangs are back within 2 s, then."""
MIN_SILENCE_S: Final = 0.1
MAX_SILENCE_S: Final = 60.0
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockdSettings:
    """How clockd is run.

    Attributes:
        socket: Where it listens.
        users: Names of users who may set clocks, beside root and its own.
        groups: Names of groups whose members may.
        silence_s: A client that holds the clocks and says nothing for so long loses them.
        limits: What clients are held to.
    """

    socket: Path = CLOCKD_SOCKET
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    silence_s: float = SILENCE_S
    limits: Limits = field(default_factory=Limits)


def run_clockd(device: HostDevice, settings: ClockdSettings, notifier: Notifier | None = None) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP; then give the clocks back and return.

    Args:
        device: This machine; the caller closes it.
        settings: How.
        notifier: Tells systemd; by default as systemd's variables in the environment say.

    Raises:
        OptionError: If there is no such user or group, or `silence_s` is out of range.
        ServeError: If nothing can listen on the socket.
    """
    if not MIN_SILENCE_S <= settings.silence_s <= MAX_SILENCE_S:  # also refuses NaN
        raise OptionError(
            f"--silence-s {settings.silence_s}: must lie between {MIN_SILENCE_S:g} and {MAX_SILENCE_S:g} seconds"
        )
    access = access_for(settings.users, settings.groups)
    notifier = Notifier.from_environment(os.environ) if notifier is None else notifier
    now_s = device.clock.now_s
    others = access.users - access_for().users
    with (
        listening(settings.socket, users=others, groups=access.groups) as listener,
        Watch(device.run_folder, device.tree.root) as watch,
    ):
        clocks = BoardClocks(device, now_s, watch=watch)
        clocks.tidy()
        handler = Handler(clocks, silence_s=settings.silence_s, now_s=now_s)
        server = Server(
            listener,
            handler,
            clocks,
            access,
            now_s,
            limits=settings.limits,
            beat=notifier.alive,
            beat_s=notifier.ping_every_s,
        )

        def stop() -> None:
            notifier.stopping()
            server.stop()

        with _signals_call(stop):
            names = ", ".join(clocks.operating_points_hz()) or "no clocks"
            log.info("listening on %s, for %s of %s", settings.socket, names, device.name)
            notifier.ready(f"sets {names}")
            server.run()


@contextlib.contextmanager
def _signals_call(stop: Callable[[], None]) -> Iterator[None]:
    """Have the signals that end programs call `stop`: no clock is left half set, as by an exception."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: stop()) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
