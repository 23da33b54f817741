"""Answers clients' messages, and knows who holds the clocks: everything about clockd but sockets and files."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from edgeexit.daemon.clockd.messages import (
    VERSION,
    Fault,
    Op,
    Request,
    parse_request,
    refusal_bytes,
    reply_bytes,
)
from edgeexit.errors import ClockdRefused

if TYPE_CHECKING:
    from edgeexit.daemon.clockd.access import Peer
    from edgeexit.daemon.clockd.board_clocks import BoardClocks
    from edgeexit.protocols import Clocks

log = logging.getLogger(__name__)


class Visitor:
    """A client, for as long as it is connected.

    Attributes:
        peer: The process.
        greeted: True once it has said hello.
        heard_s: When its last message had been dealt with.
    """

    __slots__ = ("greeted", "heard_s", "peer")

    def __init__(self, peer: Peer, now_s: float) -> None:
        self.peer = peer
        self.greeted = False
        self.heard_s = now_s


class Handler:
    """Does what clients ask, one message at a time.

    Args:
        clocks: The machine's.
        silence_s: A holder that says nothing for so long loses the clocks.
        now_s: Reads a steady clock, in seconds.
    """

    def __init__(self, clocks: BoardClocks, *, silence_s: float, now_s: Callable[[], float]) -> None:
        self._clocks = clocks
        self._silence_s = silence_s
        self._now_s = now_s
        self._points: Mapping[str, tuple[int, ...]] = {}
        self._holder: Visitor | None = None

    @property
    def holder(self) -> Visitor | None:
        """Who holds the clocks; None if nobody does."""
        return self._holder

    @property
    def silent_at_s(self) -> float | None:
        """When the holder will have been silent for too long, if it says nothing; None if there is none."""
        return None if self._holder is None else self._holder.heard_s + self._silence_s

    def answer(self, visitor: Visitor, data: bytes) -> bytes:
        """Do what a message asks, and return the answer; there is one for every message, whatever it is."""
        op = None
        try:
            request = parse_request(data)
            op = request.op
            return self._answer(visitor, request)
        except ClockdRefused as error:
            return refusal_bytes(error.fault, str(error), op)
        except Exception:  # whatever it is, the others' clocks are still to be given back
            log.exception("a message could not be dealt with")
            return refusal_bytes(Fault.UNAVAILABLE.value, "clockd failed at this: see its log", op)
        finally:
            visitor.heard_s = self._now_s()

    def leave(self, visitor: Visitor, why: str) -> None:
        """Give the clocks back if this client holds them; `why` is for the log."""
        if visitor is self._holder:
            self._holder = None
            log.info("clocks are given back: %s %s", visitor.peer, why)
            self._clocks.give_back()

    def _answer(self, visitor: Visitor, request: Request) -> bytes:
        if request.op is Op.HELLO:
            return self._welcome(visitor, request.version)
        if not visitor.greeted:
            raise ClockdRefused(Fault.VERSION.value, f"say hello first: this clockd speaks version {VERSION}")
        if request.op is Op.SET:
            return self._set(visitor, request.clocks)
        if request.op is Op.READ:
            return reply_bytes(Op.READ, clocks=self._clocks.read())
        if request.op is Op.ALIVE:
            return reply_bytes(Op.ALIVE, holds=visitor is self._holder)
        self.leave(visitor, "has released them")
        return reply_bytes(Op.RELEASE)

    def _welcome(self, visitor: Visitor, version: int) -> bytes:
        if version != VERSION:
            raise ClockdRefused(Fault.VERSION.value, f"version {version} was asked for; this clockd speaks {VERSION}")
        self._points = self._clocks.operating_points_hz()
        visitor.greeted = True
        return reply_bytes(
            Op.HELLO, version=VERSION, silence_s=self._silence_s, clocks=self._clocks.read(), domains=self._points
        )

    def _set(self, visitor: Visitor, clocks: Clocks) -> bytes:
        self._check(clocks)
        holder = self._holder
        if holder is not None and holder is not visitor:
            raise ClockdRefused(Fault.BUSY.value, f"{holder.peer} holds the clocks; they are free when it ends")
        try:
            outcome = self._clocks.set(clocks)
        except BaseException:
            self._holder = None
            self._clocks.give_back()
            raise
        if holder is None:
            log.info("%s holds the clocks", visitor.peer)
            self._holder = visitor
        return reply_bytes(Op.SET, applied=outcome.applied, not_set=outcome.not_set, switches=outcome.switches)

    def _check(self, clocks: Clocks) -> None:
        """Refuse a request of which a part cannot be done, before any of it is."""
        for name, frequency_hz in clocks.items():
            points = self._points.get(name)
            if not points:
                known = ", ".join(self._points) or "none"
                raise ClockdRefused(
                    Fault.UNKNOWN_DOMAIN.value, f"no clock domain is called {name!r}; there are: {known}"
                )
            if not points[0] <= frequency_hz <= points[-1]:
                raise ClockdRefused(
                    Fault.OUT_OF_RANGE.value,
                    f"{name} cannot be set to {frequency_hz} Hz: it takes {points[0]} to {points[-1]} Hz",
                )
