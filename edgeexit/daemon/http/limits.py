"""Limits of what clients send as bodies: of each, and of all that are there at the same time."""

from __future__ import annotations

from typing import Final

from edgeexit.daemon.http.refusal import App, Message, Receive, Scope, Send, refuse

TOO_LARGE: Final = 413
UNAVAILABLE: Final = 503
_RETRY: Final = ((b"retry-after", b"1"),)


class BodyLimits:
    """Stands before an application and counts the bytes that it is sent.

    Args:
        app: The application.
        body_bytes: Of one body.
        all_bodies_bytes: Of all bodies of requests that have not been answered.
    """

    def __init__(self, app: App, *, body_bytes: int, all_bodies_bytes: int) -> None:
        self._app = app
        self._body_bytes = body_bytes
        self._all_bodies_bytes = all_bodies_bytes
        self._present_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or say that its body is too large."""
        length = _content_length(scope)
        if length > self._body_bytes:
            await refuse(send, TOO_LARGE, self._too_large())
            return
        body = _Body(self, receive, send)
        try:
            await self._app(scope, body.receive, body.send)
        finally:
            self._present_bytes -= body.size

    def take(self, more: int, size: int) -> tuple[int, str] | None:
        """Count bytes that have come.

        Args:
            more: How many.
            size: Of their body, with them.

        Returns:
            The status and the text to refuse them with; None if they are within the limits.
        """
        self._present_bytes += more
        if size > self._body_bytes:
            return TOO_LARGE, self._too_large()
        if self._present_bytes > self._all_bodies_bytes:
            return UNAVAILABLE, "the bodies of other requests take all the memory there is for them; try again"
        return None

    def _too_large(self) -> str:
        return f"the body is larger than the {self._body_bytes} bytes that are allowed (limits.body_bytes)"


class _Body:
    """One request's: once it is refused, the application sees a client that has left, and what it says is dropped."""

    def __init__(self, limits: BodyLimits, receive: Receive, send: Send) -> None:
        self._limits = limits
        self._receive = receive
        self._send = send
        self._refused = False
        self._started = False
        self.size = 0

    async def receive(self) -> Message:
        message: Message = {"type": "http.disconnect"} if self._refused else await self._receive()
        more = len(message.get("body", b""))
        if not more:
            return message
        self.size += more
        refusal = self._limits.take(more, self.size)
        if refusal is None:
            return message
        self._refused = True
        if not self._started:
            status, text = refusal
            await refuse(self._send, status, text, _RETRY if status == UNAVAILABLE else ())
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if not self._refused:
            self._started = True
            await self._send(message)


def _content_length(scope: Scope) -> int:
    """Return the length that a request announces; 0 if it announces none. The parser has let digits alone pass."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value)
    return 0
