"""Reading a request's body, and noticing that its client has left."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Final

from edgeexit.errors import EdgeExitError, TooLarge

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

    from edgeexit.daemon.http.refusal import Receive, Scope

WATCH_AFTER_S: Final = 0.01
"""Answers that come sooner are not worth watching for a client that leaves, which costs them a task each."""


class ClientLeft(EdgeExitError):
    """The client closed its connection before it had an answer: there is nobody to tell."""


async def read_body(scope: Scope, receive: Receive, max_bytes: int) -> bytes:
    """Read a body.

    Args:
        scope: The request's.
        receive: The request's.
        max_bytes: That it may have.

    Raises:
        ClientLeft: If it does not come to its end.
        TooLarge: If it has more, or says so.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value[:20]) > max_bytes:
            raise _too_large(max_bytes)
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft("the client left before its request was complete")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(max_bytes: int) -> TooLarge:
    return TooLarge(f"the body is larger than the {max_bytes} bytes that are allowed")


class CancelledIfClientLeaves:
    """Context in which the present task is cancelled once its client has left; the context ends quietly then.

    Args:
        receive: The request's, once its body was read.

    Attributes:
        left: True if it was so.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self.left = False

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._timer = self._loop.call_later(WATCH_AFTER_S, self._begin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if not self.left or not isinstance(error, asyncio.CancelledError):
            return False
        if sys.version_info >= (3, 11) and self._task is not None:
            self._task.uncancel()
        return True

    def _begin(self) -> None:
        self._watcher = self._loop.create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.left = True
        if self._task is not None:
            self._task.cancel()
