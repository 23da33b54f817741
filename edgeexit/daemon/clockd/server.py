"""clockd's connections: one thread, one loop, and no message that another has to wait for longer than for a clock."""

from __future__ import annotations

import logging
import os
import select
import selectors
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edgeexit.daemon.clockd.access import Access, Peer, read_peer
from edgeexit.daemon.clockd.handler import Handler, Visitor
from edgeexit.daemon.clockd.messages import MAX_REQUEST_BYTES, Fault, refusal_bytes
from edgeexit.daemon.clockd.pace import TokenBucket

if TYPE_CHECKING:
    from edgeexit.daemon.clockd.board_clocks import BoardClocks

log = logging.getLogger(__name__)

GONE: Final = select.POLLHUP | select.POLLRDHUP | select.POLLERR
ACCEPT_PAUSE_S: Final = 0.1
"""So long nobody is let in after the machine could not make another connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What clients are held to.

    Attributes:
        connections: So many at once.
        rate_hz: Messages of a connection in a second; beyond them it is read no faster.
        burst: Messages of a connection that may come at once.
        idle_s: A connection that says nothing for so long is closed.
    """

    connections: int = 16
    rate_hz: float = 200.0
    burst: int = 100
    idle_s: float = 60.0


class _Connection:
    """A client's socket and what is known of it."""

    __slots__ = ("bucket", "socket", "visitor")

    def __init__(self, sock: socket.socket, visitor: Visitor, bucket: TokenBucket) -> None:
        self.socket = sock
        self.visitor = visitor
        self.bucket = bucket

    def has(self, events: int) -> bool:
        """Return whether one of poll's events is there now."""
        poll = select.poll()
        poll.register(self.socket, events)
        return bool(poll.poll(0))


