"""Tells systemd how the daemon is doing: the few lines of sd_notify(3), over the socket that it names."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping
from typing import Final

log = logging.getLogger(__name__)

_ABSTRACT: Final = "@"
_SHARE_OF_WATCHDOG: Final = 0.4
"""How often a sign of life is given, as a share of the time after which systemd acts: one may be late. man 3
sd_watchdog_enabled advises half."""


class Notifier:
    """Sends systemd what it should know; without a socket it does nothing, and it never fails.

    Args:
        address: Of systemd's socket; None if this is no service.
        watchdog_s: Time without a sign of life after which systemd acts; None if it watches for none.
    """

    def __init__(self, address: str | None = None, watchdog_s: float | None = None) -> None:
        self._address = address
        self.watchdog_s = watchdog_s

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Notifier:
        """Return the notifier that systemd's variables ask for."""
        return cls(environment.get("NOTIFY_SOCKET") or None, _watchdog_s(environment))

    @property
    def ping_every_s(self) -> float | None:
        """How often `alive` is to be called; None if nobody listens for it."""
        watched = self._address is not None and self.watchdog_s is not None
        return _SHARE_OF_WATCHDOG * self.watchdog_s if watched and self.watchdog_s is not None else None

    def ready(self, status: str = "") -> None:
        """Tell that the service answers, also after a reload."""
        self._send("READY=1", *([f"STATUS={status}"] if status else []))

    def reloading(self) -> None:
        """Tell that a reload has begun; `ready` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """Tell that the service is being stopped."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """Give a sign of life."""
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if self._address is None:
            return
        address = "\0" + self._address[1:] if self._address.startswith(_ABSTRACT) else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            log.debug("systemd cannot be told %s: %s", lines[0], error)


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Return the watchdog's time; None if there is none, or it is meant for another process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    text = environment.get("WATCHDOG_USEC", "")
    return int(text) / 1e6 if text.isdecimal() and int(text) > 0 else None
