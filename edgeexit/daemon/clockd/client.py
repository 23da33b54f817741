"""A hold on clocks for a process that may not write them: clockd does, and this one never waits for it."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

from edgeexit.daemon.clockd.dialogue import Dialogue
from edgeexit.daemon.clockd.standing import ClockdState
from edgeexit.errors import ClocksUnavailable, DeviceError
from edgeexit.protocols import ClockDomain, Clocks

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger(__name__)

REFRESH_S: Final = 0.05
"""The clocks are read again so often while somebody asks for them: others may change them too."""
QUIET_S: Final = 1.0
CLOSE_S: Final = 2.0
"""How long clockd may take to give the clocks back when the lease is closed; then the connection is just ended."""


class ClockdLease:
    """Stands wherever a lease does; a thread of its own speaks with clockd.

    Of several wishes that come while clockd is at work the last one for each domain counts. If clockd is not there, is
    busy or refuses, the clocks are only observed, with one warning; once it is there (again) the last wishes are set.

    Args:
        socket: clockd's socket.
        domains: The machine's clock domains, as `Device.domains` gives them: to read clocks that are not held.
    """

    def __init__(self, socket: Path, domains: Mapping[str, ClockDomain]) -> None:
        self._socket = socket
        self._domains = domains
        self._closed = False
        self._warned = False
        self._wanted: dict[str, int] = {}
        self._settled: dict[str, int] = {}
        self._clocks: Clocks = self._read_own(domains)
        self._begin()

    @property
    def state(self) -> ClockdState:
        """How this process stands with clockd: a text, "connected" if all is well."""
        return self._dialogue.standing.state

    @property
    def reason(self) -> str:
        """Why it is so; empty if all is well."""
        return self._dialogue.standing.reason

    @property
    def switch_count(self) -> int:
        """How often a frequency really changed so far."""
        return self._dialogue.switch_count

    def set(self, clocks: Clocks) -> tuple[()]:
        """Hand wishes over; returns at once, before any clock has changed.

        Raises:
            DeviceError: If the lease is closed or a domain is unknown.
        """
        for name in clocks:
            if name not in self._domains:
                known = ", ".join(self._domains) or "none"
                raise DeviceError(f"no clock domain is called {name!r}; there are: {known}")
        self._notice_fork()
        with self._change:
            if self._closed:
                raise DeviceError("the lease on the clocks is closed: no clock can be set")
            self._wanted.update(clocks)
            if not clocks.items() <= self._settled.items():
                self._hand_over()
        return ()

    def read_clocks(self) -> Clocks:
        """Return the clocks in Hz as they were read last; never waits for the kernel or for clockd."""
        self._asked = True
        self._notice_fork()
        return self._clocks

    def restore(self) -> None:
        """Have the clocks given back; returns at once. A later `set` takes them again."""
        self._notice_fork()
        with self._change:
            self._wanted.clear()
            self._settled = {}
            if not self._closed:
                self._hand_over()

    def wait(self, timeout_s: float) -> bool:
        """Wait until what was handed over has been dealt with, one way or the other; return whether it has been."""
        with self._change:
            given = self._given
            return self._change.wait_for(lambda: self._dealt_with >= given, timeout_s)

    def close(self) -> None:
        """Give the clocks back and part from clockd; a second call does nothing."""
        self._notice_fork()
        with self._change:
            if self._closed:
                return
            self._closed = True
            self._hand_over()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            self._dialogue.interrupt()
            self._thread.join(CLOSE_S)
        if not self._thread.is_alive():
            os.close(self._wake)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._change = threading.Condition()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._asked = self._anew = False
        self._given, self._dealt_with = 0, -1
        self._settled = {}
        self._held: frozenset[str] = frozenset()
        self._dialogue = Dialogue(self._socket, time.monotonic)
        self._thread = threading.Thread(target=self._run, name="edgeexit-clockd", daemon=True)
        self._thread.start()

    def _notice_fork(self) -> None:
        """Begin anew in a forked child: the thread and the connection are its parent's, who may hold the lock."""
        if os.getpid() != self._pid:
            self._pid = os.getpid()
            if not self._closed:
                os.close(self._wake)
                self._dialogue.close(forked=True)
                self._wanted = {}
                self._begin()

    def _hand_over(self) -> None:
        self._anew = True
        self._given += 1
        os.eventfd_write(self._wake, 1)

    def _run(self) -> None:
        while not self._closed:
            try:
                self._turn()
            except Exception:  # whatever it is, inference goes on
                log.exception("clockd could not be spoken with")
                time.sleep(QUIET_S)
        self._dialogue.close()

    def _turn(self) -> None:
        with self._change:
            wanted, anew, given = dict(self._wanted), self._anew, self._given
            self._anew = False
        dialogue = self._dialogue
        dialogue.turn(wanted, anew=anew)
        asked, self._asked = self._asked, False
        if asked or anew or dialogue.held.keys() != self._held:  # also when clockd has gone, and the clocks with it
            self._clocks = {**self._read_own(self._domains), **dialogue.read()}
            self._held = frozenset(dialogue.held)
        self._warn(wanted)
        with self._change:
            if not self._anew:
                self._settled = dict(dialogue.acked)
            self._dealt_with = given
            self._change.notify_all()
        pause_s = REFRESH_S if asked else QUIET_S
        self._sleep(min(pause_s, max(dialogue.due_s(wanted) - time.monotonic(), 0.0)))

    def _sleep(self, duration_s: float) -> None:
        """Wait until there is a wish, clockd says something, or the time is over."""
        poll, connection = select.poll(), self._dialogue.fileno()
        poll.register(self._wake, select.POLLIN)
        if connection is not None:
            poll.register(connection, select.POLLIN)
        for descriptor, _ in poll.poll(1000.0 * duration_s):
            if descriptor == self._wake:
                os.eventfd_read(self._wake)
            else:
                self._dialogue.listen()

    def _read_own(self, domains: Mapping[str, ClockDomain]) -> dict[str, int]:
        clocks = {}
        for name, domain in tuple(domains.items()):
            try:
                clocks[name] = domain.read_hz()
            except DeviceError as error:
                log.debug("clock %s cannot be read: %s", name, error)
        return clocks

    def _warn(self, wanted: Clocks) -> None:
        state, reason = self._dialogue.standing
        if self._warned or not wanted or state is ClockdState.CONNECTED:
            return
        self._warned = True
        text = f"clocks cannot be set: clockd is {state.value} ({reason}); inference goes on at the clocks as they are"
        try:
            warnings.warn(text, ClocksUnavailable, stacklevel=1)
        except ClocksUnavailable:  # where warnings are made errors: this thread is nobody's to raise in
            log.warning("%s", text)