class Server:
    """Serves a socket until it is told to stop; then gives the clocks back.

    Args:
        listener: Does not block; the caller closes it.
        handler: Answers the messages.
        clocks: Are tidied up when they ask for it.
        access: Who may connect.
        now_s: Reads a steady clock, in seconds.
        limits: What clients are held to.
        beat: Called each `beat_s`, by the loop: it shows that the loop turns.
        beat_s: In seconds; None never calls it.
    """

    def __init__(
        self,
        listener: socket.socket,
        handler: Handler,
        clocks: BoardClocks,
        access: Access,
        now_s: Callable[[], float],
        *,
        limits: Limits | None = None,
        beat: Callable[[], None] = lambda: None,
        beat_s: float | None = None,
    ) -> None:
        self._listener = listener
        self._handler = handler
        self._clocks = clocks
        self._access = access
        self._now_s = now_s
        self._limits = limits or Limits()
        self._beat, self._beat_s = beat, beat_s
        self._beat_at_s = None if beat_s is None else now_s()
        self._connections: set[_Connection] = set()
        self._paused: dict[Callable[[], None], float] = {}
        self._selector = selectors.DefaultSelector()
        self._wake: int | None = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._stopping = False
        self._troubled = False
        self._selector.register(self._wake, selectors.EVENT_READ, None)
        self._listen()

    def stop(self) -> None:
        """Have `run` end; may be called from a signal handler, and again."""
        if self._wake is not None:  # it is never read, and so wakes `run` until that ends; only then it is closed
            os.eventfd_write(self._wake, 1)
        self._stopping = True

    def run(self) -> None:
        """Serve until `stop` is called, and give the clocks back."""
        try:
            while not self._stopping:
                self._turn()
        finally:
            self._end()

    def _turn(self) -> None:
        events = [key.data for key, _ in self._selector.select(self._wait_s()) if key.data is not None]
        for connection in sorted(events, key=self._is_later):
            if connection is self._listener:
                self._let_in()
            else:
                self._serve(connection)
        now_s = self._now_s()
        for resume in [resume for resume, at_s in self._paused.items() if at_s <= now_s]:
            del self._paused[resume]
            resume()
        self._look_for_silence(now_s)
        if self._clocks.due_s is not None and self._clocks.due_s <= now_s:
            self._clocks.tidy()
        if self._beat_s is not None and self._beat_at_s is not None and self._beat_at_s <= now_s:
            self._beat_at_s = now_s + self._beat_s
            self._beat()

    def _is_later(self, connection: _Connection | socket.socket) -> bool:
        """Sort the holder first: if it has gone, the clocks are free for the others."""
        return not (isinstance(connection, _Connection) and connection.visitor is self._handler.holder)

    def _wait_s(self) -> float | None:
        times = [at_s for at_s in self._times_s() if at_s is not None]
        return max(min(times) - self._now_s(), 0.0) if times else None

    def _times_s(self) -> Iterator[float | None]:
        """Yield when there is something to do though nobody says anything."""
        yield self._handler.silent_at_s
        yield self._clocks.due_s
        yield self._beat_at_s
        yield from self._paused.values()
        for connection in self._connections:
            yield connection.visitor.heard_s + self._limits.idle_s

    def _listen(self) -> None:
        self._selector.register(self._listener, selectors.EVENT_READ, self._listener)

    def _let_in(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:  # who wanted in has gone again
            return
        except OSError as error:
            if not self._troubled:
                log.warning("nobody can be let in for now: %s; it is tried again", error)
            self._troubled = True
            self._selector.unregister(self._listener)
            self._paused[self._listen] = self._now_s() + ACCEPT_PAUSE_S
            return
        self._troubled = False
        sock.setblocking(False)
        try:
            peer = read_peer(sock)
        except OSError as error:
            log.warning("a connection whose other end is not known is closed: %s", error)
            sock.close()
            return
        problem = self._why_not(peer)
        if problem is not None:
            log.warning("%s is turned away: %s", peer, problem[1])
            _send_and_close(sock, refusal_bytes(*problem))
            return
        self._welcome(sock, peer)

    def _why_not(self, peer: Peer) -> tuple[str, str] | None:
        if not self._access.allows(peer):
            return Fault.DENIED.value, f"user {peer.uid} may not set clocks; clockd's --allow-user and --allow-group do"
        if len(self._connections) >= self._limits.connections:
            return Fault.FULL.value, f"clockd has {self._limits.connections} connections already"
        return None

    def _welcome(self, sock: socket.socket, peer: Peer) -> None:
        now_s = self._now_s()
        bucket = TokenBucket(self._limits.rate_hz, self._limits.burst, now_s)
        connection = _Connection(sock, Visitor(peer, now_s), bucket)
        self._connections.add(connection)
        self._selector.register(sock, selectors.EVENT_READ, connection)

    def _serve(self, connection: _Connection) -> None:
        """Answer one message; who has gone gets no more of them done."""
        if connection.has(GONE):
            self._drop(connection, "has gone")
            return
        if not connection.bucket.take(self._now_s()):
            self._pause(connection)
            return
        try:
            data = connection.socket.recv(MAX_REQUEST_BYTES + 1)
            if not data:
                self._drop(connection, "has closed its connection")
                return
            connection.socket.send(self._handler.answer(connection.visitor, data))
        except OSError as error:  # also one that does not read its answers
            self._drop(connection, f"cannot be answered: {error}")

    def _pause(self, connection: _Connection) -> None:
        """Read nothing more of a connection until it has a token again."""
        self._selector.unregister(connection.socket)

        def resume() -> None:
            if connection in self._connections:
                self._selector.register(connection.socket, selectors.EVENT_READ, connection)

        self._paused[resume] = connection.bucket.next_s()

    def _look_for_silence(self, now_s: float) -> None:
        """Part with the silent; whoever's message just has not been read yet is not silent."""
        for connection in tuple(self._connections):
            quiet_s = now_s - connection.visitor.heard_s
            holds = connection.visitor is self._handler.holder
            silent_at_s = self._handler.silent_at_s if holds else None
            if silent_at_s is not None and now_s >= silent_at_s and not connection.has(select.POLLIN):
                self._handler.leave(connection.visitor, f"has said nothing for {quiet_s:.1f} s")
            elif quiet_s >= self._limits.idle_s and not connection.has(select.POLLIN):
                self._drop(connection, "was idle", refusal_bytes(Fault.IDLE.value, "nothing was asked for long"))

    def _drop(self, connection: _Connection, why: str, last_words: bytes | None = None) -> None:
        self._handler.leave(connection.visitor, why)
        self._connections.discard(connection)
        if connection.socket in self._selector.get_map():  # one that is paused is not
            self._selector.unregister(connection.socket)
        _send_and_close(connection.socket, last_words)

    def _end(self) -> None:
        for connection in tuple(self._connections):
            self._drop(connection, "loses them: clockd ends", refusal_bytes(Fault.ENDING.value, "clockd ends"))
        self._clocks.give_back()
        self._selector.close()
        wake, self._wake = self._wake, None
        if wake is not None:
            os.close(wake)


def _send_and_close(sock: socket.socket, data: bytes | None) -> None:
    try:
        if data is not None:
            sock.send(data)
    except OSError as error:
        log.debug("the other end does not listen: %s", error)
    finally:
        sock.close()
