"""What a client says to clockd and when: to get its wishes set, to stay alive there, and after clockd has died."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgeexit.daemon.clockd.connection import ClockdConnection, frequencies
from edgeexit.daemon.clockd.messages import Fault, Op, Request
from edgeexit.daemon.clockd.standing import Backoff, ClockdState, Standing
from edgeexit.errors import ClockdRefused

if TYPE_CHECKING:
    from edgeexit.protocols import Clocks

log = logging.getLogger(__name__)

SIGNS_OF_LIFE: Final = 4
"""So many signs of life are given in the time after which clockd would take the client for silent."""
GREET_AGAIN_S: Final = 5.0
"""clockd is asked again so often whether it knows a clock that it did not know."""
_STATES: Final = {
    Fault.BUSY.value: ClockdState.BUSY,
    Fault.UNAVAILABLE.value: ClockdState.UNAVAILABLE,
    Fault.FULL.value: ClockdState.NOT_REACHABLE,
    Fault.IDLE.value: ClockdState.NOT_REACHABLE,
    Fault.ENDING.value: ClockdState.NOT_REACHABLE,
}
_STAYS: Final = (Fault.BUSY.value, Fault.UNAVAILABLE.value)
"""Refusals after which the connection is good for another try."""


class Dialogue:
    """One thread's side of it; nothing here raises for a clockd that is not there.

    Args:
        path: clockd's socket.
        now_s: Reads a steady clock, in seconds.

    Attributes:
        standing: How the client stands with clockd.
        switch_count: How often a clock really changed for it.
        acked: The wishes that clockd has fulfilled, in Hz by domain.
        held: What those domains are set to.
    """

    def __init__(self, path: Path, now_s: Callable[[], float]) -> None:
        self._path = path
        self._now_s = now_s
        self._connection: ClockdConnection | None = None
        self._knock = Backoff(0.05, 0.25)
        self._appeal = Backoff(0.5, 10.0)
        self._try = Backoff(0.1, 2.0)
        self._said_s = self._greeted_s = float("-inf")
        self._not_set: dict[str, int] = {}
        self.standing = Standing(ClockdState.NOT_REACHABLE, f"{path} has not been tried yet")
        self.switch_count = 0
        self.acked: dict[str, int] = {}
        self.held: dict[str, int] = {}

    def turn(self, wanted: Clocks, *, anew: bool) -> None:
        """Say what is to be said now.

        Args:
            wanted: All wishes; none gives the clocks back.
            anew: True if they were just asked for: what clockd could not do before is then asked again.
        """
        if self._connection is None and self._now_s() < self._knock_s:
            return
        try:
            if anew:
                self._not_set.clear()
            self._say(self._connected(), wanted)
        except ClockdRefused as error:
            self._turned_down(error)
        except OSError as error:
            self._lost(ClockdState.NOT_REACHABLE, f"{self._path}: {error.strerror or error}")

    def read(self) -> Clocks:
        """Ask for the clocks that are held; there are none if nothing is held."""
        if self._connection is None or not self.acked:
            return {}
        try:
            found = frequencies(self._ask(self._connection, Request(Op.READ)).get("clocks"))
        except ClockdRefused as error:
            self._turned_down(error)
        except OSError as error:
            self._lost(ClockdState.NOT_REACHABLE, f"{self._path}: {error.strerror or error}")
        else:
            self.held.update({name: hz for name, hz in found.items() if name in self.held})
        return self.held

    def listen(self) -> None:
        """Hear what clockd says unasked, or that it has gone; to be called when its descriptor is readable."""
        if self._connection is None:
            return
        try:
            self._connection.read_last_words()
        except ClockdRefused as error:
            self._lost(_STATES.get(error.fault, ClockdState.REFUSED), str(error))
        except OSError as error:
            self._lost(ClockdState.NOT_REACHABLE, f"{self._path}: {error.strerror or error}")

    def fileno(self) -> int | None:
        """Return the connection's descriptor, to wait for; None without a connection."""
        return None if self._connection is None else self._connection.fileno()

    def due_s(self, wanted: Clocks) -> float:
        """Return when `turn` is to be called again, on the steady clock."""
        if self._connection is None:
            return self._knock_s
        alive_s = self._said_s + self._connection.silence_s / SIGNS_OF_LIFE
        return min(alive_s, self._try.at_s) if self._owed(self._connection, wanted) else alive_s

    @property
    def _knock_s(self) -> float:
        """When to try to connect again: soon while nobody is there, later if somebody was and said no."""
        return max(self._knock.at_s, self._appeal.at_s)

    def interrupt(self) -> None:
        """End a wait for clockd that another thread is in."""
        connection = self._connection
        if connection is not None:
            connection.interrupt()

    def close(self, *, forked: bool = False) -> None:
        """Give the clocks back and part; a forked child only closes its copy of what is its parent's."""
        connection = self._connection
        if connection is not None and not forked:
            self.turn({}, anew=False)
        self._connection = None
        if connection is not None:
            connection.close()

    def _connected(self) -> ClockdConnection:
        if self._connection is None:
            self._connection = ClockdConnection(self._path)
            self._said_s = self._greeted_s = self._now_s()
            self._knock.succeeded()
            self._appeal.succeeded()
            log.info("connected to clockd at %s", self._path)
        return self._connection

    def _say(self, connection: ClockdConnection, wanted: Clocks) -> None:
        now_s = self._now_s()
        unknown = [name for name in wanted if name not in connection.operating_points_hz]
        if unknown and now_s >= self._greeted_s + GREET_AGAIN_S:
            self._greeted_s = now_s
            connection.greet()
        owed = self._owed(connection, wanted)
        if not wanted:
            self._release(connection)
        if owed and now_s >= self._try.at_s:
            self._set(connection, owed, wanted)
        elif now_s >= self._said_s + connection.silence_s / SIGNS_OF_LIFE:
            self._say_alive(connection)
        if unknown and self.standing.state is ClockdState.CONNECTED:
            self._stands(ClockdState.CONNECTED, f"clockd knows no clock {', '.join(unknown)}")
        elif self.standing.state in (ClockdState.NOT_REACHABLE, ClockdState.REFUSED) or not wanted:
            self._stands(ClockdState.CONNECTED, "")

    def _owed(self, connection: ClockdConnection, wanted: Clocks) -> dict[str, int]:
        """Return the wishes to be sent, as clockd takes them: its limits may be narrower than ours."""
        points = connection.operating_points_hz
        return {
            name: min(max(hz, points[name][0]), points[name][-1])
            for name, hz in wanted.items()
            if name in points and self.acked.get(name) != hz and self._not_set.get(name) != hz
        }

    def _set(self, connection: ClockdConnection, owed: Clocks, wanted: Clocks) -> None:
        answer = self._ask(connection, Request(Op.SET, clocks=owed))
        self._try.succeeded()
        applied = frequencies(answer.get("applied"))
        problems = {name: str(why) for name, why in dict(answer.get("not_set") or {}).items()}
        problems.update({name: "clockd did not say" for name in owed if name not in applied and name not in problems})
        self.held.update(applied)
        self.acked.update({name: wanted[name] for name in applied if name in wanted})
        for name in problems:
            self.acked.pop(name, None)
            self.held.pop(name, None)
        self._not_set.update({name: wanted[name] for name in problems if name in wanted})
        self.switch_count += int(answer.get("switches") or 0)
        reason = "; ".join(f"clock {name}: {why}" for name, why in problems.items())
        self._stands(ClockdState.CONNECTED, reason)

    def _release(self, connection: ClockdConnection) -> None:
        self._try.succeeded()
        if self.held or self.acked or self._not_set:
            self._forget()
            self._ask(connection, Request(Op.RELEASE))

    def _say_alive(self, connection: ClockdConnection) -> None:
        if self._ask(connection, Request(Op.ALIVE)).get("holds") is not True and self.acked:
            log.info("clockd had given the clocks back: they are set again")
            self._forget()

    def _ask(self, connection: ClockdConnection, request: Request) -> dict[str, Any]:
        self._said_s = self._now_s()
        return connection.ask(request)

    def _turned_down(self, error: ClockdRefused) -> None:
        state = _STATES.get(error.fault, ClockdState.REFUSED)
        if error.fault not in _STAYS:
            self._lost(state, str(error))
            return
        self._forget()
        self._try.failed(self._now_s())
        self._stands(state, str(error))

    def _lost(self, state: ClockdState, reason: str) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._forget()
        (self._appeal if state is ClockdState.REFUSED else self._knock).failed(self._now_s())
        self._stands(state, reason)

    def _forget(self) -> None:
        self.acked, self.held, self._not_set = {}, {}, {}

    def _stands(self, state: ClockdState, reason: str) -> None:
        if (state, reason) != self.standing:
            log.info("clockd: %s%s", state.value, f" ({reason})" if reason else "")
        self.standing = Standing(state, reason)
